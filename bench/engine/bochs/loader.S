/*
 * Option ROM by which Bochs, which knows no multiboot, starts the guest: the image itself is put into RAM by Bochs
 * (`optramimage`), the BIOS calls this ROM, and it enters the image as a multiboot loader would. The runner writes the entry
 * address, the command line and the ROM's checksum into their places.
 */
#define ROM 0xd0000
#define ENTRY 0x1f0
#define INFO 0x200
#define COMMAND_LINE 0x280

	.text
	.code16
rom:
	.byte 0x55, 0xaa, 2 /* 1 KiB */
	cli
	inb $0x92, %al
	orb $2, %al
	outb %al, $0x92
	movw $(ROM >> 4), %ax
	movw %ax, %ds
	lgdtl gdt_pointer - rom
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $0x08, $(ROM + protected - rom)

	.code32
protected:
	movl $0x10, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl $0x2badb002, %eax
	movl $(ROM + INFO), %ebx
	jmp *(ROM + ENTRY)

	.align 8
gdt:
	.quad 0
	.quad 0x00cf9b000000ffff
	.quad 0x00cf93000000ffff
gdt_pointer:
	.word gdt_pointer - gdt - 1
	.long ROM + gdt - rom

	.org ENTRY
	.long 0
	.org INFO
	.long 4 /* there is a command line */
	.skip 12
	.long ROM + COMMAND_LINE
	.org 0x400
