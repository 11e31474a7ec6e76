/* Signals: numbers and user-visible layouts of the i386 ABI. */
#ifndef LINUX_SIGNAL_H
#define LINUX_SIGNAL_H

#include <linux/types.h>

#define NSIG 32
#define SIGINT 2
#define SIGILL 4
#define SIGTRAP 5
#define SIGBUS 7
#define SIGFPE 8
#define SIGKILL 9
#define SIGUSR1 10
#define SIGSEGV 11
#define SIGUSR2 12
#define SIGPIPE 13
#define SIGALRM 14
#define SIGTERM 15
#define SIGCHLD 17
#define SIGCONT 18
#define SIGWINCH 28

#define SIG_DFL 0
#define SIG_IGN 1
#define SA_SIGINFO 0x00000004
#define SA_RESTORER 0x04000000
#define SA_NODEFER 0x40000000
#define SA_RESETHAND 0x80000000u

#define SIG_BLOCK 0
#define SIG_UNBLOCK 1
#define SIG_SETMASK 2

/* si_code values. */
#define SI_USER 0
#define SI_KERNEL 0x80
#define FPE_INTDIV 1
#define SEGV_MAPERR 1
#define SEGV_ACCERR 2
#define ILL_ILLOPN 2

/* rt_sigaction: what user space passes. */
struct k_sigaction {
	u32 handler;
	u32 flags;
	u32 restorer;
	u32 mask[2];
};

struct siginfo {
	int signo, error, code;
	u32 address; /* faults */
};
/* User space is promised 128 bytes; the rest carries nothing here. */
#define SIGINFO_USER_BYTES 128

struct sigcontext {
	u32 gs, fs, es, ds;
	u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
	u32 trapno, err;
	u32 eip, cs, eflags, esp_at_signal, ss;
	u32 fpstate, oldmask, cr2;
};

struct ucontext {
	u32 flags, link;
	u32 stack_sp, stack_flags, stack_size;
	struct sigcontext mcontext;
	u32 sigmask[2];
};

struct task_struct;
struct pt_regs;

void send_signal(struct task_struct *task, u32 signo);
void force_signal(struct task_struct *task, u32 signo, int code, u32 address);
static inline u32 sigmask(u32 signo) { return 1u << (signo - 1); }
/* Takes the next deliverable signal, runs default actions; 0 when nothing is left for a handler. */
u32 get_signal(struct k_sigaction *action, struct siginfo *info);
void do_signal(struct pt_regs *regs);
void recalc_sigpending(struct task_struct *task);

#endif
