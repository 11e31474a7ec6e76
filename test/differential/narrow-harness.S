/*
 * Runs single instructions in 16-bit code: real and virtual-8086 mode, and protected mode with segments of either size. The
 * table of cases follows the binary (`narrow-image.ts` writes it and says what its words mean). Built by `record.ts`.
 *
 * A case's bytes go to offset 0x200 of a 64 KiB code segment at 0x30000 which is full of INT3 otherwise, so every case ends in
 * an event: INT 0x30 behind it, INT3 where it jumped to, or its own fault. The handler writes the record.
 */
        .set LOAD, 0x100000
        .set RESULTS, 0x1000000
        .set LOW, 0x8000                # the real-mode part runs here
        .set IVT, 0x6000
        .set IDT, 0x20000
        .set IMAGE, 0x7000              # flags and registers of a real-mode case
        .set CODE, 0x30000
        .set STACK, 0x50000
        .set VECTORS, 0x58
        .set TSS, 0x21000
        .set FRAME, 0x91000             # registers and IRET frame of a virtual-8086 case

        .text
        .code32
        .globl _start
base:   .long 0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        .long LOAD, LOAD, 0, 0, LOAD + (_start - base)

#define AT(label) (LOAD + (label) - base)
#define LOWAT(label) (LOW + (label) - low)

_start: movl $0x90000, %esp
        lgdt AT(gdtr)
        ljmp $0x08, $AT(flush)
flush:  movl $0x10, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %ss
        cld
        movb $0xff, %al
        outb %al, $0x21
        outb %al, $0xa1
        movl $AT(low), %esi
        movl $LOW, %edi
        movl $(low_end - low), %ecx
        rep movsb
        movl $CODE, %edi                # INT3 everywhere
        movl $0x10000, %ecx
        movb $0xcc, %al
        rep stosb
        movl $0x40000, %edi             # data and stacks: a known pattern
        movl $(0x20000 / 4), %ecx
        movl $0x12345678, %eax
fill:   imull $1103515245, %eax, %eax
        addl $12345, %eax
        movl %eax, (%edi)
        addl $4, %edi
        decl %ecx
        jnz fill
        xorl %ecx, %ecx                 # gates and vectors
gate:   imull $16, %ecx, %eax
        addl $AT(stubs), %eax
        leal IDT(,%ecx,8), %edi
        movw %ax, (%edi)
        movw $0x08, 2(%edi)
        movw $0x8e00, 4(%edi)
        shrl $16, %eax
        movw %ax, 6(%edi)
        cmpl $0x40, %ecx
        jb wide
        imull $8, %ecx, %eax            # 40..4F: 16-bit interrupt gates, 50..57: trap gates
        addl $LOWAT(narrow_stubs) - 0x40 * 8, %eax
        movw %ax, (%edi)
        movw $0x8600, 4(%edi)
        movw $0, 6(%edi)
        cmpl $0x50, %ecx
        jb wide
        movw $0x8700, 4(%edi)
wide:   cmpl $0x30, %ecx                # 30..3F may be called from ring 3
        jb inner
        cmpl $0x40, %ecx
        jae inner
        movb $0xee, 5(%edi)
inner:  imull $8, %ecx, %eax
        addl $LOWAT(real_stubs), %eax
        movl %eax, IVT(,%ecx,4)
        incl %ecx
        cmpl $VECTORS, %ecx
        jb gate
        lidt AT(idtr)
        movl $RESULTS, AT(record)
        movl $AT(table) + 4, AT(case)
        movl $0x98000, TSS + 4
        movl $0x10, TSS + 8
        movw $0x68, TSS + 0x66

next:   movl AT(table), %eax
        testl %eax, %eax
        jz finish
        decl AT(table)
        movl AT(case), %ebx
        movl $0xcccccccc, %eax          # what the case before left behind
        movl $CODE + 0x200, %edi
        movl $8, %ecx
        rep stosl
        leal 40(%ebx), %esi
        movl $CODE + 0x200, %edi
        movl $6, %ecx
        rep movsl
        movl (%ebx), %ecx
        cmpl $4, %ecx
        jae virtual
        movl 20(%ebx), %eax
        movl %eax, AT(stack)
        movw AT(stacks)(,%ecx,2), %ax
        movw %ax, AT(stack) + 4
        movw AT(codes)(,%ecx,2), %ax
        movw %ax, AT(target) + 4
        testl %ecx, %ecx
        jz real
        movl $0x28, %eax
        movl $0x30, %edx
        movl %edx, %es
        movl $0x38, %edx
        movl %edx, %fs
        movl $0x40, %edx
        movl %edx, %gs
        pushl 4(%ebx)
        popfl
        movl %eax, %ds
        leal 8(%ebx), %esp
        popal
        lss %cs:AT(stack), %esp
        ljmp *%cs:AT(target)

