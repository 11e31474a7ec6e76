/** Limits, expand-down segments, call gates and 16-bit task states: what QEMU cannot record, since it does not check limits. */
import { describe, expect, test } from 'vitest';
import {
  Attr,
  Cr0,
  Flag,
  S,
  Seg,
  segBase,
  segLimit,
  segSelector,
  Vector,
} from '../../src/hypervisor/machine/cpu/state.js';
import { CODE, CS0, CS3, DATA, DS0, DS1, DS3, HANDLERS, IDT, Machine, STACK0, STACK3, TR, TSS } from './fixture.js';

const P_S = Attr.P | Attr.S;
/** A free place in the fixture's GDT. */
const SEL = 0x100;

/** The vector whose handler halted, from EIP behind its HLT. */
const vectorOf = (m: Machine): number => (m.reg(S.EIP) - 1 - HANDLERS) / 16;

/** A real-mode machine: IVT at 0 with handlers at 0:(0x4000 + vector * 16) that halt. */
function realMode(): Machine {
  const m = new Machine();
  for (let vector = 0; vector < 256; vector++) m.write32(vector * 4, HANDLERS + vector * 16);
  m.cpu.s[S.IDT_BASE] = 0;
  m.cpu.s[S.IDT_LIMIT] = 0x3ff;
  m.cpu.setCr0(Cr0.ET);
  for (const seg of [Seg.ES, Seg.CS, Seg.SS, Seg.DS, Seg.FS, Seg.GS]) m.cpu.setSegment(seg, 0, 0, 0xffff, P_S | 0x3);
  m.cpu.s[S.ESP] = 0x8000;
  return m;
}

const run16 = (m: Machine, bytes: readonly number[], at = 0x7000): Machine => {
  m.write(at, bytes);
  m.cpu.s[S.EIP] = at;
  expect(m.run()).toEqual({ kind: 'halt' });
  return m;
};
const stackWord = (m: Machine, index: number): number =>
  m.read8((m.reg(S.ESP) & 0xffff) + index * 2) | (m.read8((m.reg(S.ESP) & 0xffff) + index * 2 + 1) << 8);

