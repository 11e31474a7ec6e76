/** The generated interpreter against the reference where its own bookkeeping matters: links, retired blocks, events, devices. */
import { describe, expect, test } from 'vitest';
import { CODE_WORDS, Mode, PATCHED_MAX } from '../../src/hypervisor/machine/cpu/cache-layout.js';
import { type EngineOptions, engineDefaults } from '../../src/hypervisor/machine/cpu/code-cache.js';
import { S } from '../../src/hypervisor/machine/cpu/state.js';
import { inSetting } from '../engine-setting.js';
import { CODE, DATA, Machine } from './fixture.js';

type Tiering = NonNullable<EngineOptions['tiering']>;

const machineWith = (tiering: Tiering): Machine => inSetting(tiering, () => new Machine());

/** What a program can have left behind. */
function outcome(tiering: Tiering, program: string, options: { paging?: boolean; slice?: number } = {}) {
  const machine = machineWith(tiering);
  if (options.paging) machine.enablePaging();
  machine.load(program);
  const ends: string[] = [];
  for (let deadline = options.slice ?? Number.POSITIVE_INFINITY; ; deadline += options.slice ?? 0) {
    const exit = machine.run(deadline);
    ends.push(`${exit.kind} at ${machine.cpu.s[S.EIP]} after ${machine.cpu.instructions} and ${machine.cpu.cycles}`);
    if (exit.kind !== 'deadline') break;
  }
  return {
    registers: [...machine.cpu.s.subarray(S.EAX, S.EDI + 1)],
    flags: machine.cpu.readEflags(),
    ends,
    ports: machine.portLog,
    mmio: machine.mmioLog,
    data: [...machine.memory.bytes(machine.base + DATA, 256)],
    code: [...machine.memory.bytes(machine.base + CODE, 512)],
    misses: machine.cpu.counters.tlbMisses,
  };
}

const PROGRAMS: Readonly<Record<string, string>> = {
  'a loop with calls and returns': `
      mov ecx, 300
    top:
      push ecx
      call function
      pop ecx
      dec ecx
      jnz top
      hlt
    function:
      mov eax, [esp+4]
      test eax, 1
      je even
      add [${DATA}], eax
      ret
    even:
      sub [${DATA + 4}], eax
      ret`,
  'a store into the instruction behind it': `
      mov ecx, 3
    top:
      mov byte [patched+1], cl
    patched:
      mov al, 0
      add [${DATA}], al
      dec ecx
      jnz top
      hlt`,
  'a linked block that is rewritten': `
      mov ecx, 200
    top:
      test ecx, 7
      jne skip
      inc byte [there+1]
    skip:
      jmp there
    there:
      mov dl, 0
      add [${DATA}], dl
      loop top
      hlt`,
  'indirect jumps through a table, into rewritten code too': `
      mov dword [${DATA + 64}], one
      mov dword [${DATA + 68}], two
      mov ecx, 100
    top:
      mov eax, ecx
      and eax, 1
      jmp [${DATA + 64}+eax*4]
    one:
      add dword [${DATA}], 3
      inc byte [two+6]
      jmp next
    two:
      add dword [${DATA + 4}], 5
    next:
      dec ecx
      jnz top
      hlt`,
  'devices in the middle of blocks': `
      mov ecx, 20
    top:
      add eax, 5
      mov ebx, [0xa0000]
      mov [0xa0010], ecx
      add [0xa0020], ecx
      in al, 0x60
      dec ecx
      jnz top
      hlt`,
  'words across pages': `
      mov esi, ${DATA + 0xffe}
      mov ecx, 50
    top:
      add [esi], ecx
      mov ax, [esi+1]
      mov [esi-3], eax
      dec ecx
      jnz top
      mov eax, [${DATA + 0xffe}]
      hlt`,
  'every condition on every kind of flags': [
    'add',
    'sub',
    'and',
    'adc',
    'sbb',
    'inc',
    'dec',
    'shl',
    'rol',
    'stc',
    'imul',
    'bt',
  ]
    .flatMap((op, i) => [
      `mov eax, ${(0x7fffffff + i * 0x10000001) >>> 0}`,
      'mov ecx, 0x80000001',
      op === 'inc' || op === 'dec'
        ? `${op} eax`
        : op === 'shl' || op === 'rol'
          ? `${op} eax, 3`
          : op === 'stc'
            ? op
            : `${op} eax, ecx`,
      ...['o', 'no', 'b', 'ae', 'e', 'ne', 'be', 'a', 's', 'ns', 'p', 'np', 'l', 'ge', 'le', 'g'].flatMap((cc, bit) => [
        `set${cc} byte [${DATA + i * 16 + bit}]`,
        `j${cc} short $+2`,
      ]),
    ])
    .concat('hlt')
    .join('\n'),
  'a divide error in the middle of a block': 'mov eax, 7\n xor edx, edx\n xor ecx, ecx\n inc ebx\n div ecx\n hlt',
};

