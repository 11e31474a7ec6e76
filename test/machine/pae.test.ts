/**
 * PAE paging: walks of random tables against a model of the manual that reads entries as numbers of 64 bits (SDM vol. 3, 4.4, 4.6 to
 * 4.8), and when the page-directory-pointer registers are loaded and checked (4.4.1).
 */
import { describe, expect, test } from 'vitest';
import { Cr0, Cr4, S, Vector } from '../../src/hypervisor/machine/cpu/state.js';
import { NOWHERE } from '../../src/hypervisor/machine/mmu/walk.js';
import { randomFrom } from './compile/random-tables.js';
import { DATA, HANDLERS, Machine, RAM_BYTES } from './fixture.js';

const POINTERS = 0x60020;
const DIRECTORIES = 0x61000;
const TABLES = 0x65000;
/** Of each directory, entries at its beginning and at its end are in use: so many of each. */
const USED = 3;

const read64 = (machine: Machine, physical: number): bigint =>
  physical + 8 > RAM_BYTES ? 0n : (BigInt(machine.read32(physical + 4)) << 32n) | BigInt(machine.read32(physical));
const write64 = (machine: Machine, physical: number, value: bigint): void => {
  machine.write32(physical, Number(value & 0xffffffffn));
  machine.write32(physical + 4, Number(value >> 32n));
};

const FRAME = 0xffffff000n;
const RESERVED = ((1n << 28n) - 1n) << 36n;
const LARGE_RESERVED = 0x1fe000n;
const has = (entry: bigint, bits: number): boolean => (entry & BigInt(bits)) === BigInt(bits);

interface Outcome {
  /** Error code of a page fault. */
  readonly error?: number;
  /** Physical address. */
  readonly physical?: bigint;
  readonly marks: ReadonlyMap<number, bigint>;
}

/** One access as the manual has it. */
function model(
  machine: Machine,
  pointers: readonly bigint[],
  linear: number,
  { write, user, wp }: { write: boolean; user: boolean; wp: boolean },
): Outcome {
  const marks = new Map<number, bigint>();
  const code = (write ? 2 : 0) + (user ? 4 : 0);
  const pointer = pointers[linear >>> 30]!;
  if (!has(pointer, 1)) return { error: code, marks };
  const pdeAt = Number(pointer & FRAME) + ((linear >>> 21) & 511) * 8;
  const pde = read64(machine, pdeAt);
  if (!has(pde, 1)) return { error: code, marks };
  const large = has(pde, 0x80);
  if ((pde & (large ? RESERVED | LARGE_RESERVED : RESERVED)) !== 0n) return { error: code + 9, marks };
  const leafAt = large ? pdeAt : Number(pde & FRAME) + ((linear >>> 12) & 511) * 8;
  if (!large) marks.set(pdeAt, pde | 0x20n);
  const leaf = large ? pde : read64(machine, leafAt);
  if (!has(leaf, 1)) return { error: code, marks };
  if ((leaf & RESERVED) !== 0n) return { error: code + 9, marks };
  const both = pde & leaf;
  const readOnly = write && !has(both, 2) && (user || wp);
  if ((user && !has(both, 4)) || readOnly) return { error: code + 1, marks };
  marks.set(leafAt, leaf | (write ? 0x60n : 0x20n));
  const physical = large ? (leaf & 0xfffe00000n) + BigInt(linear & 0x1fffff) : (leaf & FRAME) + BigInt(linear & 0xfff);
  return { physical, marks };
}

