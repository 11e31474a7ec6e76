/**
 * Runs the instruction image in QEMU and commits what it found: `npx tsx test/differential/record.ts`. Needs
 * qemu-system-i386. Not part of the tests, which read the recording.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { ORACLE_SEED, ORACLE_VARIANTS, oracleFixturePath } from './oracle-fixture.js';
import { buildOracleImage, RECORD_WORDS } from './oracle-image.js';

const folder = mkdtempSync(join(tmpdir(), 'vmitop-oracle-'));
try {
  const { bytes, cases } = buildOracleImage(ORACLE_SEED, ORACLE_VARIANTS);
  writeFileSync(join(folder, 'image'), bytes);
  try {
    execFileSync(
      'qemu-system-i386',
      [
        '-kernel',
        join(folder, 'image'),
        '-m',
        '64',
        '-display',
        'none',
        '-no-reboot',
        '-cpu',
        'pentium3',
        '-debugcon',
        `file:${join(folder, 'out')}`,
        '-device',
        'isa-debug-exit,iobase=0xf4',
      ],
      { timeout: 120_000, stdio: 'inherit' },
    );
  } catch (error) {
    // isa-debug-exit ends QEMU with status 1 for the value 0.
    if ((error as { status?: number }).status !== 1) throw error;
  }
  const out = readFileSync(join(folder, 'out'));
  const expected = cases.length * RECORD_WORDS * 4;
  if (out.length !== expected) throw new Error(`QEMU wrote ${out.length} bytes instead of ${expected}`);
  mkdirSync(dirname(oracleFixturePath), { recursive: true });
  writeFileSync(oracleFixturePath, gzipSync(out, { level: 9 }));
  console.log(`${cases.length} cases recorded`);
} finally {
  rmSync(folder, { recursive: true });
}
