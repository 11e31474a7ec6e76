/* /dev/null and /dev/zero. */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/mm.h>

static int null_read(struct file *file, u32 buffer, u32 bytes)
{
	(void)file, (void)buffer, (void)bytes;
	return 0;
}

static int null_write(struct file *file, u32 buffer, u32 bytes)
{
	(void)file, (void)buffer;
	return (int)bytes;
}

static int zero_read(struct file *file, u32 buffer, u32 bytes)
{
	u32 done, n;

	(void)file;
	for (done = 0; done < bytes; done += n) {
		n = bytes - done < PAGE_SIZE ? bytes - done : PAGE_SIZE;
		if (copy_to_user(buffer + done, empty_zero_page, n))
			return -EFAULT;
	}
	return (int)done;
}

const struct file_operations null_fops = { .read = null_read, .write = null_write };
const struct file_operations zero_fops = { .read = zero_read, .write = null_write };
