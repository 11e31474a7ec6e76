/** Accounting, budgets, self-modifying code, repeated strings: what no single instruction shows. */
import { describe, expect, test } from 'vitest';
import { Flag, S, Vector } from '../../src/hypervisor/machine/cpu/state.js';
import { CODE, COSTS, DATA, HANDLERS, Machine } from './fixture.js';

const cost = COSTS.cycles;

/** Loops, calls, strings over pages, divisions, faults that the handler repairs, system calls, port I/O. */
const PROGRAM = `
  mov ecx, 40
  cld
again:
  push ecx
  mov eax, ecx
  imul eax, eax, 37
  xor edx, edx
  mov ebx, 7
  div ebx
  add [${DATA}], edx
  call function
  mov esi, ${DATA}
  mov edi, ${DATA + 0x1f00}
  mov ecx, 0x500
  rep movsd
  mov al, 0x5a
  mov edi, ${DATA + 0x2ffd}
  mov ecx, 77
  rep stosb
  mov edx, 0x3f8
  out dx, al
  int 0x80
  rdtsc
  add [${DATA + 16}], eax
  pushfd
  popfd
  pop ecx
  dec ecx
  jnz again
  hlt
function:
  test ecx, 1
  jz even
  lea eax, [eax+ecx*4]
  ret
even:
  bswap eax
  ret`;

function boot(paging: boolean): Machine {
  const machine = new Machine();
  machine.write(HANDLERS + 0x80 * 16, [0x83, 0xc0, 0x01, 0xcf]); // add eax, 1; iret
  machine.load(PROGRAM);
  if (paging) machine.enablePaging();
  return machine;
}

function digest(machine: Machine) {
  return {
    registers: [...machine.cpu.s.subarray(0, 9)],
    flags: machine.cpu.readEflags(),
    cycles: machine.cpu.cycles,
    instructions: machine.cpu.instructions,
    misses: machine.cpu.counters.tlbMisses,
    ports: machine.portLog,
    memory: [...machine.memory.bytes(machine.base + DATA, 0x4000)],
  };
}

describe('budget independence', () => {
  for (const paging of [false, true]) {
    const whole = boot(paging);
    expect(whole.run()).toEqual({ kind: 'halt' });
    for (const slice of [1, 7, 1000]) {
      test(`slices of ${slice} cycles, paging ${paging ? 'on' : 'off'}`, () => {
        const machine = boot(paging);
        let exits = 0;
        for (;;) {
          const exit = machine.run(machine.cpu.cycles + slice);
          if (exit.kind === 'halt') break;
          expect(exit).toEqual({ kind: 'deadline' });
          exits += 1;
        }
        expect(exits).toBeGreaterThan(3);
        expect(digest(machine)).toEqual(digest(whole));
      });
    }
    test(`code cache dropped again and again, paging ${paging ? 'on' : 'off'}`, () => {
      const machine = boot(paging);
      while (machine.run(machine.cpu.cycles + 500).kind !== 'halt') machine.cache.clear();
      expect(digest(machine)).toEqual(digest(whole));
    });
  }

  test('step by step gives the same state', () => {
    const machine = boot(true);
    const whole = boot(true);
    whole.run();
    let steps = 0;
    while (machine.cpu.step().kind !== 'halt') steps += 1;
    const ours = digest(machine);
    const theirs = digest(whole);
    expect(ours.registers.slice(1)).toEqual(theirs.registers.slice(1));
    expect(ours.instructions).toBe(theirs.instructions);
    expect(steps).toBeGreaterThanOrEqual(ours.instructions - 1);
  });
});

