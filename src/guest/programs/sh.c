/* sh: lines from the console or from a script, programs by name with arguments, `;` between commands, a few built-ins. */
#include "lib/libc.h"

#define WORDS_MAX 16
#define LINE_BYTES 256

static int interactive;

static int copy_file(const char *path)
{
	char buffer[512];
	int fd = open(path, O_RDONLY), n;

	if (fd < 0) {
		printf("%s: not found\n", path);
		return 1;
	}
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		write(1, buffer, (size_t)n);
	close(fd);
	if (n < 0)
		printf("%s: cannot read\n", path);
	return n < 0;
}

struct dirent {
	u32 inode, offset;
	unsigned short length;
	char name[];
};

static int list_directory(const char *path)
{
	char buffer[512];
	int fd = open(path, O_RDONLY), n, at;

	if (fd < 0) {
		printf("%s: not found\n", path);
		return 1;
	}
	while ((n = syscall(SYS_getdents, fd, buffer, sizeof(buffer))) > 0)
		for (at = 0; at < n; at += ((struct dirent *)(buffer + at))->length)
			printf("%s\n", ((struct dirent *)(buffer + at))->name);
	close(fd);
	return 0;
}

static void echo(char **words)
{
	int first = 1;

	while (*++words) {
		printf("%s%s", first ? "" : " ", *words);
		first = 0;
	}
	printf("\n");
}

static void help(void)
{
	printf("built in: help ls ps cat echo exit halt poweroff\nprograms:\n");
	list_directory("/bin");
}

/* 1 if the shell itself did it. */
static int built_in(char **words)
{
	const char *name = words[0];

	if (!strcmp(name, "help"))
		help();
	else if (!strcmp(name, "ls"))
		list_directory(words[1] ? words[1] : "/");
	else if (!strcmp(name, "ps")) {
		printf("  PID  PPID S COMMAND\n");
		copy_file("/proc/tasks");
	} else if (!strcmp(name, "cat")) {
		while (*++words)
			copy_file(*words);
	} else if (!strcmp(name, "echo"))
		echo(words);
	else if (!strcmp(name, "exit"))
		exit((int)parse_number(words[1], 0));
	else if (!strcmp(name, "halt") || !strcmp(name, "poweroff"))
		power_off();
	else
		return 0;
	return 1;
}

static void run_command(char *command)
{
	char *words[WORDS_MAX + 1];
	int n = 0;

	while (*command && n < WORDS_MAX) {
		while (*command == ' ' || *command == '\t')
			*command++ = 0;
		if (!*command)
			break;
		words[n++] = command;
		while (*command && *command != ' ' && *command != '\t')
			command++;
	}
	*command = 0;
	words[n] = NULL;
	if (!n || words[0][0] == '#' || built_in(words))
		return;
	if (interactive)
		run_reported(words);
	else
		run_program(words);
}

static void run_line(char *line)
{
	char *semicolon;

	if (*line == '#')
		return;
	while ((semicolon = strchr(line, ';'))) {
		*semicolon = 0;
		run_command(line);
		line = semicolon + 1;
	}
	run_command(line);
}

/* A line without its newline; 0 at the end of the input. */
static int read_line(int fd, char *line)
{
	int n = 0, got;

	while ((got = read(fd, line + n, 1)) == 1 && line[n] != '\n')
		if (n < LINE_BYTES - 1)
			n++;
	line[n] = 0;
	return got == 1 || n;
}

int main(int argc, char **argv)
{
	char line[LINE_BYTES];
	int fd = 0;

	if (argc > 1) {
		fd = open(argv[1], O_RDONLY);
		if (fd < 0) {
			printf("sh: %s: not found\n", argv[1]);
			return 127;
		}
	}
	interactive = argc == 1;
	for (;;) {
		if (interactive)
			printf("# ");
		if (!read_line(fd, line))
			break;
		run_line(line);
	}
	return 0;
}
