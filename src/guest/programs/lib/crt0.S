/* Start of a program: the kernel leaves argc, argv, 0, envp, 0 on the stack. */
	.text
	.globl _start
_start:
	xorl %ebp, %ebp
	movl (%esp), %eax
	leal 4(%esp), %edx
	leal 8(%esp,%eax,4), %ecx
	movl %ecx, environ
	andl $~15, %esp
	subl $8, %esp
	pushl %edx
	pushl %eax
	call main
	movl %eax, %ebx
	movl $252, %eax
	int $0x80
	hlt

/* int syscall(int number, ...): the kernel chose the instruction that leads into it; the page at its top holds it. */
	.globl syscall
syscall:
	pushl %ebx
	pushl %esi
	pushl %edi
	movl 16(%esp), %eax
	movl 20(%esp), %ebx
	movl 24(%esp), %ecx
	movl 28(%esp), %edx
	movl 32(%esp), %esi
	movl 36(%esp), %edi
	call *vsyscall_entry
	popl %edi
	popl %esi
	popl %ebx
	ret
	.section .rodata
vsyscall_entry:
	.long 0xbfffe000
	.text

/*
 * int thread_clone(unsigned flags, void *stack, int *parent_tid, int *child_tid, void (*start)(void *), void *argument)
 * The child has a stack of its own, so it cannot come back through the vsyscall page: INT 0x80 in place.
 */
	.globl thread_clone
thread_clone:
	pushl %ebx
	pushl %esi
	pushl %edi
	movl 20(%esp), %ecx
	movl 32(%esp), %eax
	movl 36(%esp), %edx
	subl $8, %ecx
	movl %eax, (%ecx)
	movl %edx, 4(%ecx)
	movl 16(%esp), %ebx
	movl 24(%esp), %edx
	xorl %esi, %esi
	movl 28(%esp), %edi
	movl $120, %eax
	int $0x80
	testl %eax, %eax
	jz 1f
	popl %edi
	popl %esi
	popl %ebx
	ret
1:	popl %eax
	xorl %ebp, %ebp
	call *%eax
	xorl %ebx, %ebx
	movl $1, %eax
	int $0x80

/* int setjmp(jmp_buf), void longjmp(jmp_buf, int): EBX ESI EDI EBP ESP EIP. The signal mask is not kept: use SA_NODEFER. */
	.globl setjmp, longjmp
setjmp:
	movl 4(%esp), %edx
	movl %ebx, (%edx)
	movl %esi, 4(%edx)
	movl %edi, 8(%edx)
	movl %ebp, 12(%edx)
	leal 4(%esp), %ecx
	movl %ecx, 16(%edx)
	movl (%esp), %ecx
	movl %ecx, 20(%edx)
	xorl %eax, %eax
	ret
longjmp:
	movl 4(%esp), %edx
	movl 8(%esp), %eax
	movl (%edx), %ebx
	movl 4(%edx), %esi
	movl 8(%edx), %edi
	movl 12(%edx), %ebp
	movl 16(%edx), %esp
	jmp *20(%edx)
