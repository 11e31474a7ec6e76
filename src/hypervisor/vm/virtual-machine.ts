/**
 * A virtual machine as the host knows it: configuration, power state, the instance while it is on, and the figures of its last
 * power-on. It runs in three worlds, of which one is scheduled (see `vmkernel/world.ts`).
 *
 *             powerOn                    guest powers off, or command
 *     off  ------------->  on  ------------------------------------------->  off
 *      ^                  ^ |  guest resets: a new instance at once
 *      |    suspend,      | +--------------------------------------------->  crashed
 *      |    resume        v                                                    |
 *      +--- discard --- suspended                    powerOn from there, too --+
 *
 * A suspended VM is bytes (`suspended-state.ts`). Its time stands still: when it is resumed, the guest finds its clocks and counters as it left them.
 */
import { MonitorBug, UsageError } from '../base/assert.js';
import type { HostEvent, VmConfig } from '../index.js';
import { S } from '../machine/cpu/state.js';
import { MachineMemoryExhausted } from '../monitor/monitored-vm.js';
import { CAUSE_NAMES, type CauseCycles, zeroCauses } from '../stats/causes.js';
import type { CodeAnswer } from '../stats/code-listing.js';
import { type Counters, zeroCounters } from '../stats/counters.js';
import { POWER_ON_REASONS } from '../stats/power-on.js';
import type { InterruptSample, Mode, PowerState, VmCpuAllocation, VmSample } from '../stats/sample.js';
import type { ScreenAnswer } from '../stats/screen-text.js';
import type { CpuAllocation } from '../vmkernel/allocation.js';
import type { Scheduler } from '../vmkernel/scheduler.js';
import type { VirtualSwitch } from '../vmkernel/virtual-switch.js';
import { type Guest, type GuestResult, World } from '../vmkernel/world.js';
import type { Adapter } from './board.js';
import type { BootImage, BootOptions } from './boot-image.js';
import { VmDisk, VmNic } from './cards.js';
import { cpuAllocationOf } from './cpu-allocation.js';
import { digestOf } from './digest.js';
import { GuestProcessor } from './guest-processor.js';
import {
  adapterEndPage,
  type HostHardware,
  type Instance,
  type InstanceMemory,
  type InstanceWiring,
  type SavedGuest,
} from './instance.js';
import { MonitoredInstance, MonitorThread } from './monitored-instance.js';
import { NativeInstance, NativeMachine } from './native-instance.js';
import { type GuestProgress, openState, type SuspendedHead, writeState } from './suspended-state.js';

/** What a VM needs of its host. */
export interface VmWiring {
  readonly hardware: HostHardware;
  readonly scheduler: Scheduler;
  readonly image: BootImage;
  readonly initrd: BootOptions['initrd'];
  /** In the order of the configuration, whole sectors. */
  readonly disks: readonly { readonly name: string; readonly bytes: Uint8Array }[];
  /** The VM begins suspended. */
  readonly suspended?: Uint8Array;
  readonly network: VirtualSwitch;
  readonly adapters: readonly Adapter[];
  /** First of three world ids. */
  readonly firstWorldId: number;
  readonly gid: number;
  readonly nowCycles: number;
  emit(event: HostEvent): void;
}

/** What a power-on begins with. */
interface Beginning {
  /** Host time less the guest's. */
  readonly shiftCycles: number;
  /** Since the guest was powered on first. */
  readonly stolenCycles: number;
  readonly saved?: SavedGuest;
}
const FRESH: Beginning = { shiftCycles: 0, stolenCycles: 0 };

type Stop =
  | { readonly kind: 'off'; readonly reason: string }
  | { readonly kind: 'reset'; readonly reason: string }
  | { readonly kind: 'crash'; readonly reason: string };

/** The guest's own reports (see src/guest): what follows `vmitop: ` in a log message. */
const REPORT = /^vmitop: (?:(boot done)|start (\S+)|end (\S+))/;
const NO_MEMORY: InstanceMemory = {
  grantedKb: 0,
  touchedKb: 0,
  overheadKb: 0,
  overheadMaxKb: 0,
  shadowKb: 0,
  tcKb: 0,
};