/** Tables of everything that there can be: absent, large, reserved, dirty or not, tables and pages beyond RAM and above 4 GiB. */
function machineFor(seed: number): { machine: Machine; pointers: bigint[] } {
  const random = randomFrom(seed);
  const machine = new Machine();
  const flags = () => (random(8) === 0 ? 0 : 1) | (random(4) * 2) | (random(4) * 0x20) | (random(4) === 0 ? 0x100 : 0);
  const strange = (): bigint =>
    [0xf0000000n, 1n << 32n, 1n << 35n, 1n << 36n, 1n << 52n, 1n << 63n][random(6)]! | BigInt(flags());
  const pointers = [0, 1, 2, 3].map(i => BigInt((DIRECTORIES + i * 4096) | (i === 2 ? 0 : 1)));
  if (seed % 3 === 0) pointers[1]! |= 1n << 33n;
  for (const [i, pointer] of pointers.entries()) write64(machine, POINTERS + i * 8, pointer);
  for (let directory = 0; directory < 4; directory++) {
    for (let i = 0; i < 2 * USED; i++) {
      const number = directory * 2 * USED + i;
      const index = i < USED ? i : 512 - 2 * USED + i;
      const kind = random(4);
      const entry =
        kind === 0
          ? strange()
          : kind === 1
            ? BigInt((random(4) << 21) | 0x80 | (random(2) === 0 ? 0x2000 << random(8) : 0) | flags())
            : BigInt((TABLES + number * 4096) | flags());
      write64(machine, DIRECTORIES + directory * 4096 + index * 8, entry);
      for (let page = 0; page < 512; page++) {
        const pte = random(16) === 0 ? strange() : BigInt(((0x200 + random(0x500)) << 12) | flags());
        write64(machine, TABLES + number * 4096 + page * 8, pte);
      }
    }
  }
  const { cpu } = machine;
  cpu.setCr0(cpu.s[S.CR0]! | Cr0.PG | (seed & 1 ? Cr0.WP : 0));
  expect(cpu.loadCr3(POINTERS)).toBe(true);
  expect(cpu.setCr4(Cr4.PAE | (seed & 2 ? Cr4.PGE : 0))).toBe(true);
  return { machine, pointers };
}

describe.each([0, 1, 2, 3, 4, 5])('random tables, number %i', seed => {
  test('each access faults, reaches and marks what the manual says', () => {
    const { machine, pointers } = machineFor(seed);
    const { cpu, base } = machine;
    const random = randomFrom(seed + 50);
    const seen = { faults: 0, reserved: 0, mapped: 0, nowhere: 0 };
    for (let i = 0; i < 6000; i++) {
      const place = random(2 * USED);
      const index = place < USED ? place : 512 - 2 * USED + place;
      const linear = ((random(4) << 30) | (index << 21) | random(1 << 21)) >>> 0;
      const access = { write: random(2) === 0, user: random(2) === 0, wp: (seed & 1) !== 0 };
      cpu.flushTlb();
      const expected = model(machine, pointers, linear, access);
      const machineAddress = cpu.translate(linear | 0, access.write, access.user);
      if (expected.error !== undefined) {
        expect([machineAddress, cpu.faultVector, cpu.faultCode]).toEqual([-1, Vector.PF, expected.error]);
        cpu.faultVector = -1;
        seen.faults += 1;
        if (expected.error >= 8) seen.reserved += 1;
      } else if (expected.physical! < BigInt(RAM_BYTES)) {
        const isDevice = expected.physical! >= 0xa0000n && expected.physical! < 0xc0000n;
        expect(machineAddress).toBe(isDevice ? -2 : base + Number(expected.physical));
        seen.mapped += 1;
      } else {
        expect(machineAddress).toBe(-2);
        const above = expected.physical! >> 32n !== 0n;
        machine.mmioLog.length = 0;
        cpu.readLinear(linear & -4, 4, access.user);
        const wanted = above ? NOWHERE : Number(expected.physical! & FRAME);
        expect(machine.mmioLog.map(({ physical }) => (physical & (above ? 0xffe00000 : -4096)) >>> 0)).toEqual([
          wanted,
        ]);
        seen.nowhere += 1;
      }
      for (const [at, entry] of expected.marks) expect(read64(machine, at)).toBe(entry);
    }
    // Else the comparison says little.
    for (const count of Object.values(seen)) expect(count).toBeGreaterThan(4);
  });
});

