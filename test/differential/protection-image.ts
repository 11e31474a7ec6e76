/**
 * The second image for QEMU and for us: protection. First every combination of PDE and PTE permissions, page size, CR0.WP,
 * privilege and access kind (what faults, with which error code, and which accessed and dirty bits remain); then
 * instructions executed in ring 3 with IOPL 0 and 3. Built on `oracle-image.ts`'s conventions; one record of
 * `PROTECTION_WORDS` words a case at `RESULTS`.
 */
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { LOAD_ADDRESS, multiboot, RESULTS, writeResults } from './oracle-image.js';

export const PROTECTION_WORDS = 6;
/** Word names for the paging cases, then for the ring-3 cases. */
export const PAGING_FIELDS = ['vector', 'error', 'cr2', 'pde', 'pte', 'value'] as const;
export const RING3_FIELDS = ['vector', 'error', 'eip', 'eax', 'eflags', 'cpl'] as const;
/** Bits of a paging case's index: PTE P, W, U; PDE P, W, U; WP; CPL 3; write; PDE.PS. */
export const PAGING_CASES = 1024;

/** Executed in ring 3, each ending in INT 0x30 unless it faults. `eax` starts as 0x10. */
export const RING3_SNIPPETS = [
  'hlt',
  'cli',
  'sti',
  'in al, 0x80',
  'out 0x80, al',
  'mov edx, 0x3f8\nin eax, dx\nmov eax, 1',
  'clts',
  'invlpg [0]',
  'wbinvd',
  'mov eax, cr0',
  'mov cr0, eax',
  'mov eax, cr3',
  'mov eax, dr7',
  'lgdt [0x150000]',
  'lidt [0x150000]',
  'lldt ax',
  'ltr ax',
  'mov ecx, 0x174\nrdmsr',
  'mov ecx, 0x174\nwrmsr',
  'lmsw ax',
  'mov ds, eax',
  'mov ss, eax',
  'mov eax, 0x1b\nmov ds, eax',
  'mov eax, 0\nmov ss, eax',
  'int 0x20',
  'int 0x30',
  'int3',
  'int 3',
  'into',
  'ud2',
  'pushfd\nor dword [esp], 0x3200\npopfd\npushfd\npop eax',
  'pushfd\nand dword [esp], 0xfffffdff\npopfd\npushfd\npop eax',
  'jmp 0x08:0x100000',
  'call 0x08:0x100000',
  'jmp 0x1b:0x100000',
  'push 0x08\npush 0x100000\nretf',
  'push 0x202\npush 0x08\npush 0x100000\niretd',
  'push 0x23\npush after_retf\nretf\nnop\nafter_retf: mov eax, 7',
  'mov eax, cs',
  'mov eax, ss',
  'push cs\npop eax',
  'mov eax, [0xc00000]',
  'mov [0xc00000], eax',
  'mov eax, [0x400000]',
  'mov [0x100000], eax',
  'jmp dword [zero]',
  'mov eax, 0xc00000\njmp eax',
  'mov esp, 0xc00000\npush eax',
  'mov esp, 0xc00000\npop eax',
  'mov edx, 0\nmov eax, 5\ndiv edx',
  'rdtsc\nmov eax, 0',
  'str eax',
  'sldt eax',
  'smsw eax\nand eax, 1',
  'lar eax, eax',
  'mov eax, 8\nlsl eax, eax',
  'mov eax, 0x10\nverr ax\nsetz al',
  'mov eax, 0x1b\nverw ax\nsetz al',
  'call 0x38:0',
  'jmp 0x38:0',
  'int 0x31',
] as const;

export interface ProtectionImage {
  readonly bytes: Uint8Array;
  readonly ring3Cases: readonly string[];
}

const PD = 0x200000;
const PT_LOW = 0x201000;
const PT_TEST = 0x202000;
const TEST_FRAME = 0x300000;
const TEST_LINEAR = 0x800000;
const VARS = 0x210000;
const IDT = 0x220000;
const TSS = 0x230000;
const USER_STACK = 0x240000;
const KERNEL_STACK = 0x250000;

/** The eight bytes of a descriptor as operands of DB. `limit` in its own units, `flags` G, D/B, L, AVL. */
export const descriptor = (base: number, limit: number, access: number, flags: number): string =>
  [
    limit & 255,
    (limit >> 8) & 255,
    base & 255,
    (base >> 8) & 255,
    (base >> 16) & 255,
    access,
    ((limit >> 16) & 15) | (flags << 4),
    base >>> 24,
  ].join(', ');

