/** Every key of every screen, in a real pseudo-terminal at two sizes: what it does is seen, and none is left out. */
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import type { ScreenId } from '../../src/tui/columns.js';
import { splitKeys } from '../../src/tui/input.js';
import { bindingFor, KEYS, type KeyBinding } from '../../src/tui/keys.js';
import { key, Tui } from './pty-screen.js';

const TSX = new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url).href;
const DRIVER = fileURLToPath(new URL('driver.tsx', import.meta.url));
const ESC = '\u001b';
const HOME = '\u001b[H';
const END = '\u001b[F';
const PAGE_UP = '\u001b[5~';
const PAGE_DOWN = '\u001b[6~';

const SOON = { timeoutMs: 20_000, quietMs: 0 };
/** What opens a menu or a prompt. */
const OPENS: ReadonlySet<string> = new Set(['+', '=', 'g', '/']);

let tui: Tui | undefined;
afterEach(() => {
  tui?.close();
  tui = undefined;
});

/** What a screen is known by. */
const SIGN: Readonly<Record<ScreenId, RegExp>> = {
  cpu: /^PCPU\(%\):/m,
  memory: /^PMEM {2}\/MB:/m,
  diskAdapter: /^ ADAPTR /m,
  diskDevice: /^ DEVICE /m,
  diskVm: / VMNAME +VDEVNAME /,
  network: / PORT-ID USED-BY /,
  interrupt: / IRQ VECTOR /,
  timer: /^TIMER \/s:/m,
  exits: /^EXITS :/m,
  code: /^CODE {2}:/m,
  activity: /^ TIME +NAME +EVENT/m,
};

/** The first row under the heading that has `heading` in it begins like this. */
const first = (heading: string, row: string) => new RegExp(`^.*${heading}.*\\n[> ] *(?:\\d+ +)*${row}`, 'm');

/** Keys of the screens themselves. db-bt is the busy VM of the fixtures; web-vmi is the first of all. */
const OWN: readonly (readonly [ScreenId, string, RegExp])[] = [
  ['cpu', 'U', first('%USED', 'db-bt')],
  ['cpu', 'N', first('%USED', 'web-vmi')],
  ['cpu', 'R', first('%USED', 'db-bt')],
  ['memory', 'M', first('MEMSZ', 'web-vmi')],
  ['memory', 'B', /MCTLSZ: no guest has a balloon driver/],
  ['memory', 'N', first('MEMSZ', 'web-vmi')],
  ['diskAdapter', 'r', first('ADAPTR', 'db-bt +scsi0')],
  ['diskAdapter', 'w', first('ADAPTR', 'web-vmi +scsi0')],
  ['diskAdapter', 'R', first('ADAPTR', 'db-bt +scsi0')],
  ['diskAdapter', 'T', first('ADAPTR', 'web-vmi +scsi0')],
  ['diskAdapter', 'N', first('ADAPTR', 'web-vmi +scsi0')],
  ['diskDevice', 'r', first('DEVICE', 'db-bt +scsi0:0')],
  ['diskDevice', 'w', first('DEVICE', 'web-vmi +scsi0:0')],
  ['diskDevice', 'R', first('DEVICE', 'web-vmi +scsi0:0')],
  ['diskDevice', 'T', first('DEVICE', 'web-vmi +scsi0:0')],
  ['diskDevice', 'N', first('DEVICE', 'web-vmi +scsi0:0')],
  ['diskVm', 'r', first('VMNAME', 'db-bt')],
  ['diskVm', 'w', first('VMNAME', 'web-vmi')],
  ['diskVm', 'R', first('VMNAME', 'db-bt')],
  ['diskVm', 'N', first('VMNAME', 'web-vmi')],
  ['diskVm', 'T', first('VMNAME', 'web-vmi')],
  ['network', 'r', first('PORT-ID', '170:db-bt')],
  ['network', 't', first('PORT-ID', '160:web-vmi')],
  ['network', 'R', first('PORT-ID', '170:db-bt')],
  ['network', 'T', first('PORT-ID', '160:web-vmi')],
  ['network', 'N', first('PORT-ID', '160:web-vmi')],
  ['interrupt', 'R', first('VECTOR', 'db-bt +0 ')],
  ['interrupt', 'N', first('VECTOR', 'web-vmi +0 ')],
  ['timer', 'R', first('DLVD/s', 'db-bt')],
  ['timer', 'N', first('DLVD/s', 'web-vmi')],
  ['timer', 'T', first('DLVD/s', 'db-bt')],
  // Nothing is charged to web-vmi in the fixtures: of db-bt's causes the guest's kernel has most.
  ['exits', '+', /Beside db-bt/],
  ['exits', '=', /Beside db-bt/],
  ['exits', '-', /^EXITS : db-bt/m],
  ['exits', 'z', /counts are since now/],
  ['exits', 'T', first('CAUSE', 'guest kernel')],
  ['exits', 'N', first('CAUSE', 'guest user')],
  ['exits', 'R', first('CAUSE', 'syscall forwarding')],
  ['exits', 'E', first('CAUSE', 'syscall forwarding')],
  ['exits', 'C', first('CAUSE', 'guest user')],
  ['code', 'g', /Address \(hexadecimal\) or symbol:/],
  ['code', '/', /Address \(hexadecimal\) or symbol:/],
];

