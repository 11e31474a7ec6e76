/**
 * Reads guest code for the translator: bytes with the frames they come from, as far as the code segment and the guest's page
 * tables allow.
 *
 * Only pages from which the guest really executes are touched, since touching one sets its accessed bit: a second page is
 * read when an instruction reaches into it or stands in an interrupt shadow that begins on the first.
 */
import { PAGE_SIZE } from '../../base/pages.js';
import { Seg, Vector } from '../../machine/cpu/state.js';
import { fault, type GuestFault, isFault } from '../guest-fault.js';
import type { VirtualCpu } from '../virtual-cpu.js';
import type { SourceSpan, TuCode } from './unit.js';

/** Longest run of bytes that one unit can come from: 24 instructions of 15 bytes. */
const SPAN_BYTES_MAX = 360;

/** Makes a unit from `code`; undefined when not even one instruction is complete. */
export type Translate = (code: Uint8Array) => TuCode | undefined;

export interface ReadUnit {
  readonly code: TuCode;
  readonly sources: readonly SourceSpan[];
}

/** Reads the code at `eip` in the guest's code segment and has it translated. The guest must be out, in its kernel. */
export function readUnit(vcpu: VirtualCpu, eip: number, translate: Translate): ReadUnit | GuestFault {
  const room = vcpu.limit(Seg.CS) - eip + 1;
  if (room <= 0) return fault(Vector.GP, 0);
  const linear = (eip + vcpu.base(Seg.CS)) >>> 0;
  const first = readPage(vcpu, linear, room);
  if (isFault(first)) return first;
  const onePage = translate(first.bytes);
  if (onePage !== undefined && !onePage.cutShort) return trimmed(onePage, [first]);
  if (room <= first.bytes.length) return onePage ? trimmed(onePage, [first]) : fault(Vector.GP, 0);
  const second = readPage(vcpu, (linear + first.bytes.length) >>> 0, room - first.bytes.length);
  if (isFault(second)) return onePage ? trimmed(onePage, [first]) : second;
  const bytes = new Uint8Array(first.bytes.length + second.bytes.length);
  bytes.set(first.bytes);
  bytes.set(second.bytes, first.bytes.length);
  const twoPages = translate(bytes);
  // Fewer than 15 bytes to the end of the segment.
  return twoPages === undefined ? fault(Vector.GP, 0) : trimmed(twoPages, [first, second]);
}

/** Cuts the spans down to the bytes that the unit was made from. */
function trimmed(code: TuCode, spans: readonly SourceSpan[]): ReadUnit {
  let left = code.instructions.reduce((sum, { guest }) => sum + guest.bytes.length, 0);
  const sources: SourceSpan[] = [];
  for (const { linear, ppn, bytes } of spans) {
    if (left <= 0) break;
    sources.push({ linear, ppn, bytes: bytes.slice(0, left) });
    left -= bytes.length;
  }
  return { code, sources };
}

function readPage(vcpu: VirtualCpu, linear: number, room: number): SourceSpan | GuestFault {
  const ppn = vcpu.memory.fetchPage(linear, false);
  if (isFault(ppn)) return ppn;
  const length = Math.min(SPAN_BYTES_MAX, PAGE_SIZE - (linear & (PAGE_SIZE - 1)), room);
  const kind = vcpu.vm.pmap.kindOf(ppn);
  // Where no memory answers the bus floats high; a device is not asked, since prefetching must not have effects.
  const bytes =
    kind === 'ram' || kind === 'rom'
      ? vcpu.physical.readBytes(((ppn << 12) | (linear & (PAGE_SIZE - 1))) >>> 0, length)
      : new Uint8Array(length).fill(0xff);
  return { linear, ppn, bytes };
}
