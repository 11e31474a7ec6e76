/** x87 control instructions, and the images of the whole state in memory (SDM vol. 1, 8.1.10 and 10.5). */
import type { Core } from '../core.js';
import { Cr0, Flag, S, Vector } from '../state.js';
import { fetchOperand, probeOperand, storeOperand, withBytes } from './operands.js';
import { Extended, isNan, isUnsupported, isZero } from './soft.js';
import { available, ready } from './stack.js';
import { F, type FpuState, MXCSR_MASK, Raise, Status } from './state.js';

/** An image on its way, in words. */
const image = new Int32Array(128);
const bytes = new Uint8Array(image.buffer);
const halves = new Uint16Array(image.buffer);

/** FWAIT: #NM only where CR0.MP says that it too waits for the lazy switch. */
function wait(cpu: Core): boolean {
  const lazy = Cr0.TS | Cr0.MP;
  if ((cpu.s[S.CR0] & lazy) === lazy) return cpu.raise(Vector.NM);
  const pending = (cpu.fpu.w[F.STATUS] & Status.SUMMARY) !== 0 && (cpu.s[S.CR0] & Cr0.NE) !== 0;
  return !pending || cpu.raise(Vector.MF);
}

function initialize(cpu: Core): boolean {
  if (!available(cpu)) return false;
  cpu.fpu.initialize();
  return true;
}

function clearExceptions(cpu: Core): boolean {
  if (!available(cpu)) return false;
  cpu.fpu.w[F.STATUS] &= ~(Raise.ALL | Raise.STACK | Status.SUMMARY | Status.BUSY);
  return true;
}

/** FNENI, FNDISI, FNSETPM: of older coprocessors, without effect. */
function nothing(cpu: Core): boolean {
  return available(cpu);
}

function loadControl(cpu: Core, _a: number, b: number, c: number): boolean {
  if (!ready(cpu)) return false;
  const f = cpu.fpu;
  if (!fetchOperand(cpu, b, cpu.s[c], f.w, F.OPERAND)) return false;
  f.control = f.w[F.OPERAND];
  return true;
}

/** FNSTCW (a = 0) and FNSTSW (a = 1) to memory; FNSTSW AX without. */
function storeWord(cpu: Core, a: number, b: number, c: number): boolean {
  if (!available(cpu)) return false;
  const f = cpu.fpu;
  const value = a === 0 ? f.control : f.status;
  if (b < 0) {
    cpu.s[S.EAX] = (cpu.s[S.EAX] & ~0xffff) | value;
    return true;
  }
  f.w[F.OPERAND] = value;
  return storeOperand(cpu, b, cpu.s[c], f.w, F.OPERAND);
}

const probe = new Extended();

/** The tag word with two bits for each register. */
export function fullTags(f: FpuState): number {
  let tags = 0;
  for (let register = 0; register < 8; register++) {
    let tag = 3;
    if (((f.w[F.VALID] >> register) & 1) !== 0) {
      probe.set(f.w[register * 4 + 2] & 0xffff, f.w[register * 4 + 1], f.w[register * 4]);
      const exponent = probe.se & 0x7fff;
      tag = isZero(probe) ? 1 : exponent === 0 || exponent === 0x7fff || isUnsupported(probe) || isNan(probe) ? 2 : 0;
    }
    tags |= tag << (register * 2);
  }
  return tags;
}

function validOf(tags: number): number {
  let valid = 0;
  for (let register = 0; register < 8; register++) if (((tags >> (register * 2)) & 3) !== 3) valid |= 1 << register;
  return valid;
}

/** Real-address and virtual-8086 mode have images of their own. */
const linearPointers = (cpu: Core): boolean => (cpu.s[S.CR0] & Cr0.PE) === 0 || (cpu.s[S.EFLAGS] & Flag.VM) !== 0;

