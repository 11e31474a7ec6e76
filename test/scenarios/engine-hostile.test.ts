/**
 * Guests that are hard on an engine that compiles slow themselves down: compiled code stays within its bound, the process with it,
 * and a neighbour has the same share of virtual time and gets the same work done as beside a guest that only spins.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { createHost } from '../../src/hypervisor/index.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { LOAD_ADDRESS, multiboot } from '../differential/oracle-image.js';
import { AT_1000_HZ, image as guest, PROLOGUE } from '../vm/programs.js';
import { fillsCodeCache, jumpsThroughMemory, patchesEachTime, patchesWhatIsHot } from './engine-guests.js';

const QUANTA = 2;
const CODE_BYTES_MAX = 4 << 20;
/** Of the process, besides compiled code: decoded blocks, garbage, the test itself. */
const SLACK_BYTES = 200 << 20;

/** From one filling of the code cache to the next ones. */
const TIGHT_GROWTH_BYTES = 96 << 20;

const image = (source: string) => multiboot(assemble(LOAD_ADDRESS + 32, source).bytes);

/** The work. */
const ROUNDS = `mov ecx, 2000
top:  push ecx
      imul eax, ecx, 77
      add [0x80000], eax
      pop ecx
      dec ecx
      jnz top`;

const images = {
  /** Prints a letter for every 2,000 rounds of work. */
  worker: image(`
      mov esp, 0x90000
      mov dx, 0x3f8
more: ${ROUNDS}
      mov al, 0x78
      out dx, al
      jmp more`),
  /** The same a thousand times a second, 160 letters each time, and halted in between. */
  sleeper: guest(`${PROLOGUE}
main: mov eax, tick
      mov ecx, 0x20
      call gate
      ${AT_1000_HZ}
wait: sti
      hlt
      mov ebp, 160
more: ${ROUNDS}
      mov al, 0x78
      call put
      dec ebp
      jnz more
      jmp wait
tick: push eax
      mov al, 0x20
      out 0x20, al
      pop eax
      iretd`),
  spin: image('top: jmp top'),
  patchesEachTime,
  patchesWhatIsHot,
  fillsCodeCache: fillsCodeCache(400, 150),
  jumpsThroughMemory: jumpsThroughMemory(400),
};

type ImageName = keyof typeof images;

interface Bounds {
  readonly quanta: number;
  readonly codeBytesMax: number;
}

const USUAL: Bounds = { quanta: QUANTA, codeBytesMax: CODE_BYTES_MAX };
/** The sleeper's first tick, and some more. */
const SHARED: Bounds = { quanta: 3, codeBytesMax: CODE_BYTES_MAX };
/** Room for a few of the functions that are compiled. */
const TIGHT: Bounds = { quanta: 6, codeBytesMax: 1 << 20 };

/** One processor is shared: a worker that never sleeps would have it for a whole time slice, which is 50 ms. */
function work(pcpus: 1 | 2, neighbour: ImageName, { quanta, codeBytesMax }: Bounds = pcpus === 1 ? SHARED : USUAL) {
  const vm = { memoryMib: 16, monitor: 'native', vmi: false, append: '', powerOn: true } as const;
  const host = createHost({
    name: 'test',
    pcpus,
    memoryMib: 256,
    costs: 'xeon-5160',
    images,
    vms: [
      { ...vm, name: 'worker', image: pcpus === 1 ? 'sleeper' : 'worker' },
      { ...vm, name: 'neighbour', image: neighbour },
    ],
    sampleIntervalMs: 1000,
    engine: { codeBytesMax },
  });
  const before = process.memoryUsage().rss;
  let compiledBytes = 0;
  let filledAt = before;
  for (let i = 0; i < quanta; i++) {
    host.advance(host.nowCycles + host.quantumCycles);
    compiledBytes = Math.max(compiledBytes, host.engine.compiledBytes);
    if (i === QUANTA - 1) filledAt = process.memoryUsage().rss;
  }
  const vms = host.sample().vms;
  const printed = host.drainEvents().reduce((sum, event) => {
    return sum + (event.kind === 'console' && event.vm === 'worker' ? event.text.length : 0);
  }, 0);
  return {
    printed,
    compiledBytes,
    grown: process.memoryUsage().rss - before,
    /** Since the code cache was full for the first time. */
    grownLater: process.memoryUsage().rss - filledAt,
    engine: host.engine,
    usedCycles: vms.map(({ worlds }) => worlds[0]!.usedCycles),
    crashes: vms.map(({ crashReason }) => crashReason),
    /** Of its processor's time. */
    neighbourRan: vms[1]!.worlds[0]!.usedCycles / host.nowCycles,
  };
}

describe.each([1, 2] as const)('on %i processors', pcpus => {
  let quiet: ReturnType<typeof work>;
  beforeAll(() => {
    quiet = work(pcpus, 'spin');
    expect(quiet.printed).toBeGreaterThan(60);
  });

  test.each(['patchesEachTime', 'patchesWhatIsHot', 'fillsCodeCache', 'jumpsThroughMemory'] as const)(
    '%s',
    neighbour => {
      const { printed, compiledBytes, grown, crashes, neighbourRan } = work(pcpus, neighbour);
      expect(crashes).toEqual([undefined, undefined]);
      expect(neighbourRan).toBeGreaterThan(pcpus === 1 ? 0.4 : 0.99);
      expect(printed).toBeGreaterThan(quiet.printed * 0.97);
      expect(printed).toBeLessThan(quiet.printed * 1.03);
      expect(compiledBytes).toBeGreaterThan(0);
      // The last region may go beyond it.
      expect(compiledBytes).toBeLessThan(CODE_BYTES_MAX + (1 << 20));
      expect(grown).toBeLessThan(CODE_BYTES_MAX + SLACK_BYTES);
    },
  );
});

test('a code cache that is filled and emptied again and again takes no more memory, and no time of the neighbour', () => {
  const quiet = work(2, 'spin', TIGHT);
  const { engine, compiledBytes, grownLater, printed, usedCycles, crashes } = work(2, 'fillsCodeCache', TIGHT);
  expect(crashes).toEqual([undefined, undefined]);
  // Several times as much has been compiled as there is room for, and nearly all that lives fills the room.
  expect(engine.compilations).toBeGreaterThan(4 * engine.regions);
  expect(compiledBytes).toBeGreaterThan(TIGHT.codeBytesMax / 2);
  expect(compiledBytes).toBeLessThan(TIGHT.codeBytesMax * 1.25);
  // What V8 has not collected yet is in it.
  expect(grownLater).toBeLessThan(TIGHT_GROWTH_BYTES);
  expect(printed).toBeGreaterThan(quiet.printed * 0.97);
  expect(printed).toBeLessThan(quiet.printed * 1.03);
  // Each has a processor of its own, all the time.
  for (const cycles of usedCycles) expect(cycles).toBeGreaterThan(0.99 * Math.min(...quiet.usedCycles));
});
