/* Constants for C and assembly. The descriptor table is numbered as Linux has it. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define KERNEL 0xc0000000
#define KERNEL_CS 0x60
#define KERNEL_DS 0x68
#define USER_CS 0x73
#define USER_DS 0x7b
#define TSS_SELECTOR 0x80
#define LDT_SELECTOR 0x88
#define TLS_ENTRY 6

/* User code and its stack; the ROM once more, where user code may call it. */
#define USER_CODE 0x08048000
#define USER_STACK 0x08100000
#define USER_ROM 0x08200000

/* A call site: five bytes that are patched, and a jump to `site_return`. */
#define SITE_BYTES 16
#define IRET_SITE (sites + 33 * SITE_BYTES)

/* struct registers */
#define IO_EAX 0
#define IO_EBX 4
#define IO_ECX 8
#define IO_EDX 12
#define IO_ESI 16
#define IO_EDI 20
#define IO_EBP 24
#define IO_S1 28
#define IO_S2 32
#define IO_SELECTOR 36
#define IO_SITE 40
#define IO_ESP 44
#define IO_EFLAGS 48

#endif
