/* mount: says what the kernel has mounted; it checks that the file that makes a file system usable is there. */
#include "lib/libc.h"

int main(int argc, char **argv)
{
	int fd;

	if (argc != 3) {
		printf("usage: mount TYPE PROBE-FILE\n");
		return 2;
	}
	fd = open(argv[2], O_RDONLY);
	if (fd < 0) {
		printf("mount: %s: no %s\n", argv[1], argv[2]);
		return 1;
	}
	printf("mount: %s: ready\n", argv[1]);
	return 0;
}
