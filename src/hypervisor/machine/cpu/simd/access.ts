/**
 * What every MMX, SSE and SSE2 instruction does first (SDM vol. 3, 2.5, 12.1 and 13.1), and moves. Arguments of the helpers:
 *
 *     a  bits 0..7 the destination's first word in `FpuState`, 8..15 kind or count, 16..23 immediate, 24 `IMMEDIATE`
 *     b  the source's first word; `F.OPERAND` where it is in memory
 *     c  memory operand (`fpu/operands.ts`) or `NO_MEMORY`
 *     d  word that holds its offset
 *
 * Words below `F.XMM` are MMX registers.
 */
import type { Core } from '../core.js';
import { fetchOperand, probeOperand, storeOperand } from '../fpu/operands.js';
import { F, type FpuState, MXCSR_MASK, Status } from '../fpu/state.js';
import { Cr0, Cr4, S, Vector } from '../state.js';

export const IMMEDIATE = 1 << 24;

/** Availability of MMX: #UD, #NM, then #MF for an x87 exception that is pending. */
export function mmxAvailable(cpu: Core): boolean {
  const cr0 = cpu.s[S.CR0];
  if ((cr0 & Cr0.EM) !== 0) return cpu.raise(Vector.UD);
  if ((cr0 & Cr0.TS) !== 0) return cpu.raise(Vector.NM);
  return (cpu.fpu.w[F.STATUS] & Status.SUMMARY) === 0 || (cr0 & Cr0.NE) === 0 || cpu.raise(Vector.MF);
}

/** Availability of SSE: #UD, then #NM. */
export function sseAvailable(cpu: Core): boolean {
  const cr0 = cpu.s[S.CR0];
  if ((cr0 & Cr0.EM) !== 0 || (cpu.s[S.CR4] & Cr4.OSFXSR) === 0) return cpu.raise(Vector.UD);
  return (cr0 & Cr0.TS) === 0 || cpu.raise(Vector.NM);
}

/** Every MMX instruction but EMMS: TOP becomes 0 and all registers count as occupied (SDM vol. 1, 9.5). */
export function enterMmx(f: FpuState): void {
  f.w[F.TOP] = 0;
  f.w[F.VALID] = 0xff;
}

/** A write to an MMX register fills the exponent with ones. */
export function sealMmx(f: FpuState, register: number): void {
  f.w[register + 2] = 0xffff;
}

/** Both, and the memory operand; for instructions whose registers are of one kind. */
export function begin(cpu: Core, mmx: boolean, c: number, d: number): boolean {
  if (mmx ? !mmxAvailable(cpu) : !sseAvailable(cpu)) return false;
  if (c >= 0 && !fetchOperand(cpu, c, cpu.s[d], cpu.fpu.w, F.OPERAND)) return false;
  if (mmx) enterMmx(cpu.fpu);
  return true;
}

const ZERO_UPPER = 1;

/** Memory into a register; bits 8..15: `ZERO_UPPER`. MOVHPS names the upper half as its destination. */
function load(cpu: Core, a: number, _b: number, c: number, d: number): boolean {
  const to = a & 0xff;
  const mmx = to < F.XMM;
  if (mmx ? !mmxAvailable(cpu) : !sseAvailable(cpu)) return false;
  const { w } = cpu.fpu;
  if (!fetchOperand(cpu, c, cpu.s[d], w, to)) return false;
  if (((a >> 8) & ZERO_UPPER) !== 0) {
    const bytes = (c >> 4) & 0x3ff;
    if (bytes <= 4) w[to + 1] = 0;
    if (!mmx && bytes < 16) {
      w[to + 2] = 0;
      w[to + 3] = 0;
    }
  }
  if (mmx) {
    enterMmx(cpu.fpu);
    sealMmx(cpu.fpu, to);
  }
  return true;
}

/** A register, or a part of it, into memory. */
function store(cpu: Core, a: number, _b: number, c: number, d: number): boolean {
  const from = a & 0xff;
  const mmx = from < F.XMM;
  if (mmx ? !mmxAvailable(cpu) : !sseAvailable(cpu)) return false;
  if (!storeOperand(cpu, c, cpu.s[d], cpu.fpu.w, from)) return false;
  if (mmx) enterMmx(cpu.fpu);
  return true;
}

/** Register to register of one kind: words to copy in bits 8..11, `ZERO_UPPER` in bit 12. */
function copy(cpu: Core, a: number, b: number): boolean {
  const to = a & 0xff;
  const mmx = to < F.XMM;
  if (mmx ? !mmxAvailable(cpu) : !sseAvailable(cpu)) return false;
  const { w } = cpu.fpu;
  const words = (a >> 8) & 15;
  for (let i = 0; i < words; i++) w[to + i] = w[b + i];
  if ((a & 0x1000) !== 0) for (let i = words; i < 4; i++) w[to + i] = 0;
  if (mmx) {
    enterMmx(cpu.fpu);
    sealMmx(cpu.fpu, to);
  }
  return true;
}

