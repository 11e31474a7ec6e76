/**
 * The experiments of the bench: each boots a fresh VM, so that a figure does not depend on which other experiments were
 * asked for, and reads the host's own counters before and after.
 *
 * Programs are timed as the paper's were: the guest reports through the backdoor when it starts and ends, and the host
 * stamps the lines. Cycles come from samples around that span. A guest that waits for a key does nothing, so the program's
 * name is typed ahead of the first sample and only the newline after it; the pause behind the program costs idle cycles only.
 */
import {
  CAUSE_NAMES,
  type CauseCycles,
  COUNTER_NAMES,
  COUNTERS,
  type Counters,
  type Host,
  type HostEvent,
  type Mode,
  MonitorBug,
  type VmSample,
} from '../../hypervisor/index.js';
import { Runner } from '../../session/runner.js';
import { createHost } from '../create-host.js';
import { isOurBug } from '../exit.js';
import { singleVmHost } from '../single-vm.js';

/** The paper's six kernel microbenchmarks, and pure computation as the control. */
export const PROGRAMS = ['getppid', 'divzero', 'segv', 'nativeswitch', 'javaswitch', 'nforkwait', 'spin'] as const;
export const EXPERIMENTS = ['boot', 'idle', ...PROGRAMS] as const;
export type Experiment = (typeof EXPERIMENTS)[number];

export interface Measurement {
  readonly experiment: Experiment;
  readonly mode: Mode;
  /** Virtual time: boot: power-on to the end of rc.local; idle: the span that was watched; programs: start to end. */
  readonly virtualSeconds: number;
  /** Charged to the VM in that span (boot: since power-on). */
  readonly chargedCycles: number;
  /** Sum to `chargedCycles`. */
  readonly causes: CauseCycles;
  /** Rise of every counter in the span; gauges at its end. */
  readonly counters: Counters;
}

export interface Laboratory {
  readonly image: string;
  readonly bytes: Uint8Array;
  /** Cost profile. */
  readonly costs: string;
  readonly costOverrides: Readonly<Record<string, number>>;
  /** Called often, with what is being done. */
  onProgress(doing: string): void;
}

/** The guest did not do what an experiment needs: it crashed, hung or reported a failure. */
export class ExperimentFailure extends Error {
  override readonly name = 'ExperimentFailure';
}

/**
 * What is typed where the program's own number of iterations does not do: `spin` is to compare user-mode code, so it has to
 * outlast by far the forks and page faults of its sixteen instances.
 */
const LINES: Readonly<Partial<Record<Experiment, string>>> = { spin: 'spin 600' };

const VM = 'bench';
const MEMORY_MIB = 64;
/** Virtual time for a guest to come to rest, ms. */
const SETTLE_MS = 30;
/** Idle time that is watched, virtual ms. */
const IDLE_MS = 2_000;
/** Virtual time after which an experiment counts as hung, ms. */
const PATIENCE_MS = 60_000;

/** Throws `ExperimentFailure`. */
export async function measure(experiment: Experiment, mode: Mode, lab: Laboratory): Promise<Measurement> {
  const host = await createHost({
    ...singleVmHost({
      name: VM,
      mode,
      memoryMib: MEMORY_MIB,
      image: lab.image,
      bytes: lab.bytes,
      append: '',
      costOverrides: lab.costOverrides,
    }),
    costs: lab.costs,
  });
  const bench = new TestBench(host, mode, lab);
  await bench.boot();
  switch (experiment) {
    case 'boot':
      return bench.bootMeasurement();
    case 'idle':
      return bench.idle();
    default:
      return bench.program(experiment);
  }
}

class TestBench {
  readonly #host: Host;
  readonly #mode: Mode;
  readonly #lab: Laboratory;
  #console = '';
  #doing = 'boot';

  constructor(host: Host, mode: Mode, lab: Laboratory) {
    this.#host = host;
    this.#mode = mode;
    this.#lab = lab;
  }

  async boot(): Promise<void> {
    this.#execute({ kind: 'powerOn', vm: VM });
    await this.#until(logged('vmitop: boot done'));
  }

  /** The sample is taken in the quantum in which the guest reported: what follows within it is an idle shell. */
  bootMeasurement(): Measurement {
    const vm = this.#vm();
    if (vm.bootCycles === undefined) throw this.#failure('did not report the end of its boot');
    return this.#measurement('boot', this.#seconds(vm.bootCycles), undefined, vm);
  }

