/* Copies between kernel and user memory. A fault on the user side ends the copy by way of the exception table. */
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/mm.h>

static int user_range(u32 at, u32 bytes)
{
	return at < TASK_SIZE && bytes <= TASK_SIZE - at;
}

/* Words, then the bytes that are left; returns 0 or -EFAULT. */
static int copy_bytes(void *to, const void *from, u32 bytes)
{
	u32 d0, d1, d2;
	int error = 0;

	__asm__ volatile("1:	rep; movsl\n\t"
			 "movl %4, %%ecx\n\t"
			 "andl $3, %%ecx\n"
			 "2:	rep; movsb\n"
			 "3:\n\t"
			 ".pushsection .text.fixup, \"ax\"\n"
			 "4:	movl %5, %3\n\t"
			 "jmp 3b\n\t"
			 ".popsection\n\t"
			 ".pushsection .ex_table, \"a\"\n\t"
			 ".long 1b, 4b, 2b, 4b\n\t"
			 ".popsection"
			 : "=&c"(d0), "=&D"(d1), "=&S"(d2), "+m"(error)
			 : "m"(bytes), "i"(-EFAULT), "0"(bytes / 4), "1"(to), "2"(from)
			 : "memory", "cc");
	return error;
}

int copy_from_user(void *to, u32 from, u32 bytes)
{
	return user_range(from, bytes) ? copy_bytes(to, (const void *)from, bytes) : -EFAULT;
}

int copy_to_user(u32 to, const void *from, u32 bytes)
{
	return user_range(to, bytes) ? copy_bytes((void *)to, from, bytes) : -EFAULT;
}

int get_user(u32 *value, u32 from) { return copy_from_user(value, from, 4); }
int put_user(u32 to, u32 value) { return copy_to_user(to, &value, 4); }

int strncpy_from_user(char *to, u32 from, u32 max)
{
	u32 n;

	for (n = 0; n < max; n++) {
		if (copy_from_user(to + n, from + n, 1))
			return -EFAULT;
		if (!to[n])
			return n;
	}
	return max;
}