/** The environment in its four formats (SDM vol. 1, figures 8-9 to 8-12). Answers its bytes. */
function environmentToImage(cpu: Core, wide: boolean): number {
  const f = cpu.fpu;
  const { w } = f;
  const linear = linearPointers(cpu);
  const instruction = linear ? w[F.INSTRUCTION] + (w[F.INSTRUCTION_SELECTOR] << 4) : w[F.INSTRUCTION];
  const data = linear ? w[F.DATA] + (w[F.DATA_SELECTOR] << 4) : w[F.DATA];
  if (wide) {
    image[0] = 0xffff0000 | f.control;
    image[1] = 0xffff0000 | f.status;
    image[2] = 0xffff0000 | fullTags(f);
    if (linear) {
      image[3] = 0xffff0000 | (instruction & 0xffff);
      image[4] = ((instruction >>> 16) << 12) | w[F.OPCODE];
      image[5] = 0xffff0000 | (data & 0xffff);
      image[6] = (data >>> 16) << 12;
    } else {
      image[3] = instruction;
      image[4] = (w[F.OPCODE] << 16) | (w[F.INSTRUCTION_SELECTOR] & 0xffff);
      image[5] = data;
      image[6] = 0xffff0000 | (w[F.DATA_SELECTOR] & 0xffff);
    }
    return 28;
  }
  halves[0] = f.control;
  halves[1] = f.status;
  halves[2] = fullTags(f);
  halves[3] = instruction;
  halves[4] = linear ? ((instruction >>> 4) & 0xf000) | w[F.OPCODE] : w[F.INSTRUCTION_SELECTOR];
  halves[5] = data;
  halves[6] = linear ? (data >>> 4) & 0xf000 : w[F.DATA_SELECTOR];
  return 14;
}

function environmentFromImage(cpu: Core, wide: boolean): void {
  const f = cpu.fpu;
  const { w } = f;
  const step = wide ? 2 : 1;
  w[F.STATUS] = 0;
  f.control = halves[0];
  f.status = halves[step];
  w[F.VALID] = validOf(halves[2 * step]);
  const linear = linearPointers(cpu);
  const second = wide ? image[4] : halves[4];
  if (linear) {
    w[F.INSTRUCTION] = halves[3 * step] | (wide ? (second & 0x0ffff000) << 4 : (second & 0xf000) << 4);
    w[F.DATA] = halves[5 * step] | (wide ? (image[6] & 0x0ffff000) << 4 : (halves[6] & 0xf000) << 4);
    w[F.INSTRUCTION_SELECTOR] = 0;
    w[F.DATA_SELECTOR] = 0;
    w[F.OPCODE] = second & 0x7ff;
    return;
  }
  w[F.INSTRUCTION] = wide ? image[3] : halves[3];
  w[F.INSTRUCTION_SELECTOR] = second & 0xffff;
  w[F.DATA] = wide ? image[5] : halves[5];
  w[F.DATA_SELECTOR] = wide ? image[6] & 0xffff : halves[6];
  if (wide) w[F.OPCODE] = (second >>> 16) & 0x7ff;
}

/** Registers in stack order, ten bytes each. */
function registersToImage(f: FpuState, at: number): void {
  for (let i = 0; i < 8; i++) {
    const from = ((f.w[F.TOP] + i) & 7) * 16;
    for (let k = 0; k < 10; k++) bytes[at + i * 10 + k] = f.u8[from + k];
  }
}

function registersFromImage(f: FpuState, at: number): void {
  for (let i = 0; i < 8; i++) {
    const to = ((f.w[F.TOP] + i) & 7) * 16;
    for (let k = 0; k < 10; k++) f.u8[to + k] = bytes[at + i * 10 + k];
  }
}

/** FNSTENV: then all exceptions are masked. */
function storeEnvironment(cpu: Core, a: number, b: number, c: number): boolean {
  if (!available(cpu)) return false;
  environmentToImage(cpu, a !== 0);
  if (!storeOperand(cpu, b, cpu.s[c], image, 0)) return false;
  cpu.fpu.control |= Raise.ALL;
  return true;
}

function loadEnvironment(cpu: Core, a: number, b: number, c: number): boolean {
  if (!ready(cpu)) return false;
  if (!fetchOperand(cpu, b, cpu.s[c], image, 0)) return false;
  environmentFromImage(cpu, a !== 0);
  return true;
}

