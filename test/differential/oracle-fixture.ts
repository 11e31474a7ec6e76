import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';

/** What the committed recording was made from. Change it only together with a new recording. */
export const ORACLE_SEED = 20080222;
export const ORACLE_VARIANTS = 2;

export const oracleFixturePath = (name: string): string =>
  fileURLToPath(new URL(`../../fixtures/oracle/${name}.bin.gz`, import.meta.url));

/** The table of results that QEMU left, as little-endian words. */
export function readOracleFixture(name: 'instructions' | 'system' | 'protection' | 'narrow'): Uint32Array {
  const bytes = readCompressed(name);
  return new Uint32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** The harness in front of the 16-bit cases. */
export const readNarrowHarness = (): Uint8Array => readCompressed('narrow-harness');

const readCompressed = (name: string): Buffer => gunzipSync(readFileSync(oracleFixturePath(name)));

/** What a real processor did with the cases of `forms-cases.ts`. */
export const readFormAnswers = (): Uint8Array => readCompressed('forms');