describe('limits in real mode', () => {
  test.each([
    ['a word at FFFF', [0xa1, 0xff, 0xff], Vector.GP],
    ['a dword at FFFD', [0x66, 0xa1, 0xfd, 0xff], Vector.GP],
    ['a 32-bit offset above 64 KiB', [0x67, 0xa1, 0, 0, 1, 0], Vector.GP],
    ['a word at SS:FFFF', [0xbd, 0xff, 0xff, 0x8b, 0x46, 0x00], Vector.SS],
    ['a 32-bit jump above 64 KiB', [0x66, 0xe9, 0, 0, 1, 0], Vector.GP],
    ['a string at FFFF', [0xbe, 0xff, 0xff, 0xad], Vector.GP],
  ])(
    '%s',
    (_what, code, vector) => {
      const m = run16(realMode(), code);
      expect(vectorOf(m)).toBe(vector);
    },
    20_000,
  );

  test('a push at SP 1 leaves no room for any frame either', () => {
    const m = realMode();
    m.write(0x7000, [0xbc, 0x01, 0x00, 0x50]);
    m.cpu.s[S.EIP] = 0x7000;
    expect(m.run()).toMatchObject({ kind: 'shutdown', reason: expect.stringContaining('exception 12') });
  });

  test('no error code is pushed, and the return address is that of the instruction', () => {
    const m = run16(realMode(), [0x90, 0xa1, 0xff, 0xff]);
    expect(m.reg(S.ESP)).toBe(0x8000 - 6);
    expect([stackWord(m, 0), stackWord(m, 1)]).toEqual([0x7001, 0]);
  });

  test('a byte at FFFF and a word that ends there are within', () => {
    const m = run16(realMode(), [0xa0, 0xff, 0xff, 0xa1, 0xfe, 0xff, 0xf4]);
    expect(m.reg(S.EIP)).toBe(0x7007);
  });

  test('code that runs past FFFF faults there', () => {
    const m = realMode();
    m.write(0xfffe, [0x90, 0x40]);
    m.cpu.s[S.EIP] = 0xfffe;
    expect(m.run()).toEqual({ kind: 'halt' });
    expect(vectorOf(m)).toBe(Vector.GP);
    expect(m.reg(S.EAX)).toBe(1);
    expect(stackWord(m, 0)).toBe(0);
  });

  test('an instruction across FFFF faults before it does anything', () => {
    const m = realMode();
    m.write(0xfffe, [0xb8, 0x34, 0x12]);
    m.cpu.s[S.EIP] = 0xfffe;
    m.run();
    expect(vectorOf(m)).toBe(Vector.GP);
    expect(m.reg(S.EAX)).toBe(0);
    expect(stackWord(m, 0)).toBe(0xfffe);
  });

  test('a branch wraps at 64 KiB', () => {
    const m = realMode();
    m.write(0xfffe, [0xeb, 0x10]);
    m.write(0x10, [0xf4]);
    m.cpu.s[S.EIP] = 0xfffe;
    m.run();
    expect(m.reg(S.EIP)).toBe(0x11);
  });

  test('a vector beyond the table is #GP, and without that #DF, and then the machine stops', () => {
    const m = realMode();
    m.cpu.s[S.IDT_LIMIT] = 13 * 4 + 3;
    run16(m, [0xcd, 0x20]);
    expect(vectorOf(m)).toBe(Vector.GP);
    const none = realMode();
    none.cpu.s[S.IDT_LIMIT] = 0;
    none.write(0x7000, [0xcd, 0x20]);
    none.cpu.s[S.EIP] = 0x7000;
    expect(none.run()).toMatchObject({ kind: 'shutdown' });
  });

  test('the string instructions stop at the wrap of a 16-bit offset and go on behind it', () => {
    const m = realMode();
    // es = 2000; di = fffc; cx = 8; rep stosb
    run16(m, [0xb8, 0x00, 0x20, 0x8e, 0xc0, 0xbf, 0xfc, 0xff, 0xb9, 0x08, 0x00, 0xf3, 0xaa, 0xf4]);
    expect([m.reg(S.EDI), m.reg(S.ECX)]).toEqual([4, 0]);
    m.cpu.s[S.EAX] = 0x11;
    m.cpu.s[S.EDI] = 0xfffc;
    run16(m, [0xb9, 0x08, 0x00, 0xf3, 0xaa, 0xf4]);
    expect([0x20000, 0x20003, 0x2fffc, 0x2ffff].map(at => m.read8(at))).toEqual([0x11, 0x11, 0x11, 0x11]);
    expect([0x20004, 0x30000].map(at => m.read8(at))).toEqual([0, 0]);
  });

  test('a segment that protected mode left with a large limit keeps it', () => {
    const m = realMode();
    m.cpu.setSegment(Seg.DS, 0x10, 0, 0xffffffff, P_S | Attr.G | 0x3);
    m.write32(0x200000, 0x12345678);
    // mov ax, 0; mov ds, ax; mov eax, [200000]
    run16(m, [0x31, 0xc0, 0x8e, 0xd8, 0x66, 0x67, 0xa1, 0, 0, 0x20, 0, 0xf4]);
    expect(m.reg(S.EAX)).toBe(0x12345678);
    expect([m.cpu.s[segBase(Seg.DS)], m.cpu.s[segLimit(Seg.DS)]! >>> 0]).toEqual([0, 0xffffffff]);
  });

  test('interrupts are taken through the table', () => {
    const m = realMode();
    m.vector = 0x55;
    m.write(0x7000, [0xfb, 0x90, 0xeb, 0xfe]);
    m.cpu.s[S.EIP] = 0x7000;
    m.cpu.setIntr(true);
    expect(m.run()).toEqual({ kind: 'halt' });
    expect(vectorOf(m)).toBe(0x55);
    expect(m.cpu.readEflags() & Flag.IF).toBe(0);
    expect(stackWord(m, 2) & Flag.IF).not.toBe(0);
  });

  test('step by step gives the same state', () => {
    const code = [0xb9, 0x05, 0x00, 0x40, 0xe2, 0xfd, 0x9c, 0x58, 0xcd, 0x33];
    const m = run16(realMode(), code);
    const stepped = realMode();
    stepped.write(0x7000, code);
    stepped.cpu.s[S.EIP] = 0x7000;
    let exit = stepped.cpu.step();
    while (exit.kind === 'stepped') exit = stepped.cpu.step();
    expect(exit).toEqual({ kind: 'halt' });
    expect([...stepped.cpu.s.subarray(0, 10)]).toEqual([...m.cpu.s.subarray(0, 10)]);
    expect(stepped.cpu.instructions).toBe(m.cpu.instructions);
    expect(stepped.cpu.cycles).toBe(m.cpu.cycles);
  });
});

