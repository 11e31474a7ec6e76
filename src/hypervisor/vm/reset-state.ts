/**
 * The states in which machines start: at the reset vector, or as kernels expect of their loaders (Multiboot 0.6.96, 3.2; Linux/x86
 * boot protocol, "32-bit boot protocol"): 32-bit protected mode without paging, flat segments, interrupts off. Where the loader
 * gives no descriptor table, an image that reloads a segment first faults, on this machine as on others.
 */
import type { HardwareThread } from '../machine/cpu/processor.js';
import { Attr, Cr0, Flag, S, Seg } from '../machine/cpu/state.js';
import type { VirtualCpu } from '../monitor/virtual-cpu.js';
import type { StartState } from './boot-image.js';

const LIMIT = 0xffffffff;
const FLAT = Attr.P | Attr.S | Attr.DB | Attr.G | Attr.WRITE_READ | Attr.ACCESSED;
const DATA_SEGMENTS = [Seg.ES, Seg.SS, Seg.DS, Seg.FS, Seg.GS] as const;
/** Present, busy 32-bit TSS, as after reset (SDM vol. 3, table 9-1); and LDT. */
const TSS_ATTR = Attr.P | 0xb;
const LDT_ATTR = Attr.P | 0x2;
const RESET_CR0 = Cr0.PE | Cr0.ET;

/** Brings a hardware thread back to the state of a processor after reset, so that it can serve another power-on. */
export function resetThread(thread: HardwareThread): void {
  const s = thread.s;
  thread.leaveNonRoot();
  thread.routinePage = -1;
  for (let register = S.EAX; register <= S.EDI; register++) s[register] = 0;
  s[S.EIP] = 0;
  thread.writeEflags(Flag.FIXED);
  thread.setCpl(0);
  thread.setCr0(Cr0.ET);
  thread.setCr4(0);
  thread.loadCr3(0);
  s[S.CR2] = 0;
  s[S.GDT_BASE] = 0;
  s[S.GDT_LIMIT] = 0xffff;
  s[S.IDT_BASE] = 0;
  s[S.IDT_LIMIT] = 0x3ff;
  s[S.SYSENTER_CS] = 0;
  s[S.SYSENTER_ESP] = 0;
  s[S.SYSENTER_EIP] = 0;
  s[S.INTERRUPT_SHADOW] = 0;
  for (let index = 0; index < 4; index++) s[S.DR0 + index] = 0;
  s[S.DR6] = 0xffff0ff0 | 0;
  s[S.DR7] = 0x400;
  thread.setIntr(false);
  thread.setSegment(Seg.TR, 0, 0, 0xffff, TSS_ATTR);
  thread.setSegment(Seg.LDTR, 0, 0, 0xffff, LDT_ATTR);
  thread.flushTlb();
}

/** The bare machine at a kernel's entry. */
export function startNative(thread: HardwareThread, start: StartState): void {
  resetThread(thread);
  thread.setCr0(RESET_CR0);
  thread.setSegment(Seg.CS, start.code, 0, LIMIT, FLAT | Attr.CODE);
  for (const seg of DATA_SEGMENTS) thread.setSegment(seg, start.data, 0, LIMIT, FLAT);
  if (start.gdt !== undefined) {
    thread.s[S.GDT_BASE] = start.gdt.base;
    thread.s[S.GDT_LIMIT] = start.gdt.limit;
  }
  startRegisters(thread, start);
  thread.s[S.EIP] = start.eip;
}

/**
 * The state after reset (SDM vol. 3, table 9-1): real mode, the first instruction at FFFFFFF0, EDX the processor's signature. The
 * data segments are 64 KiB at 0.
 */
export function startAtResetVector(thread: HardwareThread, signature: number): void {
  const data = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED;
  resetThread(thread);
  thread.setCr0(Cr0.CD | Cr0.NW | Cr0.ET);
  thread.setSegment(Seg.CS, 0xf000, 0xffff0000 | 0, 0xffff, data);
  for (const seg of DATA_SEGMENTS) thread.setSegment(seg, 0, 0, 0xffff, data);
  thread.s[S.EDX] = signature;
  thread.s[S.EIP] = 0xfff0;
}

/** The same for a guest of a monitor; the guest is out. */
export function startVirtual(vcpu: VirtualCpu, start: StartState): void {
  vcpu.cr0 = RESET_CR0;
  vcpu.cr4 = 0;
  vcpu.cr3 = 0;
  vcpu.cpl = 0;
  vcpu.eflags = Flag.FIXED;
  vcpu.setSegment(Seg.CS, start.code, 0, LIMIT, FLAT | Attr.CODE);
  for (const seg of DATA_SEGMENTS) vcpu.setSegment(seg, start.data, 0, LIMIT, FLAT);
  vcpu.setSegment(Seg.TR, 0, 0, 0xffff, TSS_ATTR);
  vcpu.setSegment(Seg.LDTR, 0, 0, 0xffff, LDT_ATTR);
  if (start.gdt !== undefined) {
    vcpu.gdtBase = start.gdt.base;
    vcpu.gdtLimit = start.gdt.limit;
    vcpu.descriptors.setGdt(vcpu.watchesDescriptors);
  }
  startRegisters(vcpu.thread, start);
  vcpu.eip = start.eip;
}

function startRegisters(thread: HardwareThread, { eax = 0, ebx = 0, esi = 0 }: StartState): void {
  thread.s[S.EAX] = eax;
  thread.s[S.EBX] = ebx;
  thread.s[S.ESI] = esi;
}
