/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes hotplug calls and prints what each one returned and left behind, one line per call:
 *
 *	call <TAB> result and device list
 *
 * A plain DPDK application: it does not know librte_hotplug. compare.py runs it on stock DPDK and
 * under LD_PRELOAD, and compares the lines.
 *
 *	calls --list                            DPDK's version, then the numbers of the calls that
 *	                                        need a process each
 *	calls [EAL options] -- OUTPUT           all the others, in order, in this process
 *	calls [EAL options] -- OUTPUT NUMBER    this one; it may kill the process
 */

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <rte_devargs.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_version.h>

#include "../vdev_driver.h"
#include "calls.h"

struct call calls[1024];
size_t call_count;

/* The number in the driver arguments at key, which ends in '='; 0 if it is not there. */
static int argument(const struct rte_vdev_device *vdev, const char *key)
{
	const struct rte_devargs *devargs = rte_dev_devargs(device_of(vdev));
	const char *at = devargs != NULL && devargs->args != NULL ? devargs->args : "";

	while (strncmp(at, key, strlen(key)) != 0) {
		at = strchr(at, ',');
		if (at == NULL)
			return 0;
		at++;
	}
	return atoi(at + strlen(key));
}

static int probe_as_told(struct rte_vdev_device *vdev)
{
	int positive = argument(vdev, "positive=");

	return positive != 0 ? positive : -argument(vdev, "fail=");
}

static int remove_as_told(struct rte_vdev_device *vdev)
{
	int positive = argument(vdev, "rmpositive=");

	return positive != 0 ? positive : -argument(vdev, "rmfail=");
}

static struct rte_vdev_driver driver = {
	.driver = { .name = "hp_drv", .alias = "hp_alias" },
	.probe = probe_as_told,
	.remove = remove_as_told,
};

static char called[256];

static void note_call(char callback, const char *name, enum rte_dev_event_type event, void *arg)
{
	size_t used = strlen(called);

	snprintf(called + used, sizeof(called) - used, " %c(%s,%s,%" PRIdPTR ")", callback, name,
		 event == RTE_DEV_EVENT_ADD ? "add" : "remove", (intptr_t)arg);
}

void callback_a(const char *name, enum rte_dev_event_type event, void *arg)
{
	note_call('a', name, event, arg);
}

void callback_b(const char *name, enum rte_dev_event_type event, void *arg)
{
	note_call('b', name, event, arg);
}

void add_call(struct call call)
{
	if (call_count == ARRAY_SIZE(calls))
		abort();
	calls[call_count++] = call;
}

static void add_calls(void)
{
	add_good_strings();
	add_bad_strings();
	add_names_and_lengths();
	add_repetitions();
	add_errno_values();
	add_callbacks();
	add_odd_arguments();
	add_leftovers();
	add_crashes();
}

static struct rte_device *find(const char *name)
{
	struct rte_dev_iterator iterator;
	struct rte_device *dev;

	RTE_DEV_FOREACH(dev, "bus=vdev", &iterator) {
		if (strcmp(rte_dev_name(dev), name) == 0)
			return dev;
	}
	return NULL;
}

static int remove_stale(const char *name)
{
	struct rte_device *dev = find(name);

	if (dev == NULL || rte_dev_remove(dev) != 0) {
		fputs("calls: the first removal failed\n", stderr);
		exit(EXIT_FAILURE);
	}
	rte_errno = 0;
	return rte_dev_remove(dev);
}

static int make_call(const struct call *call)
{
	void *arg = (void *)call->argument;

	switch (call->operation) {
	case PROBE:
		return rte_dev_probe(call->first);
	case REMOVE: {
		struct rte_device *dev = find(call->first);

		/* The search leaves an errno of its own. */
		rte_errno = 0;
		return dev != NULL ? rte_dev_remove(dev) : INT16_MIN;
	}
	case REMOVE_NULL:
		return rte_dev_remove(NULL);
	case STALE:
		return remove_stale(call->first);
	case ADD:
		return rte_eal_hotplug_add(call->first, call->second, call->third);
	case REMOVE_NAME:
		return rte_eal_hotplug_remove(call->first, call->second);
	case REGISTER:
		return rte_dev_event_callback_register(call->first, call->callback, arg);
	case UNREGISTER:
		return rte_dev_event_callback_unregister(call->first, call->callback, arg);
	case PROCESS:
		rte_dev_event_callback_process(call->first,
					       (enum rte_dev_event_type)call->argument);
		return 0;
	}
	return INT16_MIN;
}

static void do_call(const struct call *call)
{
	int saved_errno, result;

	show_call(call);
	/* Stays when the call kills the process. */
	fflush(output);
	called[0] = '\0';
	rte_errno = 0;
	result = make_call(call);
	saved_errno = rte_errno;
	fprintf(output, "\t%d", result);
	if (result < 0)
		fprintf(output, " (rte_errno %d)", saved_errno);
	fputs(called, output);
	fputs(";", output);
	show_devices("bus=vdev");
	show_devices("bus=pci");
	fputc('\n', output);
	fflush(output);
}

static int list_alone(void)
{
	puts(rte_version());
	for (size_t i = 0; i < call_count; i++)
		if (calls[i].alone)
			printf("%zu\n", i);
	return EXIT_SUCCESS;
}

static void run_all(void)
{
	for (size_t i = 0; i < call_count; i++)
		if (!calls[i].alone)
			do_call(&calls[i]);
}

static void run_one(size_t number)
{
	const struct call *call = &calls[number];

	if (call->setup != NULL && rte_dev_probe(call->setup) != 0) {
		fputs("calls: the setup failed\n", stderr);
		exit(EXIT_FAILURE);
	}
	do_call(call);
}

int main(int argc, char **argv)
{
	int used;

	add_calls();
	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list_alone();
	rte_vdev_register(&driver);
	used = rte_eal_init(argc, argv);
	if (used < 0 || argc - used < 2) {
		fputs("usage: calls [EAL options] -- OUTPUT [NUMBER]\n", stderr);
		return EXIT_FAILURE;
	}
	argc -= used;
	argv += used;
	output = fopen(argv[1], "w");
	if (output == NULL) {
		perror(argv[1]);
		return EXIT_FAILURE;
	}
	if (argc == 2)
		run_all();
	else
		run_one(strtoul(argv[2], NULL, 10) % call_count);
	fclose(output);
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
