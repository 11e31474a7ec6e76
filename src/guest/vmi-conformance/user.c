/* User mode: the ways there and back, what it may do. Calls 14, 33, 34, 61. */
#include "clock.h"

extern u8 user_begin[], user_return[], user_flags[], user_ports[], user_cli[], user_relocation[], user_sysenter[], user_wait[];
extern u8 code_iret_user[], code_iret_kernel[], sysenter_entry[];

#define GENERAL_PROTECTION 13
#define SYSTEM_CALL 0x80
#define SYSENTER 0x100
#define EFLAGS_IF 0x200u
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176

/* What `code_iret_user` and `code_iret_kernel` return by. */
u32 frame[5];

/* Made before Init and never announced, as boot page tables are. */
static u32 user_table[1024] __attribute__((aligned(4096)));
static u32 user_stack[1024] __attribute__((aligned(4096)));
static u32 entry_stack[256], other_stack[256];
#define TOP(stack) ((u32)(stack) + sizeof(stack))

static u32 at(const void *code) { return USER_CODE + ((u32)code - (u32)user_begin); }

void user_init(void)
{
	user_table[USER_CODE >> 12 & 1023] = physical(user_begin) | (PTE_USER & ~PTE_W);
	user_table[(USER_STACK - 4096) >> 12 & 1023] = physical(user_stack) | PTE_USER;
	for (u32 page = 0; page < 32; page++)
		user_table[(USER_ROM >> 12 & 1023) + page] = (0xc0000 + 4096 * page) | (PTE_USER & ~PTE_W);
	boot_directory[USER_CODE >> 22] = physical(user_table) | PTE_USER;
}

void run_user(const void *entry, u32 eax, u32 ebx)
{
	frame[0] = at(entry);
	frame[1] = USER_CS;
	frame[2] = EFLAGS_IF | 2;
	frame[3] = USER_STACK;
	frame[4] = USER_DS;
	run_code(code_iret_user, eax, ebx, 0, 0);
	VMI(DisableInterrupts);
}

static void set_stack(const u32 *stack, u32 bytes) { VMI(UpdateKernelStack, KERNEL_DS, (u32)stack + bytes); }

static void check_kernel_stack(void)
{
	set_stack(entry_stack, sizeof entry_stack);
	run_user(user_return, 0x600d, 0);
	check(IRET, "goes to user mode, which comes back by INT", SYSTEM_CALL, trapped.vector);
	check(IRET, "to user mode keeps EAX", 0x600d, trapped.eax);
	check(UpdateKernelStack, "takes a selector with RPL 0 (pitfall 14)", TOP(entry_stack) - 8, trapped.stack);
	set_stack(other_stack, sizeof other_stack);
	run_user(user_return, 0, 0);
	check(UpdateKernelStack, "moves the stack for entries from user mode", TOP(other_stack) - 8, trapped.stack);

	VMI(SetLazyMode, 2);
	set_stack(entry_stack, sizeof entry_stack);
	VMI(SetLazyMode, 0);
	run_user(user_return, 0, 0);
	check(UpdateKernelStack, "in lazy mode 2 is in force behind it", TOP(entry_stack) - 8, trapped.stack);
}

