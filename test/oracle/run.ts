/**
 * `npm run oracle`: boots the image in QEMU and compares the normalized console with the recordings in fixtures/console and,
 * where the command is built, with `vmitop boot` in every mode. `npm run oracle -- --record` writes the recordings anew.
 * Exits 0 when all agree, 1 when something differs, 2 without QEMU.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { normalizeConsole } from './normalize.js';
import { qemuAvailable, RECORDINGS, type Recording, runQemu } from './qemu.js';
import { ROM_VARIANTS, type RomVariant, romToolsAvailable, withRom } from './vmi-rom.js';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const VMITOP = `${ROOT}bin/vmitop.js`;
const MODES = ['native', 'bt', 'hv', 'vmi'] as const;
const fixtureOf = (recording: Recording): string => `${ROOT}fixtures/console/qemu-${recording.name}.txt`;

function firstDifference(expected: string, actual: string): string {
  const [a, b] = [expected.split('\n'), actual.split('\n')];
  const at = a.findIndex((line, i) => line !== b[i]);
  const line = at < 0 ? a.length : at;
  return `line ${line + 1}: expected ${JSON.stringify(a[line] ?? '(end)')}, got ${JSON.stringify(b[line] ?? '(end)')}`;
}

function compare(what: string, expected: string, actual: string): boolean {
  const same = expected === actual;
  console.log(`${same ? 'same   ' : 'DIFFERS'} ${what}${same ? '' : `: ${firstDifference(expected, actual)}`}`);
  return same;
}

/** Our own run; typed recordings need a typist, which `vmitop boot` with a pipe is not. */
function runOurs(recording: Recording, mode: string): string {
  const args = [
    VMITOP,
    'boot',
    'guest',
    '--mode',
    mode,
    '--memory',
    '64',
    '--append',
    recording.append,
    '--limit',
    '120',
  ];
  const { stdout, stderr, status } = spawnSync(process.execPath, args, {
    encoding: 'latin1',
    input: '',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) console.error(`vmitop boot --mode ${mode} ended with ${status}: ${stderr.trim()}`);
  return stdout;
}

/** QEMU with a VMI ROM: the guest has to say what it found and otherwise the same as without. */
async function runRom(variant: RomVariant): Promise<boolean> {
  const recording = RECORDINGS[0]!;
  const text = await withRom(variant, path => runQemu(recording, ['-option-rom', path]));
  const missing = variant.says.filter(line => !text.includes(`] ${line}`));
  if (missing.length > 0) console.log(`DIFFERS ${variant.name}: does not say ${JSON.stringify(missing[0])}`);
  const same = compare(`QEMU, ${variant.name}`, readFileSync(fixtureOf(recording), 'utf8'), normalizeConsole(text));
  return same && missing.length === 0;
}

async function main(record: boolean): Promise<number> {
  if (!qemuAvailable()) {
    console.error('npm run oracle needs qemu-system-i386: apt-get install qemu-system-x86');
    return 2;
  }
  mkdirSync(`${ROOT}fixtures/console`, { recursive: true });
  let failed = 0;
  for (const recording of RECORDINGS) {
    const qemu = normalizeConsole(await runQemu(recording));
    if (record) {
      writeFileSync(fixtureOf(recording), qemu);
      console.log(`recorded ${recording.name}: ${qemu.split('\n').length} lines`);
      continue;
    }
    if (!compare(`QEMU ${recording.name}`, readFileSync(fixtureOf(recording), 'utf8'), qemu)) failed++;
    if (recording.typed || !existsSync(VMITOP)) continue;
    for (const mode of MODES) {
      if (!compare(`${mode} ${recording.name}`, qemu, normalizeConsole(runOurs(recording, mode)))) failed++;
    }
  }
  if (!record && romToolsAvailable()) {
    for (const variant of ROM_VARIANTS) if (!(await runRom(variant))) failed++;
  }
  return failed ? 1 : 0;
}

process.exitCode = await main(process.argv.includes('--record'));
