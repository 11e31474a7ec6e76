/*
 * Executes single floating-point and SIMD instructions on the processor that it runs on, and writes down what they did:
 *
 *     gcc -O1 -o runner test/machine/fpu/runner.c && ./runner CASES RESULTS
 *
 * `record.ts` does that. It is built as 64-bit code: with the operand at [RDI] and registers of 32 bits the encodings and their
 * meaning are those of 32-bit code.
 *
 * A case: code (16 bytes, 0x90 padded, executed up to a RET that is appended), EAX, ECX, EDX, EBX, EFLAGS, offset of RDI in the
 * memory, FXSAVE image, memory. A result: signal, EAX, ECX, EDX, EBX, EFLAGS, FXSAVE image, memory.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#define MEMORY 512

struct test {
	uint8_t code[16];
	uint32_t regs[4], eflags, offset;
	uint8_t fx[512];
	uint8_t memory[MEMORY];
};

struct result {
	uint32_t signal, regs[4], eflags;
	uint8_t fx[512];
	uint8_t memory[MEMORY];
};

static struct {
	uint8_t fx[512] __attribute__((aligned(64)));
	uint8_t out[512] __attribute__((aligned(64)));
	uint8_t memory[MEMORY + 64] __attribute__((aligned(64)));
	uint64_t regs[4], flags, code, rdi;
} io __attribute__((aligned(64)));

static sigjmp_buf back;
static volatile int caught;

static void on_signal(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)info;
	caught = number;
	memcpy(io.out, uc->uc_mcontext.fpregs, 512);
	io.regs[0] = uc->uc_mcontext.gregs[REG_RAX];
	io.regs[1] = uc->uc_mcontext.gregs[REG_RCX];
	io.regs[2] = uc->uc_mcontext.gregs[REG_RDX];
	io.regs[3] = uc->uc_mcontext.gregs[REG_RBX];
	io.flags = uc->uc_mcontext.gregs[REG_EFL];
	siglongjmp(back, 1);
}

__attribute__((noinline)) static void execute(void)
{
	__asm__ volatile("fxrstor %[fx]\n\t"
			 "push %[flags]\n\t"
			 "popfq\n\t"
			 "mov %[regs], %%rax\n\t"
			 "mov 8+%[regs], %%rcx\n\t"
			 "mov 16+%[regs], %%rdx\n\t"
			 "mov 24+%[regs], %%rbx\n\t"
			 "mov %[rdi], %%rdi\n\t"
			 "call *%[code]\n\t"
			 "fxsave %[out]\n\t"
			 "mov %%rax, %[regs]\n\t"
			 "mov %%rcx, 8+%[regs]\n\t"
			 "mov %%rdx, 16+%[regs]\n\t"
			 "mov %%rbx, 24+%[regs]\n\t"
			 "pushfq\n\t"
			 "pop %[flags]\n\t"
			 : [out] "=m"(io.out), [regs] "+m"(io.regs), [flags] "+m"(io.flags)
			 : [fx] "m"(io.fx), [rdi] "m"(io.rdi), [code] "m"(io.code)
			 : "rax", "rcx", "rdx", "rbx", "rdi", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
}

int main(int argc, char **argv)
{
	static struct test test;
	static struct result result;
	struct sigaction action = { .sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_NODEFER };
	uint32_t mxcsr = 0x1f80;
	uint8_t *page = mmap(0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	FILE *in, *out;

	if (argc != 3 || page == MAP_FAILED)
		return 2;
	in = fopen(argv[1], "rb");
	out = fopen(argv[2], "wb");
	if (!in || !out)
		return 2;
	sigaction(SIGFPE, &action, 0);
	sigaction(SIGSEGV, &action, 0);
	sigaction(SIGBUS, &action, 0);
	sigaction(SIGILL, &action, 0);
	while (fread(&test, sizeof(test), 1, in) == 1) {
		memcpy(page, test.code, 16);
		page[16] = 0xc3;
		memcpy(io.fx, test.fx, 512);
		memset(io.out, 0, 512);
		memcpy(io.memory, test.memory, MEMORY);
		for (int i = 0; i < 4; i++)
			io.regs[i] = test.regs[i];
		io.flags = test.eflags | 0x202;
		io.code = (uint64_t)page;
		io.rdi = (uint64_t)io.memory + test.offset;
		caught = 0;
		if (sigsetjmp(back, 1) == 0)
			execute();
		__asm__ volatile("fninit; ldmxcsr %0" : : "m"(mxcsr));
		result.signal = caught;
		for (int i = 0; i < 4; i++)
			result.regs[i] = io.regs[i];
		result.eflags = io.flags;
		memcpy(result.fx, io.out, 512);
		memcpy(result.memory, io.memory, MEMORY);
		fwrite(&result, sizeof(result), 1, out);
	}
	return fclose(out) != 0;
}