describe('compared with the reference', () => {
  for (const [name, program] of Object.entries(PROGRAMS)) {
    test(name, () => {
      const expected = outcome('reference', program);
      expect(outcome('never', program)).toEqual(expected);
      expect(outcome('always', program)).toEqual(expected);
    });
    test(`${name}, with paging and a deadline every 97 cycles`, () => {
      const options = { paging: true, slice: 97 };
      const expected = outcome('reference', program, options);
      expect(expected.misses).toBeGreaterThan(0);
      expect(outcome('never', program, options)).toEqual(expected);
    });
  }
});

test('a full arena drops all blocks, links and numbers, and what runs goes on', () => {
  engineDefaults.decodedBytesMax = 128 << 10;
  const machine = machineWith('never');
  engineDefaults.decodedBytesMax = CODE_WORDS * 4;
  // Each turn writes a function at another place and calls it so often that it is kept: 5000 blocks of more than a hundred bytes.
  machine.load(`
      mov ecx, 5000
      mov edi, 0x40000
    top:
      mov byte [edi], 0xb8
      mov [edi+1], ecx
      mov byte [edi+5], 0xc3
      mov ebx, 2
    again:
      call edi
      dec ebx
      jnz again
      add [${DATA}], eax
      add edi, 8
      dec ecx
      jnz top
      hlt`);
  const clear = machine.cache.clear.bind(machine.cache);
  let cleared = 0;
  machine.cache.clear = () => {
    cleared += 1;
    clear();
  };
  expect(machine.run().kind).toBe('halt');
  expect(machine.read32(DATA)).toBe((5000 * 5001) / 2);
  expect(cleared).toBeGreaterThan(4);
  expect(machine.cache.numbered.length).toBeLessThanOrEqual(1000);
});

test.each(['reference', 'never', 'always'] as const)(
  '%s: straight code goes on in the next linear page, wherever that is',
  tiering => {
    const machine = machineWith(tiering);
    machine.enablePaging();
    const [page, elsewhere] = [CODE + 0x1000, CODE + 0x4000];
    // The next page in physical memory has instructions that are well known by then, but they are not the program's.
    machine.write32(machine.pteAt(page), elsewhere | 7);
    machine.write(page, [0x40, 0x40, 0xf4]);
    machine.write(elsewhere, [0x43, 0xf4]);
    machine.write(page - 3, [0x40, 0x40, 0x43]);
    machine.load(`${'inc eax\n inc ebx\n'.repeat(4)} jmp ${page - 3}`);
    expect(machine.run().kind).toBe('halt');
    expect([machine.reg(S.EAX), machine.reg(S.EBX), machine.reg(S.EIP)]).toEqual([6, 6, page + 2]);
    expect(machine.cpu.instructions).toBe(14);
    expect(machine.cpu.counters.tlbMisses).toBe(2);
  },
);

test('code that is executed often gets a block though one of its instructions was seen too seldom to be known', () => {
  const machine = machineWith('never');
  // INC is known by then, and so the loop is walked as far as ADC, of which only the beginning of another block is decoded in full.
  const labels = machine.load(`
      ${'inc eax\n'.repeat(4)}
      mov ecx, 4
      jmp top
    top:
      inc eax
      adc ebx, [${DATA}]
      dec ecx
      jnz top
      hlt`);
  expect(machine.run().kind).toBe('halt');
  const block = machine.cache.find(machine.base + labels.get('top')!, Mode.PLAIN);
  expect(block?.instructions).toBe(4);
});

test('code that is patched and executed in turns is mostly executed without blocks, which have one place', () => {
  const machine = machineWith('never');
  const turns = 5000;
  machine.load(`
      mov ecx, ${turns}
    top:
      mov [there+1], ecx
    there:
      mov eax, 0
      add [${DATA}], eax
      dec ecx
      jnz top
      hlt`);
  expect(machine.run().kind).toBe('halt');
  expect(machine.read32(DATA)).toBe((turns * (turns + 1)) / 2);
  const each = 1 << PATCHED_MAX;
  const { blocksInvalidated, blocksDecoded } = machine.cpu.counters;
  expect(blocksInvalidated).toBeGreaterThanOrEqual(Math.floor(turns / (each + 1)));
  expect(blocksInvalidated).toBeLessThan(turns / each + 2 * PATCHED_MAX);
  expect(blocksDecoded).toBeLessThan(blocksInvalidated + 5);
  expect(machine.cache.decodedBytes).toBeLessThan(5000);
});
