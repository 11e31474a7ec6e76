/**
 * Records what this computer's processor does with the cases of `forms-cases.ts`: `npx tsx test/differential/record-forms.ts`. Needs an
 * x86-64 Linux that runs 32-bit programs, gcc, and the right to map low memory (root). Recorded on an Intel Xeon, family 6, model 85.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { type FormCase, formCases } from './forms-cases.js';
import { changesOf, encodeAnswers, floatingForms, OUTCOME_WORDS } from './forms-recording.js';
import { oracleFixturePath } from './oracle-fixture.js';

function serialize({ code, registers, eflags, memory }: FormCase): Buffer {
  const words = Buffer.alloc(36);
  [...registers, eflags].forEach((value, i) => {
    words.writeUInt32LE(value >>> 0, i * 4);
  });
  return Buffer.concat([code, words, memory]);
}

const folder = mkdtempSync(join(tmpdir(), 'forms-'));
try {
  const runner = join(folder, 'runner');
  const source = fileURLToPath(new URL('forms-runner.c', import.meta.url));
  const bare = ['-m32', '-nostdlib', '-static', '-O1', '-fno-stack-protector'];
  execFileSync('gcc', [...bare, '-o', runner, source]);
  const cases = [...formCases(floatingForms())];
  const input = Buffer.concat(cases.map(serialize));
  writeFileSync(join(folder, 'cases'), input);
  const results = execFileSync(runner, { input, maxBuffer: 1 << 30 });
  if (results.length !== cases.length * OUTCOME_WORDS * 4) {
    const done = results.length / (OUTCOME_WORDS * 4);
    throw new Error(`the runner stopped behind ${done} cases, at ${cases[done]?.text} (${cases[done]?.form})`);
  }
  const answers = cases.map((test, i) => {
    const outcome = new Int32Array(OUTCOME_WORDS);
    outcome.forEach((_, word) => {
      outcome[word] = results.readInt32LE((i * OUTCOME_WORDS + word) * 4);
    });
    return changesOf(test, outcome);
  });
  const packed = gzipSync(encodeAnswers(answers), { level: 9 });
  writeFileSync(oracleFixturePath('forms'), packed);
  console.log(`${cases.length} cases, ${packed.length} bytes`);
} finally {
  rmSync(folder, { recursive: true });
}
