/* What the architecture keeps per task, and the instructions that have names. */
#ifndef ASM_PROCESSOR_H
#define ASM_PROCESSOR_H

#include <linux/types.h>
#include <asm/paravirt.h>
#include <asm/ptrace.h>

struct task_struct;

struct thread_struct {
	u32 esp;  /* kernel stack pointer while switched out */
	u32 esp0; /* top of the kernel stack: where entries from user mode start */
	u32 fs, gs;
	u32 cr2, trap_no, error_code; /* last user fault, for the signal frame */
};

struct cpuinfo_x86 {
	char vendor[13];
	char brand[49];
	u32 level;
	u32 signature; /* CPUID.1:EAX */
	u32 features; /* CPUID.1:EDX, less what options switched off */
};

#define X86_FEATURE_PSE (1u << 3)
#define X86_FEATURE_TSC (1u << 4)
#define X86_FEATURE_SEP (1u << 11)
#define X86_FEATURE_PGE (1u << 13)
#define X86_FEATURE_CMOV (1u << 15)

#define X86_CR0_PE 0x00000001
#define X86_CR0_MP 0x00000002
#define X86_CR0_NE 0x00000020
#define X86_CR0_WP 0x00010000
#define X86_CR0_PG 0x80000000
#define X86_CR4_PSE 0x010
#define X86_CR4_PGE 0x080

#define MSR_IA32_SYSENTER_CS 0x174
#define MSR_IA32_SYSENTER_ESP 0x175
#define MSR_IA32_SYSENTER_EIP 0x176

extern struct cpuinfo_x86 boot_cpu_data;
/* Clears bits that `vmi=disable_*` took away. */
extern u32 cpu_features_disabled;

static inline void wrmsr(u32 msr, u32 low, u32 high)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"(low), "d"(high));
}

static inline void cpu_relax(void) { __asm__ volatile("rep; nop" ::: "memory"); }

void identify_cpu(void);
void syscall_entry_init(void);
void start_thread(struct pt_regs *regs, u32 eip, u32 esp);
void switch_to(struct task_struct *prev, struct task_struct *next);
int copy_thread(struct task_struct *task, struct pt_regs *regs, u32 esp);
void kernel_task_start(struct task_struct *task, void (*start)(void));
void cpu_idle(void) __noreturn;
void machine_power_off(void) __noreturn;

#endif