/** MOVQ2DQ and MOVDQ2Q: one register of each kind. */
function cross(cpu: Core, a: number, b: number): boolean {
  if (!sseAvailable(cpu) || !mmxAvailable(cpu)) return false;
  const to = a & 0xff;
  const { w } = cpu.fpu;
  w[to] = w[b];
  w[to + 1] = w[b + 1];
  enterMmx(cpu.fpu);
  if (to < F.XMM) sealMmx(cpu.fpu, to);
  else {
    w[to + 2] = 0;
    w[to + 3] = 0;
  }
  return true;
}

/** MOVD from a general register (`b`). */
function fromGeneral(cpu: Core, a: number, b: number): boolean {
  const to = a & 0xff;
  if (!begin(cpu, to < F.XMM, -1, 0)) return false;
  const { w } = cpu.fpu;
  w[to] = cpu.s[b];
  w[to + 1] = 0;
  if (to < F.XMM) sealMmx(cpu.fpu, to);
  else {
    w[to + 2] = 0;
    w[to + 3] = 0;
  }
  return true;
}

/** MOVD to a general register (`b`). */
function toGeneral(cpu: Core, a: number, b: number): boolean {
  const from = a & 0xff;
  if (!begin(cpu, from < F.XMM, -1, 0)) return false;
  cpu.s[b] = cpu.fpu.w[from];
  return true;
}

/** PMOVMSKB (lanes of 1 byte), MOVMSKPS (4), MOVMSKPD (8: of its two words only the upper one counts). Lane size in bits 8..15. */
function signMask(cpu: Core, a: number, b: number): boolean {
  const from = a & 0xff;
  if (!begin(cpu, from < F.XMM, -1, 0)) return false;
  const lane = (a >> 8) & 0xff;
  const bytes = from < F.XMM ? 8 : 16;
  let mask = 0;
  for (let i = lane - 1, bit = 0; i < bytes; i += lane, bit++) mask |= (cpu.fpu.u8[from * 4 + i] >> 7) << bit;
  cpu.s[b] = mask;
  return true;
}

/** PEXTRW into a general register (`b`). */
function extractWord(cpu: Core, a: number, b: number): boolean {
  const from = a & 0xff;
  if (!begin(cpu, from < F.XMM, -1, 0)) return false;
  cpu.s[b] = cpu.fpu.u16[from * 2 + ((a >> 16) & (from < F.XMM ? 3 : 7))];
  return true;
}

/** PINSRW from a general register (`b`) or memory. */
function insertWord(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  const to = a & 0xff;
  const mmx = to < F.XMM;
  if (!begin(cpu, mmx, c, d)) return false;
  const value = c >= 0 ? cpu.fpu.w[F.OPERAND] : cpu.s[b];
  cpu.fpu.u16[to * 2 + ((a >> 16) & (mmx ? 3 : 7))] = value;
  if (mmx) sealMmx(cpu.fpu, to);
  return true;
}

/** MASKMOVQ and MASKMOVDQU: the bytes of `a` whose mask byte in `b` has its top bit set. An empty mask touches nothing. */
function maskedStore(cpu: Core, a: number, b: number, c: number, d: number): boolean {
  const from = a & 0xff;
  const mmx = from < F.XMM;
  if (mmx ? !mmxAvailable(cpu) : !sseAvailable(cpu)) return false;
  const { u8 } = cpu.fpu;
  const bytes = mmx ? 8 : 16;
  let any = 0;
  for (let i = 0; i < bytes; i++) any |= u8[b * 4 + i] & 0x80;
  if (any !== 0) {
    if (!probeOperand(cpu, c, cpu.s[d])) return false;
    for (let i = 0; i < bytes; i++) {
      if ((u8[b * 4 + i] & 0x80) !== 0) cpu.store(c & 7, (cpu.s[d] + i) | 0, 1, u8[from * 4 + i]);
    }
  }
  if (mmx) enterMmx(cpu.fpu);
  return true;
}

/** EMMS. */
function emptyMmx(cpu: Core): boolean {
  if (!mmxAvailable(cpu)) return false;
  cpu.fpu.w[F.TOP] = 0;
  cpu.fpu.w[F.VALID] = 0;
  return true;
}

function loadMxcsr(cpu: Core, _a: number, _b: number, c: number, d: number): boolean {
  if (!begin(cpu, false, c, d)) return false;
  const { w } = cpu.fpu;
  if ((w[F.OPERAND] & ~MXCSR_MASK) !== 0) return cpu.raise(Vector.GP, 0);
  w[F.MXCSR] = w[F.OPERAND];
  return true;
}

export const SIMD_ACCESS = {
  simdLoad: load,
  simdStore: store,
  simdCopy: copy,
  simdCross: cross,
  simdFromGeneral: fromGeneral,
  simdToGeneral: toGeneral,
  simdSignMask: signMask,
  simdExtractWord: extractWord,
  simdInsertWord: insertWord,
  simdMaskedStore: maskedStore,
  simdEmptyMmx: emptyMmx,
  simdLoadMxcsr: loadMxcsr,
};
