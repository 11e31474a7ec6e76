/*
 * VMI ROMs for a real PC: each call is the instruction that it stands for, at CPL 0. With them QEMU shows that the guest's
 * detection, binding and patching work without any hypervisor of ours. Variants by -D:
 *
 *   API_MAJOR=n     another version           LICENSE="text"  another license
 *   INIT_RESULT=n   what Init returns         FULL            all calls but the timer's, instead of IRET and SYSEXIT alone
 *
 * Calls that may change ECX and EDX do so, that a guest which relies on them is found out.
 */
#ifndef API_MAJOR
#define API_MAJOR 3
#endif
#ifndef INIT_RESULT
#define INIT_RESULT 0
#endif
#ifndef LICENSE
#define LICENSE "GPL v2"
#endif
#ifdef FULL
#define TOP 0xfc000000
#else
#define TOP 0
#endif

	.text
rom:
	.byte 0x55, 0xaa
	.byte (rom_end - rom) / 512
	.byte 0xcb, 0, 0, 0 /* far return: nothing to initialize for the BIOS */
	.byte 0
	.ascii "cVmi"
	.byte 0, API_MAJOR, 2, 0
	.long TOP
	.word 0, license - rom, pci - rom, pnp - rom
	.long 0
pci:	.ascii "PCIR"
	.word 0x15ad, 0x0801, 0, 24
	.byte 0, 0, 0x80, 5
	.word (rom_end - rom) / 512
	.byte 7, 1, 0, 0x80
	.word 0
pnp:	.ascii "$PnP"
	.byte 1, 2
	.word 0, 0
	.long 0
	.word manufacturer - rom, product - rom
	.fill 32 - (. - pnp), 1, 0
manufacturer: .asciz "test"
product: .asciz "ROM"
license: .asciz LICENSE
	.org rom + 0x80
	jmp init
	.org rom + 0x88
	jmp get_reloc
	.org rom + 0x90

init:	movl $INIT_RESULT, %eax
	ret

/* EDX:EAX = type, address. Below 0 in the table: not offered. Odd addresses do not occur, so bit 0 says "jump". */
get_reloc:
	call 1f
1:	popl %ecx
	subl $(1b - rom), %ecx
	xorl %edx, %edx
	cmpl $74, %eax
	jae 2f
	movl (table - rom)(%ecx,%eax,4), %eax
	testl %eax, %eax
	jz 2f
	movl $1, %edx
	testl $1, %eax
	jz 3f
	incl %edx
	decl %eax
3:	addl %ecx, %eax
	ret
2:	xorl %eax, %eax
	ret

	.balign 4
table:
#ifdef FULL
	.long cpuid - rom, 0, 0, set_gdt - rom, set_ldt - rom, set_idt - rom, set_tr - rom, 0, 0, 0, 0 /* 0..10 */
	.long write_entry - rom, 0, write_entry - rom, nothing - rom /* 11..14 */
	.long set_cr0 - rom, 0, set_cr3 - rom, set_cr4 - rom, get_cr0 - rom, get_cr2 - rom, get_cr3 - rom, get_cr4 - rom /* ..22 */
	.long 0, 0, 0, 0, read_tsc - rom, 0 /* 23..28 */
	.long enable - rom, disable - rom, get_mask - rom, set_mask - rom /* 29..32 */
	.long iret_called - rom, sysexit_called - rom, halt - rom, 0, shutdown - rom /* 33..37 */
	.long set_pxe - rom, 0, nothing - rom, 0, 0, 0, nothing - rom, nothing - rom, inval_page - rom, flush_tlb - rom /* ..47 */
	.long nothing - rom /* 48 */
	.fill 24, 4, 0
	.long nothing - rom /* 73 */
#else
	.fill 33, 4, 0
	.long iret_jumped - rom + 1, sysexit_jumped - rom + 1
	.fill 39, 4, 0
#endif

.macro DONE
	movl $0xdeadbeef, %ecx
	movl %ecx, %edx
	ret
.endm
.macro STUB name
	.balign 2
\name:
.endm

	STUB iret_jumped
	iret
	STUB sysexit_jumped
	sti
	sysexit
	STUB iret_called
	addl $4, %esp
	iret
	STUB sysexit_called
	addl $4, %esp
	sti
	sysexit
	STUB nothing
	movl $0xdeadbeef, %eax
	DONE
	STUB cpuid
	cpuid
	ret
	STUB set_gdt
	lgdt (%eax)
	DONE
	STUB set_idt
	lidt (%eax)
	DONE
	STUB set_ldt
	lldt %ax
	DONE
	STUB set_tr
	ltr %ax
	DONE
	STUB write_entry
	movl %ecx, (%eax,%edx,8)
	movl 4(%esp), %ecx
	movl %ecx, 4(%eax,%edx,8)
	DONE
	STUB set_cr0
	movl %eax, %cr0
	DONE
	STUB set_cr3
	movl %eax, %cr3
	DONE
	STUB set_cr4
	movl %eax, %cr4
	DONE
	STUB get_cr0
	movl %cr0, %eax
	DONE
	STUB get_cr2
	movl %cr2, %eax
	DONE
	STUB get_cr3
	movl %cr3, %eax
	DONE
	STUB get_cr4
	movl %cr4, %eax
	DONE
	STUB read_tsc
	rdtsc
	ret
	STUB enable
	sti
	ret
	STUB disable
	cli
	ret
	STUB get_mask
	pushfl
	popl %eax
	andl $0x200, %eax
	ret
	STUB set_mask
	testl $0x200, %eax
	jz disable
	sti
	ret
	STUB halt
	sti
	hlt
	DONE
	STUB shutdown
	cli
	hlt
	jmp shutdown
	STUB set_pxe
	movl %eax, (%edx)
	DONE
	STUB inval_page
	invlpg (%eax)
	DONE
	STUB flush_tlb
	testl $2, %eax
	jz 1f
	movl %cr4, %eax
	movl %eax, %ecx
	andl $~0x80, %ecx
	movl %ecx, %cr4
	movl %eax, %cr4
1:	movl %cr3, %eax
	movl %eax, %cr3
	DONE
	.balign 512
rom_end:
