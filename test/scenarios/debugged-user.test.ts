/**
 * A kernel that debugs its user program by single steps and breakpoints, and faults in the middle of REP: what the kernel is told is the
 * same natively and under the monitor, and the recording the same whichever way the engine works.
 */
import { describe, expect, test } from 'vitest';
import { PROLOGUE, pagingBy } from '../vm/programs.js';
import { sameInEverySetting } from './every-setting.js';
import { MODES } from './run-guest.js';

const ROUNDS = 200;
const USER_CELL = 0x300000;
const COUNT = 0x320000;
/** DR7: breakpoint 0 on writes of four bytes. */
const ON_WRITE = 0x400 | 1 | (0xd << 16);

/** A GDT with segments of ring 3 and a TSS; #DB counts what DR6 says; INT 0x80 prints both counts and powers off. */
const debugging = (flags: number, dr7: number, user: string): string => `${PROLOGUE}
main:   lgdt [tables]
        mov dword [0x81004], 0x88000
        mov dword [0x81008], 0x10
        mov eax, 0x28
        ltr ax
        mov eax, debug
        mov ecx, 1
        call gate
        mov eax, done
        mov ecx, 0x80
        call gate
        mov byte [0x80405], 0xee
        mov eax, ${USER_CELL}
        mov dr0, eax
        mov eax, ${dr7}
        mov dr7, eax
        mov eax, 0x23
        mov ds, eax
        mov es, eax
        push 0x23
        push 0x87000
        push ${flags}
        push 0x1b
        push user
        iretd
debug:  push eax
        mov eax, dr6
        test eax, 0x4000
        jz written
        inc dword [${COUNT}]
written: test eax, 1
        jz told
        inc dword [${COUNT + 4}]
told:   mov eax, 0
        mov dr6, eax
        pop eax
        iretd
done:   mov ebp, 0
more:   mov al, [ebp+${COUNT}]
        call put
        inc ebp
        cmp ebp, 8
        jne more
        jmp off
user:   mov ecx, ${ROUNDS}
        ${user}
        int 0x80
tables: dw 47
        dd table
table:  dd 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300
        dd 0x0000ffff, 0x00cffb00, 0x0000ffff, 0x00cff300, 0x10000067, 0x00008908
`;

const LOOP = `top: add eax, ecx
        mov [${USER_CELL}], eax
        dec ecx
        jnz top`;
/** Steps and writes that the kernel was told of. */
const told = (printed: string): number[] =>
  [0, 4].map(at => [0, 1, 2, 3].reduce((sum, i) => sum + printed.charCodeAt(at + i) * 256 ** i, 0));

describe.each(MODES)('%s', mode => {
  test('each instruction of a loop is stepped over', () => {
    // MOV ECX and the loop; INT is no step, its handler runs without TF.
    expect(told(sameInEverySetting(debugging(0x302, 0x400, LOOP), mode))).toEqual([1 + 4 * ROUNDS, 0]);
  });

  test('each write of a loop meets its breakpoint', () => {
    expect(told(sameInEverySetting(debugging(0x202, ON_WRITE, LOOP), mode))).toEqual([0, ROUNDS]);
  });

  test('both at once', () => {
    expect(told(sameInEverySetting(debugging(0x302, ON_WRITE, LOOP), mode))).toEqual([1 + 4 * ROUNDS, ROUNDS]);
  });

  test('the iterations of REP MOVSD, of which one writes the cell', () => {
    const copy = `mov esi, 0x100000
        mov edi, ${USER_CELL - 40}
        cld
        rep movsd`;
    // Behind each iteration; the last one completes the instruction.
    expect(told(sameInEverySetting(debugging(0x302, ON_WRITE, copy), mode))).toEqual([4 + ROUNDS, 1]);
  });
});

describe('page faults in the middle of REP', () => {
  const PAGES = 12;
  const LINEAR = 0x400000;
  /** Copies and fills over pages that the handler of #PF maps one by one; counts the faults and sums up what is there. */
  const source = `${PROLOGUE}
main:   mov dword [0x340000], 0x00000087
        mov dword [0x340004], 0x00341007
        mov eax, fault
        mov ecx, 14
        call gate
        ${pagingBy(0x340000)}
        mov ebp, 6
round:  mov esi, 0x100000
        mov edi, ${LINEAR + 0xffe}
        mov ecx, ${((PAGES - 2) * 4096) / 4}
        cld
        rep movsd
        mov al, 0x5a
        mov ecx, 4096
        rep stosb
        mov ecx, ${PAGES + 1}
clear:  mov dword [ecx*4+0x340ffc], 0
        dec ecx
        jnz clear
        mov eax, cr3
        mov cr3, eax
        dec ebp
        jnz round
        mov al, [${COUNT}]
        call put
        jmp off
fault:  push eax
        push ebx
        mov eax, cr2
        mov ebx, eax
        shr eax, 12
        and eax, 0x3ff
        and ebx, 0xfffff000
        add ebx, ${0x500000 - LINEAR}
        or ebx, 7
        mov [eax*4+0x341000], ebx
        inc dword [${COUNT}]
        pop ebx
        pop eax
        add esp, 4
        iretd`;

  test.each(MODES)('%s', mode => {
    // Every page but the first, in every round: the copy begins near its end.
    expect(sameInEverySetting(source, mode)).toBe(String.fromCharCode(6 * PAGES));
  });
});
