/** A lazy switch of floating-point state in a paravirtualized guest: SetCR0 sets TS in hardware, #NM arrives, CLTS clears it. */
import { expect, test } from 'vitest';
import { Cr0, Vector } from '../../../src/hypervisor/machine/cpu/state.js';
import { DONE, REPORT, run, TO_USER } from './snippets.js';
import { VmiMachine } from './vmi-machine.js';

test('#NM once for a task with CR0.TS; #MF for its division by zero', () => {
  const machine = new VmiMachine({
    kernel: `
      call GetCR0
      or eax, ${Cr0.TS | Cr0.MP | Cr0.NE}
      call SetCR0
      ${TO_USER}
      switched: inc esi
                call CLTS
                call IRET
      broken:   inc edi
                db 0xdb, 0xe2 ; fnclex
                call IRET
      end:      mov eax, esi
                ${REPORT}
                mov eax, edi
                ${REPORT}
                mov eax, ebx
                ${REPORT}
                ${DONE}`,
    user: `
      xor esi, esi
      xor edi, edi
      db 0xdb, 0xe3           ; fninit
      push 0x37b
      db 0xd9, 0x2c, 0x24     ; fldcw [esp]
      db 0xd9, 0xe8           ; fld1
      db 0xd9, 0xee           ; fldz
      db 0xdc, 0xf9           ; fdiv st1, st0
      db 0xd9, 0xeb           ; fldpi
      db 0xde, 0xc2           ; faddp st2, st0
      db 0xdd, 0xd8           ; fstp st0
      db 0xdb, 0x1c, 0x24     ; fistp dword [esp]
      pop ebx
      int 0x81`,
    gates: { [Vector.NM]: 'switched', [Vector.MF]: 'broken', 129: 'end' },
  });
  expect(run(machine)).toEqual([1, 1, 4]);
});
