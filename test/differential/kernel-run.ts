/** Runs random kernels natively and under the monitors, and compares what they print at their marks. */
import { VmHost } from '../../src/hypervisor/vm/host.js';
import { consoleOf, findings } from '../scenarios/run-guest.js';
import { dmaDevice } from '../vm/dma-device.js';
import { DMA_BLOCKS, type KernelProgram, kernelImage, MARK_BYTES } from './kernel-program.js';

export const KERNEL_MODES = ['native', 'bt', 'hv'] as const;
type KernelMode = (typeof KERNEL_MODES)[number];

/** Enough for any of them; one that runs away is a failure. */
const QUANTA_MAX = 400;
/** The smallest there is: some thirty units fill it. */
export const TINY_TC_KIB = 4;
const NAMES = ['edi', 'esi', 'ebp', 'esp', 'ebx', 'edx', 'ecx', 'eax', 'eflags', 'data'];

export interface KernelRun {
  /** One byte a character. */
  readonly printed: string;
  readonly end: string;
  readonly counters: { readonly [name: string]: number };
}

export function runKernel(program: KernelProgram, mode: KernelMode, tcKib = TINY_TC_KIB): KernelRun {
  const host = new VmHost(
    {
      name: 'test',
      pcpus: 1,
      memoryMib: 64,
      costs: 'xeon-5160',
      images: { image: kernelImage(program) },
      vms: [
        {
          name: 'vm',
          memoryMib: 8,
          monitor: mode,
          vmi: false,
          image: 'image',
          append: '',
          powerOn: true,
          ...(mode === 'bt' && { tcKib }),
        },
      ],
      sampleIntervalMs: 1000,
      auditEveryQuanta: 1,
    },
    [dmaDevice(DMA_BLOCKS)],
  );
  let { counters } = host.sample().vms[0]!;
  for (let i = 0; i < QUANTA_MAX && host.anyPoweredOn; i++) {
    host.advance(host.nowCycles + host.quantumCycles);
    ({ counters } = host.sample().vms[0]!);
  }
  const events = host.drainEvents();
  const { power, crashReason } = host.sample().vms[0]!;
  const found = findings(events);
  const end = found.length > 0 ? `audit: ${found[0]}` : (crashReason ?? power);
  return { printed: consoleOf(events), end, counters };
}

/** Both marks where two runs differ first, and how they end; empty when they agree. */
export function kernelDifferences(native: KernelRun, other: KernelRun): string[] {
  const found: string[] = [];
  if (native.end !== other.end) found.push(`end: ${native.end} / ${other.end}`);
  if (native.printed === other.printed) return found;
  const { length } = native.printed;
  if (length !== other.printed.length) found.push(`bytes printed: ${length} / ${other.printed.length}`);
  for (let at = 0; at < Math.max(length, other.printed.length); at += MARK_BYTES) {
    const [one, two] = [marked(native.printed, at), marked(other.printed, at)];
    const different = NAMES.flatMap((name, i) => (one[i] === two[i] ? [] : [`${name} ${one[i]} / ${two[i]}`]));
    if (different.length > 0) return [...found, `mark ${at / MARK_BYTES}: ${different.join(', ')}`];
  }
  return found;
}

const marked = (printed: string, at: number): string[] =>
  NAMES.map((_, word) =>
    [3, 2, 1, 0]
      .map(byte => printed.charCodeAt(at + word * 4 + byte))
      .map(code => (Number.isNaN(code) ? '--' : code.toString(16).padStart(2, '0')))
      .join(''),
  );

/** What is wrong with a program, under whom; undefined when all agree. */
export function checkKernel(
  program: KernelProgram,
): { readonly mode: string; readonly differences: string[] } | undefined {
  const native = runKernel(program, 'native');
  if (native.end !== 'off' || native.printed.length % MARK_BYTES !== 0)
    return { mode: 'native', differences: [`the program does not come to its end: ${native.end}`] };
  for (const mode of ['bt', 'hv'] as const) {
    const differences = kernelDifferences(native, runKernel(program, mode));
    if (differences.length > 0) return { mode, differences };
  }
  return undefined;
}

/** Leaves statements out as long as `fails` says that what is left still fails. */
export function minimizeKernel(program: KernelProgram, fails: (smaller: KernelProgram) => boolean): KernelProgram {
  let best = program;
  const shrink = (
    count: (of: KernelProgram) => number,
    without: (of: KernelProgram, from: number, length: number) => KernelProgram,
  ) => {
    for (let length = Math.ceil(count(best) / 2); length >= 1; length = length === 1 ? 0 : Math.ceil(length / 2)) {
      for (let from = 0; from < count(best); ) {
        const smaller = without(best, from, length);
        if (fails(smaller)) best = smaller;
        else from += length;
      }
    }
  };
  const cut = <T>(list: readonly T[], from: number, length: number): T[] => [
    ...list.slice(0, from),
    ...list.slice(from + length),
  ];
  for (let before: KernelProgram | undefined; before !== best; ) {
    before = best;
    shrink(
      of => of.main.length,
      (of, from, length) => ({ ...of, main: cut(of.main, from, length) }),
    );
    program.functions.forEach((_, i) => {
      shrink(
        of => of.functions[i]!.length,
        (of, from, length) => ({
          ...of,
          functions: of.functions.map((body, n) => (n === i ? cut(body, from, length) : body)),
        }),
      );
    });
    shrink(
      of => of.disturbance.length,
      (of, from, length) => ({ ...of, disturbance: cut(of.disturbance, from, length) }),
    );
  }
  return best;
}