static void check_iret(void)
{
	run_user(user_flags, 0, 0);
	check(IRET, "runs user mode with interrupts on", EFLAGS_IF, trapped.eflags & EFLAGS_IF);

	frame[0] = (u32)site_return;
	frame[1] = KERNEL_CS;
	frame[2] = 2;
	VMI(EnableInterrupts);
	run_code(code_iret_kernel, 0, 0, 0, 0);
	check(IRET, "to the kernel takes a selector with RPL 0 (pitfall 28)", 0, trapped.taken);
	check(IRET, "to the kernel takes the interrupt flag from its image: off", 0, VMI(GetInterruptMask) & EFLAGS_IF);
	frame[1] = KERNEL_CS | kernel_rpl;
	frame[2] = EFLAGS_IF | 2;
	run_code(code_iret_kernel, 0, 0, 0, 0);
	check(IRET, "to the kernel takes the interrupt flag from its image: on", EFLAGS_IF, VMI(GetInterruptMask) & EFLAGS_IF);
	VMI(DisableInterrupts);

	/* A selector that describes nothing: Linux has an entry of its exception table at the call site. */
	frame[0] = at(user_return);
	frame[1] = 0xfb;
	frame[2] = EFLAGS_IF | 2;
	frame[3] = USER_STACK;
	frame[4] = USER_DS;
	expect_trap();
	run_code(code_iret_user, 0, 0, 0, 0);
	check(IRET, "by a bad frame is #GP", GENERAL_PROTECTION, trapped.vector);
	check(IRET, "by a bad frame faults at the call site", site_of(IRET), trapped.eip);
	check(IRET, "by a bad frame leaves interrupts off", 0, VMI(GetInterruptMask) & EFLAGS_IF);

	frame[0] = (u32)site_return;
	frame[1] = KERNEL_CS | kernel_rpl;
	frame[2] = 2;
	run_code_with(0, code_iret_kernel, 0, 0, 0, 0);
	check(IRET, "needs no data segments (pitfall 3)", 0, trapped.taken);
}

static void check_sysexit(void)
{
	VMI(WRMSR, KERNEL_CS, 0, MSR_SYSENTER_CS);
	VMI(WRMSR, TOP(other_stack), 0, MSR_SYSENTER_ESP);
	VMI(WRMSR, (u32)sysenter_entry, 0, MSR_SYSENTER_EIP);
	trapped.vector = 0;
	VMI(SYSEXIT, 0x5e7, at(user_return), USER_STACK);
	check(SYSEXIT, "goes to user mode", SYSTEM_CALL, trapped.vector);
	check(SYSEXIT, "with the code segment of SYSENTER_CS", USER_CS, trapped.cs);
	check(SYSEXIT, "and its interrupts on", EFLAGS_IF, trapped.eflags & EFLAGS_IF);
	check(SYSEXIT, "keeps EAX", 0x5e7, trapped.eax);
	VMI(DisableInterrupts);
	run_user(user_sysenter, 0x3e7e, 0);
	check(WRMSR, "SYSENTER goes where the registers say", SYSENTER, trapped.vector);
	check(WRMSR, "SYSENTER keeps EAX", 0x3e7e, trapped.eax);
	run_user(user_relocation, IRET, USER_ROM + 0x88);
	check(GetRelocationInfo, "needs no privilege (pitfall 4)", USER_ROM + relocation_of(rom_base, IRET).eip - rom_base,
	      trapped.eax);
}

static void check_iopl(void)
{
	VMI(SetIOPLMask, 0x3000);
	run_user(user_ports, 0x5a, 0);
	check(SetIOPLMask, "3 opens ports to user mode", 0x5a, trapped.eax);
	expect_trap();
	run_user(user_cli, 0, 0);
	check(SetIOPLMask, "3 does not give user mode the interrupt flag", GENERAL_PROTECTION, trapped.vector);
	VMI(SetIOPLMask, 0);
	expect_trap();
	run_user(user_ports, 0, 0);
	check(SetIOPLMask, "0 closes them", GENERAL_PROTECTION, trapped.vector);
}

/* With nothing of the kernel's on its way, an interrupt has to come by itself. */
static void check_interrupt(void)
{
	u32 period = part_of_second(1000);

	interrupts_reset();
	set_alarm(REAL, counter(REAL) + period, 0);
	run_user(user_wait, 0, 4 * period);
	check(SetAlarm, "interrupts user mode", 1, interrupts);
}

void check_user(void)
{
	check_kernel_stack();
	check_iret();
	check_sysexit();
	check_iopl();
	check_interrupt();
}
