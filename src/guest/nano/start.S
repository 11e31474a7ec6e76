/*
 * Multiboot header, descriptor tables, the entries of traps, and the ways into ring 3 and back.
 *
 * Selectors stand in the order that SYSENTER and SYSEXIT demand: kernel code, kernel data, user code, user data.
 */
#define KERNEL_CS 0x08
#define KERNEL_DS 0x10
#define USER_CS 0x1b
#define USER_DS 0x23
#define TSS_SELECTOR 0x28

	.section .boot, "ax"
	.align 4
	.long 0x1badb002
	.long 0x00000002 /* memory information */
	.long -(0x1badb002 + 0x00000002)

	.globl start
start:
	cli
	cld
	lgdt gdt_pointer
	ljmp $KERNEL_CS, $1f
1:	movl $KERNEL_DS, %ecx
	movl %ecx, %ds
	movl %ecx, %es
	movl %ecx, %fs
	movl %ecx, %gs
	movl %ecx, %ss
	movl $kernel_stack_end, %esp
	movl $tss, %ecx
	movw %cx, gdt_tss + 2
	shrl $16, %ecx
	movb %cl, gdt_tss + 4
	movb %ch, gdt_tss + 7
	movl $TSS_SELECTOR, %ecx
	ltr %cx
	movl %ebx, %eax
	call nano_main
2:	cli
	hlt
	jmp 2b

	.text
/* Traps that nobody expects say which they are and stop. */
	.macro trap number
trap_\number:
	movl $\number, %eax
	jmp trap_unexpected
	.endm
	.irp number, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 17, 18, 19
	trap \number
	.endr

/* The faults of the loops return to the address that the loop has named: the instruction behind the one that faults. */
	.globl set_fixup
set_fixup:
	movl %eax, fixup
	ret

	.align 16
trap_divide:
	pushl %eax
	movl fixup, %eax
	movl %eax, 4(%esp)
	popl %eax
	iret

	.align 16
trap_page:
	movl %eax, (%esp)
	movl fixup, %eax
	movl %eax, 4(%esp)
	popl %eax
	iret

	.globl trap_system_call
	.align 16
trap_system_call:
	iret

	.globl enter_system_call
	.align 16
enter_system_call:
	sysexit

	.globl run_user
run_user:
	pushl %ebp
	pushl %edi
	pushl %esi
	pushl %ebx
	movl %esp, tss + 4
	movl $USER_DS, %ebx
	movl %ebx, %ds
	movl %ebx, %es
	pushl %ebx
	pushl %ecx
	pushl $2
	pushl $USER_CS
	pushl %eax
	movl %edx, %esi
	iret

	.globl trap_leave_user
trap_leave_user:
	movl $KERNEL_DS, %edx
	movl %edx, %ds
	movl %edx, %es
	movl tss + 4, %esp
	popl %ebx
	popl %esi
	popl %edi
	popl %ebp
	ret

	.data
	.align 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
	.quad 0x00cffb000000ffff
	.quad 0x00cff3000000ffff
gdt_tss:
	.quad 0x0000890000000067
gdt_end:
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt

	.align 4
tss:
	.long 0
	.long 0 /* ESP0 */
	.long KERNEL_DS
	.fill 22, 4, 0
	.word 0, 104 /* no I/O bitmap */
fixup:
	.long 0

	.align 4
	.globl trap_entries
trap_entries:
	.long trap_divide, trap_1, trap_2, trap_3, trap_4, trap_5, trap_6, trap_7
	.long trap_8, trap_9, trap_10, trap_11, trap_12, trap_13, trap_page, trap_15
	.long trap_16, trap_17, trap_18, trap_19

	.bss
	.align 4096
	.globl page_directory, page_table
page_directory:
	.skip 4096
page_table:
	.skip 4096
	.skip 16384
kernel_stack_end:
