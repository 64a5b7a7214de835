/* SPDX-License-Identifier: BSD-3-Clause */
/* The buses "vdev", "pci" and "fixed". */

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers.h"
#include "internal.h"

/* Those of an announced device are on no list, where others of the same name may be. */
static void forget(struct rte_devargs *devargs)
{
	struct rte_devargs *listed = NULL;

	while ((listed = rte_devargs_next(NULL, listed)) != NULL && listed != devargs)
		;
	rte_devargs_remove(devargs);
	if (listed == NULL) {
		rte_devargs_reset(devargs);
		free(devargs);
	}
}

static void let_go(struct rte_bus *bus)
{
	struct rte_device *dev;

	TAILQ_FOREACH(dev, &bus->device_list, next) {
		if (dev->driver != NULL)
			bus->unplug_device(dev);
		dev->driver = NULL;
		forget(dev->devargs);
		dev->devargs = NULL;
	}
}

static bool begins_with(const char *name, const char *start)
{
	return start != NULL && strncmp(name, start, strlen(start)) == 0;
}

static bool match_by_name(const struct rte_driver *driver, const struct rte_device *dev)
{
	return begins_with(dev->name, driver->name) || begins_with(dev->name, driver->alias);
}

/* "vdev" */

struct vdev {
	struct rte_device device;
	struct fake_use use;
};

static int take(struct rte_device *dev)
{
	return fake_driver_probe(dev, &((struct vdev *)dev)->use, false);
}

static int decline(struct rte_device *dev)
{
	return fake_driver_probe(dev, &((struct vdev *)dev)->use, true);
}

static int let_it_go(struct rte_device *dev)
{
	return fake_driver_remove(dev, &((struct vdev *)dev)->use);
}

static struct rte_vdev_driver vdev_drivers[] = {
	{ .driver = { .name = "net_null" }, .probe = take, .remove = let_it_go },
	{ .driver = { .name = "net_picky", .alias = "net_pair" }, .probe = decline },
	{ .driver = { .name = "net_taker", .alias = "net_pair" }, .probe = take, .remove = let_it_go },
};

static struct rte_bus vdev_bus;
static pthread_mutex_t vdev_lock;
atomic_int fake_vdev_messages;

/* A driver may work with another vdev. */
static void make_vdev_lock(void)
{
	pthread_mutexattr_t recursive;

	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&vdev_lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
}

static struct rte_device *vdev_find(const struct rte_bus *bus, const struct rte_device *start,
				    rte_dev_cmp_t compare, const void *data)
{
	struct rte_device *dev;

	pthread_mutex_lock(&vdev_lock);
	dev = fake_bus_find_device(bus, start, compare, data);
	pthread_mutex_unlock(&vdev_lock);
	return dev;
}

/* 1 when it was added, 0 when it is there already. */
static int vdev_add(struct rte_devargs *devargs)
{
	struct vdev *vdev;

	if (vdev_find(&vdev_bus, NULL, fake_same_name, devargs->name) != NULL)
		return 0;
	vdev = calloc(1, sizeof(*vdev));
	if (vdev == NULL)
		return -1;
	vdev->device.name = devargs->name;
	vdev->device.devargs = devargs;
	vdev->device.numa_node = -1;
	fake_bus_add_device(&vdev_bus, &vdev->device);
	return 1;
}

/* Another process has this device. The bus does not take its lock for that. */
static int vdev_announced(const char *name)
{
	struct rte_devargs *devargs = calloc(1, sizeof(*devargs));

	if (devargs == NULL)
		return -1;
	snprintf(devargs->name, sizeof(devargs->name), "%.63s", name);
	devargs->bus = &vdev_bus;
	devargs->data = strdup("");
	devargs->args = devargs->data;
	if (devargs->args == NULL || vdev_add(devargs) != 1) {
		rte_devargs_reset(devargs);
		free(devargs);
	}
	return 0;
}

/* A type, a number and a name; the type is 2 for an announcement. */
static int vdev_message(const struct rte_mp_msg *message, const void *peer)
{
	int type;

	(void)peer;
	fake_vdev_messages++;
	memcpy(&type, message->param, sizeof(type));
	return type == 2 ? vdev_announced((const char *)&message->param[8]) : 0;
}

static int vdev_scan(void)
{
	struct rte_devargs *devargs = NULL;
	int result = 0;

	if (rte_mp_action_register("bus_vdev_mp", vdev_message) != 0 && rte_errno != EEXIST &&
	    rte_errno != ENOTSUP)
		return -1;
	if (fake_options.secondary && !fake_ask_for_vdevs())
		return -1;
	while (result >= 0 && (devargs = rte_devargs_next("vdev", devargs)) != NULL) {
		pthread_mutex_lock(&vdev_lock);
		result = vdev_add(devargs);
		pthread_mutex_unlock(&vdev_lock);
	}
	return result < 0 ? result : 0;
}

/* Those that the command line named. */
static int vdev_probe(struct rte_bus *bus)
{
	struct rte_device *dev;

	TAILQ_FOREACH(dev, &bus->device_list, next)
		fake_probe_device(dev);
	return 0;
}

static int vdev_probe_device(struct rte_driver *driver, struct rte_device *dev)
{
	if (dev->numa_node < 0)
		dev->numa_node = 0;
	return ((struct rte_vdev_driver *)driver)->probe(dev);
}

