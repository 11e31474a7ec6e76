/** The guest on our bare machine says what it said in QEMU. */
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { normalizeConsole } from '../oracle/normalize.js';
import { RECORDINGS, Typist } from '../oracle/qemu.js';
import { consoleOf, guestHost } from '../scenarios/run-guest.js';

const LIMIT_SECONDS = 20;

function consoleNatively(append: string, typist: Typist): string {
  const host = guestHost({ mode: 'native', append });
  let text = '';
  while (host.anyPoweredOn && host.nowCycles < LIMIT_SECONDS * host.cyclesPerSecond) {
    host.advance(host.nowCycles + 10 * host.quantumCycles);
    text += consoleOf(host.drainEvents());
    host.drainSamples();
    const typed = typist.next(text);
    if (typed !== undefined) host.execute({ kind: 'type', vm: 'vm', text: typed });
  }
  return text;
}

describe('the console equals the recording from QEMU', () => {
  test.each(RECORDINGS)('$name', ({ name, append, typed }) => {
    const expected = readFileSync(new URL(`../../fixtures/console/qemu-${name}.txt`, import.meta.url), 'utf8');
    expect(normalizeConsole(consoleNatively(append, new Typist(typed)))).toBe(expected);
  });
});
