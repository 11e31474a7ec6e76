#include "bench.h"

int bench_main(const char *name, int argc, char **argv, u32 iterations_default, bench_body body)
{
	u32 iterations = parse_number(argc > 1 ? argv[1] : getenv("iterations"), iterations_default);
	int failed = 0, started, i, status;

	for (started = 0; started < INSTANCES; started++) {
		int pid = fork();

		if (pid < 0)
			break;
		if (!pid)
			exit(body(iterations));
	}
	for (i = 0; i < started; i++)
		if (waitpid(-1, &status, 0) < 0 || status)
			failed++;
	if (failed || started < INSTANCES) {
		printf("%s: %d instances started, %d failed\n", name, started, failed);
		return 1;
	}
	printf("%s: %d instances x %u iterations: ok\n", name, INSTANCES, iterations);
	return 0;
}
