/* SPDX-License-Identifier: BSD-3-Clause */
/* Devargs, in the syntax "BUS:NAME,ARGUMENTS", and their list. As in DPDK it has no lock. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

static TAILQ_HEAD(, rte_devargs) list = TAILQ_HEAD_INITIALIZER(list);

static bool is_for(const struct rte_devargs *devargs, const struct rte_devargs *other)
{
	return devargs->bus == other->bus && strcmp(devargs->name, other->name) == 0;
}

/* The bus that the text names, which has to take the device, too; *name is what follows. */
static struct rte_bus *named_bus(const char *text, const char **name)
{
	const char *colon = strchr(text, ':');
	struct rte_bus *bus = NULL;
	char bus_name[64];

	if (colon != NULL && (size_t)(colon - text) < sizeof(bus_name)) {
		memcpy(bus_name, text, (size_t)(colon - text));
		bus_name[colon - text] = '\0';
		bus = rte_bus_find_by_name(bus_name);
	}
	if (bus == NULL || bus->parse == NULL || fake_bus_of_device_name(colon + 1) != bus)
		return NULL;
	*name = colon + 1;
	return bus;
}

int rte_devargs_parse(struct rte_devargs *devargs, const char *text)
{
	const char *name = text;
	struct rte_bus *bus;
	size_t length;

	memset(devargs, 0, sizeof(*devargs));
	bus = named_bus(text, &name);
	length = strcspn(name, ",");
	if (length >= sizeof(devargs->name))
		return -EINVAL;
	memcpy(devargs->name, name, length);
	devargs->bus = bus != NULL ? bus : fake_bus_of_device_name(name);
	if (devargs->bus == NULL)
		return -EFAULT;
	devargs->data = strdup(name[length] == ',' ? &name[length + 1] : "");
	if (devargs->data == NULL)
		return -ENOMEM;
	devargs->args = devargs->data;
	return 0;
}

/* Devargs that are listed for the device already get what the new ones have, which are freed. */
int rte_devargs_insert(struct rte_devargs **devargs)
{
	struct rte_devargs *new = *devargs, *listed;

	if (new == NULL || new->bus == NULL)
		return -1;
	TAILQ_FOREACH(listed, &list, next) {
		if (listed == new)
			return 0;
		if (is_for(listed, new)) {
			new->next = listed->next;
			rte_devargs_reset(listed);
			*listed = *new;
			free(new);
			*devargs = listed;
			return 0;
		}
	}
	TAILQ_INSERT_TAIL(&list, new, next);
	return 0;
}

int rte_devargs_remove(struct rte_devargs *devargs)
{
	struct rte_devargs *listed;

	if (devargs == NULL || devargs->bus == NULL)
		return -1;
	TAILQ_FOREACH(listed, &list, next) {
		if (is_for(listed, devargs)) {
			TAILQ_REMOVE(&list, listed, next);
			rte_devargs_reset(listed);
			free(listed);
			return 0;
		}
	}
	return 1;
}

#ifdef FAKE_WITHOUT_DEVARGS_NEXT
__attribute__((visibility("hidden")))
#endif
struct rte_devargs *rte_devargs_next(const char *bus_name, const struct rte_devargs *start)
{
	struct rte_devargs *at = start != NULL ? TAILQ_NEXT(start, next) : TAILQ_FIRST(&list);

	while (at != NULL && bus_name != NULL && strcmp(at->bus->name, bus_name) != 0)
		at = TAILQ_NEXT(at, next);
	return at;
}

void rte_devargs_reset(struct rte_devargs *devargs)
{
	if (devargs == NULL)
		return;
	free(devargs->data);
	devargs->data = NULL;
}

int rte_devargs_add(enum rte_devtype type, const char *text)
{
	struct rte_devargs *devargs = calloc(1, sizeof(*devargs));

	if (devargs == NULL)
		return -1;
	if (rte_devargs_parse(devargs, text) != 0) {
		rte_devargs_reset(devargs);
		free(devargs);
		return -1;
	}
	devargs->type = type;
	if (devargs->bus->scan_mode == 0)
		devargs->bus->scan_mode = 1;
	TAILQ_INSERT_TAIL(&list, devargs, next);
	return 0;
}
