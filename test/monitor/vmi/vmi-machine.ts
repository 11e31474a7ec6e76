/**
 * A small guest that has just called the ROM's Init: paging on, kernel at 3 GiB, one user program, descriptor tables as Linux
 * numbers them. Its page tables were never announced, like the boot tables of a real kernel. No BT runs before.
 *
 *     physical 0x1000 directory, 0x2000 kernel table, 0x3000 user table, 0x4000 GDT, 0x5000 IDT, 0x6000 TSS,
 *              0x8000 kernel stack (to 0x9000), 0xA000 user stack (to 0xB000), 0x10000 kernel code, 0x20000 user code,
 *              0x30000 data, 0xC0000 ROM
 *     linear   physical + 0xC0000000 for the kernel; user code at 0x08000000, user stack below 0x08101000
 */
import type { Mpn, Ppn } from '../../../src/hypervisor/base/pages.js';
import { XEON_5160 } from '../../../src/hypervisor/machine/costs/xeon-5160.js';
import { assemble } from '../../../src/hypervisor/machine/cpu/assemble.js';
import { CodeCache } from '../../../src/hypervisor/machine/cpu/code-cache.js';
import { Context } from '../../../src/hypervisor/machine/cpu/context.js';
import { Attr, Cr0, Cr4, S, Seg } from '../../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../../src/hypervisor/machine/memory.js';
import { type LoopResult, MonitorLoop } from '../../../src/hypervisor/monitor/loop.js';
import { MmioWindow } from '../../../src/hypervisor/monitor/mmio-window.js';
import type { MonitoredVm } from '../../../src/hypervisor/monitor/monitored-vm.js';
import { Pmap } from '../../../src/hypervisor/monitor/pmap.js';
import { VirtualCpu } from '../../../src/hypervisor/monitor/virtual-cpu.js';
import { VmiTimer } from '../../../src/hypervisor/monitor/vmi/alarms.js';
import { CALLS } from '../../../src/hypervisor/monitor/vmi/calls.js';
import { enterVmi } from '../../../src/hypervisor/monitor/vmi/init.js';
import { buildVmiRom } from '../../../src/hypervisor/monitor/vmi/rom.js';
import type { VmiTechnique } from '../../../src/hypervisor/monitor/vmi/vmi-technique.js';
import { zeroCauses } from '../../../src/hypervisor/stats/causes.js';
import { zeroCounters } from '../../../src/hypervisor/stats/counters.js';

export const KERNEL = 0xc0000000;
export const RAM_BYTES = 0x400000;
export const DIRECTORY = 0x1000;
export const KERNEL_TABLE = 0x2000;
export const USER_TABLE = 0x3000;
export const GDT = 0x4000;
export const IDT = 0x5000;
export const TSS = 0x6000;
export const KERNEL_STACK_TOP = 0x9000;
export const CODE = 0x10000;
export const USER = 0x20000;
export const DATA = 0x30000;
export const USER_LINEAR = 0x08000000;
export const USER_STACK_TOP = 0x08101000;
export const ROM_LINEAR = KERNEL + 0xc0000;

const FLAT_CODE = 0x00cf9b00;
const FLAT_DATA = 0x00cf9300;
const DPL3 = 0x6000;
/** OUT to these ports tells the test something: a value, or that the guest is done. */
export const REPORT_PORT = 0xe9;
export const DONE_PORT = 0xf4;

export interface VmiGuestSource {
  /** Assembled at KERNEL + CODE; starts at its first instruction, as if Init had just returned. */
  readonly kernel: string;
  /** Assembled at USER_LINEAR. */
  readonly user?: string;
  /** Vector -> kernel label; trap gates unless the name ends with '/irq'. DPL 3 from 0x80 on and for 3 and 4. */
  readonly gates?: Readonly<Record<number, string>>;
}

export class VmiMachine {
  readonly memory = new MachineMemory(RESERVED_BYTES + 8 * 1024 * 1024);
  readonly thread: Context;
  readonly vm: MonitoredVm;
  readonly vcpu: VirtualCpu;
  readonly timer: VmiTimer;
  readonly reports: number[] = [];
  readonly log: string[] = [];
  readonly power: string[] = [];
  readonly labels: ReadonlyMap<string, number>;
  readonly stolen = { stolenCycles: 0 };
  readonly #timers: { at: number; callback: (now: number) => void }[] = [];
  #technique: VmiTechnique | undefined;
  #loop: MonitorLoop | undefined;
  #intr = false;
  done = false;

