/** The configuration file: what is written is read again, esxtop's own files are understood, and anything else is refused with its line. */

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatConfig, parseConfig } from '../../src/tui/config-file.js';
import { OPERATORS } from '../../src/tui/expression.js';
import { type ConsoleConfig, defaultConfig, SCREEN_IDS } from '../../src/tui/state.js';
import { LEVELS } from '../../src/tui/thresholds.js';

test('the default one', () => {
  expect(formatConfig(defaultConfig())).toBe(
    [
      'ABCDEfghIJ',
      'aBCdefGHijklMN',
      'AbCdEfGhijkl',
      'AbcdeFGhIjklmnop',
      'aBCDEFGH',
      'AbcDeFGHIJKLm',
      'GHIABJFcde',
      'ABCDe',
      'ABCDEFGHIJK',
      'ABCDEF',
      'sort cpu = gid',
      'sort memory = gid',
      'sort diskAdapter = adapter',
      'sort diskDevice = device',
      'sort diskVm = gid',
      'sort network = port',
      'sort interrupt = gid',
      'sort timer = gid',
      'sort exits = cause',
      'rows = 0',
      'name = 0',
      'mouse = 1',
      '1c',
      '',
    ].join('\n'),
  );
});

/** Letters in any order and case. */
const order = (letters: string) =>
  fc
    .tuple(
      fc.shuffledSubarray([...letters], { minLength: letters.length }),
      fc.array(fc.boolean(), { minLength: letters.length, maxLength: letters.length }),
    )
    .map(([shuffled, upper]) => shuffled.map((letter, at) => (upper[at] ? letter.toUpperCase() : letter)).join(''));

test('whatever is chosen is read as it was written', () => {
  const config: fc.Arbitrary<ConsoleConfig> = fc.record({
    screen: fc.constantFrom(...SCREEN_IDS),
    intervalMs: fc.integer({ min: 100, max: 3_600_000 }),
    fields: fc.record({
      cpu: order('abcdefghij'),
      memory: order('abcdefghijklmn'),
      diskAdapter: order('abcdefghijkl'),
      diskDevice: order('abcdefghijklmnop'),
      diskVm: order('abcdefgh'),
      network: order('abcdefghijklm'),
      interrupt: order('abcdefghij'),
      timer: order('abcdefghijk'),
      exits: order('abcdef'),
      code: fc.constant(''),
      activity: fc.constant(''),
    }),
    sort: fc.record({
      cpu: fc.constantFrom('gid', 'used', 'ready', 'wakeups', 'ashrs'),
      memory: fc.constantFrom('gid', 'memsz', 'tc'),
      diskAdapter: fc.constantFrom('adapter', 'paths'),
      diskDevice: fc.constantFrom('device', 'reads'),
      diskVm: fc.constantFrom('gid', 'writeMb'),
      network: fc.constantFrom('port', 'sentMb'),
      interrupt: fc.constantFrom('gid', 'rate', 'vector'),
      timer: fc.constantFrom('gid', 'lag'),
      exits: fc.constantFrom('cause', 'share', 'cost'),
      code: fc.constant(''),
      activity: fc.constant(''),
    }),
    rowsMax: fc.integer({ min: 0, max: 1000 }),
    nameLength: fc.integer({ min: 0, max: 64 }),
    mouse: fc.boolean(),
    thresholds: fc.array(
      fc.record({
        screen: fc.constantFrom('cpu' as const),
        column: fc.constantFrom('%USED', '%RDY', 'MODE'),
        operator: fc.constantFrom(...OPERATORS),
        value: fc.constantFrom('0', '12.5', 'BT'),
        level: fc.constantFrom(...LEVELS),
      }),
      { maxLength: 3 },
    ),
    foreign: fc.constant([]),
  });
  fc.assert(
    fc.property(config, chosen => {
      const text = formatConfig(chosen);
      const read = parseConfig(text, 'rc');
      expect({ ...read, foreign: [] }).toEqual(chosen);
      expect(formatConfig(read)).toBe(text);
    }),
  );
});

