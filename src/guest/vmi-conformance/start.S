/* Multiboot header, paging, descriptor table. The image is linked at 3 GiB + 1 MiB and loaded at 1 MiB. */
#include "layout.h"

#define PHYSICAL(label) ((label) - KERNEL)

	.section .boot, "ax"
	.align 4
	.long 0x1badb002
	.long 0
	.long -0x1badb002

	.globl start
start:
	cli
	cld
	movl %ebx, %ebp
	/* The first 8 MiB at 0 and at 3 GiB, by entries of 4 KiB that are accessed and dirty. */
	movl $PHYSICAL(boot_tables), %edi
	movl $0x63, %eax
	movl $2048, %ecx
1:	stosl
	addl $0x1000, %eax
	loop 1b
	movl $PHYSICAL(boot_directory), %edi
	movl $PHYSICAL(boot_tables) + 0x63, %eax
	movl %eax, (%edi)
	movl %eax, 4 * 768(%edi)
	addl $0x1000, %eax
	movl %eax, 4(%edi)
	movl %eax, 4 * 769(%edi)
	movl %edi, %cr3
	/* Large pages and global pages. */
	movl $0x90, %eax
	movl %eax, %cr4
	/* PG, WP, NE, PE. */
	movl $0x80010021, %eax
	movl %eax, %cr0
	movl $1f, %eax
	jmp *%eax

	.text
1:	lgdt gdt_pointer
	ljmp $KERNEL_CS, $2f
2:	movl $KERNEL_DS, %eax
	movl %eax, %ss
	movl $stack_end, %esp
	movl $USER_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs
	leal KERNEL(%ebp), %eax
	call guest_main
	ud2

	.data
	.balign 4096
	.globl gdt
gdt:
	.fill 12, 8, 0
	.quad 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
	.fill 16, 8, 0
gdt_pointer:
	.word 255
	.long gdt

	.bss
	.balign 4096
	.globl boot_directory
boot_directory:
	.skip 4096
boot_tables:
	.skip 8192
	.skip 16384
	.globl stack_end
stack_end:
