/** A guest kernel that debugs its user program: single steps and breakpoints say the same to it under BT as on a bare processor. */
import { describe, expect, test } from 'vitest';
import {
  CODE,
  DATA,
  differences,
  guest,
  makeBt,
  runBt,
  runNative,
  Selectors,
  setGate,
  USER_STACK_TOP,
} from './bt-machine.js';

const HANDLER = 0x18000;
const SYSTEM_CALL = 0x19000;
const USER = 0x30000;
const LOG = 0x40000;
const BREAK = 0x400;

/** DR7 with breakpoint `i` enabled. */
const enable = (i: number, kind: 'code' | 'write' | 'any', bytes: 1 | 2 | 4 = 1): number =>
  BREAK |
  (1 << (2 * i)) |
  ({ code: 0, write: 1, any: 3 }[kind] << (16 + 4 * i)) |
  ({ 1: 0, 2: 1, 4: 3 }[bytes] << (18 + 4 * i));

/** #DB: notes EIP, CS, EFLAGS and DR6, clears DR6, and goes on behind a breakpoint. */
const LOGGER = `
        push eax
        push ebx
        mov ebx, [${LOG}]
        mov eax, [esp+8]
        mov [ebx], eax
        mov eax, [esp+12]
        mov [ebx+4], eax
        mov eax, [esp+16]
        mov [ebx+8], eax
        mov eax, dr6
        mov [ebx+12], eax
        mov eax, dr7
        mov [ebx+16], eax
        add ebx, 20
        mov [${LOG}], ebx
        xor eax, eax
        mov dr6, eax
        or dword [esp+16], 0x10000
        pop ebx
        pop eax
        iretd`;

/** Goes to user code with breakpoints and flags set; answers the events as [EIP, low bits of DR6]. */
function debugged(user: string, setUp: string, flags = 0x202) {
  const start = guest(
    `mov dword [${LOG}], ${LOG + 16}
     ${setUp}
     mov eax, ${Selectors.USER_DATA}
     mov ds, eax
     mov es, eax
     push ${Selectors.USER_DATA}
     push ${USER_STACK_TOP}
     push ${flags}
     push ${Selectors.USER_CODE}
     push ${USER}
     iretd`,
    { [HANDLER]: LOGGER, [USER]: user, [SYSTEM_CALL]: 'hlt' },
  );
  setGate(start.memory, 1, HANDLER, 0);
  setGate(start.memory, 0x80, SYSTEM_CALL, 3);
  const native = runNative(start);
  const machine = makeBt(start);
  const bt = runBt(machine);
  expect(differences(native, bt)).toEqual([]);
  // It came to its system call.
  expect(native.eip).toBe(SYSTEM_CALL + 1);
  expect(machine.technique.audit()).toEqual([]);
  const view = new DataView(native.memory.buffer);
  const events: [number, number][] = [];
  for (let at = LOG + 16; at < view.getUint32(LOG, true); at += 20) {
    events.push([view.getUint32(at, true) - USER, view.getUint32(at + 12, true) & 0xe00f]);
  }
  return { events, native, machine };
}

const BS = 1 << 14;

describe('single steps of user code', () => {
  test('each instruction, and DR6 says why', () => {
    const { events } = debugged('nop\nmov eax, 5\ninc eax\nint 0x80', '', 0x302);
    expect(events).toEqual([
      [1, BS],
      [6, BS],
      [7, BS],
    ]);
  });

  test('an instruction that the monitor carries out: IN with IOPL 3, and CLI', () => {
    const { events } = debugged('in al, 0x60\ncli\nsti\nnop\nint 0x80', '', 0x3302);
    expect(events.map(([eip]) => eip)).toEqual([2, 3, 4, 5]);
  });

  test('the iterations of REP STOSB, into a page that is touched for the first time', () => {
    const { events } = debugged(`mov edi, 0x60ffe\nmov ecx, 4\nrep stosb\nint 0x80`, '', 0x302);
    expect(events.map(([eip]) => eip)).toEqual([5, 10, 10, 10, 10, 12]);
  });
});

