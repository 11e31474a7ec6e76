/**
 * The code for each class of guest instruction.
 *
 * Rules that every sequence keeps:
 * - General registers and arithmetic flags are the guest's again at its end, changed only as the instruction changes them.
 *   Spilled registers live in the vCPU page; arithmetic is done by LEA and MOVZX, tests by JECXZ.
 * - Accesses to guest memory that can fault come before anything that the guest could see, so that every point at which a
 *   true fault is possible is `exact` or `spilled`.
 * - Whatever the guest can see (return addresses, selectors, flags images) is its own, never hardware's.
 */
import { Seg } from '../../machine/cpu/state.js';
import type { UnitBuilder } from './builder.js';
import { dissect, type GuestClass, type GuestInstruction, isPortAccess } from './classify.js';
import { Reg, ROUTINE_BYTES } from './emit.js';
import { Slot } from './layout.js';
import type { Callout } from './unit.js';

/** EFLAGS.IF. The hardware flag is always set in translated code. */
const IF = 0x200;
/** TF, IOPL and NT: a POPF that sets one of these is the monitor's. */
const POPF_RARE = 0x7100;

type Sequence = (unit: UnitBuilder, guest: GuestInstruction, next: number) => void;

const isSegmentPrefix = (byte: number): boolean =>
  byte === 0x26 || byte === 0x2e || byte === 0x36 || byte === 0x3e || byte === 0x64 || byte === 0x65;

/** Segment that an explicit prefix makes the access go through, where hardware's register does not hold the guest's. */
function overriddenSegment(guest: GuestInstruction): number | undefined {
  const last = dissect(guest.bytes).prefixes.filter(isSegmentPrefix).at(-1);
  if (last === 0x65) return Seg.GS;
  return last === 0x2e ? Seg.CS : undefined;
}

/** Prefixes that an access keeps: an override of GS or CS becomes one of GS. `drop` are left out. */
function accessPrefixes(guest: GuestInstruction, drop: readonly number[]): number[] {
  const { prefixes } = dissect(guest.bytes);
  const overridden = overriddenSegment(guest) !== undefined;
  const kept = prefixes.filter(byte => !drop.includes(byte) && !(overridden && isSegmentPrefix(byte)));
  return overridden ? [0x65, ...kept] : kept;
}

/** If the access goes through GS or CS, has the monitor execute the next TC instruction with that segment. */
function overrideCallout(unit: UnitBuilder, guest: GuestInstruction): void {
  const segment = overriddenSegment(guest);
  if (segment !== undefined) unit.callout(guest.eip, { kind: 'override', segment });
}

/** `mov ECX, operand` for the memory operand of an instruction whose opcode is one byte before its ModRM. */
function loadOperand(unit: UnitBuilder, guest: GuestInstruction): void {
  const { opcodeAt } = dissect(guest.bytes);
  const modrm = guest.bytes[opcodeAt + 1]!;
  overrideCallout(unit, guest);
  unit
    .exact(guest.eip)
    .raw([
      ...accessPrefixes(guest, [0x66, 0xf0, 0xf2, 0xf3]),
      0x8b,
      (modrm & 0xc7) | (Reg.ECX << 3),
      ...guest.bytes.subarray(opcodeAt + 2),
    ]);
}

/** Leaves the target of an indirect transfer in `Slot.TARGET`. */
function loadTarget(unit: UnitBuilder, guest: GuestInstruction): void {
  const { opcodeAt } = dissect(guest.bytes);
  const modrm = guest.bytes[opcodeAt + 1]!;
  if (modrm >= 0xc0) {
    unit.exact(guest.eip).storeSlot(Slot.TARGET, modrm & 7);
    return;
  }
  unit.exact(guest.eip).storeSlot(Slot.ECX, Reg.ECX);
  loadOperand(unit, guest);
  unit.spilled(guest.eip).storeSlot(Slot.TARGET, Reg.ECX);
  unit.spilled(guest.eip).loadSlot(Reg.ECX, Slot.ECX);
}

