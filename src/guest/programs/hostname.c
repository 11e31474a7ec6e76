/* hostname, uname: what the kernel calls itself. */
#include "lib/libc.h"

#define FIELD 65

int main(int argc, char **argv)
{
	char names[6 * FIELD];

	(void)argc, (void)argv;
	if (syscall(SYS_uname, names) < 0)
		return 1;
	printf("%s %s %s\n", names, names + FIELD, names + 2 * FIELD);
	return 0;
}
