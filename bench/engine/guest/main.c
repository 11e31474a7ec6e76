/*
 * The benchmark guest: runs its rows one after the other and reports each as
 *
 *     0x01 (the clock starts)  0x02 (the clock stops)  NAME COUNT CHECKSUM
 *
 * on the console; `NAME - -` where the processor lacks what the row needs. It ends with a line `end`. It has no clock of
 * its own, since time inside an emulator is whatever the emulator says: who runs it takes the time of the two bytes.
 *
 * Command line: scale=PERMILLE multiplies every count; only=ROW,ROW runs these rows; warm=PERMILLE runs them once before, at
 * that scale and without marks, so that the first rows do not pay for what an emulator compiles of itself.
 */
#include "guest.h"

#define MULTIBOOT_MAGIC 0x2badb002u
#define INFO_COMMAND_LINE 4u

static char command_line[512];
static u32 scale;
static u32 warm;
static const char *only;

extern const struct row idle_rows[];

/* The value behind `key` (which ends with '='), or null. */
static const char *option(const char *key)
{
	for (const char *at = command_line; *at; at++) {
		if (at != command_line && at[-1] != ' ')
			continue;
		u32 n = 0;
		while (key[n] && at[n] == key[n])
			n++;
		if (!key[n])
			return at + n;
	}
	return 0;
}

static int selected(const char *name)
{
	if (!only)
		return 1;
	for (const char *at = only; *at && *at != ' ';) {
		u32 n = 0;
		while (name[n] && at[n] == name[n])
			n++;
		if (!name[n] && (!at[n] || at[n] == ' ' || at[n] == ','))
			return 1;
		while (*at && *at != ' ' && *at != ',')
			at++;
		if (*at == ',')
			at++;
	}
	return 0;
}

static u32 number(const char *text, u32 otherwise)
{
	if (!text)
		return otherwise;
	u32 value = 0;
	for (; *text >= '0' && *text <= '9'; text++)
		value = value * 10 + (*text - '0');
	return value;
}

/* `count * scale / 1000` without a product of more than 32 bits; at least 1. */
static u32 scaled(u32 count, u32 scale)
{
	u32 result = count / 1000 * scale + count % 1000 * scale / 1000;
	return result ? result : 1;
}

static void warm_rows(const struct row *row)
{
	for (; row->name; row++) {
		if (!selected(row->name) || (row->available && !row->available()))
			continue;
		u32 count = scaled(row->count, warm);
		if (row->setup)
			row->setup(count);
		row->run(count);
	}
}

static void run_rows(const struct row *row)
{
	for (; row->name; row++) {
		if (!selected(row->name))
			continue;
		put_text(row->name);
		if (row->available && !row->available()) {
			put_text(" - -\n");
			continue;
		}
		put_byte(' ');
		u32 count = scaled(row->count, scale);
		if (row->setup)
			row->setup(count);
		put_byte(1);
		u32 check = row->run(count);
		put_byte(2);
		put_decimal(count);
		put_byte(' ');
		put_hex(check);
		put_byte('\n');
	}
}

void guest_main(u32 magic, const u32 *info)
{
	if (magic == MULTIBOOT_MAGIC && (info[0] & INFO_COMMAND_LINE)) {
		const char *from = (const char *)info[4];
		for (u32 i = 0; i < sizeof command_line - 1 && from[i]; i++)
			command_line[i] = from[i];
	}
	scale = number(option("scale="), 1000);
	warm = number(option("warm="), 0);
	only = option("only=");
	console_init();
	traps_init();
	paging_init();
	put_text("vmitop engine benchmark\n");
	if (warm) {
		warm_rows(compute_rows);
		warm_rows(memory_rows);
		warm_rows(system_rows);
		warm_rows(code_rows);
	}
	run_rows(compute_rows);
	run_rows(memory_rows);
	run_rows(system_rows);
	run_rows(code_rows);
	run_rows(idle_rows);
	put_text("end\n");
	for (;;)
		__asm__ volatile("cli; hlt");
}
