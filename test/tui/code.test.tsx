/** The translation screen: what it shows of an answer, where it goes, and what it says where nothing is translated. */
import { afterEach, describe, expect, test } from 'vitest';
import type { CodeAnswer, CodeLine } from '../../src/hypervisor/index.js';
import { parsePlace, symbolic } from '../../src/tui/code.js';
import { askForCode } from '../../src/tui/host-question.js';
import { closeConsoles, consoleOn, shape } from './console-on.js';
import { FakeSession } from './fake-session.js';

afterEach(closeConsoles);

const SYMBOLS = [
  { address: 0xc0101000, name: 'startup' },
  { address: 0xc0101330, name: 'system_call' },
  { address: 0xc0101380, name: 'sys_fork' },
  { address: 0xc01013c0, name: 'add' },
];

describe('places', () => {
  test.each([
    ['system_call', 0xc0101330],
    ['system_call+0x1b', 0xc010134b],
    ['system_call+10', 0xc010133a],
    ['c0101330', 0xc0101330],
    ['0xC0101330', 0xc0101330],
    ['sys_', 0xc0101380],
    // Also a number in hexadecimal.
    ['add', 0xc01013c0],
    ['adc', 0xadc],
  ])('%s', (text, address) => expect(parsePlace(text, SYMBOLS)).toEqual({ ok: true, address }));

  test.each([
    ['sys', 'which one: system_call, sys_fork'],
    ['nowhere', 'no symbol begins with nowhere'],
    ['123456789', 'no symbol begins with 123456789'],
    ['', 'an address (hexadecimal) or a symbol is needed'],
  ])('"%s" is none', (text, reason) => expect(parsePlace(text, SYMBOLS)).toEqual({ ok: false, reason }));

  test('have the name of the symbol before them', () => {
    expect(symbolic(0xc0101330, SYMBOLS)).toBe('system_call');
    expect(symbolic(0xc010134b, SYMBOLS)).toBe('system_call+0x1b');
    expect(symbolic(0xffffffff, SYMBOLS)).toBe('add+0x3fefec3f');
    expect(symbolic(0x1000, SYMBOLS)).toBe('00001000');
    expect(symbolic(0x1000, [])).toBe('00001000');
  });
});

const line = (address: number, text: string, some: Partial<CodeLine> = {}): CodeLine => ({
  address,
  bytes: '90',
  text,
  guestClass: 'ident',
  count: 7,
  translation: [text],
  ...some,
});

function session(): FakeSession {
  const fake = new FakeSession();
  fake.code = linear => ({
    ok: true,
    lines: [
      line(linear, 'push eax', { bytes: '50' }),
      line(linear + 1, 'cli', {
        bytes: 'fa',
        guestClass: 'cli',
        count: undefined,
        translation: ['mov byte gs:[VIF], 0', 'nop'],
      }),
      ...Array.from({ length: 40 }, (_, index) => line(linear + 2 + index, `mov eax, ${index}`)),
    ],
  });
  return fake;
}

