/** Integer instructions of MMX and SSE2 (SDM vol. 1, 9.4, 10.4.4 and 11.4.2), on MMX and XMM registers alike. */
import type { Core } from '../core.js';
import { F, type FpuState } from '../fpu/state.js';
import type { InlineHelper } from '../inline-helpers.js';
import { begin, IMMEDIATE, sealMmx } from './access.js';

/** Computes the register at word `d` from itself and the source at word `s`; both have `words` words. */
type Work = (f: FpuState, d: number, s: number, words: number, immediate: number) => void;

function packed(work: Work): InlineHelper {
  return (cpu: Core, a, b, c, d) => {
    const to = a & 0xff;
    const mmx = to < F.XMM;
    if (!begin(cpu, mmx, c, d)) return false;
    work(cpu.fpu, to, b, mmx ? 2 : 4, a >>> 16);
    if (mmx) sealMmx(cpu.fpu, to);
    return true;
  };
}

// ---- lane by lane

type Lane = (a: number, b: number) => number;

const bytes = (lane: Lane) =>
  packed((f, d, s, words) => {
    for (let i = 0; i < words * 4; i++) f.u8[d * 4 + i] = lane(f.u8[d * 4 + i], f.u8[s * 4 + i]);
  });
const signedBytes = (lane: Lane) =>
  packed((f, d, s, words) => {
    for (let i = 0; i < words * 4; i++) f.i8[d * 4 + i] = lane(f.i8[d * 4 + i], f.i8[s * 4 + i]);
  });
const halves = (lane: Lane) =>
  packed((f, d, s, words) => {
    for (let i = 0; i < words * 2; i++) f.u16[d * 2 + i] = lane(f.u16[d * 2 + i], f.u16[s * 2 + i]);
  });
const signedHalves = (lane: Lane) =>
  packed((f, d, s, words) => {
    for (let i = 0; i < words * 2; i++) f.i16[d * 2 + i] = lane(f.i16[d * 2 + i], f.i16[s * 2 + i]);
  });
const words32 = (lane: Lane) =>
  packed((f, d, s, words) => {
    for (let i = 0; i < words; i++) f.w[d + i] = lane(f.w[d + i], f.w[s + i]);
  });

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);
const toByte = (value: number): number => clamp(value, 0, 255);
const toSignedByte = (value: number): number => clamp(value, -128, 127);
const toHalf = (value: number): number => clamp(value, 0, 65535);
const toSignedHalf = (value: number): number => clamp(value, -32768, 32767);
const sum: Lane = (a, b) => a + b;
const difference: Lane = (a, b) => a - b;
const equal: Lane = (a, b) => (a === b ? -1 : 0);
const greater: Lane = (a, b) => (a > b ? -1 : 0);
const average: Lane = (a, b) => (a + b + 1) >> 1;

// ---- 64-bit lanes

const addQuad: Work = (f, d, s, words) => {
  const { w } = f;
  for (let i = 0; i < words; i += 2) {
    const low = (w[d + i] >>> 0) + (w[s + i] >>> 0);
    w[d + i + 1] = w[d + i + 1] + w[s + i + 1] + (low > 0xffffffff ? 1 : 0);
    w[d + i] = low;
  }
};

const subtractQuad: Work = (f, d, s, words) => {
  const { w } = f;
  for (let i = 0; i < words; i += 2) {
    const low = (w[d + i] >>> 0) - (w[s + i] >>> 0);
    w[d + i + 1] = w[d + i + 1] - w[s + i + 1] - (low < 0 ? 1 : 0);
    w[d + i] = low;
  }
};

/** PMULUDQ: the even words, unsigned, to 64 bits. */
const multiplyQuad: Work = (f, d, s, words) => {
  const { w } = f;
  for (let i = 0; i < words; i += 2) {
    const a = w[d + i] >>> 0;
    const b = w[s + i] >>> 0;
    const bl = b & 0xffff;
    const low = a * bl;
    const high = a * (b >>> 16) + Math.floor(low / 0x10000);
    w[d + i + 1] = Math.floor(high / 0x10000);
    w[d + i] = Math.imul(a, b);
  }
};

/** PMADDWD. */
const multiplyAdd: Work = (f, d, s, words) => {
  for (let i = 0; i < words; i++) {
    const at = (d + i) * 2;
    const from = (s + i) * 2;
    f.w[d + i] = f.i16[at] * f.i16[from] + f.i16[at + 1] * f.i16[from + 1];
  }
};

/** PSADBW: one sum for each 64 bits. */
const absoluteDifferences: Work = (f, d, s, words) => {
  for (let i = 0; i < words; i += 2) {
    let total = 0;
    for (let k = 0; k < 8; k++) total += Math.abs(f.u8[(d + i) * 4 + k] - f.u8[(s + i) * 4 + k]);
    f.w[d + i] = total;
    f.w[d + i + 1] = 0;
  }
};

