/* The few files of /proc: their text is made at every read from the start. */
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/time.h>

#define TEXT_BYTES 2048

static u32 tasks_text(char *text)
{
	struct list_head *at;
	u32 n = 0;

	list_for_each(at, &all_tasks) {
		const struct task_struct *task = list_entry(at, struct task_struct, tasks);
		char state = task->state == TASK_RUNNING ? 'R' : task->state == TASK_INTERRUPTIBLE ? 'S' : 'Z';

		if (n + 48 > TEXT_BYTES)
			break;
		n += (u32)snprintf(text + n, TEXT_BYTES - n, "%5d %5d %c %s\n", task->pid, task->parent->pid, state, task->comm);
	}
	return n;
}

static int proc_read(struct file *file, u32 buffer, u32 bytes)
{
	char *text = kmalloc(TEXT_BYTES);
	u32 n = 0;
	int error = 0;

	if (!text)
		return -ENOMEM;
	if (file->entry->device == DEV_PROC_CMDLINE)
		n = (u32)snprintf(text, TEXT_BYTES, "%s\n", saved_command_line);
	else if (file->entry->device == DEV_PROC_VERSION)
		n = (u32)snprintf(text, TEXT_BYTES, "%s version %s\n", KERNEL_NAME, KERNEL_RELEASE);
	else if (file->entry->device == DEV_PROC_STAT)
		n = (u32)snprintf(text, TEXT_BYTES, "jiffies %u\nstolen %u\nfree pages %u\n", jiffies, stolen_jiffies,
				  total_pages_free);
	else
		n = tasks_text(text);
	n = file->position < n ? min_u32(bytes, n - file->position) : 0;
	if (n)
		error = copy_to_user(buffer, text + file->position, n);
	kfree(text, TEXT_BYTES);
	if (error)
		return error;
	file->position += n;
	return (int)n;
}

const struct file_operations proc_fops = { .read = proc_read };
