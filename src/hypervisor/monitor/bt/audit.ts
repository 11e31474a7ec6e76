/** Recomputes what the translation cache must hold, and compares. Changes nothing, touches no page of the guest. */
import { Decoder, Instruction } from 'iced-x86';
import { PAGE_OFFSET_MASK } from '../../base/pages.js';
import { DECODER_OPTIONS } from '../../machine/cpu/decoder-options.js';
import { HASH_ENTRIES } from './layout.js';
import type { BtTechnique } from './technique.js';
import type { Tu } from './unit.js';

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;

/**
 * Which frames the guest's tables lead to is not compared with those that units were made from: what the guest has stored and not yet
 * invalidated, hardware need not know, either. That each invalidation is noticed shows in `Mappings.misses`.
 */
export function auditTranslations(bt: BtTechnique): string[] {
  const findings: string[] = [];
  if (bt.mappings.misses) findings.push(`CR3 ${hex(bt.vcpu.cr3)}: units are of another address space`);
  const { cache, vcpu } = bt;
  const live = new Set(cache.units);
  for (const tu of live) {
    const name = `unit at ${hex(tu.linear)}`;
    if (tu.retired) findings.push(`${name}: retired, yet live`);
    if (cache.get(tu.linear) !== tu) findings.push(`${name}: not found by its address`);
    auditSource(bt, tu, name, findings);
    auditCode(bt, tu, name, findings);
    auditAdaptation(bt, tu, name, findings);
    for (const from of tu.chainedFrom) {
      if (from.target !== tu || from.owner === undefined || !live.has(from.owner)) {
        findings.push(`${name}: chained from a unit that does not know it`);
      }
    }
    for (const { target } of tu.code.continuations) {
      if (target !== undefined && (!live.has(target) || ![...target.chainedFrom].some(from => from.owner === tu))) {
        findings.push(`${name}: chained to a unit that does not know it`);
      }
    }
  }
  for (let index = 0; index < HASH_ENTRIES; index++) {
    const { eip, tcStart, tu } = cache.hashEntry(index);
    if (tu === undefined) {
      if ((eip & 0xffff) === index) findings.push(`hash entry ${index}: ${hex(eip)} leads nowhere`);
    } else if (!live.has(tu) || tu.tcStart !== tcStart || (eip & 0xffff) !== index || tu.hashIndex !== index) {
      findings.push(`hash entry ${index}: ${hex(eip)} leads to ${hex(tcStart)}, not to a live unit`);
    } else if (tu.code.instructions[0]!.guest.eip !== eip) {
      findings.push(`hash entry ${index}: ${hex(eip)} leads to the unit of another address`);
    }
  }
  const withUnits = new Set([...live].flatMap(tu => [...tu.ppns]));
  for (const ppn of withUnits) {
    if (!vcpu.traces.isWatchedFor(ppn as never, 'code')) findings.push(`page ${hex(ppn)} has units and no trace`);
  }
  for (const ppn of cache.pagesWithUnits()) {
    if (!withUnits.has(ppn)) findings.push(`page ${hex(ppn)} is said to have units`);
  }
  return findings;
}

function auditSource(bt: BtTechnique, tu: Tu, name: string, findings: string[]): void {
  const { vcpu } = bt;
  for (const { linear, ppn, bytes } of tu.sources) {
    const kind = vcpu.vm.pmap.kindOf(ppn as never);
    if (kind === 'ram' || kind === 'rom') {
      const now = vcpu.physical.peekBytes(((ppn << 12) | (linear & PAGE_OFFSET_MASK)) >>> 0, bytes.length);
      if (now.some((byte, i) => byte !== bytes[i])) findings.push(`${name}: made from other bytes`);
    }
  }
}

/** A site is a routine's in every unit that it stands in, or in none. */
function auditAdaptation(bt: BtTechnique, tu: Tu, name: string, findings: string[]): void {
  const csBase = tu.linear - tu.code.instructions[0]!.guest.eip;
  for (const { guest } of tu.code.instructions) {
    if (guest.guestClass !== 'ident' && guest.guestClass !== 'adapted') continue;
    const adapted = bt.adaptation.isAdapted((guest.eip + csBase) >>> 0);
    if (adapted !== (guest.guestClass === 'adapted'))
      findings.push(`${name}: ${hex(guest.eip)} is ${adapted ? '' : 'not '}adapted, its translation is otherwise`);
  }
}

/** Code as emitted, but for chained exits; and a guest state known at every TC instruction. */
function auditCode(bt: BtTechnique, tu: Tu, name: string, findings: string[]): void {
  const { bytes, continuations, points, callouts } = tu.code;
  const expected = bytes.slice();
  for (const { target, conditionAt, exitAt } of continuations) {
    if (target === undefined) continue;
    const at = conditionAt ?? exitAt + 1;
    if (conditionAt === undefined) expected[exitAt] = 0xe9;
    const displacement = target.tcStart - (tu.tcStart + at + 4);
    for (let i = 0; i < 4; i++) expected[at + i] = displacement >>> (8 * i);
  }
  const found = bt.cache.read(tu.tcStart, bytes.length);
  if (found.some((byte, i) => byte !== expected[i])) findings.push(`${name}: code in the TC has changed`);
  const known = new Set(points.map(point => point.at));
  const exits = new Set(continuations.map(continuation => continuation.exitAt));
  const decoder = new Decoder(32, bytes, DECODER_OPTIONS);
  const instruction = new Instruction();
  while (decoder.canDecode) {
    const at = decoder.position;
    decoder.decodeOut(instruction);
    if (!known.delete(at)) findings.push(`${name}: no guest state for TC offset ${at}`);
    // The rest of an exit is room for a jump.
    if (exits.has(at)) decoder.position = at + 5;
  }
  instruction.free();
  decoder.free();
  if (known.size > 0) findings.push(`${name}: guest states for TC offsets inside instructions`);
  for (const { at } of callouts) {
    if (bt.cache.calloutAt(tu.tcStart + at)?.tu !== tu) findings.push(`${name}: callout at offset ${at} is unknown`);
  }
}
