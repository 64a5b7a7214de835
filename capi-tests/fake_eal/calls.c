/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Makes hotplug calls inside the fake EAL and prints what each returned and left behind:
 *
 *	call <TAB> result; what the drivers saw; devices
 *
 * It is linked with the fake alone and with librte_hotplug in front, and differential.py compares. Devices
 * are those that are attached, NAME+DRIVER, and the call's own, also NAME-; then their arguments.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_eal.h"

struct call {
	enum { PROBE, REMOVE, ADD, REMOVE_NAME } operation;
	const char *first, *second, *third;
	const char *note; /* tells calls apart that look the same */
};

#define PROBE_OF(devargs, note) { PROBE, devargs, NULL, NULL, note }
#define REMOVE_OF(bus, name, note) { REMOVE, bus, name, NULL, note }
#define ADD_OF(bus, name, arguments) { ADD, bus, name, arguments, NULL }
#define REMOVE_BY_NAME(bus, name, note) { REMOVE_NAME, bus, name, NULL, note }

/* 110 of them */
#define TEN "0123456789"
#define DIGITS TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct call calls[] = {
	/* Attached and detached, again and again. */
	PROBE_OF("net_null0", "first"),
	PROBE_OF("net_null0", "again"),
	PROBE_OF("vdev:net_null0,a=1", "attached"),
	REMOVE_OF("vdev", "net_null0", "attached"),
	REMOVE_OF("vdev", "net_null0", "detached"),
	REMOVE_BY_NAME("vdev", "net_null0", "detached"),
	ADD_OF("vdev", "net_null0", "a=2"),
	REMOVE_BY_NAME("vdev", "net_null0", "attached"),
	REMOVE_BY_NAME("vdev", "net_null00", NULL),
	REMOVE_BY_NAME("nobus", "net_null0", NULL),
	/* Names that are none. */
	PROBE_OF("", NULL),
	PROBE_OF("nothing0", NULL),
	PROBE_OF("nobus:net_null0", NULL),
	PROBE_OF("pci:net_null0", NULL),
	PROBE_OF("0000:ff:00.0", NULL),
	PROBE_OF("net_null_of_a_name_that_is_far_too_long_for_any_device_that_there_is", NULL),
	/* Drivers that fail, decline, or cannot. */
	PROBE_OF("net_null1,fail=5", NULL),
	REMOVE_OF("vdev", "net_null1", "failed"),
	PROBE_OF("net_null1,positive=5", NULL),
	PROBE_OF("net_null1,fail=17", NULL),
	PROBE_OF("net_null1,rmfail=5", NULL),
	REMOVE_OF("vdev", "net_null1", "rmfail=5"),
	PROBE_OF("net_null1,rmpositive=5", NULL),
	REMOVE_OF("vdev", "net_null1", "rmpositive=5"),
	PROBE_OF("net_null1,fail=5", "attached"),
	REMOVE_OF("vdev", "net_null1", "attached"),
	PROBE_OF("net_picky0", NULL),
	PROBE_OF("net_pair0", NULL),
	REMOVE_OF("vdev", "net_pair0", NULL),
	PROBE_OF("net_pair0,fail=5", NULL),
	PROBE_OF("net_pair0,positive=5", NULL),
	/* A bus whose devices are always there, and may be probed again. */
	PROBE_OF(FAKE_PCI_ONCE, NULL),
	PROBE_OF(FAKE_PCI_ONCE ",a=1", NULL),
	REMOVE_OF("pci", FAKE_PCI_ONCE, NULL),
	REMOVE_OF("pci", FAKE_PCI_ONCE, "detached"),
	PROBE_OF(FAKE_PCI_AGAIN, NULL),
	PROBE_OF(FAKE_PCI_AGAIN ",a=1", NULL),
	PROBE_OF(FAKE_PCI_AGAIN ",fail=5", NULL),
	PROBE_OF(FAKE_PCI_AGAIN ",positive=5", NULL),
	PROBE_OF(FAKE_PCI_AGAIN ",rmpositive=5", NULL),
	REMOVE_BY_NAME("pci", FAKE_PCI_AGAIN, NULL),
	REMOVE_BY_NAME("pci", FAKE_PCI_AGAIN, "detached"),
	/* One that cannot. */
	PROBE_OF("fixed0", NULL),
	ADD_OF("fixed", "fixed0", ""),
	REMOVE_OF("fixed", "fixed0", NULL),
	/* From inside of a probe. */
	PROBE_OF("net_null2,inside=1", NULL),
	REMOVE_OF("vdev", "net_null2", NULL),
	PROBE_OF("net_null3,inside=2", NULL),
	REMOVE_OF("vdev", "net_null3", NULL),
	PROBE_OF("net_null4,inside=3", NULL),
	REMOVE_OF("vdev", "net_null4", NULL),
	REMOVE_OF("vdev", "net_null_inner", NULL),
	/* 127 bytes just have room in a message to others. */
	PROBE_OF("net_null5,a=" DIGITS "01234", NULL),
	REMOVE_OF("vdev", "net_null5", NULL),
	PROBE_OF("net_null6,a=" DIGITS "012345", NULL),
	REMOVE_BY_NAME("vdev", "net_null6", NULL),
};

