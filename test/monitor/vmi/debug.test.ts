/** Debug registers and single steps of a guest whose kernel runs directly: hardware meets its breakpoints in ring 1 and in ring 3. */
import { expect, test } from 'vitest';
import { DONE, REPORT, run, TO_USER } from './snippets.js';
import { DATA, KERNEL, USER_LINEAR, VmiMachine } from './vmi-machine.js';

const AT = KERNEL + DATA + 4;
/** DR7: breakpoint 0 on writes of four bytes; on an instruction. */
const ON_WRITE = 0x400 | 1 | (0xd << 16);
const ON_INSTRUCTION = 0x401;
const BS = 1 << 14;

/** Reports EIP and what DR6 says, clears DR6, and goes on; RF is set for the instruction. */
const DEBUG = `debug: push eax
        mov eax, [esp+4]
        ${REPORT}
        mov eax, dr6
        and eax, 0xe00f
        ${REPORT}
        mov eax, 0
        mov dr6, eax
        or dword [esp+12], 0x10000
        pop eax
        call IRET`;

const arm = (address: string, dr7: number): string => `
        mov eax, ${address}
        mov dr0, eax
        mov eax, ${dr7}
        mov dr7, eax`;

test('a write of the kernel to what its breakpoint watches', () => {
  const machine = new VmiMachine({
    kernel: `${arm(String(AT), ON_WRITE)}
        mov [${AT}], eax
 behind: mov [${AT + 4}], eax
        mov eax, 0x400
        mov dr7, eax
        mov [${AT}], eax
        ${DONE}
        ${DEBUG}`,
    gates: { 1: 'debug' },
  });
  expect(run(machine)).toEqual([machine.labels.get('behind'), 1]);
});

test('an instruction of the kernel and one of the user program, the latter with an access that only the monitor refuses', () => {
  const machine = new VmiMachine({
    kernel: `${arm('here', ON_INSTRUCTION)}
 here:  nop
        ${arm(String(USER_LINEAR + 1), ON_INSTRUCTION)}
        ${TO_USER}
 syscall: ${DONE}
        ${DEBUG}`,
    user: 'nop\npush eax\nint 0x80',
    gates: { 1: 'debug', 128: 'syscall' },
  });
  expect(run(machine)).toEqual([machine.labels.get('here'), 1, USER_LINEAR + 1, 1]);
});

test('single steps of the user program', () => {
  const machine = new VmiMachine({
    kernel: `${TO_USER}
 syscall: ${DONE}
        ${DEBUG}`,
    user: 'pushfd\nor dword [esp], 0x100\npopfd\nnop\nmov eax, 1\nint 0x80',
    gates: { 1: 'debug', 128: 'syscall' },
  });
  const behindPopfd = USER_LINEAR + 1 + 7 + 1;
  expect(run(machine)).toEqual([behindPopfd + 1, BS, behindPopfd + 6, BS]);
});
