/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An application that hears of device events, and does and tells what it is asked for on standard
 * input. It uses DPDK's interface only: run as it is it shows stock, with librte_hotplug ours.
 *
 *	start | stop                   the monitor; prints the code
 *	enable | disable               the handling of removals; prints the code
 *	pause NANOSECONDS              how long each callback takes from now on
 *	told                           prints how many events of which kind were told
 *	wait COUNT                     until so many were told; prints as told
 *	latency COUNT FILE             announces COUNT additions by FILE, one after the other; prints the
 *	                               nanoseconds until the callback for each
 *	statistics                     prints librte_hotplug's, if it is there
 */

#include <dlfcn.h>
#include <fcntl.h>
#include <inttypes.h>
#include <semaphore.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#ifdef OBSERVER_EMBEDDED
#include <rte_hotplug.h>
#else
#include <rte_dev.h>
#include <rte_eal.h>
#endif

/* As in rte_hotplug.h, which a stock application does not have. */
struct statistics {
	size_t size;
	uint64_t received, delivered, foreign, malformed, overruns, recovered, repeated;
};

static sem_t told;
static _Atomic long added, removed, pause_time;
static _Atomic uint64_t told_at;

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void count(const char *device, enum rte_dev_event_type type, void *arg)
{
	struct timespec pause = { .tv_nsec = pause_time };

	(void)arg;
	told_at = now();
	if (type == RTE_DEV_EVENT_ADD)
		added++;
	else
		removed++;
	if (getenv("OBSERVER_VERBOSE") != NULL)
		printf("event %s %s\n", type == RTE_DEV_EVENT_ADD ? "add" : "remove", device);
	if (pause.tv_nsec > 0)
		nanosleep(&pause, NULL);
	sem_post(&told);
}

static void wait_told(void)
{
	while (sem_wait(&told) != 0)
		;
}

static void print_told(void)
{
	printf("told %ld %ld\n", added, removed);
}

static void time_events(int times, const char *file)
{
	static const char text[] = "add 6f2a1c9e-5b7d-4c55-9a38-3d2b9d2f7a10";
	int uevent = open(file, O_WRONLY | O_CLOEXEC);

	if (uevent < 0) {
		printf("latency failed\n");
		return;
	}
	printf("latency");
	for (int i = 0; i < times; i++) {
		uint64_t before = now();

		if (write(uevent, text, strlen(text)) < 0)
			break;
		wait_told();
		printf(" %" PRIu64, told_at - before);
	}
	printf("\n");
	close(uevent);
}

static void print_statistics(void)
{
	int (*get)(struct statistics *) = NULL;
	struct statistics now_is = { .size = sizeof(now_is) };

	/* ISO C has no cast from an object's address to a function's. */
	*(void **)&get = dlsym(RTLD_DEFAULT, "rte_hotplug_monitor_statistics_get");
	if (get == NULL || get(&now_is) != 0) {
		printf("statistics none\n");
		return;
	}
	printf("statistics received=%" PRIu64 " delivered=%" PRIu64 " foreign=%" PRIu64
	       " malformed=%" PRIu64 " overruns=%" PRIu64 " recovered=%" PRIu64 " repeated=%" PRIu64
	       "\n",
	       now_is.received, now_is.delivered, now_is.foreign, now_is.malformed, now_is.overruns,
	       now_is.recovered, now_is.repeated);
}

static void obey(const char *line)
{
	char file[256];
	long number;
	int times;

	if (strcmp(line, "start\n") == 0)
		printf("start %d\n", rte_dev_event_monitor_start());
	else if (strcmp(line, "stop\n") == 0)
		printf("stop %d\n", rte_dev_event_monitor_stop());
	else if (strcmp(line, "enable\n") == 0)
		printf("enable %d\n", rte_dev_hotplug_handle_enable());
	else if (strcmp(line, "disable\n") == 0)
		printf("disable %d\n", rte_dev_hotplug_handle_disable());
	else if (sscanf(line, "pause %ld", &number) == 1)
		pause_time = number;
	else if (strcmp(line, "told\n") == 0)
		print_told();
	else if (sscanf(line, "wait %ld", &number) == 1) {
		while (number-- > 0)
			wait_told();
		print_told();
	} else if (sscanf(line, "latency %d %255s", &times, file) == 2)
		time_events(times, file);
	else if (strcmp(line, "statistics\n") == 0)
		print_statistics();
	else
		printf("unknown command\n");
}

int main(int argc, char **argv)
{
	char line[512];

	sem_init(&told, 0, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (rte_eal_init(argc, argv) < 0 ||
	    rte_dev_event_callback_register(NULL, count, NULL) != 0) {
		printf("failed\n");
		return EXIT_FAILURE;
	}
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin) != NULL)
		obey(line);
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