// ---- shifts: the count is the source's low 64 bits, or the immediate

/** The count, or `limit` where it is beyond. */
function countOf(f: FpuState, s: number, immediate: number, limit: number): number {
  if ((immediate & (IMMEDIATE >> 16)) !== 0) return Math.min(immediate & 0xff, limit);
  return f.w[s + 1] !== 0 || f.w[s] >>> 0 > limit ? limit : f.w[s];
}

const shiftHalves = (shift: (value: number, count: number) => number, signed: boolean) =>
  packed((f, d, s, words, immediate) => {
    const count = countOf(f, s, immediate, signed ? 15 : 16);
    const lanes = signed ? f.i16 : f.u16;
    for (let i = 0; i < words * 2; i++) lanes[d * 2 + i] = shift(lanes[d * 2 + i], count);
  });
const shiftWords = (shift: (value: number, count: number) => number, limit: number) =>
  packed((f, d, s, words, immediate) => {
    const count = countOf(f, s, immediate, limit);
    for (let i = 0; i < words; i++) f.w[d + i] = shift(f.w[d + i], count);
  });

const shiftQuadLeft: Work = (f, d, s, words, immediate) => {
  const { w } = f;
  const n = countOf(f, s, immediate, 64);
  for (let i = 0; i < words; i += 2) {
    const low = w[d + i];
    w[d + i + 1] =
      n === 0 ? w[d + i + 1] : n < 32 ? (w[d + i + 1] << n) | (low >>> (32 - n)) : n < 64 ? low << (n - 32) : 0;
    w[d + i] = n < 32 ? low << n : 0;
  }
};

const shiftQuadRight: Work = (f, d, s, words, immediate) => {
  const { w } = f;
  const n = countOf(f, s, immediate, 64);
  for (let i = 0; i < words; i += 2) {
    const high = w[d + i + 1];
    w[d + i] = n === 0 ? w[d + i] : n < 32 ? (w[d + i] >>> n) | (high << (32 - n)) : n < 64 ? high >>> (n - 32) : 0;
    w[d + i + 1] = n < 32 ? high >>> n : 0;
  }
};

/** PSLLDQ and PSRLDQ: whole bytes. */
const shiftBytesLeft: Work = (f, d, _s, _words, immediate) => {
  const count = Math.min(immediate & 0xff, 16);
  for (let i = 15; i >= 0; i--) f.u8[d * 4 + i] = i >= count ? f.u8[d * 4 + i - count] : 0;
};
const shiftBytesRight: Work = (f, d, _s, _words, immediate) => {
  const count = Math.min(immediate & 0xff, 16);
  for (let i = 0; i < 16; i++) f.u8[d * 4 + i] = i + count < 16 ? f.u8[d * 4 + i + count] : 0;
};

// ---- rearrangement: by way of copies, since source and destination may be the same

const first = new Int32Array(4);
const second = new Int32Array(4);
const first8 = new Uint8Array(first.buffer);
const second8 = new Uint8Array(second.buffer);
const first16 = new Int16Array(first.buffer);
const second16 = new Int16Array(second.buffer);

function keep(f: FpuState, d: number, s: number, words: number): void {
  for (let i = 0; i < words; i++) {
    first[i] = f.w[d + i];
    second[i] = f.w[s + i];
  }
}

const packBytes = (saturate: (value: number) => number) =>
  packed((f, d, s, words) => {
    keep(f, d, s, words);
    const lanes = words * 2;
    for (let i = 0; i < lanes; i++) {
      f.u8[d * 4 + i] = saturate(first16[i]);
      f.u8[d * 4 + lanes + i] = saturate(second16[i]);
    }
  });

const packHalves: Work = (f, d, s, words) => {
  keep(f, d, s, words);
  for (let i = 0; i < words; i++) {
    f.i16[d * 2 + i] = toSignedHalf(first[i]);
    f.i16[d * 2 + words + i] = toSignedHalf(second[i]);
  }
};

/** Interleaves lanes of `size` bytes of the lower or upper halves. */
const unpack = (size: number, upper: boolean) =>
  packed((f, d, s, words) => {
    keep(f, d, s, words);
    const half = words * 2;
    const from = upper ? half : 0;
    for (let i = 0; i < half; i++) {
      const lane = Math.floor(i / size);
      const at = d * 4 + 2 * lane * size + (i % size);
      f.u8[at] = first8[from + i];
      f.u8[at + size] = second8[from + i];
    }
  });