  constructor(source: VmiGuestSource) {
    const { memory } = this;
    let nextPage = RESERVED_BYTES >>> 12;
    const free: number[] = [];
    const allocate = (): Mpn => {
      const mpn = (free.pop() ?? nextPage++) as Mpn;
      memory.fill(mpn << 12, 4096, 0);
      return mpn;
    };
    const machine = this;
    const ports = {
      read: (port: number) => (port * 3) & 0xff,
      write: (port: number, _width: 1 | 2 | 4, value: number) => {
        if (port === DONE_PORT) machine.done = true;
        else machine.reports.push(value);
      },
    };
    const nothing = { read: () => 0xffffffff, write: () => {} };
    const mmioWindow = new MmioWindow(nothing);
    const cpuid = () => [1, 2, 3, 4] as const;
    const interrupts = {
      get intr() {
        return machine.#intr;
      },
      acknowledge: () => {
        machine.#intr = false;
        return 0x20;
      },
    };
    this.thread = new Context(
      {
        memory,
        costs: XEON_5160,
        ports,
        mmio: mmioWindow,
        interrupts,
        physicalBase: 0,
        physicalBytes: memory.sizeBytes,
        isDeviceMemory: () => false,
        ring0Escapes: true,
        onUnimplemented: report => this.log.push(`unimplemented ${report.text}`),
        cpuid,
        readMsr: () => undefined,
        writeMsr: () => false,
      },
      new CodeCache(memory),
    );
    this.vm = {
      name: 'test',
      memory,
      costs: XEON_5160,
      pmap: new Pmap(RAM_BYTES, allocate),
      memoryBytes: RAM_BYTES,
      ports,
      mmio: nothing,
      mmioWindow,
      interrupts,
      counters: zeroCounters(),
      causes: zeroCauses(),
      shadowPagesMax: 256,
      get stopRequested() {
        return machine.done;
      },
      nextTimerAt: () => Math.min(Infinity, ...this.#timers.map(({ at }) => at)),
      runTimers: now => {
        const due = this.#timers.filter(({ at }) => at <= now).sort((a, b) => a.at - b.at);
        for (const timer of due) {
          this.#timers.splice(this.#timers.indexOf(timer), 1);
          timer.callback(now);
        }
        return due.length;
      },
      allocateMonitorPage: allocate,
      freeMonitorPage: mpn => void free.push(mpn),
      cpuid,
      readMsr: () => undefined,
      writeMsr: () => false,
      log: line => this.log.push(line),
    };
    const romMpn = allocate();
    memory.writeBytes(romMpn << 12, buildVmiRom().bytes);
    this.vm.pmap.setRom(0xc0 as Ppn, romMpn);
    this.vcpu = new VirtualCpu(this.vm, this.thread);
    this.timer = new VmiTimer({
      clock: {
        get nowCycles() {
          return machine.thread.cycles;
        },
        cyclesPerSecond: XEON_5160.cyclesPerSecond,
        at: (at, callback) => {
          const timer = { at, callback };
          this.#timers.push(timer);
          return {
            atCycles: at,
            place: 0,
            cancel: () => {
              const index = this.#timers.indexOf(timer);
              if (index >= 0) this.#timers.splice(index, 1);
            },
          };
        },
      },
      lvtTimer: undefined,
      irq0: { set: level => (this.#intr = level) },
      stolen: this.stolen,
      poweredOnAtCycles: 0,
      wallclockAtPowerOn: 1_200_000_000,
    });

    const rom = buildVmiRom();
    const symbols: Record<string, number> = { DATA: KERNEL + DATA, GDT: KERNEL + GDT, IDT: KERNEL + IDT, USER_LINEAR };
    for (const { index, name } of CALLS) {
      const entry = rom.entries.get(index);
      if (entry !== undefined) symbols[name] = ROM_LINEAR + entry;
    }
    const kernel = assemble(KERNEL + CODE, source.kernel, symbols);
    this.labels = kernel.labels;
    this.write(CODE, kernel.bytes);
    this.write(USER, assemble(USER_LINEAR, source.user ?? 'nop').bytes);
    this.#pageTables();
    this.#descriptors(source.gates ?? {});
    this.#startState();
  }

  write(physical: number, bytes: Uint8Array): void {
    this.vcpu.physical.writeBytes(physical, bytes);
  }

  write32(physical: number, value: number): void {
    this.vcpu.physical.write(physical, 4, value);
  }

  read32(physical: number): number {
    return this.vcpu.physical.read(physical, 4);
  }

  #pageTables(): void {
    this.write32(DIRECTORY + 4 * 768, KERNEL_TABLE | 0x63);
    this.write32(DIRECTORY + 4 * (USER_LINEAR >>> 22), USER_TABLE | 0x67);
    for (let page = 0; page < 1024; page++) this.write32(KERNEL_TABLE + 4 * page, (page << 12) | 0x63);
    this.write32(USER_TABLE, USER | 0x65);
    this.write32(USER_TABLE + 4 * 0x100, 0xa000 | 0x67);
  }

  #descriptors(gates: Readonly<Record<number, string>>): void {
    const put = (at: number, low: number, high: number): void => {
      this.write32(at, low);
      this.write32(at + 4, high);
    };
    put(GDT + 0x60, 0x0000ffff, FLAT_CODE);
    put(GDT + 0x68, 0x0000ffff, FLAT_DATA);
    put(GDT + 0x70, 0x0000ffff, FLAT_CODE | DPL3);
    put(GDT + 0x78, 0x0000ffff, FLAT_DATA | DPL3);
    put(GDT + 0x80, (TSS << 16) | 103, 0xc0008b00);
    this.write32(TSS + 4, KERNEL + KERNEL_STACK_TOP);
    this.write32(TSS + 8, 0x68);
    for (const [vector, text] of Object.entries(gates)) {
      const [label, kind] = text.split('/');
      const at = this.labels.get(label!);
      if (at === undefined) throw new Error(`no label ${label}`);
      const dpl = Number(vector) >= 0x80 || vector === '3' || vector === '4' ? 3 : 0;
      const type = kind === 'irq' ? 0x8e00 : 0x8f00;
      put(IDT + 8 * Number(vector), (0x60 << 16) | (at & 0xffff), (at & 0xffff0000) | type | (dpl << 13));
    }
  }

  /** The virtual CPU behind the hypercall of Init, captured, as BT hands it over. */
  #startState(): void {
    const { vcpu } = this;
    const flat = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G;
    vcpu.cr4 = Cr4.PSE | Cr4.PGE;
    vcpu.cr3 = DIRECTORY;
    vcpu.cr0 = Cr0.PE | Cr0.PG | Cr0.WP | Cr0.ET;
    vcpu.gdtBase = (KERNEL + GDT) | 0;
    vcpu.gdtLimit = 0xff;
    vcpu.idtBase = (KERNEL + IDT) | 0;
    vcpu.idtLimit = 0x7ff;
    vcpu.shadow.pagingChanged();
    vcpu.descriptors.setGdt(true);
    vcpu.setSegment(Seg.CS, 0x60, 0, -1, flat | Attr.CODE);
    vcpu.setSegment(Seg.SS, 0x68, 0, -1, flat);
    for (const seg of [Seg.DS, Seg.ES]) vcpu.setSegment(seg, 0x7b, 0, -1, flat | 0x60);
    vcpu.setSegment(Seg.TR, 0x80, (KERNEL + TSS) | 0, 103, Attr.P | 0xb);
    vcpu.descriptors.install();
    vcpu.cpl = 0;
    vcpu.eflags = 2;
    vcpu.eip = ROM_LINEAR + buildVmiRom().labels.get('site_init')!;
    vcpu.esp = (KERNEL + KERNEL_STACK_TOP - 4) | 0;
    this.write32(KERNEL_STACK_TOP - 4, KERNEL + CODE);
  }

