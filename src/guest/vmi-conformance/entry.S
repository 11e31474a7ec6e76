/* Entries of traps and interrupts, call sites, user code. */
#include "layout.h"

	.text
/* One site a call. The native form of IRET works from the start; the others are for the patcher to replace. */
	.balign 16
	.globl sites
sites:
	.set index, 0
	.rept 74
	.if index == 33
	iret
	nop
	nop
	nop
	nop
	.else
	ud2
	ud2
	nop
	.endif
	jmp site_return
	.balign SITE_BYTES
	.set index, index + 1
	.endr

/*
 * Loads the registers from `io`, puts S1 and S2 on the stack and goes to `io.site`; from there it comes back by `site_return`, from
 * traps that end it by `site_abandoned`. Data is reached by SS: DS and ES are those of `io`.
 */
	.globl enter_site
enter_site:
	pushl %ebp
	pushl %edi
	pushl %esi
	pushl %ebx
	movl %esp, site_stack
	pushl io + IO_S2
	pushl io + IO_S1
	movl io + IO_EBX, %ebx
	movl io + IO_ECX, %ecx
	movl io + IO_EDX, %edx
	movl io + IO_ESI, %esi
	movl io + IO_EDI, %edi
	movl io + IO_EBP, %ebp
	movl io + IO_SELECTOR, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %ss:io + IO_EAX, %eax
	jmp *%ss:io + IO_SITE

	.globl site_return
site_return:
	movl %eax, %ss:io + IO_EAX
	movl %ebx, %ss:io + IO_EBX
	movl %ecx, %ss:io + IO_ECX
	movl %edx, %ss:io + IO_EDX
	movl %esi, %ss:io + IO_ESI
	movl %edi, %ss:io + IO_EDI
	movl %ebp, %ss:io + IO_EBP
	movl %esp, %ss:io + IO_ESP
	pushfl
	popl %ss:io + IO_EFLAGS
	movl $USER_DS, %eax
	movl %eax, %ds
	movl %eax, %es
site_abandoned:
	cld
	movl site_stack, %esp
	popl %ebx
	popl %esi
	popl %edi
	popl %ebp
	ret

/* Code for `run_code`. */
	.globl code_int3, code_int42, code_rdpmc, code_load, code_cr0, code_cr4, code_rdmsr, code_iret_user, code_iret_kernel
code_int3:
	int3
	jmp site_return
code_int42:
	int $0x42
	jmp site_return
code_rdpmc:
	rdpmc
	jmp site_return
code_load:
	movl (%ebx), %eax
	jmp site_return
code_cr0:
	movl %cr0, %eax
	jmp site_return
code_cr4:
	movl %cr4, %eax
	jmp site_return
code_rdmsr:
	rdmsr
	jmp site_return
/* Returns by the words of `frame`: EIP, CS, EFLAGS, and ESP, SS for another privilege level. */
code_iret_user:
	pushl %ss:frame + 16
	pushl %ss:frame + 12
code_iret_kernel:
	pushl %ss:frame + 8
	pushl %ss:frame + 4
	pushl %ss:frame
	jmp IRET_SITE

	.macro trap number, code
	.balign 4
trap_\number:
	.if \code == 0
	pushl $0
	.endif
	pushl $\number
	jmp trap_common
	.endm

	.irp number, 0, 1, 2, 3, 4, 5, 6, 7, 9, 15, 16, 18, 19
	trap \number, 0
	.endr
	.irp number, 8, 10, 11, 12, 13, 14, 17
	trap \number, 1
	.endr
	.globl trap_66, trap_128, trap_259
	trap 66, 0
	trap 128, 0
/* Breakpoints by the other interrupt table. */
	trap 259, 0

trap_common:
	cld
	pushl %ds
	pushl %es
	pushal
	movl $USER_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %esp, %eax
	call trap
	jmp site_abandoned

	.globl sysenter_entry
sysenter_entry:
	movl $USER_DS, %ecx
	movl %ecx, %ds
	movl %ecx, %es
	call system_call
	jmp site_abandoned

	.globl interrupt_entry
interrupt_entry:
	cld
	pushl %ds
	pushl %es
	pushal
	movl $USER_DS, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %esp, %eax
	call interrupt
	popal
	popl %es
	popl %ds
	jmp IRET_SITE

	.section .rodata
	.balign 4
	.globl trap_table
trap_table:
	.long trap_0, trap_1, trap_2, trap_3, trap_4, trap_5, trap_6, trap_7, trap_8, trap_9, trap_10, trap_11, trap_12, trap_13
	.long trap_14, trap_15, trap_16, trap_17, trap_18, trap_19

/* Ring 3; position independent, for it runs at USER_CODE. Ends by INT 0x80 with its result in EAX and EDX, or in a trap. */
	.section .user, "ax"
	.globl user_return, user_flags, user_ports, user_cli, user_relocation, user_sysenter, user_wait
user_flags:
	pushfl
	popl %eax
user_return:
	int $0x80
user_ports:
	movl $0x3ff, %edx
	outb %al, %dx
	xorl %eax, %eax
	inb %dx, %al
	int $0x80
user_cli:
	cli
	int $0x80
/* EBX: the ROM's entry */
user_relocation:
	call *%ebx
	int $0x80
user_sysenter:
	sysenter
/* Until an interrupt has come: EBX counts at most so many rounds. */
user_wait:
	decl %ebx
	jnz user_wait
	int $0x80
