/** When x87, MMX and SSE instructions are available, and what they do when memory is not (SDM vol. 3, 2.5 and 13.1). */
import { describe, expect, test } from 'vitest';
import { fullTags } from '../../../src/hypervisor/machine/cpu/fpu/control.js';
import { F } from '../../../src/hypervisor/machine/cpu/fpu/state.js';
import { Cr0, Cr4, S, Vector } from '../../../src/hypervisor/machine/cpu/state.js';
import { verify } from '../../../src/hypervisor/machine/cpu/verify.js';
import { CODE, DATA, HANDLERS, Machine } from '../fixture.js';

const HLT = 0xf4;
const FNINIT = [0xdb, 0xe3];
const FLD1 = [0xd9, 0xe8];
const WAIT = [0x9b];
const PXOR_MM = [0x0f, 0xef, 0xc1];
const PADDQ_MM = [0x0f, 0xd4, 0xc1];
const PXOR_XMM = [0x66, 0x0f, 0xef, 0xc1];
const MOVAPS_MEMORY = [0x0f, 0x28, 0x07];
const MOVQ_STORE = [0x0f, 0x7f, 0x07];
const FXSAVE = [0x0f, 0xae, 0x07];
const FNSTSW_AX = [0xdf, 0xe0];
const LDMXCSR = [0x0f, 0xae, 0x17];
const DIVPS = [0x0f, 0x5e, 0xc1];

/** Executes code; answers the vector whose handler stopped the machine, or -1. */
function outcome(machine: Machine, code: readonly number[]): number {
  const exit = machine.execute([...code, HLT]);
  expect(exit.kind).toBe('halt');
  const stopped = machine.reg(S.EIP) - 1;
  return stopped >= HANDLERS && stopped < CODE ? (stopped - HANDLERS) >> 4 : -1;
}

function machineWith(cr0: number, cr4: number): Machine {
  const machine = new Machine();
  machine.cpu.setCr0(machine.cpu.s[S.CR0]! | Cr0.NE | cr0);
  machine.cpu.setCr4(cr4);
  machine.cpu.fpu.initialize();
  machine.cpu.s[S.EDI] = DATA;
  return machine;
}

const SSE = Cr4.OSFXSR | Cr4.OSXMMEXCPT;

describe('availability', () => {
  const rows: [name: string, code: number[], cr0: number, cr4: number, vector: number][] = [
    ['x87', FLD1, 0, 0, -1],
    ['x87, EM', FLD1, Cr0.EM, 0, Vector.NM],
    ['x87, TS', FLD1, Cr0.TS, 0, Vector.NM],
    ['FNINIT, TS', FNINIT, Cr0.TS, 0, Vector.NM],
    ['FNSTSW AX, EM', FNSTSW_AX, Cr0.EM, 0, Vector.NM],
    ['WAIT', WAIT, 0, 0, -1],
    ['WAIT, TS without MP', WAIT, Cr0.TS, 0, -1],
    ['WAIT, MP without TS', WAIT, Cr0.MP, 0, -1],
    ['WAIT, TS and MP', WAIT, Cr0.TS | Cr0.MP, 0, Vector.NM],
    ['WAIT, EM', WAIT, Cr0.EM, 0, -1],
    ['MMX without OSFXSR', PXOR_MM, 0, 0, -1],
    ['MMX of SSE2 without OSFXSR', PADDQ_MM, 0, 0, -1],
    ['MMX, TS', PXOR_MM, Cr0.TS, SSE, Vector.NM],
    ['MMX, EM', PXOR_MM, Cr0.EM, SSE, Vector.UD],
    ['MMX, EM and TS', PXOR_MM, Cr0.EM | Cr0.TS, SSE, Vector.UD],
    ['SSE', PXOR_XMM, 0, SSE, -1],
    ['SSE without OSFXSR', PXOR_XMM, 0, 0, Vector.UD],
    ['SSE, TS', PXOR_XMM, Cr0.TS, SSE, Vector.NM],
    ['SSE, TS without OSFXSR', PXOR_XMM, Cr0.TS, 0, Vector.UD],
    ['SSE, EM', PXOR_XMM, Cr0.EM, SSE, Vector.UD],
    ['LDMXCSR without OSFXSR', LDMXCSR, 0, 0, Vector.UD],
    ['FXSAVE without OSFXSR', FXSAVE, 0, 0, -1],
    ['FXSAVE, TS', FXSAVE, Cr0.TS, SSE, Vector.NM],
    ['FXSAVE, EM', FXSAVE, Cr0.EM, SSE, Vector.NM],
  ];
  for (const [name, code, cr0, cr4, vector] of rows) {
    test(name, () => expect(outcome(machineWith(cr0, cr4), code)).toBe(vector));
  }
});

