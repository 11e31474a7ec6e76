/*
 * Entries into the kernel and ways out of it. Sensitive instructions appear only as paravirtual sites: the same code runs at
 * CPL 0 on hardware and at CPL 1 under VMI.
 *
 *   int 0x80, exceptions, irqs -> SAVE_ALL -> C -> work loop (user mode only) -> RESTORE_ALL -> iret site
 *   sysenter                   -> hand-built frame, SAVE_ALL -> C -> no work: sti+sysexit site; work: the way above
 */
#include <asm/page.h>
#include <asm/paravirt.h>
#include <asm/ptrace.h>
#include <asm/segment.h>
#include <linux/sched.h>

#define SITE(op, clobbers, code...)                                     \
771:	code;                                                           \
772:	.pushsection .parainstructions, "a";                            \
	.long 771b; .byte op; .byte 772b - 771b; .short clobbers;       \
	.popsection

/* Longest native or patched form is 5 bytes; each of these has more. */
#define DISABLE_INTERRUPTS                                              \
	SITE(PV_IRQ_DISABLE, CLBR_NONE,                                 \
	     pushl %eax; pushl %ecx; pushl %edx;                        \
	     call *%cs:pv_irq_ops + PV_IRQ_OFFSET_DISABLE;              \
	     popl %edx; popl %ecx; popl %eax)
#define ENABLE_INTERRUPTS                                               \
	SITE(PV_IRQ_ENABLE, CLBR_NONE,                                  \
	     pushl %eax; pushl %ecx; pushl %edx;                        \
	     call *%cs:pv_irq_ops + PV_IRQ_OFFSET_ENABLE;               \
	     popl %edx; popl %ecx; popl %eax)
#define INTERRUPT_RETURN                                                \
	SITE(PV_IRET, CLBR_NONE, jmp *%cs:pv_cpu_ops + PV_CPU_IRET)
#define ENABLE_INTERRUPTS_SYSEXIT                                       \
	SITE(PV_IRQ_ENABLE_SYSEXIT, CLBR_NONE, jmp *%cs:pv_cpu_ops + PV_CPU_IRQ_ENABLE_SYSEXIT)

/* DS and ES become the user's flat segment, which every privilege level may use. */
.macro SAVE_ALL
	cld
	pushl %es
	pushl %ds
	pushl %eax
	pushl %ebp
	pushl %edi
	pushl %esi
	pushl %edx
	pushl %ecx
	pushl %ebx
	movl $__USER_DS, %edx
	movl %edx, %ds
	movl %edx, %es
.endm

.macro EXTABLE from, to
	.pushsection .ex_table, "a"
	.long \from, \to
	.popsection
.endm

	.text

	.globl system_call
system_call:
	pushl %eax
	SAVE_ALL
	movl %esp, %eax
	call do_syscall
	.globl syscall_exit
syscall_exit:
	DISABLE_INTERRUPTS
	movl current_task, %ecx
	testl $WORK_MASK, TASK_WORK(%ecx)
	jnz work_pending
restore_all:
	popl %ebx
	popl %ecx
	popl %edx
	popl %esi
	popl %edi
	popl %ebp
	popl %eax
1:	popl %ds
2:	popl %es
	addl $4, %esp
irq_return:
	INTERRUPT_RETURN
/* A user selector or return frame that the processor refuses: nulls for the data segments, the end of the task for a frame. */
3:	movl $0, (%esp)
	jmp 1b
4:	movl $0, (%esp)
	jmp 2b
	EXTABLE 1b, 3b
	EXTABLE 2b, 4b
	EXTABLE irq_return, bad_return_frame

bad_return_frame:
	ENABLE_INTERRUPTS
	pushl $0
	SAVE_ALL
	movl $(11 << 0), %eax /* SIGSEGV */
	call do_group_exit

/* Interrupts are off. C does what is to be done and comes back with them off, until nothing is left. */
work_pending:
	movl %esp, %eax
	call do_notify_resume
	jmp restore_all

/*
 * SYSENTER: interrupts off, ESP from the MSR: the address of the TSS, whose esp0 is the task's kernel stack. EBP holds the
 * user's stack pointer; the return address is the one in the vsyscall page.
 */
	.globl sysenter_entry
sysenter_entry:
	movl 4(%esp), %esp
	ENABLE_INTERRUPTS
	pushl $__USER_DS
	pushl %ebp
	pushfl
	orl $X86_EFLAGS_IF, (%esp)
	pushl $__USER_CS
	pushl $(VSYSCALL_BASE + vsyscall_sysenter_return - vsyscall_sysenter_start)
	pushl %eax
	SAVE_ALL
	movl %esp, %eax
	call do_syscall
	DISABLE_INTERRUPTS
	movl current_task, %ecx
	testl $WORK_MASK, TASK_WORK(%ecx)
	jnz work_pending
	movl PT_EBX(%esp), %ebx
	movl PT_ESI(%esp), %esi
	movl PT_EDI(%esp), %edi
	movl PT_EBP(%esp), %ebp
	movl PT_EAX(%esp), %eax
	movl PT_EIP(%esp), %edx
	movl PT_OLDESP(%esp), %ecx
	ENABLE_INTERRUPTS_SYSEXIT

