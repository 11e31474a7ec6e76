/* What the parts of the VMI conformance guest share. */
#ifndef GUEST_H
#define GUEST_H

#include "layout.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* The calls of API 3.0 by index, and three names for what has none. */
enum call {
	CPUID, WRMSR, RDMSR, SetGDT, SetLDT, SetIDT, SetTR, GetGDT, GetLDT, GetIDT, GetTR, WriteGDTEntry, WriteLDTEntry,
	WriteIDTEntry, UpdateKernelStack, SetCR0, SetCR2, SetCR3, SetCR4, GetCR0, GetCR2, GetCR3, GetCR4, WBINVD, SetDR,
	GetDR, RDPMC, RDTSC, CLTS, EnableInterrupts, DisableInterrupts, GetInterruptMask, SetInterruptMask, IRET, SYSEXIT,
	Halt, Reboot, Shutdown, SetPxE, SetPxELong, UpdatePxE, UpdatePxELong, MachineToPhysical, PhysicalToMachine,
	AllocatePage, ReleasePage, InvalPage, FlushTLB, SetLinearMapping, INL, INB, INW, INSL, INSB, INSW, OUTL, OUTB, OUTW,
	OUTSL, OUTSB, OUTSW, SetIOPLMask, SetInitialAPState, APICWrite, APICRead, IODelay, GetCycleFrequency,
	GetCycleCounter, SetAlarm, CancelAlarm, GetWallclockTime, WallclockUpdated, SetCallbacks, SetLazyMode,
	CALLS,
	ROM = CALLS, Init, GetRelocationInfo,
};

enum relocation { NONE, CALL_REL, JUMP_REL, NOP };

static inline u32 physical(const volatile void *at) { return (u32)at - KERNEL; }
static inline u32 pfn(const volatile void *at) { return physical(at) >> 12; }

static inline void out8(u16 port, u8 value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline u8 in8(u16 port)
{
	u8 value;
	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}
static inline u64 rdtsc(void)
{
	u64 value;
	__asm__ volatile("rdtsc" : "=A"(value));
	return value;
}
static inline u32 load_gs(void)
{
	u32 value;
	__asm__ volatile("movl %%gs:0, %0" : "=r"(value));
	return value;
}
static inline u32 gs_selector(void)
{
	u32 value;
	__asm__ volatile("movl %%gs, %0" : "=r"(value));
	return value & 0xffff;
}
static inline void set_gs(u32 selector) { __asm__ volatile("movl %0, %%gs" : : "r"(selector)); }

/* report.c: one line for each check on the console. */
void console_init(void);
void say(const char *text);
void say_hex(u32 value);
void say_decimal(u32 value);
/* Check of what a call, or ROM, Init or GetRelocationInfo, did. */
void check(u32 call, const char *what, u32 expected, u32 got);
void check_true(u32 call, const char *what, int holds);
/* Last line: PASS or FAIL with the number of checks. */
void conclude(void);
const char *name_of(u32 call);
__attribute__((noreturn)) void power_off(void);

/* rom.c */
struct relocation_info { u32 eip; u8 type, reserved[3]; };
int find_rom(void);
void check_rom(void);
void check_init(void);
void patch_sites(void);
void check_relocations_again(void);
struct relocation_info relocation_of(u32 rom, u32 call);
int offered(u32 call);
extern u32 rom_base;
extern u32 kernel_rpl;

/* call.c: calls by patched sites, with every register that a call has to keep set to something it must find again. */
enum { CALL, EAX, EDX, ECX, S1, S2, ARGUMENTS };
/* EAX of the call; all registers are in `io`. With this selector in DS and ES: interrupted user code may have left any there. */
u32 run_call(u32 selector, const u32 arguments[ARGUMENTS]);
#define VMI_WITH(selector, ...) run_call(selector, (const u32[ARGUMENTS]){ __VA_ARGS__ })
#define VMI(...) VMI_WITH(USER_DS, __VA_ARGS__)
/* EDX:EAX of the last call. */
u64 long_result(void);
/* Executes the code at this address, which ends by a jump to `site_return`, or in a trap, with EAX, EBX, ECX and EDX set. */
void run_code(const void *code, u32 eax, u32 ebx, u32 ecx, u32 edx);
void run_code_with(u32 selector, const void *code, u32 eax, u32 ebx, u32 ecx, u32 edx);
void check_registers_kept(void);

struct registers { u32 eax, ebx, ecx, edx, esi, edi, ebp, s1, s2, selector, site, esp, eflags; };
extern struct registers io;
/* Stack pointer under `run_code` and calls: S1 and S2 lie below it. */
extern u32 site_stack;
extern u8 sites[], site_return[];
static inline u32 site_of(u32 call) { return (u32)sites + SITE_BYTES * call; }

/* traps.c */
struct trap { u32 taken, vector, code, eip, cs, eflags, cr2, eax, edx, stack; };
/* A trap of the next call or code ends that, and is found in `trapped`. Without this a trap is the end of the run. */
void expect_trap(void);
void forget_trap(void);
extern volatile struct trap trapped;
/* Of IRQ 0, and of whatever else asks for the time. */
#define TIMER_VECTOR 0x20u
/* Interrupts by it since `interrupts_reset`, and the lowest stack pointer that one found. */
extern volatile u32 interrupts, interrupt_stack;
void interrupts_reset(void);
void traps_init(void);
void set_gate(u32 *table, u32 vector, const void *handler, u32 type_and_dpl);
extern u32 idt[512], other_idt[512], gdt[64], other_gdt[64];

/* user.c */
void user_init(void);
/* User code at this label, with EAX and EBX; what ends it is in `trapped`. */
void run_user(const void *entry, u32 eax, u32 ebx);
void check_user(void);

void check_processor(void);
void check_descriptors(void);
void check_interrupts(void);
void check_memory(void);
void check_ports(void);
void check_time(void);
void check_apic(void);

/* pae.c */
/* Goes over to PAE tables; returns what CR3 then is. */
u32 enter_pae(void);
void check_pae(void);

#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u
#define PTE_PS 0x80u
#define PTE_USED 0x60u
#define PTE_KERNEL (PTE_P | PTE_W | PTE_USED)
#define PTE_USER (PTE_P | PTE_W | PTE_U | PTE_USED)
extern u32 boot_directory[1024];
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define CR4_PGE 0x80u
/* What CR3 is, and the bits of CR4, when the ROM is found. */
extern u32 boot_cr3, boot_cr4;

#endif
