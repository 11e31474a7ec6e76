/* What the parts of the benchmark guest share. */
#ifndef GUEST_H
#define GUEST_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;

#define PAGE 4096u
#define PTE_P 1u
#define PTE_RW 2u
#define PTE_US 4u

/*
 * Physical memory, all of it mapped onto itself by 4 KiB pages:
 *
 *     1 MiB  image     8 MiB  data of the rows (arena)     44 MiB  pages for tables and frames (pool)     60 MiB
 */
#define ARENA 0x00800000u
#define ARENA_END 0x02c00000u
#define POOL 0x02c00000u
#define POOL_END 0x03c00000u
/* Linear region of rows that map pages of their own. */
#define REGION 0x40000000u

/* A row of the benchmark: `setup` is not timed; `run` returns a checksum that must not depend on the emulator. */
struct row {
	const char *name;
	u32 count; /* at scale 1000 */
	void (*setup)(u32 count);
	u32 (*run)(u32 count);
	int (*available)(void);
};

struct trap_frame {
	u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
	u32 number, code, eip, cs, eflags;
};

/* #DE has no number and no code on its frame. */
struct divide_frame {
	u32 edi, esi, ebp, esp, ebx, edx, ecx, eax;
	u32 eip, cs, eflags;
};

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static inline void load_cr3(u32 value) { __asm__ volatile("movl %0, %%cr3" : : "r"(value) : "memory"); }
static inline void invalidate_page(u32 address) { __asm__ volatile("invlpg (%0)" : : "r"(address) : "memory"); }
static inline u32 random_next(u32 *state) { return *state = *state * 1664525u + 1013904223u; }

/* console.c */
void console_init(void);
void put_byte(u8 byte);
void put_text(const char *text);
void put_decimal(u32 value);
void put_hex(u32 value);

/* paging.c */
extern u32 kernel_directory[1024];
void paging_init(void);
void pool_reset(void);
u32 pool_page(void);
void pool_give(u32 page);
u32 new_directory(void);
u32 *region_table(u32 directory, u32 index);
void page_fault(u32 address, u32 code, u32 eip);

/* traps.c */
extern u32 tss[26];
extern volatile u32 divide_faults;
extern volatile u32 timer_ticks;
void traps_init(void);
__attribute__((noreturn)) void stop(const char *why, u32 a, u32 b);

/* start.S and loops.S */
u32 run_user(u32 entry, u32 count, u32 stack);
void enter_system_call(void);
extern u8 user_int80[], user_sysenter[], user_begin[], user_end[], image_end[];
u32 integer_loop(u32 count);
u32 chase(u32 node, u32 hops);
u32 divide_loop(u32 count);

extern const struct row compute_rows[], memory_rows[], system_rows[], code_rows[];

#endif
