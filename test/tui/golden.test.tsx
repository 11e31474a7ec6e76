/**
 * Every screen as a file, at two sizes: test/tui/golden. The figures are the fixtures', second two of a host on which every second is like the
 * one before. A change shows as a difference of text, to be read before `vitest -u` accepts it.
 */
import { afterEach, describe, expect, test } from 'vitest';
import { KEYS, type KeyBinding } from '../../src/tui/keys.js';
import { closeConsoles, consoleOn, shape } from './console-on.js';
import { FakeSession } from './fake-session.js';

afterEach(closeConsoles);

const displays = (KEYS as readonly KeyBinding[]).filter(({ group }) => group === 'display');

function console(columns: number, rows: number) {
  const session = new FakeSession();
  session.plugDevices();
  session.code = linear => ({
    ok: true,
    lines: [
      {
        address: linear,
        bytes: '50',
        text: 'push eax',
        guestClass: 'ident',
        count: undefined,
        translation: ['push eax'],
      },
      {
        address: linear + 1,
        bytes: 'fa',
        text: 'cli',
        guestClass: 'cli',
        count: 7,
        translation: ['mov dword [gs:VIF], 0'],
      },
    ],
  });
  return consoleOn(columns, rows, session);
}

describe.each([
  [80, 24],
  [160, 50],
])('%ix%i', (columns, rows) => {
  const place = (name: string) => `golden/${name}-${columns}x${rows}.txt`;

  test.each(displays)('$help screen', async ({ keys: [key], help }) => {
    const { press, screen } = console(columns, rows);
    // The second VM is under BT and has code to show.
    await press(`2${key}`);
    await new Promise(resolve => setTimeout(resolve, 60));
    await expect(shape(screen())).toMatchFileSnapshot(place(help.replace(' ', '-').toLowerCase()));
  });

  test.each(displays.filter(({ keys: [key] }) => key !== 'b' && key !== 'a'))(
    'fields of the $help screen',
    async ({ keys: [key], help }) => {
      const { press } = console(columns, rows);
      await expect(shape(await press(`${key}f`))).toMatchFileSnapshot(
        place(`${help.replace(' ', '-').toLowerCase()}-fields`),
      );
    },
  );

  test('an expanded VM with every field of the CPU screen', async () => {
    const { press } = console(columns, rows);
    await expect(shape(await press('2effgh '))).toMatchFileSnapshot(place('cpu-all'));
  });
});
