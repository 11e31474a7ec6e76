/**
 * Hard places for an engine that compiles, each in every setting: what the processor holds at the end, RAM, cycles, TLB misses and
 * device accesses are those of the reference interpreter. Each program also says by itself that it did what it is about.
 */
import { describe, expect, test } from 'vitest';
import { Cr0, S, Vector } from '../../src/hypervisor/machine/cpu/state.js';
import { type EngineSetting, inSetting } from '../engine-setting.js';
import { CODE, CS3, DATA, DS3, HANDLERS, Machine, STACK0 } from '../machine/fixture.js';

const SETTINGS = ['never', 'always', 'later', 'normal'] as const;
/** Enough rounds for code to be hot in the setting `normal`. */
const HOT = 500;
/** Rounds of what drops compiled code each time. */
const ROUNDS = 60;

const machineWith = (setting: EngineSetting): Machine => inSetting(setting, () => new Machine());

const digest = ({ cpu, memory, base, mmioLog, portLog }: Machine) => ({
  registers: [...cpu.s.subarray(0, 9)],
  flags: cpu.readEflags(),
  cycles: cpu.cycles,
  instructions: cpu.instructions,
  counters: { ...cpu.counters, blocksDecoded: 0, blocksInvalidated: 0 },
  rings: [...cpu.cyclesByRing],
  cr2: cpu.s[S.CR2],
  devices: [mmioLog, portLog],
  tlb: cpu.tlbEntries(),
  memory: Buffer.from(memory.bytes(base, 0x80000)).toString('base64'),
});

/** Runs a program in every setting; what `run` answers is compared too, and `check` sees each machine at its end. */
function everywhere(
  name: string,
  run: (machine: Machine) => unknown,
  check: (machine: Machine) => void = () => {},
  /** Some block lives long enough to be compiled on its second execution. */
  compiles = true,
): void {
  describe(name, () => {
    const reference = machineWith('reference');
    const answer = run(reference);
    check(reference);
    const wanted = digest(reference);
    test.each(SETTINGS)('%s', setting => {
      const machine = machineWith(setting);
      expect(run(machine)).toEqual(answer);
      expect(digest(machine)).toEqual(wanted);
      if (setting === 'always' && compiles) expect(machine.cache.compiler.compiled).toBeGreaterThan(0);
    });
  });
}

const halts = (machine: Machine) => expect(machine.run()).toEqual({ kind: 'halt' });

/** Maps linear 0x400000 + i * 4096 (the second page table of the fixture). */
const map = (machine: Machine, linear: number, entry: number) =>
  machine.write32(0x41000 + ((linear >>> 12) & 1023) * 4, entry);

/** Pages 256 KiB apart are of one set of the TLB. */
const conflict = (i: number) => 0x400000 + i * 0x40000;

everywhere(
  'the second access of an instruction misses, pushes the page of the first out, and is to a device',
  machine => {
    machine.enablePaging();
    for (let i = 0; i < 4; i++) map(machine, conflict(i), (DATA + i * 4096) | 7);
    map(machine, conflict(7), 0xa0007);
    machine.load(`
      mov ebx, ${HOT}
top:  mov eax, cr3
      mov cr3, eax
      mov eax, [${conflict(0)}]
      mov eax, [${conflict(1)}]
      mov eax, [${conflict(2)}]
      mov eax, [${conflict(3)}]
      mov esi, ${conflict(0)}
      mov edi, ${conflict(7)}
      movsd
      dec ebx
      jnz top
      hlt`);
    halts(machine);
  },
  machine => expect(machine.mmioLog.length).toBe(HOT),
);

everywhere(
  'deadlines close together behind CR3 loads, after which code and data are walked for again',
  machine => {
    machine.enablePaging();
    machine.load(`
      mov ecx, ${HOT * 4}
top:  mov eax, cr3
      mov cr3, eax
      add [${DATA}], ecx
      mov eax, 60
inner: imul edx, ecx
      dec eax
      jnz inner
      dec ecx
      jnz top
      hlt`);
    const stops: number[] = [];
    while (machine.run(machine.cpu.cycles + 2003).kind === 'deadline') stops.push(machine.cpu.cycles);
    return stops;
  },
  machine => expect(machine.cpu.counters.tlbMisses).toBeGreaterThan(HOT * 4 * 2),
);

