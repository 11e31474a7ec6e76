/** A delivery or return that is remembered leaves what the long way leaves: state, memory, time, counters, TLB. */
import { describe, expect, test } from 'vitest';
import { S } from '../../src/hypervisor/machine/cpu/state.js';
import { CODE, CS3, DATA, DS3, GDT, HANDLERS, IDT, Machine, STACK3, TSS } from './fixture.js';

const PROGRAM = `
  mov ecx, 40
top:
  int 0x80
  mov edx, 0
  mov eax, 5
  div edx
  mov eax, [${DATA + 0x100000}]
  push 0x41
  pop ebx
  dec ecx
  jnz top
  int 0x21`;

/** What changes between rounds of the loop, from outside; the long way must be gone again after each. */
const DISTURBANCES: Readonly<Record<string, (machine: Machine, round: number) => void>> = {
  nothing: () => {},
  'another ring-0 stack each round': (machine, round) => machine.write32(TSS + 4, 0x28000 - (round & 7) * 64),
  'a ring-0 stack over a page end': (machine, round) => machine.write32(TSS + 4, 0x27000 + (round & 3) * 4),
  'accessed bits cleared': machine => {
    for (const at of [0x08, 0x10, CS3 & ~7, DS3 & ~7]) {
      machine.write32(GDT + at + 4, machine.read32(GDT + at + 4) & ~0x100);
    }
  },
  'trap gate and interrupt gate in turn': (machine, round) => {
    machine.write32(IDT + 0x80 * 8 + 4, (machine.read32(IDT + 0x80 * 8 + 4) & ~0x100) | (round & 1 ? 0x100 : 0));
  },
  'the table elsewhere': (machine, round) => {
    for (let at = 0; at < 0x80; at += 4) machine.write32(0x6000 + at, machine.read32(GDT + at));
    machine.cpu.s[S.GDT_BASE] = round & 1 ? 0x6000 : GDT;
  },
  'TLB flushed': machine => machine.cpu.flushTlb(),
  'stack segment with a limit': (machine, round) =>
    machine.descriptor(0x10, 0, round & 1 ? 0x27ffff : 0xffffffff, 0x4093),
};

describe.each([{ paging: false }, { paging: true }])('paging $paging', ({ paging }) => {
  test.each(Object.keys(DISTURBANCES))('%s', name => {
    const run = (remember: boolean) => {
      const machine = new Machine();
      machine.gate(0x21, 3);
      machine.loadAt(HANDLERS + 0x80 * 16, 'mov ebp, esp\nout 0x80, al\niretd');
      machine.loadAt(HANDLERS, 'add dword [esp], 2\niretd');
      machine.loadAt(HANDLERS + 14 * 16, `add esp, 4\nor dword [${machine.pteAt(DATA + 0x100000)}], 7\niretd`);
      if (paging) {
        machine.enablePaging();
        machine.write32(machine.pteAt(DATA + 0x100000), 0);
      }
      if (!remember) {
        machine.cpu.transitions.noteDelivery = () => {};
        machine.cpu.transitions.noteReturn = () => {};
      }
      let round = 0;
      machine.onPort = () => DISTURBANCES[name]!(machine, round++);
      machine.load(PROGRAM);
      machine.setRing(3);
      // IOPL 0: the port is for the handler.
      machine.cpu.s[S.ESP] = STACK3;
      machine.cpu.writeEflags(0x202);
      const exit = machine.run();
      const { cpu } = machine;
      expect(cpu.transitions.words.some(word => word !== 0)).toBe(remember);
      return {
        exit,
        state: Array.from(cpu.s.subarray(0, S.TEMP)),
        cycles: cpu.cycles,
        rings: Array.from(cpu.cyclesByRing),
        instructions: cpu.instructions,
        counters: { ...cpu.counters, blocksDecoded: 0 },
        tlb: cpu.tlbEntries(),
        stack: Array.from({ length: 64 }, (_, i) => machine.read32(0x28000 - 4 * (i + 1))),
        ports: machine.portLog.length,
      };
    };
    const remembered = run(true);
    expect(remembered).toEqual(run(false));
    expect(remembered.exit).toEqual({ kind: 'halt' });
    expect(remembered.ports).toBe(40);
    expect(remembered.counters.exceptions).toBe(40 * 2 + 1 + (paging ? 1 : 0));
    expect(machineCode(remembered.state)).toBe(HANDLERS + 0x21 * 16 + 1);
  });
});

const machineCode = (state: readonly number[]): number => state[S.EIP]! >>> 0;

test('the TSC can be written and goes on from there', () => {
  const machine = new Machine();
  machine.execute('mov ecx, 0x10\nmov edx, 5\nmov eax, 0x100\nwrmsr\nrdtsc\nhlt');
  expect(machine.reg(S.EDX)).toBe(5);
  expect(machine.reg(S.EAX)).toBeGreaterThan(0x100);
  expect(machine.reg(S.EAX)).toBeLessThan(0x1000);
  machine.execute('mov ecx, 0x10\nmov edx, 0\nmov eax, 0\nwrmsr\nrdmsr\nhlt');
  expect(machine.reg(S.EDX)).toBe(0);
  expect(CODE).toBeLessThan(machine.reg(S.EIP));
});