  async idle(): Promise<Measurement> {
    await this.#pass(SETTLE_MS);
    this.#doing = 'idle';
    const before = this.#vm();
    const startCycles = this.#host.nowCycles;
    await this.#pass(IDLE_MS);
    return this.#measurement('idle', this.#seconds(this.#host.nowCycles - startCycles), before, this.#vm());
  }

  async program(name: (typeof PROGRAMS)[number]): Promise<Measurement> {
    await this.#pass(SETTLE_MS);
    this.#doing = name;
    this.#execute({ kind: 'type', vm: VM, text: LINES[name] ?? name });
    await this.#pass(SETTLE_MS);
    this.#console = '';
    const before = this.#vm();
    this.#execute({ kind: 'type', vm: VM, text: '\n' });
    const start = await this.#until(logged(`vmitop: start ${name}`));
    const end = await this.#until(logged(`vmitop: end ${name}`), start.after);
    await this.#pass(SETTLE_MS);
    const verdict = this.#console.split(/\r?\n/).find(line => line.startsWith(`${name}:`));
    if (!verdict?.endsWith(': ok')) throw this.#failure(`printed "${verdict ?? 'nothing'}"`);
    return this.#measurement(name, this.#seconds(end.atCycles - start.atCycles), before, this.#vm());
  }

  #measurement(
    experiment: Experiment,
    virtualSeconds: number,
    before: VmSample | undefined,
    after: VmSample,
  ): Measurement {
    const causes = Object.fromEntries(
      CAUSE_NAMES.map(cause => [cause, after.causes[cause] - (before?.causes[cause] ?? 0)]),
    ) as CauseCycles;
    const counters = Object.fromEntries(
      COUNTER_NAMES.map(name => {
        const gauge = 'gauge' in COUNTERS[name];
        return [name, after.counters[name] - (gauge ? 0 : (before?.counters[name] ?? 0))];
      }),
    ) as Counters;
    const chargedCycles = after.chargedCycles - (before?.chargedCycles ?? 0);
    return { experiment, mode: this.#mode, virtualSeconds, chargedCycles, causes, counters };
  }

  #vm(): VmSample {
    return this.#host.sample().vms.find(vm => vm.name === VM)!;
  }

  #seconds(cycles: number): number {
    return cycles / this.#host.cyclesPerSecond;
  }

  #execute(command: Parameters<Host['execute']>[0]): void {
    const result = this.#host.execute(command);
    if (!result.ok) throw this.#failure(result.reason);
  }

  #failure(what: string): ExperimentFailure {
    return new ExperimentFailure(`${this.#doing} (${this.#mode}): the guest ${what}`);
  }

  /** Lets virtual time pass. */
  async #pass(ms: number): Promise<void> {
    const untilCycles = this.#host.nowCycles + (ms / 1000) * this.#host.cyclesPerSecond;
    await this.#run(() => this.#host.nowCycles >= untilCycles);
  }

  /** Runs until an event; what else happened in the same quantum can be asked about with `earlier`. */
  async #until(
    wanted: (event: HostEvent) => boolean,
    earlier: readonly HostEvent[] = [],
  ): Promise<{ atCycles: number; after: readonly HostEvent[] }> {
    let found = earlier.find(wanted);
    let after: readonly HostEvent[] = found ? earlier.slice(earlier.indexOf(found) + 1) : [];
    const limit = this.#host.nowCycles + (PATIENCE_MS / 1000) * this.#host.cyclesPerSecond;
    if (!found) {
      await this.#run(events => {
        found = events.find(wanted);
        if (found) after = events.slice(events.indexOf(found) + 1);
        if (!found && this.#host.nowCycles > limit) throw this.#failure(`hung for ${PATIENCE_MS / 1000} s`);
        return found !== undefined;
      });
    }
    return { atCycles: found!.atCycles, after };
  }

  async #run(done: (events: readonly HostEvent[]) => boolean): Promise<void> {
    const runner = new Runner(this.#host, 'max', {
      onQuantum: events => {
        for (const event of events) {
          if (event.kind === 'console') this.#console += event.text;
          if (event.kind !== 'power' || event.state === 'on') continue;
          if (isOurBug(event.reason)) throw new MonitorBug(`${this.#doing} (${this.#mode}): ${event.reason}`);
          throw this.#failure(event.state === 'crashed' ? `crashed: ${event.reason}` : 'powered off');
        }
        return done(events) ? 'stop' : 'go';
      },
      onSlice: () => {
        this.#host.drainSamples();
        this.#lab.onProgress(`${this.#doing} (${this.#mode})`);
      },
    });
    await runner.run();
  }
}

const logged =
  (text: string) =>
  (event: HostEvent): boolean =>
    event.kind === 'log' && event.line.endsWith(text);