describe('expand-down data segments', () => {
  const DOWN = P_S | 0x7;
  test.each([
    // B, limit, offset, size, good
    [1, 0xfff, 0x1000, 4, true],
    [1, 0xfff, 0xfff, 1, false],
    [1, 0xfff, 0xffc, 4, false],
    [1, 0xfff, 0xfffffffc, 4, true],
    [1, 0xfff, 0xfffffffd, 4, false],
    [0, 0xfff, 0x1000, 4, true],
    [0, 0xfff, 0xfffc, 4, true],
    [0, 0xfff, 0xfffd, 4, false],
    [0, 0xfff, 0x10000, 1, false],
    [0, 0xffff, 0xffff, 1, false],
  ])('B %s, limit %s: offset %s, %s bytes: %s', (big, limit, offset, size, good) => {
    const m = new Machine();
    m.descriptor(SEL, DATA - 0x1000, limit, DOWN | (big ? Attr.DB : 0));
    // An offset of nearly 4 GiB wraps around to just below the base.
    m.load(`mov eax, ${SEL}\nmov gs, eax\nmov ebx, ${offset | 0}\nmov ${size === 4 ? 'eax' : 'al'}, gs:[ebx]\nhlt`);
    m.run();
    if (good) expect(m.reg(S.EIP)).toBeLessThan(CODE + 0x40);
    if (good) expect(m.reg(S.EIP)).toBeGreaterThan(CODE);
    if (!good) expect(vectorOf(m)).toBe(Vector.GP);
  });
});

/** A descriptor's two words for a call gate. */
function callGate(
  m: Machine,
  selector: number,
  type: number,
  dpl: number,
  target: number,
  offset: number,
  words: number,
) {
  m.write32(0x1000 + selector, ((target << 16) | (offset & 0xffff)) >>> 0);
  m.write32(0x1000 + selector + 4, ((offset & 0xffff0000) | 0x8000 | (dpl << 13) | (type << 8) | words) >>> 0);
}

