/*
 * The console's line discipline: echo, backspace, ^U, ^C, ^D; readers get whole lines. Bytes come from the interrupt and are
 * only queued there; the reader edits them, so that echo never mixes into the middle of another task's output.
 */
#include <asm/irqflags.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

#define QUEUE_BYTES 256
#define LINE_BYTES 256

static char queue[QUEUE_BYTES];
static volatile u32 queue_head, queue_used;
static WAIT_QUEUE(readers);
static char line[LINE_BYTES];
static u32 line_length, line_given; /* a finished line: bytes, and how many of them were read */
static int line_done;

void tty_receive(char c)
{
	if (queue_used < QUEUE_BYTES)
		queue[(queue_head + queue_used++) % QUEUE_BYTES] = c;
	wake_up(&readers);
}

static int next_byte(char *c)
{
	u32 flags = local_irq_save();
	int got = queue_used != 0;

	if (got) {
		*c = queue[queue_head];
		queue_head = (queue_head + 1) % QUEUE_BYTES;
		queue_used--;
	}
	local_irq_restore(flags);
	return got;
}

static void put(char c)
{
	if (c == '\n')
		serial_putc('\r');
	serial_putc(c);
}

static void erase_one(void)
{
	line_length--;
	put('\b'), put(' '), put('\b');
}

static void edit(char c)
{
	if (c == '\r' || c == '\n') {
		put('\n');
		line[line_length++] = '\n';
		line_done = 1;
	} else if (c == '\b' || c == 0x7f) {
		if (line_length)
			erase_one();
	} else if (c == 0x15) { /* ^U */
		while (line_length)
			erase_one();
	} else if (c == 0x03) { /* ^C: an empty line; there is no process group to interrupt */
		put('^'), put('C'), put('\n');
		line_length = 0;
		line[line_length++] = '\n';
		line_done = 1;
	} else if (c == 0x04) { /* ^D: what there is, or the end of the file */
		line_done = 1;
	} else if (c >= ' ' && line_length < LINE_BYTES - 1) {
		line[line_length++] = c;
		put(c);
	}
}

static int console_read(struct file *file, u32 buffer, u32 bytes)
{
	u32 n;
	char c = 0;

	(void)file;
	while (!line_done) {
		int error = wait_event_interruptible(&readers, queue_used != 0);

		if (error)
			return error;
		while (!line_done && next_byte(&c))
			edit(c);
	}
	n = min_u32(bytes, line_length - line_given);
	if (copy_to_user(buffer, line + line_given, n))
		return -EFAULT;
	line_given += n;
	if (line_given == line_length)
		line_length = line_given = 0, line_done = 0;
	return (int)n;
}

static int console_write(struct file *file, u32 buffer, u32 bytes)
{
	char piece[128];
	u32 done, n, i;

	(void)file;
	for (done = 0; done < bytes; done += n) {
		n = min_u32(bytes - done, sizeof(piece));
		if (copy_from_user(piece, buffer + done, n))
			return -EFAULT;
		for (i = 0; i < n; i++)
			put(piece[i]);
	}
	return (int)done;
}

const struct file_operations console_fops = { .read = console_read, .write = console_write };
