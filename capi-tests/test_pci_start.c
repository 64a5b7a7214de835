/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI bus of the embedded runtime at its start: what rte_eal_init attaches, and what it passes by. */

#include <sys/stat.h>

#include "pci_suite.h"

/* rte_eal_init with these two arguments of its own. */
static int start(const char *first, const char *then)
{
	const char *argv[] = { "suite", "--in-memory", first, then, NULL };
	int count = 2 + (first != NULL) + (then != NULL);

	return rte_eal_init(count, (char **)(void *)argv);
}

static int how_many(void)
{
	struct rte_device *dev = NULL;
	int count = 0;

	while ((dev = rte_hotplug_device_next("pci", dev)) != NULL)
		count += rte_hotplug_device_driver(dev) != NULL;
	return count;
}

static void set_up_three(void)
{
	pci_set_up();
	tree_add(OTHER, 0x1af4, 0x10f0, NETWORK, UIO);
	tree_add("0001:e1:1f.7", 0x1af4, 0x10f0, NETWORK, UIO);
}

static void what_has_a_driver_is_attached(void)
{
	set_up_three();
	tree_add("0000:03:00.0", 0x8086, 0x10d3, NETWORK, UIO);
	tree_add("0000:03:00.1", 0x1af4, 0x10f0, NETWORK, "e1000e");
	tree_add("0000:03:00.2", 0x1af4, 0x10f0, NETWORK, NULL);
	CHECK(start(NULL, NULL) >= 0);
	CHECK_INT(how_many(), 3);
	CHECK_INT(driver.probes, 3);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK_INT(pci_state("0001:e1:1f.7"), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK_INT(pci_state("0000:03:00.0"), RTE_HOTPLUG_DEVICE_BOUND);
	CHECK_INT(pci_state("0000:03:00.1"), RTE_HOTPLUG_DEVICE_FOUND);
	CHECK_INT(pci_state("0000:03:00.2"), RTE_HOTPLUG_DEVICE_FOUND);
	/* What comes later is attached by its name. */
	tree_bind("0000:03:00.2", UIO);
	CHECK_INT(rte_dev_probe("03:00.2"), 0);
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK_INT(driver.removes, 4);
	CHECK(rte_hotplug_device_next("pci", NULL) == NULL);
	/* Again, with the same drivers. */
	CHECK(start(NULL, NULL) >= 0);
	CHECK_INT(how_many(), 4);
}

static void without_drivers_nothing_is_looked_for(void)
{
	set_up_three();
	CHECK_INT(pci_unregister(&driver), 0);
	CHECK(start(NULL, NULL) >= 0);
	CHECK(rte_hotplug_device_next("pci", NULL) == NULL);
}

static void the_command_line_chooses(void)
{
	static const struct {
		const char *option, *value;
		int attached;
		int state; /* of FUNCTION, or that of one that is not attached */
	} lines[] = {
		{ "-a", FUNCTION, 1, RTE_HOTPLUG_DEVICE_PROBED },
		{ "-a", "02:00.0", 1, RTE_HOTPLUG_DEVICE_PROBED },
		{ "-a", "pci:02:00.0", 1, RTE_HOTPLUG_DEVICE_PROBED },
		{ "-a", "bus=pci,addr=02:00.0", 1, RTE_HOTPLUG_DEVICE_PROBED },
		{ "-a", "02:00.0,speed=9", 1, RTE_HOTPLUG_DEVICE_PROBED },
		{ "-a", OTHER, 1, RTE_HOTPLUG_DEVICE_BOUND },
		{ "-a", "0002:02:00.0", 0, RTE_HOTPLUG_DEVICE_BOUND },
		{ "-b", FUNCTION, 2, RTE_HOTPLUG_DEVICE_BOUND },
		{ "-b", "02:00.0", 2, RTE_HOTPLUG_DEVICE_BOUND },
		{ "-b", "bus=pci,addr=02:00.0", 2, RTE_HOTPLUG_DEVICE_BOUND },
		{ "-b", OTHER, 2, RTE_HOTPLUG_DEVICE_PROBED },
		{ "--no-pci", NULL, 0, -ENODEV },
		{ "--vdev", "hotplug_null0", 3, RTE_HOTPLUG_DEVICE_PROBED },
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		set_up_three();
		CHECK(start(lines[i].option, lines[i].value) >= 0);
		CHECK_INT(how_many(), lines[i].attached);
		CHECK_INT(pci_state(FUNCTION), lines[i].state);
		/* Whatever it says, an attach by name does what it is asked for. */
		CHECK_INT(rte_dev_probe("02:00.0"), 0);
		CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_PROBED);
	}
}

static void arguments_on_the_command_line(void)
{
	set_up_three();
	CHECK(start("-a", "02:00.0,speed=9") >= 0);
	CHECK_STR(rte_hotplug_device_devargs(rte_hotplug_device_find("pci", FUNCTION)), "speed=9");
	set_up_three();
	CHECK_INT(start("-a", "pci:nonsense"), -1);
	CHECK(rte_hotplug_device_next("pci", NULL) == NULL);
}