describe('call gates', () => {
  const INNER = 0x12000;

  test('32-bit: to the inner ring with two parameters, and back over them', () => {
    const m = new Machine();
    callGate(m, SEL, 0xc, 3, CS0, INNER, 2);
    m.write(INNER, [0x8b, 0x44, 0x24, 0x08, 0x8b, 0x5c, 0x24, 0x0c, 0xca, 0x08, 0x00]); // mov eax,[esp+8]; mov ebx,[esp+12]; retf 8
    m.setRing(3);
    m.load(`push 0x222\npush 0x111\ncall ${SEL | 3}:0\nmov ecx, esp\nmov edx, cs\nint 0x80`);
    m.run();
    expect(vectorOf(m)).toBe(0x80);
    expect([m.reg(S.EAX), m.reg(S.EBX), m.reg(S.ECX), m.reg(S.EDX)]).toEqual([0x111, 0x222, STACK3, CS3]);
  });

  test('32-bit: return address, parameters and outer stack lie on the inner stack', () => {
    const m = new Machine();
    callGate(m, SEL, 0xc, 3, CS0, INNER, 2);
    m.write(INNER, [0xf4]);
    m.setRing(3);
    const labels = m.load(`push 0x222\npush 0x111\ncall ${SEL | 3}:0\nback: nop`);
    m.run();
    const frame = [0, 1, 2, 3, 4, 5].map(i => m.read32(m.reg(S.ESP) + i * 4));
    expect(frame).toEqual([labels.get('back'), CS3, 0x111, 0x222, STACK3 - 8, DS3]);
    expect(m.reg(S.ESP)).toBe(STACK0 - 6 * 4);
  });

  test('16-bit: words on the inner stack', () => {
    const m = new Machine();
    callGate(m, SEL, 0x4, 3, CS0, 0x5000, 1);
    m.write(0x5000, [0xf4]);
    m.setRing(3);
    m.load(`push 0x33334444\ncall ${SEL | 3}:0`);
    m.run();
    expect(m.reg(S.EIP)).toBe(0x5001);
    expect(m.reg(S.ESP)).toBe(STACK0 - 5 * 2);
    const word = (i: number) => m.read8(STACK0 - 10 + i * 2) | (m.read8(STACK0 - 9 + i * 2) << 8);
    expect([1, 2, 3, 4].map(word)).toEqual([CS3, 0x4444, (STACK3 - 4) & 0xffff, DS3]);
    expect(m.cpu.s[S.CPL]).toBe(0);
  });

  test.each([
    ['a gate of lower privilege than the caller', 0, Vector.GP, SEL],
    ['one that the selector may not use', 3, Vector.GP, SEL],
  ])('%s', (_what, dpl, vector, code) => {
    const m = new Machine();
    callGate(m, SEL, 0xc, dpl === 0 ? 0 : 1, CS0, INNER, 0);
    m.setRing(3);
    m.load(`call ${SEL | 3}:0`);
    m.run();
    expect(vectorOf(m)).toBe(vector);
    expect(m.read32(m.reg(S.ESP))).toBe(code);
  });

  test('a conforming target keeps the ring and the stack', () => {
    const m = new Machine();
    m.descriptor(SEL + 8, 0, 0xffffffff, P_S | Attr.DB | 0xe);
    callGate(m, SEL, 0xc, 3, SEL + 8, INNER, 4);
    m.write(INNER, [0x8c, 0xc8, 0xcb]); // mov eax, cs; retf
    m.setRing(3);
    m.load(`call ${SEL | 3}:0\nint 0x80`);
    m.run();
    expect(m.reg(S.EAX)).toBe((SEL + 8) | 3);
    expect(m.read32(m.reg(S.ESP) + 12)).toBe(STACK3);
  });
});

describe('16-bit task state', () => {
  test('holds the inner stack that an interrupt through a 16-bit gate switches to', () => {
    const m = new Machine();
    m.descriptor(TR, TSS, 0x2b, 0x83);
    m.cpu.setSegment(Seg.TR, TR, TSS, 0x2b, 0x83);
    m.write(TSS + 2, [0x00, 0x70]);
    m.write(TSS + 4, [DS0, 0]);
    m.write32(IDT + 0x60 * 8, ((CS0 << 16) | 0x5000) >>> 0);
    m.write32(IDT + 0x60 * 8 + 4, 0xe600);
    m.write(0x5000, [0xf4]);
    m.setRing(3);
    m.load('int 0x60');
    m.run();
    expect(m.reg(S.EIP)).toBe(0x5001);
    expect(m.reg(S.ESP)).toBe(0x7000 - 10);
    const words = [0, 1, 2, 3, 4].map(i => m.read8(0x7000 - 10 + i * 2) | (m.read8(0x7000 - 9 + i * 2) << 8));
    expect(words).toEqual([(CODE + 2) & 0xffff, CS3, words[2], STACK3 & 0xffff, DS3]);
  });

  test('has no I/O permissions', () => {
    const m = new Machine();
    m.cpu.setSegment(Seg.TR, TR, TSS, 0xffff, 0x83);
    m.setRing(3);
    m.load('in al, 0x80');
    m.cpu.s[S.ESP] = STACK3;
    m.write(TSS + 2, [0x00, 0x70]);
    m.write(TSS + 4, [DS0, 0]);
    m.run();
    expect(vectorOf(m)).toBe(Vector.GP);
  });

  test('LTR makes it busy, and refuses it then', () => {
    const m = new Machine();
    m.descriptor(SEL, TSS, 0x2b, 0x81);
    m.load(`mov eax, ${SEL}\nltr ax\nstr ebx\nltr ax`);
    m.run();
    expect(m.reg(S.EBX)).toBe(SEL);
    expect(m.read8(0x1000 + SEL + 5)).toBe(0x83);
    expect(vectorOf(m)).toBe(Vector.GP);
  });
});