export function buildProtectionImage(): ProtectionImage {
  const ring3Cases = [0, 3].flatMap(iopl => RING3_SNIPPETS.map(text => `IOPL ${iopl}: ${text.replaceAll('\n', '; ')}`));
  // A snippet's own labels are made unique by its number.
  const snippets = RING3_SNIPPETS.map(
    (text, i) => `s${i}: ${text.replaceAll('after_retf', `after_retf${i}`)}\nint 0x30`,
  ).join('\n');
  const stubs = Array.from({ length: 56 }, (_, vector) => {
    const hasError = vector === 8 || (vector >= 10 && vector <= 14) || vector === 17;
    return `v${vector}: ${hasError ? '' : 'push 0\n'}push ${vector}\njmp fault`;
  }).join('\n');
  const source = `
        mov esp, ${KERNEL_STACK}
        lgdt [gdtr]
        jmp 0x08:flush
 flush: mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov fs, eax
        mov gs, eax
        mov al, 0xff                  ; no interrupts, also where IF becomes set
        out 0x21, al
        out 0xa1, al
        ; IDT: interrupt gates to ring 0; 0x30 and 3 may be called from ring 3; 0x31 is not present
        mov edi, ${IDT}
        mov esi, stubs
        xor ecx, ecx
 gate:  mov eax, [esi+ecx*4]
        mov [edi+ecx*8], ax
        mov word [edi+ecx*8+2], 0x08
        mov word [edi+ecx*8+4], 0x8e00
        shr eax, 16
        mov [edi+ecx*8+6], ax
        inc ecx
        cmp ecx, 56
        jb gate
        mov byte [${IDT + 0x30 * 8 + 5}], 0xee
        mov byte [${IDT + 3 * 8 + 5}], 0xee
        mov byte [${IDT + 4 * 8 + 5}], 0xee
        mov byte [${IDT + 0x31 * 8 + 5}], 0x6e
        lidt [idtr]
        mov dword [${TSS + 4}], ${KERNEL_STACK}
        mov dword [${TSS + 8}], 0x10
        mov word [${TSS + 102}], 104
        mov eax, 0x28
        ltr ax
        ; Page tables: 0-4 MiB by 4 KiB pages, user; 4-8 MiB supervisor large; 16-20 MiB large
        mov edi, ${PT_LOW}
        mov eax, 7
        mov ecx, 1024
 low:   mov [edi], eax
        add eax, 4096
        add edi, 4
        dec ecx
        jnz low
        and dword [${PT_LOW + 0x100 * 4}], -3   ; the image's first page is read-only
        mov dword [${PD}], ${PT_LOW + 7}
        mov dword [${PD + 4}], ${0x400000 + 0x83}
        mov dword [${PD + 16}], ${0x1000000 + 0x83}
        mov eax, cr4
        or eax, 0x10
        mov cr4, eax
        mov eax, ${PD}
        mov cr3, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        mov dword [${VARS}], 0         ; case number
        mov dword [${VARS + 4}], ${RESULTS}
 pcase: mov dword [${VARS + 8}], pdone ; where a fault or the end of the case leads
        mov ebx, [${VARS}]
        mov eax, ebx                  ; PTE
        and eax, 7
        or eax, ${TEST_FRAME}
        mov [${PT_TEST}], eax
        mov eax, ebx                  ; PDE
        shr eax, 3
        and eax, 7
        test ebx, 0x200
        jz small
        or eax, ${0x400000 + 0x80}
        jmp short setpde
 small: or eax, ${PT_TEST}
 setpde: mov [${PD + (TEST_LINEAR >>> 22) * 4}], eax
        mov eax, cr0
        and eax, 0xfffeffff
        test ebx, 0x40
        jz nowp
        or eax, 0x10000
 nowp:  mov cr0, eax
        mov eax, cr3
        mov cr3, eax
        mov dword [${VARS + 12}], -1
        mov dword [${VARS + 16}], 0
        mov dword [${VARS + 20}], 0
        mov eax, 0
        mov cr2, eax
        mov edx, 0x11111111
        test ebx, 0x80
        jnz user
        test ebx, 0x100
        jnz kwrite
 kread: mov edx, [${TEST_LINEAR}]
        jmp pdone
 kwrite: mov [${TEST_LINEAR}], edx
        jmp pdone
 user:  mov ecx, uread
        test ebx, 0x100
        jz enter3
        mov ecx, uwrite
 enter3: push 0x1b
        push ${USER_STACK}
        push 2
        push 0x23
        push ecx
        mov eax, 0x1b
        mov ds, eax
        iretd
 uread: mov edx, [${TEST_LINEAR}]
        int 0x30
 uwrite: mov [${TEST_LINEAR}], edx
        int 0x30
 pdone: mov esp, ${KERNEL_STACK}
        mov edi, [${VARS + 4}]
        mov eax, [${VARS + 12}]
        mov [edi], eax
        mov eax, [${VARS + 16}]
        mov [edi+4], eax
        mov eax, cr2
        mov [edi+8], eax
        mov eax, [${PD + (TEST_LINEAR >>> 22) * 4}]
        mov [edi+12], eax
        mov eax, [${PT_TEST}]
        mov [edi+16], eax
        mov [edi+20], edx
        add edi, ${PROTECTION_WORDS * 4}
        mov [${VARS + 4}], edi
        ; both frames start the next case with known bytes
        mov dword [${TEST_FRAME}], 0x22222222
        mov dword [0x400000], 0x33333333
        inc dword [${VARS}]
        cmp dword [${VARS}], ${PAGING_CASES}
        jb pcase

        mov dword [${VARS}], 0
 rcase: mov dword [${VARS + 8}], rdone
        mov eax, cr0
        or eax, 0x10000
        mov cr0, eax
        xor edx, edx
        mov eax, [${VARS}]
        mov ecx, ${RING3_SNIPPETS.length}
        div ecx                       ; EAX: IOPL 0 or 1 -> 0 or 3
        mov ecx, [table+edx*4]
        mov [${VARS + 24}], ecx
        neg eax
        and eax, 0x3000
        or eax, 2
        push 0x1b
        push ${USER_STACK}
        push eax
        push 0x23
        push ecx
        mov eax, 0x1b
        mov ds, eax
        mov es, eax
        mov eax, 0x10
        xor ecx, ecx
        iretd
 rdone: mov edi, [${VARS + 4}]
        mov ecx, [${VARS + 12}]
        mov [edi], ecx
        mov ecx, [${VARS + 16}]
        mov [edi+4], ecx
        mov ecx, [${VARS + 28}]
        sub ecx, [${VARS + 24}]
        mov [edi+8], ecx
        mov [edi+12], eax
        mov ecx, [${VARS + 32}]
        and ecx, 0x3600               ; IF, DF, IOPL
        mov [edi+16], ecx
        mov ecx, [${VARS + 36}]
        and ecx, 3
        mov [edi+20], ecx
        mov esp, ${KERNEL_STACK}
        add edi, ${PROTECTION_WORDS * 4}
        mov [${VARS + 4}], edi
        inc dword [${VARS}]
        cmp dword [${VARS}], ${RING3_SNIPPETS.length * 2}
        jb rcase

 ${writeResults(VARS + 4)}
 ${stubs}
 ; Frame: vector, error, eip, cs, eflags, and ESP and SS from ring 3.
 fault: push eax
        mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov fs, eax
        mov eax, [esp+4]
        mov [${VARS + 12}], eax
        mov eax, [esp+8]
        mov [${VARS + 16}], eax
        mov eax, [esp+12]
        mov [${VARS + 28}], eax
        mov eax, [esp+16]
        mov [${VARS + 36}], eax
        mov eax, [esp+20]
        mov [${VARS + 32}], eax
        pop eax
        cld
        jmp dword [${VARS + 8}]
 ${snippets}
 zero:  dd 0xc00000
 gdtr:  dw 63
        dd gdt
 idtr:  dw ${56 * 8 - 1}
        dd ${IDT}
 gdt:   db ${descriptor(0, 0, 0, 0)}
        db ${descriptor(0, 0xfffff, 0x9b, 0xc)}
        db ${descriptor(0, 0xfffff, 0x93, 0xc)}
        db ${descriptor(0, 0xfffff, 0xf3, 0xc)}
        db ${descriptor(0, 0xfffff, 0xfb, 0xc)}
        db ${descriptor(TSS, 0x67, 0x89, 0)}
        db ${descriptor(0, 0, 0, 0)}
        ; 38: a call gate to ring 0 that ring 3 may not use
        dw 0, 0x08, 0x8c00, 0
 stubs: dd ${Array.from({ length: 56 }, (_, vector) => `v${vector}`).join(', ')}
 table: dd ${RING3_SNIPPETS.map((_, i) => `s${i}`).join(', ')}
`;
  const { bytes } = assemble(LOAD_ADDRESS + 32, source);
  return { bytes: multiboot(bytes), ring3Cases };
}