everywhere(
  'the same code at rings 0 and 3, dropped by a store, with calls to it at both',
  machine => {
    // Ring 3 calls it, then ring 0, then one of its bytes is written, for ever other bytes.
    machine.load(`
      mov ebp, ${ROUNDS}
round:
      mov ecx, 3
again: call function
      dec ecx
      jnz again
      inc byte [function+1]
      push ${DS3}
      push 0x2c000
      push ${CS3}
      push user
      retf
user: mov ecx, 3
twice: call function
      dec ecx
      jnz twice
      int 0x80
function:
      mov eax, 0
      add edx, eax
      ret
back: mov ax, 0x10
      mov ds, ax
      mov es, ax
      mov esp, ${STACK0}
      dec ebp
      jnz round
      hlt`);
    const back = machine.load(`nop`, 0x7f000);
    expect(back.size).toBe(0);
    machine.cpu.s[S.EIP] = CODE;
    // The gate of INT 0x80 leads to a jump to `back`, which is found by its bytes.
    const bytes = machine.memory.bytes(machine.base + CODE, 256);
    const at = CODE + bytes.findIndex((byte, i) => byte === 0x66 && bytes[i + 1] === 0xb8 && bytes[i + 2] === 0x10);
    machine.gate(0x80, 3, at);
    halts(machine);
  },
  machine => {
    expect(machine.reg(S.EBP)).toBe(0);
    let sum = 0;
    for (let i = 0; i < ROUNDS; i++) sum += 3 * (i & 255) + 3 * ((i + 1) & 255);
    expect(machine.reg(S.EDX)).toBe(sum);
  },
);

everywhere(
  'a RET to a page that is not mapped walks once',
  machine => {
    machine.enablePaging();
    // The handler goes back behind the RET.
    machine.loadAt(HANDLERS + Vector.PF * 16, 'add esp, 4\n mov [esp], ebx\n iret');
    machine.load(`
      mov ecx, ${HOT}
      mov ebx, behind
top:  push 0x900000
      ret
behind: dec ecx
      jnz top
      hlt`);
    halts(machine);
  },
  machine => {
    expect(machine.cpu.counters.exceptions).toBe(HOT);
    // Each fault a walk; besides, the code, the stack, the tables of events.
    expect(machine.cpu.counters.tlbMisses).toBeLessThan(HOT + 12);
  },
);

everywhere(
  'a device sees the time and place of an x87 load in the middle of a block',
  machine => {
    machine.mmioValue = 0x3f800000;
    machine.load(`
      mov ecx, ${HOT}
top:  add eax, 1
      add edx, eax
      db 0xd9, 0x05, 0x00, 0x00, 0x0a, 0x00
      db 0xdd, 0xd8
      dec ecx
      jnz top
      hlt`);
    halts(machine);
  },
  machine => {
    expect(machine.mmioLog.length).toBe(HOT);
    // Every round takes the same time.
    const steps = new Set(machine.mmioLog.slice(1).map((entry, i) => entry.cycles - machine.mmioLog[i]!.cycles));
    expect(steps.size).toBe(1);
  },
);

everywhere(
  'a loop that rewrites an instruction of its own, behind the store and in front of it',
  machine => {
    machine.load(`
      mov ecx, ${HOT}
top:
front: mov ebx, 0
      add edx, ebx
      inc dword [front+1]
      inc dword [behind+1]
behind: mov ebx, 0
      add esi, ebx
      dec ecx
      jnz top
      hlt`);
    halts(machine);
  },
  machine => {
    expect(machine.reg(S.EDX) - machine.cpu.s[S.ESI]!).toBe(-HOT);
    expect(machine.reg(S.ESI)).toBe((HOT * (HOT + 1)) / 2);
  },
  false,
);

everywhere(
  'hot code that is changed when it has been compiled, from another page and through another linear address',
  machine => {
    machine.enablePaging();
    map(machine, 0x500000, (CODE + 4096) | 7);
    machine.loadAt(CODE + 4096, 'patched: mov eax, 1\n add edx, eax\n ret');
    machine.load(`
      mov ebp, 6
round: mov ecx, ${HOT}
top:  mov ebx, ${CODE + 4096}
      call ebx
      dec ecx
      jnz top
      inc byte [0x500001]
      mov ecx, ${HOT}
alias: mov ebx, 0x500000
      call ebx
      dec ecx
      jnz alias
      dec ebp
      jnz round
      hlt`);
    halts(machine);
  },
  machine => expect(machine.reg(S.EDX)).toBe(HOT * (1 + 2 + 3 + 4 + 5 + 6 + 2 + 3 + 4 + 5 + 6 + 7)),
);

