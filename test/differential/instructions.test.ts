/** Thousands of single instructions, and all of protection, by our processor and by QEMU: same registers, flags, memory, faults. */
import { expect, test } from 'vitest';
import { XEON_5160 } from '../../src/hypervisor/machine/costs/xeon-5160.js';
import { CodeCache } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { Context } from '../../src/hypervisor/machine/cpu/context.js';
import { Attr, Cr0, S, Seg } from '../../src/hypervisor/machine/cpu/state.js';
import { MachineMemory, RESERVED_BYTES } from '../../src/hypervisor/machine/memory.js';
import { buildNarrowImage, NARROW_FIELDS, NARROW_WORDS } from './narrow-image.js';
import { ORACLE_SEED, ORACLE_VARIANTS, readNarrowHarness, readOracleFixture } from './oracle-fixture.js';
import { buildOracleImage, LOAD_ADDRESS, RECORD_FIELDS, RECORD_WORDS, RESULTS } from './oracle-image.js';
import {
  buildProtectionImage,
  PAGING_CASES,
  PAGING_FIELDS,
  PROTECTION_WORDS,
  RING3_FIELDS,
} from './protection-image.js';
import { systemTemplates } from './system-templates.js';

const RAM_BYTES = 32 * 1024 * 1024;

/** Boots the image as a multiboot loader would and returns its table of results. */
function runImage(image: Uint8Array, words: number): Uint32Array {
  const memory = new MachineMemory(RESERVED_BYTES + RAM_BYTES);
  const unimplemented: string[] = [];
  const context = new Context(
    {
      memory,
      costs: XEON_5160,
      ports: { read: () => 0xffffffff, write: () => {} },
      mmio: { read: () => 0xffffffff, write: () => {} },
      interrupts: { acknowledge: () => 0 },
      physicalBase: RESERVED_BYTES,
      physicalBytes: RAM_BYTES,
      isDeviceMemory: () => false,
      ring0Escapes: false,
      onUnimplemented: report => unimplemented.push(report.text),
      cpuid: () => [0, 0, 0, 0],
      readMsr: () => undefined,
      writeMsr: () => false,
    },
    new CodeCache(memory),
  );
  memory.writeBytes(RESERVED_BYTES + LOAD_ADDRESS, image);
  const data = Attr.P | Attr.S | Attr.WRITE_READ | Attr.ACCESSED | Attr.DB | Attr.G;
  for (const seg of [Seg.DS, Seg.ES, Seg.SS, Seg.FS, Seg.GS]) context.setSegment(seg, 0x10, 0, 0xffffffff, data);
  context.setSegment(Seg.CS, 0x08, 0, 0xffffffff, data | Attr.CODE);
  context.setCr0(Cr0.PE | Cr0.ET);
  context.writeEflags(2);
  context.s[S.EIP] = LOAD_ADDRESS + 32;
  const exit = context.run(2e9);
  expect(exit).toEqual({ kind: 'halt' });
  expect(unimplemented).toEqual([]);
  const bytes = memory.bytes(RESERVED_BYTES + RESULTS, words * 4);
  return new Uint32Array(bytes.slice().buffer);
}

const hex = (value: number) => `0x${value.toString(16)}`;

test.each([
  ['instructions', buildOracleImage(ORACLE_SEED, ORACLE_VARIANTS)],
  ['system', buildOracleImage(ORACLE_SEED, 1, systemTemplates)],
] as const)('every recorded instruction does what it does in QEMU: %s', (name, { bytes, cases }) => {
  const theirs = readOracleFixture(name);
  expect(theirs.length).toBe(cases.length * RECORD_WORDS);
  const ours = runImage(bytes, theirs.length);
  const differences: string[] = [];
  cases.forEach((oracleCase, index) => {
    RECORD_FIELDS.forEach((field, word) => {
      let a = ours[index * RECORD_WORDS + word]!;
      let b = theirs[index * RECORD_WORDS + word]!;
      if (field === 'eflags') {
        a = (a & oracleCase.flagsMask) >>> 0;
        b = (b & oracleCase.flagsMask) >>> 0;
      }
      if (field === 'eax') {
        a = (a & oracleCase.eaxMask) >>> 0;
        b = (b & oracleCase.eaxMask) >>> 0;
      }
      if (a !== b) differences.push(`case ${index} "${oracleCase.text}": ${field} ours ${hex(a)} QEMU ${hex(b)}`);
    });
  });
  expect(differences.slice(0, 40).join('\n')).toBe('');
});

test('every combination of page permissions and every ring-3 instruction does what it does in QEMU', () => {
  const { bytes, ring3Cases } = buildProtectionImage();
  const theirs = readOracleFixture('protection');
  expect(theirs.length).toBe((PAGING_CASES + ring3Cases.length) * PROTECTION_WORDS);
  const ours = runImage(bytes, theirs.length);
  const differences: string[] = [];
  for (let word = 0; word < theirs.length; word++) {
    const index = Math.floor(word / PROTECTION_WORDS);
    const paging = index < PAGING_CASES;
    const field = (paging ? PAGING_FIELDS : RING3_FIELDS)[word % PROTECTION_WORDS];
    const name = paging ? `paging ${index.toString(2).padStart(10, '0')}` : ring3Cases[index - PAGING_CASES];
    if (ours[word] !== theirs[word]) {
      differences.push(`${name}: ${field} ours ${hex(ours[word]!)} QEMU ${hex(theirs[word]!)}`);
    }
  }
  expect(differences.slice(0, 40).join('\n')).toBe('');
});

test('16-bit code in real and protected mode does what it does in QEMU', () => {
  const { bytes, cases } = buildNarrowImage(readNarrowHarness());
  const theirs = readOracleFixture('narrow');
  expect(theirs.length).toBe(cases.length * NARROW_WORDS);
  const ours = runImage(bytes, theirs.length);
  const differences: string[] = [];
  cases.forEach((narrowCase, index) => {
    NARROW_FIELDS.forEach((field, word) => {
      const mask = field === 'eflags' ? narrowCase.flagsMask : -1;
      const a = (ours[index * NARROW_WORDS + word]! & mask) >>> 0;
      const b = (theirs[index * NARROW_WORDS + word]! & mask) >>> 0;
      if (a !== b) differences.push(`case ${index} ${narrowCase.text}: ${field} ours ${hex(a)} QEMU ${hex(b)}`);
    });
  });
  expect(differences.slice(0, 40).join('\n')).toBe('');
});
