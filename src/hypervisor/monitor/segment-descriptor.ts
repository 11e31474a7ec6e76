/** Segment descriptors of protected mode, taken apart and put together (SDM vol. 3, 3.4.5). */
import { Attr } from '../machine/cpu/state.js';

export interface SegmentParts {
  readonly base: number;
  /** In bytes, as an int32. */
  readonly limit: number;
  /** `Attr`. */
  readonly attr: number;
}

/** Base, limit in bytes and attributes of a descriptor. */
export function unpackDescriptor(low: number, high: number): SegmentParts {
  const base = (low >>> 16) | ((high & 0xff) << 16) | (high & 0xff000000);
  const raw = (low & 0xffff) | (high & 0xf0000);
  const attr = (high >>> 8) & 0xf0ff;
  return { base: base | 0, limit: (attr & Attr.G) !== 0 ? (raw << 12) | 0xfff : raw, attr };
}

/** The descriptor for parts; a limit that needs granularity is rounded down to whole pages. */
export function packDescriptor(parts: SegmentParts): readonly [low: number, high: number] {
  const { base } = parts;
  const limit = parts.limit >>> 0;
  const byPages = limit > 0xfffff;
  const raw = byPages ? Math.floor((limit + 1) / 4096) - 1 : limit;
  const attr = byPages ? parts.attr | Attr.G : parts.attr & ~Attr.G;
  const low = ((base & 0xffff) << 16) | (raw & 0xffff);
  const high = (base & 0xff000000) | (raw & 0xf0000) | ((attr & 0xf0ff) << 8) | ((base >>> 16) & 0xff);
  return [low, high];
}