  /** Init succeeds: the kernel goes on at its first instruction. */
  activate(): VmiTechnique {
    const power = {
      shutdown: () => void this.power.push('shutdown'),
      reboot: (hard: boolean) => void this.power.push(hard ? 'hard reset' : 'soft reset'),
    };
    this.#technique = enterVmi(this.vcpu, { timer: this.timer, power, apic: undefined });
    this.#loop = new MonitorLoop(this.vcpu, this.#technique, () => {
      throw new Error('Init twice');
    });
    return this.#technique;
  }

  get technique(): VmiTechnique {
    return this.#technique ?? this.activate();
  }

  get loop(): MonitorLoop {
    this.technique;
    return this.#loop!;
  }

  raiseInterrupt(): void {
    this.#intr = true;
  }

  /** Runs until the guest is done, halts with nothing to wake it, or stops. */
  run(cyclesMax = 20_000_000): LoopResult {
    const end = this.thread.cycles + cyclesMax;
    for (;;) {
      const result = this.loop.run(end);
      if (this.done || result.kind === 'stopped' || this.thread.cycles >= end) return result;
      if (result.kind !== 'halted') continue;
      if (result.wakeAtCycles === Infinity || result.wakeAtCycles > end) return result;
      this.thread.cycles = Math.max(this.thread.cycles, result.wakeAtCycles);
    }
  }

  audit(): string[] {
    return this.loop.audit();
  }

  get eax(): number {
    return this.thread.s[S.EAX]! >>> 0;
  }
}