describe('breakpoints in user code', () => {
  test('on an instruction: a fault in front of it, once each time', () => {
    const { events } = debugged(
      'mov ecx, 3\nagain: inc eax\ndec ecx\njnz again\nint 0x80',
      `mov eax, ${USER + 5}\nmov dr1, eax\nmov eax, ${enable(1, 'code')}\nmov dr7, eax`,
    );
    expect(events).toEqual([
      [5, 2],
      [5, 2],
      [5, 2],
    ]);
  });

  test('on an instruction whose access is the first to its page: no second time for the fault that only the monitor sees', () => {
    const { events } = debugged(
      'nop\nmov [0x70000], eax\nint 0x80',
      `mov eax, ${USER + 1}\nmov dr0, eax\nmov eax, ${enable(0, 'code')}\nmov dr7, eax`,
    );
    expect(events).toEqual([[1, 1]]);
  });

  test('on data: a trap behind the write, in the middle of REP MOVSD too', () => {
    const { events } = debugged(
      `mov [${DATA + 4}], eax
       mov ebx, [${DATA + 4}]
       mov [${DATA + 8}], eax
       mov esi, ${DATA + 0x100}
       mov edi, ${DATA}
       mov ecx, 4
       rep movsd
       int 0x80`,
      `mov eax, ${DATA + 4}\nmov dr2, eax\nmov eax, ${enable(2, 'write', 4)}\nmov dr7, eax`,
    );
    expect(events).toEqual([
      [6, 4],
      [33, 4],
    ]);
  });

  test('that the kernel takes back, and accesses of its own that are none of user code', () => {
    const { events, machine } = debugged(
      `mov eax, [${DATA}]\nint 0x80`,
      `mov eax, ${DATA}\nmov dr0, eax\nmov eax, ${enable(0, 'any', 4)}\nmov dr7, eax\nmov eax, ${BREAK}\nmov dr7, eax`,
    );
    expect(events).toEqual([]);
    expect(machine.vcpu.debugRegisters[0]).toBe(DATA);
  });
});

test('after reset, and what cannot be written, reads as on the processor', () => {
  const start = guest(
    `mov eax, dr6
     mov ebx, dr7
     mov ecx, 0xffffffff
     mov dr6, ecx
     mov esi, dr6
     mov ecx, 0xffff0f00
     mov dr7, ecx
     mov edi, dr7
     mov ecx, ${BREAK}
     mov dr7, ecx
     db 0x0f, 0x21, 0xe5
     hlt`,
  );
  const native = runNative(start);
  expect(differences(native, runBt(makeBt(start)))).toEqual([]);
});

test('general detection: an access to a debug register is a #DB in front of it, and its handler may access them', () => {
  const start = guest(
    `mov dword [${LOG}], ${LOG + 16}
     mov eax, 0x2400
     mov dr7, eax
     nop
     mov ecx, dr0
     hlt`,
    { [HANDLER]: LOGGER },
    CODE,
  );
  setGate(start.memory, 1, HANDLER, 0);
  const native = runNative(start);
  const bt = runBt(makeBt(start));
  expect(differences(native, bt)).toEqual([]);
  const view = new DataView(native.memory.buffer);
  expect(view.getUint32(LOG, true)).toBe(LOG + 16 + 20);
  expect(view.getUint32(LOG + 16 + 12, true) & 0xe00f).toBe(1 << 13);
  expect(view.getUint32(LOG + 16 + 16, true) & 0x2000).toBe(0);
});

/** Kernel code with #DB logged; answers the events as [EIP behind the start, low bits of DR6]. `setUp` comes first, at `CODE`. */
function debuggedKernel(setUp: string, kernel: string, more: Readonly<Record<number, string>> = {}) {
  const KERNEL = 0x12000;
  const start = guest(
    `mov dword [${LOG}], ${LOG + 16}
     mov ebp, ${DATA}
     ${setUp}
     jmp ${KERNEL}`,
    { [HANDLER]: LOGGER, [KERNEL]: kernel, [OTHER]: `inc edi\n iretd`, ...more },
  );
  setGate(start.memory, 1, HANDLER, 0);
  setGate(start.memory, 0x41, OTHER, 0);
  setGate(start.memory, 0x20, OTHER, 0);
  const native = runNative(start);
  const machine = makeBt(start);
  const bt = runBt(machine);
  expect(differences(native, bt)).toEqual([]);
  expect(native.why).toBe('halt');
  expect(machine.technique.audit()).toEqual([]);
  const view = new DataView(native.memory.buffer);
  const events: [number, number][] = [];
  for (let at = LOG + 16; at < view.getUint32(LOG, true); at += 20) {
    events.push([view.getUint32(at, true) - KERNEL, view.getUint32(at + 12, true) & 0xe00f]);
  }
  return { events, native, machine };
}
const OTHER = 0x1a000;
/** Without the RF that is for breakpoints. */
const TRACE_ON = 'pushf\n or dword [esp], 0x100\n popf\n';
const TRACE_OFF = 'pushf\n and dword [esp], 0xfffffeff\n popf\n';