/* First run of a new task: EAX is the task that was switched away from. */
	.globl ret_from_fork
ret_from_fork:
	call schedule_tail
	jmp syscall_exit

	.globl ret_from_kernel_start
ret_from_kernel_start:
	call schedule_tail
	popl %eax
	call *%eax
	jmp syscall_exit

/* task *__switch_stack(prev, u32 *prev_esp, next_esp): returns prev in EAX on the other stack. */
	.globl __switch_stack
__switch_stack:
	pushl %ebp
	pushl %ebx
	pushl %esi
	pushl %edi
	movl %esp, (%edx)
	movl %ecx, %esp
	popl %edi
	popl %esi
	popl %ebx
	popl %ebp
	ret

ret_from_intr:
	movl PT_CS(%esp), %eax
	andl $SEGMENT_RPL_MASK, %eax
	cmpl $USER_RPL, %eax
	jne restore_all
	jmp syscall_exit

/* Hardware interrupts: stubs push ~irq, so that it is never a system call number. */
	.align 16
	.globl irq_entries
irq_entries:
vector = 0
.rept 16
	.align 8
	pushl $~vector
	jmp common_interrupt
vector = vector + 1
.endr

common_interrupt:
	SAVE_ALL
	movl %esp, %eax
	call do_IRQ
	jmp ret_from_intr

/* Exceptions. Without an error code, zero takes its place; the handler gets (regs, error code). */
.macro EXCEPTION name, handler, has_code
	.globl \name
\name:
	.if \has_code == 0
	pushl $0
	.endif
	pushl $\handler
	jmp error_code
.endm

	EXCEPTION divide_error, do_divide_error, 0
	EXCEPTION debug, do_debug, 0
	EXCEPTION nmi, do_nmi, 0
	EXCEPTION int3, do_int3, 0
	EXCEPTION overflow, do_overflow, 0
	EXCEPTION bounds, do_bounds, 0
	EXCEPTION invalid_op, do_invalid_op, 0
	EXCEPTION device_not_available, do_device_not_available, 0
	EXCEPTION double_fault, do_double_fault, 1
	EXCEPTION coprocessor_segment_overrun, do_coprocessor_segment_overrun, 0
	EXCEPTION invalid_tss, do_invalid_tss, 1
	EXCEPTION segment_not_present, do_segment_not_present, 1
	EXCEPTION stack_segment, do_stack_segment, 1
	EXCEPTION general_protection, do_general_protection, 1
	EXCEPTION page_fault, do_page_fault, 1
	EXCEPTION coprocessor_error, do_coprocessor_error, 0
	EXCEPTION alignment_check, do_alignment_check, 1
	EXCEPTION spurious_vector, do_spurious_vector, 0

/* Stack: handler, error code, EIP ... The handler's slot becomes ES, as in pt_regs. */
error_code:
	pushl %ds
	pushl %eax
	pushl %ebp
	pushl %edi
	pushl %esi
	pushl %edx
	pushl %ecx
	pushl %ebx
	cld
	movl PT_ES(%esp), %edi
	movl %es, %ecx
	movl %ecx, PT_ES(%esp)
	movl PT_ORIG_EAX(%esp), %edx
	movl $-1, PT_ORIG_EAX(%esp)
	movl $__USER_DS, %ecx
	movl %ecx, %ds
	movl %ecx, %es
	movl %esp, %eax
	call *%edi
	jmp ret_from_intr

/* Native forms of the two exits, for a kernel whose sites were not patched yet. */
	.globl native_iret, native_irq_enable_sysexit
native_iret:
	iret
native_irq_enable_sysexit:
	sti
	sysexit

/* The vsyscall page's contents: one of the two entries, and the way back from a signal handler. */
	.section .rodata
	.globl vsyscall_sysenter_start, vsyscall_sysenter_return, vsyscall_sysenter_end
	.globl vsyscall_int80_start, vsyscall_int80_end, vsyscall_sigreturn_start, vsyscall_sigreturn_end
vsyscall_sysenter_start:
	pushl %ecx
	pushl %edx
	pushl %ebp
	movl %esp, %ebp
	sysenter
vsyscall_sysenter_return:
	popl %ebp
	popl %edx
	popl %ecx
	ret
vsyscall_sysenter_end:
vsyscall_int80_start:
	int $0x80
	ret
vsyscall_int80_end:
vsyscall_sigreturn_start:
	movl $173, %eax
	int $0x80
vsyscall_sigreturn_end:
