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