describe('single steps of kernel code', () => {
  test('begin behind the instruction after the POPF, and end behind the POPF that ends them', () => {
    const { events } = debuggedKernel('', `${TRACE_ON} nop\n inc eax\n jmp on\n ud2\n on: ${TRACE_OFF} inc ebx\n hlt`);
    // 1+7+1 bytes to set it; NOP, INC, JMP; PUSHF, AND, POPF.
    expect(events.map(([eip]) => eip)).toEqual([10, 11, 18, 19, 26, 27]);
    expect(events.every(([, why]) => why === BS)).toBe(true);
  });

  test('are of what the monitor performs, too: flags, segments, control registers, ports, far returns', () => {
    const { events } = debuggedKernel(
      '',
      `${TRACE_ON} cli
       sti
       cli
       pushf
       pop eax
       mov eax, cr0
       mov cr0, eax
       mov eax, cs
       mov ebx, ss
       push cs
       push far
       retf
       ud2
  far: in al, 0x60
       push ss
       pop ds
       mov ecx, gs
       mov gs, cx
       call f
       rdtsc
       xor eax, eax
       xor edx, edx
       ${TRACE_OFF} hlt
  f:   ret`,
    );
    // Each of them, and the three that end it.
    expect(events.length).toBe(25);
  });

  test('are lost behind a load of SS, and not raised behind INT, whose handler runs without them', () => {
    const { events, native } = debuggedKernel(
      '',
      `${TRACE_ON} mov eax, ss
       mov ss, ax
       inc esi
       int 0x41
       inc esi
       ${TRACE_OFF} hlt`,
    );
    expect(events.map(([eip]) => eip)).toEqual([11, 15, 18, 19, 26, 27]);
    expect(native.registers[7]).toBe(1);
  });

  test('are of each iteration of a repeated string instruction, on a page that is watched', () => {
    const { events } = debuggedKernel(
      'mov edi, 0x12800\n mov ecx, 3',
      `${TRACE_ON} rep stosb
       mov [0x12900], eax
       ${TRACE_OFF} hlt`,
    );
    expect(events.map(([eip]) => eip)).toEqual([9, 9, 11, 17, 18, 25, 26]);
  });

  test('come with an interrupt in between, in the order of the processor', () => {
    debuggedKernel(
      '',
      `${TRACE_ON} sti
       mov dx, 0x99
       out dx, al
       inc esi
       inc esi
       ${TRACE_OFF} cli
       hlt`,
    );
  });

  test('end a HLT', () => {
    const { events } = debuggedKernel('', `${TRACE_ON} nop\n hlt\n ${TRACE_OFF} hlt`);
    expect(events.map(([eip]) => eip)).toEqual([10, 11, 12, 19, 20]);
  });
});

describe('breakpoints in kernel code', () => {
  const set = (
    register: number,
    linear: number | string,
    kind: 'code' | 'write' | 'any',
    bytes: 1 | 2 | 4 = 1,
  ): string => `mov eax, ${linear}\n mov dr${register}, eax\n mov eax, ${enable(register, kind, bytes)}\n mov dr7, eax`;

  test('on instructions that are executed in place, and on those that the monitor performs', () => {
    for (const instruction of ['inc ecx', 'cli', 'push cs', 'pushf', 'in al, 0x60']) {
      const { events } = debuggedKernel(
        set(1, 0x12006, 'code'),
        `mov esi, 3
  again: nop
         ${instruction}
         nop
         dec esi
         jnz again
         hlt`,
      );
      expect([instruction, events]).toEqual([
        instruction,
        [
          [6, 2],
          [6, 2],
          [6, 2],
        ],
      ]);
    }
  });

  test('on data, behind the instruction that wrote it', () => {
    const { events } = debuggedKernel(
      set(2, DATA + 4, 'write', 4),
      `mov [ebp], eax
       mov [ebp+4], eax
       mov ecx, [ebp+4]
       lea esp, [ebp+8]
       push ecx
       mov esp, 0x9000
       hlt`,
    );
    expect(events).toEqual([
      [6, 4],
      [13, 4],
    ]);
  });

  test('the monitor performs what comes behind a store to a watched page', () => {
    const { machine } = debuggedKernel(
      `mov esi, 2\n more: dec esi\n jnz more\n ${set(0, 0x15000, 'code')}`,
      `mov [${CODE + 0x800}], eax\n cli\n mov [${CODE + 0x800}], esp\n pushf\n pop eax\n hlt`,
    );
    expect(machine.vm.counters.traceFaults).toBeGreaterThan(0);
  });

  test('and translated code again when they are taken back', () => {
    const { machine } = debuggedKernel(
      `${set(0, 0x12000, 'code')}`,
      `nop
       mov eax, ${BREAK}
       mov dr7, eax
       mov ecx, 500
  turn: add esi, ecx
       dec ecx
       jnz turn
       hlt`,
    );
    // A dozen instructions are stepped, and the loop is not.
    expect(machine.vm.counters.exits).toBeLessThan(80);
  });
});
