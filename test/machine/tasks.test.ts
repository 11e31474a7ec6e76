/** Task switches by hardware (SDM vol. 3, chapter 7). */
import { beforeEach, describe, expect, test } from 'vitest';
import { Cr0, Flag, S, Seg, segBase, segSelector } from '../../src/hypervisor/machine/cpu/state.js';
import { CODE, CS0, CS3, DATA, DS0, DS3, GDT, HANDLERS, IDT, Machine, STACK3, TR, TSS } from './fixture.js';

const OTHER = 0x40;
const OTHER_TSS = DATA + 0x100;
const NARROW = 0x48;
const NARROW_TSS = DATA + 0x200;
const GATE = 0x50;
const TASK_STACK = DATA + 0x4000;
const ENTRY = 0x15000;

let machine: Machine;
const typeOf = (selector: number) => (machine.read32(GDT + (selector & 0xfff8) + 4) >>> 8) & 0x1f;
const fields = (base: number, values: Readonly<Record<number, number>>) => {
  for (const [offset, value] of Object.entries(values)) machine.write32(base + Number(offset), value);
};

beforeEach(() => {
  machine = new Machine();
  machine.descriptor(OTHER, OTHER_TSS, 0x67, 0x89);
  machine.descriptor(NARROW, NARROW_TSS, 0x2b, 0x81);
  fields(OTHER_TSS, {
    32: ENTRY,
    36: 2,
    40: 0x11111111,
    44: 0x22222222,
    56: TASK_STACK,
    68: 0x77777777,
    72: DS0,
    76: CS0,
    80: DS0,
    84: DS0,
    100: 0x680000,
  });
  // IP, FLAGS, AX, CX, ..., DI, ES, CS, SS, DS, LDT
  const words = [0x5000, 2, 0x1234, 0x5678, 0, 0, 0x4000, 0, 0, 0x9abc, DS0, 0x58, DS0, DS0, 0];
  for (const [i, word] of words.entries()) machine.write(NARROW_TSS + 0x0e + i * 2, [word & 255, word >> 8]);
  machine.descriptor(0x58, 0x10000, 0xffffffff, 0x409b);
  // A task gate to OTHER in the GDT, and one in the IDT for vector 0x40, both open to ring 3.
  machine.write32(GDT + GATE, OTHER << 16);
  machine.write32(GDT + GATE + 4, 0xe500);
  machine.write32(IDT + 0x40 * 8, OTHER << 16);
  machine.write32(IDT + 0x40 * 8 + 4, 0xe500);
  machine.loadAt(ENTRY, 'hlt');
});

test('JMP saves the old task, loads the new one, and moves the busy mark', () => {
  machine.cpu.s[S.EBX] = 0xbbbbbbbb | 0;
  machine.load(`jmp ${OTHER}:0\nback: hlt`);
  machine.cpu.writeEflags(2 | Flag.CF);
  machine.run();
  const s = machine.cpu.s;
  expect(machine.reg(S.EIP)).toBe(ENTRY + 1);
  expect([S.EAX, S.ECX, S.EDI, S.ESP].map(i => machine.reg(i))).toEqual([
    0x11111111,
    0x22222222,
    0x77777777,
    TASK_STACK,
  ]);
  expect([s[segSelector(Seg.TR)], s[segBase(Seg.TR)]]).toEqual([OTHER, OTHER_TSS]);
  expect([typeOf(TR), typeOf(OTHER)]).toEqual([9, 11]);
  expect(s[S.CR0]! & Cr0.TS).toBe(Cr0.TS);
  expect(machine.cpu.readEflags()).toBe(2);
  // The old task: EIP behind the jump (7 bytes), its flags, EBX, CS.
  expect([0x20, 0x24, 0x34, 0x4c].map(at => machine.read32(TSS + at))).toEqual([CODE + 7, 3, 0xbbbbbbbb, CS0]);
});

test('CALL nests: NT, a back link, both busy; IRET returns and makes the callee available', () => {
  machine.loadAt(ENTRY, 'mov ebx, 5\niretd\nmov ebx, 6\nhlt');
  machine.load(`mov esi, 1\ncall ${OTHER}:0\nmov esi, 2\ncall ${OTHER}:0\nhlt`);
  machine.run();
  expect(machine.read32(OTHER_TSS) & 0xffff).toBe(TR);
  expect([typeOf(TR), typeOf(OTHER)]).toEqual([11, 11]);
  // The second call enters behind the IRET, as it was saved.
  expect([machine.reg(S.EBX), machine.reg(S.EIP)]).toEqual([6, ENTRY + 5 + 1 + 5 + 1]);
  expect(machine.cpu.s[S.EFLAGS]! & Flag.NT).toBe(Flag.NT);
  expect(machine.read32(TSS + 0x40)).toBe(2);
});

