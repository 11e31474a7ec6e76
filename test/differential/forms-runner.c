/*
 * Executes single instructions in ring 3 on the processor that it runs on, as 32-bit code, and writes down what they did:
 *
 *     gcc -m32 -nostdlib -static -O1 -o runner forms-runner.c && ./runner <CASES >RESULTS
 *
 * `record-forms.ts` does that; the layout of both files is in `forms-cases.ts`. An instruction stands in front of bytes that are
 * all INT3, so that whatever it does ends in a signal, whose frame holds the state. The handler keeps that, writes the next case
 * into the frame, and returns to it. It needs no C library, and permission to map below 64 KiB.
 */
typedef unsigned int u32;
typedef unsigned short u16;
typedef unsigned char u8;

#define CODE 0xa000
#define DATA 0xb000
#define MEMORY 512
#define PAGE 4096

/* arch/x86/include/uapi/asm/sigcontext.h, struct sigcontext_32 */
struct context {
	u16 gs, gsh, fs, fsh, es, esh, ds, dsh;
	u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
	u32 trapno, err, eip;
	u16 cs, csh;
	u32 eflags, esp_at_signal;
	u16 ss, ssh;
	u32 fpstate, oldmask, cr2;
};

struct test {
	u8 code[32];
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi, eflags;
	u8 memory[MEMORY];
};

struct result {
	u32 eax, ecx, edx, ebx, esp, ebp, esi, edi, eflags, eip, vector, error, cr2;
	u32 es_cs, ss_ds, fs_gs;
	u8 memory[MEMORY];
};

static struct test test;
static struct result result;
static u8 stack[65536];
static int started;

static int call(int number, u32 b, u32 c, u32 d, u32 si, u32 di)
{
	int value;

	__asm__ volatile("int $0x80" : "=a"(value) : "a"(number), "b"(b), "c"(c), "d"(d), "S"(si), "D"(di) : "memory");
	return value;
}

static void transfer(int number, int file, void *at, u32 bytes)
{
	while (bytes > 0) {
		int done = call(number, file, (u32)at, bytes, 0, 0);

		if (done <= 0)
			call(1, number == 3 && bytes == sizeof test ? 0 : 1, 0, 0, 0, 0);
		at = (u8 *)at + done;
		bytes -= done;
	}
}

static void keep(volatile struct context *c)
{
	u8 *memory = (u8 *)DATA;

	result.eax = c->eax;
	result.ecx = c->ecx;
	result.edx = c->edx;
	result.ebx = c->ebx;
	result.esp = c->esp;
	result.ebp = c->ebp;
	result.esi = c->esi;
	result.edi = c->edi;
	result.eflags = c->eflags;
	result.eip = c->eip;
	result.vector = c->trapno;
	result.error = c->err;
	result.cr2 = c->cr2;
	result.es_cs = c->es << 16 | c->cs;
	result.ss_ds = c->ss << 16 | c->ds;
	result.fs_gs = c->fs << 16 | c->gs;
	for (int i = 0; i < MEMORY; i++)
		result.memory[i] = memory[i];
	transfer(4, 1, &result, sizeof result);
}

static void next(volatile struct context *c)
{
	u8 *code = (u8 *)CODE, *memory = (u8 *)DATA;

	transfer(3, 0, &test, sizeof test);
	for (int i = 0; i < PAGE; i++) {
		code[i] = i < 32 ? test.code[i] : 0xcc;
		memory[i] = i < MEMORY ? test.memory[i] : 0;
	}
	c->eax = test.eax;
	c->ecx = test.ecx;
	c->edx = test.edx;
	c->ebx = test.ebx;
	c->esp = test.esp;
	c->ebp = test.ebp;
	c->esi = test.esi;
	c->edi = test.edi;
	c->eflags = test.eflags;
	c->eip = CODE;
	c->cs = 0x23;
	c->ss = c->ds = c->es = 0x2b;
	c->fs = c->gs = 0;
	/* Floating-point state as at reset. */
	c->fpstate = 0;
}

void handler(int signal, struct context context)
{
	volatile struct context *c = &context;

	(void)signal;
	if (started)
		keep(c);
	started = 1;
	next(c);
	__asm__ volatile("" : : "r"(c) : "memory");
}

void restorer(void);
__asm__("restorer: popl %eax; movl $119, %eax; int $0x80");

void _start(void)
{
	struct {
		void *handler;
		u32 flags;
		void *restorer;
		u32 mask[2];
	} action = { handler, 0x0c000000 /* SA_ONSTACK | SA_RESTORER */, restorer, { 0, 0 } };
	struct {
		void *at;
		u32 flags, bytes;
	} alternate = { stack, 0, sizeof stack };
	static const int signals[] = { 4, 5, 7, 8, 11, 31 };

	/* mmap2: readable, writable, executable; private, fixed, anonymous */
	__asm__ volatile("push %%ebp; xor %%ebp, %%ebp; int $0x80; pop %%ebp"
			 : : "a"(192), "b"(CODE), "c"(2 * PAGE), "d"(7), "S"(0x32), "D"(-1) : "memory");
	call(186, (u32)&alternate, 0, 0, 0, 0);
	for (unsigned i = 0; i < sizeof signals / sizeof *signals; i++)
		call(174, signals[i], (u32)&action, 0, 8, 0);
	__asm__ volatile("ud2");
}