/** PSHUFD, and PSHUFW, PSHUFLW, PSHUFHW on the four halves from `start` on. */
const shuffleWords: Work = (f, d, s, words, immediate) => {
  keep(f, d, s, words);
  for (let i = 0; i < 4; i++) f.w[d + i] = second[(immediate >> (2 * i)) & 3];
};
const shuffleHalves = (start: number) =>
  packed((f, d, s, words, immediate) => {
    keep(f, d, s, words);
    for (let i = 0; i < words * 2; i++) {
      const lane = i >= start && i < start + 4 ? start + ((immediate >> (2 * (i - start))) & 3) : i;
      f.i16[d * 2 + i] = second16[lane];
    }
  });

/** SHUFPS and SHUFPD. */
const shuffleSingle: Work = (f, d, s, words, immediate) => {
  keep(f, d, s, words);
  f.w[d] = first[immediate & 3];
  f.w[d + 1] = first[(immediate >> 2) & 3];
  f.w[d + 2] = second[(immediate >> 4) & 3];
  f.w[d + 3] = second[(immediate >> 6) & 3];
};
const shuffleDouble: Work = (f, d, s, words, immediate) => {
  keep(f, d, s, words);
  const a = (immediate & 1) * 2;
  const b = (immediate & 2) !== 0 ? 2 : 0;
  f.w[d] = first[a];
  f.w[d + 1] = first[a + 1];
  f.w[d + 2] = second[b];
  f.w[d + 3] = second[b + 1];
};

export const SIMD_INTEGER = {
  paddb: bytes(sum),
  paddw: halves(sum),
  paddd: words32(sum),
  paddq: packed(addQuad),
  paddsb: signedBytes((a, b) => toSignedByte(a + b)),
  paddsw: signedHalves((a, b) => toSignedHalf(a + b)),
  paddusb: bytes((a, b) => toByte(a + b)),
  paddusw: halves((a, b) => toHalf(a + b)),
  psubb: bytes(difference),
  psubw: halves(difference),
  psubd: words32(difference),
  psubq: packed(subtractQuad),
  psubsb: signedBytes((a, b) => toSignedByte(a - b)),
  psubsw: signedHalves((a, b) => toSignedHalf(a - b)),
  psubusb: bytes((a, b) => toByte(a - b)),
  psubusw: halves((a, b) => toHalf(a - b)),
  pand: words32((a, b) => a & b),
  pandn: words32((a, b) => ~a & b),
  por: words32((a, b) => a | b),
  pxor: words32((a, b) => a ^ b),
  pcmpeqb: bytes(equal),
  pcmpeqw: halves(equal),
  pcmpeqd: words32(equal),
  pcmpgtb: signedBytes(greater),
  pcmpgtw: signedHalves(greater),
  pcmpgtd: words32(greater),
  pavgb: bytes(average),
  pavgw: halves(average),
  pmaxub: bytes(Math.max),
  pminub: bytes(Math.min),
  pmaxsw: signedHalves(Math.max),
  pminsw: signedHalves(Math.min),
  pmullw: signedHalves((a, b) => a * b),
  pmulhw: signedHalves((a, b) => (a * b) >> 16),
  pmulhuw: halves((a, b) => (a * b) >>> 16),
  pmuludq: packed(multiplyQuad),
  pmaddwd: packed(multiplyAdd),
  psadbw: packed(absoluteDifferences),
  psllw: shiftHalves((value, count) => value << count, false),
  psrlw: shiftHalves((value, count) => value >>> count, false),
  psraw: shiftHalves((value, count) => value >> count, true),
  pslld: shiftWords((value, count) => (count < 32 ? value << count : 0), 32),
  psrld: shiftWords((value, count) => (count < 32 ? value >>> count : 0), 32),
  psrad: shiftWords((value, count) => value >> count, 31),
  psllq: packed(shiftQuadLeft),
  psrlq: packed(shiftQuadRight),
  pslldq: packed(shiftBytesLeft),
  psrldq: packed(shiftBytesRight),
  packsswb: packBytes(toSignedByte),
  packuswb: packBytes(toByte),
  packssdw: packed(packHalves),
  punpcklbw: unpack(1, false),
  punpcklwd: unpack(2, false),
  punpckldq: unpack(4, false),
  punpcklqdq: unpack(8, false),
  punpckhbw: unpack(1, true),
  punpckhwd: unpack(2, true),
  punpckhdq: unpack(4, true),
  punpckhqdq: unpack(8, true),
  pshufd: packed(shuffleWords),
  pshufw: shuffleHalves(0),
  pshuflw: shuffleHalves(0),
  pshufhw: shuffleHalves(4),
  shufps: packed(shuffleSingle),
  shufpd: packed(shuffleDouble),
};
