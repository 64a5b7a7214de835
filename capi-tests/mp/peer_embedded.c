/* SPDX-License-Identifier: BSD-3-Clause */
/* What peer.c has of the embedded runtime, or with PEER_FAKE of the fake EAL. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peer.h"

#ifdef PEER_FAKE

#include "../fake_eal/fake_eal.h"

/* PCI functions are attached in all processes, too. */
#define BUS NULL

static int driver_probe(struct rte_device *dev)
{
	return probe_device(dev->name);
}

static int driver_remove(struct rte_device *dev)
{
	return remove_device(dev->name);
}

void register_driver(void)
{
	static struct rte_vdev_driver driver = {
		.driver = { .name = "tdrv" },
		.probe = driver_probe,
		.remove = driver_remove,
	};

	rte_vdev_register(&driver);
}

#else /* PEER_FAKE */

#define BUS "vdev"

static int driver_probe(struct rte_device *dev, void *user)
{
	(void)user;
	return probe_device(rte_hotplug_device_name(dev));
}

static int driver_remove(struct rte_device *dev, void *user)
{
	(void)user;
	return remove_device(rte_hotplug_device_name(dev));
}

void register_driver(void)
{
	struct rte_hotplug_driver_options options = {
		.size = sizeof(options), .name = "tdrv", .bus = "vdev",
		.probe = driver_probe,	 .remove = driver_remove,
	};
	struct rte_hotplug_driver *driver;

	if (rte_hotplug_driver_register(&options, &driver) != 0)
		exit(3);
}

#endif /* PEER_FAKE */

struct rte_device *find(const char *name)
{
	return rte_hotplug_device_find("vdev", name);
}

void list(char *text, size_t size)
{
	struct rte_device *dev = NULL;

	while ((dev = rte_hotplug_device_next(BUS, dev)) != NULL)
		if (rte_hotplug_device_driver(dev) != NULL)
			snprintf(text + strlen(text), size - strlen(text), " %s",
				 rte_hotplug_device_name(dev));
}

const char *arguments_of(const char *name)
{
	struct rte_device *dev = find(name);
	const char *arguments = dev != NULL ? rte_hotplug_device_devargs(dev) : NULL;

	return arguments != NULL ? arguments : "";
}

const struct command runtime_commands[] = { { 0 } };
