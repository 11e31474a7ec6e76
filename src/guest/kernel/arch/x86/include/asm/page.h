/* Address-space layout. Assembly and the linker script read this file too. */
#ifndef ASM_PAGE_H
#define ASM_PAGE_H

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096
#define PAGE_OFFSET 0xc0000000
/* Start of what is mapped with 4 KiB entries and holds the kernel, mem_map and all page tables: two boot page tables. */
#define LOW_ZONE_BYTES 0x800000
#define LARGE_PAGE_SIZE 0x400000
/* Lowmem ends here at most, so that a hypervisor can keep the top of the address space. */
#define LOWMEM_MAX 0x38000000

#define TASK_SIZE PAGE_OFFSET
/* The page with the kernel entry sequence, the same frame in every process. */
#define VSYSCALL_BASE 0xbfffe000
#define STACK_TOP 0xbfffd000
#define STACK_BYTES 0x100000
#define MMAP_BASE 0x40000000

#ifndef __ASSEMBLER__
#include <linux/types.h>
#define __pa(va) ((u32)(va) - PAGE_OFFSET)
#define __va(pa) ((void *)((u32)(pa) + PAGE_OFFSET))
#define page_align(x) (((u32)(x) + PAGE_SIZE - 1) & ~(u32)(PAGE_SIZE - 1))
#define page_floor(x) ((u32)(x) & ~(u32)(PAGE_SIZE - 1))
#endif

#endif
