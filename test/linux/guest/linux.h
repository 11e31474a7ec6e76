/* What a program needs of Linux/i386 without a C library: system calls by INT 0x80, and the structures that they take. */
#pragma once
#include <stddef.h>
#include <stdint.h>

enum {
  SYS_exit = 1, SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6, SYS_execve = 11, SYS_getpid = 20,
  SYS_kill = 37, SYS_pipe = 42, SYS_ioctl = 54, SYS_setitimer = 104, SYS_iopl = 110, SYS_wait4 = 114, SYS_clone = 120,
  SYS_mprotect = 125, SYS_sched_yield = 158, SYS_nanosleep = 162, SYS_rt_sigaction = 174, SYS_rt_sigprocmask = 175,
  SYS_mmap2 = 192, SYS_munmap = 91, SYS_gettid = 224, SYS_futex = 240, SYS_set_thread_area = 243, SYS_exit_group = 252,
  SYS_clock_gettime = 265, SYS_gettimeofday = 78,
};

enum { PROT_READ = 1, PROT_WRITE = 2, PROT_EXEC = 4, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_ANONYMOUS = 0x20 };
enum { SIGILL = 4, SIGTRAP = 5, SIGFPE = 8, SIGUSR1 = 10, SIGSEGV = 11, SIGALRM = 14, SIGCHLD = 17 };
enum { SA_SIGINFO = 4, SA_NODEFER = 0x40000000, SA_RESTORER = 0x04000000 };
enum { CLOCK_REALTIME, CLOCK_MONOTONIC };

struct timespec { long tv_sec, tv_nsec; };
struct timeval { long tv_sec, tv_usec; };
struct itimerval { struct timeval it_interval, it_value; };
struct siginfo { int signo, error, code; void *address; int rest[28]; };
struct sigaction { void (*handler)(int, struct siginfo *, void *); unsigned long flags; void (*restorer)(void); uint64_t mask; };
struct user_desc { unsigned entry, base, limit, flags; };

/* Of the frame that a handler gets: register words by the kernel's order (struct sigcontext). */
enum { REG_GS, REG_FS, REG_ES, REG_DS, REG_EDI, REG_ESI, REG_EBP, REG_ESP, REG_EBX, REG_EDX, REG_ECX, REG_EAX, REG_TRAP, REG_ERROR, REG_EIP, REG_CS, REG_EFLAGS };
struct ucontext { unsigned long flags; void *link; void *stack[3]; unsigned long registers[19]; };

static inline long syscall6(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  long arguments[2] = {number, f};
  /* EBP is the sixth argument; the frame pointer may be in use. */
  __asm__ volatile("pushl %%ebp; movl 4(%%eax), %%ebp; movl (%%eax), %%eax; int $0x80; popl %%ebp"
                   : "=a"(result)
                   : "a"(arguments), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
                   : "memory");
  return result;
}
#define syscall_n(n, a, b, c, d, e, f, ...) syscall6((long)(n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYSCALL(...) syscall_n(__VA_ARGS__, 0, 0, 0, 0, 0, 0, 0)
