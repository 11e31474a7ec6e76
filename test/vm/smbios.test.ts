/** The System Management BIOS tables, read as a kernel reads them. */
import { expect, test } from 'vitest';
import { smbios } from '../../src/hypervisor/vm/smbios.js';

const memory = new Uint8Array(0x100000);
for (const [at, bytes] of smbios()) memory.set(bytes, at);
const view = new DataView(memory.buffer);
const text = (at: number, length: number): string => String.fromCharCode(...memory.subarray(at, at + length));
const sum = (at: number, length: number): number =>
  memory.subarray(at, at + length).reduce((total, byte) => total + byte, 0) & 0xff;
const entry = Array.from({ length: 0x1000 }, (_, i) => 0xf0000 + i * 16).find(at => text(at, 4) === '_SM_')!;

test('the entry point is 31 bytes of version 2.4 with both checksums right', () => {
  expect([memory[entry + 5], memory[entry + 6], memory[entry + 7]]).toEqual([0x1f, 2, 4]);
  expect([text(entry + 0x10, 5), sum(entry, 0x1f), sum(entry + 0x10, 0xf)]).toEqual(['_DMI_', 0, 0]);
});

test('the table has as many structures as are counted, none longer than is said, and ends where it says', () => {
  const end = view.getUint32(entry + 0x18, true) + view.getUint16(entry + 0x16, true);
  const found: { type: number; strings: string[] }[] = [];
  let at = view.getUint32(entry + 0x18, true);
  while (at < end) {
    const start = at;
    const type = memory[at]!;
    at += memory[at + 1]!;
    const strings: string[] = [];
    while (memory[at] !== 0) {
      const stop = memory.indexOf(0, at);
      strings.push(text(at, stop - at));
      at = stop + 1;
    }
    at += strings.length === 0 ? 2 : 1;
    expect(at - start).toBeLessThanOrEqual(view.getUint16(entry + 8, true));
    found.push({ type, strings });
  }
  expect(at).toBe(end);
  expect(found.length).toBe(view.getUint16(entry + 0x1c, true));
  expect(found.map(({ type }) => type)).toEqual([0, 1, 127]);
  expect(found[0]!.strings).toEqual(['vmitop', '1.0', '04/01/2008']);
  expect(found[1]!.strings.slice(0, 2)).toEqual(['vmitop', 'Virtual PC']);
});

test('the formatted parts are as long as version 2.4 has them', () => {
  const table = view.getUint32(entry + 0x18, true);
  expect([memory[table], memory[table + 1]]).toEqual([0, 0x18]);
});
