/** Floating point under binary translation: a lazy switch, #MF and #XM look to the guest as on a bare processor. */
import { expect, test } from 'vitest';
import { Cr0, Cr4, Vector } from '../../../src/hypervisor/machine/cpu/state.js';
import {
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

const NM_HANDLER = 0x18000;
const MF_HANDLER = 0x18100;
const XM_HANDLER = 0x18200;
const SYSCALL = 0x18300;
const USER = 0x30000;

test('#NM for a task with CR0.TS, then #MF and #XM, and the state in memory', () => {
  const start = guest(
    `
    mov eax, cr4
    or eax, ${Cr4.OSFXSR | Cr4.OSXMMEXCPT}
    mov cr4, eax
    mov eax, cr0
    or eax, ${Cr0.TS | Cr0.MP | Cr0.NE}
    mov cr0, eax
    mov eax, ${Selectors.USER_DATA}
    mov ds, eax
    mov es, eax
    push ${Selectors.USER_DATA}
    push ${USER_STACK_TOP}
    push 2
    push ${Selectors.USER_CODE}
    push ${USER}
    iretd`,
    {
      [NM_HANDLER]: `
        inc dword [${DATA + 0x800}]
        clts
        iretd`,
      [MF_HANDLER]: `
        inc dword [${DATA + 0x804}]
        db 0xdb, 0xe2 ; fnclex
        db 0xd9, 0x35
        dd ${DATA + 0x880} ; fnstenv
        iretd`,
      [XM_HANDLER]: `
        inc dword [${DATA + 0x808}]
        push 0x1f80
        db 0x0f, 0xae, 0x14, 0x24 ; ldmxcsr [esp]
        add esp, 4
        iretd`,
      [SYSCALL]: `
        db 0x0f, 0xae, 0x05
        dd ${DATA + 0x400} ; fxsave
        hlt`,
      [USER]: `
        mov edi, ${DATA}
        db 0xdb, 0xe3           ; fninit, the first use
        mov dword [edi], 0x37b
        db 0xd9, 0x2f           ; fldcw: division by zero not masked
        db 0xd9, 0xe8           ; fld1
        db 0xd9, 0xee           ; fldz
        db 0xdc, 0xf9           ; fdiv st1, st0
        db 0xd9, 0xeb           ; fldpi: #MF, then once more
        db 0xdd, 0x5f, 0x08     ; fstp qword [edi+8]
        mov dword [edi+16], 0x1d80
        db 0x0f, 0xae, 0x57, 0x10 ; ldmxcsr [edi+16]
        mov eax, 3
        db 0xf3, 0x0f, 0x2a, 0xc0 ; cvtsi2ss xmm0, eax
        db 0x0f, 0x57, 0xc9     ; xorps xmm1, xmm1
        db 0x0f, 0x5e, 0xc1     ; divps xmm0, xmm1: #XM, then infinities and NaNs
        db 0x0f, 0x11, 0x47, 0x20 ; movups [edi+32], xmm0
        db 0xdb, 0x47, 0x10     ; fild dword [edi+16]
        int 0x80`,
    },
  );
  setGate(start.memory, Vector.NM, NM_HANDLER, 0);
  setGate(start.memory, Vector.MF, MF_HANDLER, 0);
  setGate(start.memory, Vector.XM, XM_HANDLER, 0);
  setGate(start.memory, 0x80, SYSCALL, 3);
  const native = runNative(start);
  const machine = makeBt(start);
  const bt = runBt(machine);
  expect(native.why).toBe('halt');
  const view = new DataView(native.memory.buffer);
  expect([0x800, 0x804, 0x808].map(at => view.getUint32(DATA + at, true))).toEqual([1, 1, 1]);
  expect(view.getFloat64(DATA + 8, true)).toBe(Math.PI);
  expect(view.getFloat32(DATA + 32, true)).toBe(Number.POSITIVE_INFINITY);
  // The last x87 instruction was the task's, which runs directly: its address too.
  expect(view.getUint32(DATA + 0x400 + 8, true)).toBeGreaterThan(USER);
  expect(differences(native, bt)).toEqual([]);
  expect(machine.technique.audit()).toEqual([]);
});

test('an FXSAVE across a watched page is seen whole', () => {
  // The image lands on code that has been translated and runs again: XMM5 brings the new one. FNINIT leaves no address behind, which in
  // the kernel would be the translation's.
  const start = guest(
    `
    mov eax, cr4
    or eax, ${Cr4.OSFXSR}
    mov cr4, eax
    db 0xdb, 0xe3
    call 0x1a0f1
    mov [${DATA}], eax
    mov dword [${DATA + 16}], 0x3333b890 ; nop, mov eax, 0x44443333, ret
    mov dword [${DATA + 20}], 0x90c34444
    db 0x0f, 0x28, 0x2d
    dd ${DATA + 16}         ; movaps xmm5, [DATA+16]
    mov edi, 0x1a000
    db 0x0f, 0xae, 0x07     ; fxsave [edi]
    call 0x1a0f1
    mov [${DATA + 4}], eax
    hlt`,
    { [0x1a0f0]: 'nop\nmov eax, 0x2222\nret' },
  );
  const native = runNative(start);
  const machine = makeBt(start);
  const bt = runBt(machine);
  expect(native.why).toBe('halt');
  const view = new DataView(native.memory.buffer);
  expect([view.getUint32(DATA, true), view.getUint32(DATA + 4, true)]).toEqual([0x2222, 0x44443333]);
  expect(differences(native, bt)).toEqual([]);
});
