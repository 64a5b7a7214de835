/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A complete application: it brings a bus and a driver of its own, attaches a device, uses it and
 * detaches it, and prints what happened. It runs on the embedded runtime; when DPDK is in the
 * process it runs inside DPDK, unchanged, and attaches one of DPDK's devices as well.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <rte_hotplug.h>

/* What the driver keeps of a device: it says its arguments back, and counts. */
struct echo {
	char greeting[64];
	int said;
};

static int echo_probe(struct rte_device *dev, void *user)
{
	struct echo *echo = calloc(1, sizeof(*echo));

	(void)user;
	if (echo == NULL)
		return -1;
	snprintf(echo->greeting, sizeof(echo->greeting), "%s", rte_hotplug_device_devargs(dev));
	printf("  driver: probe of %s\n", rte_hotplug_device_name(dev));
	return rte_hotplug_device_set_data(dev, echo);
}

static int echo_remove(struct rte_device *dev, void *user)
{
	struct echo *echo = rte_hotplug_device_data(dev);

	(void)user;
	printf("  driver: remove of %s, which spoke %d times\n", rte_hotplug_device_name(dev),
	       echo->said);
	free(echo);
	return 0;
}

static int desk_parse(const char *name, void *user)
{
	(void)user;
	return strncmp(name, "echo", 4) == 0 ? 0 : -1;
}

/* This bus finds whatever is asked for; a real one would look at its hardware. */
static int desk_scan(struct rte_hotplug_bus *bus, const char *name, void *user)
{
	(void)user;
	return name != NULL ? rte_hotplug_bus_add_device(bus, name, -1) : 0;
}

static void on_event(const char *name, enum rte_dev_event_type event, void *arg)
{
	(void)arg;
	printf("  event: %s %s\n", name, event == RTE_DEV_EVENT_ADD ? "added" : "removed");
}

static int check(const char *what, int result)
{
	printf("%-44s -> %d\n", what, result);
	if (result < 0)
		exit(EXIT_FAILURE);
	return result;
}

static void list_devices(void)
{
	struct rte_device *dev = NULL;

	while ((dev = rte_hotplug_device_next(NULL, dev)) != NULL)
		printf("  device: %s:%s, driver %s\n", rte_hotplug_device_bus(dev),
		       rte_hotplug_device_name(dev), rte_hotplug_device_driver(dev));
}

int main(int argc, char **argv)
{
	static const struct rte_hotplug_bus_options bus = {
		.size = sizeof(bus),
		.name = "desk",
		.parse = desk_parse,
		.scan = desk_scan,
	};
	static const struct rte_hotplug_driver_options driver = {
		.size = sizeof(driver),
		.name = "echo",
		.bus = "desk",
		.probe = echo_probe,
		.remove = echo_remove,
	};
	struct rte_device *dev;
	struct echo *echo;
	int hosted;

	check("rte_eal_init", rte_eal_init(argc, argv));
	hosted = rte_hotplug_mode() == RTE_HOTPLUG_MODE_HOSTED;
	printf("librte_hotplug %s, %s\n", rte_hotplug_version(),
	       hosted ? "inside DPDK" : "on its embedded runtime");

	check("rte_hotplug_bus_register(desk)", rte_hotplug_bus_register(&bus, NULL));
	check("rte_hotplug_driver_register(echo)", rte_hotplug_driver_register(&driver, NULL));
	check("rte_dev_event_callback_register",
	      rte_dev_event_callback_register(NULL, on_event, NULL));

	check("rte_dev_probe(desk:echo0,hello)", rte_dev_probe("desk:echo0,hello"));
	check(hosted ? "rte_dev_probe(net_null0)" : "rte_dev_probe(hotplug_null0)",
	      rte_dev_probe(hosted ? "net_null0" : "hotplug_null0"));
	list_devices();

	dev = rte_hotplug_device_find("desk", "echo0");
	echo = rte_hotplug_device_data(dev);
	for (int i = 0; i < 3; i++)
		printf("  echo0 says: %s %d\n", echo->greeting, ++echo->said);

	rte_dev_event_callback_process("echo0", RTE_DEV_EVENT_REMOVE);
	check("rte_dev_remove(echo0)", rte_dev_remove(dev));
	printf("%-44s -> %d (refused: the pointer is stale)\n", "rte_dev_remove(echo0), once more",
	       rte_dev_remove(dev));
	check("rte_eal_hotplug_remove(vdev, ...)",
	      rte_eal_hotplug_remove("vdev", hosted ? "net_null0" : "hotplug_null0"));
	list_devices();
	check("rte_eal_cleanup", rte_eal_cleanup());
	puts("done");
	return EXIT_SUCCESS;
}
