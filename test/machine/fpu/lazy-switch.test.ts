/**
 * Two tasks in ring 3 share the floating-point unit. The kernel sets CR0.TS at each switch and moves the state with FXSAVE and FXRSTOR when
 * #NM says that somebody wants it, as kernels of the time do.
 */
import { expect, test } from 'vitest';
import { assemble } from '../../../src/hypervisor/machine/cpu/assemble.js';
import { Cr0, Cr4, S, Vector } from '../../../src/hypervisor/machine/cpu/state.js';
import { CODE, CS3, DATA, DS0, DS3, Machine, TSS } from '../fixture.js';

const KERNEL = 0x12000;
const TASKS = [0x14000, 0x15000] as const;
/** Per task: result at 0, FXSAVE image at 64, saved registers at 640. */
const AREA = [DATA, DATA + 0x1000] as const;
const CURRENT = DATA + 0x2000;
const OWNER = DATA + 0x2004;
const SWITCHES = DATA + 0x2008;
const ROUNDS = 20;

/**
 * A task: ST(0) and XMM0 take part in a recurrence, with a yield (INT 0x80) between any two steps; x = x * 1.5 - step, and a sum of
 * words in XMM0. The third yield of each round lies between the load and the use.
 */
function task(area: number, step: number): string {
  return `
    mov edi, ${area}
    mov ecx, ${ROUNDS}
    db 0xdb, 0xe3           ; fninit
    db 0xd9, 0xe8           ; fld1
    db 0x66, 0x0f, 0xef, 0xc0 ; pxor xmm0, xmm0
    mov dword [edi+32], ${step}
    mov dword [edi+36], 3
    mov dword [edi+40], 2
  again:
    db 0xda, 0x4f, 0x24     ; fimul dword [edi+36]
    int 0x80
    db 0xda, 0x77, 0x28     ; fidiv dword [edi+40]
    db 0xdb, 0x47, 0x20     ; fild dword [edi+32]
    int 0x80
    db 0xde, 0xe9           ; fsubp
    db 0x66, 0x0f, 0x6e, 0x4f, 0x20 ; movd xmm1, [edi+32]
    int 0x80
    db 0x66, 0x0f, 0xfe, 0xc1 ; paddd xmm0, xmm1
    dec ecx
    jnz again
    db 0xdd, 0x1f           ; fstp qword [edi]
    db 0x66, 0x0f, 0x7e, 0x47, 0x08 ; movd [edi+8], xmm0
    mov dword [edi+12], 1
  idle:
    int 0x80
    jmp idle
  `;
}

/** INT 0x80: the other task's turn; stops when both are done. #NM: the state changes hands. */
const KERNEL_TEXT = `
  yield:
    push eax
    push ecx
    push edx
    push edi
    mov eax, [${AREA[0] + 12}]
    and eax, [${AREA[1] + 12}]
    jnz done
    inc dword [${SWITCHES}]
    mov eax, cr0
    or eax, ${Cr0.TS}
    mov cr0, eax
    mov eax, [${CURRENT}]
    mov [eax+640], esp
    cmp eax, ${AREA[0]}
    mov eax, ${AREA[0]}
    mov ecx, ${AREA[1]}
    cmove eax, ecx
    mov [${CURRENT}], eax
    mov esp, [eax+640]
    mov ecx, [eax+644]
    mov [${TSS + 4}], ecx
    pop edi
    pop edx
    pop ecx
    pop eax
    iretd
  done:
    hlt
  unavailable:
    push eax
    push ecx
    clts
    mov ecx, [${OWNER}]
    mov eax, [${CURRENT}]
    cmp eax, ecx
    jz same
    db 0x0f, 0xae, 0x41, 0x40 ; fxsave [ecx+64]
    db 0x0f, 0xae, 0x48, 0x40 ; fxrstor [eax+64]
    mov [${OWNER}], eax
  same:
    pop ecx
    pop eax
    iretd
`;

test('the state of two tasks never mixes', () => {
  const machine = new Machine();
  const { cpu } = machine;
  const kernel = assemble(KERNEL, KERNEL_TEXT);
  machine.write(KERNEL, kernel.bytes);
  machine.gate(0x80, 3, kernel.labels.get('yield')!);
  machine.gate(Vector.NM, 0, kernel.labels.get('unavailable')!);
  const steps = [1, 7];
  TASKS.forEach((at, i) => {
    machine.write(at, assemble(at, task(AREA[i]!, steps[i]!)).bytes);
    // A valid image to begin with: control word and MXCSR.
    machine.write32(AREA[i]! + 64, 0x37f);
    machine.write32(AREA[i]! + 64 + 24, 0x1f80);
    // A frame as if the task had yielded: four registers, then EIP, CS, EFLAGS, ESP, SS.
    const top = 0x28000 + i * 0x2000;
    machine.write32(AREA[i]! + 644, top);
    const frame = top - 36;
    [0, 0, 0, 0, at, CS3, 0x2, 0x2c000 + i * 0x1000, DS3].forEach((value, k) => {
      machine.write32(frame + k * 4, value);
    });
    machine.write32(AREA[i]! + 640, frame);
  });
  machine.write32(CURRENT, AREA[0]);
  machine.write32(OWNER, AREA[0]);
  machine.enablePaging();
  cpu.setCr0(cpu.s[S.CR0]! | Cr0.NE | Cr0.MP | Cr0.TS);
  cpu.setCr4(Cr4.OSFXSR | Cr4.OSXMMEXCPT);
  machine.load(`
    mov eax, ${DS3}
    mov ds, eax
    mov es, eax
    mov esp, [${AREA[0] + 640}]
    mov eax, [${AREA[0] + 644}]
    mov [${TSS + 4}], eax
    pop edi
    pop edx
    pop ecx
    pop eax
    iretd
  `);
  expect(machine.reg(S.EIP)).toBe(CODE);
  expect(DS0).toBe(0x10);
  expect(machine.run().kind).toBe('halt');
  expect(machine.read32(SWITCHES)).toBeGreaterThan(6 * ROUNDS);
  const view = new DataView(machine.memory.bytes(machine.base, 0x40000).slice().buffer);
  steps.forEach((step, i) => {
    let x = 1;
    for (let round = 0; round < ROUNDS; round++) x = (x * 3) / 2 - step;
    // Twenty rounds need fewer bits than a double has: both agree exactly.
    expect(view.getFloat64(AREA[i]!, true)).toBe(x);
    expect(view.getUint32(AREA[i]! + 8, true)).toBe(ROUNDS * step);
  });
  expect(cpu.cyclesByRing[3]).toBeGreaterThan(0);
});
