/** The console in a real pseudo-terminal, over a scripted session: keys in, screen out, and the terminal afterwards. */
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import { key, Tui } from './pty-screen.js';

// The loader in the same process: tsx's own command starts a second one, which would get the signals.
const TSX = new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url).href;
const DRIVER = fileURLToPath(new URL('driver.tsx', import.meta.url));
const SLOW = { timeoutMs: 60_000 };
const ENTER_ALTERNATE = '\u001b[?1049h';
const LEAVE_ALTERNATE = '\u001b[?1049l';
const SHOW_CURSOR = '\u001b[?25h';

let tui: Tui | undefined;
afterEach(() => {
  tui?.close();
  tui = undefined;
});

async function start(cols: number, rows: number, args: readonly string[] = [], env: Record<string, string> = {}) {
  tui = new Tui(process.execPath, ['--import', TSX, DRIVER, ...args], {
    cols,
    rows,
    env: { NODE_ENV: 'production', ...env },
  });
  await tui.until('q:quit', SLOW);
  return tui;
}

const lines = (screen: string) => screen.split('\n');

for (const [cols, rows] of [
  [80, 24],
  [132, 50],
] as const) {
  describe(`${cols}x${rows}`, () => {
    test('screens, worlds, menu, guest console, VMI toggle with a restart, quit', async () => {
      const t = await start(cols, rows);
      expect(t.alternate).toBe(true);
      const cpu = lines(t.screen());
      expect(cpu).toHaveLength(rows - 1);
      expect(cpu[0]).toMatch(
        /^ {0,2}\d:\d\d:\d\d up [\d.]+ (?:s|min), 15 worlds; CPU load average: 0\.21, 0\.17, 0\.20; speed 0\.83x$/,
      );
      expect(cpu[3]).toContain(' %USED ');
      expect(cpu.at(-1)).toMatch(/v:toggle VMI .*q:quit$/);

      t.send('m');
      await t.until('VMKMEM/MB:  4864 managed:');
      t.send('t');
      await t.until(/NAME +MODE +SOURCE/);
      t.send('x');
      await t.until('EXITS : web-vmi');
      await t.until(/ CAUSE +EVENTS +EVT\/s +CYCLES +CYC\/EVT +%TIME +%NOW *\n guest user /);
      t.send('c');
      await t.until('PCPU(%)');
      t.send('e');
      expect(lines(await t.until('vcpu0'))[5]).toMatch(/ {2}vmm0 /);
      t.send('e');
      await t.until(screen => !screen.includes('vcpu0'));

      t.send('r');
      await t.until('>1  getppid');
      t.send(key.down);
      await t.until('>2  spin');
      t.send(key.enter);
      await t.until('spin typed at the shell of web-vmi');
      t.send('A');
      await t.until(s => s.includes('Console of web-vmi') && s.includes('# spin'));
      t.send('ls q\r');
      await t.until('ls q');
      t.send('\u001d');
      await t.until('PCPU(%)');

      t.send('h');
      await t.until('Virtual machines:');
      t.send(key.esc);
      await t.until('PCPU(%)');
      t.send('2');
      await t.until('db-bt: 12.3k exits/s');
      t.send('v');
      await t.until('VMI: on at next power-on. Restart it now, losing its state? (y/n)');
      t.send('y');
      await t.until('db-bt restarted with VMI on');
      await t.until(/db-bt .* BT +booting/);
      t.send('q');
      const { exitCode } = await t.exited;
      expect(exitCode).toBe(0);
      await t.until(screen => screen.replaceAll('\n', '').includes('"kind":"powerOff","vm":"db-bt"'));
      expect(t.alternate).toBe(false);
      expect(t.screen()).not.toContain('PCPU');
      expect(t.raw.lastIndexOf(SHOW_CURSOR)).toBeGreaterThan(t.raw.lastIndexOf(ENTER_ALTERNATE));
    });
  });
}

test('survives resizes without damage, and says when the terminal is too small', async () => {
  const t = await start(132, 50);
  for (const [cols, rows] of [
    [80, 24],
    [120, 30],
    [90, 24],
    [80, 40],
    [132, 50],
  ] as const) {
    t.resize(cols, rows);
    const screen = await t.until(s => lines(s).length === rows - 1 && s.includes('q:quit') && s.includes('PCPU(%)'));
    const all = lines(screen);
    expect(all.filter(line => line.includes('PCPU(%)'))).toHaveLength(1);
    expect(all.filter(line => line.includes(' NAME '))).toHaveLength(1);
    expect(all.filter(line => line.includes('q:quit'))).toHaveLength(1);
    expect(all[0]).toContain('load average');
    // The second sample after the resize is drawn by differences only.
    const time = all[0]!.slice(0, 8);
    const later = lines(await t.until(s => lines(s)[0]!.slice(0, 8) > time));
    expect(later.slice(3)).toEqual(all.slice(3));
  }
  t.resize(60, 15);
  await t.until('vmitop needs 80x24 cells,\nthis terminal has 60x15.');
  t.resize(80, 24);
  await t.until(s => lines(s).length === 23 && s.includes('q:quit'));
});

test('^L repairs a screen that something else wrote on', async () => {
  const t = await start(80, 24, ['scribble']);
  t.send(' ');
  await t.until('SCRIBBLE');
  t.send('\u000c');
  const screen = await t.until(s => !s.includes('SCRIBBLE') && s.includes('q:quit'));
  expect(lines(screen)).toHaveLength(23);
  expect(lines(screen)[1]).toContain('PCPU(%)');
});

test('the terminal is restored after an error, which comes out of the promise', async () => {
  const t = await start(80, 24, ['crash']);
  t.send(' ');
  expect((await t.exited).exitCode).toBe(70);
  await t.until('console failed: the driver broke');
  expect(t.alternate).toBe(false);
});

test.each([
  ['SIGTERM', 143],
  ['SIGHUP', 129],
] as const)('the terminal is restored after %s', async (signal, code) => {
  const t = await start(80, 24, ['pid']);
  const pid = Number(/pid (\d+)/.exec(t.screen())?.[1]);
  process.kill(pid, signal);
  expect((await t.exited).exitCode).toBe(code);
  await t.until('console ended');
  expect(t.alternate).toBe(false);
  expect(t.raw).toContain(LEAVE_ALTERNATE);
});

test('NO_COLOR: reverse video, no colour', async () => {
  const t = await start(80, 24, [], { NO_COLOR: '1' });
  expect(t.raw).toContain('\u001b[7m');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: colours are escape sequences
  expect(t.raw).not.toMatch(/\u001b\[[0-9;]*(?:3|4|9|10)\d(?:;|m)/);
});
