/** A PNG as its pixels (PNG specification, third edition: 8-bit RGBA without interlacing, filters of section 9). */
import { inflateSync } from 'node:zlib';

export interface Pixels {
  readonly width: number;
  readonly height: number;
  /** How many different pixels a rectangle has. */
  colours(x: number, y: number, width: number, height: number): number;
}

const BYTES = 4;

export function ink(png: Uint8Array): Pixels {
  const file = Buffer.from(png);
  if (file.toString('latin1', 0, 8) !== '\x89PNG\r\n\x1a\n') throw new Error('no PNG');
  const parts: Buffer[] = [];
  let header: Buffer | undefined;
  for (let at = 8; at < file.length; ) {
    const length = file.readUInt32BE(at);
    const data = file.subarray(at + 8, at + 8 + length);
    const kind = file.toString('latin1', at + 4, at + 8);
    if (kind === 'IHDR') header = data;
    if (kind === 'IDAT') parts.push(data);
    at += 12 + length;
  }
  const width = header!.readUInt32BE(0);
  const height = header!.readUInt32BE(4);
  if (header!.toString('hex', 8, 13) !== '0806000000') throw new Error('not 8-bit RGBA without interlacing');
  const pixels = unfiltered(inflateSync(Buffer.concat(parts)), width, height);
  return {
    width,
    height,
    colours: (left, top, w, h) => {
      const seen = new Set<number>();
      for (let y = top; y < Math.min(top + h, height); y++) {
        for (let x = left; x < Math.min(left + w, width); x++) seen.add(pixels.readUInt32BE((y * width + x) * BYTES));
      }
      return seen.size;
    },
  };
}

function unfiltered(data: Buffer, width: number, height: number): Buffer {
  const stride = width * BYTES;
  const out = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) {
    const filter = data[y * (stride + 1)]!;
    for (let i = 0; i < stride; i++) {
      const a = i >= BYTES ? out[y * stride + i - BYTES]! : 0;
      const b = y > 0 ? out[(y - 1) * stride + i]! : 0;
      const c = i >= BYTES && y > 0 ? out[(y - 1) * stride + i - BYTES]! : 0;
      out[y * stride + i] = data[y * (stride + 1) + 1 + i]! + predicted(filter, a, b, c);
    }
  }
  return out;
}

/** `a` is the pixel to the left, `b` the one above, `c` the one above to the left. */
function predicted(filter: number, a: number, b: number, c: number): number {
  if (filter === 4) {
    const [pa, pb, pc] = [Math.abs(b - c), Math.abs(a - c), Math.abs(a + b - 2 * c)];
    return pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
  }
  return [0, a, b, (a + b) >> 1][filter]!;
}
