/**
 * A VM under the monitor: guest memory page by page through the pmap, a hardware thread that belongs to the monitor, the
 * shared loop, and the technique that runs the guest's kernel: binary translation at first, VMI from the ROM's Init on.
 */
import type { Archive } from '../base/archive.js';
import { assert } from '../base/assert.js';
import { EPOCH_SECONDS } from '../base/epoch.js';
import { type Mpn, type Ppn, ppnOf } from '../base/pages.js';
import type { PowerRequest } from '../devices/system-control.js';
import { Context } from '../machine/cpu/context.js';
import type { MmioBus, PortBus } from '../machine/cpu/state.js';
import type { MachineMemory } from '../machine/memory.js';
import { BtTechnique } from '../monitor/bt/technique.js';
import { HOLE_BASE, NO_HOLE } from '../monitor/hole.js';
import { HvTechnique } from '../monitor/hv/technique.js';
import { type LoopResult, MonitorLoop } from '../monitor/loop.js';
import { MmioWindow } from '../monitor/mmio-window.js';
import {
  type InterruptController,
  MachineMemoryExhausted,
  type MonitoredVm,
  type MonitorPageUse,
} from '../monitor/monitored-vm.js';
import { Pmap } from '../monitor/pmap.js';
import { exchangeCpu } from '../monitor/saved-cpu.js';
import type { Technique } from '../monitor/technique.js';
import { VirtualCpu } from '../monitor/virtual-cpu.js';
import { VmiTimer } from '../monitor/vmi/alarms.js';
import { enterVmi, vmiInitHook } from '../monitor/vmi/init.js';
import { buildVmiRom } from '../monitor/vmi/rom.js';
import { ROM_PHYSICAL } from '../monitor/vmi/rom-layout.js';
import { VmiTechnique, type VmiWiring } from '../monitor/vmi/vmi-technique.js';
import type { CauseCycles } from '../stats/causes.js';
import type { CodeLine } from '../stats/code-listing.js';
import type { Counters } from '../stats/counters.js';
import type { Mode } from '../stats/sample.js';
import { Board } from './board.js';
import { loadKernel, type StartState } from './boot-image.js';
import { MappedMemory } from './bus-memory.js';
import {
  ADAPTER_FIRST_PAGE,
  adapterEndPage,
  type HostHardware,
  type Instance,
  type InstanceMemory,
  type InstanceWiring,
  registersOf,
  unimplementedLine,
} from './instance.js';
import { FIXED_OVERHEAD_KB, overheadMaxKb } from './overhead.js';
import { resetThread, startVirtual } from './reset-state.js';
import { exchangeMemory } from './saved-memory.js';

/** Shadow tables that a VM may keep: 4 MiB, and one page for each 16 of guest memory. */
const SHADOW_PAGES_BASE = 1024;
const GUEST_PAGES_PER_SHADOW_PAGE = 16;

/** A hardware thread under a monitor. It outlives power cycles; its buses lead to whatever instance is there. */
export class MonitorThread {
  readonly context: Context;
  instance: MonitoredInstance | undefined;

  constructor(hardware: HostHardware) {
    this.context = new Context(
      {
        memory: hardware.memory,
        costs: hardware.costs,
        // A guest reaches ports only by way of the monitor: IOPL is 0 and there is no I/O bitmap.
        ports: { read: () => 0xffffffff, write: () => {} },
        mmio: {
          read: (physical, width) => this.instance!.mmioWindow.read(physical, width),
          write: (physical, width, value) => this.instance!.mmioWindow.write(physical, width, value),
        },
        interrupts: { acknowledge: () => 0xff },
        physicalBase: 0,
        physicalBytes: hardware.memory.sizeBytes,
        isDeviceMemory: () => false,
        ring0Escapes: true,
        onUnimplemented: report => this.instance!.log(unimplementedLine(report)),
        // Programs, and kernels under VMI, ask hardware, which a monitor can have answer what its guest may know.
        cpuid: (leaf, subleaf) => this.instance!.cpuid(leaf, subleaf),
        readMsr: () => undefined,
        writeMsr: () => false,
      },
      hardware.codeCache,
    );
  }
}

