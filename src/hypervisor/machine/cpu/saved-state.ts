/** The architectural state of a hardware thread that is put away. What it has cached (TLB, fetch page) begins anew, as it may at any time. */
import type { Archive } from '../../base/archive.js';
import type { Core } from './core.js';
import { S, Seg } from './state.js';

/** Words that mean what they say, whatever order they are set in. */
const WORDS = [
  ...[S.EAX, S.ECX, S.EDX, S.EBX, S.ESP, S.EBP, S.ESI, S.EDI, S.EIP],
  ...[S.CR0, S.CR2, S.CR3, S.CR4, S.GDT_BASE, S.GDT_LIMIT, S.IDT_BASE, S.IDT_LIMIT],
  ...[S.SYSENTER_CS, S.SYSENTER_ESP, S.SYSENTER_EIP, S.INTERRUPT_SHADOW],
  ...[S.DR0, S.DR1, S.DR2, S.DR3, S.DR6, S.DR7],
  ...[S.PDPTE, S.PDPTE + 1, S.PDPTE + 2, S.PDPTE + 3],
];

/** Restoring: the thread is as after reset. Without the time-stamp counter and the INTR pin. */
export function exchangeThread(archive: Archive, cpu: Core): void {
  const { s } = cpu;
  for (const word of WORDS) s[word] = archive.number(s[word]!);
  const cpl = archive.number(s[S.CPL]!);
  const flags = archive.number(cpu.readEflags());
  const segments = s.slice(S.SEG, S.SEG + 8 * 4);
  archive.bytes(segments);
  archive.bytes(cpu.fpu.w);
  if (!archive.restores) return;
  for (let seg = 0; seg <= Seg.LDTR; seg++) {
    const [selector, base, limit, attr] = segments.subarray(seg * 4) as unknown as [number, number, number, number];
    cpu.setSegment(seg, selector, base, limit, attr);
  }
  cpu.setCpl(cpl);
  cpu.writeEflags(flags);
  cpu.flushTlb();
}
