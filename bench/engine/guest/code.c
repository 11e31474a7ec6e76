/* Rows about code: code that changes, and code that runs for the first time. */
#include "guest.h"

typedef u32 (*function)(u32);
static u8 *emit_at;

static void emit8(u8 byte) { *emit_at++ = byte; }
static void emit32(u32 word)
{
	*(u32 *)emit_at = word;
	emit_at += 4;
}

#define SMC_BYTES 64

/* movl $immediate, %edx; addl %edx, %eax; roll $3, %eax; xorl %edx, %eax; ret */
static u32 run_smc(u32 count)
{
	u8 *code = (u8 *)ARENA;
	emit_at = code;
	emit8(0xba);
	emit32(0);
	emit8(0x01);
	emit8(0xd0);
	emit8(0xc1);
	emit8(0xc0);
	emit8(3);
	emit8(0x31);
	emit8(0xd0);
	emit8(0xc3);
	u32 check = 1;
	for (u32 i = 0; i < count; i++) {
		*(volatile u32 *)(code + 1) = i * 0x9e3779b9u;
		check = ((function)code)(check);
	}
	return check;
}

/*
 * Functions for the cold rows, made of a random sequence of common instructions: arithmetic on registers and constants,
 * loads and stores, shifts, LEA, compare and branch over some of them, SETcc, PUSH and POP. About forty instructions each.
 */
#define FUNCTIONS_MAX 8192u
#define SCRATCH (ARENA_END - PAGE)
static function functions[FUNCTIONS_MAX];

/* EAX, ECX, EDX, EBX, ESI. */
static u32 pick(u32 *seed)
{
	static const u8 registers[8] = { 0, 1, 2, 3, 6, 0, 1, 2 };
	return registers[random_next(seed) >> 29];
}

static void emit_item(u32 *seed)
{
	static const u8 operations[8] = { 0x01, 0x29, 0x31, 0x21, 0x09, 0x01, 0x31, 0x29 };
	u32 kind = random_next(seed) >> 28;
	u32 a = pick(seed), b = pick(seed);
	u32 constant = random_next(seed);
	switch (kind) {
	case 0: case 1: case 2: /* operation on two registers */
		emit8(operations[constant >> 29]);
		emit8(0xc0 | b << 3 | a);
		break;
	case 3: case 4: /* operation with a constant: add, or, and, sub, xor, in the order of the field */
		emit8(0x81);
		emit8(0xc0 | (constant & 1 ? 6 : 0) << 3 | a);
		emit32(constant);
		break;
	case 5: case 6: /* load */
		emit8(0x8b);
		emit8(0x05 | a << 3);
		emit32(SCRATCH + (constant >> 20 & 0xffc));
		break;
	case 7: case 8: /* store */
		emit8(0x89);
		emit8(0x05 | a << 3);
		emit32(SCRATCH + (constant >> 20 & 0xffc));
		break;
	case 9: /* lea disp8(a, b, 4), a */
		emit8(0x8d);
		emit8(0x44 | a << 3);
		emit8(0x80 | b << 3 | a);
		emit8(constant >> 24);
		break;
	case 10: case 11: /* rol, shl, shr */
		emit8(0xc1);
		emit8(0xc0 | (constant & 2 ? 0 : constant & 1 ? 4 : 5) << 3 | a);
		emit8(1 + (constant >> 28));
		break;
	case 12: /* imul b, a */
		emit8(0x0f);
		emit8(0xaf);
		emit8(0xc0 | a << 3 | b);
		break;
	case 13: /* cmp b, a; setcc dl; movzbl dl, a */
		emit8(0x39);
		emit8(0xc0 | b << 3 | a);
		emit8(0x0f);
		emit8(0x90 | (2 + (constant >> 29)));
		emit8(0xc2);
		emit8(0x0f);
		emit8(0xb6);
		emit8(0xc0 | a << 3 | 2);
		break;
	case 14: /* push a; inc a; pop b */
		emit8(0x50 | a);
		emit8(0x40 | a);
		emit8(0x58 | b);
		break;
	default: /* test a, b */
		emit8(0x85);
		emit8(0xc0 | b << 3 | a);
		break;
	}
}

static void emit_function(u32 *seed)
{
	emit8(0x53); /* push %ebx */
	emit8(0x56); /* push %esi */
	emit8(0x89); /* mov %eax, %ebx */
	emit8(0xc3);
	emit8(0xbe); /* mov $constant, %esi */
	emit32(random_next(seed));
	emit8(0x8d); /* lea 1(%eax), %ecx */
	emit8(0x48);
	emit8(1);
	emit8(0x31); /* xor %edx, %edx */
	emit8(0xd2);
	for (u32 group = 0; group < 5; group++) {
		for (u32 i = 0; i < 3; i++)
			emit_item(seed);
		u32 condition = random_next(seed) >> 29;
		emit8(0x83); /* cmp $constant, a */
		emit8(0xf8 | pick(seed));
		emit8(random_next(seed) >> 24);
		emit8(0x70 | (2 + condition));
		u8 *distance = emit_at;
		emit8(0);
		emit_item(seed);
		emit_item(seed);
		*distance = emit_at - distance - 1;
	}
	emit8(0x01); /* add %esi, %eax */
	emit8(0xf0);
	emit8(0x31); /* xor %ebx, %eax */
	emit8(0xd8);
	emit8(0x5e); /* pop %esi */
	emit8(0x5b); /* pop %ebx */
	emit8(0xc3);
	while ((u32)emit_at & 15)
		emit8(0x90);
}

static u32 made;

static void make_functions(u32 count)
{
	u32 seed = 99;
	if (count > FUNCTIONS_MAX)
		count = FUNCTIONS_MAX;
	emit_at = (u8 *)ARENA;
	for (u32 i = 0; i < count; i++) {
		functions[i] = (function)emit_at;
		emit_function(&seed);
	}
	if ((u32)emit_at > SCRATCH)
		stop("functions too long", (u32)emit_at, 0);
	for (u32 i = 0; i < 1024; i++)
		((u32 *)SCRATCH)[i] = i * 0x01234567u;
	made = count;
}

static u32 pass(u32 value)
{
	for (u32 i = 0; i < made; i++)
		value = value * 31 + functions[i](value);
	return value;
}

/* `count` functions, each for the first time. */
static u32 run_cold(u32 count)
{
	(void)count;
	return pass(1);
}

/* A first pass that is not timed; then `count` calls in whole passes over the same functions. */
static void setup_warm(u32 count)
{
	make_functions(count / 9 ? count / 9 : 1);
	pass(1);
}

static u32 run_warm(u32 count)
{
	u32 value = 1;
	for (u32 passes = count / made; passes; passes--)
		value = pass(value);
	return value;
}

const struct row code_rows[] = {
	{ "smc", 50000, 0, run_smc, 0 },
	{ "cold", FUNCTIONS_MAX, make_functions, run_cold, 0 },
	{ "warm", 9 * FUNCTIONS_MAX, setup_warm, run_warm, 0 },
	{ 0, 0, 0, 0, 0 },
};