describe('the screen', () => {
  test('80x24: guest code of the selected VM beside its translation', async () => {
    const { press, session: fake } = consoleOn(80, 24, session());
    const lines = shape(await press('2b')).split('\n');
    expect(fake.asked).toEqual([{ vm: 'db-bt', linear: 0xc0101330 }]);
    expect(lines).toHaveLength(23);
    expect(lines.slice(1, 8)).toEqual([
      'CODE  : db-bt (BT, getppid) at system_call',
      '',
      ' ADDRESS  GUEST                 CLASS           COUNT | TRANSLATION',
      ' c0101330 push eax              ident               7 | push eax',
      ' c0101331 cli                   cli                 - | mov byte gs:[VIF], 0',
      '                                                      | nop',
      ' c0101332 mov eax, 0            ident               7 | mov eax, 0',
    ]);
  });

  test('132x50 shows the bytes', async () => {
    const { press } = consoleOn(132, 50, session());
    const lines = shape(await press('2b')).split('\n');
    expect(lines[3]).toMatch(/^ ADDRESS {2}BYTES {17}GUEST {31}CLASS +COUNT \| TRANSLATION$/);
    expect(lines[4]).toMatch(/^ c0101330 50 {20}push eax {28}ident +7 \| push eax$/);
  });

  test('scrolls, and not beyond its end', async () => {
    const { press } = consoleOn(80, 24, session());
    expect(await press('2b')).not.toContain('mov eax, 39');
    const end = await press('\u001b[6~'.repeat(9));
    expect(end).toContain('mov eax, 39');
    expect(end).toContain('TRANSLATION');
    expect(await press('\u001b[5~'.repeat(3))).toContain('push eax');
  });

  test('g goes to an address or a symbol, or says why not', async () => {
    const { press, session: fake } = consoleOn(80, 24, session());
    await press('2b');
    expect(await press('g')).toContain('Address (hexadecimal) or symbol:');
    expect(await press('sys_fork+0x10\r')).toContain('at sys_fork+0x10');
    expect(fake.asked.at(-1)).toEqual({ vm: 'db-bt', linear: 0xc0101390 });
    expect(await press('gsys\r')).toContain('which one: system_call, sys_fork');
    expect(await press('')).toContain(' c0101390 push eax');
    expect(await press('gc0101000\u001b')).toContain('at sys_fork+0x10');
  });

  test('asks again with each sample, and not when nobody looks', async () => {
    const { press, session: fake } = consoleOn(80, 24, session());
    await press('2b');
    fake.tick();
    await new Promise(resolve => setTimeout(resolve, 80));
    expect(fake.asked).toHaveLength(2);
    await press('c');
    fake.tick();
    await new Promise(resolve => setTimeout(resolve, 80));
    expect(fake.asked).toHaveLength(2);
  });

  test('marks what was never executed, and has no column for what nobody counts', async () => {
    const fake = new FakeSession();
    fake.code = linear => ({
      ok: true,
      lines: [line(linear + 4, 'nop'), line(linear + 5, 'nop'), line(linear + 8, 'ret')].map(one => ({
        ...one,
        count: undefined,
      })),
    });
    const { press } = consoleOn(80, 24, fake);
    expect(
      shape(await press('2b'))
        .split('\n')
        .slice(3, 9),
    ).toEqual([
      ' ADDRESS  GUEST                 CLASS        | TRANSLATION',
      ' ...',
      ' c0101334 nop                   ident        | nop',
      ' c0101335 nop                   ident        | nop',
      ' ...',
      ' c0101338 ret                   ident        | ret',
    ]);
  });

  test('shows the host’s reason', async () => {
    const { press } = consoleOn(80, 24);
    expect(await press('2b')).toContain('nothing at c0101330');
  });

  test.each([
    ['off', { power: 'off' }, 'db-bt is off: nothing is translated.'],
    ['native', { mode: 'native' }, 'db-bt runs natively'],
    ['hv', { mode: 'hv' }, 'db-bt runs with hardware assist'],
    ['VMI', { mode: 'vmi' }, 'db-bt runs with VMI'],
  ] as const)('says that there is no translation: %s', async (_, change, text) => {
    const { press, session: fake } = consoleOn(80, 24, session());
    fake.change('db-bt', change);
    expect(await press('2b')).toContain(text);
    expect(fake.asked).toEqual([]);
  });

  test('help names its keys and columns', async () => {
    const { press } = consoleOn(80, 80);
    const help = await press('bh');
    for (const text of ['go to an address or a symbol', 'Columns of the translation screen', 'TRANSLATION'])
      expect(help).toContain(text);
  });
});

describe('questions', () => {
  test('wait for the answer before, and of those that wait the newest is asked', async () => {
    const fake = new FakeSession();
    let answer: (value: CodeAnswer) => void = () => {};
    const asked: number[] = [];
    fake.disassemble = (_vm, linear) => {
      asked.push(linear);
      return new Promise(resolve => {
        answer = resolve;
      });
    };
    let changes = 0;
    const watch = askForCode(fake, () => {
      changes += 1;
    });
    for (const linear of [1, 2, 3]) watch.ask({ vm: 'a', address: linear });
    expect(asked).toEqual([1]);
    answer({ ok: true, lines: [] });
    await new Promise(resolve => setImmediate(resolve));
    expect(asked).toEqual([1, 3]);
    expect(changes).toBe(1);
    expect(watch.answer({ vm: 'a', address: 3 })).toBeUndefined();
    answer({ ok: true, lines: [] });
    await new Promise(resolve => setImmediate(resolve));
    expect(watch.answer({ vm: 'a', address: 3 })).toEqual({ ok: true, lines: [] });
    expect(watch.answer({ vm: 'b', address: 3 })).toBeUndefined();
  });

  test('of a host that is gone are answered with that', async () => {
    const fake = new FakeSession();
    fake.disassemble = () => Promise.reject(new Error('the host has been closed'));
    const watch = askForCode(fake, () => {});
    watch.ask({ vm: 'a', address: 1 });
    await new Promise(resolve => setImmediate(resolve));
    expect(watch.answer({ vm: 'a', address: 1 })).toEqual({
      ok: false,
      reason: 'the host does not answer: the host has been closed',
    });
  });
});
