/* spin: arithmetic in user mode and nothing else. Every instance has to come to the same sum. */
#include "lib/bench.h"

#define STEPS 1000

static u32 spin(u32 iterations)
{
	u32 state = 2463534242u, sum = 0, i, k;

	for (i = 0; i < iterations; i++)
		for (k = 0; k < STEPS; k++) {
			state ^= state << 13;
			state ^= state >> 17;
			state ^= state << 5;
			sum += state;
		}
	return sum;
}

/* Pipe to the parent: the sum is worked out by the instances, then compared. */
static int sums[2];

static int body(u32 iterations)
{
	u32 sum = spin(iterations);

	return write(sums[1], &sum, sizeof(sum)) != sizeof(sum);
}

int main(int argc, char **argv)
{
	u32 first = 0, sum;
	int code, i;

	pipe(sums);
	code = bench_main("spin", argc, argv, 60, body);
	for (i = 0; !code && i < INSTANCES; i++) {
		if (read(sums[0], &sum, sizeof(sum)) != sizeof(sum) || (i && sum != first))
			code = 1;
		first = sum;
	}
	printf("spin: checksum %08x%s\n", first, code ? " DIFFERS" : "");
	return code;
}
