/**
 * The ROM on a bare processor: hardware whose ring 0 escapes, flat ring-1 and ring-3 segments, the vCPU page, and nothing of
 * the monitor. Tests set registers, call a stub and look at what it left.
 */
import { XEON_5160 } from '../../../src/hypervisor/machine/costs/xeon-5160.js';
import { CodeCache } from '../../../src/hypervisor/machine/cpu/code-cache.js';
import { Context } from '../../../src/hypervisor/machine/cpu/context.js';
import { Attr, Cr0, Cr4, type Exit, Flag, S, Seg } from '../../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../../src/hypervisor/machine/memory.js';
import {
  GUEST_LIMIT_VMI,
  HYPERCALL_VECTOR,
  MONITOR_GDT_LINEAR,
  MONITOR_IDT_LINEAR,
  MONITOR_TSS_LINEAR,
  VCPU_PAGE_LINEAR,
} from '../../../src/hypervisor/monitor/hole.js';
import { packDescriptor } from '../../../src/hypervisor/monitor/segment-descriptor.js';
import { CALL, type CallName } from '../../../src/hypervisor/monitor/vmi/calls.js';
import { buildVmiRom } from '../../../src/hypervisor/monitor/vmi/rom.js';

export const ROM_LINEAR = 0xc00c0000;
export const STACK_TOP = 0xc0102000;
export const DATA = 0xc0103000;
/** INT 0xF0 at the place that stubs return to. */
export const LANDING = 0xc0104000;
export const USER_CODE = 0x08048000;
export const USER_STACK_TOP = 0xbffff000;
/** Ring-1 stack of the TSS. */
export const ESP1 = 0xc0106000;
export const DONE_VECTOR = 0xf0;

export const KERNEL_CS = 0x60;
export const KERNEL_DS = 0x68;
export const USER_CS = 0x73;
export const USER_DS = 0x7b;
const MONITOR_CODE = 0x100;
const TSS = 0x108;

const FLAT = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G;
export const POISON = { ebx: 0xb00b1e5, esi: 0x51515151, edi: 0x0d1d1d1d, ebp: 0x0eb0eb0e | 0 };

const dpl = (level: number): number => level << Attr.DPL_SHIFT;

export class RomMachine {
  readonly memory = new MachineMemory(RESERVED_BYTES + 4 * 1024 * 1024);
  readonly thread: Context;
  readonly rom = buildVmiRom();
  readonly #pages = new Map<number, number>();
  readonly #directory: number;
  #next = RESERVED_BYTES;