export class VirtualMachine implements Guest {
  readonly config: VmConfig;
  readonly gid: number;
  readonly #wiring: VmWiring;
  readonly #world: World;
  readonly #waitingWorlds: readonly World[];
  readonly #disks: readonly VmDisk[];
  readonly #nics: readonly VmNic[];
  #cpu: VmCpuAllocation;
  #power: PowerState = 'off';
  #crashReason: string | undefined;
  #monitor: VmConfig['monitor'];
  #vmiConfigured: boolean;
  #vmiEnabled: boolean;
  #vmiActive = false;
  #mode: Mode;
  #guestState = 'off';
  #poweredOnAt = 0;
  #bootCycles: number | undefined;
  #instance: Instance | undefined;
  #nativeMachine: NativeMachine | undefined;
  #monitorThread: MonitorThread | undefined;
  #counters: Counters = zeroCounters();
  #causes: CauseCycles = zeroCauses();
  /** Ring cycles of the hardware thread at power-on. */
  #ringsAtPowerOn = 0;
  /** What the monitor has charged while it was set up: the first run begins with it. */
  #setupCycles = 0;
  #dispatchAtPowerOn = 0;
  #switchesAtPowerOn = 0;
  #readyAtPowerOn = 0;
  /** Charged since power-on up to its end; of use while the VM is off. */
  #chargedAtEnd = 0;
  #stolenAtEnd = 0;
  #interruptsAtEnd: readonly InterruptSample[] = [];
  /** `causes.interrupt` of the power-ons before this one. */
  #kernelCyclesBefore = 0;
  #finalDigest: string | undefined;
  /** Host time less the guest's. */
  #shiftCycles = 0;
  #suspended: Uint8Array | undefined;
  #stop: Stop | undefined;
  #console = '';
  #deadHaltLogged = false;

  constructor(config: VmConfig, wiring: VmWiring) {
    this.config = config;
    this.#wiring = wiring;
    this.gid = wiring.gid;
    this.#monitor = config.monitor;
    this.#vmiConfigured = config.vmi;
    this.#vmiEnabled = config.vmi;
    this.#mode = config.monitor;
    const { firstWorldId: id, nowCycles } = wiring;
    this.#cpu = cpuAllocationOf(config);
    const allocation = this.#allocation();
    this.#world = new World(id, `vmm0:${config.name}`, 'vmm', allocation, nowCycles, this);
    this.#waitingWorlds = [
      new World(id + 1, `vcpu0:${config.name}`, 'vcpu', allocation, nowCycles),
      new World(id + 2, `vmx:${config.name}`, 'vmx', allocation, nowCycles),
    ];
    this.#disks = wiring.disks.map(({ name, bytes }, index) => new VmDisk(index, name, bytes));
    if (wiring.suspended !== undefined) {
      this.#suspended = wiring.suspended;
      this.#look(wiring.suspended);
      this.#power = 'suspended';
      this.#guestState = 'suspended';
    }
    const { scheduler, network, gid } = wiring;
    const onArrival = (atCycles: number): void => scheduler.wakeAt(this.#world, atCycles);
    this.#nics = Array.from({ length: config.nics ?? 0 }, (_, index) => new VmNic(index, gid, network, onArrival));
  }

  get power(): PowerState {
    return this.#power;
  }

  get vmiConfigured(): boolean {
    return this.#vmiConfigured;
  }

  /** In force at once while the VM is off, else at the next power-on. */
  set vmiConfigured(enabled: boolean) {
    this.#vmiConfigured = enabled;
  }

  /** In force at the next power-on. A native VM stays one. */
  set monitor(monitor: 'bt' | 'hv') {
    this.#monitor = monitor;
  }

  /** In MHz of the host's processors. */
  get cpuAllocation(): VmCpuAllocation {
    return this.#cpu;
  }

  /** In force at once. What it says must have been checked. */
  allocateCpu(cpu: VmCpuAllocation, nowCycles: number): void {
    this.#cpu = cpu;
    this.#wiring.scheduler.allocate(this.#world, this.#allocation(), nowCycles);
    const limit = cpu.maxMhz === undefined ? 'no limit' : `limit ${cpu.maxMhz} MHz`;
    this.#log(`CPU: ${cpu.shares} shares, reservation ${cpu.minMhz} MHz, ${limit}`, nowCycles);
  }

