/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "drivers.h"

struct fake_seen fake_seen;
sem_t fake_waits, fake_go;

static __attribute__((constructor)) void set_up(void)
{
	sem_init(&fake_waits, 0, 0);
	sem_init(&fake_go, 0, 0);
}

/* The number at this key in the device's arguments. */
static int told(const struct rte_device *dev, const char *key)
{
	const char *at = dev->devargs != NULL ? dev->devargs->args : "";
	size_t length = strlen(key);

	while (strncmp(at, key, length) != 0 || at[length] != '=') {
		at = strchr(at, ',');
		if (at == NULL)
			return 0;
		at++;
	}
	return atoi(at + length + 1);
}

static void expect(bool condition)
{
	if (!condition)
		fake_seen.violations++;
}

static void call_inside(struct rte_device *dev, int what)
{
	char devargs[128];

	snprintf(devargs, sizeof(devargs), "%s:%s", dev->bus->name, dev->name);
	if (what == 2)
		fake_seen.inside = rte_dev_remove(dev);
	else
		fake_seen.inside = rte_dev_probe(what == 1 ? devargs : "net_null_inner");
}

static int probe(struct rte_device *dev)
{
	int inside = told(dev, "inside"), positive = told(dev, "positive");

	if (told(dev, "wait") != 0) {
		sem_post(&fake_waits);
		while (sem_wait(&fake_go) != 0)
			;
	}
	if (inside != 0)
		call_inside(dev, inside);
	return positive != 0 ? positive : -told(dev, "fail");
}

int fake_driver_probe(struct rte_device *dev, struct fake_use *use, bool picky)
{
	/* Another probe of a held device is one of several, which the bus allows. */
	bool again = use->held;
	int result;

	expect(atomic_fetch_add(&use->busy, 1) == 0);
	expect(dev->driver != NULL && dev->driver->bus == dev->bus);
	expect(!again || dev->bus->allow_multi_probe);
	result = picky ? 1 : probe(dev);
	if (result > 0)
		fake_seen.refusals++;
	else if (result < 0)
		fake_seen.failures++;
	else
		fake_seen.probes++;
	use->held = again || result == 0;
	atomic_fetch_sub(&use->busy, 1);
	return result;
}

int fake_driver_remove(struct rte_device *dev, struct fake_use *use)
{
	int positive = told(dev, "rmpositive"), result;

	expect(atomic_fetch_add(&use->busy, 1) == 0);
	expect(dev->driver != NULL && use->held);
	result = positive != 0 ? positive : -told(dev, "rmfail");
	if (result == 0) {
		fake_seen.removes++;
		use->held = false;
	}
	atomic_fetch_sub(&use->busy, 1);
	return result;
}