  constructor(kernelLevel: 0 | 1 = 1) {
    const { memory } = this;
    this.#directory = this.#page();
    const none = { read: () => 0xffffffff, write: () => {} };
    this.thread = new Context(
      {
        memory,
        costs: XEON_5160,
        ports: none,
        mmio: none,
        interrupts: { acknowledge: () => 0xff },
        physicalBase: 0,
        physicalBytes: memory.sizeBytes,
        isDeviceMemory: () => false,
        ring0Escapes: true,
        onUnimplemented: report => {
          throw new Error(`unimplemented ${report.text} at ${report.eip.toString(16)}`);
        },
        cpuid: () => [0, 0, 0, 0],
        readMsr: () => undefined,
        writeMsr: () => false,
      },
      new CodeCache(memory),
    );
    for (const linear of [ROM_LINEAR, STACK_TOP - 4096, DATA, LANDING, ESP1 - 4096, VCPU_PAGE_LINEAR])
      this.map(linear, false);
    for (const linear of [MONITOR_GDT_LINEAR, MONITOR_IDT_LINEAR, MONITOR_TSS_LINEAR]) this.map(linear, false);
    for (const linear of [USER_CODE, USER_STACK_TOP - 4096]) this.map(linear, true);
    memory.writeBytes(this.at(ROM_LINEAR), this.rom.bytes);
    memory.writeBytes(this.at(LANDING), Uint8Array.of(0xcd, DONE_VECTOR));
    memory.writeBytes(this.at(USER_CODE), Uint8Array.of(0xcd, DONE_VECTOR));

    this.#descriptor(KERNEL_CS, FLAT | Attr.CODE | dpl(kernelLevel));
    this.#descriptor(KERNEL_DS, FLAT | dpl(kernelLevel));
    this.#descriptor(USER_CS, FLAT | Attr.CODE | dpl(3));
    this.#descriptor(USER_DS, FLAT | dpl(3));
    this.#descriptor(MONITOR_CODE, FLAT | Attr.CODE);
    for (let vector = 0; vector < 256; vector++) this.gate(vector, MONITOR_CODE, 0, 3);
    this.gate(HYPERCALL_VECTOR, MONITOR_CODE, 0, 1);
    const tss = this.at(MONITOR_TSS_LINEAR);
    memory.write32(tss + 12, ESP1);
    memory.write32(tss + 16, KERNEL_DS | 1);

    const { thread } = this;
    const s = thread.s;
    s[S.GDT_BASE] = MONITOR_GDT_LINEAR | 0;
    s[S.GDT_LIMIT] = 0xfff;
    s[S.IDT_BASE] = MONITOR_IDT_LINEAR | 0;
    s[S.IDT_LIMIT] = 0x7ff;
    thread.setSegment(Seg.TR, TSS, MONITOR_TSS_LINEAR | 0, 103, Attr.P | 0xb);
    thread.setCr4(Cr4.PSE | Cr4.PGE);
    thread.setCr0(Cr0.PE | Cr0.PG | Cr0.WP | Cr0.ET);
    thread.loadCr3(this.#directory);
    this.enterKernel(kernelLevel);
  }

  #page(): number {
    const at = this.#next;
    this.#next += 4096;
    return at;
  }

  map(linear: number, user: boolean): void {
    const machine = this.#page();
    this.#pages.set(linear >>> 12, machine);
    const pdeAt = this.#directory + (linear >>> 22) * 4;
    let pde = this.memory.read32(pdeAt);
    if (pde === 0) {
      pde = this.#page() | 7;
      this.memory.write32(pdeAt, pde);
    }
    this.memory.write32((pde & ~0xfff) + ((linear >>> 12) & 1023) * 4, machine | (user ? 7 : 3));
  }

  /** Machine address behind a linear one. */
  at(linear: number): number {
    const page = this.#pages.get(linear >>> 12);
    if (page === undefined) throw new Error(`nothing mapped at ${linear.toString(16)}`);
    return page | (linear & 0xfff);
  }

