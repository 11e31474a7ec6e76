/* GDT layout, with the numbers of a Linux i386 kernel, and the selectors made of them. Assembly reads this file too. */
#ifndef ASM_SEGMENT_H
#define ASM_SEGMENT_H

#define GDT_ENTRIES 32
#define GDT_ENTRY_TLS_MIN 6
#define GDT_ENTRY_KERNEL_CS 12
#define GDT_ENTRY_KERNEL_DS 13
#define GDT_ENTRY_USER_CS 14
#define GDT_ENTRY_USER_DS 15
#define GDT_ENTRY_TSS 16
#define GDT_ENTRY_LDT 17
/* Left free for per-CPU data: one CPU needs none. */
#define GDT_ENTRY_PERCPU 27

#define __KERNEL_CS 0x60
#define __KERNEL_DS 0x68
#define __USER_CS 0x73
#define __USER_DS 0x7b
#define SELECTOR_TSS 0x80

/* RPL of user mode. The kernel's own RPL is whatever CS says after VMI activation: never test for 0. */
#define USER_RPL 3
#define SEGMENT_RPL_MASK 3

#endif