export class MonitoredInstance implements Instance, MonitoredVm {
  readonly name: string;
  readonly memoryBytes: number;
  readonly costs;
  readonly pmap: Pmap;
  readonly mmioWindow: MmioWindow;
  readonly interrupts: InterruptController;
  readonly counters: Counters;
  readonly causes: CauseCycles;
  readonly shadowPagesMax: number;
  readonly cpuid;
  readonly board: Board;
  readonly ports: PortBus;
  readonly mmio: MmioBus;
  powerRequest: PowerRequest | undefined;
  readonly #hardware: HostHardware;
  readonly #thread: MonitorThread;
  readonly #wiring: InstanceWiring;
  readonly #vcpu: VirtualCpu;
  readonly #loop: MonitorLoop;
  readonly #vmiTimer: VmiTimer;
  /** Machine pages of the monitor, with their use. */
  readonly #monitorPages = new Map<Mpn, MonitorPageUse>();
  readonly #pagesByUse: Record<MonitorPageUse, number> = { shadow: 0, tc: 0, tables: 0 };

  /** Throws `UsageError` when the image does not fit, `MachineMemoryExhausted` when the host is full. */
  constructor(hardware: HostHardware, thread: MonitorThread, wiring: InstanceWiring) {
    this.#hardware = hardware;
    this.#thread = thread;
    this.#wiring = wiring;
    this.name = wiring.name;
    this.memoryBytes = wiring.memoryBytes;
    this.costs = hardware.costs;
    this.counters = wiring.counters;
    this.causes = wiring.causes;
    this.cpuid = wiring.processor.cpuid;
    const { context } = thread;
    this.board = new Board({
      cyclesPerSecond: hardware.costs.cyclesPerSecond,
      now: () => context.cycles,
      shiftCycles: wiring.shiftCycles ?? 0,
      memoryBytes: wiring.memoryBytes,
      memory: new MappedMemory(hardware.memory, {
        frame: (ppn, write) => this.#frame(ppn, write),
        written: (ppn, offset, length) => this.#vcpu.traces.written(ppn, offset, length),
      }),
      registers: registersOf(() => context),
      catchUp: true,
      apic: wiring.apic,
      onPower: request => {
        this.powerRequest ??= request;
      },
      onConsole: byte => wiring.onConsole(byte),
      onGuestLog: text => wiring.onGuestLog(text),
      onTimerInterrupt: () => {
        wiring.counters.timerInterrupts += 1;
      },
    });
    for (const plugIn of wiring.adapters ?? []) plugIn(this.board);
    this.ports = this.board.ports;
    this.mmio = this.board.mmio;
    this.mmioWindow = new MmioWindow(this.board.mmio);
    const { pic, interrupts } = this.board;
    this.interrupts = {
      get intr() {
        return interrupts.output;
      },
      acknowledge: () => interrupts.acknowledge(),
    };
    wiring.processor.apic = this.board.apic;
    this.pmap = new Pmap(wiring.memoryBytes, () => this.#allocate());
    this.shadowPagesMax = SHADOW_PAGES_BASE + Math.floor(this.pmap.ramPages / GUEST_PAGES_PER_SHADOW_PAGE);
    thread.instance = this;
    context.cycles = wiring.poweredOnAtCycles;
    resetThread(context);
    context.timeStampOffset = -(wiring.shiftCycles ?? 0);
    try {
      this.#mapAdapters();
      this.#vmiTimer = new VmiTimer({
        clock: this.board.clock,
        irq0: pic.line(0, wiring.vmi ? 'vmi-alarm' : undefined),
        lvtTimer: this.board.apic && (() => this.board.apic!.raiseLvtTimer()),
        stolen: wiring.stolen,
        poweredOnAtCycles: wiring.poweredOnAtCycles,
        wallclockAtPowerOn: EPOCH_SECONDS + Math.floor(wiring.poweredOnAtCycles / hardware.costs.cyclesPerSecond),
      });
      this.#vcpu = new VirtualCpu(this, context, wiring.hardwareAssist ? NO_HOLE : HOLE_BASE);
      const start = wiring.saved === undefined ? this.#load() : undefined;
      this.#loop = new MonitorLoop(this.#vcpu, this.#techniqueAtStart(), vcpu => this.#goOnUnderVmi(vcpu));
      if (start !== undefined) startVirtual(this.#vcpu, start);
      else this.#exchange(wiring.saved!.archive);
      this.#vcpu.settleAccount();
    } catch (error) {
      this.release();
      throw error;
    }
  }

