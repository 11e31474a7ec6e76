/** What every x87 instruction does: availability checks, the register stack, exceptions (SDM vol. 1, 8.1 and 8.5 to 8.7). */
import type { Core } from '../core.js';
import { Cr0, S, Seg, segSelector, Vector } from '../state.js';
import { segmentOf } from './operands.js';
import type { Extended } from './soft.js';
import { setIndefinite } from './soft.js';
import { F, type FpuState, Raise, Status } from './state.js';

/** #NM where CR0 asks for it. */
export function available(cpu: Core): boolean {
  return (cpu.s[S.CR0] & (Cr0.EM | Cr0.TS)) === 0 || cpu.raise(Vector.NM);
}

/**
 * As `available`, then #MF for an exception that is pending from before. With CR0.NE clear hardware would assert FERR# and wait for the
 * interrupt controller (IRQ 13); that circuit is not built: the instruction goes on, as it does with IGNNE# asserted.
 */
export function ready(cpu: Core): boolean {
  if ((cpu.s[S.CR0] & (Cr0.EM | Cr0.TS)) !== 0) return cpu.raise(Vector.NM);
  return (cpu.fpu.w[F.STATUS] & Status.SUMMARY) === 0 || (cpu.s[S.CR0] & Cr0.NE) === 0 || cpu.raise(Vector.MF);
}

/** Remembers the instruction, once none of its faults can come any more. */
export function note(cpu: Core, a: number, memory: number, addressAt: number, delta: number): void {
  const { w } = cpu.fpu;
  const { s } = cpu;
  w[F.INSTRUCTION] = s[S.EIP] + delta;
  w[F.INSTRUCTION_SELECTOR] = s[segSelector(Seg.CS)];
  w[F.OPCODE] = (a >>> 16) & 0x7ff;
  if (memory >= 0) {
    w[F.DATA] = s[addressAt];
    w[F.DATA_SELECTOR] = s[segSelector(segmentOf(memory))];
  }
}

/** Masks and rounding control as the arithmetic wants them. */
export const modeOf = (control: number): number => (control & Raise.ALL) | ((control >> 4) & 0xc0);

/** First word of ST(i). */
export const slot = (f: FpuState, i: number): number => ((f.w[F.TOP] + i) & 7) << 2;
export const isEmpty = (f: FpuState, i: number): boolean => ((f.w[F.VALID] >> ((f.w[F.TOP] + i) & 7)) & 1) === 0;

export function get(f: FpuState, i: number, to: Extended): void {
  const at = slot(f, i);
  to.lo = f.w[at];
  to.hi = f.w[at + 1];
  to.se = f.w[at + 2] & 0xffff;
}

export function put(f: FpuState, i: number, x: Extended): void {
  const { w } = f;
  const register = (w[F.TOP] + i) & 7;
  const at = register << 2;
  w[at] = x.lo;
  w[at + 1] = x.hi;
  w[at + 2] = x.se;
  w[F.VALID] |= 1 << register;
}

export function pop(f: FpuState): void {
  const { w } = f;
  w[F.VALID] &= ~(1 << w[F.TOP]);
  w[F.TOP] = (w[F.TOP] + 1) & 7;
}

/** Makes room for a new ST(0); its value follows by `put`. */
export function push(f: FpuState): void {
  f.w[F.TOP] = (f.w[F.TOP] - 1) & 7;
}

/** Exceptions that keep an instruction from having any result where they are not masked. */
const BEFORE = Raise.INVALID | Raise.DENORMAL | Raise.ZERO_DIVIDE;

/**
 * Enters exceptions (and C1) into the status word. False if the instruction must not deliver a result. `toMemory`: overflow and
 * underflow prevent it too.
 */
export function settle(f: FpuState, raised: number, toMemory = false): boolean {
  const { w } = f;
  let flags = raised;
  const unmasked = flags & ~w[F.CONTROL] & Raise.ALL;
  let delivers = true;
  if (unmasked !== 0) {
    delivers = (unmasked & (toMemory ? BEFORE | Raise.OVERFLOW | Raise.UNDERFLOW : BEFORE)) === 0;
    // A result in memory that cannot be given has not been rounded either.
    if (!delivers && (unmasked & BEFORE) === 0) flags &= Raise.OVERFLOW | Raise.UNDERFLOW;
    if ((unmasked & BEFORE) !== 0) flags &= BEFORE | Raise.STACK | (flags & Raise.STACK ? Raise.UP : 0);
    flags |= Status.SUMMARY | Status.BUSY;
  }
  w[F.STATUS] =
    (w[F.STATUS] & ~Status.C1) | (flags & (Raise.ALL | Raise.STACK | Raise.UP | Status.SUMMARY | Status.BUSY));
  return delivers;
}

/** Stack underflow; true with the indefinite in `out` if the instruction goes on. */
export function underflow(f: FpuState, out: Extended): boolean {
  setIndefinite(out);
  return settle(f, Raise.INVALID | Raise.STACK);
}

/** Stack overflow. */
export function stackOverflow(f: FpuState, out: Extended): boolean {
  setIndefinite(out);
  return settle(f, Raise.INVALID | Raise.STACK | Raise.UP);
}
