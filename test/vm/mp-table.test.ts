/** The MultiProcessor tables, read as a kernel reads them: by the specification, from the floating pointer on. */
import { expect, test } from 'vitest';
import { mpTable, type ProcessorTable } from '../../src/hypervisor/vm/mp-table.js';

const PROCESSORS: ProcessorTable = {
  apicId: 0,
  ioApicId: 8,
  signature: 0x6f6,
  features: 0x0783fbff,
  cards: [
    { device: 2, irq: 11 },
    { device: 3, irq: 10 },
  ],
};
/** Bytes of an entry by its type (table 4-3 of the specification). */
const ENTRY_BYTES = [20, 8, 8, 8, 8];

const memory = new Uint8Array(0x100000);
for (const [at, bytes] of mpTable(PROCESSORS)) memory.set(bytes, at);
const view = new DataView(memory.buffer);
const text = (at: number, length: number): string => String.fromCharCode(...memory.subarray(at, at + length));
const sum = (at: number, length: number): number =>
  memory.subarray(at, at + length).reduce((total, byte) => total + byte, 0) & 0xff;

/** Where kernels look: the first kilobyte of the extended BIOS data area, every 16 bytes. */
const pointer = Array.from({ length: 64 }, (_, i) => 0x9fc00 + i * 16).find(at => text(at, 4) === '_MP_')!;
const table = view.getUint32(pointer + 4, true);

function entries(): number[][] {
  const found: number[][] = [];
  const end = table + view.getUint16(table + 4, true);
  for (let at = table + 44; at < end; at += ENTRY_BYTES[memory[at]!]!) {
    found.push([...memory.subarray(at, at + ENTRY_BYTES[memory[at]!]!)]);
  }
  return found;
}

test('pointer and table are where they say, with checksums that are right', () => {
  expect(pointer).toBeDefined();
  expect([memory[pointer + 8], memory[pointer + 9], sum(pointer, 16)]).toEqual([1, 4, 0]);
  expect([text(table, 4), memory[table + 6]]).toEqual(['PCMP', 4]);
  expect(sum(table, view.getUint16(table + 4, true))).toBe(0);
  expect(view.getUint32(table + 36, true)).toBe(0xfee00000);
  // The whole of it stays within the kilobyte that the memory map reserves.
  expect(table + view.getUint16(table + 4, true)).toBeLessThanOrEqual(0xa0000);
});

test('entries are as many as are counted, in the order of their types', () => {
  const types = entries().map(([type]) => type!);
  expect(types.length).toBe(view.getUint16(table + 34, true));
  expect(types).toEqual([...types].sort((a, b) => a - b));
});

test('one usable processor that has booted, and one usable I/O APIC', () => {
  const [processor, ...others] = entries().filter(([type]) => type === 0);
  expect([others, processor!.slice(1, 4)]).toEqual([[], [0, 0x14, 3]]);
  const [ioApic] = entries().filter(([type]) => type === 2);
  expect(ioApic).toEqual([2, 8, 0x11, 1, 0, 0, 0xc0, 0xfe]);
});

test('each line has one source: of ISA, but for those that cards are on', () => {
  const buses = new Map(
    entries().flatMap(entry => (entry[0] === 1 ? [[entry[1]!, String.fromCharCode(...entry.slice(2)).trim()]] : [])),
  );
  const interrupts = entries().filter(([type]) => type === 3);
  const pins = interrupts.map(entry => entry[7]!);
  expect(new Set(pins).size).toBe(pins.length);
  const sources = interrupts.map(entry => [buses.get(entry[4]!), entry[5], entry[7]]);
  expect(sources).toContainEqual(['ISA', 0, 2]);
  expect(sources).toContainEqual(['ISA', 4, 4]);
  expect(sources).toContainEqual(['PCI', 2 << 2, 11]);
  expect(sources).toContainEqual(['PCI', 3 << 2, 10]);
  expect(sources).not.toContainEqual(['ISA', 11, 11]);
  // Vectored, polarity and trigger as the bus has them.
  for (const entry of interrupts) expect(entry.slice(1, 4)).toEqual([0, 0, 0]);
});