describe('esxtop’s own files', () => {
  const V6 = [
    'ABcDEFghij',
    'aBcDefgHijKLmnOpq',
    'ABCdEfGhijkl',
    'ABcdeFGhIjklmnop',
    'aBCDEFGH',
    'AbcDEFGHIJKLMNopq',
    'ABCDeF',
    'ABCDe',
    'ABCd',
    '5c',
  ];

  // From 5.0 on there are LWID, POWER, LLSWAP, CMT and ZIP, which 3.5 has not; 6.x has one more screen.
  test('of 6.x: letters are those of the same fields', () => {
    const { fields, intervalMs, screen } = parseConfig(`${[...V6.slice(0, 9), '9u'].join('\n')}\n`, 'rc');
    expect(fields.cpu).toBe('ABCDEfghIJ');
    expect(fields.memory).toBe('aBCdefGhiJklMN');
    // 17 letters of the network screen are those with the packets’ sizes.
    expect(fields.network).toBe('AbcDEFGHIJKLm');
    expect(fields.timer).toBe(defaultConfig().fields.timer);
    expect(intervalMs).toBe(9000);
    expect(screen).toBe('diskDevice');
    expect(parseConfig('ABCDefgh\naBCdefGhijklM\n5v\n', 'rc').screen).toBe('diskVm');
    expect(parseConfig('ABCDefgh\naBCdefGhijklM\n5p\n', 'rc').screen).toBe('cpu');
  });

  test('of 3.5, with columns moved', () => {
    const { fields } = parseConfig('CABhgfED\nMabcdefGhijkl\nABC\n5m\n', 'rc');
    expect(fields.cpu).toBe('CABhgfEDIJ');
    expect(fields.memory).toBe('MabcdefGhijklN');
  });

  test('that switch a screen off for batch files do so here', () => {
    const { fields } = parseConfig('abcdefgh\naBCdefGhijklM\n5m\n', 'rc');
    expect(fields.cpu).toBe('abcdefghij');
    expect(parseConfig('abcdefgh\naBCdefGhijklM\n5m\n', 'rc').screen).toBe('memory');
  });

  test('have lines about other screens: these pass through as they came', () => {
    const read = parseConfig(
      `${V6.slice(0, 8).join('\n').replace('aBCDEFGH', 'Abcdefgh').replace('ABCdEfGhijkl', 'abcdefghijkl')}\n5c\n`,
      'rc',
    );
    expect(formatConfig(read).split('\n').slice(2, 8)).toEqual([
      ...['abcdefghijkl', 'ABcdeFGhIjklmnop', 'Abcdefgh'],
      ...['AbcDEFGHIJKLm', 'ABCDeFGHIJ', 'ABCDe'],
    ]);
  });
});

describe('refused, with the line', () => {
  const good = formatConfig(defaultConfig());
  test.each([
    ['', 'configuration rc: must be lines of field letters'],
    ['ABCDEfgh\n5c\n', 'configuration rc: must be lines of field letters'],
    [good.replace('\n1c', '\nc'), 'configuration rc:23: must be a delay of 0.1 to 3600 seconds and a screen’s key'],
    [good.replace('\n1c', '\n0.01c'), 'configuration rc:23: must be a delay of 0.1'],
    [
      good.replace('ABCDEfghIJ', 'ABCDEfghII'),
      'rc:1: must have each letter of the cpu screen’s fields once: ABCDEfghII',
    ],
    [good.replace('ABCDEfghIJ', 'ABCDEfghIJK'), 'rc:1: must have each letter of the cpu'],
    [good.replace('aBCdefGHijklMN', 'aBCdefGHijklM'), 'rc:2: must have each letter of the memory'],
    ['ABCDEfghi\naBCdefGhijklM\n5c\n', 'rc:1: must have each letter of the cpu'],
    ['ABCDEfgz\naBCdefGhijklM\n5c\n', 'rc:1: must have each letter of the cpu'],
    [good.replace('ABCDe\n', 'AB-CDe\n'), 'rc:8: must be field letters: AB-CDe'],
    [good.replace('cpu = gid', 'cpu = mode'), 'rc:11: the cpu screen does not sort by mode'],
    [good.replace('sort cpu', 'sort disk'), 'rc:11: unknown option: sort disk'],
    [good.replace('rows = 0', 'rows = many'), 'rc:20: rows must be 0 to 1000: many'],
    [good.replace('name = 0', 'name = 65'), 'rc:21: name must be 0 to 64: 65'],
    ['\u007fELF\u0001\n\u0000\n\u0000\n', 'configuration rc:3: must be a delay'],
  ])('%j', (text, reason) => {
    expect(() => parseConfig(text, 'rc')).toThrow(reason);
  });
});
