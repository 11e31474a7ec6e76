/** What a board tells of its interrupts, with and without a local APIC: the test is the processor. */
import { expect, test } from 'vitest';
import { ApicRegister as R } from '../../src/hypervisor/devices/apic-registers.js';
import { Board } from '../../src/hypervisor/vm/board.js';

const HZ = 3_000_000_000;
const PERIODIC = 0x20000;
const NOWHERE = { read: () => undefined, write: () => false } as never;

function boardWith(apic: boolean) {
  const time = { cycles: 0 };
  let timerInterrupts = 0;
  const board = new Board({
    cyclesPerSecond: HZ,
    now: () => time.cycles,
    memoryBytes: 1 << 24,
    memory: NOWHERE,
    registers: NOWHERE,
    catchUp: false,
    apic,
    onPower: () => {},
    onConsole: () => {},
    onGuestLog: () => {},
    onTimerInterrupt: () => {
      timerInterrupts += 1;
    },
  });
  /** Goes to the next device timer and takes the interrupt, if there is one. */
  const step = (): number | undefined => {
    time.cycles = Math.ceil(board.clock.nextAt);
    board.clock.runDue(time.cycles);
    return board.interrupts.output ? board.interrupts.acknowledge() : undefined;
  };
  return { board, step, timerInterrupts: () => timerInterrupts };
}

const delivered = ({ board }: ReturnType<typeof boardWith>) =>
  board.interruptSample().map(({ irq, vector, devices, delivered: count }) => [irq, vector, devices.join(), count]);

test('the timer of the local APIC interrupts by itself: it is told of beside the lines, once it is on', () => {
  const built = boardWith(true);
  const { board, step } = built;
  const lines = [
    [0, 0, 'pit', 0],
    [1, 1, 'keyboard', 0],
    [4, 4, 'com1', 0],
  ];
  expect(delivered(built)).toEqual(lines);
  board.apic!.write(R.SVR, 0x1ff);
  board.apic!.write(R.DIVIDE, 0xb);
  board.apic!.write(R.LVT_TIMER, PERIODIC | 0xef);
  board.apic!.write(R.INITIAL_COUNT, 1000);
  expect(delivered(built)).toEqual([...lines, [undefined, 0xef, 'local timer', 0]]);
  for (let tick = 1; tick <= 3; tick++) {
    expect(step()).toBe(0xef);
    board.apic!.write(R.EOI, 0);
    expect(built.timerInterrupts()).toBe(tick);
  }
  expect(delivered(built)).toEqual([...lines, [undefined, 0xef, 'local timer', 3]]);
  // What was counted stays when the guest turns it off.
  board.apic!.write(R.INITIAL_COUNT, 0);
  expect(delivered(built).at(-1)).toEqual([undefined, 0xef, 'local timer', 3]);
});

test('without a local APIC there are the lines', () => {
  expect(delivered(boardWith(false)).map(([irq]) => irq)).toEqual([0, 1, 4]);
});
