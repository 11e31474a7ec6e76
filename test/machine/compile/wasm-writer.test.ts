/** The encodings of numbers, at every length that they can have, and across the growth of the buffer. */
import { expect, test } from 'vitest';
import { W, WasmWriter } from '../../../src/hypervisor/machine/cpu/compile/wasm-writer.js';

/** Reads one LEB128 number of `bits` bits and answers it with its length. */
function decode(bytes: Uint8Array, at: number, bits: number, signed: boolean): { value: bigint; length: number } {
  let value = 0n;
  let shift = 0n;
  for (let i = at; ; i++) {
    const byte = bytes[i]!;
    value |= BigInt(byte & 0x7f) << shift;
    shift += 7n;
    if ((byte & 0x80) !== 0) continue;
    if (signed && (byte & 0x40) !== 0) value |= -1n << shift;
    return { value: signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value), length: i + 1 - at };
  }
}

/** The shortest encoding has seven bits a byte; a signed one needs a bit for the sign. */
function shortest(value: bigint, signed: boolean): number {
  for (let length = 1; ; length++) {
    const bits = 7 * length;
    if ((signed ? BigInt.asIntN(bits, value) : BigInt.asUintN(bits, value)) === value) return length;
  }
}

const edges: number[] = [];
for (let bit = 0; bit < 32; bit++)
  for (const near of [-1, 0, 1]) edges.push((2 ** bit + near) | 0, (-(2 ** bit) + near) | 0);

test('32-bit constants and indices are the shortest encodings of their values', () => {
  const w = new WasmWriter(4);
  for (const value of edges) {
    w.clear();
    w.i32(value);
    expect(w.bytes[0]).toBe(W.I32_CONST);
    expect(decode(w.bytes, 1, 32, true)).toEqual({ value: BigInt(value), length: shortest(BigInt(value), true) });
    expect(w.length).toBe(1 + shortest(BigInt(value), true));
    for (const write of [() => w.get(value >>> 0), () => w.call(value >>> 0), () => w.brIf(value >>> 0)]) {
      w.clear();
      write();
      const unsigned = BigInt(value >>> 0);
      expect(decode(w.bytes, 1, 32, false)).toEqual({ value: unsigned, length: shortest(unsigned, false) });
      expect(w.length).toBe(1 + shortest(unsigned, false));
    }
  }
});

test('64-bit constants keep both words', () => {
  const w = new WasmWriter();
  for (const high of edges) {
    for (const low of [0, 1, -1, 1 << 31, 0x7fffffff]) {
      w.clear();
      w.i64(high, low);
      const value = (BigInt(high) << 32n) | BigInt(low >>> 0);
      expect(decode(w.bytes, 1, 64, true)).toEqual({ value, length: shortest(value, true) });
    }
  }
});

test('a small buffer grows under every kind of instruction and loses nothing', () => {
  const small = new WasmWriter(0);
  const large = new WasmWriter(1 << 16);
  for (let i = 0; i < 300; i++) {
    for (const w of [small, large]) {
      w.get(i);
      w.i32(-i * 1_000_003);
      w.memory(W.I32_STORE, i * 70_001, 2);
      w.op(W.DROP);
      w.i64(i, -i);
      w.raw(new Uint8Array(i).fill(i));
    }
  }
  expect(small.done()).toEqual(large.done());
});