const movFromSelector: Sequence = (unit, guest) => {
  const { prefixes, opcodeAt } = dissect(guest.bytes);
  const modrm = guest.bytes[opcodeAt + 1]!;
  const reg = modrm & 7;
  const narrow = prefixes.includes(0x66);
  if (guest.guestClass === 'movFromGs') {
    if (narrow) unit.exact(guest.eip).loadSlot16(reg, Slot.GS);
    else unit.exact(guest.eip).loadSlot(reg, Slot.GS);
    return;
  }
  if (guest.guestClass === 'movFromSs') {
    // Selector with RPL 1, as hardware at CPL 1 must have it: the guest's has RPL 0.
    unit.exact(guest.eip).raw(guest.bytes);
    unit.inside(guest.eip);
    if (narrow) unit.emit.raw([0x66]);
    unit.emit.addImmediate(reg, -1);
    return;
  }
  if (modrm < 0xc0) {
    overrideCallout(unit, guest);
    const tail = guest.bytes.subarray(opcodeAt + 2);
    unit
      .exact(guest.eip)
      .raw([0x66, ...accessPrefixes(guest, [0x66]), 0xc7, modrm & 0xc7, ...tail, unit.cs, unit.cs >>> 8]);
    return;
  }
  if (narrow) unit.exact(guest.eip).raw([0x66, 0xb8 + reg, unit.cs, unit.cs >>> 8]);
  else unit.exact(guest.eip).loadImmediate(reg, unit.cs);
};

const copy: Sequence = (unit, guest) => unit.exact(guest.eip).raw(guest.bytes);

const callout: Sequence = (unit, guest) => {
  const asked: Callout = { kind: 'instruction', instruction: guest };
  if (isPortAccess(guest)) unit.routine(guest.eip, asked);
  else unit.callout(guest.eip, asked);
};

