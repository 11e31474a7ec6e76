/**
 * Debian's own kernel as a guest, in every mode that needs no co-operation: from power-on through the self-test of `guest/` to off. Run by
 * `npm run test:linux`, since it fetches packages.
 */
import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { CpuModel } from '../../src/hypervisor/index.js';
import type { BootResult } from './boot-child.js';
import { selftestInitrd } from './guest.js';
import { timelessLines } from './normalize.js';
import { FLAVOURS, type Flavour, kernelPath } from './packages.js';

const MODES = ['native', 'bt', 'hv'] as const;

/** Any kernel goes with any processor; so two of them are seen. */
const PROCESSORS: Readonly<Record<Flavour, CpuModel>> = { '686': 'xeon-5160', '686-pae': 'pentium4' };

const PARTS = [
  ...['processes', 'pipes', 'copy on write', 'faults', 'timers', 'floating point', 'vectors', 'threads'],
  ...['fast system calls', 'code that changes', 'copies', 'date'],
];
/** The boot that is recorded and replayed: the one with most to get wrong. */
const REPLAYED = '686 bt';
const OUTPUT_BYTES_MAX = 64 << 20;

let scratch: string;
let initrd: string;

beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), 'vmitop-linux-'));
  initrd = join(scratch, 'initrd.gz');
  writeFileSync(initrd, selftestInitrd());
  for (const flavour of FLAVOURS) kernelPath(flavour);
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

async function boot(mode: string, flavour: Flavour): Promise<BootResult> {
  const child = fileURLToPath(new URL('boot-child.ts', import.meta.url));
  const replay = `${flavour} ${mode}` === REPLAYED ? ['replay'] : [];
  const parameters = ['--import', 'tsx', child, mode, PROCESSORS[flavour], kernelPath(flavour), initrd, ...replay];
  const { stdout } = await promisify(execFile)(process.execPath, parameters, { maxBuffer: OUTPUT_BYTES_MAX });
  return JSON.parse(stdout) as BootResult;
}

// One process for each kernel: two processors are used.
test.concurrent.each(FLAVOURS)('-%s boots, passes the self-test and switches off, everywhere alike', async flavour => {
  const texts = new Map<string, string[]>();
  for (const mode of MODES) {
    const result = await boot(mode, flavour);
    const lines = result.text.replaceAll('\r', '').split('\n');
    const tail = `${mode}:\n${lines.slice(-40).join('\n')}`;
    for (const part of PARTS) expect(lines, tail).toContain(`ok ${part}`);
    expect(lines.filter(line => line !== '').at(-1), tail).toBe('PASS');
    expect([result.power, result.findings, result.log], tail).toEqual(['off', [], []]);
    expect(result.causes, mode).toBe(result.charged);
    if (`${flavour} ${mode}` === REPLAYED) expect(result.replays, 'the recording').toBe(true);
    texts.set(mode, timelessLines(result.text));
  }
  const native = texts.get('native')!;
  expect(native.length).toBeGreaterThan(150);
  for (const mode of MODES) expect(texts.get(mode), mode).toEqual(native);
});
