/** Debug registers, single steps and what a delivery says about them (SDM vol. 3, chapter 17). */
import { beforeEach, describe, expect, test } from 'vitest';
import { Flag, S } from '../../src/hypervisor/machine/cpu/state.js';
import { CODE, DATA, HANDLERS, Machine } from './fixture.js';

const HANDLER = 0x14000;
const LOG = DATA + 0x20000;
const B = (...numbers: number[]) => numbers.reduce((bits, n) => bits | (1 << n), 0);
const BD = 1 << 13;
const BS = 1 << 14;

/** DR7 with breakpoint `i` locally enabled. */
const enable = (i: number, kind: 'code' | 'write' | 'port' | 'any', bytes = 1): number =>
  (1 << (2 * i)) |
  ({ code: 0, write: 1, port: 2, any: 3 }[kind] << (16 + 4 * i)) |
  ({ 1: 0, 2: 1, 4: 3 }[bytes]! << (18 + 4 * i));

describe.each([{ paging: false }, { paging: true }])('paging $paging', ({ paging }) => {
  let machine: Machine;

  beforeEach(() => {
    machine = new Machine();
    // #DB: notes EIP, DR6 and EFLAGS of the frame, clears DR6, sets RF in the frame, and goes on. EBP counts entries.
    machine.gate(1, 0, HANDLER);
    machine.loadAt(
      HANDLER,
      `push eax
       push ebx
       mov ebx, [${LOG}]
       mov eax, [esp+8]
       mov [ebx], eax
       mov eax, dr6
       mov [ebx+4], eax
       mov eax, [esp+16]
       mov [ebx+8], eax
       add ebx, 12
       mov [${LOG}], ebx
       xor eax, eax
       mov dr6, eax
       or dword [esp+16], 0x10000
       pop ebx
       pop eax
       iretd`,
    );
    machine.write32(LOG, LOG + 16);
    if (paging) machine.enablePaging();
  });

  /** Runs to HLT and answers the debug exceptions as [EIP or label, DR6 bits]. */
  function events(code: string, dr7 = 0, addresses: readonly (string | number)[] = [], eflags = 2) {
    const labels = machine.load(code);
    addresses.forEach((address, i) => {
      machine.cpu.s[S.DR0 + i] = typeof address === 'string' ? labels.get(address)! : address;
    });
    machine.cpu.s[S.DR7] = 0x400 | dr7;
    machine.cpu.writeEflags(eflags);
    expect(machine.run()).toEqual({ kind: 'halt' });
    const names = new Map([...labels].map(([name, at]) => [at, name]));
    const found: [string, number][] = [];
    for (let at = LOG + 16; at < machine.read32(LOG); at += 12) {
      const eip = machine.read32(at);
      found.push([names.get(eip) ?? `+${eip - CODE}`, machine.read32(at + 4) & 0xe00f]);
    }
    return found;
  }

  const flagsOf = (event: number) => machine.read32(LOG + 16 + event * 12 + 8);

  test('an instruction breakpoint is a fault before the instruction, once if RF is set for it', () => {
    const found = events(
      `mov ecx, 3
       again: inc eax
       dec ecx
       jnz again
       hlt`,
      enable(1, 'code'),
      [0, 'again'],
    );
    expect(found).toEqual([
      ['again', B(1)],
      ['again', B(1)],
      ['again', B(1)],
    ]);
    expect(machine.reg(S.EAX)).toBe(3);
    // Its own #DB pushes RF as it was; and RF is used up by the one instruction.
    expect(flagsOf(0) & Flag.RF).toBe(0);
    expect(machine.cpu.s[S.EFLAGS]! & Flag.RF).toBe(0);
  });

  test('a loop that is hot already meets a breakpoint that is set later', () => {
    const found = events(
      `mov ecx, 20000
       again: inc eax
       cmp ecx, 2
       jne on
       mov edx, again
       mov dr3, edx
       mov edx, 0x4c0
       mov dr7, edx
       on: dec ecx
       jnz again
       hlt`,
    );
    expect(found).toEqual([['again', B(3)]]);
    expect(machine.reg(S.EAX)).toBe(20000);
  });

  test.each([
    ['a dword at it', `mov [${DATA + 4}], eax`, true],
    ['its last byte', `mov [${DATA + 7}], al`, true],
    ['from below into it', `mov [${DATA + 1}], eax`, true],
    ['just below', `mov [${DATA}], eax`, false],
    ['just above', `mov [${DATA + 8}], al`, false],
    ['a read', `mov eax, [${DATA + 4}]`, false],
    ['read-modify-write', `add dword [${DATA + 4}], 3`, true],
    ['test of memory', `test dword [${DATA + 4}], 3`, false],
    ['push', `mov esp, ${DATA + 8}\npush eax\nmov esp, 0x27000`, true],
    ['pop from it', `mov esp, ${DATA + 4}\npop eax\nmov esp, 0x27000`, false],
    ['stosd', `mov edi, ${DATA + 4}\nstosd`, true],
    ['xchg', `xchg eax, [${DATA + 4}]`, true],
    ['cmpxchg8b', `cmpxchg8b [${DATA}]`, true],
  ])('a write breakpoint of 4 bytes: %s', (_, code, met) => {
    const found = events(`${code}\nhlt`, enable(0, 'write', 4), [DATA + 4]);
    expect(found.map(([, bits]) => bits)).toEqual(met ? [B(0)] : []);
  });

  test('data breakpoints are traps: the instruction is done, EIP behind it', () => {
    const found = events(
      `mov eax, 7
       mov [${DATA}], eax
       after: mov ecx, [${DATA}]
       then: hlt`,
      enable(0, 'write', 4) | enable(2, 'any', 2),
      [DATA, 0, DATA + 2],
    );
    expect(found).toEqual([
      ['after', B(0, 2)],
      ['then', B(2)],
    ]);
    expect(machine.read32(DATA)).toBe(7);
    expect(flagsOf(0) & Flag.RF).toBe(0);
  });

  test('an access over a page end meets breakpoints on both sides', () => {
    const edge = DATA + 0x1000;
    const found = events(`mov [${edge - 2}], eax\nhlt`, enable(0, 'write', 1) | enable(1, 'write', 2), [
      edge - 1,
      edge,
    ]);
    expect(found.map(([, bits]) => bits)).toEqual([B(0, 1)]);
  });

  test('repeated strings stop behind the iteration that met it', () => {
    const found = events(
      `mov edi, ${DATA}
       mov ecx, 8
       fill: rep stosd
       hlt`,
      enable(0, 'write', 4),
      [DATA + 8],
    );
    expect(found).toEqual([['fill', B(0)]]);
    expect(machine.reg(S.ECX)).toBe(0);
  });

  test('port breakpoints need CR4.DE', () => {
    const code = `in al, 0x61\nback: out 0x80, al\nhlt`;
    expect(events(code, enable(0, 'port', 2), [0x60])).toEqual([]);
    expect(events(`mov eax, 8\nmov cr4, eax\n${code}`, enable(0, 'port', 2), [0x60])).toEqual([['back', B(0)]]);
  });

  test('general detection: an access to a debug register is a fault, and the handler may access them', () => {
    const found = events(
      `mov eax, 0x2400
       mov dr7, eax
       look: mov ecx, dr3
       hlt`,
    );
    expect(found).toEqual([['look', BD]]);
    expect(machine.cpu.s[S.DR7]).toBe(0x400);
    expect(flagsOf(0) & Flag.RF).toBe(0);
  });

  test('DR4 and DR5 are names of DR6 and DR7, until CR4.DE makes them invalid', () => {
    machine.load(`mov eax, 0x455\ndb 0x0f, 0x23, 0xe8\nmov ebx, dr7\ndb 0x0f, 0x21, 0xe1\nmov eax, 0x400\nmov dr7, eax
      mov eax, 8\nmov cr4, eax\ndb 0x0f, 0x21, 0xe8`);
    machine.run();
    expect(machine.reg(S.EBX)).toBe(0x455);
    expect(machine.reg(S.ECX)).toBe(0xffff0ff0);
    expect(machine.reg(S.EIP)).toBe(HANDLERS + 6 * 16 + 1);
  });

  test('TF steps through every kind of instruction', () => {
    machine.gate(0x40, 0, 0x15000);
    machine.loadAt(0x15000, 'nop\niretd');
    const found = events(
      `a: call sub
       b: int 0x40
       c: mov ecx, 2
       mov edi, ${DATA}
       d: rep stosd
       e: mov eax, ss
       f: mov ss, eax
       g: nop
       h: cpuid
       i: rdtsc
       j: jmp short k
       nop
       k: pushfd
       l: and dword [esp], 0xfffffeff
       m: popfd
       n: nop
       hlt
       sub: ret`,
      0,
      [],
      2 | Flag.TF,
    );
    // INT clears TF for its handler and is not trapped, nor is the IRET that sets TF again; POPFD that clears TF still is; MOV SS
    // holds its trap off.
    const at = ['sub', 'b', `+${5 + 2 + 5}`, 'd', 'd', 'e', 'f', 'h', 'i', 'j', 'k', 'l', 'm', 'n'];
    expect(found.map(([name]) => name)).toEqual(at);
    expect(found.every(([, bits]) => bits === BS)).toBe(true);
  });

  test('INT1 reaches vector 1 from ring 3 whatever the gate says, and says nothing in DR6', () => {
    machine.setRing(3);
    machine.gate(3, 3);
    machine.load(`db 0xf1\nint3`);
    machine.run();
    expect(machine.read32(LOG)).toBe(LOG + 16 + 12);
    expect(machine.read32(LOG + 16) - CODE).toBe(1);
    expect(machine.read32(LOG + 20) & 0xe00f).toBe(0);
    expect(machine.reg(S.EIP)).toBe(HANDLERS + 3 * 16 + 1);
  });

  test('while breakpoints are enabled faults push RF, traps and software interrupts do not', () => {
    machine.gate(6, 0, 0x15000);
    machine.gate(0x40, 0, 0x15000);
    machine.loadAt(0x15000, `pop eax\npop ecx\npop edx\nhlt`);
    for (const [code, rf] of [
      ['ud2', Flag.RF],
      ['int 0x40', 0],
    ] as const) {
      machine.setRing(0);
      machine.cpu.s[S.DR7] = 0x400 | enable(0, 'code');
      machine.execute(code);
      expect(machine.reg(S.EDX) & Flag.RF).toBe(rf);
    }
  });

  test('a page fault of an instruction that also met a breakpoint takes the breakpoint with it', () => {
    if (!paging) return;
    const hole = DATA + 0x100000;
    machine.write32(machine.pteAt(hole), 0);
    machine.load(`mov esi, ${DATA}\nmov edi, ${hole}\nmovsd`);
    machine.cpu.s[S.DR0] = DATA;
    machine.cpu.s[S.DR7] = 0x400 | enable(0, 'any', 4);
    machine.run();
    expect(machine.reg(S.EIP)).toBe(HANDLERS + 14 * 16 + 1);
    expect(machine.read32(LOG)).toBe(LOG + 16);
  });

  test('watching a page changes neither what misses nor the time', () => {
    const code = `mov ecx, 50
      next: mov eax, [${DATA}]
      mov [${DATA + 0x100000}], eax
      add [${DATA + 0x200000}], ecx
      dec ecx
      jnz next
      hlt`;
    const measure = (dr7: number) => {
      machine = new Machine();
      if (paging) machine.enablePaging();
      machine.load(code);
      machine.cpu.s[S.DR0] = DATA + 64;
      machine.cpu.s[S.DR7] = 0x400 | dr7;
      machine.run();
      return {
        misses: machine.cpu.counters.tlbMisses,
        cycles: machine.cpu.cycles,
        data: machine.read32(DATA + 0x200000),
      };
    };
    expect(measure(enable(0, 'any', 4))).toEqual(measure(0));
  });
});
