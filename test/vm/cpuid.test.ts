/** CPUID promises nothing that the processor does not have, and guests who believe it get what they ask for. */
import { expect, test } from 'vitest';
import { XEON_5160 } from '../../src/hypervisor/machine/costs/xeon-5160.js';
import { Flag, S, Vector } from '../../src/hypervisor/machine/cpu/state.js';
import { CPU_MODELS, cpuidOf } from '../../src/hypervisor/vm/cpuid.js';
import { Msrs } from '../../src/hypervisor/vm/msrs.js';
import { HANDLERS, Machine } from '../machine/fixture.js';

/** Bits of leaf 1, EDX, by name (SDM vol. 2, "CPUID"). */
const EDX = {
  FPU: 0,
  VME: 1,
  DE: 2,
  PSE: 3,
  TSC: 4,
  MSR: 5,
  PAE: 6,
  MCE: 7,
  CX8: 8,
  APIC: 9,
  SEP: 11,
  MTRR: 12,
  PGE: 13,
  MCA: 14,
  CMOV: 15,
  PAT: 16,
  PSE36: 17,
  PSN: 18,
  CLFSH: 19,
  DS: 21,
  ACPI: 22,
  MMX: 23,
  FXSR: 24,
  SSE: 25,
  SSE2: 26,
  SS: 27,
  HTT: 28,
  TM: 29,
  PBE: 31,
} as const;
type Feature = keyof typeof EDX;

const cpuid = cpuidOf(XEON_5160);
const msrs = new Msrs();
const machine = () => new Machine({ cpuid, readMsr: index => msrs.read(index) });
const promised = (feature: Feature): boolean => (cpuid(1, 0)[3] & (1 << EDX[feature])) !== 0;

/** One instruction, or state, that only a processor with the feature has. What does not promise it must refuse it. */
const PROOFS: Readonly<Partial<Record<Feature, string>>> = {
  FPU: 'db 0xd9, 0xe8',
  VME: 'mov eax, 1\nmov cr4, eax',
  DE: 'mov eax, 8\nmov cr4, eax',
  PSE: 'mov eax, 0x10\nmov cr4, eax',
  TSC: 'rdtsc',
  MSR: 'mov ecx, 0x174\nrdmsr',
  PAE: 'mov eax, 0x20\nmov cr4, eax',
  MCE: 'mov eax, 0x40\nmov cr4, eax',
  CX8: 'lock cmpxchg8b [0x30000]',
  SEP: 'mov ecx, 0x174\nmov eax, 8\nmov edx, 0\nwrmsr\nmov ecx, 0x176\nmov eax, behind\nwrmsr\nsysenter\nud2\nbehind: nop',
  MTRR: 'mov ecx, 0xfe\nrdmsr',
  PGE: 'mov eax, 0x80\nmov cr4, eax',
  MCA: 'mov ecx, 0x179\nrdmsr',
  CMOV: 'cmove eax, ecx',
  PAT: 'mov ecx, 0x277\nrdmsr',
  MMX: 'db 0x0f, 0xef, 0xc0',
  FXSR: 'mov eax, 0x200\nmov cr4, eax\ndb 0x0f, 0xae, 0x05, 0x00, 0x00, 0x03, 0x00',
  SSE: 'mov eax, 0x600\nmov cr4, eax\ndb 0x0f, 0x57, 0xc0',
  SSE2: 'mov eax, 0x600\nmov cr4, eax\ndb 0x66, 0x0f, 0xef, 0xc0',
};

test.each(Object.entries(PROOFS))('%s is there if and only if it is promised', (feature, code) => {
  const one = machine();
  one.execute(`${code}\nhlt`);
  const eip = one.reg(S.EIP);
  const refused = eip === HANDLERS + Vector.UD * 16 + 1 || eip === HANDLERS + Vector.GP * 16 + 1;
  expect(refused).toBe(!promised(feature as Feature));
});

test('nothing is promised for which there is no proof', () => {
  const all = cpuid(1, 0);
  const proven = Object.keys(PROOFS).reduce((bits, feature) => bits | (1 << EDX[feature as Feature]), 0);
  expect(all[3] & ~proven).toBe(0);
  // ECX: SSE3 and everything later; leaf 80000001: SYSCALL, NX, long mode.
  expect(all[2]).toBe(0);
  expect(cpuid(0x80000001, 0).slice(2)).toEqual([0, 0]);
});

test('the instruction leaves what the leaves say in its four registers, and ignores what is in the others', () => {
  const one = machine();
  one.execute('mov eax, 0\ncpuid\nmov esi, ebx\nmov edi, ecx\nmov ebp, edx\nmov eax, 1\nmov ecx, 77\ncpuid\nhlt');
  const text = [S.ESI, S.EBP, S.EDI].map(i => String.fromCharCode(...le(one.reg(i)))).join('');
  expect(text).toBe('GenuineIntel');
  expect([S.EAX, S.EBX, S.ECX, S.EDX].map(i => one.cpu.s[i])).toEqual([...cpuid(1, 77)]);
});

test('no model promises more than another has proven, and the local APIC as long as it is there', () => {
  const [, , , full] = cpuid(1, 0);
  for (const model of CPU_MODELS) {
    const [signature, , beyond, features] = cpuidOf(XEON_5160, model)(1, 0);
    expect([model, features & ~full, beyond]).toEqual([model, 0, 0]);
    let id: number | undefined = 3;
    const withApic = cpuidOf(XEON_5160, model, () => id);
    const apic = 1 << EDX.APIC;
    expect([model, withApic(1, 0)]).toEqual([model, [signature, 3 << 24, 0, features | apic]]);
    id = undefined;
    expect([model, withApic(1, 0)]).toEqual([model, [signature, 0, 0, features]]);
  }
});

test('a Pentium II has MMX without SSE, and neither a brand nor extended leaves', () => {
  const old = cpuidOf(XEON_5160, 'pentium2');
  const [signature, , , features] = old(1, 0);
  expect([(signature >>> 8) & 15, (signature >>> 4) & 15]).toEqual([6, 5]);
  expect([features >>> EDX.MMX, features >>> EDX.SSE].map(bits => bits & 1)).toEqual([1, 0]);
  expect(old(0, 0)[0]).toBe(2);
  expect(old(0x80000000, 0)).toEqual(old(2, 0));
});

test('a Pentium 4 is of family 15 and says its name in three leaves', () => {
  const model = cpuidOf(XEON_5160, 'pentium4');
  expect((model(1, 0)[0] >>> 8) & 15).toBe(15);
  const words = [2, 3, 4].flatMap(leaf => [...model(0x80000000 + leaf, 0)]);
  expect(String.fromCharCode(...words.flatMap(le)).replace(/\0+$/, '')).toBe('Intel(R) Pentium(R) 4 CPU 3.80GHz');
});

test('there is CPUID: the ID flag can be changed', () => {
  const one = machine();
  one.execute(`pushfd\nxor dword [esp], ${Flag.ID}\npopfd\npushfd\npop eax\nhlt`);
  expect(one.reg(S.EAX) & Flag.ID).toBe(Flag.ID);
});

const le = (value: number): number[] => [0, 8, 16, 24].map(shift => (value >>> shift) & 255);
