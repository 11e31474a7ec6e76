/* Segment descriptors, gates and the TSS (Intel SDM vol. 3A, 3.4.5, 6.11, 7.2.1). */
#ifndef ASM_DESC_H
#define ASM_DESC_H

#include <linux/types.h>
#include <asm/segment.h>

struct desc_struct {
	u32 low, high;
};

struct desc_ptr {
	u16 limit;
	u32 base;
} __attribute__((packed));

struct tss_struct {
	u32 back_link;
	u32 esp0, ss0;
	u32 rest[22];
	u16 trap, io_bitmap_base;
};

extern struct desc_struct gdt_table[GDT_ENTRIES];
extern struct desc_struct idt_table[256];
extern struct tss_struct init_tss;

void early_cpu_init(void);
void cpu_init(void);
void trap_init(void);

#endif