static int same_name(const struct rte_device *dev, const void *name)
{
	return strcmp(dev->name, name);
}

static struct rte_device *find(const char *bus_name, const char *name)
{
	const struct rte_bus *bus = rte_bus_find_by_name(bus_name);
	struct rte_device *dev = bus->find_device(bus, NULL, same_name, name);

	if (dev == NULL) {
		fprintf(stderr, "calls: %s is gone\n", name);
		exit(EXIT_FAILURE);
	}
	return dev;
}

static int make(const struct call *call)
{
	switch (call->operation) {
	case PROBE:
		return rte_dev_probe(call->first);
	case REMOVE:
		return rte_dev_remove(find(call->first, call->second));
	case ADD:
		return rte_eal_hotplug_add(call->first, call->second, call->third);
	case REMOVE_NAME:
		return rte_eal_hotplug_remove(call->first, call->second);
	}
	return 0;
}

static void show_call(const struct call *call)
{
	static const char *const names[] = { "rte_dev_probe", "rte_dev_remove",
					     "rte_eal_hotplug_add", "rte_eal_hotplug_remove" };
	const char *arguments[] = { call->first, call->second, call->third };

	printf("%s(", names[call->operation]);
	for (int i = 0; i < 3 && arguments[i] != NULL; i++)
		printf("%s%s", i > 0 ? ", " : "", arguments[i]);
	printf(")%s%s", call->note != NULL ? " - " : "", call->note != NULL ? call->note : "");
}

static bool is_of(const struct rte_device *dev, const struct call *call)
{
	return strstr(call->first, dev->name) != NULL ||
	       (call->second != NULL && strcmp(call->second, dev->name) == 0);
}

/* Long arguments by their length. */
static int show_device(const struct rte_device *dev, const void *call)
{
	const char *arguments = dev->devargs != NULL ? dev->devargs->args : "";

	if (dev->driver == NULL && !is_of(dev, call))
		return 1;
	printf(" %s%c%s", dev->name, dev->driver != NULL ? '+' : '-',
	       dev->driver != NULL ? dev->driver->name : "");
	if (strlen(arguments) < sizeof(DIGITS))
		printf("\"%s\"", arguments);
	else
		printf("(%zu)", strlen(arguments));
	return 1;
}

static int show_devices(const struct rte_bus *bus, const void *call)
{
	bus->find_device(bus, NULL, show_device, call);
	return 1;
}

/* Only what this call made of it. */
static void show_seen(void)
{
	const struct {
		const char *name;
		atomic_int *count;
	} seen[] = {
		{ "probes", &fake_seen.probes },	 { "refusals", &fake_seen.refusals },
		{ "failures", &fake_seen.failures },	 { "removes", &fake_seen.removes },
		{ "violations", &fake_seen.violations }, { "inside", &fake_seen.inside },
	};

	for (size_t i = 0; i < sizeof(seen) / sizeof(seen[0]); i++) {
		int count = atomic_exchange(seen[i].count, 0);

		if (count != 0)
			printf(" %s %d", seen[i].name, count);
	}
}

int main(int argc, char **argv)
{
	if (rte_eal_init(argc, argv) < 0)
		return EXIT_FAILURE;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int result;

		show_call(&calls[i]);
		result = make(&calls[i]);
		printf("\t%d;", result);
		show_seen();
		putchar(';');
		rte_bus_find(NULL, show_devices, &calls[i]);
		putchar('\n');
	}
	return rte_eal_cleanup() == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