  #load(): StartState {
    const { image, boot, memoryBytes } = this.#wiring;
    assert(image.kind !== 'rom', 'a BIOS starts in real mode, which only native VMs have');
    const processors = this.board.processorTable(this.cpuid);
    return loadKernel(image, { ...boot, processors }, { memoryBytes, write: this.#write });
  }

  readonly #write = (physical: number, bytes: Uint8Array): void => this.#vcpu.physical.writeBytes(physical, bytes);

  #techniqueAtStart(): Technique {
    const { saved, hardwareAssist, countExecutions, tcBytes, vmi } = this.#wiring;
    if (saved?.mode === 'vmi') {
      const technique = new VmiTechnique(this.#vcpu, this.#vmiWiring(), saved.archive.number(0));
      technique.prepare();
      return technique;
    }
    if (hardwareAssist) return new HvTechnique(this.#vcpu);
    return new BtTechnique(this.#vcpu, {
      countExecutions,
      ...(tcBytes !== undefined && { tcBytes }),
      ...(vmi && { onHypercall: vmiInitHook }),
    });
  }

  suspend(archive: Archive): void {
    const { technique } = this.#loop;
    this.#loop.takeOut();
    if (technique instanceof VmiTechnique) archive.number(technique.romBase);
    this.#exchange(archive);
  }

  #exchange(archive: Archive): void {
    archive.section('memory');
    exchangeMemory(archive, this.pages(), this.#write);
    archive.section('cpu');
    exchangeCpu(archive, this.#vcpu);
    archive.bytes(this.#thread.context.fpu.w);
    this.#loop.halted = archive.flag(this.#loop.halted);
    this.#wiring.processor.exchange(archive);
    this.board.exchange(archive);
    archive.section('monitor');
    this.#vmiTimer.exchange(archive);
    this.#loop.technique.exchange?.(archive);
  }

  get memory(): MachineMemory {
    return this.#hardware.memory;
  }

  get thread(): Context {
    return this.#thread.context;
  }

  get mode(): Mode {
    return this.#loop.technique.mode;
  }

  get stopRequested(): boolean {
    return this.powerRequest !== undefined;
  }

  get interruptsEnabled(): boolean {
    return this.#vcpu.interruptsEnabled;
  }

  run(untilCycles: number): LoopResult {
    return this.#loop.run(untilCycles);
  }

  nextTimerAt(): number {
    return this.board.clock.nextAt;
  }

  runTimers(nowCycles: number): number {
    return this.board.clock.runDue(nowCycles);
  }

  allocateMonitorPage(use: MonitorPageUse): Mpn {
    const mpn = this.#allocate();
    this.#monitorPages.set(mpn, use);
    this.#pagesByUse[use] += 1;
    return mpn;
  }

  freeMonitorPage(mpn: Mpn, use: MonitorPageUse): void {
    assert(this.#monitorPages.delete(mpn), 'the monitor frees a page that it does not have');
    this.#pagesByUse[use] -= 1;
    this.#hardware.allocator.free(mpn);
  }

  readMsr(index: number): readonly [low: number, high: number] | undefined {
    return this.#wiring.processor.readMsr(index);
  }

  writeMsr(index: number, low: number, high: number): boolean {
    return this.#wiring.processor.writeMsr(index, low, high);
  }

  log(line: string): void {
    this.#wiring.onLog(line);
  }

  memoryUse(): InstanceMemory {
    const { shadow, tc, tables } = this.#pagesByUse;
    // The pmap itself takes four bytes for each guest page.
    const pmapKb = Math.ceil((this.pmap.ramPages * 4) / 1024);
    return {
      grantedKb: this.pmap.backedPageCount * 4,
      touchedKb: this.pmap.touchedPageCount * 4,
      overheadKb: FIXED_OVERHEAD_KB + (shadow + tc + tables) * 4 + pmapKb,
      overheadMaxKb: overheadMaxKb(this.memoryBytes / 1048576),
      shadowKb: shadow * 4,
      tcKb: tc * 4,
    };
  }

  resetTouched(): void {
    this.pmap.resetTouched();
  }

  timer(nowCycles: number): ReturnType<Instance['timer']> {
    const ofBoard = this.board.timer(nowCycles);
    if (ofBoard.source !== 'none' || this.mode !== 'vmi') return ofBoard;
    const { source, requestedHz: alarmHz, backlog, lagCycles } = this.#vmiTimer.sample();
    return { source, requestedHz: alarmHz, backlog, lagCycles };
  }

  audit(): string[] {
    return this.#loop.audit();
  }

  listCode(linear: number): readonly CodeLine[] | undefined {
    return this.#loop.technique.listCode?.(linear);
  }

  *pages(): Iterable<readonly [number, Int32Array]> {
    for (const [ppn, mpn] of this.pmap.backedPages()) {
      yield [ppn, this.#hardware.memory.i32.subarray(mpn * 1024, mpn * 1024 + 1024)];
    }
  }

  /**
   * Frees by what was allocated and not by asking the monitor, which may be the part that broke. Nothing of it is used again:
   * the hardware thread is reset before it serves the next power-on.
   */
  release(): void {
    for (const [, mpn] of this.pmap.backedPages()) this.#hardware.allocator.free(mpn);
    for (const mpn of this.#monitorPages.keys()) this.#hardware.allocator.free(mpn);
    this.#monitorPages.clear();
    this.#thread.instance = undefined;
  }

  /** The page that holds no RAM before 1 MiB: device memory, or the VMI ROM where the VM offers it. */
  #mapAdapters(): void {
    for (let page = ADAPTER_FIRST_PAGE; page < adapterEndPage(this.#wiring.image); page++)
      this.pmap.setDevice(page as Ppn);
    if (!this.#wiring.vmi) return;
    const { bytes } = buildVmiRom();
    for (let offset = 0; offset < bytes.length; offset += 4096) {
      const mpn = this.allocateMonitorPage('tables');
      this.#hardware.memory.writeBytes(mpn * 4096, bytes.subarray(offset, offset + 4096));
      this.pmap.setRom(ppnOf(ROM_PHYSICAL + offset), mpn);
    }
  }

  #goOnUnderVmi(vcpu: VirtualCpu): Technique {
    const technique = enterVmi(vcpu, this.#vmiWiring());
    this.#wiring.onVmiActive();
    return technique;
  }

  #vmiWiring(): VmiWiring {
    return {
      timer: this.#vmiTimer,
      apic: this.board.apic,
      power: {
        shutdown: () => {
          this.powerRequest ??= { kind: 'powerOff' };
        },
        reboot: () => {
          this.powerRequest ??= { kind: 'reset' };
        },
      },
    };
  }

  /** For bus masters. RAM is backed when it is touched, by whomever. */
  #frame(ppn: Ppn, write: boolean): number | undefined {
    if (write && this.pmap.kindOf(ppn) !== 'ram') return undefined;
    const mpn = this.pmap.mpnFor(ppn);
    return mpn === undefined ? undefined : mpn * 4096;
  }

  /** Free of charge here: the shadow MMU charges `allocatePage` when a guest's touch is the reason. */
  #allocate(): Mpn {
    const mpn = this.#hardware.allocator.allocate();
    if (mpn === undefined) throw new MachineMemoryExhausted('the host has no page left');
    return mpn;
  }
}
