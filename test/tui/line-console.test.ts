/** The console in words: what is said after which key, and that nothing else is. */
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test, vi } from 'vitest';
import { splitKeys } from '../../src/tui/input.js';
import { Speaker } from '../../src/tui/line-console.js';
import { closeConsoles, consoleOn } from './console-on.js';
import { FakeSession } from './fake-session.js';
import { Tui } from './pty-screen.js';

const TSX = new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url).href;
const DRIVER = fileURLToPath(new URL('driver.tsx', import.meta.url));

afterEach(closeConsoles);

function speakerOn(session = new FakeSession()) {
  const { controller } = consoleOn(1000, 24, session);
  let written = '';
  const speaker = new Speaker(controller, session, text => {
    written += text;
  });
  controller.subscribe(() => speaker.follow());
  speaker.follow();
  /** What was said since the call before. */
  const heard = () => {
    const lines = written;
    written = '';
    return lines;
  };
  const press = async (keys: string) => {
    heard();
    speaker.keys(splitKeys(keys).keys);
    await new Promise(resolve => setImmediate(resolve));
    return heard();
  };
  return { session, speaker, heard, press };
}

const DOWN = '\u001b[B';
const RIGHT = '\u001b[C';

test('begins with where one is, and reads the row that is moved to', async () => {
  const { heard, press } = speakerOn();
  expect(heard()).toMatch(/^CPU screen: 5 rows by GID\.\nweb-vmi, 1 of 5: ID 16, .*MODE VMI, GUEST idle\n$/);
  expect(await press(DOWN)).toMatch(/^db-bt, 2 of 5: .*%USED 60\.00, .*%RDY 15\.00/);
  // Of another screen the place, too.
  expect(await press('m')).toMatch(/^memory screen: 5 rows by GID\.\ndb-bt, 2 of 5: .*MEMSZ 256\.00/);
  expect(await press('8')).toMatch(/^web-vmi, 1 of 5: /);
  // At the end nothing changes, and nothing is said.
  expect(await press('8')).toBe('');
});

test('a column that is marked is one figure with its meaning', async () => {
  const { press } = speakerOn();
  await press(DOWN);
  expect(await press(RIGHT.repeat(5))).toBe('db-bt, 2 of 5: %USED 60.00: processor time charged\n');
  expect(await press(DOWN)).toBe('boot-bt, 3 of 5: %USED 30.00: processor time charged\n');
});

test('what is an alarm on the screen is called one', async () => {
  const { press } = speakerOn();
  await press(DOWN);
  expect(await press('!%USED > 50 warn\r')).toContain('%USED > 50 warn');
  await press('8');
  expect(await press(DOWN)).toContain('%USED 60.00 (warn)');
  expect(await press(`e${DOWN}`)).toContain('%RDY 15.00 (alarm)');
});

test('space says everything, from the next sample on', async () => {
  const { press, session, heard } = speakerOn();
  expect(await press(' ')).toBe('');
  session.tick();
  await vi.waitFor(() => {
    expect(heard()).toMatch(
      /^0:00:03 up 3\.000 s, .*\nPCPU\(%\): 50\.00, .*\nCPU screen: 5 rows by GID\.\nweb-vmi, 1 of 5/,
    );
  });
  // Without a sample what there is.
  await press(' ');
  await new Promise(resolve => setTimeout(resolve, 600));
  expect(heard()).toMatch(/^0:00:03 /);
});

test('figures that move by themselves are not said', async () => {
  const { session, heard } = speakerOn();
  heard();
  session.tick();
  session.tick();
  await new Promise(resolve => setTimeout(resolve, 100));
  expect(heard()).toBe('');
});

test('trouble is said as it comes', async () => {
  const { session, heard } = speakerOn();
  heard();
  session.event({ kind: 'power', vm: 'db-bt', state: 'crashed', reason: 'triple fault', atCycles: 3 });
  session.tick();
  await vi.waitFor(() => expect(heard()).toBe('Alarm: db-bt crashed: triple fault\n'));
});