everywhere(
  'an instruction in two pages, in a loop, whose second half is written and then mapped elsewhere',
  machine => {
    machine.enablePaging();
    // mov eax, imm32 begins 2 bytes before the page's end; its last three bytes are in the next page.
    const at = CODE + 4096 - 12;
    machine.load(
      `top: add ebx, ecx
      nop
      nop
      nop
      nop
      nop
      nop
      nop
      nop
      mov eax, 0x11223344
      add edx, eax
      dec ecx
      jnz top
      ret`,
      at,
    );
    machine.loadAt(CODE + 8192, 'nop');
    // Another machine page for the second half: the same instructions, another immediate.
    const bytes = machine.memory.bytes(machine.base + CODE + 4096, 64).slice();
    bytes[1] = 0x77;
    machine.write(0x60000, bytes);
    machine.load(
      `
      mov ecx, ${HOT}
      call ${at}
      inc byte [${CODE + 4096}]
      mov ecx, ${HOT}
      call ${at}
      mov dword [${machine.pteAt(CODE + 4096)}], ${0x60000 | 7}
      mov edi, ${CODE + 4096}
      invlpg [edi]
      mov ecx, ${HOT}
      call ${at}
      hlt`,
      0x14000,
    );
    halts(machine);
  },
  machine => expect(machine.cpu.instructions).toBeGreaterThan(HOT * 3 * 12),
);

everywhere(
  'code written by the host while it is not running, and by a device access of its own loop',
  machine => {
    machine.onPort = ({ kind }) => {
      if (kind === 'out') machine.write(CODE + 0x200, [0xb8, machine.portLog.length & 0xff, 0, 0, 0, 0xc3]);
    };
    machine.loadAt(CODE + 0x200, 'mov eax, 0\n ret');
    machine.load(`
      mov ebp, 30
      mov edx, 0x80
round: mov ecx, ${HOT}
top:  mov ebx, ${CODE + 0x200}
      call ebx
      add esi, eax
      dec ecx
      jnz top
      out dx, al
      dec ebp
      jnz round
      hlt`);
    for (let i = 0; ; i++) {
      if (machine.run(machine.cpu.cycles + 5000).kind === 'halt') break;
      machine.write(CODE + 0x200 + 2, [i & 1]);
    }
  },
  machine => expect(machine.portLog.length).toBe(30),
);

everywhere(
  'a page fault in the middle of REP MOVSD and REP STOSB, repaired by the handler, and one that is not',
  machine => {
    machine.enablePaging(Cr0.WP);
    for (let page = 0x70; page < 0x74; page++) machine.write32(machine.pteAt(page << 12), page << 12);
    machine.write32(machine.pteAt(0x74000), 0x74005);
    machine.gate(Vector.PF, 0, HANDLERS + 0x2000);
    machine.loadAt(
      HANDLERS + 0x2000,
      `push eax
      push ebx
      mov eax, cr2
      shr eax, 12
      cmp eax, 0x74
      jae stop
      mov ebx, [${0x40000}+eax*4]
      or ebx, 7
      mov [${0x40000}+eax*4], ebx
      pop ebx
      pop eax
      add esp, 4
      iret
stop: hlt`,
    );
    machine.load(`
      mov ebp, 20
round: mov esi, ${DATA}
      mov edi, 0x70ff0
      mov ecx, 0x300
      rep movsd
      mov edi, 0x72ffd
      mov ecx, 40
      rep stosb
      mov edx, 4
unmap: and dword [${0x40000 + 0x70 * 4 - 4}+edx*4], 0xfffffff8
      dec edx
      jnz unmap
      mov eax, cr3
      mov cr3, eax
      dec ebp
      jnz round
      mov edi, 0x73ff0
      mov ecx, 100
      rep stosd
      hlt`);
    halts(machine);
  },
  machine => {
    expect(machine.cpu.s[S.CR2]).toBe(0x74000);
    expect(machine.cpu.counters.exceptions).toBeGreaterThan(60);
    expect(machine.reg(S.ECX)).toBe(100 - 4);
  },
);

