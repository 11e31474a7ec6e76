/**
 * The real thing: `vmitop` in a pseudo-terminal, with its host in a worker thread and guests that boot. Virtual time runs as
 * fast as the computer can, and every wait is for something on the screen.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { key, Tui } from './pty-screen.js';

const VMITOP = fileURLToPath(new URL('../../bin/vmitop.js', import.meta.url));
const GUEST = { timeoutMs: 150_000 };
const PAGE_UP = '\u001b[5~';
const DETACH = '\u001d';

let folder = '';
let tui: Tui | undefined;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'vmitop-console-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
afterEach(() => {
  tui?.close();
  tui = undefined;
});

function open(cols: number, rows: number, args: readonly string[]) {
  tui = new Tui(process.execPath, [VMITOP, ...args], { cols, rows });
  return tui;
}

function inventory(): string {
  const path = join(folder, 'pair.json');
  const vms = [
    { name: 'para', vmi: true, append: 'hz=250' },
    { name: 'plain', vmi: false, append: 'hz=250' },
  ];
  writeFileSync(path, JSON.stringify({ vms }));
  return path;
}

/** Looks through the guest's console, from its end upwards, for `text`. */
async function findOnConsole(t: Tui, text: string) {
  for (let page = 0; page < 40 && !t.screen().includes(text); page++) {
    const before = t.screen();
    t.send(PAGE_UP);
    await t.until(screen => screen !== before || screen.includes(text), { timeoutMs: 2_000 }).catch(() => undefined);
  }
  expect(t.screen()).toContain(text);
}

for (const [cols, rows] of [
  [80, 24],
  [132, 50],
] as const) {
  test(`${cols}x${rows}: guests boot in BT and VMI, VMI is toggled with a restart, a program runs`, {
    timeout: 600_000,
  }, async () => {
    const t = open(cols, rows, ['top', '--inventory', inventory(), '--speed', 'max']);
    await t.until('q:quit', { timeoutMs: 60_000, quietMs: 0 });
    expect(t.alternate).toBe(true);
    await t.until(/ para .* VMI +idle/, { ...GUEST, quietMs: 0 });
    await t.until(/ plain .* BT +idle/, { ...GUEST, quietMs: 0 });

    t.send('m');
    await t.until(/PMEM {2}\/MB: +5120/, { quietMs: 0 });
    t.send('t');
    await t.until(/ para .* vmi-alarm /, { quietMs: 0 });
    await t.until(/ plain .* pit /, { quietMs: 0 });
    t.send('c');
    await t.until('PCPU(%)', { quietMs: 0 });

    // Where its system calls begin, the translator has been by now.
    t.send('b');
    await t.until(/CODE {2}: para \(VMI, idle\) at system_call/, { quietMs: 0 });
    await t.until('para runs with VMI', { quietMs: 0 });
    t.send(key.down);
    await t.until(/CODE {2}: plain \(BT, idle\) at system_call *\n.*\n.*\n c010[0-9a-f]{4} .* ident .* \| /, {
      quietMs: 0,
    });
    t.send('8c');
    await t.until('PCPU(%)', { quietMs: 0 });

    // The guest under BT says that it found bare hardware ...
    t.send(key.down);
    await t.until(/^plain: /m, { quietMs: 0 });
    t.send('A');
    await t.until('Console of plain', { quietMs: 0 });
    await findOnConsole(t, 'Booting paravirtualized kernel on bare hardware');
    t.send(DETACH);
    await t.until('PCPU(%)', { quietMs: 0 });

    // ... and after the toggle and a restart, that it found VMI.
    t.send('v');
    await t.until('VMI: on at next power-on', { quietMs: 0 });
    await t.until(/ plain .* BT\* /, { quietMs: 0 });
    t.send('y');
    // A boot may be over before the next frame.
    await t.until('plain restarted with VMI on', { ...GUEST, quietMs: 0 });
    await t.until(/ plain .* VMI +idle/, { ...GUEST, quietMs: 0 });
    t.send('A');
    await t.until('Console of plain', { quietMs: 0 });
    await findOnConsole(t, 'Booting paravirtualized kernel on vmi');
    t.send(DETACH);
    await t.until('PCPU(%)', { quietMs: 0 });

    t.send('r');
    await t.until('Run a program in plain', { quietMs: 0 });
    const item = /([1-9]) {2}getppid/.exec(t.screen())?.[1];
    t.send(item!);
    await t.until('getppid typed at the shell of plain', { quietMs: 0 });
    t.send('A');
    await t.until(/getppid: 16 instances .*: ok/, { ...GUEST, quietMs: 0 });
    t.send(`help\r`);
    await t.until(/# help/, { ...GUEST, quietMs: 0 });
    t.send(DETACH);
    await t.until(/ plain .* VMI +idle/, { ...GUEST, quietMs: 0 });

    t.send('q');
    expect((await t.exited).exitCode).toBe(0);
    expect(t.alternate).toBe(false);
  });
}

test('the default inventory boots at once, and q ends it', { timeout: 120_000 }, async () => {
  const t = open(80, 24, []);
  await t.until(screen => (screen.match(/ (?:booting|idle|off) *$/gm) ?? []).length >= 4, {
    timeoutMs: 60_000,
    quietMs: 0,
  });
  t.send('q');
  expect((await t.exited).exitCode).toBe(0);
});

test('a signal ends it with the code that shells expect, and the terminal as it was', {
  timeout: 120_000,
}, async () => {
  const t = open(80, 24, ['top', '--inventory', inventory()]);
  await t.until('q:quit', { timeoutMs: 60_000, quietMs: 0 });
  t.kill('SIGTERM');
  expect((await t.exited).exitCode).toBe(143);
  expect(t.alternate).toBe(false);
});

test('a host that cannot be built ends it with the reason, and the terminal as it was', {
  timeout: 120_000,
}, async () => {
  const image = join(folder, 'nonsense.elf');
  writeFileSync(image, 'nonsense');
  const path = join(folder, 'broken.json');
  writeFileSync(path, JSON.stringify({ vms: [{ name: 'a', image }] }));
  const t = open(100, 24, ['--inventory', path]);
  expect((await t.exited).exitCode).toBe(2);
  // The program may be gone before all that it wrote is on the screen.
  await t.until('is not a multiboot image');
  expect(t.alternate).toBe(false);
});