export const SEQUENCES: Readonly<Record<GuestClass, Sequence>> = {
  ident: copy,

  cli: (unit, guest) => unit.exact(guest.eip).setSlot(Slot.VIF, 0),

  /** The test for pending events comes behind the next instruction: see `translate`. */
  sti: (unit, guest) => unit.exact(guest.eip).setSlot(Slot.VIF, IF),

  pushf: (unit, { eip }, next) => {
    unit.exact(eip).storeSlot(Slot.EAX, Reg.EAX);
    unit.exact(eip).storeSlot(Slot.ECX, Reg.ECX);
    // Hardware's image has IF set and IOPL and NT clear: adding the virtual flags less IF needs no masking.
    unit.exact(eip).raw([0x9c]);
    unit.inside(eip).loadStackTop(Reg.EAX);
    unit.inside(eip).loadSlot(Reg.ECX, Slot.VIF);
    unit.inside(eip).addRegister(Reg.EAX, Reg.ECX, -IF);
    unit.inside(eip).loadSlot(Reg.ECX, Slot.VFLAGS);
    unit.inside(eip).addRegister(Reg.EAX, Reg.ECX);
    unit.inside(eip).storeStackTop(Reg.EAX);
    unit.point('spilled', next, 'both').loadSlot(Reg.EAX, Slot.EAX);
    unit.spilled(next).loadSlot(Reg.ECX, Slot.ECX);
  },

  popf: (unit, guest, next) => {
    const { eip } = guest;
    unit.exact(eip).storeSlot(Slot.ECX, Reg.ECX);
    unit.exact(eip).loadStackTop(Reg.ECX);
    // From here on the flags are free: POPF replaces them all. The stack word has just been read, so POPFD cannot fault.
    unit.spilled(eip).testImmediate(Reg.ECX, POPF_RARE);
    const rare = unit.inside(eip).nearCondition(5);
    unit.inside(eip).andImmediate(Reg.ECX, IF);
    unit.inside(eip).storeSlot(Slot.VIF, Reg.ECX);
    unit.inside(eip).setSlot(Slot.VFLAGS, 0);
    unit.inside(eip).loadSlot(Reg.ECX, Slot.ECX);
    unit.inside(eip).raw([0x9d]);
    unit.testPending(next, { kind: 'pending', eip: next }, true);
    const back = unit.emit.offset;
    unit.atEnd(() => {
      unit.emit.landNear(rare);
      unit.inside(eip).loadSlot(Reg.ECX, Slot.ECX);
      unit.callout(eip, { kind: 'instruction', instruction: guest });
      unit.exact(next).jump(unit.emit.origin + back);
    });
  },

  pushCs: (unit, { eip }) => unit.exact(eip).pushImmediate(unit.cs),

  movFromCs: movFromSelector,

  pushSs: (unit, { eip }, next) => {
    unit.exact(eip).storeSlot(Slot.ECX, Reg.ECX);
    unit.exact(eip).raw([0x16]);
    unit.inside(eip).loadStackTop(Reg.ECX);
    unit.inside(eip).addImmediate(Reg.ECX, -1);
    unit.inside(eip).storeStackTop(Reg.ECX);
    unit.spilled(next).loadSlot(Reg.ECX, Slot.ECX);
  },

  movFromSs: movFromSelector,

  pushGs: (unit, { eip }) => unit.exact(eip).pushSlot(Slot.GS),

  movFromGs: movFromSelector,

  movFromCr: (unit, { eip, bytes }) => {
    const modrm = bytes[dissect(bytes).opcodeAt + 2]!;
    const slot = { 0: Slot.CR0, 2: Slot.CR2, 3: Slot.CR3, 4: Slot.CR4 }[(modrm >>> 3) & 7]!;
    unit.exact(eip).loadSlot(modrm & 7, slot);
  },

  override: (unit, guest) => {
    overrideCallout(unit, guest);
    unit.exact(guest.eip).raw([...accessPrefixes(guest, []), ...guest.bytes.subarray(dissect(guest.bytes).opcodeAt)]);
  },

  jmp: (unit, guest) => unit.exit(guest.target),

  jcc: (unit, guest, next) => {
    const { bytes } = guest;
    const { opcodeAt } = dissect(bytes);
    const condition = (bytes[opcodeAt] === 0x0f ? bytes[opcodeAt + 1]! : bytes[opcodeAt]!) & 15;
    const taken = unit.exact(guest.eip).nearCondition(condition);
    unit.exit(next);
    unit.emit.landNear(taken);
    unit.exit(guest.target, taken - 4);
  },

  loop: (unit, guest, next) => {
    const { prefixes, opcodeAt } = dissect(guest.bytes);
    unit.exact(guest.eip).raw(prefixes.filter(byte => byte === 0x67));
    const taken = unit.emit.shortJump(guest.bytes[opcodeAt]!);
    unit.exit(next);
    unit.emit.landShort(taken);
    unit.exit(guest.target);
  },

  call: (unit, guest, next) => {
    unit.exact(guest.eip).pushImmediate(next);
    unit.exit(guest.target);
  },

  jmpIndirect: (unit, guest) => {
    loadTarget(unit, guest);
    unit.exact(guest.eip).jump(unit.lookupAt);
  },

  callIndirect: (unit, guest, next) => {
    loadTarget(unit, guest);
    unit.exact(guest.eip).pushImmediate(next);
    unit.point('target', guest.eip).jump(unit.lookupAt);
  },

  ret: (unit, guest) => {
    const { opcodeAt } = dissect(guest.bytes);
    unit.exact(guest.eip).popSlot(Slot.TARGET);
    if (guest.bytes[opcodeAt] === 0xc2) {
      const released = guest.bytes[opcodeAt + 1]! | (guest.bytes[opcodeAt + 2]! << 8);
      unit.inside(guest.eip).addImmediate(Reg.ESP, released);
    }
    unit.point('target', guest.eip).jump(unit.lookupAt);
  },

  callout,

  adapted: (unit, guest) => {
    const plainAt = unit.emit.offset + ROUTINE_BYTES;
    unit.routine(guest.eip, { kind: 'adapted', instruction: guest, plainAt });
    unit.exact(guest.eip).raw(guest.bytes);
  },

  invalid: (unit, guest) => unit.exact(guest.eip).ud2(),
};
