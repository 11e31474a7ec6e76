/*
 * What a Linux kernel and the machine below it must do right for programs: one line for each part, "ok NAME" or "FAIL NAME: line",
 * and at last PASS or FAIL. Nothing that it prints depends on time or on the speed of the machine.
 */
#include "linux.h"

static int failures;
static const char *part;
static char **environment;
static uint32_t *auxiliary;

static size_t length(const char *s) {
  size_t n = 0;
  while (s[n]) n++;
  return n;
}
static void print(const char *s) { SYSCALL(SYS_write, 1, s, length(s)); }
static void print_number(unsigned value) {
  char text[12];
  int at = 11;
  text[at] = 0;
  do text[--at] = '0' + value % 10;
  while (value /= 10);
  print(text + at);
}
static void fail(int line) {
  failures++;
  print("FAIL ");
  print(part);
  print(": line ");
  print_number(line);
  print("\n");
}
#define CHECK(what) do { if (!(what)) fail(__LINE__); } while (0)

static void begin(const char *name) { part = name; }
static void end(int before) {
  if (failures != before) return;
  print("ok ");
  print(part);
  print("\n");
}

void *memset(void *to, int value, size_t n) {
  for (size_t i = 0; i < n; i++) ((char *)to)[i] = value;
  return to;
}
void *memcpy(void *to, const void *from, size_t n) {
  for (size_t i = 0; i < n; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

static unsigned next_random(unsigned *state) { return *state = *state * 1664525 + 1013904223; }

static unsigned char *map(size_t bytes, int protection, int flags) {
  long at = SYSCALL(SYS_mmap2, 0, bytes, protection, flags | MAP_ANONYMOUS, -1, 0);
  return at < 0 && at > -4096 ? NULL : (unsigned char *)at;
}

static int wait_for(int pid) {
  int status = -1;
  return SYSCALL(SYS_wait4, pid, &status, 0, 0) == pid ? status : -1;
}

/* Processes. */

static void processes(void) {
  for (int round = 0; round < 40; round++) {
    int pid = SYSCALL(SYS_fork);
    if (pid == 0) {
      char code[] = {'a' + round % 26, 0};
      char *arguments[] = {"/selftest", "child", code, NULL};
      SYSCALL(SYS_execve, "/selftest", arguments, environment);
      SYSCALL(SYS_exit, 1);
    }
    CHECK(pid > 0);
    CHECK(wait_for(pid) == (('a' + round % 26) & 0xff) << 8);
  }
  CHECK(SYSCALL(SYS_wait4, -1, 0, 0, 0) == -10);
}

static void pipes(void) {
  int ends[2];
  static unsigned char block[4096];
  CHECK(SYSCALL(SYS_pipe, ends) == 0);
  int pid = SYSCALL(SYS_fork);
  if (pid == 0) {
    unsigned seed = 7;
    for (int i = 0; i < 256; i++) {
      for (size_t at = 0; at < sizeof block; at++) block[at] = next_random(&seed) >> 24;
      size_t sent = 0;
      while (sent < sizeof block) {
        long n = SYSCALL(SYS_write, ends[1], block + sent, sizeof block - sent);
        if (n <= 0) SYSCALL(SYS_exit, 1);
        sent += n;
      }
    }
    SYSCALL(SYS_exit, 0);
  }
  SYSCALL(SYS_close, ends[1]);
  unsigned seed = 7, total = 0, wrong = 0;
  for (;;) {
    long n = SYSCALL(SYS_read, ends[0], block, sizeof block);
    if (n <= 0) break;
    for (long i = 0; i < n; i++) wrong += block[i] != (next_random(&seed) >> 24);
    total += n;
  }
  SYSCALL(SYS_close, ends[0]);
  CHECK(total == 256 * 4096);
  CHECK(wrong == 0);
  CHECK(wait_for(pid) == 0);
}

/* Memory. */

enum { PAGES = 512, PAGE = 4096 };

static void copy_on_write(void) {
  unsigned char *own = map(PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  unsigned char *shared = map(4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED);
  CHECK(own && shared);
  for (int i = 0; i < PAGES; i++) *(unsigned *)(own + i * PAGE + i * 4) = i * 2654435761u;
  int pid = SYSCALL(SYS_fork);
  if (pid == 0) {
    int wrong = 0;
    for (int i = 0; i < PAGES; i++) wrong += *(unsigned *)(own + i * PAGE + i * 4) != i * 2654435761u;
    for (int i = 0; i < PAGES; i += 3) *(unsigned *)(own + i * PAGE + i * 4) = i;
    for (int i = 0; i < PAGES; i += 3) wrong += *(unsigned *)(own + i * PAGE + i * 4) != (unsigned)i;
    *(volatile unsigned *)shared = 0x12345678;
    SYSCALL(SYS_exit, wrong != 0);
  }
  CHECK(wait_for(pid) == 0);
  int wrong = 0;
  for (int i = 0; i < PAGES; i++) wrong += *(unsigned *)(own + i * PAGE + i * 4) != i * 2654435761u;
  CHECK(wrong == 0);
  CHECK(*(volatile unsigned *)shared == 0x12345678);
  CHECK(SYSCALL(SYS_munmap, own, PAGES * PAGE) == 0);
  CHECK(SYSCALL(SYS_munmap, shared, 4 * PAGE) == 0);
}

/* Signals. */

void restore(void);
__asm__("restore: movl $173, %eax; int $0x80");

static volatile int caught, caught_code, caught_trap, steps;
static void *volatile caught_at;
static int skip;

static void on_signal(int number, struct siginfo *info, void *context) {
  unsigned long *registers = ((struct ucontext *)context)->registers;
  caught = number;
  caught_code = info->code;
  caught_at = info->address;
  caught_trap = registers[REG_TRAP];
  registers[REG_EIP] += skip;
}

static void on_step(int number, struct siginfo *info, void *context) {
  (void)number, (void)info;
  unsigned long *registers = ((struct ucontext *)context)->registers;
  if (++steps == 5) registers[REG_EFLAGS] &= ~0x100;
}

static void handle(int number, void (*handler)(int, struct siginfo *, void *)) {
  struct sigaction action = {handler, SA_SIGINFO | SA_NODEFER | SA_RESTORER, restore, 0};
  CHECK(SYSCALL(SYS_rt_sigaction, number, &action, NULL, 8) == 0);
}

static void faults(void) {
  unsigned char *page = map(2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE);
  handle(SIGSEGV, on_signal);
  handle(SIGFPE, on_signal);
  handle(SIGILL, on_signal);
  handle(SIGTRAP, on_signal);
  page[PAGE + 5] = 9;
  CHECK(SYSCALL(SYS_mprotect, page + PAGE, PAGE, PROT_READ) == 0);
  CHECK(page[PAGE + 5] == 9);
  for (int i = 0; i < 20; i++) {
    /* A store of two bytes: C6 /0 ib with EAX. */
    caught = 0, skip = 3;
    __asm__ volatile("movb $1, (%%eax)" : : "a"(page + PAGE + i) : "memory");
    CHECK(caught == SIGSEGV && caught_code == 2 && caught_at == page + PAGE + i && caught_trap == 14);
    caught = 0, skip = 2;
    __asm__ volatile("movl (%%eax), %%ecx" : : "a"(0x1000 + i) : "ecx", "memory");
    CHECK(caught == SIGSEGV && caught_code == 1 && caught_at == (void *)(0x1000 + i));
  }
  /* The kernel's half, the end of linear space, and a limit that no program has passed. */
  for (unsigned at = 0xc0000000; at >= 0xc0000000; at += 0x0ffff000) {
    caught = 0, skip = 2;
    __asm__ volatile("movl (%%eax), %%ecx" : : "a"(at) : "ecx", "memory");
    CHECK(caught == SIGSEGV && caught_at == (void *)at);
  }
  caught = 0, skip = 2;
  __asm__ volatile("divl %%ecx" : : "a"(1), "d"(0), "c"(0));
  CHECK(caught == SIGFPE && caught_code == 1);
  caught = 0, skip = 2;
  __asm__ volatile("ud2");
  CHECK(caught == SIGILL);
  caught = 0, skip = 0;
  __asm__ volatile("int3");
  CHECK(caught == SIGTRAP && caught_trap == 3);
  caught = 0, skip = 1;
  __asm__ volatile("hlt");
  CHECK(caught == SIGSEGV && caught_trap == 13);
  handle(SIGTRAP, on_step);
  steps = 0;
  __asm__ volatile("pushfl; orl $0x100, (%%esp); popfl; nop; nop; nop; nop; nop; nop; nop" : : : "memory", "cc");
  CHECK(steps == 5);
  SYSCALL(SYS_munmap, page, 2 * PAGE);
}

static void timers(void) {
  struct itimerval timer = {{0, 0}, {0, 20000}};
  struct timespec before, after, wish = {0, 30000000};
  handle(SIGALRM, on_signal);
  caught = 0, skip = 0;
  CHECK(SYSCALL(SYS_setitimer, 0, &timer, NULL) == 0);
  CHECK(SYSCALL(SYS_clock_gettime, CLOCK_MONOTONIC, &before) == 0);
  while (!caught) {
    SYSCALL(SYS_clock_gettime, CLOCK_MONOTONIC, &after);
    if (after.tv_sec - before.tv_sec > 5) break;
  }
  CHECK(caught == SIGALRM);
  handle(SIGUSR1, on_signal);
  CHECK(SYSCALL(SYS_kill, SYSCALL(SYS_getpid), SIGUSR1) == 0);
  CHECK(caught == SIGUSR1);
  for (int i = 0; i < 3; i++) {
    CHECK(SYSCALL(SYS_clock_gettime, CLOCK_MONOTONIC, &before) == 0);
    CHECK(SYSCALL(SYS_nanosleep, &wish, NULL) == 0);
    CHECK(SYSCALL(SYS_clock_gettime, CLOCK_MONOTONIC, &after) == 0);
    long long ns = (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec;
    CHECK(ns >= 30000000 && ns < 300000000);
  }
  /* Time does not go back. */
  for (int i = 0; i < 2000; i++) {
    SYSCALL(SYS_clock_gettime, CLOCK_MONOTONIC, &after);
    CHECK(after.tv_sec > before.tv_sec || (after.tv_sec == before.tv_sec && after.tv_nsec >= before.tv_nsec));
    before = after;
  }
  /* The year in which every host of ours is switched on: 2008. */
  CHECK(SYSCALL(SYS_clock_gettime, CLOCK_REALTIME, &after) == 0);
  CHECK(after.tv_sec > 1199145600 && after.tv_sec < 1230768000);
}

/* Floating point: in two processes at once, so that the kernel has to carry its state over. */

static double series(int terms, double step) {
  double sum = 0, x = 1;
  for (int i = 0; i < terms; i++, x += step) sum += 1.0 / (x * x);
  return sum;
}

static int floating_point_is_right(void) {
  static const double expected_pi = 3.141592653589793, expected_root = 1.4142135623730951, expected_sine = 0.479425538604203;
  static const double two = 2, half = 0.5;
  /* In memory, so that nothing has more than 64 bits. */
  double pi, root, sine;
  __asm__ volatile("fldpi; fstpl %0" : "=m"(pi));
  __asm__ volatile("fldl %1; fsqrt; fstpl %0" : "=m"(root) : "m"(two));
  __asm__ volatile("fldl %1; fsin; fstpl %0" : "=m"(sine) : "m"(half));
  int right = pi == expected_pi && root == expected_root && sine == expected_sine;
  double sum = series(20000, 1);
  right &= sum > 1.644884068097 && sum < 1.644884068099;
  unsigned control = 0;
  __asm__ volatile("fnstcw %0" : "=m"(control));
  return right && (control & 0xffff) == 0x37f;
}

static void floating_point(void) {
  int children[2];
  for (int i = 0; i < 2; i++) {
    children[i] = SYSCALL(SYS_fork);
    if (children[i] == 0) {
      int right = 1;
      for (int round = 0; round < 10; round++) {
        right &= floating_point_is_right();
        SYSCALL(SYS_sched_yield);
      }
      SYSCALL(SYS_exit, !right);
    }
  }
  for (int round = 0; round < 10; round++) {
    CHECK(floating_point_is_right());
    SYSCALL(SYS_sched_yield);
  }
  for (int i = 0; i < 2; i++) CHECK(wait_for(children[i]) == 0);
}

static int has_sse2(void) {
  unsigned a = 1, b, c, d;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
  return (d >> 26) & 1;
}

__attribute__((target("sse2"))) static void vectors(void) {
  if (!has_sse2()) return;
  int pid = SYSCALL(SYS_fork);
  static const double start[2] __attribute__((aligned(16))) = {1.5, -2.25};
  double result[2] __attribute__((aligned(16)));
  for (int round = 0; round < 200; round++) {
    __asm__ volatile("movapd %1, %%xmm3; mulpd %%xmm3, %%xmm3; addpd %1, %%xmm3" : : "m"(*result), "m"(*start) : "xmm3");
    if (round % 20 == 0) SYSCALL(SYS_sched_yield);
    __asm__ volatile("movapd %%xmm3, %0" : "=m"(*(double(*)[2])result) : :);
    if (result[0] != 1.5 * 1.5 + 1.5 || result[1] != 2.25 * 2.25 - 2.25) {
      if (pid == 0) SYSCALL(SYS_exit, 1);
      fail(__LINE__);
      break;
    }
  }
  if (pid == 0) SYSCALL(SYS_exit, 0);
  CHECK(wait_for(pid) == 0);
}

/* Threads with storage of their own behind GS, below and above its base. */

static volatile int turn;
static unsigned storage[2][64];
static int thread_stack[4096];
static unsigned tls_entry = -1u;

static int tls_is_right(unsigned *block) {
  unsigned low, high;
  __asm__ volatile("movl %%gs:-4, %0; movl %%gs:0x14, %1" : "=r"(low), "=r"(high));
  return low == block[31] && high == block[37];
}

static int set_storage(unsigned *block, unsigned mark) {
  /* 32-bit, pages, usable, writable: as thread libraries ask for it. */
  struct user_desc wish = {tls_entry, (unsigned)(block + 32), 0xfffff, 0x51};
  if (SYSCALL(SYS_set_thread_area, &wish) != 0) return 0;
  tls_entry = wish.entry;
  __asm__ volatile("movw %w0, %%gs" : : "r"(wish.entry * 8 + 3));
  block[31] = mark;
  block[37] = mark * 3;
  return tls_is_right(block);
}

static int thread(void) {
  int right = set_storage(storage[1], 200);
  for (int i = 0; i < 50; i++) {
    while (turn != 1) SYSCALL(SYS_sched_yield);
    unsigned count;
    __asm__ volatile("incl %%gs:-8; movl %%gs:-8, %0" : "=r"(count) : : "memory");
    right &= tls_is_right(storage[1]) && count == (unsigned)i + 1;
    turn = 0;
  }
  return !right;
}

static void threads(void) {
  CHECK(set_storage(storage[0], 100));
  int *top = thread_stack + 4090;
  int pid;
  /* CLONE_VM | CLONE_FS | CLONE_FILES | SIGCHLD: the child calls `thread` on a stack of its own. */
  __asm__ volatile("int $0x80; testl %%eax, %%eax; jnz 1f; call *%%edi; movl %%eax, %%ebx; movl $1, %%eax; int $0x80; 1:"
                   : "=a"(pid)
                   : "0"(SYS_clone), "b"(0x100 | 0x200 | 0x400 | SIGCHLD), "c"(top), "d"(0), "S"(0), "D"(thread)
                   : "memory");
  CHECK(pid > 0);
  for (int i = 0; i < 50; i++) {
    CHECK(tls_is_right(storage[0]));
    turn = 1;
    while (turn != 0) SYSCALL(SYS_sched_yield);
  }
  CHECK(wait_for(pid) == 0);
  CHECK(storage[1][30] == 50 && storage[0][30] == 0);
}

/* The other way in, and code that writes itself. */

static void fast_system_calls(void) {
  enum { AT_SYSINFO = 32 };
  uint32_t entry = 0;
  for (uint32_t *at = auxiliary; at[0] != 0; at += 2)
    if (at[0] == AT_SYSINFO) entry = at[1];
  CHECK(entry != 0);
  if (entry == 0) return;
  long pid = SYSCALL(SYS_getpid), wrong = 0;
  for (int i = 0; i < 1000; i++) {
    long result;
    __asm__ volatile("call *%1" : "=a"(result) : "r"(entry), "0"(SYS_getpid) : "memory");
    wrong += result != pid;
  }
  CHECK(wrong == 0);
}

static void code_that_changes(void) {
  unsigned char *code = map(PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE);
  CHECK(code != NULL);
  for (int i = 0; i < 300; i++) {
    /* mov eax, i; ret, at two places in turn. */
    unsigned char *at = code + (i % 2) * 64;
    at[0] = 0xb8;
    memcpy(at + 1, &i, 4);
    at[5] = 0xc3;
    CHECK(((int (*)(void))at)() == i);
  }
  SYSCALL(SYS_munmap, code, PAGE);
}

static void run(const char *name, void (*test)(void)) {
  int before = failures;
  begin(name);
  test();
  end(before);
}

__attribute__((used)) static void start(uint32_t *stack) {
  int count = stack[0];
  char **arguments = (char **)(stack + 1);
  environment = arguments + count + 1;
  char **last = environment;
  while (*last) last++;
  auxiliary = (uint32_t *)(last + 1);
  if (count == 3) SYSCALL(SYS_exit, arguments[2][0]);
  if (count == 2) {
    /* "off": the power control of QEMU's and our boards, for kernels that know no ACPI here. */
    SYSCALL(SYS_iopl, 3);
    __asm__ volatile("outw %w0, %w1" : : "a"(0x2000), "d"(0x604));
  }
  run("processes", processes);
  run("pipes", pipes);
  run("copy on write", copy_on_write);
  run("faults", faults);
  run("timers", timers);
  run("floating point", floating_point);
  run("vectors", vectors);
  run("threads", threads);
  run("fast system calls", fast_system_calls);
  run("code that changes", code_that_changes);
  SYSCALL(SYS_exit_group, failures != 0);
}

__asm__(".globl _start; _start: movl %esp, %eax; andl $-16, %esp; subl $12, %esp; pushl %eax; call start; hlt");
