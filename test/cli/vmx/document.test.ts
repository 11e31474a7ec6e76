/** .vmx files come out as they went in, but for what is set. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { VmxDocument } from '../../../src/cli/vmx/document.js';
import { UsageError } from '../../../src/hypervisor/index.js';

const parse = (text: string | Uint8Array) => VmxDocument.parse(Buffer.from(text), 'web.vmx');
const textOf = (document: VmxDocument) => Buffer.from(document.bytes()).toString();

const blanks = fc.stringMatching(/^[ \t]{0,3}$/);
const comment = fc.stringMatching(/^#[ -~]{0,12}$/);
const value = fc.stringMatching(/^[ !$-{}~]{0,16}$/);
const settingTail = fc.oneof(
  blanks,
  fc.tuple(blanks, comment).map(parts => parts.join('')),
);
const key = fc.stringMatching(/^[A-Za-z][A-Za-z0-9_.:-]{0,14}$/);

interface GeneratedLine {
  readonly text: string;
  readonly key?: string;
  readonly value?: string;
}
const setting = (name: string): fc.Arbitrary<GeneratedLine> =>
  fc.tuple(blanks, blanks, blanks, value, settingTail).map(([before, left, right, text, tail]) => ({
    text: `${before}${name}${left}=${right}"${text}"${tail}`,
    key: name,
    value: text,
  }));
const filler: fc.Arbitrary<GeneratedLine> = fc
  .oneof(
    blanks,
    fc.tuple(blanks, comment).map(parts => parts.join('')),
  )
  .map(text => ({ text }));

/** Files with each key once, fillers between them, one kind of line end, and an end of the last line or none. */
const file = fc
  .tuple(
    fc.uniqueArray(key, { maxLength: 12, selector: name => name.toLowerCase() }),
    fc.constantFrom('\n', '\r\n'),
    fc.boolean(),
  )
  .chain(([keys, end, ended]) =>
    fc.tuple(...keys.map(name => fc.tuple(fc.array(filler, { maxLength: 2 }), setting(name)))).map(groups => {
      const lines = groups.flatMap(([fillers, line]) => [...fillers, line]);
      return { lines, end, text: lines.map(line => line.text).join(end) + (ended && lines.length > 0 ? end : '') };
    }),
  );

describe('files as they are generated', () => {
  test('come out byte for byte, and every value is found', () => {
    fc.assert(
      fc.property(file, ({ lines, text }) => {
        const document = parse(text);
        expect(textOf(document)).toBe(text);
        for (const line of lines) {
          if (line.key !== undefined) expect(document.get(line.key.toUpperCase())).toBe(line.value);
        }
      }),
    );
  });

  test('a changed value changes its own line only, whatever the value is', () => {
    fc.assert(
      fc.property(file, fc.nat(), fc.string({ unit: 'grapheme', maxLength: 20 }), ({ lines, end, text }, at, next) => {
        const set = lines.filter(line => line.key !== undefined);
        fc.pre(set.length > 0);
        const chosen = set[at % set.length]!;
        const changed = parse(text).with(chosen.key!, next);
        const before = text.split(end);
        const after = textOf(changed).split(end);
        expect(after.length).toBe(before.length);
        const different = after.flatMap((line, index) => (line === before[index] ? [] : [index]));
        expect(different.every(index => index === lines.indexOf(chosen))).toBe(true);
        expect(parse(changed.bytes()).get(chosen.key!)).toBe(next);
      }),
    );
  });

  test('a new key comes after everything else', () => {
    fc.assert(
      fc.property(file, fc.string({ unit: 'grapheme', maxLength: 20 }), ({ end, text }, next) => {
        const changed = parse(text).with('x!new', next);
        // A file of one line without an end does not tell.
        const whole = text === '' || text.endsWith(end) ? text : text + (text.includes(end) ? end : '\n');
        expect(textOf(changed).startsWith(`${whole}x!new = "`)).toBe(true);
        expect(textOf(changed).slice(whole.length).split(/\r?\n/)).toHaveLength(2);
        expect(parse(changed.bytes()).get('X!NEW')).toBe(next);
      }),
    );
  });
});

test('what ESX writes, and people who edit it', () => {
  const text = [
    '\ufeff#!/usr/bin/vmware',
    '.encoding = "UTF-8"',
    '',
    'DisplayName\t=  "B\u00fcro |22eins|22"   # the old one',
    'memSize=64',
    'scsi0:0.fileName = "disk.vmdk"',
    'empty = ""',
  ].join('\r\n');
  const document = parse(text);
  expect(document.keys).toEqual(['.encoding', 'DisplayName', 'memSize', 'scsi0:0.fileName', 'empty']);
  expect(document.get('displayname')).toBe('B\u00fcro "eins"');
  expect(document.get('memsize')).toBe('64');
  expect(document.get('empty')).toBe('');
  expect(document.get('numvcpus')).toBeUndefined();
  expect(textOf(document.with('MEMSIZE', '128'))).toBe(text.replace('memSize=64', 'memSize="128"'));
});

test('bytes of another encoding are kept, read by it, and not written where nobody could', () => {
  const latin = Buffer.from('.encoding = "windows-1252"\ndisplayName = "B\u00fcro"\nnote = "x"\n', 'latin1');
  const document = parse(latin);
  expect(document.get('displayName')).toBe('B\u00fcro');
  expect(Buffer.from(document.with('note', 'y').bytes())).toEqual(
    Buffer.from(latin.toString('latin1').replace('"x"', '"y"'), 'latin1'),
  );
  expect(() => document.with('note', '\u00fc')).toThrow(
    new UsageError('web.vmx:3: note: a file in windows-1252 takes no more than ASCII here: \u00fc'),
  );
  // In Shift-JIS the second byte of this character is that of the bar.
  const japanese = parse(
    Buffer.concat([Buffer.from('.encoding = "Shift_JIS"\nn = "'), Buffer.from([0x83, 0x7c, 0x22])]),
  );
  expect(japanese.get('n')).toBe('\u30dd');
});

test.each([
  ['memsize 64\n', 'web.vmx:1: must be key = "value"'],
  ['# fine\n\nmemsize = "64\n', 'web.vmx:3: must be key = "value"'],
  ['memsize = "64" 65\n', 'web.vmx:1: must be key = "value"'],
  ['= "64"\n', 'web.vmx:1: must be key = "value"'],
  ['memsize = "64"\r\nMemSize = "32"\r\n', 'web.vmx:2: MemSize is set in line 1 already'],
  ['.encoding = "klingon"\n', 'web.vmx:1: unknown encoding "klingon"'],
])('%j is refused', (text, message) => {
  expect(() => parse(text)).toThrow(new UsageError(message));
});

test('bytes that are no text in the encoding are refused when somebody wants them, and kept otherwise', () => {
  const bytes = Buffer.from('memsize = "64"\nnote = "\u00ff"\n', 'latin1');
  const document = parse(bytes);
  expect(() => document.get('note')).toThrow(new UsageError('web.vmx:2: note: the value is not text in UTF-8'));
  expect(Buffer.from(document.with('memsize', '32').bytes())).toEqual(
    Buffer.from('memsize = "32"\nnote = "\u00ff"\n', 'latin1'),
  );
});

test.each(['', 'a b', 'a=b', 'a"b', '#a'])('%j cannot be a key', word => {
  expect(() => parse('').with(word, 'x')).toThrow(new UsageError(`web.vmx: "${word}" cannot be a key`));
});
