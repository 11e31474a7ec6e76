/** The machine does with every recorded case what a real processor did (`record.ts`). */
import { readFileSync } from 'node:fs';
import { gunzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import type { Case } from './cases.js';
import { changes, decode, describe, FAMILIES } from './recording.js';
import { Subject } from './subject.js';

const STATUS_WORD = 0;
const C1 = 0x200 << 16;

/** Whether what the machine did is what was recorded. */
type Tolerance = (want: readonly number[], got: readonly number[]) => boolean;

const exact: Tolerance = (want, got) => want.length === got.length && want.every((value, i) => value === got[i]);

/** Values by number, so that one that did not change is what it was. */
function table(test: Case, list: readonly number[]): Map<number, number> {
  const image = new DataView(test.fx.buffer, test.fx.byteOffset);
  const result = new Map<number, number>();
  for (let at = 0; at < 72; at++) result.set(at, image.getUint32(at * 4, true));
  for (let i = 0; i < list.length; i += 2) result.set(list[i]!, list[i + 1]!);
  return result;
}

/** D9 FB, FE, FF. */
const SINE_AND_COSINE = new Set([0xfb, 0xfe, 0xff]);

/**
 * Every significand within one unit in the last place of 64 bits, C1 left out. Sine and cosine within 64 units, that is 2^-57: near
 * multiples of pi/2 the processor is off by some units against the 66-bit pi that its manual names.
 */
function near(test: Case, want: readonly number[], got: readonly number[]): boolean {
  const units = SINE_AND_COSINE.has(test.code[1]!) ? 64n : 1n;
  const a = table(test, want);
  const b = table(test, got);
  for (const [at, value] of a) {
    const other = b.get(at)!;
    const isRegister = at >= 8 && at < 40;
    if (at === STATUS_WORD ? ((value ^ other) & ~C1) !== 0 : !isRegister && value !== other) return false;
  }
  for (let at = 8; at < 40; at += 4) {
    const significand = (t: Map<number, number>) =>
      (BigInt(t.get(at + 2)! & 0xffff) << 64n) | (BigInt(t.get(at + 1)! >>> 0) << 32n) | BigInt(t.get(at)! >>> 0);
    let distance = significand(a) - significand(b);
    if (distance < 0n) distance = -distance;
    // From the largest significand of one exponent to the smallest of the next.
    const acrossPowers = distance > 1n << 63n ? distance - (1n << 63n) : distance;
    if (acrossPowers > units) return false;
  }
  return true;
}

/** RCP and RSQRT: two answers within 1.5 * 2^-12 of the truth each; everything else as recorded. */
function approximate(test: Case, want: readonly number[], got: readonly number[]): boolean {
  const a = table(test, want);
  const b = table(test, got);
  const value = new DataView(new ArrayBuffer(4));
  const float = (bits: number) => {
    value.setUint32(0, bits);
    return value.getFloat32(0);
  };
  for (const [at, bits] of a) {
    const other = b.get(at)!;
    if (bits === other) continue;
    const distance = Math.abs(float(bits) / float(other) - 1);
    if (at < 40 || at >= 72 || !(distance <= 2 * 1.5 * 2 ** -12)) return false;
  }
  return true;
}

function compare(family: string, accepts: (test: Case) => Tolerance): void {
  const subject = new Subject();
  const answers = decode(gunzipSync(readFileSync(new URL(`../../../fixtures/fpu/${family}.bin.gz`, import.meta.url))));
  const wrong: string[] = [];
  let count = 0;
  for (const one of FAMILIES[family]!()) {
    const want = answers.next().value as number[] | undefined;
    if (want === undefined) throw new Error(`${family}: fewer answers than cases; record again`);
    const got = changes(one, subject.run(one));
    count += 1;
    if (!accepts(one)(want, got))
      wrong.push(`${one.name}\n  recorded: ${describe(want)}\n  machine:  ${describe(got)}`);
    if (wrong.length === 5) break;
  }
  expect(wrong.join('\n')).toBe('');
  expect(answers.next().done).toBe(true);
  expect(count).toBeGreaterThan(0);
}

for (const family of Object.keys(FAMILIES)) {
  const tolerant = family === 'x87-transcendental' || family === 'simd-approximation';
  const within = family === 'simd-approximation' ? approximate : near;
  test(`${family} as recorded${tolerant ? ', to the last place' : ''}`, () => {
    compare(family, one => (tolerant ? (want, got) => within(one, want, got) : exact));
  });
}
