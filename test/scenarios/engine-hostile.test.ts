/**
 * Guests that are hard on an engine that compiles slow themselves down: compiled code stays within its bound, the process with it,
 * and a neighbour has the same share of virtual time and gets the same work done as beside a guest that only spins.
 */
import { beforeAll, describe, expect, test } from 'vitest';
import { createHost } from '../../src/hypervisor/index.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { LOAD_ADDRESS, multiboot } from '../differential/oracle-image.js';
import { fillsCodeCache, jumpsThroughMemory, patchesEachTime, patchesWhatIsHot } from './engine-guests.js';

const QUANTA = 2;
const CODE_BYTES_MAX = 4 << 20;
/** Of the process, besides compiled code: decoded blocks, garbage, the test itself. */
const SLACK_BYTES = 400 << 20;

const image = (source: string) => multiboot(assemble(LOAD_ADDRESS + 32, source).bytes);

const images = {
  /** Prints a letter for every 2,000 rounds of work. */
  worker: image(`
      mov esp, 0x90000
      mov dx, 0x3f8
more: mov ecx, 2000
top:  push ecx
      imul eax, ecx, 77
      add [0x80000], eax
      pop ecx
      dec ecx
      jnz top
      mov al, 0x78
      out dx, al
      jmp more`),
  spin: image('top: jmp top'),
  patchesEachTime,
  patchesWhatIsHot,
  fillsCodeCache: fillsCodeCache(400, 150),
  jumpsThroughMemory: jumpsThroughMemory(400),
};

type ImageName = keyof typeof images;

function work(pcpus: number, neighbour: ImageName) {
  const vm = { memoryMib: 16, monitor: 'native', vmi: false, append: '', powerOn: true } as const;
  const host = createHost({
    name: 'test',
    pcpus,
    memoryMib: 256,
    costs: 'xeon-5160',
    images,
    vms: [
      { ...vm, name: 'worker', image: 'worker' },
      { ...vm, name: 'neighbour', image: neighbour },
    ],
    sampleIntervalMs: 1000,
    engine: { codeBytesMax: CODE_BYTES_MAX },
  });
  const before = process.memoryUsage().rss;
  let compiledBytes = 0;
  for (let i = 0; i < QUANTA; i++) {
    host.advance(host.nowCycles + host.quantumCycles);
    compiledBytes = Math.max(compiledBytes, host.engine.compiledBytes);
  }
  const vms = host.sample().vms;
  const printed = host.drainEvents().reduce((sum, event) => {
    return sum + (event.kind === 'console' && event.vm === 'worker' ? event.text.length : 0);
  }, 0);
  return {
    printed,
    compiledBytes,
    grown: process.memoryUsage().rss - before,
    crashes: vms.map(({ crashReason }) => crashReason),
    neighbourRan: vms[1]!.counters,
  };
}

describe.each([1, 2])('on %i processors', pcpus => {
  let quiet: ReturnType<typeof work>;
  beforeAll(() => {
    quiet = work(pcpus, 'spin');
    expect(quiet.printed).toBeGreaterThan(60);
  });

  test.each(['patchesEachTime', 'patchesWhatIsHot', 'fillsCodeCache', 'jumpsThroughMemory'] as const)(
    '%s',
    neighbour => {
      const { printed, compiledBytes, grown, crashes } = work(pcpus, neighbour);
      expect(crashes).toEqual([undefined, undefined]);
      expect(printed).toBeGreaterThan(quiet.printed * 0.97);
      expect(printed).toBeLessThan(quiet.printed * 1.03);
      expect(compiledBytes).toBeGreaterThan(0);
      // The last region may go beyond it.
      expect(compiledBytes).toBeLessThan(CODE_BYTES_MAX + (1 << 20));
      expect(grown).toBeLessThan(CODE_BYTES_MAX + SLACK_BYTES);
    },
  );
});