static void a_probe_that_fails_is_left(void)
{
	set_up_three();
	driver.probe_result = -EIO;
	CHECK(start(NULL, NULL) >= 0);
	CHECK_INT(driver.probes, 3);
	CHECK_INT(how_many(), 0);
	driver.probe_result = 0;
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
}

/* D2: what makes no sense, or goes while it is read, is passed by. */
static void entries_that_make_no_sense(void)
{
	static const char *const files[] = { "vendor", "device", "subsystem_vendor",
					     "subsystem_device", "class" };
	static const char *const texts[] = { "",      "\n",	   "0x",	"1af4\n",
					     "0x1af4z", "0x12345678901234567890\n", "-1\n" };
	char address[16];

	pci_set_up();
	CHECK_INT(symlink("nowhere", tree_path("devices/0000:04:00.0")), 0);
	CHECK_INT(symlink("0000:04:00.1", tree_path("devices/0000:04:00.1")), 0);
	CHECK_INT(mkdir(tree_path("devices/0000:04:00.2"), 0700), 0);
	tree_write(tree_path("devices/0000:04:00.3"), "a file\n");
	for (int i = 0; i < 5; i++) {
		snprintf(address, sizeof(address), "0000:05:00.%d", i);
		tree_add(address, 0x1af4, 0x10f0, NETWORK, UIO);
		tree_remove(tree_path("devices/%s/%s", address, files[i]));
		snprintf(address, sizeof(address), "0000:06:00.%d", i);
		tree_add(address, 0x1af4, 0x10f0, NETWORK, UIO);
		tree_remove(tree_path("devices/%s/%s", address, files[i]));
		CHECK_INT(mkdir(tree_path("devices/%s/%s", address, files[i]), 0700), 0);
	}
	for (int i = 0; i < 7; i++) {
		snprintf(address, sizeof(address), "0000:07:00.%d", i);
		tree_add(address, 0x1af4, 0x10f0, NETWORK, UIO);
		tree_write(tree_path("devices/%s/vendor", address), texts[i]);
	}
	/* The kernel writes addresses in one way. */
	tree_add("nonsense", 0x1af4, 0x10f0, NETWORK, UIO);
	tree_add("03:00.0", 0x1af4, 0x10f0, NETWORK, UIO);
	tree_add("0000:3:0.1", 0x1af4, 0x10f0, NETWORK, UIO);
	tree_add("0000:02:00.0 ", 0x1af4, 0x10f0, NETWORK, UIO);
	CHECK(start(NULL, NULL) >= 0);
	CHECK_INT(how_many(), 1);
	CHECK(rte_hotplug_device_next("pci", rte_hotplug_device_find("pci", FUNCTION)) == NULL);
	/* They are no better when they are asked for. */
	CHECK_INT(rte_dev_probe("04:00.0"), -ENODEV);
	CHECK_INT(rte_dev_probe("04:00.2"), -ENODEV);
	CHECK_INT(rte_dev_probe("05:00.4"), -ENODEV);
	CHECK_INT(rte_dev_probe("06:00.0"), -ENODEV);
	CHECK_INT(rte_dev_probe("07:00.6"), -ENODEV);
	CHECK_INT(rte_dev_probe("03:00.0"), -ENODEV);
	CHECK_INT(driver.probes, 1);
}

static void a_tree_that_is_not_there(void)
{
	pci_set_up();
	setenv("SYSFS_PCI_DEVICES", tree_path("nowhere"), 1);
	log_catch();
	CHECK(start(NULL, NULL) >= 0);
	CHECK(strstr(log_caught(), "cannot list PCI devices") != NULL);
	setenv("SYSFS_PCI_DEVICES", tree_path("devices"), 1);
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
}

static void numa_nodes(void)
{
	pci_set_up();
	CHECK_INT(rte_hotplug_device_numa_node(pci_attached(FUNCTION)), 0);
	tree_add(OTHER, 0x1af4, 0x10f0, NETWORK, UIO);
	tree_remove(tree_path("devices/" OTHER "/numa_node"));
	CHECK_INT(rte_hotplug_device_numa_node(pci_attached(OTHER)), -1);
}

static const struct test_case cases[] = {
	{ "what has a driver is attached", what_has_a_driver_is_attached },
	{ "without drivers nothing is looked for", without_drivers_nothing_is_looked_for },
	{ "the command line chooses", the_command_line_chooses },
	{ "arguments on the command line", arguments_on_the_command_line },
	{ "a probe that fails is left", a_probe_that_fails_is_left },
	{ "D2: entries that make no sense", entries_that_make_no_sense },
	{ "a tree that is not there", a_tree_that_is_not_there },
	{ "NUMA nodes", numa_nodes },
};

int main(void)
{
	return pci_run(cases, sizeof(cases) / sizeof(cases[0]));
}