describe('accounting', () => {
  test('instructions and static costs add up', () => {
    const machine = new Machine();
    machine.execute('mov eax, 1\n add eax, 2\n mov [0x30000], eax\n push eax\n hlt');
    expect(machine.cpu.instructions).toBe(5);
    expect(machine.cpu.cycles).toBe(2 * cost.simple + 2 * cost.store + cost.hlt);
  });

  test('a fault in the middle of a block charges what was completed', () => {
    const machine = new Machine();
    machine.execute('mov eax, 1\n mov ecx, 0\n div ecx\n mov ebx, 5\n hlt');
    expect(machine.reg(S.EBX)).toBe(0);
    expect(machine.cpu.instructions).toBe(3);
    expect(machine.cpu.cycles).toBe(2 * cost.simple + cost.exceptionSameRing + cost.hlt);
    expect(machine.read32(machine.reg(S.ESP))).toBe(CODE + 10);
  });

  test('a device sees exact time in the middle of a block', () => {
    const machine = new Machine();
    machine.mmioValue = 0x12345678;
    machine.execute('mov eax, 1\n mov ebx, 2\n mov ecx, [0xa0000]\n mov edx, 3\n mov [0xa0004], edx\n hlt');
    expect(machine.reg(S.ECX)).toBe(0x12345678);
    expect(machine.mmioLog.map(entry => entry.cycles)).toEqual([
      2 * cost.simple + cost.mmioAccess,
      2 * cost.simple + cost.mmioAccess + cost.load + cost.simple + cost.mmioAccess,
    ]);
  });

  test('cycles are split by ring', () => {
    const machine = new Machine();
    machine.write(HANDLERS + 0x80 * 16, [0xcf]);
    machine.setRing(3);
    machine.load('mov eax, 1\n int 0x80\n mov eax, 2\n hlt');
    machine.run();
    const [ring0, , , ring3] = machine.cpu.cyclesByRing;
    // Ring 0: the system call, the #GP of HLT at CPL 3, and the handler's HLT; ring 3: two moves and the time of nothing else.
    expect(ring3).toBe(2 * cost.simple);
    expect(ring0).toBe(2 * cost.exceptionToInner + cost.iretToOuter + cost.hlt);
    expect(ring0! + ring3!).toBe(machine.cpu.cycles);
  });
});

describe('self-modifying code', () => {
  test('a store into a later instruction of the same block takes effect', () => {
    const machine = new Machine();
    const labels = machine.load('mov byte [patch+1], 7\n nop\npatch: mov eax, 1\n hlt');
    expect(labels.has('patch')).toBe(true);
    machine.run();
    expect(machine.reg(S.EAX)).toBe(7);
    expect(machine.cpu.instructions).toBe(4);
    expect(machine.cpu.cycles).toBe(cost.store + 2 * cost.simple + cost.hlt);
  });

  test('a loop that rewrites its own immediate each time', () => {
    const machine = new Machine();
    machine.load(
      'mov ecx, 5\ntop: add eax, 1\npatch: mov ebx, 0\n add edx, ebx\n inc dword [patch+1]\n dec ecx\n jnz top\n hlt',
    );
    machine.run();
    expect(machine.reg(S.EDX)).toBe(0 + 1 + 2 + 3 + 4);
  });

  test('a rep movs over code is seen', () => {
    const machine = new Machine();
    machine.load(
      'call f\n mov esi, new\n mov edi, f\n mov ecx, 6\n rep movsb\n call f\n hlt\nf: mov eax, 1\n ret\nnew: mov eax, 2\n ret',
    );
    machine.run();
    expect(machine.reg(S.EAX)).toBe(2);
  });

  test('some data stores beside code drop nothing', () => {
    const machine = new Machine();
    machine.execute('mov ecx, 10\ntop: add [cell], ecx\n dec ecx\n jnz top\n hlt\ncell: dd 0');
    expect(machine.cpu.counters.blocksInvalidated).toBe(0);
    expect(machine.cpu.counters.blocksDecoded).toBeLessThan(5);
  });
});

