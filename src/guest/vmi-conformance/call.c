/*
 * Calls as a kernel makes them whose sites are patched. Before each one every register that is not an argument is set to something of
 * its own, and afterwards those that the call has to keep are compared: ABI 2.2, column "clobber".
 */
#include "guest.h"

struct registers io;
u32 site_stack;

extern void enter_site(void);

enum { KEEPS_EAX = 1, KEEPS_ECX = 2, KEEPS_EDX = 4, KEEPS_EBX = 8, KEEPS_ESI = 16, KEEPS_EDI = 32, KEEPS_EBP = 64, KEEPS_ESP = 128 };
#define KEEPS_STD (KEEPS_EBX | KEEPS_ESI | KEEPS_EDI | KEEPS_EBP | KEEPS_ESP)
#define KEEPS_ALL (KEEPS_STD | KEEPS_EAX | KEEPS_ECX | KEEPS_EDX)

static u32 used[CALLS], broken[CALLS];

static u32 kept_by(u32 call)
{
	switch (call) {
	case CPUID:
		return KEEPS_STD & ~KEEPS_EBX;
	case EnableInterrupts:
	case DisableInterrupts:
	case SetInterruptMask:
		return KEEPS_ALL;
	case GetInterruptMask:
		return KEEPS_ALL & ~KEEPS_EAX;
	case INL:
	case INB:
	case INW:
		return KEEPS_ALL & ~KEEPS_EAX;
	case INSL:
	case INSB:
	case INSW:
		return KEEPS_ALL & ~(KEEPS_EDI | KEEPS_ECX);
	case OUTSL:
	case OUTSB:
	case OUTSW:
		return KEEPS_ALL & ~(KEEPS_ESI | KEEPS_ECX);
	case OUTL:
	case OUTB:
	case OUTW:
		return KEEPS_ALL;
	default:
		return KEEPS_STD;
	}
}

static u32 kept(const struct registers *before)
{
	return (io.eax == before->eax ? KEEPS_EAX : 0) | (io.ecx == before->ecx ? KEEPS_ECX : 0) |
	       (io.edx == before->edx ? KEEPS_EDX : 0) | (io.ebx == before->ebx ? KEEPS_EBX : 0) |
	       (io.esi == before->esi ? KEEPS_ESI : 0) | (io.edi == before->edi ? KEEPS_EDI : 0) |
	       (io.ebp == before->ebp ? KEEPS_EBP : 0) | (io.esp == site_stack - 8 ? KEEPS_ESP : 0);
}

static void enter(void)
{
	trapped.taken = 0;
	enter_site();
	forget_trap();
}

u32 run_call(u32 selector, const u32 arguments[ARGUMENTS])
{
	u32 call = arguments[CALL];
	struct registers before;

	io = (struct registers){
		.eax = arguments[EAX],
		.ebx = 0x0b0b0b0b,
		.ecx = arguments[ECX],
		.edx = arguments[EDX],
		.esi = 0x51515151,
		.edi = 0xd1d1d1d1,
		.ebp = 0xb9b9b9b9,
		.s1 = arguments[S1],
		.s2 = arguments[S2],
		.selector = selector,
		.site = site_of(call),
	};
	/* The buffer of a string. */
	if (call >= INSL && call <= INSW)
		io.edi = arguments[S1];
	if (call >= OUTSL && call <= OUTSW)
		io.esi = arguments[S1];
	before = io;
	enter();
	/* What does not come back keeps nothing. */
	if (!trapped.taken) {
		used[call]++;
		broken[call] |= kept_by(call) & ~kept(&before);
	}
	return io.eax;
}

u64 long_result(void) { return (u64)io.edx << 32 | io.eax; }

void run_code_with(u32 selector, const void *code, u32 eax, u32 ebx, u32 ecx, u32 edx)
{
	io = (struct registers){ .eax = eax, .ebx = ebx, .ecx = ecx, .edx = edx, .selector = selector, .site = (u32)code };
	enter();
}

void run_code(const void *code, u32 eax, u32 ebx, u32 ecx, u32 edx)
{
	run_code_with(USER_DS, code, eax, ebx, ecx, edx);
}

void check_registers_kept(void)
{
	for (u32 call = 0; call < CALLS; call++)
		if (used[call])
			check(call, "keeps the registers that it must (pitfall 3)", 0, broken[call]);
}
