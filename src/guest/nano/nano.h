/* A private test kernel for the nanobenchmarks: flat ring 0, paging on, one table of traps. */
#ifndef NANO_H
#define NANO_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* A page that is not mapped, and one whose entry `loop_ptemod` writes: both below 4 MiB. */
#include "nano-pages.h"

/* start.S */
extern u32 page_directory[1024];
extern u32 page_table[1024];
extern const u32 trap_entries[];
#define TRAP_ENTRIES 20
void trap_system_call(void);
void trap_leave_user(void);
void enter_system_call(void);
void set_fixup(u32 eip);
/* Runs ring-3 code with a count in ESI until it executes INT 0x81. */
void run_user(void (*entry)(void), u32 count, u32 stack);

/* loops.S: `count` rounds each; the empty one is the loop around the operation and nothing else. */
void loop_empty(u32 count);
void loop_empty_store(u32 count);
void loop_in(u32 count);
void loop_cli(u32 count);
void loop_cr0(u32 count);
void loop_callret(u32 count);
void loop_pgfault(u32 count);
void loop_divzero(u32 count);
void loop_ptemod(u32 count);
void user_empty(void);
void user_int80(void);
void user_sysenter(void);

/* console.c */
void console_init(void);
void put_text(const char *text);
void put_hundredths(u64 value);
__attribute__((noreturn)) void power_off(void);

static inline void out8(u16 port, u8 value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline u8 in8(u16 port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline u64 time_stamp(void)
{
	u32 low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return ((u64)high << 32) | low;
}

#endif
