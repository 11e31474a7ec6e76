/* The IDT and what exceptions do: a signal for user mode, a fixup or the end for the kernel. */
#include <asm/desc.h>
#include <asm/irqflags.h>
#include <asm/processor.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

struct desc_struct idt_table[256] __attribute__((section(".data.page_aligned"), aligned(PAGE_SIZE)));

/* Gate types with the present bit: interrupt gates clear IF, trap gates do not; DPL 3 lets INT n through. */
#define GATE_INTERRUPT 0x8e00
#define GATE_TRAP 0x8f00
#define GATE_SYSTEM 0xef00

static void set_gate(u32 vector, u32 type, const void *handler)
{
	u32 at = (u32)handler;

	idt_table[vector].low = (__KERNEL_CS << 16) | (at & 0xffff);
	idt_table[vector].high = (at & 0xffff0000) | type;
}

#define TRAP(name) void name(void); void do_##name(struct pt_regs *regs, u32 error_code)
TRAP(divide_error); TRAP(debug); TRAP(nmi); TRAP(int3); TRAP(overflow); TRAP(bounds); TRAP(invalid_op);
TRAP(device_not_available); TRAP(double_fault); TRAP(coprocessor_segment_overrun); TRAP(invalid_tss);
TRAP(segment_not_present); TRAP(stack_segment); TRAP(general_protection); TRAP(page_fault); TRAP(coprocessor_error);
TRAP(alignment_check); TRAP(spurious_vector);
void system_call(void);
extern const char irq_entries[];

static int fixup_exception(struct pt_regs *regs)
{
	u32 to = search_exception_table(regs->eip);

	if (to)
		regs->eip = to;
	return to != 0;
}

static void do_trap(struct pt_regs *regs, u32 error_code, u32 trap, u32 signo, int code, u32 address, const char *what)
{
	if (!user_mode(regs)) {
		if (!fixup_exception(regs))
			oops(what, regs, error_code);
		return;
	}
	current->thread.trap_no = trap;
	current->thread.error_code = error_code;
	force_signal(current, signo, code, address);
}

#define SIMPLE_TRAP(name, vector, signo, code, what)                              \
	void do_##name(struct pt_regs *regs, u32 error_code)                       \
	{                                                                          \
		do_trap(regs, error_code, vector, signo, code, regs->eip, what);   \
	}

SIMPLE_TRAP(divide_error, 0, SIGFPE, FPE_INTDIV, "divide error")
SIMPLE_TRAP(debug, 1, SIGTRAP, SI_KERNEL, "debug exception")
SIMPLE_TRAP(int3, 3, SIGTRAP, SI_KERNEL, "int3")
SIMPLE_TRAP(overflow, 4, SIGSEGV, SI_KERNEL, "overflow")
SIMPLE_TRAP(bounds, 5, SIGSEGV, SI_KERNEL, "bounds")
SIMPLE_TRAP(invalid_op, 6, SIGILL, ILL_ILLOPN, "invalid operand")
SIMPLE_TRAP(device_not_available, 7, SIGFPE, SI_KERNEL, "no floating-point unit in use")
SIMPLE_TRAP(coprocessor_segment_overrun, 9, SIGFPE, SI_KERNEL, "coprocessor segment overrun")
SIMPLE_TRAP(invalid_tss, 10, SIGSEGV, SI_KERNEL, "invalid TSS")
SIMPLE_TRAP(segment_not_present, 11, SIGBUS, SI_KERNEL, "segment not present")
SIMPLE_TRAP(stack_segment, 12, SIGBUS, SI_KERNEL, "stack segment")
SIMPLE_TRAP(general_protection, 13, SIGSEGV, SI_KERNEL, "general protection fault")
SIMPLE_TRAP(coprocessor_error, 16, SIGFPE, SI_KERNEL, "coprocessor error")
SIMPLE_TRAP(alignment_check, 17, SIGBUS, SI_KERNEL, "alignment check")

void do_nmi(struct pt_regs *regs, u32 error_code)
{
	(void)regs, (void)error_code;
}

void do_double_fault(struct pt_regs *regs, u32 error_code)
{
	oops("double fault", regs, error_code);
}

void do_spurious_vector(struct pt_regs *regs, u32 error_code)
{
	(void)error_code;
	if (!user_mode(regs))
		oops("unexpected vector", regs, 0);
	force_signal(current, SIGSEGV, SI_KERNEL, regs->eip);
}

/* Filled by direct stores and then loaded: the table is never written again. */
void trap_init(void)
{
	struct desc_ptr idt = { sizeof(idt_table) - 1, (u32)idt_table };
	u32 i;

	for (i = 0; i < 256; i++)
		set_gate(i, GATE_INTERRUPT, spurious_vector);
	set_gate(0, GATE_TRAP, divide_error);
	set_gate(1, GATE_TRAP, debug);
	set_gate(2, GATE_INTERRUPT, nmi);
	set_gate(3, GATE_SYSTEM, int3);
	set_gate(4, GATE_SYSTEM, overflow);
	set_gate(5, GATE_TRAP, bounds);
	set_gate(6, GATE_TRAP, invalid_op);
	set_gate(7, GATE_TRAP, device_not_available);
	set_gate(8, GATE_TRAP, double_fault);
	set_gate(9, GATE_TRAP, coprocessor_segment_overrun);
	set_gate(10, GATE_TRAP, invalid_tss);
	set_gate(11, GATE_TRAP, segment_not_present);
	set_gate(12, GATE_TRAP, stack_segment);
	set_gate(13, GATE_TRAP, general_protection);
	/* CR2 has to be read before another fault can change it. */
	set_gate(14, GATE_INTERRUPT, page_fault);
	set_gate(16, GATE_TRAP, coprocessor_error);
	set_gate(17, GATE_TRAP, alignment_check);
	for (i = 0; i < 16; i++)
		set_gate(0x20 + i, GATE_INTERRUPT, irq_entries + 8 * i);
	set_gate(0x80, GATE_SYSTEM, system_call);
	pv_cpu_ops.load_idt(&idt);
}

static void show_registers(struct pt_regs *regs)
{
	printk("EIP: %04x:[<%08x>] EFLAGS: %08x\n", regs->cs & 0xffff, regs->eip, regs->eflags);
	printk("EAX: %08x EBX: %08x ECX: %08x EDX: %08x\n", regs->eax, regs->ebx, regs->ecx, regs->edx);
	printk("ESI: %08x EDI: %08x EBP: %08x ESP: %08x\n", regs->esi, regs->edi, regs->ebp,
	       user_mode(regs) ? regs->esp : (u32)&regs->esp);
	printk("DS: %04x ES: %04x  process %s (pid %d)\n", regs->ds & 0xffff, regs->es & 0xffff, current->comm, current->pid);
}

void oops(const char *what, struct pt_regs *regs, u32 error_code)
{
	u32 *stack = &regs->esp, i;

	local_irq_disable();
	printk("Oops: %s, error code %04x\n", what, error_code);
	printk("CR2: %08x CR3: %08x\n", pv_mmu_ops.read_cr2(), pv_mmu_ops.read_cr3());
	show_registers(regs);
	if (!user_mode(regs)) {
		printk("Stack:");
		for (i = 0; i < 8 && ((u32)(stack + i) & (KERNEL_STACK_BYTES - 1)); i++)
			printk(" %08x", stack[i]);
		printk("\n");
	}
	panic("Fatal exception");
}
