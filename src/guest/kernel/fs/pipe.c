/* Pipes: one page of ring buffer between two ends. */
#include <asm/ptrace.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

struct pipe {
	u32 readers, writers;
	u32 head, used; /* first byte to read, bytes in the ring */
	u32 page;       /* frame of the ring */
	struct wait_queue wait;
};

static char *ring(struct pipe *pipe) { return __va(pipe->page << PAGE_SHIFT); }

static int pipe_read(struct file *file, u32 buffer, u32 bytes)
{
	struct pipe *pipe = file->private;
	u32 done = 0;

	if (!bytes)
		return 0;
	if (!pipe->used && pipe->writers) {
		int error = wait_event_interruptible(&pipe->wait, pipe->used || !pipe->writers);

		if (error)
			return error;
	}
	while (done < bytes && pipe->used) {
		u32 n = min_u32(min_u32(bytes - done, pipe->used), PAGE_SIZE - pipe->head);

		if (copy_to_user(buffer + done, ring(pipe) + pipe->head, n))
			return done ? (int)done : -EFAULT;
		pipe->head = (pipe->head + n) % PAGE_SIZE;
		pipe->used -= n;
		done += n;
	}
	wake_up(&pipe->wait);
	return (int)done;
}

static int pipe_write(struct file *file, u32 buffer, u32 bytes)
{
	struct pipe *pipe = file->private;
	u32 done = 0;

	while (done < bytes) {
		u32 tail, n;
		int error = wait_event_interruptible(&pipe->wait, pipe->used < PAGE_SIZE || !pipe->readers);

		if (!pipe->readers) {
			send_signal(current, SIGPIPE);
			return done ? (int)done : -EPIPE;
		}
		if (error)
			return done ? (int)done : error;
		tail = (pipe->head + pipe->used) % PAGE_SIZE;
		n = min_u32(min_u32(bytes - done, PAGE_SIZE - pipe->used), PAGE_SIZE - tail);
		if (copy_from_user(ring(pipe) + tail, buffer + done, n))
			return done ? (int)done : -EFAULT;
		pipe->used += n;
		done += n;
		wake_up(&pipe->wait);
	}
	return (int)done;
}

static void pipe_release(struct file *file)
{
	struct pipe *pipe = file->private;

	if ((file->flags & O_ACCMODE) == O_WRONLY)
		pipe->writers--;
	else
		pipe->readers--;
	wake_up(&pipe->wait);
	if (!pipe->readers && !pipe->writers) {
		put_page(pipe->page);
		kfree(pipe, sizeof(*pipe));
	}
}

static const struct file_operations pipe_fops = { .read = pipe_read, .write = pipe_write, .release = pipe_release };

int sys_pipe(struct pt_regs *regs)
{
	struct pipe *pipe = kzalloc(sizeof(*pipe));
	struct file *ends[2];
	int fds[2];

	if (!pipe || !(pipe->page = alloc_page())) {
		kfree(pipe, sizeof(*pipe));
		return -ENOMEM;
	}
	wait_queue_init(&pipe->wait);
	pipe->readers = pipe->writers = 1;
	ends[0] = file_alloc(&pipe_fops, O_RDONLY);
	ends[1] = file_alloc(&pipe_fops, O_WRONLY);
	if (!ends[0] || !ends[1]) {
		/* Nothing else holds the pipe yet. */
		kfree(ends[0], sizeof(struct file));
		kfree(ends[1], sizeof(struct file));
		put_page(pipe->page);
		kfree(pipe, sizeof(*pipe));
		return -ENOMEM;
	}
	ends[0]->private = ends[1]->private = pipe;
	fds[0] = fd_install(ends[0]);
	fds[1] = fds[0] < 0 ? -EMFILE : fd_install(ends[1]);
	if (fds[1] < 0 || copy_to_user(regs->ebx, fds, sizeof(fds))) {
		int error = fds[1] < 0 ? -EMFILE : -EFAULT;

		if (fds[0] >= 0)
			current->files->fd[fds[0]] = NULL;
		if (fds[1] >= 0)
			current->files->fd[fds[1]] = NULL;
		file_put(ends[0]);
		file_put(ends[1]);
		return error;
	}
	return 0;
}
