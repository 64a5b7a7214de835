/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Times attach + detach of net_null in a plain DPDK application.
 * Prints the nanoseconds of each cycle, one per line.
 *
 * usage: bench-attach CYCLES
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>

#define WARM_UP 5000

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void cycle(void)
{
	if (rte_eal_hotplug_add("vdev", "net_null0", "") != 0 ||
	    rte_eal_hotplug_remove("vdev", "net_null0") != 0) {
		fprintf(stderr, "attach or detach failed\n");
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	char prefix[64];
	char *eal[] = {
		argv[0],	   (char *)"--no-huge",	    (char *)"-m", (char *)"64",
		(char *)"--no-pci", (char *)"--file-prefix", prefix,	  (char *)"--log-level=4",
	};
	int cycles = argc == 2 ? atoi(argv[1]) : 0;
	long long *times;

	if (cycles <= 0) {
		fprintf(stderr, "usage: %s CYCLES\n", argv[0]);
		return EXIT_FAILURE;
	}
	times = calloc((size_t)cycles, sizeof(*times));
	snprintf(prefix, sizeof(prefix), "hotplug_bench_%d", (int)getpid());
	if (times == NULL || rte_eal_init(8, eal) < 0)
		return EXIT_FAILURE;
	for (int i = 0; i < WARM_UP; i++)
		cycle();
	for (int i = 0; i < cycles; i++) {
		long long start = now();

		cycle();
		times[i] = now() - start;
	}
	for (int i = 0; i < cycles; i++)
		printf("%lld\n", times[i]);
	free(times);
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
