/** A small machine for tests: flat segments, a GDT, an IDT and a TSS, RAM from 16 MiB of machine memory on. */
import { COST_PROFILES } from '../../src/hypervisor/machine/costs/index.js';
import type { CostProfile } from '../../src/hypervisor/machine/costs/profile.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { CodeCache } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { Context } from '../../src/hypervisor/machine/cpu/context.js';
import {
  Attr,
  type ContextWiring,
  Cr0,
  S,
  Seg,
  type UnimplementedReport,
} from '../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';

export const COSTS: CostProfile = COST_PROFILES['xeon-5160']!;
export const RAM_BYTES = 8 << 20;

/** Physical addresses. */
export const GDT = 0x1000;
export const IDT = 0x2000;
export const TSS = 0x3000;
export const HANDLERS = 0x4000;
export const PAGE_DIRECTORY = 0x8000;
export const CODE = 0x10000;
export const STACK0 = 0x28000;
export const STACK1 = 0x2a000;
export const STACK3 = 0x2c000;
export const DATA = 0x30000;

/** Selectors: ring 0 code and data, then rings 1 and 3, TSS. */
export const CS0 = 0x08;
export const DS0 = 0x10;
export const CS1 = 0x19;
export const DS1 = 0x21;
export const CS3 = 0x2b;
export const DS3 = 0x33;
export const TR = 0x38;

export interface PortAccess {
  readonly kind: 'in' | 'out';
  readonly port: number;
  readonly width: number;
  readonly value: number;
  readonly cycles: number;
}

export class Machine {
  readonly memory = new MachineMemory(RESERVED_BYTES + RAM_BYTES);
  readonly base = RESERVED_BYTES;
  readonly cache = new CodeCache(this.memory);
  readonly cpu: Context;
  readonly reports: UnimplementedReport[] = [];
  readonly portLog: PortAccess[] = [];
  portValue = 0;
  onPort: (access: PortAccess) => void = () => {};
  readonly mmioLog: { kind: string; physical: number; width: number; value: number; cycles: number }[] = [];
  mmioValue = 0;
  vector = 0x20;

  constructor(overrides: Partial<ContextWiring> = {}) {
    const wiring: ContextWiring = {
      memory: this.memory,
      costs: COSTS,
      ports: {
        read: (port, width) => {
          this.#port({ kind: 'in', port, width, value: this.portValue, cycles: this.cpu.cycles });
          return this.portValue;
        },
        write: (port, width, value) => this.#port({ kind: 'out', port, width, value, cycles: this.cpu.cycles }),
      },
      mmio: {
        read: (physical, width) => {
          this.mmioLog.push({ kind: 'read', physical, width, value: this.mmioValue, cycles: this.cpu.cycles });
          return this.mmioValue;
        },
        write: (physical, width, value) => {
          this.mmioLog.push({ kind: 'write', physical, width, value, cycles: this.cpu.cycles });
        },
      },
      interrupts: {
        acknowledge: () => {
          this.cpu.setIntr(false);
          return this.vector;
        },
      },
      physicalBase: this.base,
      physicalBytes: RAM_BYTES,
      isDeviceMemory: page => page >= 0xa0 && page < 0xc0,
      ring0Escapes: false,
      onUnimplemented: report => this.reports.push(report),
      cpuid: (leaf, subleaf) => [leaf + 1, subleaf, 0x1234, 0xffffffff],
      readMsr: index => (index === 0x1b ? [0xfee00900, 0] : undefined),
      writeMsr: index => index === 0x1b,
      ...overrides,
    };
    this.cpu = new Context(wiring, this.cache);
    this.#tables();
    this.setRing(0);
    this.cpu.s[S.CR0] = Cr0.PE | Cr0.ET;
  }

