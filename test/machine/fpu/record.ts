/**
 * Records what this computer's processor does with the cases of `recording.ts` into fixtures/fpu:
 *
 *     npx tsx test/machine/fpu/record.ts [family ...]
 *
 * It needs an x86-64 Linux and gcc. Recorded on an Intel Xeon, family 6, model 85.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { type Case, MEMORY_BYTES } from './cases.js';
import { changes, encode, FAMILIES } from './recording.js';

const CASE_BYTES = 16 + 24 + 512 + MEMORY_BYTES;
const RESULT_BYTES = 24 + 512 + MEMORY_BYTES;

function serialize(test: Case): Buffer {
  const bytes = Buffer.alloc(CASE_BYTES, 0x90);
  bytes.set(test.code, 0);
  test.regs.forEach((value, i) => {
    bytes.writeUInt32LE(value, 16 + i * 4);
  });
  bytes.writeUInt32LE(test.eflags, 32);
  bytes.writeUInt32LE(test.offset, 36);
  bytes.set(test.fx, 40);
  bytes.set(test.memory, 552);
  return bytes;
}

const folder = mkdtempSync(join(tmpdir(), 'fpu-'));
const here = new URL('.', import.meta.url).pathname;
const runner = join(folder, 'runner');
execFileSync('gcc', ['-O1', '-mno-red-zone', '-o', runner, join(here, 'runner.c')]);
const wanted = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(FAMILIES);
for (const family of wanted) {
  const cases = [...FAMILIES[family]!()];
  writeFileSync(join(folder, 'cases'), Buffer.concat(cases.map(serialize)));
  execFileSync(runner, [join(folder, 'cases'), join(folder, 'results')]);
  const results = readFileSync(join(folder, 'results'));
  if (results.length !== cases.length * RESULT_BYTES) throw new Error(`${family}: the runner stopped early`);
  const answers = cases.map((test, i) => {
    const at = i * RESULT_BYTES;
    const fx = at + 24;
    return changes(test, {
      signal: results.readUInt32LE(at),
      regs: [1, 2, 3, 4].map(k => results.readUInt32LE(at + k * 4)),
      eflags: results.readUInt32LE(at + 20),
      fx: results.subarray(fx, fx + 512),
      memory: results.subarray(fx + 512, fx + 512 + MEMORY_BYTES),
    });
  });
  const packed = gzipSync(encode(answers), { level: 9 });
  writeFileSync(join(here, '../../../fixtures/fpu', `${family}.bin.gz`), packed);
  console.log(`${family}: ${cases.length} cases, ${packed.length} bytes`);
}
rmSync(folder, { recursive: true });
