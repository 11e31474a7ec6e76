/*
 * Multiboot header, start, descriptor tables, the entries of traps and the code that runs in ring 3.
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
	movl %ebx, %edx
	call guest_main
2:	cli
	hlt
	jmp 2b

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
	.globl tss
tss:
	.long 0
	.long 0 /* ESP0 */
	.long KERNEL_DS
	.fill 22, 4, 0
	.word 0, 104 /* no I/O bitmap */

	.text
/* Faults and traps whose handler is C: `trap(number, frame)`; the frame is struct trap_frame. */
	.macro trap number, code
	.align 4
trap_\number:
	.if \code == 0
	pushl $0
	.endif
	pushl $\number
	jmp trap_common
	.endm

	.irp number, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19
	trap \number, 0
	.endr
	.irp number, 8, 10, 11, 12, 13, 17
	trap \number, 1
	.endr

trap_common:
	pusha
	movl %esp, %eax
	call trap_unexpected
2:	cli
	hlt
	jmp 2b

/* #DE: the handler leaves the two bytes of DIV behind, as a signal handler would. */
	.globl trap_divide
trap_divide:
	pusha
	movl %esp, %eax
	call divide_fault
	popa
	iret

	.globl trap_page
trap_page:
	pusha
	movl %cr2, %eax
	movl 32(%esp), %edx
	movl 36(%esp), %ecx
	call page_fault
	popa
	addl $4, %esp
	iret

	.globl trap_timer
trap_timer:
	pusha
	call timer_interrupt
	popa
	iret

/* System calls save and reload what a kernel's do: data segments and the caller's registers. */
	.globl trap_system_call
trap_system_call:
	pushl %es
	pushl %ds
	pushl %ebp
	pushl %edi
	pushl %esi
	pushl %edx
	pushl %ecx
	pushl %ebx
	movl $KERNEL_DS, %edx
	movl %edx, %ds
	movl %edx, %es
	cmpl $2, %eax
	jae 1f
	movl %ebx, %edx
	call *system_calls(, %eax, 4)
1:	popl %ebx
	popl %ecx
	popl %edx
	popl %esi
	popl %edi
	popl %ebp
	popl %ds
	popl %es
	iret

	.globl enter_system_call
enter_system_call:
	movl tss + 4, %esp
	pushl %ecx
	pushl %edx
	pushl %ebp
	pushl %edi
	pushl %esi
	pushl %ebx
	cmpl $2, %eax
	jae 1f
	movl %ebx, %edx
	call *system_calls(, %eax, 4)
1:	popl %ebx
	popl %esi
	popl %edi
	popl %ebp
	popl %edx
	popl %ecx
	sysexit

/* `u32 run_user(entry, count, stack)`: runs ring 3 code until it traps to `trap_leave_user` with its result in EAX. */
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
	.align 4
	.globl trap_table
trap_table:
	.long trap_divide, trap_1, trap_2, trap_3, trap_4, trap_5, trap_6, trap_7
	.long trap_8, trap_9, trap_10, trap_11, trap_12, trap_13, trap_page, trap_15
	.long trap_16, trap_17, trap_18, trap_19

/* Ring 3. ESI is the number of calls, EBX the running result: every call returns a function of it. */
	.section .user, "ax"
	.globl user_int80
user_int80:
	movl $1, %ebx
1:	movl %esi, %eax
	andl $1, %eax
	int $0x80
	addl %eax, %ebx
	decl %esi
	jnz 1b
	movl %ebx, %eax
	int $0x81

	.globl user_sysenter
user_sysenter:
	movl $1, %ebx
1:	movl %esi, %eax
	andl $1, %eax
	movl %esp, %ecx
	movl $2f, %edx
	sysenter
2:	addl %eax, %ebx
	decl %esi
	jnz 1b
	movl %ebx, %eax
	int $0x81

	.bss
	.align 4096
	.skip 16384
kernel_stack_end:
