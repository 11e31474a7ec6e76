/** The translation screen: guest code beside the code in the translation cache that stands for it. */
import type { CodeAnswer, CodeLine, VmSample } from '../hypervisor/index.js';
import { cut, decimal, left, printable, right } from './format.js';
import type { CodeSymbol } from './session.js';

/** Why a VM has no translation to show; undefined when its guest is being translated. */
export function untranslated(vm: VmSample): string | undefined {
  const name = printable(vm.name);
  if (vm.power !== 'on') return `${name} is ${vm.power}: nothing is translated.`;
  switch (vm.mode) {
    case 'bt':
      return undefined;
    case 'native':
      return `${name} runs natively: its kernel has a machine of its own, and nothing is translated.`;
    case 'hv':
      return `${name} runs with hardware assist: its kernel is executed as it is, and nothing is translated.`;
    case 'vmi':
      return `${name} runs with VMI: its kernel is executed in ring 1, and translations went when it called Init.`;
    case 'unknown':
      return `Nobody knows how ${name} runs: a performance log may not say.`;
  }
}

/** `name`, `name+0x1c`, or `c0101330` where no symbol is before. */
export function symbolic(address: number, symbols: readonly CodeSymbol[]): string {
  const hex = hexOf(address);
  let low = 0;
  let high = symbols.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (symbols[middle]!.address <= address) low = middle + 1;
    else high = middle;
  }
  const found = symbols[low - 1];
  if (found === undefined) return hex;
  const offset = address - found.address;
  return `${found.name}${offset === 0 ? '' : `+0x${offset.toString(16)}`}`;
}

/** An address or a symbol as typed, with or without `+offset`: the linear address, or the reason why it is none. */
export function parsePlace(
  text: string,
  symbols: readonly CodeSymbol[],
): { ok: true; address: number } | { ok: false; reason: string } {
  const match = /^(.+?)(?:\+(0x)?([0-9a-f]+))?$/i.exec(text.trim());
  if (match === null) return { ok: false, reason: 'an address (hexadecimal) or a symbol is needed' };
  const [, word = '', prefix, digits = '0'] = match;
  const offset = Number.parseInt(digits, prefix === undefined ? 10 : 16);
  // A symbol goes before a number: `add` is both.
  const exact = symbols.find(({ name }) => name === word);
  if (exact !== undefined) return { ok: true, address: (exact.address + offset) >>> 0 };
  if (/^(?:0x)?[0-9a-f]{1,8}$/i.test(word)) return { ok: true, address: (Number.parseInt(word, 16) + offset) >>> 0 };
  const similar = symbols.filter(({ name }) => name.startsWith(word));
  if (similar.length === 1) return { ok: true, address: (similar[0]!.address + offset) >>> 0 };
  const names = similar.map(({ name }) => name).join(', ');
  const reason = names === '' ? `no symbol begins with ${printable(word)}` : `which one: ${names}`;
  return { ok: false, reason };
}

const hexOf = (address: number): string => (address >>> 0).toString(16).padStart(8, '0');

/** What the columns take of `width` cells, the blank in front included. The translation gets what is left. */
interface Widths {
  readonly address: number;
  readonly bytes: number;
  readonly text: number;
  readonly guestClass: number;
  readonly count: number;
}
const WIDE = 120;

/** `counted`: somebody counts executions. */
const widthsOf = (width: number, counted: boolean): Widths => ({
  address: 9,
  bytes: width >= WIDE ? 22 : 0,
  text: Math.min(40, Math.max(22, Math.floor(width * 0.28))),
  guestClass: 13,
  count: counted ? 9 : 0,
});

function rowOf(room: Widths, cells: Readonly<Record<keyof Widths, string>>, tc: string, width: number): string {
  const guest = (['address', 'bytes', 'text', 'guestClass'] as const)
    .map(name => (room[name] === 0 ? '' : ` ${left(cut(cells[name], room[name] - 1), room[name] - 1)}`))
    .join('');
  return left(`${guest}${right(cells.count, room.count)} | ${tc}`, width);
}

const TITLES = { address: 'ADDRESS', bytes: 'BYTES', text: 'GUEST', guestClass: 'CLASS', count: 'COUNT' } as const;
const NOTHING = { address: '', bytes: '', text: '', guestClass: '', count: '' } as const;

/** A guest instruction beside the first of the instructions made of it, and a line for each of the others. */
function linesOf(
  { address, bytes, text, guestClass, count, translation }: CodeLine,
  room: Widths,
  width: number,
): string[] {
  const counted = count === undefined ? '-' : decimal(count, room.count - 1, 0);
  const [first = '', ...rest] = translation;
  return [
    rowOf(room, { address: hexOf(address), bytes, text, guestClass, count: counted }, first, width),
    ...rest.map(tc => rowOf(room, NOTHING, tc, width)),
  ];
}

export interface CodeView {
  readonly vm: VmSample;
  /** Linear address, and what the symbols call it. */
  readonly place: number;
  readonly placeName: string;
  /** undefined: not here yet. */
  readonly answer: CodeAnswer | undefined;
}

/** The line below the header's first one. */
export const codeTitle = ({ vm, placeName }: CodeView, mode: string, width: number): string =>
  left(`CODE  : ${printable(vm.name)} (${mode}, ${printable(vm.guestState)}) at ${placeName}`, width);

export interface CodeTable {
  readonly heading: string;
  /** To be scrolled. */
  readonly rows: readonly string[];
}

/** The table from `place` on. `...` stands for code that has not been executed, and so not been translated. */
export function codeTable({ vm, place, answer }: CodeView, width: number): CodeTable {
  const lines = answer?.ok === true ? answer.lines : [];
  const room = widthsOf(
    width,
    lines.some(({ count }) => count !== undefined),
  );
  const heading = rowOf(room, TITLES, 'TRANSLATION', width);
  const reason = untranslated(vm) ?? (answer?.ok === false ? answer.reason : undefined);
  if (reason !== undefined) return { heading, rows: ['', cut(` ${printable(reason)}`, width)] };
  if (answer === undefined) return { heading, rows: ['', ' Asking the host ...'] };
  const rows: string[] = [];
  let next = place;
  for (const line of lines) {
    if (line.address !== next) rows.push(' ...');
    rows.push(...linesOf(line, room, width));
    next = line.address + line.bytes.length / 2;
  }
  return { heading, rows };
}

/** What is described in the help of the screen. */
export const CODE_COLUMNS = [
  { title: 'ADDRESS', help: 'linear address of the guest instruction' },
  { title: 'BYTES', help: `its bytes, from ${WIDE} columns on` },
  { title: 'GUEST', help: 'the instruction' },
  {
    title: 'CLASS',
    help: 'what the translator makes of it: ident is copied, callout asks the monitor ...; - while not translated',
  },
  {
    title: 'ENTRIES',
    help: 'times that the monitor entered the translation that begins here; chained jumps are not counted',
  },
  { title: 'TRANSLATION', help: 'the instructions in the translation cache' },
] as const;