  #descriptor(selector: number, attr: number): void {
    const [low, high] = packDescriptor({ base: 0, limit: GUEST_LIMIT_VMI | 0, attr });
    const at = this.at(MONITOR_GDT_LINEAR) + (selector & ~7);
    this.memory.write32(at, low);
    this.memory.write32(at + 4, high);
  }

  /** A 32-bit trap gate. */
  gate(vector: number, selector: number, offset: number, level: number): void {
    const at = this.at(MONITOR_IDT_LINEAR) + 8 * vector;
    this.memory.write32(at, (selector << 16) | (offset & 0xffff));
    this.memory.write32(at + 4, (offset & 0xffff0000) | 0x8f00 | (level << 13));
  }

  enterKernel(level: 0 | 1): void {
    const { thread } = this;
    thread.setCpl(level);
    thread.setSegment(Seg.CS, KERNEL_CS | level, 0, GUEST_LIMIT_VMI | 0, FLAT | Attr.CODE | dpl(level));
    thread.setSegment(Seg.SS, KERNEL_DS | level, 0, GUEST_LIMIT_VMI | 0, FLAT | dpl(level));
    for (const seg of [Seg.DS, Seg.ES]) thread.setSegment(seg, USER_DS, 0, GUEST_LIMIT_VMI | 0, FLAT | dpl(3));
    thread.writeEflags(Flag.IF | Flag.FIXED);
    thread.s[S.ESP] = STACK_TOP | 0;
  }

  enterUser(eip: number): void {
    const { thread } = this;
    thread.setCpl(3);
    thread.setSegment(Seg.CS, USER_CS, 0, GUEST_LIMIT_VMI | 0, FLAT | Attr.CODE | dpl(3));
    for (const seg of [Seg.SS, Seg.DS, Seg.ES]) {
      thread.setSegment(seg, USER_DS, 0, GUEST_LIMIT_VMI | 0, FLAT | dpl(3));
    }
    thread.writeEflags(Flag.IF | Flag.FIXED);
    thread.s[S.ESP] = USER_STACK_TOP | 0;
    thread.s[S.EIP] = eip | 0;
  }

  /** DS, ES, FS and GS null, as an interrupted user program may have left them. */
  nullDataSegments(): void {
    for (const seg of [Seg.DS, Seg.ES, Seg.FS, Seg.GS]) this.thread.setSegment(seg, 0, 0, 0, 0);
  }

  pageWord(offset: number): number {
    return this.memory.read32(this.at(VCPU_PAGE_LINEAR) + offset);
  }

  setPageWord(offset: number, value: number): void {
    this.memory.write32(this.at(VCPU_PAGE_LINEAR) + offset, value);
  }

  push(...words: number[]): void {
    for (const word of words) {
      const esp = (this.thread.s[S.ESP]! - 4) | 0;
      this.thread.s[S.ESP] = esp;
      this.memory.write32(this.at(esp >>> 0), word);
    }
  }

  stackWord(offset: number): number {
    return this.memory.read32(this.at((this.thread.s[S.ESP]! + offset) >>> 0));
  }

  setRegisters(values: Partial<Record<'eax' | 'ecx' | 'edx' | 'ebx' | 'esi' | 'edi' | 'ebp', number>>): void {
    const index = { eax: S.EAX, ecx: S.ECX, edx: S.EDX, ebx: S.EBX, esi: S.ESI, edi: S.EDI, ebp: S.EBP };
    for (const [name, value] of Object.entries(values)) this.thread.s[index[name as keyof typeof index]] = value;
  }

  /** EIP at an entry of the ROM, return address (the landing) on top of the stack. */
  aimAt(name: CallName): void {
    this.push(LANDING);
    this.thread.s[S.EIP] = (ROM_LINEAR + this.rom.entries.get(CALL[name])!) | 0;
  }

  run(): Exit {
    return this.thread.run(this.thread.cycles + 1_000_000);
  }

  /** Calls a stub with poisoned preserved registers; 'done' when it returned, else the index of its hypercall. */
  call(name: CallName, registers: Parameters<RomMachine['setRegisters']>[0] = {}): 'done' | number | Exit {
    this.setRegisters({ ...POISON, ...registers });
    this.aimAt(name);
    return this.outcome(this.run());
  }

  outcome(exit: Exit): 'done' | number | Exit {
    if (exit.kind !== 'monitor' || !exit.software) return exit;
    if (exit.vector === DONE_VECTOR) return 'done';
    if (exit.vector !== HYPERCALL_VECTOR) return exit;
    return this.rom.sites.get((this.thread.s[S.EIP]! - ROM_LINEAR) >>> 0) ?? exit;
  }

  registers(): Record<'eax' | 'ecx' | 'edx' | 'ebx' | 'esi' | 'edi' | 'ebp' | 'esp', number> {
    const s = this.thread.s;
    return {
      eax: s[S.EAX]! >>> 0,
      ecx: s[S.ECX]! >>> 0,
      edx: s[S.EDX]! >>> 0,
      ebx: s[S.EBX]!,
      esi: s[S.ESI]!,
      edi: s[S.EDI]!,
      ebp: s[S.EBP]!,
      esp: s[S.ESP]! >>> 0,
    };
  }
}