describe('instruction bytes', () => {
  test('an instruction of 15 bytes is good, one of 16 is #GP(0)', () => {
    const m = new Machine();
    const add = [0x81, 0x05, ...[0, 0, 3, 0], ...[1, 0, 0, 0]]; // add dword [30000], 1
    m.execute([...new Array(5).fill(0x3e), ...add, 0xf4]);
    expect(m.reg(S.EIP)).toBe(CODE + 16);
    expect(m.read32(DATA)).toBe(1);
    m.execute([...new Array(6).fill(0x3e), ...add, 0xf4]);
    expect(vectorOf(m)).toBe(Vector.GP);
    expect(m.read32(m.reg(S.ESP))).toBe(0);
    expect(m.read32(m.reg(S.ESP) + 4)).toBe(CODE);
  });

  test('too many prefixes alone are #GP, an invalid opcode behind few is #UD', () => {
    const m = new Machine();
    m.execute([...new Array(15).fill(0x66), 0x0f, 0x0b]);
    expect(vectorOf(m)).toBe(Vector.GP);
    m.setRing(0);
    m.execute([0x66, 0x66, 0x0f, 0xff]);
    expect(vectorOf(m)).toBe(Vector.UD);
  });

  test.each([
    ['a register destination', [0xf0, 0x01, 0xc0]],
    ['an instruction that writes no memory', [0xf0, 0x03, 0x05, 0, 0, 3, 0]],
    ['CMP', [0xf0, 0x39, 0x05, 0, 0, 3, 0]],
    ['MOV', [0xf0, 0x89, 0x05, 0, 0, 3, 0]],
    ['NOP', [0xf0, 0x90]],
    ['BT', [0xf0, 0x0f, 0xa3, 0x05, 0, 0, 3, 0]],
  ])('LOCK before %s is #UD', (_what, code) => {
    const m = new Machine();
    m.execute(code);
    expect(vectorOf(m)).toBe(Vector.UD);
    expect(m.reports).toEqual([]);
  });

  test('RDPMC finds no counters', () => {
    const m = new Machine();
    m.execute([0x0f, 0x33]);
    expect(vectorOf(m)).toBe(Vector.GP);
  });
});

describe('ENTER with a 16-bit stack', () => {
  test('copies the display and masks addresses', () => {
    const m = new Machine();
    m.cpu.setSegment(Seg.SS, DS1, 0x20000, 0xffff, P_S | 0x3);
    m.cpu.s[S.ESP] = 0xabcd0004;
    m.cpu.s[S.EBP] = 0x12340100;
    m.write32(0x200fc, 0x11223344);
    m.load('enter 6, 2\nhlt');
    m.run();
    // EBP at 0, the display's word at FFFC, the frame pointer at FFF8, six bytes of locals.
    expect(m.read32(0x20000)).toBe(0x12340100);
    expect(m.read32(0x2fffc)).toBe(0x11223344);
    expect(m.read32(0x2fff8)).toBe(0xabcd0000);
    expect(m.reg(S.ESP)).toBe(0xabcdfff2);
    expect(m.reg(S.EBP)).toBe(0xabcd0000);
    expect(m.cpu.s[segSelector(Seg.SS)]).toBe(DS1);
  });
});
