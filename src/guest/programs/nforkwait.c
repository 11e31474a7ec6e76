/* nforkwait: fork a child that ends at once, wait for it, again. */
#include "lib/bench.h"

static int body(u32 iterations)
{
	u32 i;

	for (i = 0; i < iterations; i++) {
		int code = (int)(i * 7 & 0x7f), status, pid = fork();

		if (pid < 0)
			return 1;
		if (!pid)
			exit(code);
		if (waitpid(pid, &status, 0) != pid || status != code << 8)
			return 1;
	}
	return waitpid(-1, NULL, 0) != -ECHILD;
}

int main(int argc, char **argv)
{
	return bench_main("nforkwait", argc, argv, 20, body);
}
