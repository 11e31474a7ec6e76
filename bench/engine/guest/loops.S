/* Loops whose instructions are counted: the benchmark derives instructions per second from them. */
	.text

/* `u32 integer_loop(count)`: ten instructions each time round. */
	.globl integer_loop
integer_loop:
	pushl %ebx
	pushl %esi
	pushl %edi
	movl %eax, %ecx
	movl $0x12345678, %eax
	movl $0x9e3779b9, %edx
	xorl %ebx, %ebx
	movl $7, %esi
	xorl %edi, %edi
	.align 16
1:	addl %edx, %eax
	xorl %esi, %eax
	roll $5, %eax
	leal 3(%eax, %ebx, 2), %ebx
	subl %ecx, %edx
	shrl $1, %esi
	adcl %ebx, %esi
	addl %esi, %edi
	decl %ecx
	jnz 1b
	movl %edi, %eax
	xorl %ebx, %eax
	popl %edi
	popl %esi
	popl %ebx
	ret

/* `u32 chase(node, hops)`: each node holds the address of the next one. */
	.globl chase
	.align 16
chase:
1:	movl (%eax), %eax
	decl %edx
	jnz 1b
	ret

/* `u32 divide_loop(count)`: each division faults; the handler skips it and counts. */
	.globl divide_loop
divide_loop:
	pushl %ebx
	movl %eax, %ebx
	xorl %ecx, %ecx
	xorl %edx, %edx
	movl $1, %eax
1:	divl %ecx
	incl %eax
	decl %ebx
	jnz 1b
	popl %ebx
	ret
