/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Times attach + detach of one PCI function in a tree of directories and files (SYSFS_PCI_DEVICES):
 * with BENCH_EMBEDDED by the library's own runtime, else by stock DPDK. Prints the nanoseconds of each
 * cycle, one per line.
 *
 * usage: bench-pci FUNCTION CYCLES [--no-pci]        (with it, the bus is empty at first)
 */

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef BENCH_EMBEDDED
#include <rte_hotplug.h>
#else
#include <rte_dev.h>
#include <rte_eal.h>

#include "../events/pci_driver.h"
#endif

static bool attached;

#ifdef BENCH_EMBEDDED
static int take(struct rte_device *device, void *user)
{
	(void)device, (void)user;
	attached = true;
	return 0;
}

static int drop(struct rte_device *device, void *user)
{
	(void)device, (void)user;
	attached = false;
	return 0;
}

static void register_driver(void)
{
	static const struct rte_hotplug_pci_id ids[] = {
		{ RTE_HOTPLUG_PCI_ANY_CLASS, 0x1af4, 0x10f0, RTE_HOTPLUG_PCI_ANY_ID,
		  RTE_HOTPLUG_PCI_ANY_ID },
		{ 0 },
	};
	const struct rte_hotplug_driver_options options = {
		.size = sizeof(options),
		.name = "bench",
		.bus = "pci",
		.probe = take,
		.remove = drop,
		.pci_ids = ids,
	};

	if (rte_hotplug_driver_register(&options, NULL) != 0)
		abort();
}
#else
static int take(struct rte_pci_driver *driver, struct rte_pci_device *device)
{
	(void)driver, (void)device;
	attached = true;
	return 0;
}

static int drop(struct rte_pci_device *device)
{
	(void)device;
	attached = false;
	return 0;
}

static void register_driver(void)
{
	static const struct pci_id ids[] = { { 0xffffff, 0x1af4, 0x10f0, 0xffff, 0xffff }, { 0 } };
	static struct rte_pci_driver driver = {
		.driver = { .name = "bench" },
		.probe = take,
		.remove = drop,
		.id_table = ids,
	};

	rte_pci_register(&driver);
}
#endif

static long long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000LL + time.tv_nsec;
}

static void cycle(const char *function)
{
	if (rte_eal_hotplug_add("pci", function, "") != 0 || !attached ||
	    rte_eal_hotplug_remove("pci", function) != 0 || attached) {
		fprintf(stderr, "attach or detach failed\n");
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	char prefix[64];
	/* DPDK's PCI bus wants physical addresses under uio, which huge pages have. */
	char *eal[] = { argv[0], (char *)"--in-memory", (char *)"-m", (char *)"32",
			(char *)"--file-prefix", prefix, (char *)"--log-level=4",
			argc > 3 ? argv[3] : NULL, NULL };
	int cycles = argc >= 3 ? atoi(argv[2]) : 0;
	long long *times;

	if (cycles <= 0) {
		fprintf(stderr, "usage: %s FUNCTION CYCLES [--no-pci]\n", argv[0]);
		return EXIT_FAILURE;
	}
	times = calloc((size_t)cycles, sizeof(*times));
	snprintf(prefix, sizeof(prefix), "hotplug_bench_%d", (int)getpid());
	register_driver();
	if (times == NULL || rte_eal_init(argc > 3 ? 8 : 7, eal) < 0)
		return EXIT_FAILURE;
	if (attached && rte_eal_hotplug_remove("pci", argv[1]) != 0)
		return EXIT_FAILURE;
	/* The rest warms up. */
	for (int i = -cycles / 4 - 1; i < cycles; i++) {
		long long start = now();

		cycle(argv[1]);
		if (i >= 0)
			times[i] = now() - start;
	}
	for (int i = 0; i < cycles; i++)
		printf("%lld\n", times[i]);
	free(times);
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