/** FNSAVE: then as FNINIT. */
function save(cpu: Core, a: number, b: number, c: number): boolean {
  if (!available(cpu)) return false;
  registersToImage(cpu.fpu, environmentToImage(cpu, a !== 0));
  if (!storeOperand(cpu, b, cpu.s[c], image, 0)) return false;
  cpu.fpu.initialize();
  return true;
}

function restore(cpu: Core, a: number, b: number, c: number): boolean {
  if (!ready(cpu)) return false;
  if (!fetchOperand(cpu, b, cpu.s[c], image, 0)) return false;
  environmentFromImage(cpu, a !== 0);
  registersFromImage(cpu.fpu, a !== 0 ? 28 : 14);
  return true;
}

/** Bytes of an FXSAVE image that are written; behind them software may keep what it likes. */
const FXSAVE_USED = 288;

/** Words of the FXSAVE image. MXCSR and XMM are there whether or not CR4.OSFXSR is set, as on all processors that have both. */
export function extendedToImage(f: FpuState, to: Int32Array): void {
  const { w } = f;
  to.fill(0, 0, FXSAVE_USED / 4);
  to[0] = f.control | (f.status << 16);
  to[1] = w[F.VALID] | (w[F.OPCODE] << 16);
  to[2] = w[F.INSTRUCTION];
  to[3] = w[F.INSTRUCTION_SELECTOR] & 0xffff;
  to[4] = w[F.DATA];
  to[5] = w[F.DATA_SELECTOR] & 0xffff;
  to[6] = w[F.MXCSR];
  to[7] = MXCSR_MASK;
  for (let i = 0; i < 8; i++) {
    const from = ((w[F.TOP] + i) & 7) << 2;
    to[8 + i * 4] = w[from];
    to[9 + i * 4] = w[from + 1];
    to[10 + i * 4] = w[from + 2] & 0xffff;
  }
  for (let i = 0; i < 32; i++) to[40 + i] = w[F.XMM + i];
}

export function extendedFromImage(f: FpuState, from: Int32Array): void {
  const { w } = f;
  w[F.STATUS] = 0;
  f.control = from[0] & 0xffff;
  f.status = from[0] >>> 16;
  w[F.VALID] = from[1] & 0xff;
  w[F.OPCODE] = (from[1] >>> 16) & 0x7ff;
  w[F.INSTRUCTION] = from[2];
  w[F.INSTRUCTION_SELECTOR] = from[3] & 0xffff;
  w[F.DATA] = from[4];
  w[F.DATA_SELECTOR] = from[5] & 0xffff;
  w[F.MXCSR] = from[6];
  for (let i = 0; i < 8; i++) {
    const to = ((w[F.TOP] + i) & 7) << 2;
    w[to] = from[8 + i * 4];
    w[to + 1] = from[9 + i * 4];
    w[to + 2] = from[10 + i * 4] & 0xffff;
  }
  for (let i = 0; i < 32; i++) w[F.XMM + i] = from[40 + i];
}

/** FXSAVE: the argument names 512 bytes, all of which must be writable; the last 224 keep what they held. */
function saveExtended(cpu: Core, _a: number, b: number, c: number): boolean {
  if (!available(cpu)) return false;
  if (!probeOperand(cpu, b, cpu.s[c])) return false;
  extendedToImage(cpu.fpu, image);
  return storeOperand(cpu, withBytes(b, FXSAVE_USED), cpu.s[c], image, 0);
}

function restoreExtended(cpu: Core, _a: number, b: number, c: number): boolean {
  if (!available(cpu)) return false;
  if (!fetchOperand(cpu, b, cpu.s[c], image, 0)) return false;
  if ((image[6] & ~MXCSR_MASK) !== 0) return cpu.raise(Vector.GP, 0);
  extendedFromImage(cpu.fpu, image);
  return true;
}

export const X87_CONTROL = {
  x87Wait: wait,
  x87Initialize: initialize,
  x87ClearExceptions: clearExceptions,
  x87Nothing: nothing,
  x87LoadControl: loadControl,
  x87StoreWord: storeWord,
  x87StoreEnvironment: storeEnvironment,
  x87LoadEnvironment: loadEnvironment,
  x87Save: save,
  x87Restore: restore,
  saveExtended,
  restoreExtended,
};
