/** Every ALU operation in every size against a plain model in BigInt arithmetic: results and all defined flags. */
import { expect, test } from 'vitest';
import { Prng } from '../../src/hypervisor/base/prng.js';
import { Flag, S } from '../../src/hypervisor/machine/cpu/state.js';
import { Machine } from './fixture.js';

interface Outcome {
  readonly result: bigint;
  readonly cf: boolean;
  readonly of: boolean;
  /** undefined: the manual leaves it undefined. */
  readonly af?: boolean;
}

const signed = (value: bigint, bits: number): bigint => BigInt.asIntN(bits, value);
const wrap = (value: bigint, bits: number): bigint => BigInt.asUintN(bits, value);

function sum(a: bigint, b: bigint, carry: bigint, bits: number): Outcome {
  const whole = a + b + carry;
  const exact = signed(a, bits) + signed(b, bits) + carry;
  return {
    result: wrap(whole, bits),
    cf: whole >> BigInt(bits) !== 0n,
    of: exact !== signed(exact, bits),
    af: (a & 15n) + (b & 15n) + carry > 15n,
  };
}

function difference(a: bigint, b: bigint, borrow: bigint, bits: number): Outcome {
  const exact = signed(a, bits) - signed(b, bits) - borrow;
  return {
    result: wrap(a - b - borrow, bits),
    cf: a < b + borrow,
    of: exact !== signed(exact, bits),
    af: (a & 15n) < (b & 15n) + borrow,
  };
}

const logic = (result: bigint): Outcome => ({ result, cf: false, of: false });

const MODEL: Record<string, (a: bigint, b: bigint, carry: bigint, bits: number) => Outcome> = {
  add: (a, b, _, bits) => sum(a, b, 0n, bits),
  adc: (a, b, carry, bits) => sum(a, b, carry, bits),
  sub: (a, b, _, bits) => difference(a, b, 0n, bits),
  sbb: (a, b, carry, bits) => difference(a, b, carry, bits),
  cmp: (a, b, _, bits) => ({ ...difference(a, b, 0n, bits), result: a }),
  and: (a, b) => logic(a & b),
  or: (a, b) => logic(a | b),
  xor: (a, b) => logic(a ^ b),
  test: (a, b) => ({ ...logic(a & b), result: a }),
  inc: (a, _, carry, bits) => ({ ...sum(a, 1n, 0n, bits), cf: carry === 1n }),
  dec: (a, _, carry, bits) => ({ ...difference(a, 1n, 0n, bits), cf: carry === 1n }),
  neg: (a, _, __, bits) => difference(0n, a, 0n, bits),
};

