/* Open files, descriptors and the calls on them. */
#include <asm/ptrace.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

struct file *file_alloc(const struct file_operations *ops, u32 flags)
{
	struct file *file = kzalloc(sizeof(*file));

	if (file) {
		file->count = 1;
		file->ops = ops;
		file->flags = flags;
	}
	return file;
}

void file_put(struct file *file)
{
	if (--file->count)
		return;
	if (file->ops->release)
		file->ops->release(file);
	kfree(file, sizeof(*file));
}

struct files_struct *files_alloc(void)
{
	struct files_struct *files = kzalloc(sizeof(*files));

	if (files)
		files->count = 1;
	return files;
}

struct files_struct *files_copy(struct files_struct *from)
{
	struct files_struct *files = kmalloc(sizeof(*files));
	u32 i;

	if (!files)
		return NULL;
	*files = *from;
	files->count = 1;
	for (i = 0; i < NR_OPEN; i++)
		if (files->fd[i])
			files->fd[i]->count++;
	return files;
}

void files_put(struct files_struct *files)
{
	u32 i;

	if (--files->count)
		return;
	for (i = 0; i < NR_OPEN; i++)
		if (files->fd[i])
			file_put(files->fd[i]);
	kfree(files, sizeof(*files));
}

struct file *fd_file(u32 fd)
{
	return fd < NR_OPEN ? current->files->fd[fd] : NULL;
}

int fd_install(struct file *file)
{
	u32 fd;

	for (fd = 0; fd < NR_OPEN; fd++)
		if (!current->files->fd[fd]) {
			current->files->fd[fd] = file;
			return (int)fd;
		}
	return -EMFILE;
}

int sys_open(struct pt_regs *regs)
{
	char path[128];
	int length = strncpy_from_user(path, regs->ebx, sizeof(path));

	if (length < 0)
		return length;
	return length == sizeof(path) ? -EINVAL : open_path(path, regs->ecx);
}

int sys_close(struct pt_regs *regs)
{
	struct file *file = fd_file(regs->ebx);

	if (!file)
		return -EBADF;
	current->files->fd[regs->ebx] = NULL;
	file_put(file);
	return 0;
}

int sys_dup2(struct pt_regs *regs)
{
	struct file *file = fd_file(regs->ebx), *old;
	u32 to = regs->ecx;

	if (!file || to >= NR_OPEN)
		return -EBADF;
	old = current->files->fd[to];
	if (old == file)
		return (int)to;
	file->count++;
	current->files->fd[to] = file;
	if (old)
		file_put(old);
	return (int)to;
}

int sys_read(struct pt_regs *regs)
{
	struct file *file = fd_file(regs->ebx);

	if (!file || (file->flags & O_ACCMODE) == O_WRONLY)
		return -EBADF;
	return file->ops->read ? file->ops->read(file, regs->ecx, regs->edx) : -EINVAL;
}

int sys_write(struct pt_regs *regs)
{
	struct file *file = fd_file(regs->ebx);

	if (!file || (file->flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	return file->ops->write ? file->ops->write(file, regs->ecx, regs->edx) : -EINVAL;
}

int sys_lseek(struct pt_regs *regs)
{
	struct file *file = fd_file(regs->ebx);
	u32 base = 0;

	if (!file)
		return -EBADF;
	if (!file->entry || (file->entry->mode & S_IFMT) != S_IFREG)
		return -ESPIPE;
	if (regs->edx == 1)
		base = file->position;
	else if (regs->edx == 2)
		base = file->entry->bytes;
	else if (regs->edx != 0)
		return -EINVAL;
	if ((s32)(base + regs->ecx) < 0)
		return -EINVAL;
	file->position = base + regs->ecx;
	return (int)file->position;
}
