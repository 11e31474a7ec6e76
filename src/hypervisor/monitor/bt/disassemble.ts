/** Guest code beside its translation, as text for people, golden files and the `disasm` command. */
import { Decoder, Formatter, FormatterSyntax, Instruction } from 'iced-x86';
import { DECODER_OPTIONS } from '../../machine/cpu/decoder-options.js';
import { CODE_LINES_MAX, type CodeLine } from '../../stats/code-listing.js';
import { CALLOUT_VECTOR, ROUTINE_LINEAR, TARGET_HASH_LINEAR } from '../hole.js';
import type { TranslationCache } from './cache.js';
import { Slot } from './layout.js';
import type { Callout, Tu, TuCode } from './unit.js';

const GUEST_COLUMN = 56;
const TC_COLUMN = 60;
const hex8 = (value: number): string => (value >>> 0).toString(16).padStart(8, '0');

export interface DisassemblyOptions {
  /** Linear address of the unit in the TC. */
  readonly tcStart: number;
  readonly lookupAt: number;
  /** Code as it is in the TC now (chained exits differ); as translated where absent. */
  readonly patched?: Uint8Array;
}

/**
 * One line for each TC instruction: guest address, instruction and class where a guest instruction begins; TC offset, code,
 * the guest state that holds there, and what a callout is for.
 */
export function disassembleUnit(code: TuCode, options: DisassemblyOptions): string {
  const bytes = options.patched ?? code.bytes;
  const formatter = new Formatter(FormatterSyntax.Nasm);
  formatter.spaceAfterOperandSeparator = true;
  const instruction = new Instruction();
  const format = (from: Uint8Array, ip: number): { text: string; length: number } => {
    const decoder = new Decoder(32, from, DECODER_OPTIONS);
    decoder.ip = BigInt(ip >>> 0);
    decoder.decodeOut(instruction);
    const text = instruction.isInvalid ? '(bad)' : formatter.format(instruction);
    decoder.free();
    return { text, length: Math.max(1, instruction.length) };
  };
  const callouts = new Map(code.callouts.map(site => [site.at, site.callout]));
  const begins = new Map<number, number[]>();
  code.instructions.forEach(({ at }, index) => {
    begins.set(at, [...(begins.get(at) ?? []), index]);
  });
  const lines: string[] = [];
  for (const point of code.points) {
    const tc = format(bytes.subarray(point.at), options.tcStart + point.at);
    const guests = begins.get(point.at) ?? [];
    const left = guests.map(index => {
      const { guest } = code.instructions[index]!;
      return `${hex8(guest.eip)}  ${format(guest.bytes, guest.eip).text.padEnd(32)} ${guest.guestClass}`;
    });
    const callout = callouts.get(point.at);
    const notes = [
      point.kind === 'exact' ? `=${hex8(point.eip)}` : point.kind,
      ...(point.restore === 'none' ? [] : [`restore ${point.restore}`]),
      ...(point.shadow ? ['shadow'] : []),
      ...(callout === undefined ? [] : [describe(callout)]),
    ];
    const text = `+${point.at.toString(16).padStart(3, '0')}  ${nameAddresses(tc.text, options)}`;
    for (const extra of left.slice(0, -1)) lines.push(extra);
    lines.push(`${(left.at(-1) ?? '').padEnd(GUEST_COLUMN)}| ${text.padEnd(TC_COLUMN)} ; ${notes.join(', ')}`);
  }
  instruction.free();
  formatter.free();
  return `${lines.map(line => line.trimEnd()).join('\n')}\n`;
}

/**
 * Live units from a linear address on, as they are in the TC now, in the order of their guest code. An instruction of several units is
 * told as the one has it that was entered most, with all their executions. At most `CODE_LINES_MAX` lines.
 */
