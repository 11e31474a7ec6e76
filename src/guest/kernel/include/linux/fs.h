/* Files. The file system is the archive in the kernel image: read-only, held in RAM, plus devices and /proc. */
#ifndef LINUX_FS_H
#define LINUX_FS_H

#include <linux/types.h>

#define NR_OPEN 16
#define O_ACCMODE 3
#define O_RDONLY 0
#define O_WRONLY 1
#define O_RDWR 2
#define O_CREAT 0x40

#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFREG 0100000
#define S_IFIFO 0010000

struct file;

struct file_operations {
	int (*read)(struct file *file, u32 buffer, u32 bytes);
	int (*write)(struct file *file, u32 buffer, u32 bytes);
	void (*release)(struct file *file);
};

/* An entry of the archive, made by the build: names are full paths, sorted. */
struct ramfs_entry {
	const char *path;
	const u8 *data;
	u32 bytes;
	u32 mode;
	u32 device; /* character devices: DEV_* */
};

#define DEV_CONSOLE 1
#define DEV_NULL 2
#define DEV_VMMLOG 3
#define DEV_ZERO 4
#define DEV_PROC_CMDLINE 10
#define DEV_PROC_TASKS 11
#define DEV_PROC_VERSION 12
#define DEV_PROC_STAT 13

extern const struct ramfs_entry ramfs_entries[];
extern const u32 ramfs_entry_count;

struct file {
	u32 count;
	u32 flags;
	u32 position;
	const struct file_operations *ops;
	const struct ramfs_entry *entry;
	void *private;
};

struct files_struct {
	u32 count;
	struct file *fd[NR_OPEN];
};

const struct ramfs_entry *ramfs_lookup(const char *path);
struct file *file_alloc(const struct file_operations *ops, u32 flags);
void file_put(struct file *file);
struct file *fd_file(u32 fd);
int fd_install(struct file *file);
int open_path(const char *path, u32 flags);
struct files_struct *files_alloc(void);
struct files_struct *files_copy(struct files_struct *from);
void files_put(struct files_struct *files);

extern const struct file_operations console_fops, null_fops, zero_fops, vmmlog_fops, proc_fops;

#endif
