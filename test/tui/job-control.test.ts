/** The console as a job of a shell: Ctrl-Z, `fg`, and a terminal that is what it was each time. */
import { fileURLToPath } from 'node:url';
import { afterEach, expect, test } from 'vitest';
import { Tui } from './pty-screen.js';

const TSX = new URL('../../node_modules/tsx/dist/loader.mjs', import.meta.url).href;
const DRIVER = fileURLToPath(new URL('driver.tsx', import.meta.url));
let tui: Tui | undefined;
afterEach(() => tui?.close());

test('stops, and goes on where it was', { timeout: 120_000 }, async () => {
  const t = new Tui('bash', ['--norc', '--noprofile', '-i'], {
    cols: 100,
    rows: 30,
    env: { NODE_ENV: 'production', PS1: 'shell> ' },
  });
  tui = t;
  await t.until('shell>');
  t.send(`${process.execPath} --import ${TSX} ${DRIVER}\r`);
  await t.until('q:quit', { timeoutMs: 60_000, quietMs: 0 });
  expect(t.alternate).toBe(true);
  t.send('m');
  await t.until('PMEM', { quietMs: 0 });
  t.send('\u001a');
  await t.until(screen => /Stopped/.test(screen) && !t.alternate);
  // The terminal echoes and breaks lines again, and reports no mouse.
  t.send('stty -a | grep -o " icanon\\| echo "\r');
  await t.until(/ icanon/);
  expect(t.raw.lastIndexOf('\u001b[?1000l')).toBeGreaterThan(t.raw.lastIndexOf('\u001b[?1000h'));
  t.send('fg\r');
  await t.until(screen => t.alternate && screen.includes('PMEM') && screen.includes('q:quit'), { quietMs: 0 });
  expect(t.raw.lastIndexOf('\u001b[?1000h')).toBeGreaterThan(t.raw.lastIndexOf('\u001b[?1000l'));
  t.send('c');
  await t.until('PCPU(%)', { quietMs: 0 });
  t.send('q');
  await t.until(screen => screen.includes('console ended') && !t.alternate);
  expect(t.raw.lastIndexOf('\u001b[?1000l')).toBeGreaterThan(t.raw.lastIndexOf('\u001b[?1000h'));
});
