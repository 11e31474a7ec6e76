/**
 * Every program of the guest in every mode: the text that QEMU recorded, no audit finding, cycles that sum to the total; and
 * what the modes cost beside each other.
 *
 * The bare machine's text against QEMU's is in test/guest/console.test.ts.
 */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { CAUSE_NAMES, CAUSES, type CauseSpec, type Mode, type VmSample } from '../../src/hypervisor/index.js';
import { normalizeConsole } from '../oracle/normalize.js';
import { RECORDINGS, Typist } from '../oracle/qemu.js';
import { findings, type GuestRun, MODES, runGuest } from './run-guest.js';

const BENCHMARKS = ['getppid', 'divzero', 'segv', 'nativeswitch', 'javaswitch', 'nforkwait'] as const;
/** Enough for the iterations to outweigh the forks of the 16 instances. */
const ITERATIONS = 16;
/** Some 7 ms. The program as a whole, with its forks: test/cli/bench.test.ts. */
const SPIN_ITERATIONS = 100;
/** A boot with all programs takes 5 to 40 quanta. */
const AUDIT_EVERY_QUANTA = 3;

/** Cycles of the host's clock between the guest's own log lines "start NAME" and "end NAME". */
function programCycles(run: GuestRun, program: string): number {
  const at = (what: string) =>
    run.events.find(event => event.kind === 'log' && event.line.includes(`vmitop: ${what} ${program}`));
  const start = at('start');
  const end = at('end');
  if (!start || !end) throw new Error(`no start or end of ${program} in the log`);
  return end.atCycles - start.atCycles;
}

const causesSum = (vm: VmSample) => CAUSE_NAMES.reduce((sum, cause) => sum + vm.causes[cause], 0);

function expectSound({ events, vm }: GuestRun, mode: Mode): void {
  expect(findings(events)).toEqual([]);
  expect(vm.power).toBe('off');
  expect(vm.vmiActive).toBe(mode === 'vmi');
  expect(causesSum(vm)).toBe(vm.chargedCycles);
  expectCounted(vm, mode);
}

/** A cause that is counted has events exactly where it has cycles. Being dispatched costs nothing where no vmkernel is below. */
function expectCounted(vm: VmSample, mode: Mode): void {
  for (const cause of CAUSE_NAMES) {
    const { label, counters }: CauseSpec = CAUSES[cause];
    if (counters.length === 0 || (mode === 'native' && cause === 'scheduling')) continue;
    const events = counters.reduce((sum, name) => sum + vm.counters[name], 0);
    expect({ label, events: events > 0 }).toEqual({ label, events: vm.causes[cause] > 0 });
  }
}

describe.each(RECORDINGS)('the run "$name" says under a monitor what it said in QEMU', ({ name, append, typed }) => {
  test.each(['bt', 'hv', 'vmi'] as const)('%s', mode => {
    const run = runGuest({ mode, append, auditEveryQuanta: AUDIT_EVERY_QUANTA, typist: new Typist(typed) });
    const expected = readFileSync(new URL(`../../fixtures/console/qemu-${name}.txt`, import.meta.url), 'utf8');
    expect(normalizeConsole(run.console)).toBe(expected);
    expectSound(run, mode);
  });
});

describe('the microbenchmarks', () => {
  const runs = new Map<Mode, GuestRun>();

  test.each(MODES)('end under %s with clean audits and a closed account', mode => {
    const append = `run=${BENCHMARKS.join(',')} iterations=${ITERATIONS}`;
    const run = runGuest({ mode, append, auditEveryQuanta: AUDIT_EVERY_QUANTA });
    runs.set(mode, run);
    for (const name of BENCHMARKS)
      expect(run.console).toContain(`${name}: 16 instances x ${ITERATIONS} iterations: ok`);
    expectSound(run, mode);
  });

  test('print the same text in all modes', () => {
    const [native, ...others] = MODES.map(mode => normalizeConsole(runs.get(mode)!.console));
    for (const text of others) expect(text).toBe(native);
  });

  test.each(BENCHMARKS)('%s costs more under binary translation than with VMI, and more there than natively', name => {
    const [native, bt, vmi] = (['native', 'bt', 'vmi'] as const).map(mode => programCycles(runs.get(mode)!, name));
    expect(bt).toBeGreaterThan(vmi!);
    expect(vmi).toBeGreaterThan(native!);
  });
});

describe('user code', () => {
  interface Spin {
    readonly mode: Mode;
    /** From the first iteration to the last: what a run takes longer than one of no iterations. */
    readonly cycles: number;
    /** Of `cycles`: what the timer's ticks took. */
    readonly tickCycles: number;
  }
  const spins: Spin[] = [];

  /**
   * The loop of `spin` makes no system calls. What is not user code therefore grows with the number of iterations by the ticks
   * that come meanwhile, with the monitor's share in them, and by nothing else.
   */
  beforeAll(() => {
    for (const mode of MODES) {
      const [none, many] = [0, SPIN_ITERATIONS].map(iterations =>
        runGuest({ mode, append: `run=spin iterations=${iterations}`, auditEveryQuanta: AUDIT_EVERY_QUANTA }),
      );
      for (const run of [none!, many!]) expectSound(run, mode);
      const besidesUser = ({ vm }: GuestRun) => vm.chargedCycles - vm.causes.guestUser;
      spins.push({
        mode,
        cycles: programCycles(many!, 'spin') - programCycles(none!, 'spin'),
        tickCycles: besidesUser(many!) - besidesUser(none!),
      });
    }
  });

  const spread = (values: readonly number[]) => Math.max(...values) / Math.min(...values) - 1;

  test('costs the same in all modes, to 2 %, with the timer ticks and without them', () => {
    // Eight instructions a step, 1000 steps an iteration, 16 instances: there is something to compare.
    for (const { mode, cycles } of spins) expect(cycles, mode).toBeGreaterThan(8 * 1000 * 16 * SPIN_ITERATIONS);
    expect(spread(spins.map(({ cycles }) => cycles))).toBeLessThan(0.02);
    expect(spread(spins.map(({ cycles, tickCycles }) => cycles - tickCycles))).toBeLessThan(0.002);
  });

  test('is disturbed by ticks, by less than 1 %', () => {
    for (const { mode, cycles, tickCycles } of spins) expect(Math.abs(tickCycles) / cycles, mode).toBeLessThan(0.01);
  });
});