/** Keys of all screens, tried on the CPU screen; `after` undoes what would be in the way. */
const EVERYWHERE: readonly (readonly [string, RegExp, string?])[] = [
  ['8', /^> +16 +(?:16 +)?web-vmi/m],
  ['2', /^> .* db-bt/m],
  [key.up, /^> .* web-vmi/m],
  [key.down, /^> .* db-bt/m],
  [END, /^> .* broken/m],
  [HOME, /^> .* web-vmi/m],
  [PAGE_DOWN, /^> .* broken/m],
  [PAGE_UP, /^> .* web-vmi/m],
  ['e', / vcpu0 /, 'e'],
  ['6', / vcpu0 /, '6'],
  ['4', /web-vmi is out of view/, `l0\r${HOME}`],
  ['l', /Show the group with GID/, key.esc],
  ['#', /Rows to show/, key.esc],
  ['L', /Length of NAME/, key.esc],
  ['V', /every group of this host is a VM/],
  ['&', /Show rows that fit/, key.esc],
  ['/', /Search:/, key.esc],
  ['!', /Mark figures/, key.esc],
  [`${ESC}[C`, /^ID: world id/m],
  [`${ESC}[D`, SIGN.cpu],
  ['y', /is in the clipboard/],
  ['\u001a', SIGN.cpu],
  ['H', /%USED 0-100/, 'H'],
  ['G', /in 5 min, 1 of/, key.esc],
  ['W', /Save config file to/, key.esc],
  ['S', /Save picture to .*Enter: cpu.svg/, key.esc],
  ['s', /Change delay from 1 to:/, key.esc],
  ['f', /Toggle fields with a-j/, ' '],
  ['F', /Toggle fields with a-j/, ' '],
  ['o', /Upper case letter moves a field left/, ' '],
  ['O', /Upper case letter moves a field left/, ' '],
  ['P', /paused; P goes on/, 'P'],
  ...[...'[]{}<>j'].map(each => [each, /that is for replays/] as const),
  ['p', /Power of web-vmi \(on\)/, key.esc],
  ['k', /kill web-vmi: .* Sure\? \(y\/n\)/, 'n'],
  ['r', /Run a program in web-vmi/, key.esc],
  ['A', /Console of web-vmi/, '\u001d'],
  ['v', /web-vmi: VMI: off at next power-on/, 'n'],
  ['h', /vmitop: these commands are there/, 'x'],
  ['?', /vmitop: these commands are there/, 'x'],
  [' ', SIGN.cpu],
  [key.enter, SIGN.cpu],
  ['\u000c', SIGN.cpu],
];

test.each([
  [80, 24],
  [160, 50],
])('%ix%i', { timeout: 240_000 }, async (cols, rows) => {
  const t = new Tui(process.execPath, ['--import', TSX, DRIVER], { cols, rows, env: { NODE_ENV: 'production' } });
  tui = t;
  const seen = async (what: RegExp) => {
    await t.until(screen => what.test(screen) && screen.split('\n').length === rows - 1, SOON);
  };
  /** What a key opened is closed: an Escape is none as long as something may follow it. */
  const gone = async (screen: ScreenId, what: RegExp) => {
    await t.until(text => SIGN[screen].test(text) && text.includes('q:quit') && !what.test(text), SOON);
  };
  const pressed = new Set<string>();
  const press = async (screen: ScreenId, chunk: string, what: RegExp) => {
    const { keys, rest } = splitKeys(chunk);
    const name = rest === '' ? keys[0]!.name : 'escape';
    const binding = bindingFor(name, screen);
    expect(binding, `${screen} ${name}`).toBeDefined();
    pressed.add(`${binding!.screen ?? ''} ${name}`);
    t.send(chunk);
    await seen(what);
  };
  await t.until('q:quit', { timeoutMs: 60_000 });

  for (const [chunk, what, after] of EVERYWHERE) {
    await press('cpu', chunk, what);
    if (after !== undefined) {
      t.send(after);
      if (after === key.esc) await gone('cpu', what);
      else await t.until(screen => SIGN.cpu.test(screen) && screen.includes('q:quit'), SOON);
    }
  }
  // The screens about one VM are about db-bt.
  t.send(`${HOME}2`);
  let screen: ScreenId = 'cpu';
  for (const { keys, command } of (KEYS as readonly KeyBinding[]).filter(({ group }) => group === 'display')) {
    const next = command.replace('screen.', '') as ScreenId;
    // t sorts on the network screen.
    if (screen === 'network') t.send('c');
    await press('cpu', keys[0]!, SIGN[next]);
    screen = next;
    for (const [, own, what] of OWN.filter(([of]) => of === next)) {
      await press(next, own, what);
      if (!OPENS.has(own)) continue;
      t.send(key.esc);
      await gone(next, what);
    }
  }
  t.send('c');
  await seen(SIGN.cpu);
  pressed.add(' q');
  t.send('q');
  expect((await t.exited).exitCode).toBe(0);

  const wanted = (KEYS as readonly KeyBinding[]).flatMap(({ keys, screen: of }) =>
    keys.map(name => `${of ?? ''} ${name}`),
  );
  const missing = wanted.filter(name => !pressed.has(name));
  // The same as q.
  expect(missing).toEqual([' ctrl-c']);
});
