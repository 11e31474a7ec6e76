/*
 * Multiboot header and the code that runs with paging off: it fills two page tables, which map the first 8 MiB at 0 and at
 * PAGE_OFFSET by 4 KiB entries, turns paging on and jumps to the linked address. This section is linked where it is
 * loaded; everything else is linked at PAGE_OFFSET higher.
 */
#include <asm/multiboot.h>
#include <asm/page.h>

#define PA(symbol) (symbol - PAGE_OFFSET)

	.section .boot, "ax"
	.align 4
	.long MULTIBOOT_HEADER_MAGIC
	.long MULTIBOOT_HEADER_FLAGS
	.long -(MULTIBOOT_HEADER_MAGIC + MULTIBOOT_HEADER_FLAGS)

	.globl startup_32
startup_32:
	cli
	cld
	/* A loader that does not know multiboot leaves nothing to start from. */
	cmpl $MULTIBOOT_LOADER_MAGIC, %eax
	jne .Lhang
	movl %ebx, PA(boot_multiboot_info)
	lgdt boot_gdt_pointer
	ljmp $0x60, $.Lreload
.Lreload:
	movl $0x68, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	xorl %eax, %eax
	movl %eax, %fs
	movl %eax, %gs

	/* pg0 and pg1 lie side by side: one run over 2048 entries. 0x163: present, writable, accessed, dirty, global. */
	movl $PA(pg0), %edi
	movl $0x163, %eax
	movl $(LOW_ZONE_BYTES >> PAGE_SHIFT), %ecx
1:	movl %eax, (%edi)
	addl $PAGE_SIZE, %eax
	addl $4, %edi
	decl %ecx
	jnz 1b
	movl $(PA(pg0) + 0x63), %eax
	movl $(PA(pg1) + 0x63), %edx
	movl %eax, PA(swapper_pg_dir)
	movl %edx, PA(swapper_pg_dir) + 4
	movl %eax, PA(swapper_pg_dir) + (PAGE_OFFSET >> 20)
	movl %edx, PA(swapper_pg_dir) + (PAGE_OFFSET >> 20) + 4

	movl $PA(swapper_pg_dir), %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $0x80010022, %eax /* PG, WP, NE, MP; no EM or TS: nothing here uses the FPU */
	andl $~0xc, %eax
	movl %eax, %cr0
	movl $.Lhigh, %eax
	jmp *%eax

	.align 8
boot_gdt:
	.fill 12, 8, 0
	.quad 0x00cf9b000000ffff /* 0x60 */
	.quad 0x00cf93000000ffff /* 0x68 */
boot_gdt_end:
boot_gdt_pointer:
	.word boot_gdt_end - boot_gdt - 1
	.long boot_gdt
.Lhang:
	hlt
	jmp .Lhang

	.text
.Lhigh:
	movl $(init_stack + 4096), %esp
	xorl %ebp, %ebp
	pushl $0
	popfl
	call start_kernel
2:	hlt
	jmp 2b

	.section .bss.page_aligned, "aw", @nobits
	.align PAGE_SIZE
	.globl swapper_pg_dir, pg0, pg1, init_stack, empty_zero_page
swapper_pg_dir:	.skip PAGE_SIZE
pg0:	.skip PAGE_SIZE
pg1:	.skip PAGE_SIZE
init_stack:	.skip PAGE_SIZE
empty_zero_page:	.skip PAGE_SIZE
