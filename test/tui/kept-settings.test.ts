/** The real console on a folder of .vmx files: a toggle of a VM that is off is in its file. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { Tui } from './pty-screen.js';

const VMITOP = fileURLToPath(new URL('../../bin/vmitop.js', import.meta.url));
const TEXT = '# mine\nmemsize = "16"\nvmitop.powerOn = "FALSE"\nvmi.present = "FALSE" # for now\ncolour = "red"\n';

test('v and p write exactly one line each', { timeout: 120_000 }, async () => {
  const lab = mkdtempSync(join(tmpdir(), 'vmitop-kept-'));
  const path = join(lab, 'web.vmx');
  writeFileSync(path, TEXT);
  const t = new Tui(process.execPath, [VMITOP, '--inventory', lab], { cols: 100 });
  try {
    await t.until(/ web .*\(BT\) +off/, { timeoutMs: 60_000 });
    t.send('v');
    await t.until('web: VMI: on');
    const withVmi = TEXT.replace('"FALSE" #', '"TRUE" #');
    expect(readFileSync(path, 'utf8')).toBe(withVmi);
    t.send('p2');
    await t.until('web: hardware assist, once VMI is off');
    expect(readFileSync(path, 'utf8')).toBe(`${withVmi}monitor.virtual_exec = "hardware"\n`);
    t.send('q');
    expect((await t.exited).exitCode).toBe(0);
  } finally {
    t.close();
    rmSync(lab, { recursive: true, force: true });
  }
});
