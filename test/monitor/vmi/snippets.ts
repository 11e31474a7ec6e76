/** Pieces of guest code that the tests share, and how a guest is run to its end. */
import { expect } from 'vitest';
import { KERNEL, KERNEL_STACK_TOP, USER_STACK_TOP, type VmiMachine } from './vmi-machine.js';

/** Into user mode at USER_LINEAR, interrupts on. */
export const TO_USER = `
  mov eax, 0x68
  mov edx, ${KERNEL + KERNEL_STACK_TOP}
  call UpdateKernelStack
  push 0x7b
  push ${USER_STACK_TOP}
  push 0x202
  push 0x73
  push USER_LINEAR
  call IRET`;
export const REPORT = 'out 0xe9, eax';
export const DONE = 'out 0xf4, al';
/** Reports EIP, CS and EFLAGS.IF of an exception without error code, then ends. */
export const FATAL = (label: string) => `
  ${label}:
    pop eax
    ${REPORT}
    pop eax
    ${REPORT}
    pop eax
    ${REPORT}
    ${DONE}`;

export function run(machine: VmiMachine): number[] {
  const result = machine.run();
  expect(machine.done, `${JSON.stringify(result)} ${machine.log.join(' | ')} reports ${machine.reports}`).toBe(true);
  expect(machine.audit()).toEqual([]);
  machine.vcpu.checkAccount();
  return machine.reports;
}
