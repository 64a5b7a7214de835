/* SPDX-License-Identifier: BSD-3-Clause */
/* What peer.c has of DPDK, with the library or without. */
#include <stdio.h>
#include <string.h>

#include <rte_alarm.h>
#include <rte_devargs.h>
#include <rte_ethdev.h>
#include <rte_version.h>

#include "../vdev_driver.h"
#include "peer.h"

static int driver_probe(struct rte_vdev_device *vdev)
{
	return probe_device(rte_dev_name(device_of(vdev)));
}

static int driver_remove(struct rte_vdev_device *vdev)
{
	return remove_device(rte_dev_name(device_of(vdev)));
}

static struct rte_vdev_driver driver = {
	.driver = { .name = "tdrv" },
	.probe = driver_probe,
	.remove = driver_remove,
};

void register_driver(void)
{
	rte_vdev_register(&driver);
}

/*
 * DPDK's iterator stands on devices that another thread may detach: taken only where there are no
 * functions of ours.
 */
struct rte_device *find(const char *name)
{
	struct rte_device *(*find_ours)(const char *, const char *) = NULL;
	struct rte_dev_iterator iterator;
	struct rte_device *dev, *found = NULL;

	*(void **)&find_ours = ours("rte_hotplug_device_find");
	if (find_ours != NULL)
		return find_ours("vdev", name);
	RTE_DEV_FOREACH(dev, "bus=vdev", &iterator)
		if (strcmp(rte_dev_name(dev), name) == 0)
			found = dev;
	return found;
}

static void list_ours(struct rte_device *(*next)(const char *, const struct rte_device *),
		      char *text, size_t size)
{
	const char *(*name_of)(const struct rte_device *) = NULL;
	int (*state_of)(const struct rte_device *) = NULL;
	struct rte_device *dev = NULL;

	*(void **)&name_of = ours("rte_hotplug_device_name");
	*(void **)&state_of = ours("rte_hotplug_device_state");
	while ((dev = next("vdev", dev)) != NULL) {
		const char *name = name_of(dev);

		if (state_of(dev) == RTE_HOTPLUG_DEVICE_PROBED && name != NULL)
			snprintf(text + strlen(text), size - strlen(text), " %s", name);
	}
}

void list(char *text, size_t size)
{
	struct rte_device *(*next)(const char *, const struct rte_device *) = NULL;
	struct rte_dev_iterator iterator;
	struct rte_device *dev;

	*(void **)&next = ours("rte_hotplug_device_next");
	if (next != NULL) {
		list_ours(next, text, size);
		return;
	}
	RTE_DEV_FOREACH(dev, "bus=vdev", &iterator)
		if (rte_dev_is_probed(dev))
			snprintf(text + strlen(text), size - strlen(text), " %s",
				 rte_dev_name(dev));
}

const char *arguments_of(const char *name)
{
	struct rte_device *dev = find(name);
	const struct rte_devargs *devargs = dev != NULL ? rte_dev_devargs(dev) : NULL;

	return devargs != NULL && devargs->args != NULL ? devargs->args : "";
}

static void run_alarm(void *argument)
{
	run_job(argument);
}

static char callback_device[NAME_SIZE];

static int on_new_port(uint16_t port, enum rte_eth_event_type type, void *user, void *result)
{
	(void)port;
	(void)type;
	(void)user;
	(void)result;
	/* Once: the device that it attaches has a port of its own. */
	if (callback_device[0] != '\0') {
		char device[NAME_SIZE];

		snprintf(device, sizeof(device), "%s", callback_device);
		callback_device[0] = '\0';
		set_nested_result(attach(device));
	}
	return 0;
}

static int attach_in_alarm(const char *devargs)
{
	return rte_eal_alarm_set(1, run_alarm, new_job(true, devargs));
}

static int attach_in_callback(const char *devargs)
{
	snprintf(callback_device, sizeof(callback_device), "%s", devargs);
	return rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_NEW, on_new_port, NULL);
}

static void show_version(char *rest)
{
	(void)rest;
	answer("%s", rte_version());
}

const struct command runtime_commands[] = {
	{ "alarm-attach", .call = attach_in_alarm },
	{ "callback-attach", .call = attach_in_callback },
	{ "version", .run = show_version },
	{ 0 },
};