const REGISTERS = { 8: ['dh', 'bl'], 16: ['dx', 'bx'], 32: ['edx', 'ebx'] } as const;
const EDGES = [0, 1, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

function place(full: number, bits: 8 | 16 | 32, value: bigint, high: boolean): number {
  const shift = high && bits === 8 ? 8 : 0;
  const mask = (bits === 32 ? 0xffffffff : (1 << bits) - 1) << shift;
  return ((full & ~mask) | (Number(value) << shift)) >>> 0;
}

for (const bits of [8, 16, 32] as const) {
  for (const [name, model] of Object.entries(MODEL)) {
    for (const form of ['register', 'memory'] as const) {
      test(`${name} ${bits} bits, ${form} destination`, () => {
        const prng = new Prng(bits * 1000 + name.charCodeAt(0));
        const [dRegister, sRegister] = REGISTERS[bits];
        const size = bits === 8 ? 'byte' : bits === 16 ? 'word' : 'dword';
        const destination = form === 'register' ? dRegister : `${size} [0x30001]`;
        const unary = ['inc', 'dec', 'neg'].includes(name);
        const machine = new Machine();
        const code = `${name} ${destination}${unary ? '' : `, ${sRegister}`}\n hlt`;
        machine.load(code);
        const start = machine.cpu.s[S.EIP]!;
        for (let i = 0; i < 60; i++) {
          const edge = () => (prng.below(2) === 0 ? prng.pick(EDGES) : prng.u32());
          const a = wrap(BigInt(edge()), bits);
          const b = wrap(BigInt(edge()), bits);
          const carry = prng.below(2);
          const before = [prng.u32(), prng.u32()] as const;
          machine.cpu.s[S.EIP] = start;
          machine.cpu.s[S.EDX] = form === 'register' ? place(before[0], bits, a, true) : before[0];
          machine.cpu.s[S.EBX] = place(before[1], bits, b, false);
          machine.write32(0x30001, place(before[0], bits, a, false));
          machine.cpu.writeEflags(carry);
          machine.run();
          const want = model(a, b, BigInt(carry), bits);
          const context = `${name} ${a}, ${b}, carry ${carry}, seed ${prng.seed}`;
          const destinationWord = place(before[0], bits, want.result, form === 'register');
          expect(form === 'register' ? machine.reg(S.EDX) : machine.read32(0x30001), context).toBe(destinationWord);
          const value = name === 'test' ? a & b : name === 'cmp' ? wrap(a - b, bits) : want.result;
          let ones = 0;
          for (let bit = 0; bit < 8; bit++) ones += Number((value >> BigInt(bit)) & 1n);
          const flags =
            (want.cf ? Flag.CF : 0) |
            (want.of ? Flag.OF : 0) |
            (want.af === true ? Flag.AF : 0) |
            (value === 0n ? Flag.ZF : 0) |
            (signed(value, bits) < 0n ? Flag.SF : 0) |
            (ones % 2 === 0 ? Flag.PF : 0);
          const mask = Flag.ARITHMETIC & ~(want.af === undefined ? Flag.AF : 0);
          expect(machine.cpu.readEflags() & mask, context).toBe(flags);
        }
      });
    }
  }
}

test('multiplication and division against BigInt', () => {
  const prng = new Prng(99);
  const machine = new Machine();
  const run = (code: string, eax: number, edx: number, ebx: number) => {
    machine.load(code);
    machine.cpu.s[S.EAX] = eax;
    machine.cpu.s[S.EDX] = edx;
    machine.cpu.s[S.EBX] = ebx;
    machine.run();
  };
  for (let i = 0; i < 150; i++) {
    const edge = () => (prng.below(3) === 0 ? prng.pick(EDGES) : prng.u32() >>> prng.below(31));
    const [a, high, b] = [edge(), edge(), edge()];
    run('mul ebx\n hlt', a, 0, b);
    const product = BigInt(a) * BigInt(b);
    expect((BigInt(machine.reg(S.EDX)) << 32n) | BigInt(machine.reg(S.EAX))).toBe(product);
    expect((machine.cpu.readEflags() & Flag.CF) !== 0).toBe(product >> 32n !== 0n);
    run('imul ebx\n hlt', a, 0, b);
    const signedProduct = BigInt(a | 0) * BigInt(b | 0);
    expect(BigInt.asIntN(64, (BigInt(machine.reg(S.EDX)) << 32n) | BigInt(machine.reg(S.EAX)))).toBe(signedProduct);
    const fits = signedProduct === signed(signedProduct, 32);
    expect((machine.cpu.readEflags() & Flag.OF) !== 0).toBe(!fits);
    run('imul eax, ebx\n hlt', a, 0, b);
    expect(BigInt(machine.reg(S.EAX))).toBe(wrap(signedProduct, 32));
    expect((machine.cpu.readEflags() & Flag.CF) !== 0).toBe(!fits);

    const dividend = (BigInt(high) << 32n) | BigInt(a);
    run('div ebx\n hlt', a, high, b);
    const faulted = () => machine.reg(S.EIP) < 0x10000;
    if (b === 0 || (dividend / BigInt(b)) >> 32n !== 0n) {
      expect(faulted()).toBe(true);
    } else {
      expect([machine.reg(S.EAX), machine.reg(S.EDX)]).toEqual([
        Number(dividend / BigInt(b)),
        Number(dividend % BigInt(b)),
      ]);
    }
    run('idiv ebx\n hlt', a, high, b);
    const signedDividend = BigInt.asIntN(64, dividend);
    const divisor = BigInt(b | 0);
    if (divisor === 0n || signedDividend / divisor !== signed(signedDividend / divisor, 32)) {
      expect(faulted()).toBe(true);
    } else {
      expect([machine.cpu.s[S.EAX], machine.cpu.s[S.EDX]]).toEqual([
        Number(signedDividend / divisor),
        Number(signedDividend % divisor),
      ]);
    }
  }
});