  #port(access: PortAccess): void {
    this.portLog.push(access);
    this.onPort(access);
  }

  write32(physical: number, value: number): void {
    this.memory.write32(this.base + physical, value);
  }

  read32(physical: number): number {
    return this.memory.read32(this.base + physical);
  }

  read8(physical: number): number {
    return this.memory.read8(this.base + physical);
  }

  write(physical: number, bytes: ArrayLike<number>): void {
    this.memory.writeBytes(this.base + physical, Uint8Array.from(bytes as number[]));
  }

  /** Writes a code or data descriptor with 4 KiB granularity if the limit needs it. */
  descriptor(selector: number, base: number, limit: number, attr: number): void {
    const coarse = limit > 0xfffff;
    const raw = coarse ? limit >>> 12 : limit;
    this.write32(GDT + (selector & 0xfff8), ((base << 16) | (raw & 0xffff)) >>> 0);
    const high =
      (base & 0xff000000) |
      ((base >>> 16) & 0xff) |
      (attr << 8) |
      (raw & 0xf0000) |
      (coarse ? 0x800000 : 0) |
      ((attr & Attr.DB) << 8);
    this.write32(GDT + (selector & 0xfff8) + 4, high >>> 0);
  }

  /** An interrupt (or trap) gate to `HANDLERS + vector * 16`. */
  gate(vector: number, dpl: number, target = HANDLERS + vector * 16, selector = CS0, type = 0x8e): void {
    this.write32(IDT + vector * 8, ((selector << 16) | (target & 0xffff)) >>> 0);
    this.write32(IDT + vector * 8 + 4, ((target & 0xffff0000) | ((type | (dpl << 5)) << 8)) >>> 0);
  }

  #tables(): void {
    const code = Attr.P | Attr.S | Attr.DB | 0xb;
    const data = Attr.P | Attr.S | Attr.DB | 0x3;
    for (const [selector, attr] of [
      [CS0, code],
      [DS0, data],
      [CS1, code | 0x20],
      [DS1, data | 0x20],
      [CS3, code | 0x60],
      [DS3, data | 0x60],
    ] as const) {
      this.descriptor(selector, 0, 0xffffffff, attr);
    }
    this.descriptor(TR, TSS, 0x67, 0x8b);
    for (let vector = 0; vector < 256; vector++) this.gate(vector, vector === 0x80 || vector === 3 ? 3 : 0);
    // Handlers stop the machine: HLT, with a byte that names the vector in front of them on the stack.
    for (let vector = 0; vector < 256; vector++) this.write(HANDLERS + vector * 16, [0xf4]);
    this.write32(TSS + 4, STACK0);
    this.write32(TSS + 8, DS0);
    this.write32(TSS + 12, STACK1);
    this.write32(TSS + 16, DS1);
    this.write32(TSS + 0x64, 0x680000);
    const { s } = this.cpu;
    s[S.GDT_BASE] = GDT;
    s[S.GDT_LIMIT] = 0x7ff;
    s[S.IDT_BASE] = IDT;
    s[S.IDT_LIMIT] = 0x7ff;
    this.cpu.setSegment(Seg.TR, TR, TSS, 0x67, 0x8b);
  }

  /** Flat segments and a stack of one ring. */
  setRing(ring: 0 | 1 | 3): void {
    const cs = ring === 0 ? CS0 : ring === 1 ? CS1 : CS3;
    const ds = cs + 8;
    const attr = Attr.P | Attr.S | Attr.DB | Attr.G | (ring << Attr.DPL_SHIFT);
    this.cpu.setCpl(ring);
    this.cpu.setSegment(Seg.CS, cs, 0, -1, attr | 0xb);
    for (const seg of [Seg.ES, Seg.SS, Seg.DS, Seg.FS, Seg.GS]) this.cpu.setSegment(seg, ds, 0, -1, attr | 0x3);
    this.cpu.s[S.ESP] = ring === 0 ? STACK0 : ring === 1 ? STACK1 : STACK3;
  }

  /** Puts code (text or bytes) at `CODE` and points EIP at it. */
  load(code: string | readonly number[], at = CODE): ReadonlyMap<string, number> {
    const assembled = typeof code === 'string' ? assemble(at, code) : undefined;
    this.write(at, assembled ? assembled.bytes : (code as readonly number[]));
    this.cpu.s[S.EIP] = at;
    return assembled?.labels ?? new Map();
  }

  /** Puts code elsewhere than where the program starts, a handler say. */
  loadAt(at: number, code: string): void {
    this.write(at, assemble(at, code).bytes);
  }

  /** Runs until an exit; HLT is how test programs end. */
  run(deadline = Number.POSITIVE_INFINITY) {
    return this.cpu.run(deadline);
  }

  /** Loads code, runs it, and answers the exit. */
  execute(code: string | readonly number[]) {
    this.load(code);
    return this.run();
  }

  reg(index: number): number {
    return this.cpu.s[index]! >>> 0;
  }

  /** Identity-maps the first 8 MiB with 4 KiB pages, user and writable, and turns paging on. */
  enablePaging(cr0 = Cr0.WP): void {
    for (let i = 0; i < 1024; i++) this.write32(PAGE_DIRECTORY + i * 4, 0);
    for (let table = 0; table < 2; table++) {
      const at = 0x40000 + table * 4096;
      this.write32(PAGE_DIRECTORY + table * 4, at | 7);
      for (let i = 0; i < 1024; i++) this.write32(at + i * 4, ((table * 1024 + i) << 12) | 7);
    }
    this.cpu.loadCr3(PAGE_DIRECTORY);
    this.cpu.setCr0(this.cpu.s[S.CR0]! | Cr0.PG | cr0);
  }

  /** Physical address of the page-table entry that `enablePaging` made for a linear address. */
  pteAt(linear: number): number {
    return 0x40000 + (linear >>> 12) * 4;
  }
}