export function listTranslations(cache: TranslationCache, linear: number): CodeLine[] {
  const formatter = new Formatter(FormatterSyntax.Nasm);
  formatter.spaceAfterOperandSeparator = true;
  const instruction = new Instruction();
  const text = (bytes: Uint8Array, ip: number): string => {
    const decoder = new Decoder(32, bytes, DECODER_OPTIONS);
    decoder.ip = BigInt(ip >>> 0);
    decoder.decodeOut(instruction);
    decoder.free();
    return instruction.isInvalid ? '(bad)' : formatter.format(instruction);
  };
  const lines = new Map<number, CodeLine>();
  /** Executions of the unit that each line is from. */
  const most = new Map<number, number>();
  const units = cache.units.filter(tu => !tu.retired).sort((a, b) => a.linear - b.linear);
  for (const tu of units) {
    const base = tu.linear - tu.code.instructions[0]!.guest.eip;
    const inTc = cache.read(tu.tcStart, tu.code.bytes.length);
    const { instructions, points } = tu.code;
    const options = { tcStart: tu.tcStart, lookupAt: cache.lookupAt };
    for (const [index, { guest, at }] of instructions.entries()) {
      const address = (guest.eip + base) >>> 0;
      if (address < linear) continue;
      const known = lines.get(address);
      if (known === undefined && lines.size === CODE_LINES_MAX) break;
      const count = tu.code.counterAt === undefined ? undefined : cache.countAt(tu.code.counterAt);
      if (known !== undefined && (count ?? 0) <= (most.get(address) ?? 0)) {
        lines.set(address, { ...known, count: sum(known.count, count) });
        continue;
      }
      most.set(address, count ?? 0);
      const end = instructions[index + 1]?.at ?? Number.POSITIVE_INFINITY;
      lines.set(address, {
        address,
        bytes: [...guest.bytes].map(byte => byte.toString(16).padStart(2, '0')).join(''),
        text: text(guest.bytes, guest.eip),
        guestClass: guest.guestClass,
        count: sum(known?.count, count),
        translation: points
          .filter(point => point.at >= at && point.at < end)
          .map(point => nameAddresses(text(inTc.subarray(point.at), tu.tcStart + point.at), options)),
      });
    }
  }
  instruction.free();
  formatter.free();
  return [...lines.values()].sort((a, b) => a.address - b.address);
}

/** A unit as it is in the TC now, under a heading that says where it is from, how it was entered and what it is linked to. */
export function describeUnit(cache: TranslationCache, tu: Tu): string {
  const length = tu.sources.reduce((sum, source) => sum + source.bytes.length, 0);
  const patched = cache.read(tu.tcStart, tu.code.bytes.length);
  const body = disassembleUnit(tu.code, { tcStart: tu.tcStart, lookupAt: cache.lookupAt, patched });
  const chained = tu.code.continuations.filter(({ target }) => target !== undefined).length;
  const heading = [
    `unit ${tu.id}: guest ${hex8(tu.linear)}+${length} (${tu.code.instructions.length} instructions)`,
    `TC ${hex8(tu.tcStart)}+${tu.code.bytes.length}`,
    `entered ${tu.entries} times by the monitor`,
    `${chained} of ${tu.code.continuations.length} ways out chained, ${tu.chainedFrom.size} in`,
    ...(tu.hashIndex === undefined ? [] : ['in the hash']),
    ...(tu.retired ? ['retired'] : []),
  ];
  return `${heading.join('; ')}\n${body}`;
}

/** Undefined is of nobody who counts. */
const sum = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : a + b;

function describe(callout: Callout): string {
  switch (callout.kind) {
    case 'exit':
      return `exit to ${hex8(callout.continuation.eip)}`;
    case 'override':
      return `callout: override`;
    default:
      return `callout: ${callout.kind}`;
  }
}

/** Slots, the lookup code and the callout vector by name. */
function nameAddresses(text: string, options: DisassemblyOptions): string {
  let named = text;
  for (const [name, linear] of Object.entries(Slot)) {
    named = named.replace(new RegExp(`\\bgs:0?${hex8(linear)}h`, 'i'), `gs:${name}`);
  }
  return named
    .replace(new RegExp(`0?${hex8(options.lookupAt)}h`, 'i'), 'lookup')
    .replace(new RegExp(`0?${hex8(TARGET_HASH_LINEAR)}h`, 'i'), 'hash')
    .replace(new RegExp(`0?${hex8(ROUTINE_LINEAR)}h`, 'i'), 'ROUTINE')
    .replace(new RegExp(`int 0?${CALLOUT_VECTOR.toString(16)}h`, 'i'), 'int CALLOUT');
}