everywhere('steps over code that has been compiled, and runs on', machine => {
  machine.load(`
      mov ecx, ${HOT * 2}
top:  add eax, ecx
      push eax
      imul eax, eax, 3
      pop ebx
      test ecx, 3
      jz skip
      xor eax, ebx
skip: dec ecx
      jnz top
      hlt`);
  machine.run(HOT * 9);
  for (let i = 0; i < 1000; i++) {
    expect(machine.cpu.step()).toEqual({ kind: 'stepped' });
    if (i % 100 === 50) machine.run(machine.cpu.cycles + 77);
  }
  halts(machine);
});

everywhere(
  'a trap flag set by the guest over compiled code',
  machine => {
    machine.loadAt(HANDLERS + Vector.DB * 16, `inc dword [${DATA}]\n iret`);
    machine.load(`
      mov ebp, 4
round: mov ecx, ${HOT}
top:  add eax, ecx
      dec ecx
      jnz top
      pushfd
      xor dword [esp], 0x100
      popfd
      dec ebp
      jnz round
      hlt`);
    halts(machine);
  },
  machine => expect(machine.read32(DATA)).toBeGreaterThan(HOT * 3),
);

everywhere(
  'REP MOVSD and REP STOSB over a page whose code begins far behind their first element',
  machine => {
    machine.enablePaging(Cr0.WP);
    const page = 0x60000;
    const at = page + 0xc00;
    // Two copies of a function, which differ in its immediate; one of them comes to the page each round.
    for (const [i, copy] of [DATA, DATA + 0x1000].entries()) {
      machine.write(copy + 0xc00, [0x81, 0xc2, 3 + i * 4, 0, 0, 0, 0xc3]); // add edx, imm32; ret
    }
    machine.load(`
      mov ebp, ${ROUNDS}
round: mov eax, ebp
      and eax, 1
      shl eax, 12
      lea esi, [eax+${DATA}]
      mov edi, ${page}
      mov ecx, 0x400
      rep movsd
      mov ebx, ${at}
      mov ecx, 6
again: call ebx
      dec ecx
      jnz again
      mov edi, ${page + 0x100}
      mov ecx, ${at + 3 - page - 0x100}
      mov eax, 1
      rep stosb
      mov byte [${at}], 0x81
      mov byte [${at + 1}], 0xc2
      mov ecx, 6
once: call ebx
      dec ecx
      jnz once
      dec ebp
      jnz round
      hlt`);
    halts(machine);
  },
  // Three and seven in turn, then one in the low byte.
  machine => expect(machine.reg(S.EDX)).toBe(((ROUNDS / 2) * (3 + 7) + ROUNDS) * 6),
);

/** DR7: breakpoint 0 on an instruction, 1 on writes of four bytes (SDM vol. 3, 17.2.4). */
const ON_INSTRUCTION = 0x1;
const ON_WRITE = 0x4 | (0xd << 20);
const DR7_ALWAYS = 0x400;

everywhere(
  'breakpoints that the guest sets on an instruction and on data of a loop that is hot, and takes back',
  machine => {
    machine.enablePaging();
    // Counts hits by what DR6 says, in two words; RF lets the instruction go on.
    machine.gate(Vector.DB, 0, HANDLERS + 0x2000);
    machine.loadAt(
      HANDLERS + 0x2000,
      `push eax
      mov eax, dr6
      test eax, 1
      jz written
      inc dword [${DATA + 0x100}]
      or dword [esp+12], 0x10000
written: test eax, 2
      jz out
      inc dword [${DATA + 0x104}]
out:  xor eax, eax
      mov dr6, eax
      pop eax
      iret`,
    );
    machine.load(`
      mov eax, body
      mov dr0, eax
      mov eax, ${DATA}
      mov dr1, eax
      mov ebp, 8
round: mov ecx, ${HOT * 2}
top:
body: add [${DATA}], ecx
      mov [${DATA + 8}], ecx
      cmp ecx, ${HOT + 20}
      jne later
      mov eax, ${DR7_ALWAYS | ON_INSTRUCTION | ON_WRITE}
      mov dr7, eax
later: cmp ecx, ${HOT}
      jne on
      mov eax, ${DR7_ALWAYS}
      mov dr7, eax
on:   dec ecx
      jnz top
      dec ebp
      jnz round
      hlt`);
    halts(machine);
  },
  machine => {
    // Set in one iteration behind the store, taken back in the twentieth after it.
    expect(machine.read32(DATA + 0x100)).toBe(8 * 20);
    expect(machine.read32(DATA + 0x104)).toBe(8 * 20);
  },
);