describe('exceptions', () => {
  // Unmasks division by zero, then divides: FLDCW [EDI]; FLD1; FLDZ; FDIVP.
  const DIVIDE = [...FNINIT, 0xd9, 0x2f, ...FLD1, 0xd9, 0xee, 0xde, 0xf9];

  test('an unmasked x87 exception waits for the next waiting instruction', () => {
    const machine = machineWith(0, SSE);
    machine.write32(DATA, 0x37b);
    expect(outcome(machine, DIVIDE)).toBe(-1);
    expect(machine.cpu.fpu.status & 0x80ff).toBe(0x8084);
    // Operands stay as they were: 0 on top of 1.
    expect(machine.cpu.fpu.w[F.VALID]).toBe(0xc0);
    expect(outcome(machine, FNSTSW_AX)).toBe(-1);
    for (const code of [FLD1, WAIT, PXOR_MM, MOVQ_STORE]) expect(outcome(machine, code)).toBe(Vector.MF);
    expect(outcome(machine, PXOR_XMM)).toBe(-1);
    expect(outcome(machine, FXSAVE)).toBe(-1);
    expect(outcome(machine, [0xdb, 0xe2, ...FLD1])).toBe(-1);
  });

  test('without CR0.NE the next instruction goes on', () => {
    const machine = machineWith(0, 0);
    machine.cpu.setCr0(machine.cpu.s[S.CR0]! & ~Cr0.NE);
    machine.write32(DATA, 0x37b);
    expect(outcome(machine, [...DIVIDE, ...FLD1])).toBe(-1);
  });

  test('an unmasked SSE exception is #XM, or #UD where the system does not know it; nothing is written', () => {
    for (const [cr4, vector] of [
      [SSE, Vector.XM],
      [Cr4.OSFXSR, Vector.UD],
    ] as const) {
      const machine = machineWith(0, cr4);
      const { w } = machine.cpu.fpu;
      w[F.MXCSR] = 0x1d80;
      for (let i = 0; i < 4; i++) {
        w[F.XMM + i] = 0x3f800000;
        w[F.XMM + 4 + i] = i === 2 ? 0 : 0x40000000;
      }
      expect(outcome(machine, DIVPS)).toBe(vector);
      expect(w[F.MXCSR]).toBe(0x1d84);
      expect([...w.subarray(F.XMM, F.XMM + 4)]).toEqual([0x3f800000, 0x3f800000, 0x3f800000, 0x3f800000]);
    }
  });

  test('reserved bits of MXCSR are #GP', () => {
    const machine = machineWith(0, SSE);
    machine.write32(DATA, 0x10000);
    expect(outcome(machine, LDMXCSR)).toBe(Vector.GP);
    expect(machine.cpu.fpu.w[F.MXCSR]).toBe(0x1f80);
  });
});

