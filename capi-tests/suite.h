/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the suites share that run both on the embedded runtime and inside DPDK: they start whichever
 * there is, and use the null driver that it has.
 */
#ifndef SUITE_H
#define SUITE_H

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#include <rte_hotplug.h>

#include "harness.h"

#ifdef SUITE_HOSTED
#include <rte_eal.h>
#include <rte_version.h>
#endif

/* The name of a device of the null driver: "net_null7" or "hotplug_null7". */
#define NULL_DEVICE(number) (suite_hosted() ? "net_null" #number : "hotplug_null" #number)

static inline bool suite_hosted(void)
{
	return rte_hotplug_mode() == RTE_HOTPLUG_MODE_HOSTED;
}

/* The group of this process, for --file-prefix, and its runtime directory. */
static char suite_prefix[64], suite_directory[256];

/* DPDK and the embedded runtime leave it behind: a flat directory of files and sockets. */
static inline void suite_remove_directory(void)
{
	DIR *directory = opendir(suite_directory);
	struct dirent *entry;

	while (directory != NULL && (entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	if (directory != NULL)
		closedir(directory);
	rmdir(suite_directory);
}

/* A group of its own for this process: nobody else's is joined or disturbed, and it leaves nothing. */
static inline void suite_name_group(void)
{
	const char *runtime = geteuid() == 0 ? "/var/run" : getenv("XDG_RUNTIME_DIR");

	snprintf(suite_prefix, sizeof(suite_prefix), "hotplug_suite_%d", (int)getpid());
	snprintf(suite_directory, sizeof(suite_directory), "%s/dpdk/%s",
		 runtime != NULL ? runtime : "/tmp", suite_prefix);
	atexit(suite_remove_directory);
}

/* Starts the EAL that is there: DPDK needs its options, the embedded runtime takes them too. */
static inline void suite_start(void)
{
	static char *argv[] = {
		(char *)"suite", (char *)"--no-huge", (char *)"-m",	    (char *)"64",
		(char *)"--no-pci",  (char *)"--file-prefix", suite_prefix, NULL,
	};

	suite_name_group();
	if (rte_eal_init(7, argv) < 0) {
		printf("Bail out! rte_eal_init failed\n");
		exit(EXIT_FAILURE);
	}
#ifdef SUITE_HOSTED
	printf("# inside %s\n", rte_version());
	/* In 20.11 the one function that only DPDK has: without it the linker leaves DPDK out. */
	if (rte_eal_process_type() != RTE_PROC_PRIMARY || !suite_hosted()) {
		printf("Bail out! not in the hosted mode\n");
		exit(EXIT_FAILURE);
	}
#endif
}

/* So many repetitions, or fewer where each takes much longer: SUITE_SCALE is the divisor. */
static inline int suite_scaled(int repetitions)
{
	const char *divisor = getenv("SUITE_SCALE");

	return divisor != NULL ? repetitions / atoi(divisor) : repetitions;
}

/* EAL binds the main thread to one processor, and threads would inherit that. */
static inline void suite_use_all_cpus(void)
{
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	pthread_setaffinity_np(pthread_self(), sizeof(all), &all);
}

/* All cases, and the end of the EAL: the exit status. */
static inline int suite_run(const struct test_case *cases, size_t count)
{
	int result = run_table(cases, count);

	return rte_eal_cleanup() == 0 ? result : EXIT_FAILURE;
}

/* From DPDK 26.07 on a device that was detached stays on its bus. */
static inline bool suite_keeps_devices(void)
{
#ifdef SUITE_HOSTED
	int year, month;

	return sscanf(rte_version(), "DPDK %d.%d", &year, &month) == 2 && year * 100 + month >= 2607;
#else
	return false;
#endif
}

/* Whether the vdev of this name is detached, and where it leaves its bus then, is not there. */
static inline bool suite_is_gone(const char *name)
{
	struct rte_device *dev = rte_hotplug_device_find("vdev", name);

	if (!suite_keeps_devices())
		return dev == NULL;
	return dev != NULL && rte_hotplug_device_driver(dev) == NULL;
}

/* How many devices of a bus are attached, or of all buses with NULL. */
static inline int suite_attached(const char *bus)
{
	struct rte_device *dev = NULL;
	int count = 0;

	while ((dev = rte_hotplug_device_next(bus, dev)) != NULL) {
		/* Only there it may be on its bus without a driver. */
		CHECK(suite_keeps_devices() || rte_hotplug_device_driver(dev) != NULL);
		count += rte_hotplug_device_driver(dev) != NULL;
	}
	return count;
}

/* Detaches by name; a device that is not there is fine. */
static inline void suite_detach(const char *name)
{
	struct rte_device *dev = rte_hotplug_device_find("vdev", name);

	if (dev != NULL && rte_hotplug_device_driver(dev) != NULL)
		CHECK_INT(rte_dev_remove(dev), 0);
}

#endif /* SUITE_H */
