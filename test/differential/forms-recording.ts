/** What became of the cases of `forms-cases.ts`: how it is kept, and by which other recordings a form is shown. */

import { FAMILIES } from '../machine/fpu/recording.js';
import { formsOf } from './forms.js';
import { FORM_DATA, FORM_MEMORY_BYTES, type FormCase } from './forms-cases.js';

/** Words of an outcome in front of the memory. */
export const OUTCOME_FIELDS = [
  'eax',
  'ecx',
  'edx',
  'ebx',
  'esp',
  'ebp',
  'esi',
  'edi',
  'eflags',
  'eip',
  'vector',
  'error',
  'cr2',
  'es:cs',
  'ss:ds',
  'fs:gs',
] as const;
const FIELDS = OUTCOME_FIELDS.length;
export const OUTCOME_WORDS = FIELDS + FORM_MEMORY_BYTES / 4;
const EFLAGS = 8;
const VECTOR = 10;
const ERROR = 11;
const CR2 = 12;
const PAGE_FAULT = 14;
/** Exceptions with an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC. Linux leaves that of the last one in place for the others. */
const WITH_ERROR: ReadonlySet<number> = new Set([8, 10, 11, 12, 13, 14, 17]);

/** What is compared: the words that follow from the state before are zero if they have not changed. */
export function changesOf(test: FormCase, outcome: Int32Array): number[] {
  const before = new Int32Array(OUTCOME_WORDS);
  before.set(test.registers.map(value => value | 0));
  before.set(new Int32Array(test.memory.buffer), FIELDS);
  const vector = outcome[VECTOR]!;
  const changes: number[] = [];
  for (let i = 0; i < OUTCOME_WORDS; i++) {
    let value = outcome[i]!;
    if (i === EFLAGS) value &= test.flagsMask;
    if (i === ERROR && !WITH_ERROR.has(vector)) value = 0;
    if (i === CR2 && vector !== PAGE_FAULT) value = 0;
    // LAR leaves the bits of the limit open.
    if (i < EFLAGS && value !== before[i] && test.form.startsWith('Lar_r32')) value &= ~0xf0000;
    if (value !== before[i]) changes.push(i, value);
  }
  return changes;
}

/** For the message of a failed test. */
export function describeChanges(changes: readonly number[]): string {
  const words: string[] = [];
  for (let i = 0; i < changes.length; i += 2) {
    const at = changes[i]!;
    const name = OUTCOME_FIELDS[at] ?? `[${(FORM_DATA + (at - FIELDS) * 4).toString(16)}]`;
    words.push(`${name}=${(changes[i + 1]! >>> 0).toString(16)}`);
  }
  return words.join(' ');
}

/** One answer after the other: the number of changes, then each as a byte and a word. */
export function encodeAnswers(answers: readonly (readonly number[])[]): Uint8Array {
  const bytes: number[] = [];
  for (const changes of answers) {
    bytes.push(changes.length / 2);
    for (let i = 0; i < changes.length; i += 2) {
      const value = changes[i + 1]!;
      bytes.push(changes[i]!, value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24);
    }
  }
  return Uint8Array.from(bytes);
}

export function* decodeAnswers(bytes: Uint8Array): Generator<number[], void, undefined> {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 0; at < bytes.length; ) {
    const changes: number[] = [];
    for (let count = bytes[at++]!; count > 0; count--, at += 5) changes.push(bytes[at]!, view.getInt32(at + 1, true));
    yield changes;
  }
}

/** Forms of floating point and SIMD whose cases are recorded with the whole state of their registers (`machine/fpu`). */
export function floatingForms(): Set<string> {
  const codes = new Map<string, readonly number[]>();
  for (const family of Object.values(FAMILIES)) for (const { code } of family()) codes.set(code.join(), code);
  return new Set([...codes.values()].flatMap(code => formsOf(code, 32).slice(0, 1)));
}