test('INT from ring 3 through a task gate and back', () => {
  machine.loadAt(ENTRY, 'iretd');
  machine.setRing(3);
  machine.load('mov ecx, 9\nint 0x40\nmov edx, 3\nint3');
  machine.run();
  expect([machine.reg(S.ECX), machine.reg(S.EDX), machine.reg(S.EIP)]).toEqual([9, 3, HANDLERS + 3 * 16 + 1]);
  expect(machine.read32(TSS + 0x38)).toBe(STACK3);
  // The frame of the last INT3 shows where it came from.
  expect(machine.read32(0x28000 - 16)).toBe(CS3);
  expect(machine.read32(0x28000 - 4)).toBe(DS3);
});

test('a fault through a task gate pushes its error code on the new stack and saves the faulting EIP', () => {
  machine.write32(IDT + 13 * 8, OTHER << 16);
  machine.write32(IDT + 13 * 8 + 4, 0x8500);
  machine.execute('nop\nmov eax, 0x7fc\nmov ds, eax');
  expect(machine.reg(S.EIP)).toBe(ENTRY + 1);
  expect(machine.reg(S.ESP)).toBe(TASK_STACK - 4);
  expect(machine.read32(TASK_STACK - 4)).toBe(0x7fc);
  expect(machine.read32(TSS + 0x20)).toBe(CODE + 6);
});

test('a double fault has its own task where the stack is gone', () => {
  machine.write32(IDT + 8 * 8, OTHER << 16);
  machine.write32(IDT + 8 * 8 + 4, 0x8500);
  machine.enablePaging();
  machine.write32(machine.pteAt(0x200000), 0);
  machine.write32(OTHER_TSS + 0x1c, 0x8000);
  machine.execute('mov esp, 0x201000\npush eax');
  expect(machine.reg(S.EIP)).toBe(ENTRY + 1);
  expect(machine.read32(TASK_STACK - 4)).toBe(0);
  expect(machine.read32(TSS + 0x38)).toBe(0x201000);
});

test('16-bit task states: words, no FS and GS, upper halves as they come', () => {
  machine.loadAt(0x15000, 'hlt');
  machine.cpu.s[S.ESI] = 0x66666666;
  machine.load(`jmp ${NARROW}:0`);
  machine.run();
  expect([machine.reg(S.EAX) & 0xffff, machine.reg(S.EDI) & 0xffff]).toEqual([0x1234, 0x9abc]);
  expect(machine.cpu.s[segSelector(Seg.CS)]).toBe(0x58);
  expect(machine.cpu.s[segSelector(Seg.FS)]).toBe(0);
  expect(machine.reg(S.EIP)).toBe(0x5001);
  expect([typeOf(TR), typeOf(NARROW)]).toEqual([9, 3]);
  expect(machine.read32(TSS + 0x40)).toBe(0x66666666);
});

test('the new CR3 is loaded with paging', () => {
  machine.enablePaging();
  const directory = 0x9000;
  for (let i = 0; i < 1024; i++) machine.write32(directory + i * 4, machine.read32(0x8000 + i * 4));
  machine.write32(OTHER_TSS + 0x1c, directory);
  machine.execute(`jmp ${OTHER}:0`);
  expect(machine.reg(S.CR3)).toBe(directory);
});

test('the T bit traps before the first instruction of the new task', () => {
  machine.write32(OTHER_TSS + 0x64, 0x680001);
  machine.execute(`jmp ${OTHER}:0`);
  expect(machine.reg(S.EIP)).toBe(HANDLERS + 1 * 16 + 1);
  expect(machine.reg(S.DR6) & 0xe00f).toBe(1 << 15);
  expect(machine.read32(TASK_STACK - 12)).toBe(ENTRY);
});

