/**
 * The translator: guest bytes in, one translation unit out. Pure: it reads nothing but its arguments.
 *
 *     guest bytes -> decode -> class of each instruction -> sequence -> code, points, callouts, ways out
 *
 * A unit ends at control flow, after `TU_INSTRUCTIONS_MAX` instructions, or where the readable bytes end. An instruction in
 * the shadow of STI or of a load of SS always stands in the same unit as the one that casts it, if it can be read at all.
 */
import { Decoder, Instruction } from 'iced-x86';
import { assert } from '../../base/assert.js';
import { DECODER_OPTIONS } from '../../machine/cpu/decoder-options.js';
import { UnitBuilder } from './builder.js';
import { decodeGuest, ENDS_UNIT, type GuestClass, type GuestInstruction } from './classify.js';
import { CALLOUT_BYTES, Emitter, Reg } from './emit.js';
import { LOOKUP_CODE_BYTES, Slot, TU_BYTES_MAX, TU_INSTRUCTIONS_MAX } from './layout.js';
import { SEQUENCES } from './sequences.js';
import type { CalloutSite, TcPoint, TuCode } from './unit.js';

export interface TranslationRequest {
  /** EIP of the first instruction. */
  readonly eip: number;
  /** Readable guest code from there on. */
  readonly code: Uint8Array;
  /** Guest's code selector (virtual RPL 0). */
  readonly cs: number;
  /** Where the unit will be. */
  readonly tcStart: number;
  readonly lookupAt: number;
  /** Linear address of a word that counts how often the unit is entered; undefined where nobody wants to know. */
  readonly counterAt?: number | undefined;
  /** True for sites whose stores keep hitting traces. */
  isAdapted(eip: number): boolean;
}

/** Returns undefined when not even one instruction can be decoded from the bytes. */
export function translate(request: TranslationRequest): TuCode | undefined {
  const guests = decodeUnit(request);
  if (guests.length === 0) return undefined;
  const unit = new UnitBuilder(request.tcStart, request.lookupAt, request.cs);
  if (request.counterAt !== undefined) unit.count(request.eip, request.counterAt);
  // What casts the shadow, if anything: STI has set VIF, a load of SS may find it clear.
  let shadow: GuestInstruction | undefined;
  let open = true;
  let next = request.eip;
  for (const guest of guests) {
    next = (guest.eip + guest.bytes.length) >>> 0;
    unit.begin(guest, shadow !== undefined);
    const ends = ENDS_UNIT.has(guest.guestClass) || guest.leaves;
    const testsVif = shadow?.guestClass !== 'sti';
    if (shadow && ends && guest.guestClass !== 'callout' && guest.guestClass !== 'invalid') {
      unit.testPending(guest.eip, { kind: 'pendingBehind' }, testsVif);
    }
    SEQUENCES[guest.guestClass](unit, guest, next);
    // A callout passes the monitor's own test; CLI and POPF decide anew.
    const tests = guest.guestClass !== 'callout' && guest.guestClass !== 'cli' && guest.guestClass !== 'popf';
    if (shadow && !ends && tests) unit.testPending(next, { kind: 'pending', eip: next }, testsVif);
    shadow = guest.shadows ? guest : undefined;
    open = !ends;
  }
  if (open) {
    // The bytes behind a STI cannot be read: fetching them faults, and the fault ends the shadow.
    if (shadow) unit.testPending(next, { kind: 'pending', eip: next }, shadow.guestClass !== 'sti');
    unit.exit(next);
  }
  const code = unit.finish(open && shadow !== undefined);
  assert(code.bytes.length <= TU_BYTES_MAX, 'translation unit exceeds its maximum');
  return code;
}

function decodeUnit(request: TranslationRequest): GuestInstruction[] {
  const decoder = new Decoder(32, request.code, DECODER_OPTIONS);
  const instruction = new Instruction();
  const guests: GuestInstruction[] = [];
  try {
    for (;;) {
      const previous = guests.at(-1);
      if (previous !== undefined && (ENDS_UNIT.has(previous.guestClass) || previous.leaves)) return guests;
      if (guests.length >= TU_INSTRUCTIONS_MAX && !previous!.shadows) return guests;
      // A chain of shadowing instructions does not extend the unit for ever.
      if (guests.length >= 2 * TU_INSTRUCTIONS_MAX) return guests;
      const guest = decodeGuest(decoder, instruction, request.code, request.eip);
      if (guest === undefined) return guests;
      const adapted = guest.guestClass === 'ident' && request.isAdapted(guest.eip);
      const guestClass: GuestClass = adapted ? 'adapted' : guest.guestClass;
      guests.push({ ...guest, guestClass });
    }
  } finally {
    instruction.free();
    decoder.free();
  }
}

export interface SharedCode {
  readonly bytes: Uint8Array;
  readonly points: readonly TcPoint[];
  readonly callouts: readonly CalloutSite[];
}

/**
 * The shared lookup code: goes to the translation of the guest address in `Slot.TARGET`, or calls out. Its last jump is the
 * only one that hardware may take an event at, and there all registers are the guest's.
 *
 * The hash entry holds the negated target, so that LEA compares without touching flags. An empty entry holds a target that
 * cannot be looked up under its index.
 */
export function lookupCode(at: number, hashAt: number): SharedCode {
  const emit = new Emitter(at);
  const points: TcPoint[] = [];
  const point = (restore: TcPoint['restore']): Emitter => {
    points.push({ at: emit.offset, kind: 'target', eip: 0, restore, shadow: false });
    return emit;
  };
  point('none').storeSlot(Slot.ECX, Reg.ECX);
  point('none').storeSlot(Slot.EAX, Reg.EAX);
  point('none').loadSlot(Reg.EAX, Slot.TARGET);
  point('both').zeroExtend16(Reg.ECX, Reg.EAX);
  point('both').loadIndexed8(Reg.ECX, Reg.ECX, hashAt);
  point('both').addRegister(Reg.ECX, Reg.EAX);
  const hit = point('both').jecxz();
  point('both').loadSlot(Reg.EAX, Slot.EAX);
  point('both').loadSlot(Reg.ECX, Slot.ECX);
  const callouts: CalloutSite[] = [{ at: point('none').callout(), bytes: CALLOUT_BYTES, callout: { kind: 'lookup' } }];
  emit.landShort(hit);
  point('both').zeroExtend16(Reg.ECX, Reg.EAX);
  point('both').loadIndexed8(Reg.ECX, Reg.ECX, hashAt + 4);
  point('both').storeSlot(Slot.TC_TARGET, Reg.ECX);
  point('both').loadSlot(Reg.EAX, Slot.EAX);
  point('both').loadSlot(Reg.ECX, Slot.ECX);
  point('none').jumpSlot(Slot.TC_TARGET);
  const bytes = emit.take();
  assert(bytes.length <= LOOKUP_CODE_BYTES, 'lookup code exceeds its place');
  return { bytes, points, callouts };
}
