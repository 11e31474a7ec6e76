/* echo: the words of the command line. */
#include "lib/libc.h"

int main(int argc, char **argv)
{
	char line[256];
	u32 n = 0;
	int i;

	line[0] = 0;
	for (i = 1; i < argc && n < sizeof(line) - 2; i++)
		n += (u32)snprintf(line + n, sizeof(line) - n - 1, "%s%s", i > 1 ? " " : "", argv[i]);
	printf("%s\n", line);
	return 0;
}
