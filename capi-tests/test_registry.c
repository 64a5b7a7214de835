/* SPDX-License-Identifier: BSD-3-Clause */
/* Buses and drivers of the application, beside those of DPDK or of the embedded runtime. */

#include "suite.h"

/* A bus with two slots; what is plugged into them is the "hardware". */
static struct {
	const char *slot[2];
	int scans;
	int scan_result;
	char wanted[64];
} hardware;

static int bus_parse(const char *name, void *user)
{
	(void)user;
	return strncmp(name, "card", 4) == 0 ? 0 : -EINVAL;
}

static int bus_scan(struct rte_hotplug_bus *bus, const char *name, void *user)
{
	EXPECT(user == &hardware);
	hardware.scans++;
	snprintf(hardware.wanted, sizeof(hardware.wanted), "%s", name ? name : "(all)");
	for (int i = 0; i < 2; i++) {
		const char *card = hardware.slot[i];

		if (card != NULL && (name == NULL || strcmp(name, card) == 0))
			EXPECT(rte_hotplug_bus_add_device(bus, card, i) == 0);
	}
	return hardware.scan_result;
}

/* A driver that does what it is told. */
static struct {
	int probes, removes;
	int probe_result, remove_result;
	const char *nested; /* attached from inside the probe, detached from inside the remove */
} driver;

static int driver_probe(struct rte_device *dev, void *user)
{
	EXPECT(user == &driver);
	driver.probes++;
	EXPECT(rte_hotplug_device_set_data(dev, &driver) == 0);
	if (driver.nested != NULL && strcmp(rte_hotplug_device_name(dev), driver.nested) != 0)
		return rte_eal_hotplug_add("rack", driver.nested, "");
	return driver.probe_result;
}

static int driver_remove(struct rte_device *dev, void *user)
{
	EXPECT(user == &driver);
	driver.removes++;
	EXPECT(rte_hotplug_device_data(dev) == &driver);
	if (driver.nested != NULL && strcmp(rte_hotplug_device_name(dev), driver.nested) != 0)
		return rte_eal_hotplug_remove("rack", driver.nested);
	return driver.remove_result;
}

static const struct rte_hotplug_bus_options bus_options = {
	.size = sizeof(bus_options),
	.name = "rack",
	.parse = bus_parse,
	.scan = bus_scan,
	.user = &hardware,
};

static const struct rte_hotplug_driver_options driver_options = {
	.size = sizeof(driver_options),
	.name = "card",
	.bus = "rack",
	.probe = driver_probe,
	.remove = driver_remove,
	.user = &driver,
};

static struct rte_hotplug_bus *rack;
static struct rte_hotplug_driver *card_driver;

static void set_up(void)
{
	memset(&hardware, 0, sizeof(hardware));
	memset(&driver, 0, sizeof(driver));
	hardware.slot[0] = "card0";
	hardware.slot[1] = "card1";
	CHECK_INT(rte_hotplug_bus_register(&bus_options, &rack), 0);
	CHECK_INT(rte_hotplug_driver_register(&driver_options, &card_driver), 0);
}

static void tear_down(void)
{
	CHECK_INT(rte_hotplug_driver_unregister(card_driver), 0);
	CHECK_INT(rte_hotplug_bus_unregister(rack), 0);
	CHECK_INT(rte_hotplug_driver_unregister(card_driver), -ENOENT);
	CHECK_INT(rte_hotplug_bus_unregister(rack), -ENOENT);
}

static void a_device_of_our_bus(void)
{
	struct rte_device *dev;

	set_up();
	CHECK_INT(rte_dev_probe("rack:card1,speed=9"), 0);
	CHECK_INT(hardware.scans, 1);
	CHECK_STR(hardware.wanted, "card1");
	dev = rte_hotplug_device_find("rack", "card1");
	CHECK(dev != NULL);
	CHECK(rte_hotplug_device_find("rack", "card0") == NULL);
	CHECK_STR(rte_hotplug_device_devargs(dev), "speed=9");
	CHECK_STR(rte_hotplug_device_driver(dev), "card");
	CHECK_INT(rte_hotplug_device_numa_node(dev), 1);
	CHECK_INT(rte_hotplug_driver_unregister(card_driver), -EBUSY);
	CHECK_INT(rte_hotplug_bus_unregister(rack), -EBUSY);
	CHECK_INT(rte_hotplug_bus_remove_device(rack, "card1"), -EBUSY);
	CHECK_INT(rte_dev_remove(dev), 0);
	CHECK(rte_hotplug_device_find("rack", "card1") == NULL);
	CHECK_INT(driver.probes, 1);
	CHECK_INT(driver.removes, 1);
	tear_down();
}

