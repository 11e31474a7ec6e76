/** The recorded answers: how they are kept, and which cases they belong to. */
import type { Case } from './cases.js';
import { dyadic, images, memoryForms, stackForms, transcendental } from './cases.js';
import { simdApproximation, simdFloat, simdInteger } from './simd-cases.js';
import { Random, randomDouble, randomSingle } from './values.js';

export interface Outcome {
  /** 0, or the number of the signal that Linux sent: 4 SIGILL, 8 SIGFPE, 11 SIGSEGV. */
  signal: number;
  regs: number[];
  eflags: number;
  fx: Uint8Array;
  memory: Uint8Array;
}

export const FAMILIES: Readonly<Record<string, () => Generator<Case, void, undefined>>> = {
  'x87-dyadic': dyadic,
  'x87-stack': stackForms,
  'x87-memory': () => {
    const random = new Random(3);
    return memoryForms(
      random,
      () => randomSingle(random),
      () => randomDouble(random),
    );
  },
  'x87-images': images,
  'x87-transcendental': transcendental,
  'simd-integer': simdInteger,
  'simd-float': simdFloat,
  'simd-approximation': simdApproximation,
};

/** Words of an FXSAVE image that are compared: not the addresses of the last instruction, nor what MXCSR can hold. */
const FX_WORDS = [0, 1, 6, ...Array.from({ length: 64 }, (_, i) => 8 + i)];
const MEMORY_AT = 100;
const REGS_AT = 240;
const EFLAGS_AT = 244;
const SIGNAL_AT = 245;
const ARITHMETIC = 0x8d5;

/** What is compared, as words by number; the opcode beside the tags is left out. */
function* words(o: Outcome, test: Case): Generator<readonly [number, number], void, undefined> {
  const fx = new DataView(o.fx.buffer, o.fx.byteOffset);
  for (const at of FX_WORDS) {
    const word = fx.getUint32(at * 4, true);
    const isTop = at >= 8 && at < 40 && (at & 3) === 2;
    if (at >= 8 && at < 40 && (at & 3) === 3) continue;
    yield [at, at === 1 ? word & 0xff : isTop ? word & 0xffff : word];
  }
  const memory = new DataView(o.memory.buffer, o.memory.byteOffset);
  // A 64-bit processor stores XMM8 to XMM15 too.
  const fxsave = test.code[0] === 0x0f && test.code[1] === 0xae && test.code[2] === 0x07;
  const compared = fxsave ? (test.offset + 288) >> 2 : 128;
  for (let at = 0; at < 128; at++) yield [MEMORY_AT + at, at < compared ? memory.getUint32(at * 4, true) : 0];
  for (let i = 0; i < 4; i++) yield [REGS_AT + i, o.regs[i]! >>> 0];
  yield [EFLAGS_AT, o.eflags & ARITHMETIC];
  yield [SIGNAL_AT, o.signal];
}

const before = (test: Case): Outcome => ({ ...test, regs: [...test.regs], signal: 0 });

/** What an outcome changed: pairs of word number and value. */
export function changes(test: Case, outcome: Outcome): number[] {
  const result: number[] = [];
  const old = [...words(before(test), test)];
  let i = 0;
  for (const [at, value] of words(outcome, test)) {
    if (value !== old[i]![1]) result.push(at, value);
    i += 1;
  }
  return result;
}

/** Text of changes, for the message of a failed test. */
export function describe(list: readonly number[]): string {
  const lines: string[] = [];
  for (let i = 0; i < list.length; i += 2) {
    const at = list[i]!;
    const value = (list[i + 1]! >>> 0).toString(16).padStart(8, '0');
    const name =
      at === 0
        ? 'status:control'
        : at === 1
          ? 'tags'
          : at === 6
            ? 'mxcsr'
            : at < 40
              ? `st${(at - 8) >> 2}.${(at - 8) & 3}`
              : at < MEMORY_AT
                ? `xmm${(at - 40) >> 2}.${at & 3}`
                : at < REGS_AT
                  ? `memory+${(at - MEMORY_AT) * 4}`
                  : at < EFLAGS_AT
                    ? ['eax', 'ecx', 'edx', 'ebx'][at - REGS_AT]
                    : at === EFLAGS_AT
                      ? 'eflags'
                      : 'signal';
    lines.push(`${name}=${value}`);
  }
  return lines.join(' ');
}

/** A family's answers, one after the other: number of changes, then each as a byte and a word. */
export function encode(all: readonly (readonly number[])[]): Uint8Array {
  const size = all.reduce((sum, list) => sum + 1 + (list.length / 2) * 5, 0);
  const bytes = new Uint8Array(size);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const list of all) {
    bytes[at++] = list.length / 2;
    for (let i = 0; i < list.length; i += 2) {
      bytes[at] = list[i]!;
      view.setUint32(at + 1, list[i + 1]! >>> 0, true);
      at += 5;
    }
  }
  return bytes;
}

export function* decode(bytes: Uint8Array): Generator<number[], void, undefined> {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 0; at < bytes.length; ) {
    const list: number[] = [];
    const count = bytes[at++]!;
    for (let i = 0; i < count; i++) {
      list.push(bytes[at]!, view.getUint32(at + 1, true));
      at += 5;
    }
    yield list;
  }
}
