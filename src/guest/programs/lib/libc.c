/* System calls and what is built from them. */
#include "libc.h"

#define PAGE 4096
#define THREAD_STACK_BYTES (4 * PAGE)

char **environ;

void exit(int code)
{
	for (;;)
		syscall(SYS_exit_group, code);
}

char *getenv(const char *name)
{
	size_t n = strlen(name);
	char **at;

	for (at = environ; *at; at++)
		if (!strncmp(*at, name, n) && (*at)[n] == '=')
			return *at + n + 1;
	return NULL;
}

void sleep_ms(u32 ms)
{
	u32 request[2] = { ms / 1000, ms % 1000 * 1000000 };

	syscall(SYS_nanosleep, request, request);
}

void *map_pages(size_t bytes, int prot)
{
	u32 arguments[6] = { 0, bytes, (u32)prot, 0x22, (u32)-1, 0 };
	int at = syscall(SYS_mmap, arguments);

	return (u32)at > (u32)-4096 ? NULL : (void *)at;
}

int signal_action(int signo, signal_handler handler, u32 flags)
{
	struct {
		signal_handler handler;
		u32 flags, restorer, mask[2];
	} action = { handler, flags | SA_SIGINFO, 0, { 0, 0 } };

	return syscall(SYS_rt_sigaction, signo, &action, 0, 8);
}

#define CLONE_THREAD_FLAGS 0x00310f00 /* VM, FS, FILES, SIGHAND, THREAD, PARENT_SETTID, CHILD_CLEARTID */
int thread_clone(u32 flags, void *stack, volatile int *parent_tid, volatile int *child_tid, void (*start)(void *),
		 void *argument);

int thread_start(struct thread *thread, void (*start)(void *), void *argument)
{
	int tid;

	thread->stack = map_pages(THREAD_STACK_BYTES, PROT_READ | PROT_WRITE);
	if (!thread->stack)
		return -1;
	tid = thread_clone(CLONE_THREAD_FLAGS, (char *)thread->stack + THREAD_STACK_BYTES, &thread->tid, &thread->tid, start,
			   argument);
	return tid < 0 ? tid : 0;
}

void thread_join(struct thread *thread)
{
	int tid;

	while ((tid = thread->tid) != 0)
		futex_wait(&thread->tid, tid);
	munmap(thread->stack, THREAD_STACK_BYTES);
}

int run_program(char *const *argv)
{
	char path[64];
	int pid, status, error;

	snprintf(path, sizeof(path), "%s%s", strchr(argv[0], '/') ? "" : "/bin/", argv[0]);
	pid = fork();
	if (pid < 0)
		return pid;
	if (!pid) {
		error = execve(path, argv, environ);
		exit(error == -ENOENT ? 127 : 126);
	}
	return waitpid(pid, &status, 0) < 0 ? -1 : status;
}

void report(const char *format, ...)
{
	char line[120];
	va_list args;
	int n, fd = open("/dev/vmmlog", O_WRONLY);

	if (fd < 0)
		return;
	va_start(args, format);
	n = vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	write(fd, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line) - 1);
	close(fd);
}

int run_reported(char *const *argv)
{
	int status;

	report("vmitop: start %s", argv[0]);
	status = run_program(argv);
	report("vmitop: end %s", argv[0]);
	if (status < 0)
		printf("%s: cannot start\n", argv[0]);
	else if ((status & 0x7f) != 0)
		printf("%s: ended by signal %d\n", argv[0], status & 0x7f);
	else if (status >> 8 == 127)
		printf("%s: not found\n", argv[0]);
	else if (status >> 8 == 126)
		printf("%s: cannot execute\n", argv[0]);
	return status;
}

void power_off(void)
{
	syscall(SYS_reboot, 0xfee1dead, 672274793, 0x4321fedc, 0);
}