static void a_bare_name_finds_our_bus(void)
{
	set_up();
	CHECK_INT(rte_dev_probe("card0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("rack", "card0"), 0);
	CHECK_INT(rte_dev_probe("bus=rack,name=card0/driver=card,k=v"), 0);
	CHECK_STR(rte_hotplug_device_devargs(rte_hotplug_device_find("rack", "card0")),
		  "driver=card,k=v");
	CHECK_INT(rte_eal_hotplug_remove("rack", "card0"), 0);
	tear_down();
}

static void a_device_that_is_not_there(void)
{
	set_up();
	CHECK_INT(rte_dev_probe("rack:card7"), -ENODEV);
	hardware.scan_result = -EIO;
	CHECK_INT(rte_dev_probe("rack:card9"), -EIO);
	CHECK(rte_hotplug_device_next("rack", NULL) == NULL);
	tear_down();
}

static void each_errno_of_a_probe_comes_back(void)
{
	struct rte_device *dev;

	set_up();
	for (int code = 1; code < 134; code++) {
		driver.probe_result = -code;
		CHECK_INT(rte_dev_probe("rack:card0"), -code);
	}
	dev = rte_hotplug_device_find("rack", "card0");
	CHECK(dev != NULL);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_FOUND);
	CHECK(rte_hotplug_device_driver(dev) == NULL);
	CHECK_INT(rte_dev_remove(dev), -ENOENT);
	driver.probe_result = 1;
	CHECK_INT(rte_dev_probe("rack:card0"), -ENOTSUP);
	driver.probe_result = 0;
	CHECK_INT(rte_dev_probe("rack:card0"), 0);
	CHECK_INT(rte_dev_remove(dev), 0);
	tear_down();
}

static void each_errno_of_a_remove_comes_back(void)
{
	struct rte_device *dev;

	set_up();
	CHECK_INT(rte_dev_probe("rack:card0"), 0);
	dev = rte_hotplug_device_find("rack", "card0");
	for (int code = 1; code < 134; code++) {
		driver.remove_result = -code;
		CHECK_INT(rte_dev_remove(dev), -code);
		CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_PROBED);
	}
	driver.remove_result = 1;
	CHECK_INT(rte_dev_remove(dev), -ENOENT);
	driver.remove_result = 0;
	CHECK_INT(rte_dev_remove(dev), 0);
	tear_down();
}

static void a_driver_may_attach_and_detach_others(void)
{
	set_up();
	driver.nested = "card1";
	CHECK_INT(rte_dev_probe("rack:card0"), 0);
	CHECK_INT(driver.probes, 2);
	CHECK(rte_hotplug_device_driver(rte_hotplug_device_find("rack", "card1")) != NULL);
	CHECK_INT(rte_eal_hotplug_remove("rack", "card0"), 0);
	CHECK(rte_hotplug_device_next("rack", NULL) == NULL);
	tear_down();
}

static int own_remove_result;

static int probe_self(struct rte_device *dev, void *user)
{
	(void)user;
	/* The device is being probed: it is not attached yet. */
	EXPECT(rte_dev_remove(dev) == -ENOENT);
	return 0;
}

static int remove_self(struct rte_device *dev, void *user)
{
	(void)user;
	own_remove_result = rte_dev_remove(dev);
	return 0;
}

