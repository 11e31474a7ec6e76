/* Multiboot 1 information structure (Multiboot Specification 0.6.96, 3.3): the fields that are read here. */
#ifndef ASM_MULTIBOOT_H
#define ASM_MULTIBOOT_H

#define MULTIBOOT_HEADER_MAGIC 0x1badb002
#define MULTIBOOT_LOADER_MAGIC 0x2badb002
/* Align modules, give memory information. */
#define MULTIBOOT_HEADER_FLAGS 3

#define MULTIBOOT_INFO_MEMORY 0x001
#define MULTIBOOT_INFO_CMDLINE 0x004
#define MULTIBOOT_INFO_MMAP 0x040

#ifndef __ASSEMBLER__
#include <linux/types.h>

struct multiboot_info {
	u32 flags;
	u32 mem_lower, mem_upper; /* KiB below 1 MiB, KiB above 1 MiB */
	u32 boot_device;
	u32 cmdline;
	u32 mods_count, mods_addr;
	u32 syms[4];
	u32 mmap_length, mmap_addr;
};

struct multiboot_mmap_entry {
	u32 size; /* of the rest */
	u64 base, length;
	u32 type; /* 1: usable */
} __attribute__((packed));
#endif

#endif
