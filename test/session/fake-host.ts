/** A host whose guests do what a test tells them: enough to test what stands around a host. */
import type {
  Command,
  CommandResult,
  Host,
  HostEvent,
  LoggedCommand,
  Sample,
  VmSample,
} from '../../src/hypervisor/index.js';

export interface FakeVm {
  readonly name: string;
  guestState: string;
}

export class FakeHost implements Host {
  nowCycles = 0;
  readonly cyclesPerSecond = 1_000_000;
  readonly quantumCycles = 1_000;
  readonly engine = { compiledBytes: 0, compiledBytesMax: 256 << 20, regions: 0, modules: 0, compilations: 0 };
  readonly commandLog: LoggedCommand[] = [];
  readonly anyPoweredOn = true;
  readonly vms: FakeVm[];
  /** Called for every quantum with the ms that have passed. */
  onQuantum: (ms: number) => void = () => {};
  /** Called for every command; a text refuses it. */
  onCommand: (command: Command) => string | undefined = () => undefined;
  #events: HostEvent[] = [];

  constructor(names: readonly string[] = ['vm']) {
    this.vms = names.map(name => ({ name, guestState: 'booting' }));
  }

  get nowMs(): number {
    return this.nowCycles / 1000;
  }

  emit(event: HostEvent): void {
    this.#events.push(event);
  }

  /** A guest reports a state. */
  report(vm: string, state: string): void {
    this.vms.find(one => one.name === vm)!.guestState = state;
    this.emit({ kind: 'guest', atCycles: this.nowCycles, vm, state });
  }

  execute(command: Command): CommandResult {
    const reason = this.onCommand(command);
    if (reason !== undefined) return { ok: false, reason };
    this.commandLog.push({ atCycles: this.nowCycles, command });
    return { ok: true };
  }

  advance(untilCycles: number): void {
    while (this.nowCycles < untilCycles) {
      this.nowCycles += this.quantumCycles;
      this.onQuantum(this.nowMs);
    }
  }

  sample(): Sample {
    const vms = this.vms.map(vm => ({ name: vm.name, guestState: vm.guestState }) as VmSample);
    return { sequence: 0, atCycles: this.nowCycles, cyclesPerSecond: this.cyclesPerSecond, vms } as unknown as Sample;
  }

  drainSamples(): Sample[] {
    return [];
  }

  drainEvents(): HostEvent[] {
    const events = this.#events;
    this.#events = [];
    return events;
  }

  suspendedState(): undefined {}

  guestDigest(): string {
    return '';
  }

  screen(): never {
    throw new Error('not asked for');
  }

  disassemble(): never {
    throw new Error('not asked for');
  }

  audit(): string[] {
    return [];
  }
}