static void a_driver_that_removes_its_own_device(void)
{
	struct rte_hotplug_driver_options options = driver_options;
	struct rte_hotplug_driver *self;

	set_up();
	CHECK_INT(rte_hotplug_driver_unregister(card_driver), 0);
	options.probe = probe_self;
	options.remove = remove_self;
	CHECK_INT(rte_hotplug_driver_register(&options, &self), 0);
	CHECK_INT(rte_dev_probe("rack:card0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("rack", "card0"), 0);
	CHECK_INT(own_remove_result, -EBUSY);
	CHECK_INT(rte_hotplug_driver_unregister(self), 0);
	CHECK_INT(rte_hotplug_bus_unregister(rack), 0);
}

static int match_by_argument(const char *name, const char *device, void *user)
{
	(void)device;
	EXPECT(user == &hardware);
	return strcmp(name, "other") == 0;
}

static void a_bus_may_match_in_its_own_way(void)
{
	struct rte_hotplug_bus_options options = bus_options;
	struct rte_hotplug_driver_options other = driver_options;
	struct rte_hotplug_driver *other_driver;

	set_up();
	tear_down();
	options.matches = match_by_argument;
	other.name = "other";
	CHECK_INT(rte_hotplug_bus_register(&options, &rack), 0);
	CHECK_INT(rte_hotplug_driver_register(&driver_options, &card_driver), 0);
	CHECK_INT(rte_hotplug_driver_register(&other, &other_driver), 0);
	CHECK_INT(rte_dev_probe("rack:card0"), 0);
	CHECK_STR(rte_hotplug_device_driver(rte_hotplug_device_find("rack", "card0")), "other");
	CHECK_INT(rte_eal_hotplug_remove("rack", "card0"), 0);
	CHECK_INT(rte_hotplug_driver_unregister(other_driver), 0);
	tear_down();
}

static int parse_anything(const char *name, void *user)
{
	(void)name, (void)user;
	return 0;
}

/* A bus that takes every name still leaves DPDK's devices, and other buses' ones, alone. */
static void a_bus_that_takes_every_name(void)
{
	struct rte_hotplug_bus_options options = bus_options;

	set_up();
	tear_down();
	options.parse = parse_anything;
	CHECK_INT(rte_hotplug_bus_register(&options, &rack), 0);
	CHECK_INT(rte_hotplug_driver_register(&driver_options, &card_driver), 0);
	CHECK_INT(rte_eal_hotplug_add("vdev", NULL_DEVICE(0), ""), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", NULL_DEVICE(0)), 0);
	CHECK_INT(rte_dev_probe(NULL_DEVICE(0)), 0);
	CHECK_INT(rte_eal_hotplug_remove("vdev", NULL_DEVICE(0)), 0);
	CHECK_INT(driver.probes, 0);
	CHECK(rte_hotplug_device_next("rack", NULL) == NULL);
	tear_down();
}

static int scan_and_drop(struct rte_hotplug_bus *bus, const char *name, void *user)
{
	(void)user;
	/* No lock of the library is held: a scan may take away what it does not see any more. */
	EXPECT(rte_hotplug_bus_remove_device(bus, "card5") == -ENODEV);
	return name != NULL ? rte_hotplug_bus_add_device(bus, name, -1) : 0;
}

static void a_scan_may_call_the_library(void)
{
	struct rte_hotplug_bus_options options = bus_options;

	set_up();
	tear_down();
	options.scan = scan_and_drop;
	CHECK_INT(rte_hotplug_bus_register(&options, &rack), 0);
	CHECK_INT(rte_hotplug_driver_register(&driver_options, &card_driver), 0);
	CHECK_INT(rte_dev_probe("rack:card0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("rack", "card0"), 0);
	tear_down();
}

static int drop_self(struct rte_device *dev, void *user)
{
	(void)user;
	EXPECT(rte_hotplug_bus_remove_device(rack, rte_hotplug_device_name(dev)) == -EBUSY);
	EXPECT(rte_hotplug_driver_unregister(card_driver) == -EBUSY);
	EXPECT(rte_hotplug_bus_unregister(rack) == -EBUSY);
	return 0;
}

static void nothing_goes_away_under_a_driver(void)
{
	struct rte_hotplug_driver_options options = driver_options;

	set_up();
	CHECK_INT(rte_hotplug_driver_unregister(card_driver), 0);
	options.probe = options.remove = drop_self;
	CHECK_INT(rte_hotplug_driver_register(&options, &card_driver), 0);
	CHECK_INT(rte_dev_probe("rack:card0"), 0);
	CHECK_INT(rte_eal_hotplug_remove("rack", "card0"), 0);
	tear_down();
}

static void bad_registrations_are_refused(void)
{
	struct rte_hotplug_bus_options bus = bus_options;
	struct rte_hotplug_driver_options drv = driver_options;
	char name[80] = { 0 };

	set_up();
	memset(name, 'b', sizeof(name) - 1);
	CHECK_INT(rte_hotplug_bus_register(&bus, NULL), -EEXIST);
	CHECK_INT(rte_hotplug_driver_register(&drv, NULL), -EEXIST);
	bus.name = "vdev";
	CHECK_INT(rte_hotplug_bus_register(&bus, NULL), -EEXIST);
	bus.name = "";
	CHECK_INT(rte_hotplug_bus_register(&bus, NULL), -EINVAL);
	bus.name = name;
	CHECK_INT(rte_hotplug_bus_register(&bus, NULL), -E2BIG);
	bus.name = NULL;
	CHECK_INT(rte_hotplug_bus_register(&bus, NULL), -EINVAL);
	bus = bus_options;
	bus.name = "shelf";
	bus.scan = NULL;
	CHECK_INT(rte_hotplug_bus_register(&bus, NULL), -EINVAL);
	bus.scan = bus_scan;
	bus.size = 8;
	CHECK_INT(rte_hotplug_bus_register(&bus, NULL), -EINVAL);
	drv.bus = "nobus";
	CHECK_INT(rte_hotplug_driver_register(&drv, NULL), -ENOENT);
	drv.bus = NULL;
	CHECK_INT(rte_hotplug_driver_register(&drv, NULL), -EINVAL);
	drv = driver_options;
	drv.probe = NULL;
	CHECK_INT(rte_hotplug_driver_register(&drv, NULL), -EINVAL);
	drv.probe = driver_probe;
	drv.name = "card2";
	drv.alias = "";
	CHECK_INT(rte_hotplug_driver_register(&drv, NULL), -EINVAL);
	drv.size = 0;
	CHECK_INT(rte_hotplug_driver_register(&drv, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_bus_add_device(rack, name, 0), -E2BIG);
	CHECK_INT(rte_hotplug_bus_add_device(rack, "", 0), -EINVAL);
	CHECK_INT(rte_hotplug_bus_add_device((struct rte_hotplug_bus *)&bus, "x", 0), -ENOENT);
	CHECK_INT(rte_hotplug_bus_remove_device(rack, "card0"), -ENODEV);
	if (suite_hosted()) {
		drv = driver_options;
		drv.bus = "vdev";
		CHECK_INT(rte_hotplug_driver_register(&drv, NULL), -ENOTSUP);
	}
	tear_down();
}

static const struct test_case cases[] = {
	{ "a device of our bus", a_device_of_our_bus },
	{ "a bare name finds our bus", a_bare_name_finds_our_bus },
	{ "a device that is not there", a_device_that_is_not_there },
	{ "each errno of a probe comes back", each_errno_of_a_probe_comes_back },
	{ "each errno of a remove comes back", each_errno_of_a_remove_comes_back },
	{ "a driver may attach and detach others", a_driver_may_attach_and_detach_others },
	{ "a driver that removes its own device", a_driver_that_removes_its_own_device },
	{ "a bus may match in its own way", a_bus_may_match_in_its_own_way },
	{ "a bus that takes every name", a_bus_that_takes_every_name },
	{ "a scan may call the library", a_scan_may_call_the_library },
	{ "nothing goes away under a driver", nothing_goes_away_under_a_driver },
	{ "bad registrations are refused", bad_registrations_are_refused },
};

int main(void)
{
	suite_start();
	return suite_run(cases, sizeof(cases) / sizeof(cases[0]));
}
