/**
 * Runs the images in QEMU and commits what it found: `npx tsx test/differential/record.ts [NAME ...]`. Needs qemu-system-i386. Not part
 * of the tests, which read the recordings.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { buildNarrowImage, NARROW_WORDS } from './narrow-image.js';
import { ORACLE_SEED, ORACLE_VARIANTS, oracleFixturePath } from './oracle-fixture.js';
import { buildOracleImage, RECORD_WORDS } from './oracle-image.js';
import { buildProtectionImage, PAGING_CASES, PROTECTION_WORDS } from './protection-image.js';
import { systemTemplates } from './system-templates.js';

function record(name: string, image: Uint8Array, cases: number, wordsPerCase: number): void {
  const folder = mkdtempSync(join(tmpdir(), 'vmitop-oracle-'));
  try {
    writeFileSync(join(folder, 'image'), image);
    const machine = ['-m', '64', '-cpu', 'pentium3', '-display', 'none', '-no-reboot'];
    const output = ['-debugcon', `file:${join(folder, 'out')}`, '-device', 'isa-debug-exit,iobase=0xf4'];
    try {
      execFileSync('qemu-system-i386', ['-kernel', join(folder, 'image'), ...machine, ...output], { timeout: 120_000 });
    } catch (error) {
      // isa-debug-exit ends QEMU with status 1 for the value 0.
      if ((error as { status?: number }).status !== 1) throw error;
    }
    const out = readFileSync(join(folder, 'out'));
    const expected = cases * wordsPerCase * 4;
    if (out.length !== expected) throw new Error(`QEMU wrote ${out.length} bytes instead of ${expected}`);
    const path = oracleFixturePath(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, gzipSync(out, { level: 9 }));
    console.log(`${name}: ${cases} cases recorded`);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** The harness of the 16-bit cases is committed too: the tests have no assembler. */
function assembleHarness(): Uint8Array {
  const folder = mkdtempSync(join(tmpdir(), 'vmitop-harness-'));
  try {
    const [object, binary] = [join(folder, 'harness.o'), join(folder, 'harness.bin')];
    const source = fileURLToPath(new URL('narrow-harness.S', import.meta.url));
    execFileSync('gcc', ['-m32', '-c', source, '-o', object]);
    const link = ['-m', 'elf_i386', '-Ttext', '0x100000', '--oformat', 'binary', '-e', '_start'];
    execFileSync('ld', [...link, object, '-o', binary]);
    const bytes = readFileSync(binary);
    writeFileSync(oracleFixturePath('narrow-harness'), gzipSync(bytes, { level: 9 }));
    return bytes;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Of the recordings named on the command line, or of all. */
const wanted = (name: string) => process.argv.length < 3 || process.argv.includes(name);
if (wanted('narrow')) {
  const narrow = buildNarrowImage(assembleHarness());
  record('narrow', narrow.bytes, narrow.cases.length, NARROW_WORDS);
}
if (wanted('instructions')) {
  const instructions = buildOracleImage(ORACLE_SEED, ORACLE_VARIANTS);
  record('instructions', instructions.bytes, instructions.cases.length, RECORD_WORDS);
}
if (wanted('system')) {
  const system = buildOracleImage(ORACLE_SEED, 1, systemTemplates);
  record('system', system.bytes, system.cases.length, RECORD_WORDS);
}
if (wanted('protection')) {
  const protection = buildProtectionImage();
  record('protection', protection.bytes, PAGING_CASES + protection.ring3Cases.length, PROTECTION_WORDS);
}
