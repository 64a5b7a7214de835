/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Defects of stock's hotplug, one at a time, in a plain DPDK application: run as it is it shows
 * stock, under LD_PRELOAD ours. Prints what happened as "result: ...".
 *
 * usage: stock-defects CASE
 */

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>

static sem_t entered, leave;

static void *report_event(void *name)
{
	rte_dev_event_callback_process(name, RTE_DEV_EVENT_REMOVE);
	return NULL;
}

static void wait_sem(sem_t *sem)
{
	while (sem_wait(sem) != 0)
		;
}

/* The first call stays inside until it is let go; later ones return at once. */
static void stay_once(const char *name, enum rte_dev_event_type type, void *arg)
{
	static int calls;

	(void)name, (void)type, (void)arg;
	if (__atomic_fetch_add(&calls, 1, __ATOMIC_SEQ_CST) == 0) {
		sem_post(&entered);
		wait_sem(&leave);
	}
}

/* U5: unregister while one thread is inside and another has been. */
static void unregister_running(void)
{
	char name[] = "a";
	pthread_t thread;

	sem_init(&entered, 0, 0);
	sem_init(&leave, 0, 0);
	rte_dev_event_callback_register(name, stay_once, NULL);
	pthread_create(&thread, NULL, report_event, name);
	wait_sem(&entered);
	report_event(name);
	printf("result: unregister %d\n",
	       rte_dev_event_callback_unregister(name, stay_once, NULL));
	fflush(stdout);
	sem_post(&leave);
	pthread_join(thread, NULL);
}

static int self_result;

static void unregister_self(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)type;
	self_result = rte_dev_event_callback_unregister(name, unregister_self, arg);
}

/* U6 */
static void unregister_from_inside(void)
{
	char name[] = "a";

	rte_dev_event_callback_register(name, unregister_self, NULL);
	report_event(name);
	printf("result: unregister %d\n", self_result);
}

static void nothing(const char *name, enum rte_dev_event_type type, void *arg)
{
	(void)name, (void)type, (void)arg;
}

/* Up to 24.07 a NULL name takes the callbacks of other functions along. */
static void unregister_all_names(void)
{
	rte_dev_event_callback_register("a", nothing, NULL);
	rte_dev_event_callback_register("b", unregister_self, NULL);
	printf("result: unregister %d\n", rte_dev_event_callback_unregister(NULL, nothing, NULL));
}

#define THREADS 8
#define ROUNDS 2000

static void *attach_detach(void *arg)
{
	char name[32];
	long failures = 0;
	cpu_set_t all;

	/* EAL binds the main thread to one processor, and threads inherit that. */
	memset(&all, 0xff, sizeof(all));
	pthread_setaffinity_np(pthread_self(), sizeof(all), &all);
	snprintf(name, sizeof(name), "net_null%d", (int)(long)arg);
	for (int i = 0; i < ROUNDS; i++)
		failures += rte_eal_hotplug_add("vdev", name, "") != 0 ||
			    rte_eal_hotplug_remove("vdev", name) != 0;
	return (void *)failures;
}

static void threads_on_different_devices(void)
{
	pthread_t threads[THREADS];
	long failures = 0;

	for (long i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, attach_detach, (void *)i);
	for (int i = 0; i < THREADS; i++) {
		void *failed;

		pthread_join(threads[i], &failed);
		failures += (long)failed;
	}
	printf("result: failures %ld\n", failures);
}

/* D4 */
static void remove_twice(void)
{
	struct rte_eth_dev_info info;

	if (rte_dev_probe("net_null0") != 0 || rte_eth_dev_info_get(0, &info) != 0)
		exit(EXIT_FAILURE);
	printf("result: first %d,", rte_dev_remove(info.device));
	fflush(stdout);
	printf(" second %d\n", rte_dev_remove(info.device));
}

static const struct {
	const char *name;
	void (*run)(void);
} table[] = {
	{ "unregister-running", unregister_running },
	{ "unregister-self", unregister_from_inside },
	{ "unregister-all-names", unregister_all_names },
	{ "threads", threads_on_different_devices },
	{ "remove-twice", remove_twice },
};

int main(int argc, char **argv)
{
	char prefix[64];
	char *eal[] = {
		argv[0],	   (char *)"--no-huge",	    (char *)"-m", (char *)"64",
		(char *)"--no-pci", (char *)"--file-prefix", prefix,	  (char *)"--log-level=1",
	};

	snprintf(prefix, sizeof(prefix), "hotplug_defect_%d", (int)getpid());
	if (argc != 2 || rte_eal_init(8, eal) < 0)
		return EXIT_FAILURE;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(argv[1], table[i].name) == 0) {
			table[i].run();
			return EXIT_SUCCESS;
		}
	}
	return EXIT_FAILURE;
}
