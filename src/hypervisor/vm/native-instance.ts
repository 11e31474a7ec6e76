/** A machine that its guest owns: contiguous machine memory, its own hardware thread, no monitor. */
import type { Archive } from '../base/archive.js';
import { UsageError } from '../base/assert.js';
import type { Mpn, Ppn } from '../base/pages.js';
import { DEBUG_CONSOLE_PORT, DebugConsole, Rom } from '../devices/firmware.js';
import type { PowerRequest } from '../devices/system-control.js';
import { Context } from '../machine/cpu/context.js';
import { exchangeThread } from '../machine/cpu/saved-state.js';
import { Flag } from '../machine/cpu/state.js';
import type { LoopResult } from '../monitor/loop.js';
import { NativeMonitor } from '../monitor/native/native-monitor.js';
import { Board } from './board.js';
import { loadKernel } from './boot-image.js';
import { MappedMemory, type PhysicalMap } from './bus-memory.js';
import type { GuestProcessor } from './guest-processor.js';
import {
  ADAPTER_END_PAGE,
  ADAPTER_FIRST_PAGE,
  type HostHardware,
  type Instance,
  type InstanceMemory,
  type InstanceWiring,
  registersOf,
  unimplementedLine,
} from './instance.js';
import { resetThread, startAtResetVector, startNative } from './reset-state.js';
import { FIRST_MIB, LOW_ROM_BYTES_MAX, ROM_END_PAGE, SHADOW_FIRST_PAGE } from './rom.js';
import { exchangeMemory } from './saved-memory.js';

/**
 * The hardware of a native VM. It outlives power cycles, since a hardware thread is wired to one range of memory for good; the
 * VM gives it back when it is removed.
 */
export class NativeMachine implements PhysicalMap {
  readonly context: Context;
  readonly first: Mpn;
  readonly pages: number;
  /** Machine pages behind the RAM that hold the BIOS, if there is one. */
  readonly romPages: number;
  /** The board of the present power-on. */
  board: Board | undefined;
  processor: GuestProcessor | undefined;
  onUnimplemented: (line: string) => void = () => {};
  readonly #hardware: HostHardware;
  /** Page behind those below 1 MiB that no RAM answers for. */
  readonly #adapterEnd: number;
  readonly #romFirst: number;

  /**
   * `adapterEnd`: the page behind those that belong to adapters, for a machine without a BIOS. Throws `UsageError` when the host has no
   * contiguous range of that size.
   */
  constructor(hardware: HostHardware, memoryBytes: number, romBytes = 0, adapterEnd = ADAPTER_END_PAGE) {
    this.#hardware = hardware;
    this.pages = memoryBytes / 4096;
    this.romPages = romBytes / 4096;
    this.#romFirst = ROM_END_PAGE - this.romPages;
    this.#adapterEnd = romBytes === 0 ? adapterEnd : SHADOW_FIRST_PAGE;
    const first = hardware.allocator.allocateContiguous(this.pages + this.romPages);
    if (first === undefined)
      throw new UsageError(`the host has no ${memoryBytes / 1048576} MiB of contiguous memory left`);
    this.first = first;
    this.context = new Context(
      {
        memory: hardware.memory,
        costs: hardware.costs,
        ports: {
          read: (port, width) => this.#board.ports.read(port, width),
          write: (port, width, value) => this.#board.ports.write(port, width, value),
        },
        mmio: {
          read: (physical, width) => this.#board.mmio.read(physical, width),
          write: (physical, width, value) => this.#board.mmio.write(physical, width, value),
        },
        interrupts: { acknowledge: () => this.#board.interrupts.acknowledge() },
        physicalBase: first * 4096,
        physicalBytes: memoryBytes,
        isDeviceMemory: page => this.#isAdapter(page),
        romPage: page => this.#romPage(page),
        ring0Escapes: false,
        onUnimplemented: report => this.onUnimplemented(unimplementedLine(report)),
        cpuid: (leaf, subleaf) => this.processor!.cpuid(leaf, subleaf),
        readMsr: index => this.processor!.readMsr(index),
        writeMsr: (index, low, high) => this.processor!.writeMsr(index, low, high),
      },
      hardware.codeCache,
    );
  }

  frame(ppn: Ppn, write: boolean): number | undefined {
    if (ppn < this.pages) return this.#isAdapter(ppn) ? undefined : (this.first + ppn) * 4096;
    const rom = this.#romPage(ppn);
    return write || rom < 0 ? undefined : rom;
  }

  /** Nobody but the code cache watches pages here. */
  written(): void {}

  #isAdapter(page: number): boolean {
    return page >= ADAPTER_FIRST_PAGE && page < this.#adapterEnd;
  }

  /** Machine address of a page of the BIOS, or -1. */
  #romPage(page: number): number {
    return page >= this.#romFirst ? (this.first + this.pages + page - this.#romFirst) * 4096 : -1;
  }

  clear(): void {
    this.#hardware.memory.fill(this.first * 4096, this.pages * 4096, 0);
  }

  release(): void {
    this.#hardware.allocator.freeContiguous(this.first, this.pages + this.romPages);
    this.context.release();
  }

  get #board(): Board {
    return this.board!;
  }
}

