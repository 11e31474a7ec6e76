/** Kernels that crash, or do what no sane kernel does: multiboot images. */
import type { Mode } from '../../src/hypervisor/index.js';
import { assemble } from '../../src/hypervisor/machine/cpu/assemble.js';
import { MONITOR_GDT_LINEAR, TC_LINEAR } from '../../src/hypervisor/monitor/hole.js';
import { LOAD_ADDRESS, multiboot } from '../differential/oracle-image.js';

const image = (source: string) => multiboot(assemble(LOAD_ADDRESS + 32, source).bytes);

/** No handlers: the first exception is a triple fault. */
const NO_IDT = 'lidt [empty]';
const EMPTY = 'empty: dw 0\ndd 0';
/** The kernel's own flat segments: what the boot loader left is not in a table of the guest's. */
const FLAT = `lgdt [gdtr]
        jmp 0x08:flush
 flush: mov eax, 0x10
        mov ds, eax
        mov es, eax
        mov ss, eax
        mov esp, 0x90000`;
const TABLES = `gdtr:  dw 23
        dd gdt
 gdt:   dd 0, 0, 0x0000ffff, 0x00cf9b00, 0x0000ffff, 0x00cf9300
 ${EMPTY}`;

export interface Hostile {
  readonly name: string;
  readonly image: Uint8Array;
  /** Of a crash; absent where the guest only keeps its own virtual CPU busy. */
  readonly reason?: RegExp;
  readonly modes?: readonly Mode[];
}

export const HOSTILE: readonly Hostile[] = [
  {
    name: 'an exception without any IDT',
    image: image(`${NO_IDT}\nud2\n${EMPTY}`),
    reason: /triple fault/i,
  },
  {
    name: 'paging switched on over nonsense tables',
    image: image(`${NO_IDT}\nmov eax, 0x300000\nmov cr3, eax\nmov eax, 0x80000011\nmov cr0, eax\nnop\n${EMPTY}`),
    reason: /triple fault/i,
  },
  {
    name: 'execution that runs off the end of memory',
    image: image(`${NO_IDT}\njmp dword [far]\nfar: dd 0x70000000\n${EMPTY}`),
    reason: /triple fault/i,
  },
  {
    name: 'a jump to where the monitor keeps its translations',
    image: image(`${FLAT}\n${NO_IDT}\njmp dword [far]\nfar: dd ${TC_LINEAR}\n${TABLES}`),
    reason: /triple fault/i,
  },
  {
    name: 'a GDT outside of memory',
    image: image(`${NO_IDT}\nlgdt [gdtr]\nmov eax, 0x10\nmov ds, eax\nud2\ngdtr: dw 0xffff\ndd 0x7fff0000\n${EMPTY}`),
    reason: /triple fault/i,
  },
  {
    name: 'a GDT inside the monitor',
    image: image(
      `${NO_IDT}\nlgdt [gdtr]\nmov eax, 0x10\nmov ds, eax\nud2\ngdtr: dw 0xffff\ndd ${MONITOR_GDT_LINEAR}\n${EMPTY}`,
    ),
    reason: /triple fault/i,
  },
  {
    name: 'a page directory that is its own table, filled with noise while in use',
    // Maps the first 4 MiB by one large page, itself at 0xFFC00000, then overwrites every other entry, again and again.
    image: image(`${FLAT}
        ${NO_IDT}
        mov dword [0x300000], 0x000000e7
        mov dword [0x300ffc], 0x00300067
        mov eax, 0x300000
        mov cr3, eax
        mov eax, cr4
        or eax, 0x10
        mov cr4, eax
        mov eax, cr0
        or eax, 0x80000000
        mov cr0, eax
        mov ebx, 12345
 again: mov ecx, 1022
 next:  imul ebx, ebx, 1103515245
        add ebx, 12345
        mov [ecx*4+0x300000], ebx
        dec ecx
        jnz next
        mov eax, cr3
        mov cr3, eax
        jmp again
 ${TABLES}`),
  },
  {
    name: 'an endless stream of code that is written just before it runs',
    // A megabyte of NOPs with a jump back at the end, of which each round changes one byte per page.
    image: image(`${FLAT}
        ${NO_IDT}
        mov edi, 0x400000
 fill:  mov dword [edi], 0x90909090
        add edi, 4
        cmp edi, 0x500000
        jb fill
        mov byte [0x500000], 0xc3
        mov edx, 0x40
 round: mov edi, 0x400000
 page:  mov [edi], dl
        add edi, 4096
        cmp edi, 0x500000
        jb page
        xor edx, 0x08
        mov eax, 0x400000
        call eax
        jmp round
 ${TABLES}`),
  },
  {
    name: 'code that rewrites the instruction behind it',
    // The bare machine decodes the instruction anew each time, 700 000 times in a quantum: correct, and too slow for a test.
    modes: ['bt', 'hv', 'vmi'],
    image: image(`${FLAT}
        ${NO_IDT}
 again: inc dword [changed+1]
 changed: mov eax, 0
        jmp again
 ${TABLES}`),
  },
];
