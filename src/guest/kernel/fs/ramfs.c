/*
 * The file system: entries of the archive that the build put into the image, sorted by path. Files are read-only; what is
 * written goes to devices.
 */
#include <asm/ptrace.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

const struct ramfs_entry *ramfs_lookup(const char *path)
{
	u32 from = 0, to = ramfs_entry_count;

	while (from < to) {
		u32 middle = (from + to) / 2;
		int order = strcmp(path, ramfs_entries[middle].path);

		if (!order)
			return &ramfs_entries[middle];
		if (order < 0)
			to = middle;
		else
			from = middle + 1;
	}
	return NULL;
}

static int regular_read(struct file *file, u32 buffer, u32 bytes)
{
	const struct ramfs_entry *entry = file->entry;
	u32 n;

	if (file->position >= entry->bytes)
		return 0;
	n = min_u32(bytes, entry->bytes - file->position);
	if (copy_to_user(buffer, entry->data + file->position, n))
		return -EFAULT;
	file->position += n;
	return (int)n;
}

static int directory_read(struct file *file, u32 buffer, u32 bytes)
{
	(void)file, (void)buffer, (void)bytes;
	return -EISDIR;
}

static const struct file_operations regular_fops = { .read = regular_read };
static const struct file_operations directory_fops = { .read = directory_read };

static const struct file_operations *device_operations(u32 device)
{
	switch (device) {
	case DEV_CONSOLE:
		return &console_fops;
	case DEV_NULL:
		return &null_fops;
	case DEV_ZERO:
		return &zero_fops;
	case DEV_VMMLOG:
		return &vmmlog_fops;
	default:
		return &proc_fops;
	}
}

int open_path(const char *path, u32 flags)
{
	const struct ramfs_entry *entry = ramfs_lookup(path);
	const struct file_operations *ops;
	struct file *file;
	int fd;

	if (!entry)
		return flags & O_CREAT ? -EROFS : -ENOENT;
	if ((entry->mode & S_IFMT) == S_IFCHR)
		ops = device_operations(entry->device);
	else if ((flags & O_ACCMODE) != O_RDONLY)
		return (entry->mode & S_IFMT) == S_IFDIR ? -EISDIR : -EROFS;
	else
		ops = (entry->mode & S_IFMT) == S_IFDIR ? &directory_fops : &regular_fops;
	file = file_alloc(ops, flags);
	if (!file)
		return -ENOMEM;
	file->entry = entry;
	fd = fd_install(file);
	if (fd < 0)
		file_put(file);
	return fd;
}

/* The name of `entry` if it lies directly in `directory`, else NULL. */
static const char *name_in(const struct ramfs_entry *entry, const char *directory)
{
	size_t n = strlen(directory);
	const char *name = entry->path + n;

	if (n == 1)
		n = 0, name = entry->path; /* the root's own slash begins every name */
	if (strncmp(entry->path, directory, n) != 0 || *name != '/' || !name[1] || strchr(name + 1, '/'))
		return NULL;
	return name + 1;
}

struct dirent {
	u32 inode, offset;
	u16 length;
	char name[70];
};

/* file->position counts entries of the archive. */
int sys_getdents(struct pt_regs *regs)
{
	struct file *file = fd_file(regs->ebx);
	u32 at = regs->ecx, room = regs->edx;

	if (!file || !file->entry)
		return -EBADF;
	if ((file->entry->mode & S_IFMT) != S_IFDIR)
		return -ENOTDIR;
	for (; file->position < ramfs_entry_count; file->position++) {
		const char *name = name_in(&ramfs_entries[file->position], file->entry->path);
		struct dirent dirent;
		u32 n;

		if (!name)
			continue;
		n = min_u32(strlen(name), sizeof(dirent.name) - 2);
		dirent.inode = file->position + 1;
		dirent.offset = file->position + 1;
		dirent.length = (u16)((offsetof(struct dirent, name) + n + 2 + 3) & ~3u);
		memcpy(dirent.name, name, n);
		dirent.name[n] = 0;
		if (dirent.length > room)
			break;
		if (copy_to_user(at, &dirent, dirent.length))
			return -EFAULT;
		at += dirent.length;
		room -= dirent.length;
	}
	return (int)(regs->edx - room);
}
