/* execve: static ELF32 programs (System V ABI, i386 supplement), mapped straight from the archive. */
#include <asm/ptrace.h>
#include <linux/errno.h>
#include <linux/fs.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/sched.h>

struct elf_header {
	u8 ident[16];
	u16 type, machine;
	u32 version, entry, phoff, shoff, flags;
	u16 ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};

struct elf_phdr {
	u32 type, offset, vaddr, paddr, filesz, memsz, flags, align;
};

#define ET_EXEC 2
#define EM_386 3
#define PT_LOAD 1
#define PF_X 1
#define PF_W 2
#define PF_R 4
#define ARGUMENTS_MAX 32

/* Arguments and environment on their way to the new stack: strings end to end, then how many belong to which. */
struct strings {
	u32 argc, envc, bytes;
	char text[PAGE_SIZE - 12];
};

static int add_string(struct strings *s, u32 from, int user)
{
	u32 room = sizeof(s->text) - s->bytes;
	int n;

	if (user) {
		n = strncpy_from_user(s->text + s->bytes, from, room);
		if (n < 0)
			return n;
	} else {
		n = (int)min_u32(strlen((const char *)from), room);
		if ((u32)n < room)
			memcpy(s->text + s->bytes, (const char *)from, (u32)n + 1);
	}
	if ((u32)n == room)
		return -E2BIG;
	s->bytes += (u32)n + 1;
	return 0;
}

static int add_list(struct strings *s, u32 list, int user, u32 *count)
{
	u32 at;
	int error;

	for (*count = 0; list; ++*count, list += 4) {
		if (user) {
			if (get_user(&at, list))
				return -EFAULT;
		} else {
			at = *(const u32 *)list;
		}
		if (!at)
			break;
		if (*count == ARGUMENTS_MAX)
			return -E2BIG;
		error = add_string(s, at, user);
		if (error)
			return error;
	}
	return 0;
}

static const struct elf_header *check_elf(const struct ramfs_entry *entry)
{
	const struct elf_header *elf = (const struct elf_header *)entry->data;

	if (entry->bytes < sizeof(*elf) || memcmp(elf->ident, "\177ELF\1\1", 6) || elf->type != ET_EXEC ||
	    elf->machine != EM_386 || elf->phentsize != sizeof(struct elf_phdr) ||
	    elf->phoff > entry->bytes || elf->phnum > (entry->bytes - elf->phoff) / sizeof(struct elf_phdr))
		return NULL;
	return elf;
}

static int map_segments(struct mm_struct *mm, const struct ramfs_entry *entry, const struct elf_header *elf)
{
	const struct elf_phdr *segment = (const struct elf_phdr *)(entry->data + elf->phoff);
	u32 i;

	for (i = 0; i < elf->phnum; i++, segment++) {
		u32 skew = segment->vaddr & (PAGE_SIZE - 1), start = segment->vaddr - skew;
		u32 end = page_align(segment->vaddr + segment->memsz), flags;

		if (segment->type != PT_LOAD || !segment->memsz)
			continue;
		if (segment->filesz > segment->memsz || segment->offset > entry->bytes ||
		    segment->filesz > entry->bytes - segment->offset || (segment->offset & (PAGE_SIZE - 1)) != skew ||
		    end < start)
			return -ENOEXEC;
		flags = (segment->flags & PF_R ? VM_READ : 0) | (segment->flags & PF_W ? VM_WRITE : 0) |
			(segment->flags & PF_X ? VM_EXEC : 0);
		if (mm_add_area(mm, start, end, flags, entry->data + segment->offset - skew,
				segment->filesz ? segment->filesz + skew : 0))
			return -ENOEXEC;
		mm->start_brk = mm->brk = max_u32(mm->brk, end);
	}
	return 0;
}

/* `count` addresses of strings that lie end to end from `*text` on, then a NULL; moves both cursors. */
static int put_vector(u32 *to, u32 count, const struct strings *s, u32 text, u32 *at)
{
	for (; count; count--, *to += 4) {
		if (put_user(*to, text + *at))
			return -EFAULT;
		*at += strlen(s->text + *at) + 1;
	}
	*to += 4;
	return put_user(*to - 4, 0);
}

/* Writes the strings and, below them, argc, argv, NULL, envp, NULL; returns the stack pointer or 0. */
static u32 build_stack(const struct strings *s)
{
	u32 text = STACK_TOP - ((s->bytes + 15) & ~15u), words = s->argc + s->envc + 3, at = 0;
	u32 esp = (text - words * 4) & ~15u, to = esp + 4;

	if (copy_to_user(text, s->text, s->bytes) || put_user(esp, s->argc))
		return 0;
	if (put_vector(&to, s->argc, s, text, &at) || put_vector(&to, s->envc, s, text, &at))
		return 0;
	return esp;
}

static void reset_signals(void)
{
	u32 i;

	for (i = 0; i < NSIG; i++)
		if (current->sighand->action[i].handler != SIG_IGN)
			memset(&current->sighand->action[i], 0, sizeof(struct k_sigaction));
}

static int load(const char *path, struct strings *strings, struct pt_regs *regs)
{
	const struct ramfs_entry *entry = ramfs_lookup(path);
	const struct elf_header *elf;
	struct mm_struct *mm;
	const char *name;
	u32 esp;

	if (!entry)
		return -ENOENT;
	if ((entry->mode & S_IFMT) != S_IFREG || !(entry->mode & 0111))
		return -EACCES;
	elf = check_elf(entry);
	if (!elf)
		return -ENOEXEC;
	mm = mm_alloc();
	if (!mm)
		return -ENOMEM;
	if (map_segments(mm, entry, elf) ||
	    mm_add_area(mm, STACK_TOP - STACK_BYTES, STACK_TOP, VM_READ | VM_WRITE, NULL, 0) ||
	    mm_add_area(mm, VSYSCALL_BASE, VSYSCALL_BASE + PAGE_SIZE, VM_READ | VM_EXEC | VM_VSYSCALL, NULL, 0)) {
		mmput(mm);
		return -ENOEXEC;
	}
	/* From here on there is no way back to the old program. */
	activate_mm(mm);
	reset_signals();
	for (name = path; *path; path++)
		if (*path == '/')
			name = path + 1;
	snprintf(current->comm, sizeof(current->comm), "%s", name);
	esp = build_stack(strings);
	if (!esp)
		do_group_exit(SIGKILL);
	start_thread(regs, elf->entry, esp);
	return 0;
}

int do_execve(const char *path, const char *const *argv, const char *const *envp, int user_strings, struct pt_regs *regs)
{
	struct strings *strings = kmalloc(sizeof(*strings));
	int error;

	if (!strings)
		return -ENOMEM;
	strings->bytes = 0;
	error = add_list(strings, (u32)argv, user_strings, &strings->argc);
	if (!error)
		error = add_list(strings, (u32)envp, user_strings, &strings->envc);
	if (!error)
		error = load(path, strings, regs);
	kfree(strings, sizeof(*strings));
	return error;
}

int sys_execve(struct pt_regs *regs)
{
	char path[128];
	int length = strncpy_from_user(path, regs->ebx, sizeof(path));

	if (length < 0)
		return length;
	if (length == sizeof(path))
		return -EINVAL;
	return do_execve(path, (const char *const *)regs->ecx, (const char *const *)regs->edx, 1, regs);
}