test('menus, questions and prompts: what there is, what is typed, and back', async () => {
  const { press } = speakerOn();
  expect(await press('p')).toMatch(
    /^Power of web-vmi \(on\): \d items; up and down select, Enter chooses, Escape closes\.\n1 of \d: power off, pull the plug\n$/,
  );
  expect(await press(DOWN)).toMatch(/^2 of \d: reset, /);
  expect(await press('\r')).toMatch(/^reset web-vmi: .* Sure\? \(y\/n\)\n$/);
  expect(await press('n')).toBe('CPU screen: 5 rows by GID.\n');
  expect(await press('s')).toBe('Change delay from 1 to: \n');
  expect(await press('2')).toBe('2');
  expect(await press('5')).toBe('5');
  expect(await press('\u007f')).toBe('\n2');
  expect(await press('\r')).toMatch(/^\nCPU screen: 5 rows by GID\.\n.*delay 2 s\n$/s);
});

test('the exits screen without what is nothing, and two VMs with their difference', async () => {
  const { press } = speakerOn();
  const alone = await press(`${DOWN}x`);
  expect(alone).toMatch(/^EXITS : db-bt \(BT, getppid\); .*\nguest user: CYCLES 400, %TIME 33\.33, %NOW 33\.33\n/);
  expect(alone).not.toMatch(/MMIO| -/);
  const pair = await press('+1');
  expect(pair).toMatch(/LEFT : db-bt .*; RIGHT : web-vmi .*\nweb-vmi takes 100\.0% fewer cycles\/s than db-bt: /);
  expect(pair).toMatch(/\nguest user: CYCLES 400, .*; and CYCLES 0, /);
});

test('a graph is values and what they were between', async () => {
  const { press, session } = speakerOn();
  session.tick();
  expect(await press(`${DOWN}G`)).toMatch(/^Graph of %USED over 300 seconds\. Escape closes\.\nat 0:00:03\n/);
  expect(await press(' ')).toBe('');
});

test('an attached guest is passed on as it writes', async () => {
  const { press, session, heard } = speakerOn();
  session.print('db-bt', 'before\n');
  await press(DOWN);
  expect(await press('A')).toMatch(
    /^Console of db-bt \(BT, getppid\); what it writes follows\. Control \] detaches\.\n$/,
  );
  session.print('db-bt', 'one\r\ntwo\r\n# ');
  await vi.waitFor(() => expect(heard()).toBe('one\ntwo\n# '));
  await press('ls\r');
  expect(session.commands.at(-1)).toEqual({ kind: 'type', vm: 'db-bt', text: 'ls\r' });
  expect(await press('\u001d')).toMatch(/^CPU screen/);
});

test('every screen and dialog has words, and none of them is of a drawing', async () => {
  const session = new FakeSession();
  session.plugDevices();
  const { press } = speakerOn(session);
  for (const key of ['c', 'm', 'd', 'u', 'D', 'n', 'i', 't', 'x', 'b', 'a']) {
    const said = await press(key);
    expect(said, key).toMatch(key === 'c' ? /^$/ : /\w/);
    expect(said, key).not.toMatch(/undefined|NaN|[│┊⠀-⣿]| {2}/);
  }
  expect(await press('h')).toMatch(/Help; any key goes back\.\n/);
  expect(await press('qcf')).toMatch(/A: shown, ID, Id/);
});

test('on a terminal: no escape sequence, and the terminal as it was at the end', { timeout: 40_000 }, async () => {
  const tui = new Tui(process.execPath, ['--import', TSX, DRIVER, 'words'], { cols: 80, rows: 24 });
  try {
    await tui.until('vmitop in words', { timeoutMs: 20_000 });
    tui.send('2');
    await tui.until('db-bt, 2 of 5');
    tui.send('q');
    await tui.until('console ended; commands: []');
    expect((await tui.exited).exitCode).toBe(0);
    expect(tui.raw).not.toContain('\u001b');
  } finally {
    tui.close();
  }
});
