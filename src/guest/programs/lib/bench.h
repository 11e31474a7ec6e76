/* A microbenchmark: 16 instances as processes, each doing the same number of iterations. */
#ifndef BENCH_H
#define BENCH_H

#include "libc.h"

#define INSTANCES 16

/* Runs one instance; 0 when everything that it checks was right. */
typedef int (*bench_body)(u32 iterations);

/*
 * Forks the instances, waits for all, prints one line. Iterations come from argv[1], from ITERATIONS ("iterations=" on the
 * kernel's command line), or are `iterations_default`. Returns main's exit code.
 */
int bench_main(const char *name, int argc, char **argv, u32 iterations_default, bench_body body);

#endif