describe('what is wrong is a fault of the old task with EIP at the instruction', () => {
  const cases: [string, number, number, () => void, string?, (0 | 3)?][] = [
    ['busy', 13, OTHER, () => machine.descriptor(OTHER, OTHER_TSS, 0x67, 0x8b)],
    ['absent', 11, OTHER, () => machine.descriptor(OTHER, OTHER_TSS, 0x67, 0x09)],
    ['too short', 10, OTHER, () => machine.descriptor(OTHER, OTHER_TSS, 0x66, 0x89)],
    ['not for this ring', 13, OTHER, () => {}, `call ${OTHER}:0`, 3],
    ['an absent gate', 11, GATE, () => machine.write32(GDT + GATE + 4, 0x6500), `jmp ${GATE}:0`],
    ['a gate to no task', 13, DS0, () => machine.write32(GDT + GATE, DS0 << 16), `call ${GATE}:0`],
    ['a gate to a local task', 13, OTHER | 4, () => machine.write32(GDT + GATE, (OTHER | 4) << 16), `call ${GATE}:0`],
    ['IRET to a task that is not busy', 10, OTHER, () => machine.write32(TSS, OTHER), 'iretd'],
    ['IRET to nothing', 10, 0, () => machine.write32(TSS, 0), 'iretd'],
    ['INT through an absent gate', 11, 0x40 * 8 + 2, () => machine.write32(IDT + 0x40 * 8 + 4, 0x6500), 'int 0x40'],
    ['INT to a busy task', 13, OTHER, () => machine.descriptor(OTHER, OTHER_TSS, 0x67, 0x8b), 'int 0x40'],
    ['INT to an absent task', 11, OTHER, () => machine.descriptor(OTHER, OTHER_TSS, 0x67, 0x09), 'int 0x40'],
  ];
  test.each(cases)('%s', (_, vector, error, prepare, code = `call ${OTHER}:0`, ring = 0) => {
    prepare();
    machine.setRing(ring);
    machine.load(code);
    machine.cpu.writeEflags(2 | (code === 'iretd' ? Flag.NT : 0));
    machine.run();
    expect(machine.reg(S.EIP)).toBe(HANDLERS + vector * 16 + 1);
    expect([machine.read32(machine.reg(S.ESP)), machine.read32(machine.reg(S.ESP) + 4)]).toEqual([error, CODE]);
    expect(machine.cpu.s[segSelector(Seg.TR)]).toBe(TR);
    expect(typeOf(TR)).toBe(11);
  });
});

describe('what is wrong with the new task is its own fault', () => {
  test.each([
    ['a null CS', 0x4c, 0, 10, 0],
    ['data in CS', 0x4c, DS0, 10, DS0],
    ['code of another ring', 0x4c, CS3 & ~3, 10, CS3 & ~3],
    ['a read-only ring in DS', 0x54, OTHER, 10, OTHER],
    ['an LDT that is none', 0x60, DS0, 10, DS0],
    ['code in ES is fine, but not what cannot be read', 0x48, 0x60, 10, 0x60],
    ['an absent DS', 0x54, 0x68, 11, 0x68],
  ])('%s', (_, at, selector, vector, error) => {
    machine.descriptor(0x60, 0, 0xffffffff, 0x4099);
    machine.descriptor(0x68, 0, 0xffffffff, 0x4013);
    // The handler gets a good stack from its own task: #TS and #NP through a task gate.
    const third = 0x70;
    machine.descriptor(third, DATA + 0x300, 0x67, 0x89);
    fields(DATA + 0x300, { 32: 0x16000, 36: 2, 56: TASK_STACK - 0x100, 72: DS0, 76: CS0, 80: DS0, 84: DS0 });
    machine.loadAt(0x16000, 'hlt');
    machine.write32(IDT + vector * 8, third << 16);
    machine.write32(IDT + vector * 8 + 4, 0x8500);
    machine.write32(OTHER_TSS + at, selector);
    machine.execute(`jmp ${OTHER}:0`);
    expect(machine.reg(S.EIP)).toBe(0x16001);
    expect(machine.read32(TASK_STACK - 0x104)).toBe(error);
    // The new task was the current one, and its EIP is that of its first instruction.
    expect(machine.read32(DATA + 0x300) & 0xffff).toBe(OTHER);
    expect(machine.read32(OTHER_TSS + 0x20)).toBe(ENTRY);
    expect([typeOf(TR), typeOf(OTHER), typeOf(third)]).toEqual([9, 11, 11]);
  });
});