export class NativeInstance implements Instance {
  readonly mode = 'native';
  readonly board: Board;
  powerRequest: PowerRequest | undefined;
  readonly #hardware: HostHardware;
  readonly #machine: NativeMachine;
  readonly #wiring: InstanceWiring;
  readonly #monitor: NativeMonitor;

  /** `fresh`: the machine's memory is known to be zero. Throws `UsageError` when the image does not fit. */
  constructor(hardware: HostHardware, machine: NativeMachine, wiring: InstanceWiring, fresh: boolean) {
    this.#hardware = hardware;
    this.#machine = machine;
    this.#wiring = wiring;
    const { context } = machine;
    this.board = new Board({
      cyclesPerSecond: hardware.costs.cyclesPerSecond,
      now: () => context.cycles,
      shiftCycles: wiring.shiftCycles ?? 0,
      memoryBytes: wiring.memoryBytes,
      memory: new MappedMemory(hardware.memory, machine),
      registers: registersOf(() => context),
      catchUp: false,
      apic: wiring.apic,
      onPower: request => {
        this.powerRequest ??= request;
        context.deadlineCycles = 0;
      },
      onConsole: byte => wiring.onConsole(byte),
      onGuestLog: text => wiring.onGuestLog(text),
      onTimerInterrupt: () => {
        wiring.counters.timerInterrupts += 1;
      },
    });
    for (const plugIn of wiring.adapters ?? []) plugIn(this.board);
    machine.board = this.board;
    machine.processor = wiring.processor;
    wiring.processor.apic = this.board.apic;
    machine.onUnimplemented = line => wiring.onLog(line);
    if (!fresh) machine.clear();
    const base = machine.first * 4096;
    const write = (physical: number, bytes: Uint8Array) => hardware.memory.writeBytes(base + physical, bytes);
    context.cycles = wiring.poweredOnAtCycles;
    const { image } = wiring;
    if (wiring.saved !== undefined) resetThread(context);
    else if (image.kind !== 'rom') {
      const boot = { ...wiring.boot, processors: this.board.processorTable(wiring.processor.cpuid) };
      startNative(context, loadKernel(image, boot, { memoryBytes: wiring.memoryBytes, write }));
    } else {
      const low = image.bytes.subarray(-LOW_ROM_BYTES_MAX);
      write(FIRST_MIB - low.length, low);
      startAtResetVector(context, wiring.processor.cpuid(1, 0)[0]);
    }
    if (image.kind === 'rom') {
      const rom = image.bytes;
      write(machine.pages * 4096, rom);
      this.board.mmio.claim(2 ** 32 - rom.length, rom.length, new Rom(rom));
      this.board.ports.claim(DEBUG_CONSOLE_PORT, 1, new DebugConsole(wiring.onConsole));
    }
    this.board.interrupts.onOutput = level => context.setIntr(level);
    const instance = this;
    this.#monitor = new NativeMonitor({
      thread: context,
      clock: this.board.clock,
      get intr() {
        return instance.board.interrupts.output;
      },
      get stopRequested() {
        return instance.powerRequest !== undefined;
      },
      counters: wiring.counters,
      causes: wiring.causes,
    });
    if (wiring.saved === undefined) return;
    this.#exchange(wiring.saved.archive);
    context.setIntr(this.board.interrupts.output);
  }

  suspend(archive: Archive): void {
    this.#exchange(archive);
  }

  #exchange(archive: Archive): void {
    const { context, first } = this.#machine;
    const { shiftCycles = 0, processor } = this.#wiring;
    archive.section('memory');
    exchangeMemory(archive, this.pages(), (physical, bytes) =>
      this.#hardware.memory.writeBytes(first * 4096 + physical, bytes),
    );
    archive.section('cpu');
    exchangeThread(archive, context);
    context.timeStampOffset = archive.number(context.timeStampOffset + shiftCycles) - shiftCycles;
    this.#monitor.halted = archive.flag(this.#monitor.halted);
    processor.exchange(archive);
    this.board.exchange(archive);
  }

  get thread(): Context {
    return this.#machine.context;
  }

  get interruptsEnabled(): boolean {
    return (this.thread.readEflags() & Flag.IF) !== 0;
  }

  run(untilCycles: number): LoopResult {
    return this.#monitor.run(untilCycles);
  }

  /** The machine's memory is the guest's as a whole; which pages it touches nobody can see without a monitor. */
  memoryUse(): InstanceMemory {
    const kb = this.#machine.pages * 4;
    return { grantedKb: kb, touchedKb: kb, overheadKb: 0, overheadMaxKb: 0, shadowKb: 0, tcKb: 0 };
  }

  resetTouched(): void {}

  timer(nowCycles: number): ReturnType<Instance['timer']> {
    return this.board.timer(nowCycles);
  }

  /** Nothing is derived from the guest's tables but the TLB, which may lawfully be older than they are. */
  listCode(): undefined {
    return undefined;
  }

  audit(): string[] {
    return [];
  }

  *pages(): Iterable<readonly [number, Int32Array]> {
    const { memory } = this.#hardware;
    for (let ppn = 0; ppn < this.#machine.pages; ppn++) {
      const at = (this.#machine.first + ppn) * 1024;
      yield [ppn, memory.i32.subarray(at, at + 1024)];
    }
  }

  release(): void {
    this.board.clock.onSet = () => {};
  }
}