  #allocation(): CpuAllocation {
    const mhz = this.#wiring.hardware.costs.cyclesPerSecond / 1e6;
    const { shares, minMhz, maxMhz } = this.#cpu;
    return { shares, reservation: Math.min(1, minMhz / mhz), limit: Math.min(1, (maxMhz ?? mhz) / mhz) };
  }

  // Power.

  /** Throws `UsageError`; nothing has changed then. */
  powerOn(nowCycles: number): void {
    this.#switchOn(nowCycles, FRESH);
    this.#vmiEnabled = this.#vmiConfigured;
    this.#vmiActive = false;
    this.#bootCycles = undefined;
    const how = POWER_ON_REASONS[this.#vmiEnabled ? 'vmi' : this.#monitor];
    this.#emit({ kind: 'power', atCycles: nowCycles, vm: this.config.name, state: 'on', reason: how });
    this.#setGuestState('booting', nowCycles);
  }

  #switchOn(nowCycles: number, beginning: Beginning): void {
    const counters = zeroCounters();
    const causes = zeroCauses();
    this.#dispatchAtPowerOn = this.#world.dispatchChargedCycles;
    this.#switchesAtPowerOn = this.#world.switches;
    this.#readyAtPowerOn = this.#world.cyclesIn('ready', nowCycles) - beginning.stolenCycles;
    this.#instance = this.#makeInstance(nowCycles, counters, causes, beginning);
    this.#shiftCycles = beginning.shiftCycles;
    this.#setupCycles = this.#instance.thread.cycles - nowCycles;
    this.#counters = counters;
    this.#causes = causes;
    this.#mode = this.#instance.mode;
    this.#crashReason = undefined;
    this.#finalDigest = undefined;
    this.#stop = undefined;
    this.#deadHaltLogged = false;
    this.#poweredOnAt = nowCycles;
    this.#power = 'on';
    for (const world of this.#waitingWorlds) world.enter('wait', nowCycles);
    this.#wiring.scheduler.add(this.#world, nowCycles);
  }

  /** The VM must be on. */
  suspend(nowCycles: number): void {
    const instance = this.#instance!;
    // A virtual CPU that waits has an older clock, and one that has just run may be a little ahead. What setting it up has cost is spent when
    // it runs.
    const guestCycles = Math.max(instance.thread.cycles - this.#setupCycles, nowCycles) - this.#shiftCycles;
    const head: SuspendedHead = {
      mode: instance.mode,
      guestCycles,
      stolenCycles: this.#stolenCycles(nowCycles),
      progress: {
        vmiActive: this.#vmiActive,
        vmiEnabled: this.#vmiEnabled,
        bootCycles: this.#bootCycles,
        guestState: this.#guestState,
      },
    };
    this.#suspended = writeState(this.#identity(), head, archive => instance.suspend(archive));
    this.#end(nowCycles);
    this.#power = 'suspended';
    this.#guestState = 'suspended';
    const kib = Math.ceil(this.#suspended.length / 1024);
    this.#emit({
      kind: 'power',
      atCycles: nowCycles,
      vm: this.config.name,
      state: 'suspended',
      reason: `suspended by command, ${kib} KiB of state`,
    });
  }

  /** A state that does not fit is found out when the VM is resumed: until then it can still be discarded. */
  #look(state: Uint8Array): void {
    try {
      const { mode, progress } = openState(state, this.#identity()).head;
      this.#mode = mode;
      this.#setProgress(progress);
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      this.#log(`cannot go on: ${error.message}`, this.#wiring.nowCycles);
    }
  }

  /** The VM must be suspended. Throws `UsageError`; it still is then. */
  resume(nowCycles: number): void {
    const { archive, head } = openState(this.#suspended!, this.#identity());
    const { mode, guestCycles, stolenCycles, progress } = head;
    try {
      this.#switchOn(nowCycles, { shiftCycles: nowCycles - guestCycles, stolenCycles, saved: { mode, archive } });
    } catch (error) {
      this.#unplugCards();
      throw error;
    }
    this.#setProgress(progress);
    this.#suspended = undefined;
    const { name } = this.config;
    this.#emit({ kind: 'power', atCycles: nowCycles, vm: name, state: 'on', reason: 'resumed by command' });
    this.#setGuestState(this.#guestState, nowCycles);
  }

  /** Switches a suspended VM off for good: its state is lost. */
  discard(nowCycles: number): void {
    this.#suspended = undefined;
    this.#power = 'off';
    this.#guestState = 'off';
    const reason = 'its suspended state was discarded by command';
    this.#emit({ kind: 'power', atCycles: nowCycles, vm: this.config.name, state: 'off', reason });
  }

  get suspendedState(): Uint8Array | undefined {
    return this.#suspended;
  }

  #setProgress({ vmiActive, vmiEnabled, bootCycles, guestState }: GuestProgress): void {
    this.#vmiActive = vmiActive;
    this.#vmiEnabled = vmiEnabled;
    this.#bootCycles = bootCycles;
    this.#guestState = guestState;
  }

  /** What a guest that goes on must find again. */
  #identity(): string {
    const { config } = this;
    const { memoryMib, append, cpu, nics = 0, apic } = config;
    const monitor = this.#vmiConfigured ? 'vmi' : this.#monitor;
    const { hardware, image } = this.#wiring;
    return JSON.stringify({
      memoryMib,
      monitor,
      ...{ image: config.image, kind: image.kind, append, cpu, nics, apic },
      disks: this.#disks.map(({ identity }) => identity),
      costs: hardware.costs.name,
    });
  }

  powerOff(nowCycles: number, reason: string): void {
    this.#end(nowCycles);
    this.#power = 'off';
    this.#guestState = 'off';
    this.#emit({ kind: 'power', atCycles: nowCycles, vm: this.config.name, state: 'off', reason });
  }

  /** Off and on again. A host that has become too full for it leaves the VM crashed. */
  reset(nowCycles: number, reason: string): void {
    this.powerOff(nowCycles, reason);
    try {
      this.powerOn(nowCycles);
    } catch (error) {
      this.#crash(nowCycles, crashLine(error));
    }
  }

  /** Gives back what outlives power cycles. The VM must be off. */
  remove(): void {
    for (const nic of this.#nics) nic.remove();
    this.#nativeMachine?.release();
    this.#nativeMachine = undefined;
    this.#monitorThread?.context.release();
    this.#monitorThread = undefined;
  }

  /** Bytes for COM1. The VM must be on. */
  type(text: string, nowCycles: number): void {
    const instance = this.#instance!;
    // Time may have passed since the virtual CPU last ran.
    if (instance.thread.cycles < nowCycles) instance.thread.cycles = nowCycles;
    instance.board.uart.receive([...text].map(character => character.charCodeAt(0) & 0xff));
    if (instance.board.interrupts.output) this.#wiring.scheduler.wake(this.#world, nowCycles);
  }

  // The scheduler's side.

  get dispatchCycles(): number {
    if (this.config.monitor === 'native') return 0;
    const { schedule, worldSwitch } = this.#wiring.hardware.costs.cycles;
    return schedule + worldSwitch;
  }

  get kernelCycles(): number {
    return this.#kernelCyclesBefore + this.#causes.interrupt;
  }

  run(fromCycles: number, untilCycles: number): GuestResult {
    const instance = this.#instance!;
    const { thread } = instance;
    thread.cycles = fromCycles + this.#setupCycles;
    this.#setupCycles = 0;
    let result: ReturnType<Instance['run']>;
    try {
      result = instance.run(untilCycles);
    } catch (error) {
      result = { kind: 'stopped', reason: crashLine(error) };
    }
    this.#mode = instance.mode;
    this.#flushConsole();
    const atCycles = Math.max(fromCycles, thread.cycles);
    const request = instance.powerRequest;
    if (request !== undefined) {
      this.#stop =
        request.kind === 'reset'
          ? { kind: 'reset', reason: 'reset by the guest' }
          : {
              kind: 'off',
              reason:
                request.kind === 'powerOff'
                  ? 'powered off by the guest'
                  : `powered off by the guest (debug exit ${request.value})`,
            };
      return { kind: 'stopped', atCycles };
    }
    if (result.kind === 'stopped') {
      this.#stop = { kind: 'crash', reason: result.reason };
      return { kind: 'stopped', atCycles };
    }
    if (result.kind === 'deadline') return { kind: 'deadline', atCycles };
    if (!instance.interruptsEnabled && !this.#deadHaltLogged) {
      this.#deadHaltLogged = true;
      this.#log('the guest has halted with interrupts off: nothing can wake it', atCycles);
    }
    return { kind: 'halted', atCycles, wakeAtCycles: result.wakeAtCycles };
  }

  onStopped(atCycles: number): void {
    const stop = this.#stop!;
    switch (stop.kind) {
      case 'off':
        this.powerOff(atCycles, stop.reason);
        return;
      case 'reset':
        this.reset(atCycles, stop.reason);
        return;
      default:
        this.#end(atCycles);
        this.#crash(atCycles, stop.reason);
    }
  }

  // What others look at.

  audit(): string[] {
    return this.#instance?.audit() ?? [];
  }

  /** Guest code from a linear address on beside its translation. Changes nothing. */
  screen(): ScreenAnswer {
    if (this.#instance === undefined) return { ok: false, reason: `${this.config.name} is off` };
    return this.#instance.board.screen();
  }

  disassemble(linear: number): CodeAnswer {
    const { name } = this.config;
    if (this.#instance === undefined) return { ok: false, reason: `${name} is off: nothing is translated` };
    const lines = this.#instance.listCode(linear);
    if (lines === undefined) {
      const how = { native: 'natively', bt: 'under BT', hv: 'with hardware assist', vmi: 'under VMI' }[
        this.#instance.mode
      ];
      return { ok: false, reason: `${name} runs ${how}: its kernel is executed as it is, nothing is translated` };
    }
    const hex = `0x${(linear >>> 0).toString(16)}`;
    if (lines.length === 0) return { ok: false, reason: `${name}: no code from ${hex} on has been translated yet` };
    return { ok: true, lines };
  }

  /** At each sampling interval: starts a new period of touched-page counting. */
  resetTouched(): void {
    this.#instance?.resetTouched();
  }

  /** Digest of non-zero guest memory and the general registers: of now, or of the moment at which the VM went off. */
  digest(): string {
    return this.#instance === undefined ? (this.#finalDigest ?? 'off') : this.#digestNow(this.#instance);
  }

  sample(nowCycles: number): VmSample {
    const instance = this.#instance;
    const memory = instance?.memoryUse() ?? NO_MEMORY;
    const timer = instance?.timer(nowCycles);
    const sizeKb = this.config.memoryMib * 1024;
    return {
      gid: this.gid,
      name: this.config.name,
      power: this.#power,
      crashReason: this.#crashReason,
      mode: this.#mode,
      monitor: this.#monitor,
      vmiEnabled: this.#vmiEnabled,
      vmiConfigured: this.#vmiConfigured,
      vmiActive: this.#vmiActive,
      guestState: this.#guestState,
      poweredOnAtCycles: this.#poweredOnAt,
      bootCycles: this.#bootCycles,
      worlds: [this.#world, ...this.#waitingWorlds].map(world => world.sample(nowCycles)),
      chargedCycles: this.#chargedCycles(),
      causes: this.#causesNow(),
      counters: { ...this.#counters, dispatches: this.#dispatches() },
      memory: { sizeKb, targetKb: memory.grantedKb, ...memory },
      timer: {
        source: timer?.source ?? 'none',
        requestedHz: timer?.requestedHz ?? 0,
        delivered: this.#counters.timerInterrupts,
        backlog: timer?.backlog ?? 0,
        lagCycles: timer?.lagCycles ?? 0,
        stolenCycles: this.#stolenCycles(nowCycles),
        wakeups: this.#counters.wakeups,
      },
      interrupts: instance?.board.interruptSample() ?? this.#interruptsAtEnd,
      cpu: this.#cpu,
      disks: this.#disks.map(disk => disk.sample()),
      nics: this.#nics.map(nic => nic.sample()),
    };
  }

  #makeInstance(nowCycles: number, counters: Counters, causes: CauseCycles, beginning: Beginning): Instance {
    const { hardware, image, initrd } = this.#wiring;
    const vm = this;
    const log = (line: string): void => this.#log(line, this.#now());
    const cards = [...this.#disks, ...this.#nics].map(
      (card): Adapter =>
        board =>
          card.plug(board, log),
    );
    const adapters = [...this.#wiring.adapters, ...cards];
    const wiring: InstanceWiring = {
      name: this.config.name,
      memoryBytes: this.config.memoryMib * 1048576,
      image,
      boot: { commandLine: this.config.append, ...(initrd !== undefined && { initrd }) },
      vmi: this.#vmiConfigured,
      processor: new GuestProcessor(hardware.costs, this.config.cpu),
      // A kernel of somebody else's expects one, as most PCs have; ours does not look for it.
      apic: this.config.apic ?? image.kind === 'linux',
      countExecutions: this.config.countExecutions === true,
      ...(this.config.tcKib !== undefined && { tcBytes: this.config.tcKib * 1024 }),
      hardwareAssist: this.#monitor === 'hv' && !this.#vmiConfigured,
      adapters,
      poweredOnAtCycles: nowCycles,
      shiftCycles: beginning.shiftCycles,
      ...(beginning.saved !== undefined && { saved: beginning.saved }),
      counters,
      causes,
      stolen: {
        get stolenCycles() {
          // While the world runs its ready time stands still, so its clock does not matter.
          return vm.#world.cyclesIn('ready', vm.#world.sinceCycles) - vm.#readyAtPowerOn;
        },
      },
      onConsole: byte => this.#onConsole(byte),
      onGuestLog: text => this.#onGuestLog(text),
      onLog: log,
      onVmiActive: () => {
        this.#vmiActive = true;
        this.#emit({ kind: 'guest', atCycles: this.#now(), vm: this.config.name, state: 'vmi' });
      },
    };
    if (this.config.monitor === 'native') return this.#makeNative(wiring);
    this.#monitorThread ??= new MonitorThread(hardware);
    this.#noteRings(this.#monitorThread.context.cyclesByRing);
    try {
      return new MonitoredInstance(hardware, this.#monitorThread, wiring);
    } catch (error) {
      if (error instanceof MachineMemoryExhausted) {
        throw new UsageError(`VM "${wiring.name}": out of machine memory: ${error.message}`);
      }
      throw error;
    }
  }

  #makeNative(wiring: InstanceWiring): Instance {
    const { hardware } = this.#wiring;
    const known = this.#nativeMachine;
    const { image, memoryBytes } = wiring;
    const romBytes = image.kind === 'rom' ? image.bytes.length : 0;
    const machine = known ?? new NativeMachine(hardware, memoryBytes, romBytes, adapterEndPage(wiring.image));
    this.#noteRings(machine.context.cyclesByRing);
    try {
      const instance = new NativeInstance(hardware, machine, wiring, known === undefined);
      this.#nativeMachine = machine;
      return instance;
    } catch (error) {
      if (known === undefined) machine.release();
      throw error;
    }
  }

  #unplugCards(): void {
    for (const card of [...this.#disks, ...this.#nics]) card.unplug();
  }

  #noteRings(rings: Float64Array): void {
    this.#ringsAtPowerOn = rings[0]! + rings[1]! + rings[2]! + rings[3]!;
  }

  #now(): number {
    return this.#instance?.thread.cycles ?? this.#poweredOnAt;
  }

  #dispatched(): number {
    return this.#world.dispatchChargedCycles - this.#dispatchAtPowerOn;
  }

  #dispatches(): number {
    return this.#instance === undefined ? this.#counters.dispatches : this.#world.switches - this.#switchesAtPowerOn;
  }

  #causesNow(): CauseCycles {
    const scheduling = this.#instance === undefined ? this.#causes.scheduling : this.#dispatched();
    return { ...this.#causes, scheduling };
  }

  /** What the hardware thread counted, and the vmkernel's switches: computed apart from the causes, which must sum to it. */
  #chargedCycles(): number {
    const instance = this.#instance;
    if (instance === undefined) return this.#chargedAtEnd;
    const rings = instance.thread.cyclesByRing;
    return rings[0]! + rings[1]! + rings[2]! + rings[3]! - this.#ringsAtPowerOn + this.#dispatched();
  }

  #stolenCycles(nowCycles: number): number {
    return this.#instance === undefined
      ? this.#stolenAtEnd
      : this.#world.cyclesIn('ready', nowCycles) - this.#readyAtPowerOn;
  }

  #end(nowCycles: number): void {
    const instance = this.#instance;
    if (instance === undefined) return;
    this.#flushConsole();
    this.#chargedAtEnd = this.#chargedCycles();
    this.#stolenAtEnd = this.#stolenCycles(nowCycles);
    this.#causes.scheduling = this.#dispatched();
    this.#counters.dispatches = this.#dispatches();
    this.#kernelCyclesBefore += this.#causes.interrupt;
    this.#finalDigest = this.#digestNow(instance);
    this.#mode = instance.mode;
    this.#interruptsAtEnd = instance.board.interruptSample();
    this.#wiring.scheduler.remove(this.#world, nowCycles);
    this.#unplugCards();
    for (const world of this.#waitingWorlds) world.enter('off', nowCycles);
    this.#instance = undefined;
    instance.release();
  }

  #crash(nowCycles: number, reason: string): void {
    this.#power = 'crashed';
    this.#crashReason = reason;
    this.#guestState = 'crashed';
    this.#log(`stopped: ${reason}`, nowCycles);
    this.#emit({ kind: 'power', atCycles: nowCycles, vm: this.config.name, state: 'crashed', reason });
  }

  #digestNow(instance: Instance): string {
    return digestOf(instance.pages(), instance.thread.s.subarray(S.EAX, S.EDI + 1));
  }

  #emit(event: HostEvent): void {
    this.#wiring.emit(event);
  }

  #log(line: string, atCycles: number): void {
    this.#flushConsole();
    this.#emit({ kind: 'log', atCycles, vm: this.config.name, line });
  }

  #onConsole(byte: number): void {
    this.#console += String.fromCharCode(byte);
    if (byte === 0x0a) this.#flushConsole();
  }

  #flushConsole(): void {
    if (this.#console === '') return;
    const text = this.#console;
    this.#console = '';
    this.#emit({ kind: 'console', atCycles: this.#now(), vm: this.config.name, text });
  }

  #onGuestLog(text: string): void {
    const atCycles = this.#now();
    // One message may hold several lines; none may break the log's format.
    const line = text.replaceAll(/[^\x20-\x7e]+/g, ' ').trim();
    this.#log(line, atCycles);
    const report = REPORT.exec(line);
    if (report === null) return;
    if (report[1] !== undefined) this.#onBooted(atCycles);
    this.#setGuestState(report[2] ?? 'idle', atCycles);
  }

  #onBooted(atCycles: number): void {
    if (this.#bootCycles !== undefined) return;
    this.#bootCycles = atCycles - this.#poweredOnAt;
    if (!this.#vmiEnabled || this.#vmiActive) return;
    this.#log('VMI is offered, but the guest has not activated it: it runs under binary translation', atCycles);
  }

  #setGuestState(state: string, atCycles: number): void {
    this.#guestState = state;
    this.#emit({ kind: 'guest', atCycles, vm: this.config.name, state });
  }
}

/** One readable line for whatever was thrown while a VM ran. */
function crashLine(error: unknown): string {
  if (error instanceof MachineMemoryExhausted) return `out of machine memory: ${error.message}`;
  if (error instanceof UsageError) return error.message;
  const message = error instanceof Error ? error.message : String(error);
  const kind =
    error instanceof MonitorBug ? 'internal error' : `internal error (${(error as Error)?.name ?? typeof error})`;
  return `${kind}: ${message}`.replaceAll(/\s+/g, ' ');
}

export const causesSum = (causes: CauseCycles): number => CAUSE_NAMES.reduce((sum, name) => sum + causes[name], 0);