describe('repeated strings', () => {
  test('a fault in the second page leaves registers at the element that faulted', () => {
    const machine = new Machine();
    machine.enablePaging();
    machine.write32(machine.pteAt(DATA + 0x1000), 0);
    machine.load(`cld\n mov eax, 0x11223344\n mov edi, ${DATA + 0xff0}\n mov ecx, 16\n rep stosd\n hlt`);
    machine.run();
    expect(machine.reg(S.CR2)).toBe(DATA + 0x1000);
    expect(machine.reg(S.ECX)).toBe(12);
    expect(machine.reg(S.EDI)).toBe(DATA + 0x1000);
    expect(machine.read32(DATA + 0xffc)).toBe(0x11223344);
    expect(machine.read32(machine.reg(S.ESP))).toBe(2);
  });

  test('one chunk costs a start and its elements, and pages are probed once a chunk', () => {
    const machine = new Machine();
    machine.enablePaging();
    machine.load(`mov edi, ${DATA}\n mov ecx, 1024\n rep stosd\n hlt`);
    const before = machine.cpu.counters.tlbMisses;
    machine.run();
    expect(machine.cpu.counters.tlbMisses - before).toBe(2);
    expect(machine.cpu.cycles).toBe(
      2 * cost.simple + cost.stringStart + 1024 * cost.stringStep + cost.hlt + 2 * cost.tlbMiss,
    );
  });

  test('overlapping forward moves replicate', () => {
    const machine = new Machine();
    machine.write(DATA, [1, 2, 3]);
    machine.execute(`mov esi, ${DATA}\n mov edi, ${DATA + 3}\n mov ecx, 60\n rep movsb\n hlt`);
    expect([...machine.memory.bytes(machine.base + DATA, 12)]).toEqual([1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3]);
  });

  test('backward moves and scans', () => {
    const machine = new Machine();
    machine.write(DATA, [1, 2, 3, 4, 5, 6, 7, 8]);
    machine.execute(
      `std\n mov esi, ${DATA + 7}\n mov edi, ${DATA + 9}\n mov ecx, 8\n rep movsb\n cld\n mov edi, ${DATA}\n mov al, 5\n mov ecx, 20\n repne scasb\n hlt`,
    );
    expect([...machine.memory.bytes(machine.base + DATA + 2, 8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(machine.reg(S.EDI)).toBe(DATA + 7);
    expect(machine.reg(S.ECX)).toBe(13);
    expect(machine.cpu.readEflags() & Flag.ZF).toBe(Flag.ZF);
  });
});

describe('interrupts', () => {
  test('the instruction after STI runs first', () => {
    const machine = new Machine();
    machine.vector = 0x21;
    machine.load('cli\n sti\n inc eax\n inc eax\n hlt');
    machine.cpu.setIntr(true);
    machine.run();
    expect(machine.reg(S.EAX)).toBe(1);
    expect(machine.cpu.counters.interrupts).toBe(1);
    expect(machine.reg(S.EIP)).toBe(HANDLERS + 0x21 * 16 + 1);
  });

  test('an interrupt is taken at a backward branch, and a deadline lowered by a device ends the run behind the access', () => {
    const machine = new Machine();
    machine.cpu.writeEflags(Flag.IF);
    machine.onPort = () => machine.cpu.setIntr(true);
    machine.execute('mov ecx, 3\ntop: out 0x80, al\n dec ecx\n jnz top\n hlt');
    expect(machine.reg(S.ECX)).toBe(3);
    const other = new Machine();
    other.onPort = () => {
      other.cpu.deadlineCycles = 0;
    };
    expect(other.execute('out 0x80, al\n inc eax\n hlt')).toEqual({ kind: 'deadline' });
    expect(other.reg(S.EAX)).toBe(0);
    expect(other.reg(S.EIP)).toBe(CODE + 2);
  });
});

describe('translation caches follow the architecture', () => {
  test('a page turned read-only is still written until INVLPG, then faults', () => {
    const machine = new Machine();
    machine.enablePaging();
    const pte = machine.pteAt(DATA);
    machine.load(
      `mov [${DATA}], eax\n and dword [${pte}], -3\n mov [${DATA}], ebx\n invlpg [${DATA}]\n mov [${DATA}], ecx\n hlt`,
    );
    machine.cpu.s[S.EBX] = 5;
    machine.run();
    expect(machine.read32(DATA)).toBe(5);
    expect(machine.reg(S.CR2)).toBe(DATA);
    expect(machine.read32(machine.reg(S.ESP))).toBe(3);
  });

  test('global lines survive a CR3 load', () => {
    const machine = new Machine();
    machine.enablePaging();
    machine.cpu.setCr4(0x80);
    machine.write32(machine.pteAt(DATA), DATA | 0x103);
    machine.load(`mov eax, [${DATA}]\n mov eax, [${DATA + 0x1000}]\n mov eax, cr3\n mov cr3, eax\n hlt`);
    machine.run();
    const pages = machine.cpu.tlbEntries().map(entry => entry.linearPage);
    expect(pages).toContain(DATA >>> 12);
    expect(pages).not.toContain((DATA >>> 12) + 1);
  });

  test('the dirty bit is set by the first write, not by a read', () => {
    const machine = new Machine();
    machine.enablePaging();
    machine.load(
      `mov eax, [${DATA}]\n mov ebx, [${machine.pteAt(DATA)}]\n mov [${DATA}], eax\n mov ecx, [${machine.pteAt(DATA)}]\n hlt`,
    );
    machine.run();
    expect(machine.reg(S.EBX) & 0x60).toBe(0x20);
    expect(machine.reg(S.ECX) & 0x60).toBe(0x60);
  });

  test('4 MiB pages', () => {
    const machine = new Machine();
    machine.enablePaging();
    machine.cpu.setCr4(0x10);
    machine.write32(0x8000 + 4 * 768, 0x400083);
    machine.write32(0x480000, 0xabcd);
    machine.execute('mov eax, [0xc0080000]\n mov [0xc0080004], eax\n hlt');
    expect(machine.reg(S.EAX)).toBe(0xabcd);
    expect(machine.read32(0x480004)).toBe(0xabcd);
    expect(machine.read32(0x8000 + 4 * 768) & 0x60).toBe(0x60);
  });

  test('an instruction over a page end follows the mapping of its second page', () => {
    const machine = new Machine();
    machine.enablePaging();
    // mov eax, imm32 whose immediate lies in the next page, then hlt.
    machine.load([0xb8], CODE + 0xfff);
    machine.write(CODE + 0x1000, [1, 0, 0, 0, 0xf4]);
    machine.run();
    expect(machine.reg(S.EAX)).toBe(1);
    machine.write(0x60000, [2, 0, 0, 0, 0xf4]);
    machine.write32(machine.pteAt(CODE + 0x1000), 0x60007);
    machine.cpu.flushTlb();
    machine.cpu.s[S.EIP] = CODE + 0xfff;
    machine.run();
    expect(machine.reg(S.EAX)).toBe(2);
    machine.write32(machine.pteAt(CODE + 0x1000), 0);
    machine.cpu.flushTlb();
    machine.cpu.s[S.EIP] = CODE + 0xfff;
    machine.run();
    expect(machine.reg(S.CR2)).toBe(CODE + 0x1000);
    expect(machine.read32(machine.reg(S.ESP) + 4)).toBe(CODE + 0xfff);
  });
});

describe('the monitor owns ring 0', () => {
  test('faults, software interrupts and SYSENTER come out with the state of the interrupted code', () => {
    const machine = new Machine({ ring0Escapes: true });
    machine.setRing(3);
    machine.load('mov eax, 1\n int 0x80\n cli\n hlt');
    expect(machine.run()).toEqual({ kind: 'monitor', vector: 0x80, errorCode: 0, hasErrorCode: false, software: true });
    expect(machine.reg(S.EIP)).toBe(CODE + 7);
    expect(machine.reg(S.CPL)).toBe(3);
    expect(machine.cpu.cyclesByRing[0]).toBe(cost.exceptionToInner);
    expect(machine.cpu.cyclesByRing[3]).toBe(cost.simple);
    expect(machine.cpu.instructions).toBe(2);
    expect(machine.run()).toEqual({ kind: 'monitor', vector: 13, errorCode: 0, hasErrorCode: true, software: false });
    expect(machine.reg(S.EIP)).toBe(CODE + 7);
    expect(machine.cpu.instructions).toBe(2);
  });

  test('an INT without rights is a #GP of the instruction', () => {
    const machine = new Machine({ ring0Escapes: true });
    machine.setRing(3);
    machine.load('int 0x40');
    expect(machine.run()).toMatchObject({ kind: 'monitor', vector: 13, errorCode: 0x40 * 8 + 2, software: false });
    expect(machine.reg(S.EIP)).toBe(CODE);
  });

  test('a gate to ring 1 is delivered by hardware, from the ring-1 stack of the TSS', () => {
    const machine = new Machine({ ring0Escapes: true });
    machine.gate(0x80, 3, HANDLERS, 0x19);
    machine.write(HANDLERS, [0xcf]); // iret
    machine.setRing(3);
    machine.load('int 0x80\n mov eax, 5\n int 0x81');
    machine.gate(0x81, 3);
    expect(machine.run()).toMatchObject({ kind: 'monitor', vector: 0x81 });
    expect(machine.reg(S.EAX)).toBe(5);
    expect(machine.cpu.cyclesByRing[1]).toBe(cost.exceptionToInner + cost.iretToOuter);
  });
});

test('a triple fault ends with a reason', () => {
  const machine = new Machine();
  machine.cpu.s[S.IDT_LIMIT] = 0;
  const exit = machine.execute('ud2');
  expect(exit).toMatchObject({ kind: 'shutdown' });
  expect((exit as { reason: string }).reason).toContain('triple fault');
});

test('what is not built is reported with its bytes and raises #UD', () => {
  const machine = new Machine();
  machine.execute([0x0f, 0x01, 0xd0, 0xf4]);
  expect(machine.reports).toEqual([{ eip: CODE, bytes: [0x0f, 0x01, 0xd0], text: 'xgetbv' }]);
  expect(machine.reg(S.EIP)).toBe(HANDLERS + Vector.UD * 16 + 1);
});
