/*
 * The loops of the nanobenchmarks. The count comes in EAX. Around each operation is the same `decl, jnz`, which `loop_empty` has alone;
 * what an operation needs beside it is set up before the loop.
 */
#include "nano-pages.h"
	.text

	.globl loop_empty
	.align 16
loop_empty:
	movl %eax, %ecx
1:	decl %ecx
	jnz 1b
	ret

/* One access to an I/O port that has no side effect. */
	.globl loop_in
	.align 16
loop_in:
	movl %eax, %ecx
1:	inb $0x80, %al
	decl %ecx
	jnz 1b
	ret

/* The interrupt flag: the one piece of privileged state that 32-bit kernels write without end. */
	.globl loop_cli
	.align 16
loop_cli:
	movl %eax, %ecx
1:	cli
	decl %ecx
	jnz 1b
	ret

/* A control register that gets the value it has. */
	.globl loop_cr0
	.align 16
loop_cr0:
	movl %eax, %ecx
	movl %cr0, %edx
1:	movl %edx, %cr0
	decl %ecx
	jnz 1b
	ret

	.globl loop_callret
	.align 16
loop_callret:
	movl %eax, %ecx
1:	call 2f
	decl %ecx
	jnz 1b
	ret
	.align 16
2:	ret

/* A load from a page that the kernel's own tables do not map: the handler skips it. */
	.globl loop_pgfault
	.align 16
loop_pgfault:
	pushl %eax
	movl $2f, %eax
	call set_fixup
	popl %ecx
	.align 16
1:	movl ABSENT_PAGE, %edx
2:	decl %ecx
	jnz 1b
	ret

/* A division by zero: the handler skips it. */
	.globl loop_divzero
	.align 16
loop_divzero:
	pushl %ebx
	pushl %eax
	movl $2f, %eax
	call set_fixup
	popl %ecx
	xorl %ebx, %ebx
	xorl %edx, %edx
	.align 16
1:	divl %ebx
2:	decl %ecx
	jnz 1b
	popl %ebx
	ret

/* A store to an entry of the page table in use: a bit for software alternates, no INVLPG. */
	.globl loop_ptemod
	.align 16
loop_ptemod:
	movl %eax, %ecx
	movl page_table + (TOUCHED_PAGE >> 12) * 4, %edx
1:	xorl $0x200, %edx
	movl %edx, page_table + (TOUCHED_PAGE >> 12) * 4
	decl %ecx
	jnz 1b
	ret

/* The same without the store. */
	.globl loop_empty_store
	.align 16
loop_empty_store:
	movl %eax, %ecx
1:	xorl $0x200, %edx
	decl %ecx
	jnz 1b
	ret

/* Ring 3: the count is in ESI. */
	.section .user, "ax"
	.globl user_empty
	.align 16
user_empty:
1:	decl %esi
	jnz 1b
	int $0x81

	.globl user_int80
	.align 16
user_int80:
1:	int $0x80
	decl %esi
	jnz 1b
	int $0x81

/* SYSEXIT takes its target from EDX and ECX: they are loaded once, and the kernel's part leaves them alone. */
	.globl user_sysenter
	.align 16
user_sysenter:
	movl %esp, %ecx
	movl $2f, %edx
1:	sysenter
2:	decl %esi
	jnz 1b
	int $0x81
