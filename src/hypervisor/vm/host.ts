/**
 * The host: hardware, vmkernel and VMs together, behind the interface that the door declares.
 *
 * Time advances in whole quanta. Commands take effect between quanta and are logged with the cycle; nothing else comes in from
 * outside, so that configuration and command log determine every sample.
 */
import { UsageError } from '../base/assert.js';
import { Ring } from '../base/ring.js';
import { SECTOR_BYTES } from '../devices/disk-image.js';
import type {
  Command,
  CommandResult,
  EngineState,
  Host,
  HostConfig,
  HostEvent,
  LoggedCommand,
  VmConfig,
} from '../index.js';
import { overrideCosts } from '../machine/costs/define.js';
import { COST_PROFILES } from '../machine/costs/index.js';
import type { CostProfile } from '../machine/costs/profile.js';
import { CodeCache } from '../machine/cpu/code-cache.js';
import type { Workshop } from '../machine/cpu/compile/workshop.js';
import { MachineMemory, RESERVED_BYTES } from '../machine/memory.js';
import type { CodeAnswer } from '../stats/code-listing.js';
import type { Sample } from '../stats/sample.js';
import type { ScreenAnswer } from '../stats/screen-text.js';
import { hostMemorySample } from '../vmkernel/host-memory.js';
import { LoadAverage } from '../vmkernel/load-average.js';
import { MpnAllocator } from '../vmkernel/mpn-allocator.js';
import { Scheduler } from '../vmkernel/scheduler.js';
import { VirtualSwitch } from '../vmkernel/virtual-switch.js';
import type { Adapter } from './board.js';
import { type BootImage, type BootOptions, parseKernel } from './boot-image.js';
import { checkHostConfig, checkVmConfig } from './config.js';
import { admitReservation, checkCpuAllocation } from './cpu-allocation.js';
import type { HostHardware } from './instance.js';
import { parseRom } from './rom.js';
import { VirtualMachine } from './virtual-machine.js';

/** Quanta per second of virtual time: one quantum is `QUANTUM_NS` of the door. */
const QUANTA_PER_SECOND = 1000;
/** Machine memory that is really backed, whatever the host declares: 1.5 GiB of address space, committed when touched. */
const BACKED_BYTES_MAX = 1536 * 1024 * 1024;
/** Events and samples that wait for somebody to take them; older ones are dropped. */
const EVENTS_MAX = 100_000;
const SAMPLES_MAX = 10_000;
/** Samples that are kept for a recording made afterwards, of whoever takes them out meanwhile. */
const HISTORY_MAX = 5_000;
const WORLDS_PER_VM = 3;

export class VmHost implements Host {
  readonly cyclesPerSecond: number;
  readonly quantumCycles: number;
  readonly config: HostConfig;
  readonly #costs: CostProfile;
  readonly #hardware: HostHardware;
  readonly #scheduler: Scheduler;
  readonly #network: VirtualSwitch;
  readonly #images = new Map<string, BootImage>();
  readonly #vms: VirtualMachine[] = [];
  readonly #events = new Ring<HostEvent>(EVENTS_MAX);
  readonly #samples = new Ring<Sample>(SAMPLES_MAX);
  readonly #commandLog: LoggedCommand[] = [];
  readonly #history = new Ring<Sample>(HISTORY_MAX);
  readonly #load = new LoadAverage();
  #now = 0;
  #quanta = 0;
  #sequence = 0;
  #sampleQuanta: number;
  #nextSampleAtQuantum: number;
  #busyAtLastSecond = 0;
  #nextWorldId = 1024;
  #nextGid = 16;

  readonly #adapters: readonly Adapter[];

