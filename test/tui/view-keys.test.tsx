/** The keys that decide what is in view, kill, and write the configuration. */
import { afterEach, describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/tui/config-file.js';
import { closeConsoles, consoleOn, shape } from './console-on.js';
import { FakeSession } from './fake-session.js';

afterEach(closeConsoles);

/** Names in the rows of the table, from the top. */
const names = (frame: string) => [...frame.matchAll(/^[> ] +\d+ +([\w-]+) /gm)].map(match => match[1]);

describe('4 drops the selected row from view', () => {
  test('and the selection goes to the next one', async () => {
    const { press } = consoleOn();
    const frame = await press('24');
    expect(names(frame)).toEqual(['web-vmi', 'boot-bt', 'spare', 'broken']);
    expect(frame).toContain('db-bt is out of view; l and then 0 shows all');
    expect(frame).toMatch(/^> +18 boot-bt/m);
    expect(names(await press('m'))).toEqual(['web-vmi', 'boot-bt', 'spare', 'broken']);
    expect(names(await press('l0\r'))).toEqual(['web-vmi', 'db-bt', 'boot-bt', 'spare', 'broken']);
  });

  test('a world alone, or a VM with its worlds', async () => {
    const { press } = consoleOn();
    expect(names(await press('2e24'))).toEqual(['web-vmi', 'db-bt', 'vcpu0', 'vmx', 'boot-bt', 'spare', 'broken']);
    expect(names(await press('84'))).toEqual(['web-vmi', 'boot-bt', 'spare', 'broken']);
  });

  test('until none is left, where rows are', async () => {
    const { press } = consoleOn();
    const frame = await press('44444');
    expect(names(frame)).toEqual([]);
    expect(frame).toContain('No row is shown; l and then 0 shows all.');
    expect(await press('4')).toContain('there is no row to drop on this screen');
    expect(await press('v')).toContain('no VM is selected');
    expect(await press('l0\rx4')).toContain('there is no row to drop on this screen');
  });
});

test('l shows one group', async () => {
  const { press } = consoleOn();
  expect(await press('l')).toContain('Show the group with GID (0: all):');
  expect(names(await press('18\r'))).toEqual(['boot-bt']);
  expect(await press('x')).toContain('EXITS : boot-bt');
  expect(await press('cl99\r')).toContain('no group has the GID 99');
  expect(names(await press('l0\r'))).toHaveLength(5);
  expect(await press('lweb\r')).toContain('not a whole number: web');
});

test('# limits the rows, which scroll, and V says what all groups are', async () => {
  const { press } = consoleOn();
  expect(await press('#')).toContain('Rows to show (0: all that fit):');
  expect(names(await press('2\r'))).toEqual(['web-vmi', 'db-bt']);
  expect(names(await press('22'))).toEqual(['db-bt', 'boot-bt']);
  expect(names(await press('#0\r'))).toHaveLength(5);
  expect(await press('#1001\r')).toContain('can be 0 to 1000: 1001');
  expect(await press('V')).toContain('every group of this host is a VM');
});

test('L sets the length of NAME', async () => {
  const { press } = consoleOn(132, 30);
  expect(await press('L3\r')).toMatch(/ GID NAM +NWLD .*\n> +16 +16 web +3 /);
  expect(await press('L30\r')).toMatch(/^> +16 +16 web-vmi {23} {4}3 /m);
  expect(await press('L0\r')).toMatch(/^> +16 +16 web-vmi {9} {4}3 /m);
});

describe('k kills', () => {
  test('the selected VM, after a question, even if the rows have changed places', async () => {
    const { press, session } = consoleOn();
    expect(await press('U2k')).toContain('kill boot-bt: its power goes off and its guest’s state is lost. Sure? (y/n)');
    expect(session.commands).toEqual([]);
    session.change('boot-bt', { worlds: [] });
    expect(await press('y')).toContain('boot-bt is off');
    expect(session.commands).toEqual([{ kind: 'powerOff', vm: 'boot-bt' }]);
  });

  test('nothing without a yes, and nothing that is off', async () => {
    const { press, session } = consoleOn();
    await press('k');
    await press('n');
    expect(await press('222k')).toContain('spare is off: there is nothing to kill');
    expect(await press('2k')).toContain('broken is crashed: there is nothing to kill');
    expect(session.commands).toEqual([]);
  });
});

describe('W writes the configuration', () => {
  test('to the default file or another, and a console that begins with it shows the same', async () => {
    const first = consoleOn(160, 50);
    // Every screen changed, the memory screen in front.
    await first.press('ffb ');
    await first.press('oJJ ');
    await first.press('URL12\r#3\r');
    await first.press('tfj Txfb Cmfa M');
    const before = await first.press('s2\r');
    expect(before).toContain('delay 2 s');
    expect(await first.press('W')).toContain('Save config file to (Default to : /home/me/.vmitoprc):');
    expect(await first.press('\r')).toContain('configuration written to /home/me/.vmitoprc');
    expect(await first.press('W/tmp/my lab.rc\r')).toContain('configuration written to /tmp/my lab.rc');
    const text = first.files.get('/home/me/.vmitoprc')!;
    expect(first.files.get('/tmp/my lab.rc')).toBe(text);

    const again = consoleOn(160, 50, new FakeSession(), [], parseConfig(text, 'rc'));
    expect((await again.press('')).split('\n')[1]).toMatch(/^PMEM/);
    // Apart from what is selected, and the message.
    for (const { press } of [first, again]) await press('\u001b[H ');
    for (const keys of ['', 'c', 't', 'x']) expect(await again.press(keys)).toBe(await first.press(keys));
    expect(await again.press('s')).toContain('Change delay from 2 to:');
  });

  test('or says why it cannot', async () => {
    const { press, trouble, files } = consoleOn();
    trouble.reason = 'permission denied';
    expect(await press('W/etc/rc\r')).toContain('/etc/rc: permission denied');
    expect(await press('W\u001b')).not.toContain('Save config');
    expect(files.size).toBe(0);
  });

  test('after a prompt whose end is what is typed, however long', async () => {
    const { press } = consoleOn();
    const lines = shape(await press(`W${'x'.repeat(100)}end`)).split('\n');
    expect(lines[2]).toMatch(/xxend$/);
    expect(lines[2]!.length).toBeLessThanOrEqual(79);
  });
});