everywhere(
  'a breakpoint of the monitor on data in the middle of what REP STOSD writes, and steps over it',
  machine => {
    machine.loadAt(HANDLERS + Vector.DB * 16, `inc dword [${DATA + 0x4000}]\n iret`);
    machine.load(`
      mov ebp, ${ROUNDS * 8}
round: mov edi, ${DATA + 0xf00}
      mov ecx, 0x100
      rep stosd
      mov eax, ebp
      dec ebp
      jnz round
      hlt`);
    const { s } = machine.cpu;
    const stops: number[] = [];
    for (let i = 0; machine.run(machine.cpu.cycles + 900).kind !== 'halt'; i++) {
      stops.push(machine.cpu.cycles, machine.cpu.instructions);
      // On in four slices, off in four.
      s[S.DR0 + 1] = DATA + 0x1000;
      s[S.DR7] = DR7_ALWAYS | ((i & 4) === 0 ? ON_WRITE : 0);
      for (let step = i % 5; step > 0; step--) machine.cpu.step();
    }
    return stops;
  },
  machine => expect(machine.read32(DATA + 0x4000)).toBeGreaterThan(ROUNDS / 3),
);

everywhere(
  'a loop in two pages, of which a word store across their border changes an instruction on each side',
  machine => {
    machine.enablePaging();
    const border = CODE + 4096;
    // The last byte of one page is the last of an immediate, the first of the next page is an opcode: INC EBX or DEC EBX.
    machine.load(
      `top: add esi, 0x01020304
      inc ebx
      dec ecx
      jz out
      jmp top
out:  ret`,
      border - 6,
    );
    machine.load(
      `
      mov ebp, ${ROUNDS}
round: mov ecx, ${HOT / 10}
      call ${border - 6}
      xor word [${border - 1}], 0x0801
      dec ebp
      jnz round
      hlt`,
      0x14000,
    );
    halts(machine);
  },
  machine => {
    // As many rounds with INC as with DEC.
    expect(machine.reg(S.EBX)).toBe(0);
    expect(machine.reg(S.ESI)).toBe(((ROUNDS / 2) * (HOT / 10) * (0x01020304 + 0x00020304)) >>> 0);
  },
);

/** More blocks than a region may have, and blocks longer than the decoder makes them. */
const LONG = Array.from(
  { length: 160 },
  (_, i) => `test eax, ${1 << (i % 20)}\n jz over${i}\n add ebx, ${i}\nover${i}: add eax, ${i * 77}`,
).join('\n');
const STRAIGHT = Array.from(
  { length: 130 },
  (_, i) => `adc e${'abcd'[i % 4] === 'c' ? 'd' : 'abcd'[i % 4]}x, ${i}`,
).join('\n');

everywhere('160 branches in a row, and 130 instructions without one', machine => {
  machine.load(`
      mov ecx, ${HOT}
top:  ${LONG}
      ${STRAIGHT}
      dec ecx
      jz done
      jmp top
done: hlt`);
  for (;;) if (machine.run(machine.cpu.cycles + 1237).kind === 'halt') break;
});

/** From one end of the page that the string instruction is in, over it, and into the next page. */
const overItself = (name: string, direction: 'cld' | 'std', first: number, repeat: 'rep stosd' | 'rep movsd') =>
  everywhere(
    `${name} over itself`,
    machine => {
      machine.load(`
      cld
      mov eax, 0xf4f4f4f4
      mov edi, ${DATA}
      mov ecx, 2048
      rep stosd
      ${direction}
      mov esi, ${DATA + (direction === 'std' ? 8188 : 0)}
      mov edi, ${first}
      mov ecx, 2048
      ${repeat}`);
      halts(machine);
    },
    // Behind the part in its page, what is executed is what was written.
    machine => expect(machine.cpu.s[S.ECX]).toBe(1024),
    false,
  );

overItself('a store string', 'cld', CODE, 'rep stosd');
overItself('a store string downwards', 'std', CODE + 4092, 'rep stosd');
overItself('a copied string', 'cld', CODE, 'rep movsd');
overItself('a copied string downwards', 'std', CODE + 4092, 'rep movsd');