real:   leal 4(%ebx), %esi              # flags, then registers
        movl $IMAGE, %edi
        movl $9, %ecx
        rep movsl
        movl 20(%ebx), %eax
        movl %eax, LOWAT(real_stack)
        movl $0x48, %eax                # large limits stay in real mode; a 16-bit stack too
        movl %eax, %ss
        movl $0x28, %eax
        movl %eax, %ds
        movl %eax, %es
        movl %eax, %fs
        movl %eax, %gs
        ljmp $0x58, $LOWAT(leave_protected)

virtual: movb $0x89, AT(gdt) + 0xa0 + 5
        movl $0xa0, %eax
        ltr %ax
        leal 8(%ebx), %esi
        movl $FRAME, %edi
        movl $8, %ecx
        rep movsl
        movl $0x200, %eax
        stosl
        movl $0x3000, %eax
        stosl
        movl 4(%ebx), %eax
        orl $0x20000, %eax
        cmpl $4, (%ebx)
        je 1f
        orl $0x3000, %eax               # mode 5: IOPL 3
1:      stosl
        movl 20(%ebx), %eax
        stosl
        movl $0x5000, %eax
        stosl
        movl $0x4100, %eax
        stosl
        movl $0x4000, %eax
        stosl
        movl $0x4200, %eax
        stosl
        movl $0x4300, %eax
        stosl
        movl $FRAME, %esp
        popal
        iretl

        /* Out of virtual-8086 mode. Frame: ds, pushal, vector, error, eip, cs, eflags, esp, ss, es, ds, fs, gs. */
from_virtual:
        movl %eax, %es
        leal 4(%esp), %esi
        movl AT(record), %edi
        cld
        movl $8, %ecx
        rep movsl
        movl 20(%esi), %eax
        movl %eax, -20(%edi)
        movl $5, %ecx
        rep movsl
        movw 8(%esi), %ax
        shll $16, %eax
        movw 12(%esi), %ax
        stosl
        movw 16(%esi), %ax
        shll $16, %eax
        movw 20(%esi), %ax
        jmp stored

        /* 32-bit handlers. Frame: ds, pushal, vector, error, eip, cs, eflags. */
common: pushal
        pushl %ds
        movl $0x10, %eax
        movl %eax, %ds
        movw %ss, %dx
        cmpw %ax, %dx
        je from_virtual
        movzwl %sp, %ebp
        leal STACK(%ebp), %esi
        movl %es, %edx
        movl $0x10, %eax
        movl %eax, %es
        movl AT(record), %edi
        cld
        lodsl
        movl %eax, AT(selectors)
        movw %dx, AT(selectors) + 2
        movl $13, %ecx
        rep movsl
        movl $0, -4(%esi)               # flags that are undefined shall not stay in memory
        jmp finish_record

        /* The frame of a 16-bit gate: ds, pushal, vector (dwords), ip, cs, flags (words). */
narrow_common:
        pushal
        pushl %ds
        movl $0x10, %eax
        movl %eax, %ds
        movzwl %sp, %ebp
        leal STACK(%ebp), %esi
        movl %es, %edx
        movl $0x10, %eax
        movl %eax, %es
        movl AT(record), %edi
        cld
        lodsl
        movl %eax, AT(selectors)
        movw %dx, AT(selectors) + 2
        movl $9, %ecx
        rep movsl
        xorl %eax, %eax
        stosl
        movl $3, %ecx
1:      lodsw
        stosl
        decl %ecx
        jnz 1b
        movw $0, -2(%esi)
        jmp finish_record

        /* Back from real mode, with flat DS and ES. Frame: es, ds, pushal, vector, ip, cs, flags (words but pushal). */
back:   movl $0x10, %eax
        movl %eax, %ds
        movl %eax, %es
        movzwl %sp, %ebp
        leal STACK(%ebp), %esi
        movl AT(record), %edi
        cld
        lodsl
        roll $16, %eax
        movl %eax, AT(selectors)
        movl $8, %ecx
        rep movsl
        xorl %eax, %eax
        lodsw
        stosl
        movl $0, (%edi)
        addl $4, %edi
        movl $3, %ecx
1:      lodsw
        stosl
        decl %ecx
        jnz 1b
        movw $0, -2(%esi)

finish_record:
        movl $0x10, %eax
        movl %eax, %ss
        movl $0x90000, %esp
        movl AT(selectors), %eax
        stosl
        movw %fs, %ax
        shll $16, %eax
        movw %gs, %ax
stored: stosl
        xorl %eax, %eax
        xorl %edx, %edx
