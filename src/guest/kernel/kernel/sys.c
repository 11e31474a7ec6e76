/* The system call table (Linux i386 numbers) and the calls that belong nowhere else. */
#include <asm/processor.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

/* Arguments lie in the saved registers: EBX, ECX, EDX, ESI, EDI. */
typedef int (*syscall_function)(struct pt_regs *regs);

#define UTS_FIELD 65
#define REBOOT_POWER_OFF 0x4321fedc

static int sys_getpid(struct pt_regs *regs)
{
	(void)regs;
	return current->tgid;
}

static int sys_gettid(struct pt_regs *regs)
{
	(void)regs;
	return current->pid;
}

static int sys_getppid(struct pt_regs *regs)
{
	(void)regs;
	return current->group_leader->parent->tgid;
}

static int sys_getuid(struct pt_regs *regs)
{
	(void)regs;
	return 0;
}

static int sys_uname(struct pt_regs *regs)
{
	static const char *const fields[6] = { KERNEL_NAME, "vmitop", KERNEL_RELEASE, "#1", "i686", "" };
	char field[UTS_FIELD];
	u32 i;

	for (i = 0; i < 6; i++) {
		memset(field, 0, sizeof(field));
		memcpy(field, fields[i], strlen(fields[i]));
		if (copy_to_user(regs->ebx + i * UTS_FIELD, field, sizeof(field)))
			return -EFAULT;
	}
	return 0;
}

static int sys_reboot(struct pt_regs *regs)
{
	if (regs->ebx != 0xfee1dead)
		return -EINVAL;
	if (regs->edx != REBOOT_POWER_OFF)
		return -EINVAL;
	printk("Power down.\n");
	machine_power_off();
}

#define DECLARE(name) int sys_##name(struct pt_regs *regs)
DECLARE(exit); DECLARE(fork); DECLARE(read); DECLARE(write); DECLARE(open); DECLARE(close); DECLARE(waitpid);
DECLARE(execve); DECLARE(time); DECLARE(lseek); DECLARE(kill); DECLARE(pipe); DECLARE(brk); DECLARE(dup2);
DECLARE(sigaction); DECLARE(gettimeofday); DECLARE(old_mmap); DECLARE(munmap); DECLARE(wait4); DECLARE(clone);
DECLARE(mprotect); DECLARE(sched_yield); DECLARE(nanosleep); DECLARE(rt_sigreturn); DECLARE(rt_sigaction);
DECLARE(rt_sigprocmask); DECLARE(futex); DECLARE(exit_group); DECLARE(clock_gettime); DECLARE(getdents);

static const syscall_function sys_call_table[] = {
	[1] = sys_exit, [2] = sys_fork, [3] = sys_read, [4] = sys_write, [5] = sys_open, [6] = sys_close,
	[7] = sys_waitpid, [11] = sys_execve, [13] = sys_time, [19] = sys_lseek, [20] = sys_getpid, [24] = sys_getuid,
	[37] = sys_kill, [42] = sys_pipe, [45] = sys_brk, [63] = sys_dup2, [64] = sys_getppid, [67] = sys_sigaction,
	[78] = sys_gettimeofday, [88] = sys_reboot, [90] = sys_old_mmap, [91] = sys_munmap, [114] = sys_wait4,
	[119] = sys_rt_sigreturn, [120] = sys_clone, [122] = sys_uname, [125] = sys_mprotect, [141] = sys_getdents,
	[158] = sys_sched_yield, [162] = sys_nanosleep, [173] = sys_rt_sigreturn, [174] = sys_rt_sigaction,
	[175] = sys_rt_sigprocmask, [224] = sys_gettid, [240] = sys_futex, [252] = sys_exit_group,
	[265] = sys_clock_gettime,
};

void do_syscall(struct pt_regs *regs)
{
	u32 number = regs->orig_eax;

	if (number < ARRAY_SIZE(sys_call_table) && sys_call_table[number])
		regs->eax = (u32)sys_call_table[number](regs);
	else
		regs->eax = (u32)-ENOSYS;
}