describe('page-directory-pointer registers', () => {
  /** 0 to 8 MiB identity by 2 MiB pages; entry 1 of the pointers leads to the same directory. */
  const prepared = (): Machine => {
    const machine = new Machine();
    for (let i = 0; i < 4; i++) write64(machine, DIRECTORIES + i * 8, BigInt((i << 21) | 0xe7));
    write64(machine, POINTERS, BigInt(DIRECTORIES | 1));
    machine.cpu.s[S.CR3] = POINTERS;
    return machine;
  };
  const ON = `mov eax, 0x20\nmov cr4, eax\nmov eax, cr0\nor eax, 0x80000000\nmov cr0, eax\n`;
  const raised = (machine: Machine): number => (machine.reg(S.EIP) - 1 - HANDLERS) / 16;

  test('are loaded when paging begins and with CR3, not with a store to their table', () => {
    const machine = prepared();
    machine.write32(DATA, 0x1234);
    const second = 0x40000000 + DATA;
    machine.execute(`${ON}
      mov dword [${POINTERS + 8}], ${DIRECTORIES | 1}
      mov ecx, cr3
      mov edi, loaded
      mov ebx, [${second}]
      hlt
      loaded: mov cr3, ecx
      mov ebx, [${second}]
      hlt`);
    // The handler is that of test programs, which stops: no register leads to the second gigabyte yet.
    expect(machine.reg(S.CR2)).toBe(second);
    machine.cpu.s[S.EIP] = machine.reg(S.EDI);
    machine.run();
    expect(machine.reg(S.EBX)).toBe(0x1234);
  });

  test.each([
    ['bit 1', 0x2n],
    ['bit 2', 0x4n],
    ['bit 5', 0x20n],
    ['bit 8', 0x100n],
    ['bit 36', 1n << 36n],
    ['bit 63', 1n << 63n],
  ])('%s of a present one is reserved: #GP and nothing is loaded', (_, bit) => {
    const machine = prepared();
    const second = POINTERS + 0x20;
    write64(machine, second, BigInt(DIRECTORIES | 1));
    write64(machine, second + 24, 1n | bit);
    machine.execute(`${ON}\nmov eax, ${second}\nmov cr3, eax\nhlt`);
    expect(raised(machine)).toBe(Vector.GP);
    expect(machine.reg(S.CR3)).toBe(POINTERS);
    // Not present, it does not matter.
    write64(machine, second + 24, bit);
    const other = prepared();
    write64(other, second, BigInt(DIRECTORIES | 1));
    write64(other, second + 24, bit);
    other.execute(`${ON}\nmov eax, ${second}\nmov cr3, eax\nhlt`);
    expect(other.reg(S.CR3)).toBe(second);
  });

  test.each([
    ['CR0, when paging begins', `mov eax, 0x20\nmov cr4, eax\nmov eax, cr0\nor eax, 0x80000000\nmov cr0, eax\nhlt`],
    ['CR4, with PGE', `${ON}or dword [${POINTERS}], 2\nmov eax, 0xa0\nmov cr4, eax\nhlt`],
    ['CR3, though it stays', `${ON}or dword [${POINTERS}], 2\nmov eax, cr3\nmov cr3, eax\nhlt`],
  ])('are checked by a write to %s', (name, code) => {
    const machine = prepared();
    if (name.startsWith('CR0')) machine.write32(POINTERS, DIRECTORIES | 3);
    machine.execute(code);
    expect(raised(machine)).toBe(Vector.GP);
    expect(machine.reg(S.CR4) & Cr4.PGE).toBe(0);
    expect(machine.reg(S.CR0) >>> 31).toBe(name.startsWith('CR0') ? 0 : 1);
  });

  test('are not looked at without paging, nor by a write that changes only other bits of CR4', () => {
    const machine = prepared();
    machine.write32(POINTERS, 3);
    machine.execute(`mov eax, 0xa0\nmov cr4, eax\nmov eax, ${POINTERS}\nmov cr3, eax\nhlt`);
    expect(machine.reg(S.CR4)).toBe(0xa0);
    const other = prepared();
    other.execute(`${ON}or dword [${POINTERS}], 2\nmov eax, 0x28\nmov cr4, eax\nhlt`);
    expect(other.reg(S.CR4)).toBe(0x28);
  });

  test('a change of CR4.PAE drops every line, global ones too', () => {
    const machine = new Machine();
    machine.enablePaging();
    machine.cpu.setCr4(Cr4.PGE);
    machine.write32(machine.pteAt(DATA), DATA | 0x107);
    machine.cpu.translate(DATA, false, false);
    expect(machine.cpu.tlbEntries()).toHaveLength(1);
    write64(machine, POINTERS, BigInt(DIRECTORIES | 1));
    machine.cpu.loadCr3(POINTERS);
    expect(machine.cpu.tlbEntries()).toHaveLength(1);
    machine.cpu.setCr4(Cr4.PGE | Cr4.PAE);
    expect(machine.cpu.tlbEntries()).toHaveLength(0);
  });
});
