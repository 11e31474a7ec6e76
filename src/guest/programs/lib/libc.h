/* A libc as small as these programs need: i386 system calls, printing, strings, threads. */
#ifndef LIBC_H
#define LIBC_H

#include <stdarg.h>

typedef unsigned int size_t;
typedef unsigned int u32;
typedef unsigned char u8;
typedef unsigned long long u64;
#define NULL ((void *)0)

/* Result of a system call, or minus the error number. */
int syscall(int number, ...);

#define EPERM 1
#define ENOENT 2
#define EINTR 4
#define EBADF 9
#define ECHILD 10
#define EAGAIN 11
#define EFAULT 14
#define EPIPE 32

enum {
	SYS_exit = 1, SYS_fork = 2, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6, SYS_waitpid = 7, SYS_execve = 11,
	SYS_getpid = 20, SYS_kill = 37, SYS_pipe = 42, SYS_brk = 45, SYS_dup2 = 63, SYS_getppid = 64, SYS_reboot = 88,
	SYS_mmap = 90, SYS_munmap = 91, SYS_wait4 = 114, SYS_uname = 122, SYS_mprotect = 125, SYS_getdents = 141,
	SYS_sched_yield = 158, SYS_nanosleep = 162, SYS_rt_sigaction = 174, SYS_rt_sigprocmask = 175, SYS_futex = 240,
	SYS_exit_group = 252, SYS_clock_gettime = 265,
};

extern char **environ;
char *getenv(const char *name);
void exit(int code) __attribute__((noreturn));
static inline int fork(void) { return syscall(SYS_fork); }
static inline int getpid(void) { return syscall(SYS_getpid); }
static inline int getppid(void) { return syscall(SYS_getppid); }
static inline int read(int fd, void *buffer, size_t bytes) { return syscall(SYS_read, fd, buffer, bytes); }
static inline int write(int fd, const void *buffer, size_t bytes) { return syscall(SYS_write, fd, buffer, bytes); }
static inline int close(int fd) { return syscall(SYS_close, fd); }
static inline int open(const char *path, int flags) { return syscall(SYS_open, path, flags); }
static inline int pipe(int *fds) { return syscall(SYS_pipe, fds); }
static inline int waitpid(int pid, int *status, int options) { return syscall(SYS_wait4, pid, status, options, 0); }
#define WNOHANG 1
static inline int kill(int pid, int signo) { return syscall(SYS_kill, pid, signo); }
static inline void yield(void) { syscall(SYS_sched_yield); }
static inline int execve(const char *path, char *const *argv, char *const *envp)
{
	return syscall(SYS_execve, path, argv, envp);
}
void sleep_ms(u32 ms);
/* Private anonymous memory, or NULL. */
void *map_pages(size_t bytes, int prot);
#define PROT_NONE 0
#define PROT_READ 1
#define PROT_WRITE 2
static inline int mprotect(void *at, size_t bytes, int prot) { return syscall(SYS_mprotect, at, bytes, prot); }
static inline int munmap(void *at, size_t bytes) { return syscall(SYS_munmap, at, bytes); }
#define O_RDONLY 0
#define O_WRONLY 1

/* Signals. */
#define SIGFPE 8
#define SIGKILL 9
#define SIGUSR1 10
#define SIGSEGV 11
#define SIGPIPE 13
#define SIGTERM 15
#define SIGCHLD 17
#define SIG_DFL ((signal_handler)0)
#define SIG_IGN ((signal_handler)1)
#define SA_SIGINFO 4
#define SA_NODEFER 0x40000000

struct siginfo {
	int signo, error, code;
	void *address;
	u32 pad[28];
};

struct ucontext {
	u32 flags, link, stack[3];
	u32 gs, fs, es, ds, edi, esi, ebp, esp, ebx, edx, ecx, eax, trapno, err;
	u32 eip, cs, eflags, esp_at_signal, ss, fpstate, oldmask, cr2;
	u32 sigmask[2];
};

typedef void (*signal_handler)(int signo, struct siginfo *info, struct ucontext *context);
int signal_action(int signo, signal_handler handler, u32 flags);

typedef u32 jmp_buf[6];
int setjmp(jmp_buf buffer) __attribute__((returns_twice));
void longjmp(jmp_buf buffer, int value) __attribute__((noreturn));

/* Futexes and threads. */
static inline int futex_wait(volatile int *word, int expected) { return syscall(SYS_futex, word, 0, expected, 0); }
static inline int futex_wake(volatile int *word, int count) { return syscall(SYS_futex, word, 1, count); }

struct thread {
	volatile int tid; /* the kernel clears it at the thread's end and wakes its waiters */
	void *stack;
};
int thread_start(struct thread *thread, void (*start)(void *), void *argument);
void thread_join(struct thread *thread);

/* Strings and printing: one write per call, so lines of several processes do not mix. */
size_t strlen(const char *s);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t n);
char *strchr(const char *s, int c);
void *memcpy(void *to, const void *from, size_t bytes);
void *memset(void *at, int byte, size_t bytes);
u32 parse_number(const char *s, u32 otherwise);
int printf(const char *format, ...) __attribute__((format(printf, 1, 2)));
int vsnprintf(char *buffer, size_t size, const char *format, va_list args);
int snprintf(char *buffer, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Starts a program of /bin (or a path) and waits; its wait status, or minus an error. */
int run_program(char *const *argv);
/* The same, with reports to the virtual machine's log around it. */
int run_reported(char *const *argv);
void report(const char *format, ...) __attribute__((format(printf, 1, 2)));
void power_off(void);

#endif
