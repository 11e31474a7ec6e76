/* selftest: what programs may rely on, one line each. */
#include "lib/libc.h"

#define PAGE 4096

static int failures;

static void check(const char *what, int right)
{
	printf("%s %s\n", right ? "PASS" : "FAIL", what);
	if (!right)
		failures++;
}

static int wait_code(int pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static void test_pipe(void)
{
	int fds[2], pid, i, n, sum = 0;
	char buffer[300];

	pipe(fds);
	pid = fork();
	if (!pid) {
		close(fds[0]);
		for (i = 0; i < 40; i++) {
			memset(buffer, i, sizeof(buffer));
			if (write(fds[1], buffer, sizeof(buffer)) != sizeof(buffer))
				exit(1);
		}
		exit(0);
	}
	close(fds[1]);
	while ((n = read(fds[0], buffer, sizeof(buffer))) > 0)
		for (i = 0; i < n; i++)
			sum += buffer[i];
	check("pipe: 12000 bytes through a 4096-byte ring, then end of file", n == 0 && sum == 300 * 39 * 40 / 2);
	check("pipe: writer's exit code", wait_code(pid) == 0);
	pipe(fds);
	close(fds[0]);
	signal_action(SIGPIPE, SIG_IGN, 0);
	check("pipe: no reader is EPIPE", write(fds[1], "x", 1) == -EPIPE);
	close(fds[1]);
}

static int data_word = 1;
static int bss_words[2048];

static void test_cow(void)
{
	int stack_word = 3, pid;
	int *heap = map_pages(PAGE, PROT_READ | PROT_WRITE);

	*heap = 2;
	bss_words[2000] = 4;
	pid = fork();
	if (!pid) {
		int seen = data_word == 1 && *heap == 2 && stack_word == 3 && bss_words[2000] == 4 && bss_words[0] == 0;

		data_word = *heap = stack_word = bss_words[2000] = 9;
		exit(seen ? 0 : 1);
	}
	check("fork: the child sees the parent's memory", wait_code(pid) == 0);
	check("fork: the child's writes stay its own",
	      data_word == 1 && *heap == 2 && *(volatile int *)&stack_word == 3 && bss_words[2000] == 4);
	munmap(heap, PAGE);
}

static jmp_buf fault_return;
static volatile int fault_code;
static void *volatile fault_address;

static void on_fault(int signo, struct siginfo *info, struct ucontext *context)
{
	(void)signo, (void)context;
	fault_code = info->code;
	fault_address = info->address;
	longjmp(fault_return, 1);
}

static int faults(volatile char *at, int write_access)
{
	fault_code = 0;
	if (setjmp(fault_return))
		return 1;
	if (write_access)
		*at = 1;
	else
		(void)*at;
	return 0;
}

static void test_memory(void)
{
	char *at = map_pages(4 * PAGE, PROT_READ | PROT_WRITE);
	int old_break = syscall(SYS_brk, 0), grown;

	signal_action(SIGSEGV, on_fault, SA_NODEFER);
	at[PAGE] = 5;
	mprotect(at + PAGE, PAGE, PROT_READ);
	check("mprotect: a read-only page can be read", !faults(at + PAGE, 0) && at[PAGE] == 5);
	check("mprotect: a write to it is SIGSEGV with its address",
	      faults(at + PAGE, 1) && fault_code == 2 && fault_address == at + PAGE);
	check("mprotect: its neighbours can be written", !faults(at, 1) && !faults(at + 2 * PAGE, 1));
	mprotect(at + PAGE, PAGE, PROT_NONE);
	check("mprotect: no access at all", faults(at + PAGE, 0) && fault_code == 2);
	mprotect(at + PAGE, PAGE, PROT_READ | PROT_WRITE);
	check("mprotect: and back, contents kept", !faults(at + PAGE, 0) && at[PAGE] == 5 && !faults(at + PAGE, 1));
	munmap(at + PAGE, PAGE);
	check("munmap: the hole faults, the rest stays", faults(at + PAGE, 0) && fault_code == 1 && !faults(at, 0));
	check("mmap: the hole is found again", map_pages(PAGE, PROT_READ) == at + PAGE && at[PAGE] == 0);
	munmap(at, 4 * PAGE);
	grown = syscall(SYS_brk, old_break + 3 * PAGE + 5);
	check("brk: grows, zeroed, writable",
	      grown == old_break + 3 * PAGE + 5 && ((char *)old_break)[2 * PAGE] == 0 && !faults((char *)old_break + PAGE, 1));
	syscall(SYS_brk, old_break);
	check("brk: shrinks", faults((char *)old_break + PAGE, 0));
	check("text: cannot be written", faults((char *)test_memory, 1) && fault_code == 2);
	check("system call: a bad pointer is EFAULT", write(1, (void *)0x20000000, 4) == -EFAULT);
	check("kernel memory: cannot be read", faults((char *)0xc0100000, 0));
	signal_action(SIGSEGV, SIG_DFL, 0);
}

static volatile int signals_seen;

static void on_signal(int signo, struct siginfo *info, struct ucontext *context)
{
	(void)info, (void)context;
	signals_seen += signo;
}

static void test_signals(void)
{
	int pid, fds[2], status;
	u32 ebx = 0x1234567, esi = 0x7654321;
	char c;

	signal_action(SIGUSR1, on_signal, 0);
	kill(getpid(), SIGUSR1);
	check("signal: a handler runs before kill returns", signals_seen == SIGUSR1);
	__asm__ volatile("int $0x80" : "+b"(ebx), "+S"(esi) : "a"(SYS_getpid) : "memory");
	check("system call: registers are kept", ebx == 0x1234567 && esi == 0x7654321);
	pid = fork();
	if (!pid) {
		__asm__ volatile("movl %%eax, 4" : : : "memory");
		exit(0);
	}
	check("signal: SIGSEGV without a handler ends the task", wait_code(pid) == SIGSEGV);
	pipe(fds);
	pid = fork();
	if (!pid) {
		read(fds[0], &c, 1);
		exit(0);
	}
	sleep_ms(5);
	kill(pid, SIGTERM);
	check("signal: SIGTERM ends a sleeping reader", wait_code(pid) == SIGTERM);
	signals_seen = 0;
	pid = fork();
	if (!pid)
		exit(read(fds[0], &c, 1) == -EINTR && signals_seen ? 3 : 1);
	/* The first signal may come before the read: send until one has ended it. */
	while (waitpid(pid, &status, WNOHANG) == 0) {
		kill(pid, SIGUSR1);
		sleep_ms(5);
	}
	check("signal: a handled one interrupts a read", status == 3 << 8);
	check("kill: nobody is ESRCH", kill(30000, 0) == -3);
}

static volatile int counter, mutex;

static void add_many(void *argument)
{
	int i;

	(void)argument;
	for (i = 0; i < 50; i++) {
		while (__atomic_exchange_n(&mutex, 1, __ATOMIC_SEQ_CST))
			futex_wait(&mutex, 1);
		counter = counter + 1;
		yield();
		__atomic_store_n(&mutex, 0, __ATOMIC_SEQ_CST);
		futex_wake(&mutex, 1);
	}
}

static void yield_for_ever(void *argument)
{
	(void)argument;
	for (;;)
		yield();
}

static void end_the_process(void *argument)
{
	(void)argument;
	exit(7);
}

static void test_thread_groups(void)
{
	struct thread threads[2];
	volatile int never = 0;
	int pid = fork();

	if (!pid) {
		thread_start(&threads[0], yield_for_ever, NULL);
		thread_start(&threads[1], yield_for_ever, NULL);
		yield();
		exit(5);
	}
	check("threads: the process's end is theirs", wait_code(pid) == 5 << 8);
	pid = fork();
	if (!pid) {
		thread_start(&threads[0], yield_for_ever, NULL);
		thread_start(&threads[1], end_the_process, NULL);
		for (;;)
			futex_wait(&never, 0);
	}
	check("threads: one of them can end the process", wait_code(pid) == 7 << 8);
}

static void test_threads(void)
{
	struct thread threads[4];
	int i, word = 1;

	for (i = 0; i < 4; i++)
		thread_start(&threads[i], add_many, NULL);
	for (i = 0; i < 4; i++)
		thread_join(&threads[i]);
	check("threads: 4 x 50 additions under a futex lock", counter == 200);
	check("futex: another value is EAGAIN", futex_wait(&word, 2) == -EAGAIN);
	check("futex: nobody to wake", futex_wake(&word, 1) == 0);
}

static void test_processes(void)
{
	char *argv[] = { "/bin/echo", "exec:", "arguments", "arrive", NULL }, *nothing[] = { "/bin/nothing", NULL };
	int parent = getpid(), pid = fork();

	if (!pid)
		exit(getppid() == parent ? 0 : 1);
	check("getppid: is the forking process", wait_code(pid) == 0);
	check("exec: a program with arguments", run_program(argv) == 0);
	check("exec: a missing program", run_program(nothing) == 127 << 8);
	check("exec: not a program", execve("/etc/rc", nothing, environ) < 0);
	check("wait: without children", waitpid(-1, NULL, 0) == -ECHILD);
}

static u32 now_ms(void)
{
	u32 now[2];

	syscall(SYS_clock_gettime, 1, now);
	return now[0] * 1000 + now[1] / 1000000;
}

struct sleeper {
	u32 name, started_ms, slept_ms;
};

/*
 * Three processes sleep for different times. The order of their waking says something only if they went to sleep together: a
 * virtual machine that shares its processor may have been stopped in between.
 */
static void test_sleep(void)
{
	static const u32 delays[3] = { 60, 20, 40 };
	struct sleeper woken[3] = { 0 };
	u32 first = ~0u, last = 0, i, in_time = 1;
	int fds[2];

	pipe(fds);
	for (i = 0; i < 3; i++)
		if (!fork()) {
			struct sleeper me = { .name = i, .started_ms = now_ms() };

			sleep_ms(delays[i]);
			me.slept_ms = now_ms() - me.started_ms;
			write(fds[1], &me, sizeof(me));
			exit(0);
		}
	for (i = 0; i < 3; i++) {
		waitpid(-1, NULL, 0);
		read(fds[0], &woken[i], sizeof(woken[i]));
		in_time &= woken[i].slept_ms >= delays[woken[i].name];
		first = woken[i].started_ms < first ? woken[i].started_ms : first;
		last = woken[i].started_ms > last ? woken[i].started_ms : last;
	}
	check("nanosleep: shorter sleeps end first",
	      last - first > 10 || (woken[0].name == 1 && woken[1].name == 2 && woken[2].name == 0));
	check("nanosleep: never too short", (int)in_time);
}

int main(void)
{
	test_pipe();
	test_cow();
	test_memory();
	test_signals();
	test_threads();
	test_thread_groups();
	test_processes();
	test_sleep();
	printf("selftest: %s\n", failures ? "FAIL" : "PASS");
	return failures != 0;
}