describe('memory operands', () => {
  test('16 bytes must be aligned', () => {
    const machine = machineWith(0, SSE);
    machine.cpu.s[S.EDI] = DATA + 8;
    expect(outcome(machine, MOVAPS_MEMORY)).toBe(Vector.GP);
    expect(outcome(machine, [0x0f, 0x10, 0x07])).toBe(-1);
    expect(outcome(machine, FXSAVE)).toBe(Vector.GP);
  });

  test('an operand across two pages is read and written whole', () => {
    const machine = machineWith(0, SSE);
    machine.enablePaging();
    // The second page lies elsewhere.
    machine.write32(machine.pteAt(DATA + 0x1000), (DATA + 0x5000) | 7);
    machine.cpu.flushTlb();
    machine.write32(DATA + 0xff8, 0x11111111);
    machine.write32(DATA + 0xffc, 0x22222222);
    machine.write32(DATA + 0x5000, 0x33333333);
    machine.write32(DATA + 0x5004, 0x44444444);
    machine.cpu.s[S.EDI] = DATA + 0xffa;
    // MOVUPS XMM0, [EDI]; MOVUPS [EDI+2], XMM0
    expect(outcome(machine, [0x0f, 0x10, 0x07, 0x0f, 0x11, 0x47, 0x02])).toBe(-1);
    const { u8 } = machine.cpu.fpu;
    expect([...u8.subarray(F.XMM * 4, F.XMM * 4 + 10)]).toEqual([
      0x11, 0x11, 0x22, 0x22, 0x22, 0x22, 0x33, 0x33, 0x33, 0x33,
    ]);
    expect(machine.read32(DATA + 0xffc)).toBe(0x22221111);
    expect(machine.read32(DATA + 0x5000)).toBe(0x33332222);
    expect(machine.read32(DATA + 0x5004)).toBe(0x44443333);
  });

  test('a fault on the second page leaves memory, registers and stack alone', () => {
    const machine = machineWith(0, SSE);
    machine.enablePaging();
    machine.write32(machine.pteAt(DATA + 0x1000), (DATA + 0x1000) | 1);
    machine.cpu.flushTlb();
    machine.setRing(3);
    machine.write32(0x3000 + 4, 0x28000);
    for (const code of [
      [0x0f, 0x11, 0x07], // MOVUPS store
      [0xdd, 0x1f], // FSTP m64
      [0xdd, 0x37], // FNSAVE
      [0x0f, 0x7f, 0x07], // MOVQ store
      [0xdd, 0x07], // FLD m64
    ]) {
      machine.setRing(3);
      machine.cpu.s[S.EDI] = DATA + 0xffc;
      machine.write32(DATA + 0xffc, 0x5a5a5a5a);
      machine.cpu.fpu.initialize();
      machine.cpu.fpu.w[F.VALID] = 0x01;
      const before = [...machine.cpu.fpu.w.subarray(0, F.OPERAND), ...machine.cpu.fpu.w.subarray(F.CONTROL)];
      expect(outcome(machine, code)).toBe(Vector.PF);
      expect(machine.reg(S.CR2)).toBe(DATA + 0x1000);
      expect(machine.read32(DATA + 0xffc)).toBe(0x5a5a5a5a);
      const after = [...machine.cpu.fpu.w.subarray(0, F.OPERAND), ...machine.cpu.fpu.w.subarray(F.CONTROL)];
      expect(after).toEqual(before);
    }
  });

  test('a store over the code behind it takes effect', () => {
    const machine = machineWith(0, SSE);
    // MOVQ [CODE+16], MM0 puts INC EAX, HLT over NOPs of the same block.
    machine.cpu.fpu.w[0] = 0x90909040 | 0;
    machine.cpu.fpu.w[1] = 0x909090f4 | 0;
    machine.cpu.s[S.EAX] = 0;
    const code = [0x0f, 0x7f, 0x05, CODE + 16, 0, 0, 0].slice(0, 3);
    const address = [CODE + 16, 0].flatMap(v => [v & 0xff, (v >> 8) & 0xff, (v >> 16) & 0xff]).slice(0, 3);
    expect(outcome(machine, [...code, ...address, 0, ...Array.from({ length: 24 }, () => 0x90)])).toBe(-1);
    expect(machine.reg(S.EAX)).toBe(1);
    expect(machine.reg(S.EIP)).toBe(CODE + 21);
  });
});

describe('the last instruction', () => {
  test('address, selectors and opcode are those of the last one that is no control instruction', () => {
    const machine = machineWith(0, 0);
    // NOP; FADD qword [EDI+8] with an override; FNSTENV [EDI+64]
    expect(outcome(machine, [...FNINIT, ...FLD1, 0x90, 0x26, 0xdc, 0x47, 0x08, 0xd9, 0x77, 0x40])).toBe(-1);
    const at = DATA + 64;
    expect(machine.read32(at)).toBe(0xffff037f);
    expect(machine.read32(at + 8) >>> 16).toBe(0xffff);
    expect(machine.read32(at + 12)).toBe(CODE + 5);
    expect(machine.read32(at + 16)).toBe((0x447 << 16) | 0x08);
    expect(machine.read32(at + 20)).toBe(DATA + 8);
    expect(machine.read32(at + 24)).toBe(0xffff0010);
  });

  test('16-bit and real-address images', () => {
    const machine = machineWith(0, 0);
    expect(outcome(machine, [...FNINIT, ...FLD1, 0x66, 0xd9, 0x77, 0x40])).toBe(-1);
    const half = (offset: number) => machine.memory.read16(machine.base + DATA + 64 + offset);
    expect([0, 2, 4, 6, 8].map(half)).toEqual([0x37f, 0x3800, 0x3fff, (CODE + 2) & 0xffff, 0x08]);
  });

  test('tags tell zeros and special values apart', () => {
    const machine = machineWith(0, 0);
    const { fpu } = machine.cpu;
    fpu.w[F.VALID] = 0x0f;
    fpu.w.set([0, 0x80000000 | 0, 0x3fff, 0], 0);
    fpu.w.set([0, 0, 0, 0], 4);
    fpu.w.set([0, 0x80000000 | 0, 0x7fff, 0], 8);
    fpu.w.set([1, 0, 0, 0], 12);
    expect(fullTags(fpu)).toBe(0b11111111_10_10_01_00);
  });
});

test('helpers keep the rules of the IR: only the last op of an instruction commits', () => {
  const machine = machineWith(0, SSE);
  const code = [
    0xdd, 0x47, 0x08, 0xdc, 0x4c, 0x8f, 0x10, 0xdd, 0x5f, 0x18, 0x0f, 0x28, 0x04, 0x8f, 0x0f, 0x58, 0xc1, 0x0f, 0x7e,
    0xc0,
  ];
  machine.execute([...code, HLT]);
  const block = machine.cache.find(machine.base + CODE, 0)!;
  expect(block.instructions).toBe(7);
  expect(verify(block, machine.cache.code)).toEqual([]);
});