region: imull $0x1000, %edx, %esi
        addl $0x40000, %esi
        cmpl $4, %edx
        jb sums
        movl $STACK, %esi
sums:   movl $16, %ecx
sum:    .set word, 0
        .rept 16
        roll $5, %eax
        xorl word(%esi), %eax
        .set word, word + 4
        .endr
        addl $64, %esi
        decl %ecx
        jnz sum
        incl %edx
        cmpl $5, %edx
        jb region
        stosl
        movl %edi, AT(record)
        addl $64, AT(case)
        jmp next

finish: movl $RESULTS, %esi
        movl AT(record), %ecx
        subl %esi, %ecx
        movl $0xe9, %edx
putc:   lodsb
        outb %al, %dx
        decl %ecx
        jnz putc
        movl $0xf4, %edx
        xorl %eax, %eax
        outl %eax, %dx
stop:   cli
        hlt
        jmp stop

        .balign 16
stubs:  .set vector, 0
        .rept VECTORS
        .balign 16
        .if vector != 8 && (vector < 10 || vector > 14) && vector != 17
        pushl $0
        .endif
        pushl $vector
        jmp common
        .set vector, vector + 1
        .endr

record: .long 0
case:   .long 0
selectors: .long 0
stack:  .long 0
        .word 0
target: .long 0x200
        .word 0
stacks: .word 0, 0x48, 0x50, 0x48
codes:  .word 0, 0x18, 0x18, 0x20
gdtr:   .word gdt_end - gdt - 1
        .long AT(gdt)
idtr:   .word VECTORS * 8 - 1
        .long IDT
        .balign 8
gdt:    .quad 0
        .quad 0x00cf9b000000ffff        # 08 flat code
        .quad 0x00cf93000000ffff        # 10 flat data
        .quad 0x008f9b030000ffff        # 18 the case's code, 16 bits
        .quad 0x00cf9b030000ffff        # 20 the case's code, 32 bits
        .quad 0x008f93040000ffff        # 28 DS
        .quad 0x008f93041000ffff        # 30 ES
        .quad 0x008f93042000ffff        # 38 FS
        .quad 0x008f93043000ffff        # 40 GS
        .quad 0x008f93050000ffff        # 48 SS, 16 bits
        .quad 0x00cf93050000ffff        # 50 SS, 32 bits
        .quad 0x00009b000000ffff        # 58 16-bit code at 0, to leave protected mode
        .quad 0x008f9f030000ffff        # 60 conforming code
        .quad 0x0000840000181000        # 68 call gate, 16 bits
        .quad 0x00008c0000201000        # 70 call gate, 32 bits
        .quad 0x008f13040000ffff        # 78 data, not present
        .quad 0x0040910400000123        # 80 read-only data
        .quad 0x00009704000007ff        # 88 expand-down data
        .quad 0x000081040000002b        # 90 available 16-bit TSS
        .quad 0x0000820400000017        # 98 LDT
        .quad 0x0000890210000067        # A0 32-bit TSS
gdt_end:

        .code16
        .balign 16
low:
leave_protected:
        movl %cr0, %eax
        andb $0xfe, %al
        movl %eax, %cr0
        ljmp $0, $LOWAT(in_real)
in_real:
        movw $0, %ax
        movw %ax, %ss
        movw %ax, %ds
        lidtl LOWAT(real_idtr)
        movw $0x4000, %ax
        movw %ax, %ds
        movw $0x4100, %ax
        movw %ax, %es
        movw $0x4200, %ax
        movw %ax, %fs
        movw $0x4300, %ax
        movw %ax, %gs
        movl $IMAGE, %esp
        popfl
        popal
        lssl %cs:LOWAT(real_stack), %esp
        ljmp *%cs:LOWAT(real_target)

real_common:
        pushal
        pushw %ds
        pushw %es
        movl %cr0, %eax
        orb $1, %al
        movl %eax, %cr0
        lidtl %cs:LOWAT(protected_idtr)
        ljmpl $0x08, $AT(back)

real_idtr: .word VECTORS * 4 - 1
        .long IVT
protected_idtr: .word VECTORS * 8 - 1
        .long IDT
real_stack: .long 0
        .word 0x5000
real_target: .word 0x200, 0x3000
        .balign 8
real_stubs:
        .set vector, 0
        .rept VECTORS
        .balign 8
        pushw $vector
        jmp real_common
        .set vector, vector + 1
        .endr
        .code32
        .balign 8
narrow_stubs:
        .set vector, 0x40
        .rept VECTORS - 0x40
        .balign 8
        pushl $vector
        jmp LOWAT_narrow
        .set vector, vector + 1
        .endr
        .balign 8
LOWAT_narrow:
        ljmp $0x08, $AT(narrow_common)
low_end:
        .balign 16
        .globl table
table:
