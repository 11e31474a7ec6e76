/**
 * String instructions with a REP prefix, and INS and OUTS (SDM vol. 2, "REP").
 *
 * A repeated instruction works in chunks that end where a source or destination page ends (INS and OUTS: after each
 * element). Each page is probed once a chunk, each chunk costs `stringStart` plus `stringStep` an element, and between chunks
 * is an event point with EIP still at the instruction. So time and TLB fills depend on addresses and counts alone.
 */
import type { MachineMemory } from '../memory.js';
import { type Core, Result } from './core.js';
import { setSub } from './flags.js';
import { CYCLES } from './layout.js';
import { ioAllowed, portIn, portOut } from './ports.js';
import { Flag, S, Seg, segBase } from './state.js';

export const StringKind = { MOVS: 0, STOS: 1, LODS: 2, SCAS: 3, CMPS: 4, INS: 5, OUTS: 6 } as const;
export const Repeat = { NONE: 0, REP: 1, REPNE: 2 } as const;
/** Bit of the helper's first argument: the address size is 16 bits. */
export const NARROW_STRING = 1 << 12;

const USES_SOURCE = [true, false, true, false, true, false, true];
const USES_DESTINATION = [true, true, false, true, true, true, false];
const WRITES = [true, true, false, false, false, true, false];

/** Elements from `linear` to its page's end in the given direction; at least 1, since an element may straddle. */
function elementsInPage(linear: number, size: number, down: boolean): number {
  const offset = linear & 4095;
  const whole = down ? Math.floor((offset + size) / size) : Math.floor((4096 - offset) / size);
  return Math.max(1, down && offset + size > 4096 ? 1 : whole);
}

const signExtend = (value: number, size: number): number => {
  const up = 32 - size * 8;
  return (value << up) >> up;
};

function setAccumulator(cpu: Core, value: number, size: number): void {
  const mask = size === 4 ? -1 : size === 2 ? 0xffff : 0xff;
  cpu.s[S.EAX] = (cpu.s[S.EAX]! & ~mask) | (value & mask);
}

/** Elements before a 16-bit offset wraps; at least 1, since an element may straddle (and then fails the segment's check or not). */
function elementsBeforeWrap(offset: number, size: number, down: boolean): number {
  return down ? Math.floor(offset / size) + 1 : Math.max(1, Math.floor((0x10000 - offset) / size));
}

/** The helper: `packed` is kind | size << 4 | repeat << 8 | `NARROW_STRING`; `seg` the source segment. */
export function repeatString(cpu: Core, packed: number, seg: number): number {
  const kind = packed & 15;
  const size = (packed >> 4) & 15;
  const repeat = (packed >> 8) & 15;
  const mask = (packed & NARROW_STRING) !== 0 ? 0xffff : -1;
  const s = cpu.s;
  const costs = cpu.costs.cycles;
  if (kind >= StringKind.INS && !ioAllowed(cpu, s[S.EDX]! & 0xffff, size)) return Result.FAULT;
  let count = repeat === Repeat.NONE ? 1 : (s[S.ECX]! & mask) >>> 0;
  if (count === 0) {
    cpu.spend(costs.stringStart);
    return Result.DONE;
  }
  const down = (s[S.EFLAGS]! & Flag.DF) !== 0;
  const step = down ? -size : size;
  if (cpu.oneAtATime || kind >= StringKind.INS) count = 1;
  const user = s[S.CPL] === 3;
  const sourceOffset = s[S.ESI]! & mask;
  const destinationOffset = s[S.EDI]! & mask;
  const source = (sourceOffset + s[segBase(seg)]!) | 0;
  const destination = (destinationOffset + s[segBase(Seg.ES)]!) | 0;
  if (USES_SOURCE[kind]) {
    if (!cpu.probe(seg, sourceOffset, size, false)) return Result.FAULT;
    count = Math.min(count, elementsInPage(source, size, down));
    if (mask !== -1) count = Math.min(count, elementsBeforeWrap(sourceOffset, size, down));
    count = withinSegment(cpu, seg, sourceOffset, size, step, count, false);
  }
  if (USES_DESTINATION[kind]) {
    if (!cpu.probe(Seg.ES, destinationOffset, size, WRITES[kind]!)) return Result.FAULT;
    count = Math.min(count, elementsInPage(destination, size, down));
    if (mask !== -1) count = Math.min(count, elementsBeforeWrap(destinationOffset, size, down));
    count = withinSegment(cpu, Seg.ES, destinationOffset, size, step, count, WRITES[kind]!);
    // The walk for the destination may have cost the source its TLB line, and the tables need not say any more what the line said.
    if (USES_SOURCE[kind] && !cpu.probe(seg, sourceOffset, size, false)) return Result.FAULT;
  }
  cpu.spend(costs.stringStart);

  let done = 0;
  let stop = false;
  if (kind <= StringKind.STOS && !down && count * size >= 16)
    done = bulk(cpu, kind, source, destination, size, count, user);
  for (; done < count && !stop; done++) {
    const from = (source + done * step) | 0;
    const to = (destination + done * step) | 0;
    switch (kind) {
      case StringKind.MOVS:
        cpu.writeLinear(to, size, cpu.readLinear(from, size, user), user);
        break;
      case StringKind.STOS:
        cpu.writeLinear(to, size, s[S.EAX]!, user);
        break;
      case StringKind.LODS:
        setAccumulator(cpu, cpu.readLinear(from, size, user), size);
        break;
      case StringKind.SCAS: {
        const right = signExtend(cpu.readLinear(to, size, user), size);
        const left = signExtend(s[S.EAX]!, size);
        setSub(s, left, right, size);
        stop = (left === right) === (repeat === Repeat.REPNE);
        break;
      }
      case StringKind.CMPS: {
        const left = signExtend(cpu.readLinear(from, size, user), size);
        const right = signExtend(cpu.readLinear(to, size, user), size);
        setSub(s, left, right, size);
        stop = (left === right) === (repeat === Repeat.REPNE);
        break;
      }
      case StringKind.INS:
        cpu.writeLinear(to, size, portIn(cpu, s[S.EDX]! & 0xffff, size), user);
        break;
      default:
        portOut(cpu, s[S.EDX]! & 0xffff, size, cpu.readLinear(from, size, user));
    }
    if (cpu.faultVector >= 0) cpu.bug('a probed string element faulted');
  }
  cpu.clock[CYCLES]! += costs.stringStep * done;
  if (USES_SOURCE[kind]) add(s, S.ESI, done * step, mask);
  if (USES_DESTINATION[kind]) add(s, S.EDI, done * step, mask);
  if (repeat === Repeat.NONE) return Result.DONE;
  add(s, S.ECX, -done, mask);
  return (s[S.ECX]! & mask) === 0 || stop ? Result.DONE : Result.AGAIN;
}

/** Adds to the part of a register that `mask` covers. */
function add(s: Int32Array, register: number, amount: number, mask: number): void {
  s[register] = (s[register]! & ~mask) | ((s[register]! + amount) & mask);
}

/**
 * How many of `count` elements pass the segment check; the first is known to. The last decides, since a chunk never wraps; if it fails,
 * elements go one at a time, and the one that fails faults by itself.
 */
function withinSegment(
  cpu: Core,
  seg: number,
  offset: number,
  size: number,
  step: number,
  count: number,
  write: boolean,
): number {
  if (count === 1) return 1;
  if (cpu.checkSegment(seg, (offset + (count - 1) * step) | 0, size, write)) return count;
  cpu.faultVector = -1;
  return 1;
}

/** MOVS and STOS upwards within a page each of RAM. Answers the elements done: all of them, or none if it does not apply. */
function bulk(
  cpu: Core,
  kind: number,
  source: number,
  destination: number,
  size: number,
  count: number,
  user: boolean,
): number {
  const bytes = size * count;
  if ((destination & 4095) + bytes > 4096) return 0;
  const memory = cpu.memory;
  const to = cpu.translate(destination, true, user);
  if (to < 0) return 0;
  if (kind === StringKind.STOS) {
    if (memory.codeLines[to >>> 12] !== 0) memory.onCodeWrite(to, bytes);
    fillWith(memory, to, bytes, cpu.s[S.EAX]!, size);
    return count;
  }
  if ((source & 4095) + bytes > 4096) return 0;
  const from = cpu.translate(source, false, user);
  // An overlap with the destination above the source repeats what was just written: not a plain copy.
  if (from < 0 || (to > from && to < from + bytes)) return 0;
  if (memory.codeLines[to >>> 12] !== 0) memory.onCodeWrite(to, bytes);
  memory.u8.copyWithin(to, from, from + bytes);
  return count;
}

/** Repeats the low `size` bytes of a value over a range of machine memory. */
function fillWith(memory: MachineMemory, at: number, bytes: number, value: number, size: number): void {
  const { u8 } = memory;
  if (size === 1) {
    u8.fill(value, at, at + bytes);
    return;
  }
  if (size === 4 && (at & 3) === 0) {
    memory.i32.fill(value, at >>> 2, (at + bytes) >>> 2);
    return;
  }
  for (let i = 0; i < size; i++) u8[at + i] = value >>> (8 * i);
  // What is there already, once more: twice as much each time.
  for (let done = size; done < bytes; done *= 2) u8.copyWithin(at + done, at, at + Math.min(done, bytes - done));
}
