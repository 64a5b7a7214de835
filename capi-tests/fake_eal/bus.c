/* SPDX-License-Identifier: BSD-3-Clause */
/* Buses, what they list, and the accessors. */

#include <string.h>

#include "internal.h"

static TAILQ_HEAD(, rte_bus) buses = TAILQ_HEAD_INITIALIZER(buses);

/* A bus with a field more before its name. */
static union {
	struct rte_bus listed;
	struct {
		TAILQ_ENTRY(rte_bus) next;
		uintptr_t flags;
		const char *name;
		int (*functions[8])(void);
	} real;
} wrong_bus;

static int do_nothing(void)
{
	return 0;
}

void fake_add_wrong_bus(void)
{
	wrong_bus.real.flags = 1;
	wrong_bus.real.name = "wrong";
	for (int i = 0; i < 8; i++)
		wrong_bus.real.functions[i] = do_nothing;
	TAILQ_INSERT_TAIL(&buses, &wrong_bus.listed, next);
}

static __attribute__((constructor)) void add_wrong_bus(void)
{
	if (fake_wrong() == BUS)
		fake_add_wrong_bus();
}

void fake_bus_register(struct rte_bus *bus)
{
	TAILQ_INIT(&bus->device_list);
	TAILQ_INIT(&bus->driver_list);
	TAILQ_INSERT_TAIL(&buses, bus, next);
}

void fake_bus_add_device(struct rte_bus *bus, struct rte_device *dev)
{
	TAILQ_INSERT_TAIL(&bus->device_list, dev, next);
	dev->bus = bus;
}

void fake_bus_add_driver(struct rte_bus *bus, struct rte_driver *driver)
{
	TAILQ_INSERT_TAIL(&bus->driver_list, driver, next);
	driver->bus = bus;
}

int fake_bus_no_probe(struct rte_bus *bus)
{
	(void)bus;
	return 0;
}

struct rte_device *fake_bus_find_device(const struct rte_bus *bus, const struct rte_device *start,
					rte_dev_cmp_t compare, const void *data)
{
	struct rte_device *dev =
		start != NULL ? TAILQ_NEXT(start, next) : TAILQ_FIRST(&bus->device_list);

	while (dev != NULL && compare(dev, data) != 0)
		dev = TAILQ_NEXT(dev, next);
	return dev;
}

int fake_same_name(const struct rte_device *dev, const void *name)
{
	return strcmp(dev->name, name);
}

static int takes_name(const struct rte_bus *bus, const void *name)
{
	return bus->parse != NULL && bus->parse(name, NULL) == 0 ? 0 : 1;
}

struct rte_bus *fake_bus_of_device_name(const char *name)
{
	return rte_bus_find(NULL, takes_name, name);
}

struct rte_bus *rte_bus_find(const struct rte_bus *start, rte_bus_cmp_t compare, const void *data)
{
	struct rte_bus *bus = start != NULL ? TAILQ_NEXT(start, next) : TAILQ_FIRST(&buses);

	while (bus != NULL && compare(bus, data) != 0)
		bus = TAILQ_NEXT(bus, next);
	return bus;
}

static int has_name(const struct rte_bus *bus, const void *name)
{
	return strcmp(rte_bus_name(bus), name);
}

struct rte_bus *rte_bus_find_by_name(const char *name)
{
	return rte_bus_find(NULL, has_name, name);
}

const char *rte_bus_name(const struct rte_bus *bus)
{
	return bus == &wrong_bus.listed ? wrong_bus.real.name : bus->name;
}

#ifdef FAKE_WITHOUT_FIND_DRIVER
__attribute__((visibility("hidden")))
#endif
struct rte_driver *rte_bus_find_driver(const struct rte_bus *bus, const struct rte_driver *start,
				       const struct rte_device *dev)
{
	struct rte_driver *driver =
		start != NULL ? TAILQ_NEXT(start, next) : TAILQ_FIRST(&bus->driver_list);

	while (driver != NULL && !bus->match(driver, dev))
		driver = TAILQ_NEXT(driver, next);
	return driver;
}

const char *rte_dev_name(const struct rte_device *dev)
{
	return dev->name;
}

const struct rte_bus *rte_dev_bus(const struct rte_device *dev)
{
	return dev->bus;
}

/* Laid out otherwise, the driver stands in the place of bus_info. */
const struct rte_driver *rte_dev_driver(const struct rte_device *dev)
{
	return fake_wrong() == DEVICE ? (const void *)dev->bus_info : dev->driver;
}

const struct rte_devargs *rte_dev_devargs(const struct rte_device *dev)
{
	return dev->devargs;
}

int rte_dev_numa_node(const struct rte_device *dev)
{
	return dev->numa_node;
}

const char *rte_driver_name(const struct rte_driver *driver)
{
	return driver->name;
}