static int vdev_unplug(struct rte_device *dev)
{
	return ((const struct rte_vdev_driver *)dev->driver)->remove(dev);
}

void rte_vdev_register(struct rte_vdev_driver *driver)
{
	fake_bus_add_driver(&vdev_bus, &driver->driver);
}

static int vdev_parse(const char *name, void *address)
{
	struct rte_driver *driver;

	(void)address;
	TAILQ_FOREACH(driver, &vdev_bus.driver_list, next) {
		if (begins_with(name, driver->name) || begins_with(name, driver->alias))
			return 0;
	}
	return 1;
}

static int vdev_cleanup(struct rte_bus *bus)
{
	struct rte_device *dev;

	let_go(bus);
	while ((dev = TAILQ_FIRST(&bus->device_list)) != NULL) {
		TAILQ_REMOVE(&bus->device_list, dev, next);
		free(dev);
	}
	return 0;
}

static struct rte_bus vdev_bus = {
	.name = "vdev",
	.scan = vdev_scan,
	.probe = vdev_probe,
	.find_device = vdev_find,
	.match = match_by_name,
	.probe_device = vdev_probe_device,
	.unplug_device = vdev_unplug,
	.parse = vdev_parse,
	.cleanup = vdev_cleanup,
};

/* "pci" */

static struct pci {
	struct rte_pci_device pci;
	struct fake_use use;
} functions[2];

static const char *const function_names[] = { FAKE_PCI_ONCE, FAKE_PCI_AGAIN };
static struct rte_driver once_driver = { .name = "net_once" };
static struct rte_driver again_driver = { .name = "net_again" };
static struct rte_bus pci_bus;

static int pci_scan(void)
{
	for (size_t i = 0; i < 2 && !fake_options.no_pci; i++) {
		struct rte_device *dev = &functions[i].pci.device;
		struct rte_devargs *devargs = NULL;

		if (dev->bus == NULL) {
			dev->name = function_names[i];
			dev->bus_info = "made up";
			fake_bus_add_device(&pci_bus, dev);
		}
		while ((devargs = rte_devargs_next("pci", devargs)) != NULL)
			if (strcmp(devargs->name, dev->name) == 0)
				dev->devargs = devargs;
	}
	return 0;
}

static bool pci_match(const struct rte_driver *driver, const struct rte_device *dev)
{
	return driver == (dev == &functions[0].pci.device ? &once_driver : &again_driver);
}

/* The interrupt's handle tells whether a driver has the function already. */
static int pci_probe(struct rte_driver *driver, struct rte_device *dev)
{
	struct pci *function = (struct pci *)dev;
	bool again = function->pci.intr_handle != NULL;
	int result;

	if (again && driver == &once_driver)
		return -EEXIST;
	if (!again)
		function->pci.intr_handle = rte_intr_instance_alloc(0);
	result = fake_driver_probe(dev, &function->use, false);
	if (!again && result != 0) {
		rte_intr_instance_free(function->pci.intr_handle);
		function->pci.intr_handle = NULL;
	}
	return result;
}

static int pci_unplug(struct rte_device *dev)
{
	struct pci *function = (struct pci *)dev;
	int result = fake_driver_remove(dev, &function->use);

	if (result < 0)
		return result;
	rte_intr_instance_free(function->pci.intr_handle);
	function->pci.intr_handle = NULL;
	return 0;
}

static int pci_parse(const char *name, void *address)
{
	unsigned int part[4];

	(void)address;
	return sscanf(name, "%4x:%2x:%2x.%1x", &part[0], &part[1], &part[2], &part[3]) == 4 ? 0 : 1;
}

static int pci_cleanup(struct rte_bus *bus)
{
	let_go(bus);
	return 0;
}

static struct rte_bus pci_bus = {
	.name = "pci",
	.allow_multi_probe = true,
	.scan = pci_scan,
	.probe = fake_bus_no_probe,
	.find_device = fake_bus_find_device,
	.match = pci_match,
	.probe_device = pci_probe,
	.unplug_device = pci_unplug,
	.parse = pci_parse,
	.cleanup = pci_cleanup,
};

/* "fixed" */

static struct rte_device fixed_device = { .name = "fixed0" };
static struct rte_bus fixed_bus;

static int fixed_scan(void)
{
	if (fixed_device.bus == NULL && !fake_options.no_pci)
		fake_bus_add_device(&fixed_bus, &fixed_device);
	return 0;
}

static int fixed_parse(const char *name, void *address)
{
	(void)address;
	return begins_with(name, "fixed") ? 0 : 1;
}

static struct rte_bus fixed_bus = {
	.name = "fixed",
	.scan = fixed_scan,
	.probe = fake_bus_no_probe,
	.find_device = fake_bus_find_device,
	.parse = fixed_parse,
};

static __attribute__((constructor)) void register_all(void)
{
	make_vdev_lock();
	fake_bus_register(&pci_bus);
	fake_bus_register(&fixed_bus);
	fake_bus_register(&vdev_bus);
	for (size_t i = 0; i < sizeof(vdev_drivers) / sizeof(vdev_drivers[0]); i++)
		rte_vdev_register(&vdev_drivers[i]);
	fake_bus_add_driver(&pci_bus, &once_driver);
	fake_bus_add_driver(&pci_bus, &again_driver);
}
