/* The register frame that every entry from user mode, exception and interrupt leaves on the kernel stack. */
#ifndef ASM_PTRACE_H
#define ASM_PTRACE_H

#define PT_EBX 0
#define PT_ECX 4
#define PT_EDX 8
#define PT_ESI 12
#define PT_EDI 16
#define PT_EBP 20
#define PT_EAX 24
#define PT_DS 28
#define PT_ES 32
#define PT_ORIG_EAX 36
#define PT_EIP 40
#define PT_CS 44
#define PT_EFLAGS 48
#define PT_OLDESP 52
#define PT_OLDSS 56

#define X86_EFLAGS_TF 0x100
#define X86_EFLAGS_IF 0x200
#define X86_EFLAGS_DF 0x400

#ifndef __ASSEMBLER__
#include <linux/types.h>
#include <asm/segment.h>

struct pt_regs {
	u32 ebx, ecx, edx, esi, edi, ebp, eax;
	u32 ds, es;
	u32 orig_eax; /* system call number, error code, or ~irq */
	u32 eip, cs, eflags;
	u32 esp, ss; /* only there when the entry came from user mode */
};

/* RPL 3 is user; the kernel's own RPL can be 0 or 1. */
static inline int user_mode(const struct pt_regs *regs)
{
	return (regs->cs & SEGMENT_RPL_MASK) == USER_RPL;
}
#endif

#endif
