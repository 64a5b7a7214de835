/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Stock's own hotplug, by the rules of 26.07 and without another process. Its device events are not
 * there: those functions only echo.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* What a request to other processes has room for. */
#define MESSAGE_DEVARGS 128

/* The first driver that does not decline. It is set before its probe, for the bus to look at. */
int fake_probe_device(struct rte_device *dev)
{
	struct rte_driver *driver = NULL;
	int result;

	do {
		bool was_probed = dev->driver != NULL;

		driver = rte_bus_find_driver(dev->bus, driver, dev);
		if (driver == NULL)
			return -ENOTSUP;
		if (was_probed && !dev->bus->allow_multi_probe)
			return -EEXIST;
		if (!was_probed)
			dev->driver = driver;
		result = dev->bus->probe_device(driver, dev);
		if (!was_probed && result != 0)
			dev->driver = NULL;
	} while (result > 0);
	return result;
}

static int find(struct rte_devargs **devargs, struct rte_device **dev)
{
	struct rte_bus *bus = (*devargs)->bus;
	int result;

	if (bus->probe_device == NULL)
		return -ENOTSUP;
	result = rte_devargs_insert(devargs);
	if (result == 0)
		result = bus->scan();
	if (result != 0)
		return result;
	*dev = bus->find_device(bus, NULL, fake_same_name, (*devargs)->name);
	return *dev != NULL ? 0 : -ENODEV;
}

static int probe_here(const char *text)
{
	struct rte_devargs *devargs = calloc(1, sizeof(*devargs));
	struct rte_device *dev = NULL;
	int result;

	if (devargs == NULL)
		return -ENOMEM;
	result = rte_devargs_parse(devargs, text);
	if (result == 0)
		result = find(&devargs, &dev);
	if (result == 0)
		return fake_probe_device(dev);
	if (rte_devargs_remove(devargs) != 0) {
		rte_devargs_reset(devargs);
		free(devargs);
	}
	return result;
}

int rte_dev_probe(const char *devargs)
{
	int result;

	if (fake_echo("rte_dev_probe(%s)", devargs))
		return -1001;
	if (fake_has_messages() && strlen(devargs) >= MESSAGE_DEVARGS)
		return -E2BIG;
	result = probe_here(devargs);
	/* Other processes may still need it. */
	return result == -EEXIST ? 0 : result;
}

int rte_dev_remove(struct rte_device *dev)
{
	int result;

	if (fake_echo("rte_dev_remove(%p)", (void *)dev))
		return -1002;
	if (dev->driver == NULL)
		return -ENOENT;
	if (dev->bus->unplug_device == NULL)
		return -ENOTSUP;
	result = dev->bus->unplug_device(dev);
	if (result != 0)
		return result < 0 ? result : -ENOENT;
	dev->driver = NULL;
	return 0;
}

int rte_eal_hotplug_add(const char *bus_name, const char *name, const char *arguments)
{
	char devargs[4096];

	if (fake_echo("rte_eal_hotplug_add(%s, %s, %s)", bus_name, name, arguments))
		return -1003;
	snprintf(devargs, sizeof(devargs), "%s:%s,%s", bus_name, name, arguments);
	return rte_dev_probe(devargs);
}

int rte_eal_hotplug_remove(const char *bus_name, const char *name)
{
	struct rte_device *dev;
	struct rte_bus *bus;

	if (fake_echo("rte_eal_hotplug_remove(%s, %s)", bus_name, name))
		return -1004;
	bus = rte_bus_find_by_name(bus_name);
	if (bus == NULL)
		return -ENOENT;
	dev = bus->find_device(bus, NULL, fake_same_name, name);
	return dev != NULL ? rte_dev_remove(dev) : -EINVAL;
}

int rte_dev_event_callback_register(const char *name, rte_dev_event_cb_fn callback, void *argument)
{
	if (fake_echo("rte_dev_event_callback_register(%s, %p)", name ? name : "NULL", argument))
		callback("from register", RTE_DEV_EVENT_ADD, argument);
	return -1005;
}

int rte_dev_event_callback_unregister(const char *name, rte_dev_event_cb_fn callback,
				      void *argument)
{
	if (fake_echo("rte_dev_event_callback_unregister(%s, %p)", name ? name : "NULL", argument))
		callback("from unregister", RTE_DEV_EVENT_REMOVE, argument);
	return -1006;
}

void rte_dev_event_callback_process(const char *name, enum rte_dev_event_type event)
{
	fake_echo("rte_dev_event_callback_process(%s, %d)", name, (int)event);
}

int rte_dev_event_monitor_start(void)
{
	fake_echo("rte_dev_event_monitor_start()");
	return -1007;
}

int rte_dev_event_monitor_stop(void)
{
	fake_echo("rte_dev_event_monitor_stop()");
	return -1008;
}

int rte_dev_hotplug_handle_enable(void)
{
	fake_echo("rte_dev_hotplug_handle_enable()");
	return -1009;
}

int rte_dev_hotplug_handle_disable(void)
{
	fake_echo("rte_dev_hotplug_handle_disable()");
	return -1010;
}