  /**
   * Each board gets `adapters` besides its own devices, whenever it is powered on. `workshop` compiles, if there is one. Throws `UsageError` when the configuration
   * cannot be used; nothing is started then.
   */
  constructor(config: HostConfig, adapters: readonly Adapter[] = [], workshop?: Workshop) {
    checkHostConfig(config);
    this.#adapters = adapters;
    this.config = config;
    const profile = COST_PROFILES[config.costs];
    if (profile === undefined) {
      throw new UsageError(
        `unknown cost profile "${config.costs}", must be one of ${Object.keys(COST_PROFILES).join(', ')}`,
      );
    }
    this.#costs = config.costOverrides === undefined ? profile : overrideCosts(profile, config.costOverrides);
    this.cyclesPerSecond = this.#costs.cyclesPerSecond;
    this.quantumCycles = Math.floor(this.cyclesPerSecond / QUANTA_PER_SECOND);
    for (const vm of config.vms) this.#imageOf(vm);
    const memory = new MachineMemory(RESERVED_BYTES + Math.min(config.memoryMib * 1048576, BACKED_BYTES_MAX));
    this.#hardware = {
      memory,
      allocator: new MpnAllocator(memory),
      codeCache: new CodeCache(memory, config.engine, workshop),
      costs: this.#costs,
    };
    this.#scheduler = new Scheduler(config.pcpus, this.cyclesPerSecond, 0);
    this.#network = new VirtualSwitch(this.#costs.cycles, this.cyclesPerSecond);
    this.#sampleQuanta = this.#quantaOf(config.sampleIntervalMs);
    this.#nextSampleAtQuantum = this.#sampleQuanta;
    for (const vm of config.vms) this.#addVm(vm);
  }

  get nowCycles(): number {
    return this.#now;
  }

  get commandLog(): readonly LoggedCommand[] {
    return this.#commandLog;
  }

  get engine(): EngineState {
    const { bytes, bytesMax, regions, modules, compiled } = this.#hardware.codeCache.compiler;
    return { compiledBytes: bytes, compiledBytesMax: bytesMax, regions, modules, compilations: compiled };
  }

  /** The cost profile with the user's replacements. */
  get costs(): CostProfile {
    return this.#costs;
  }

  /** Every sample of the sampling interval so far; undefined once there were too many to keep. */
  get history(): readonly Sample[] | undefined {
    return this.#history.dropped > 0 ? undefined : this.#history.items();
  }

  get anyPoweredOn(): boolean {
    return this.#vms.some(vm => vm.power === 'on');
  }

  execute(command: Command): CommandResult {
    try {
      this.#execute(command);
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      // Commands check before they change anything. A broken promise of our own comes out as such.
      return { ok: false, reason: error instanceof UsageError ? error.message : `${error.name}: ${error.message}` };
    }
    this.#commandLog.push({ atCycles: this.#now, command });
    return { ok: true };
  }

  advance(untilCycles: number): void {
    while (this.#now < untilCycles) this.#quantum();
  }

  sample(): Sample {
    const vms = this.#vms.map(vm => vm.sample(this.#now));
    const usedByVmsKb = vms.reduce((sum, { memory }) => sum + memory.grantedKb + memory.overheadKb, 0);
    const reservedKb = vms.reduce((sum, { memory }) => sum + memory.overheadMaxKb, 0);
    return {
      sequence: this.#sequence,
      atCycles: this.#now,
      cyclesPerSecond: this.cyclesPerSecond,
      host: {
        name: this.config.name,
        cpuModel: this.#costs.cpu,
        loadAverages: this.#load.averages,
        worldCount: vms.reduce((sum, { worlds }) => sum + worlds.filter(({ state }) => state !== 'off').length, 0),
        memory: hostMemorySample(this.config.memoryMib * 1024, usedByVmsKb, reservedKb, this.#hardware.allocator),
      },
      pcpus: this.#scheduler.pcpuSamples(this.#now),
      vms,
    };
  }

  drainSamples(): Sample[] {
    return this.#samples.drain();
  }

  drainEvents(): HostEvent[] {
    return this.#events.drain();
  }

  guestDigest(vm: string): string {
    return this.#find(vm).digest();
  }

  suspendedState(vm: string): Uint8Array | undefined {
    return this.#find(vm).suspendedState;
  }

  audit(vm: string): string[] {
    return this.#find(vm).audit();
  }

  screen(vm: string): ScreenAnswer {
    return this.#find(vm).screen();
  }

  disassemble(vm: string, linear: number): CodeAnswer {
    return this.#find(vm).disassemble(linear);
  }

  #quantum(): void {
    const end = this.#now + this.quantumCycles;
    this.#scheduler.advance(end);
    this.#now = end;
    this.#quanta += 1;
    if (this.#quanta % QUANTA_PER_SECOND === 0) this.#countLoad();
    const auditEvery = this.config.auditEveryQuanta ?? 0;
    if (auditEvery > 0 && this.#quanta % auditEvery === 0) this.#auditAll();
    if (this.#quanta >= this.#nextSampleAtQuantum) {
      this.#nextSampleAtQuantum += this.#sampleQuanta;
      const sample = this.sample();
      this.#samples.push(sample);
      this.#history.push(sample);
      this.#sequence += 1;
      for (const vm of this.#vms) vm.resetTouched();
    }
  }

  #countLoad(): void {
    const pcpus = this.#scheduler.pcpuSamples(this.#now);
    const busy = pcpus.reduce((sum, { usedCycles }) => sum + usedCycles, 0);
    this.#load.addSecond((busy - this.#busyAtLastSecond) / (pcpus.length * this.cyclesPerSecond));
    this.#busyAtLastSecond = busy;
  }

  #auditAll(): void {
    for (const vm of this.#vms) {
      for (const finding of vm.audit()) {
        this.#events.push({ kind: 'audit', atCycles: this.#now, vm: vm.config.name, finding });
      }
    }
  }

  #execute(command: Command): void {
    switch (command.kind) {
      case 'addVm':
        this.#addVm(command.config);
        return;
      case 'removeVm': {
        const vm = this.#find(command.vm);
        if (vm.power === 'on') throw new UsageError(`${command.vm} is on: power it off first`);
        vm.remove();
        this.#vms.splice(this.#vms.indexOf(vm), 1);
        return;
      }
      case 'powerOn': {
        const vm = this.#find(command.vm);
        if (vm.power === 'on') throw new UsageError(`${command.vm} is on already`);
        if (vm.power === 'suspended') throw new UsageError(`${command.vm} is suspended: resume it`);
        this.#admit(vm, vm.cpuAllocation.minMhz);
        vm.powerOn(this.#now);
        return;
      }
      case 'powerOff': {
        const vm = this.#find(command.vm);
        if (vm.power === 'suspended') vm.discard(this.#now);
        else this.#findOn(command.vm).powerOff(this.#now, 'powered off by command');
        return;
      }
      case 'reset':
        this.#findOn(command.vm).reset(this.#now, 'reset by command');
        return;
      case 'suspend':
        this.#findOn(command.vm).suspend(this.#now);
        return;
      case 'resume': {
        const vm = this.#find(command.vm);
        if (vm.power !== 'suspended') throw new UsageError(`${command.vm} is not suspended`);
        this.#admit(vm, vm.cpuAllocation.minMhz);
        vm.resume(this.#now);
        return;
      }
      case 'setVmi': {
        const vm = this.#findChangeable(command.vm);
        if (vm.config.monitor === 'native' && command.enabled) {
          throw new UsageError(`${command.vm} runs natively: there is no hypervisor that could offer VMI`);
        }
        vm.vmiConfigured = command.enabled;
        return;
      }
      case 'setMonitor': {
        const vm = this.#findChangeable(command.vm);
        if (vm.config.monitor === 'native') {
          throw new UsageError(`${command.vm} runs natively: there is no monitor to choose`);
        }
        vm.monitor = command.monitor;
        return;
      }
      case 'setCpu':
        this.#setCpu(command);
        return;
      case 'type':
        this.#findOn(command.vm).type(command.text, this.#now);
        return;
      case 'setSampleInterval':
        this.#sampleQuanta = this.#quantaOf(command.ms);
        this.#nextSampleAtQuantum = this.#quanta + this.#sampleQuanta;
        return;
      default: {
        const unknown: { readonly kind: unknown } = command;
        throw new UsageError(`unknown command "${String(unknown.kind)}"`);
      }
    }
  }

  #setCpu({ vm: name, shares, reservationMhz, limitMhz }: Extract<Command, { kind: 'setCpu' }>): void {
    const vm = this.#find(name);
    const before = vm.cpuAllocation;
    const cpu = {
      shares: shares ?? before.shares,
      minMhz: reservationMhz ?? before.minMhz,
      maxMhz: limitMhz === undefined ? before.maxMhz : (limitMhz ?? undefined),
    };
    checkCpuAllocation(name, cpu);
    if (vm.power === 'on') this.#admit(vm, cpu.minMhz);
    vm.allocateCpu(cpu, this.#now);
  }

  /** Throws `UsageError` when the host cannot promise a VM so much beside the others that are on. */
  #admit(vm: VirtualMachine, minMhz: number): void {
    const others = this.#vms.filter(other => other !== vm && other.power === 'on');
    const reservedMhz = others.reduce((sum, { cpuAllocation }) => sum + cpuAllocation.minMhz, 0);
    const { pcpus } = this.config;
    admitReservation(vm.config.name, minMhz, { pcpus, cyclesPerSecond: this.cyclesPerSecond, reservedMhz });
  }

  /** Throws `UsageError`; the VM does not exist then. */
  #addVm(config: VmConfig): void {
    checkVmConfig(config, this.config.memoryMib);
    if (this.#vms.some(vm => vm.config.name === config.name)) {
      throw new UsageError(`there is a VM called "${config.name}" already`);
    }
    const vm = new VirtualMachine(config, {
      hardware: this.#hardware,
      scheduler: this.#scheduler,
      image: this.#imageOf(config),
      initrd: this.#initrdOf(config),
      disks: this.#disksOf(config),
      ...(config.suspended !== undefined && { suspended: this.#bytesOf(config.name, config.suspended) }),
      network: this.#network,
      adapters: this.#adapters,
      firstWorldId: this.#nextWorldId,
      gid: this.#nextGid,
      nowCycles: this.#now,
      emit: event => this.#events.push(event),
    });
    if (config.powerOn === true && config.suspended === undefined) this.#powerOnOrRemove(vm);
    this.#vms.push(vm);
    this.#nextWorldId += WORLDS_PER_VM;
    this.#nextGid += 1;
  }

  /** A VM that cannot be powered on leaves nothing behind. */
  #powerOnOrRemove(vm: VirtualMachine): void {
    try {
      this.#admit(vm, vm.cpuAllocation.minMhz);
      vm.powerOn(this.#now);
    } catch (error) {
      vm.remove();
      throw error;
    }
  }

  #imageOf({ name, image, rom }: VmConfig): BootImage {
    const known = this.#images.get(image);
    if (known !== undefined && (known.kind === 'rom') === (rom === true)) return known;
    const bytes = this.#bytesOf(name, image);
    const parsed = rom === true ? parseRom(image, bytes) : parseKernel(image, bytes);
    this.#images.set(image, parsed);
    return parsed;
  }

  #initrdOf({ name, initrd }: VmConfig): BootOptions['initrd'] {
    return initrd === undefined ? undefined : { name: initrd, bytes: this.#bytesOf(name, initrd) };
  }

  #disksOf({ name: vm, disks = [] }: VmConfig): readonly { readonly name: string; readonly bytes: Uint8Array }[] {
    return disks.map(name => {
      const bytes = this.#bytesOf(vm, name);
      if (bytes.length === 0 || bytes.length % SECTOR_BYTES !== 0) {
        throw new UsageError(`disk ${name}: must be whole sectors of ${SECTOR_BYTES} bytes, not ${bytes.length} bytes`);
      }
      return { name, bytes };
    });
  }

  #bytesOf(vm: string, image: string): Uint8Array {
    const bytes = this.config.images[image];
    if (bytes === undefined)
      throw new UsageError(`VM "${vm}" names the image "${image}", which the host does not have`);
    return bytes;
  }

  #find(name: string): VirtualMachine {
    const vm = this.#vms.find(candidate => candidate.config.name === name);
    if (vm === undefined) throw new UsageError(`no VM is called "${name}"`);
    return vm;
  }

  #findOn(name: string): VirtualMachine {
    const vm = this.#find(name);
    if (vm.power !== 'on')
      throw new UsageError(`${name} is ${vm.power === 'crashed' ? 'not running: it has crashed' : vm.power}`);
    return vm;
  }

  /** A suspended guest knows what it runs on. */
  #findChangeable(name: string): VirtualMachine {
    const vm = this.#find(name);
    if (vm.power === 'suspended') throw new UsageError(`${name} is suspended: resume it and switch it off first`);
    return vm;
  }

  /** At least one. */
  #quantaOf(ms: number): number {
    if (!Number.isFinite(ms) || ms <= 0) throw new UsageError(`sampling interval must be more than 0 ms: ${ms}`);
    return Math.max(1, Math.round((ms * QUANTA_PER_SECOND) / 1000));
  }
}
