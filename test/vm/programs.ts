/** Small guests in assembly that use the devices of the board. */
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { flatImage } from './images.js';

const LOAD = 0x100000;
export const image = (source: string) => flatImage(assemble(LOAD + 32, source).bytes, LOAD);

/** GDT, IDT at 0x80000 with every gate unset, PIC at vectors 0x20 and 0x28 with all lines masked. */
export const PROLOGUE = `
        mov esp, 0x90000
        lgdt [gdtr]
        lidt [idtr]
        jmp 0x08:flush
 flush: mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov al, 0x11
        out 0x20, al
        out 0xa0, al
        mov al, 0x20
        out 0x21, al
        mov al, 0x28
        out 0xa1, al
        mov al, 4
        out 0x21, al
        mov al, 2
        out 0xa1, al
        mov al, 1
        out 0x21, al
        out 0xa1, al
        mov al, 0xff
        out 0x21, al
        out 0xa1, al
        jmp main
 gdtr:  dw 23
        dd gdt
 idtr:  dw 0x7ff
        dd 0x80000
 gdt:   dd 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300
 ; EAX: handler, ECX: vector
 gate:  lea edi, [ecx*8+0x80000]
        mov [edi], ax
        mov word [edi+2], 0x08
        mov word [edi+4], 0x8e00
        shr eax, 16
        mov [edi+6], ax
        ret
 put:   mov edx, 0x3f8
        out dx, al
        ret
 off:   mov edx, 0x604
        mov eax, 0x2000
        out dx, ax
        cli
        hlt
`;

/** Channel 0 of the PIT in mode 2, its interrupt the only one that is not masked. */
export const AT_1000_HZ = `
        mov al, 0x34
        out 0x43, al
        mov al, 0xa9          ; 1193
        out 0x40, al
        mov al, 0x04
        out 0x40, al
        mov al, 0xfe
        out 0x21, al`;

/** Paging with 4 MiB pages and write protection, by the directory at this address. */
export const pagingBy = (directory: number) => `
        mov eax, ${directory}
        mov cr3, eax
        mov eax, cr4
        or eax, 0x10
        mov cr4, eax
        mov eax, cr0
        or eax, 0x80010000
        mov cr0, eax`;

/** Counts TICKS timer interrupts at 1000 Hz, prints a dot for each tenth, and powers off. `rest`: what it does meanwhile. */
export const TICKER = (ticks: number, rest = 'hlt') => `${PROLOGUE}
 main:  mov eax, tick
        mov ecx, 0x20
        call gate
        ${AT_1000_HZ}
        xor ebp, ebp
 wait:  sti
        ${rest}
        cmp ebp, ${ticks}
        jb wait
        jmp off
 tick:  push eax
        push edx
        inc ebp
        mov eax, ebp
        xor edx, edx
        mov ecx, 10
        div ecx
        test edx, edx
        jnz quiet
        mov al, 46
        call put
 quiet: mov al, 0x20
        out 0x20, al
        pop edx
        pop eax
        iretd
`;

/** Echoes what comes on COM1, by interrupt; 'q' powers off, 'r' resets. */
export const ECHO = `${PROLOGUE}
 main:  mov eax, serial
        mov ecx, 0x24
        call gate
        mov edx, 0x3f9
        mov al, 1
        out dx, al
        mov edx, 0x3fc
        mov al, 8
        out dx, al
        mov al, 0xef
        out 0x21, al
        mov al, 62
        call put
 idle:  sti
        hlt
        jmp idle
 serial: mov edx, 0x3f8
        in al, dx
        out dx, al
        cmp al, 113
        je off
        cmp al, 114
        jne more
        mov al, 0xfe
        out 0x64, al
        cli
        hlt
 more:  mov edx, 0x3fd
        in al, dx
        test al, 1
        jnz serial
        mov al, 0x20
        out 0x20, al
        iretd
`;

/** Never rests. With `SLOW_MULTIPLY` each round takes long in virtual time and hardly any for the test. */
export const SPIN = `${PROLOGUE}
 main:  imul eax, eax
        jmp main
`;

export const SLOW_MULTIPLY = { multiply: 20_000 };
