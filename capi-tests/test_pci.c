/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI bus of the embedded runtime: finding functions, and the drivers for them. */

#include <sys/stat.h>

#include "pci_suite.h"

static void every_way_to_write_an_address(void)
{
	static const char *const names[] = {
		FUNCTION,		 "02:00.0",
		"pci:" FUNCTION,	 "pci:02:00.0",
		"bus=pci,addr=" FUNCTION, "bus=pci,addr=02:00.0",
		"2:0.0",		 "0000:02:00.0,",
	};

	pci_set_up();
	for (int i = 0; i < (int)(sizeof(names) / sizeof(names[0])); i++) {
		struct rte_device *dev;

		CHECK_INT(rte_dev_probe(names[i]), 0);
		dev = rte_hotplug_device_find("pci", FUNCTION);
		CHECK(dev != NULL && dev == rte_hotplug_device_find("pci", "02:00.0"));
		CHECK(rte_hotplug_device_next("pci", dev) == NULL);
		CHECK_STR(rte_hotplug_device_name(dev), FUNCTION);
		CHECK_STR(rte_hotplug_device_bus(dev), "pci");
		CHECK_STR(rte_hotplug_device_driver(dev), "test");
		CHECK_INT(rte_dev_probe("02:00.0"), 0);
		CHECK_INT(driver.probes, i + 1);
		CHECK_INT(rte_dev_remove(dev), 0);
		CHECK_INT(driver.removes, i + 1);
		CHECK(rte_hotplug_device_find("pci", FUNCTION) == NULL);
	}
	CHECK_INT(rte_eal_hotplug_add("pci", "02:00.0", "speed=9"), 0);
	CHECK_STR(rte_hotplug_device_devargs(rte_hotplug_device_find("pci", FUNCTION)), "speed=9");
	CHECK_INT(rte_eal_hotplug_remove("pci", "2:0.0"), 0);
}

static void what_is_not_there(void)
{
	static const char *const addresses[] = { OTHER, "pci:" OTHER, "02:00.1",
						 "ffffffff:ff:ff.ff" };

	pci_set_up();
	for (size_t i = 0; i < sizeof(addresses) / sizeof(addresses[0]); i++)
		CHECK_INT(rte_dev_probe(addresses[i]), -ENODEV);
	CHECK_INT(pci_state(OTHER), -ENODEV);
	CHECK(rte_dev_probe("pci:0000:02:00") < 0);
	CHECK(rte_dev_probe("pci:") < 0);
	CHECK(rte_dev_probe("bus=pci,addr=nonsense") < 0);
	CHECK(rte_dev_probe("bus=pci") < 0);
	CHECK(rte_dev_probe("pci:../devices/" FUNCTION) < 0);
	CHECK_INT(rte_eal_hotplug_remove("pci", OTHER), -EINVAL);
	CHECK_INT(driver.probes, 0);
	CHECK(rte_hotplug_device_next("pci", NULL) == NULL);
	setenv("SYSFS_PCI_DEVICES", tree_path("nowhere"), 1);
	CHECK_INT(rte_dev_probe(FUNCTION), -ENODEV);
	setenv("SYSFS_PCI_DEVICES", tree_path("devices"), 1);
}

/* What an attach comes to with a driver for these functions. */
static int attach_with(const struct rte_hotplug_pci_id *ids)
{
	struct rte_device *dev;
	int result;

	memset(&second, 0, sizeof(second));
	CHECK_INT(pci_register(&second, "second", ids), 0);
	result = rte_dev_probe(OTHER);
	dev = rte_hotplug_device_find("pci", OTHER);
	CHECK_INT(second.probes, result == 0);
	if (result == 0)
		CHECK_INT(rte_dev_remove(dev), 0);
	CHECK_INT(pci_unregister(&second), 0);
	return result;
}

static void tables_of_ids(void)
{
	static const struct {
		struct rte_hotplug_pci_id ids[3];
		int result;
	} tables[] = {
		{ { { NETWORK, 0x8086, 0x10d3, 0x1af4, 0x0001 } }, 0 },
		{ { { ANY_CLASS, 0x8086, 0x10d3, ANY, ANY } }, 0 },
		{ { { ANY_CLASS, ANY, ANY, ANY, ANY } }, 0 },
		{ { { NETWORK, ANY, ANY, ANY, ANY } }, 0 },
		{ { { ANY_CLASS, 0x8086, 0x10d4, ANY, ANY }, { ANY_CLASS, 0x8086, 0x10d3, ANY, ANY } },
		  0 },
		{ { { ANY_CLASS, 0x8086, 0x10d4, ANY, ANY } }, -ENOTSUP },
		{ { { ANY_CLASS, 0x8087, 0x10d3, ANY, ANY } }, -ENOTSUP },
		{ { { 0x010802, ANY, ANY, ANY, ANY } }, -ENOTSUP },
		{ { { ANY_CLASS, ANY, ANY, ANY, 0x0002 } }, -ENOTSUP },
		{ { { ANY_CLASS, ANY, ANY, 0x8086, ANY } }, -ENOTSUP },
		{ { { 0, 0x8086, 0x10d3, ANY, ANY } }, -ENOTSUP },
	};

	pci_set_up();
	tree_add(OTHER, 0x8086, 0x10d3, NETWORK, UIO);
	CHECK_INT(rte_dev_probe(OTHER), -ENOTSUP);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
		CHECK_INT(attach_with(tables[i].ids), tables[i].result);
	CHECK_INT(driver.probes, 0);
}

static void several_drivers(void)
{
	static const struct rte_hotplug_pci_id any[] = { { ANY_CLASS, ANY, ANY, ANY, ANY }, { 0 } };

	pci_set_up();
	CHECK_INT(pci_register(&second, "second", any), 0);
	CHECK_INT(pci_register(&third, "third", any), 0);
	CHECK_INT(pci_register(&third, "test", any), -EEXIST);
	driver.probe_result = 1;
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	CHECK_STR(rte_hotplug_device_driver(rte_hotplug_device_find("pci", FUNCTION)), "second");
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
	second.probe_result = third.probe_result = 1;
	CHECK_INT(rte_dev_probe(FUNCTION), -ENOTSUP);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_BOUND);
	second.probe_result = -ENXIO;
	CHECK_INT(rte_dev_probe(FUNCTION), -ENXIO);
	CHECK_INT(driver.probes, 3);
	CHECK_INT(second.probes, 3);
	CHECK_INT(third.probes, 1);
}

static void a_driver_without_ids(void)
{
	static const struct rte_hotplug_pci_id none[] = { { 0 } };

	pci_set_up();
	CHECK_INT(pci_register(&second, "second", NULL), -EINVAL);
	CHECK_INT(pci_register(&second, "second", none), -EINVAL);
	CHECK(second.handle == NULL);
}

static void of_the_kernels_drivers(void)
{
	pci_set_up();
	tree_bind(FUNCTION, "e1000e");
	log_catch();
	CHECK_INT(rte_dev_probe(FUNCTION), -ENOTSUP);
	CHECK(strstr(log_caught(), "e1000e") != NULL);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_FOUND);
	tree_bind(FUNCTION, NULL);
	log_catch();
	CHECK_INT(rte_dev_probe(FUNCTION), -ENOTSUP);
	CHECK(strstr(log_caught(), "no kernel driver") != NULL);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_FOUND);
	tree_bind(FUNCTION, "uio");
	CHECK_INT(rte_dev_probe(FUNCTION), -ENOTSUP);
	CHECK_INT(driver.probes, 0);
	tree_bind(FUNCTION, "igb_uio");
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_BOUND);
	CHECK_INT(pci_state("02:00.0"), RTE_HOTPLUG_DEVICE_BOUND);
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_PROBED);
}

static void under_vfio_without_its_means(void)
{
	pci_set_up();
	tree_bind(FUNCTION, "vfio-pci");
	log_catch();
	CHECK_INT(rte_dev_probe(FUNCTION), -ENODEV);
	CHECK(strstr(log_caught(), "IOMMU") != NULL);
	/* No machine has a group of this number. */
	CHECK_INT(symlink("../../../kernel/iommu_groups/2147483647",
			  tree_path("devices/%s/iommu_group", FUNCTION)),
		  0);
	log_catch();
	CHECK(rte_dev_probe(FUNCTION) < 0);
	CHECK(strstr(log_caught(), "open /dev/vfio") != NULL);
	CHECK_INT(driver.probes, 0);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_BOUND);
	tree_bind(FUNCTION, UIO);
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
}

static void a_device_that_vanishes(void)
{
	struct rte_device *dev;

	pci_set_up();
	/* Found, and not attached. */
	driver.probe_result = -EIO;
	CHECK_INT(rte_dev_probe(FUNCTION), -EIO);
	dev = rte_hotplug_device_find("pci", FUNCTION);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_BOUND);
	tree_remove(tree_path("devices/" FUNCTION));
	CHECK_INT(rte_dev_probe(FUNCTION), -ENODEV);
	CHECK_INT(pci_state(FUNCTION), -ENODEV);
	CHECK_INT(rte_hotplug_device_state(dev), -ENODEV);
	CHECK_INT(rte_dev_remove(dev), -ENODEV);

	/* Attached. */
	driver.probe_result = 0;
	tree_add(FUNCTION, 0x1af4, 0x10f0, NETWORK, UIO);
	dev = pci_attached(FUNCTION);
	tree_remove(tree_path("devices/" FUNCTION));
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK_INT(rte_dev_remove(dev), 0);
	CHECK_INT(pci_state(FUNCTION), -ENODEV);
	CHECK_INT(rte_dev_probe(FUNCTION), -ENODEV);
	tree_add(FUNCTION, 0x1af4, 0x10f0, NETWORK, UIO);
	CHECK(pci_attached(FUNCTION) != dev);
	CHECK_INT(driver.probes, 3);
	CHECK_INT(driver.removes, 1);
}

/* Another kind of function in its place is not taken for the one before. */
static void another_device_at_its_address(void)
{
	struct rte_hotplug_pci_id id;

	pci_set_up();
	driver.probe_result = -EIO;
	CHECK_INT(rte_dev_probe(FUNCTION), -EIO);
	tree_remove(tree_path("devices/" FUNCTION));
	tree_add(FUNCTION, 0x8086, 0x10d3, NETWORK, UIO);
	CHECK_INT(rte_dev_probe(FUNCTION), -ENOTSUP);
	CHECK_INT(driver.probes, 1);
	CHECK_INT(rte_hotplug_pci_id_get(rte_hotplug_device_find("pci", FUNCTION), &id), 0);
	CHECK_INT(id.vendor_id, 0x8086);
}

static void stale_and_foreign_pointers(void)
{
	struct rte_device *dev, *null_device;
	struct rte_hotplug_pci_id id;
	void *memory;
	char byte;

	pci_set_up();
	CHECK_INT(rte_dev_probe("hotplug_null0"), 0);
	dev = pci_attached(FUNCTION);
	null_device = rte_hotplug_device_find("vdev", "hotplug_null0");
	CHECK_INT(rte_dev_remove(dev), 0);
	for (int i = 0; i < 2; i++) {
		struct rte_device *wrong = i == 0 ? dev : null_device;

		CHECK_INT(rte_hotplug_pci_id_get(wrong, &id), -ENODEV);
		CHECK_INT(rte_hotplug_pci_map(wrong, 0, &memory, NULL), -ENODEV);
		CHECK_INT(rte_hotplug_pci_config_read(wrong, 0, &byte, 1), -ENODEV);
		CHECK_INT(rte_hotplug_pci_config_write(wrong, 0, &byte, 1), -ENODEV);
	}
	CHECK_INT(rte_dev_remove(dev), -ENODEV);
	CHECK_INT(rte_hotplug_device_state(dev), -ENODEV);
	/* Attached again it is another one. */
	CHECK(pci_attached(FUNCTION) != dev);
	CHECK_INT(rte_dev_remove(dev), -ENODEV);
	CHECK_INT(pci_state(FUNCTION), RTE_HOTPLUG_DEVICE_PROBED);
}

static void attach_the_other(struct rte_device *dev)
{
	if (strcmp(rte_hotplug_device_name(dev), FUNCTION) == 0)
		EXPECT(rte_dev_probe(OTHER) == 0);
}

static void detach_the_other(struct rte_device *dev)
{
	if (strcmp(rte_hotplug_device_name(dev), FUNCTION) == 0)
		EXPECT(rte_eal_hotplug_remove("pci", OTHER) == 0);
}

static void from_inside_of_a_driver(void)
{
	pci_set_up();
	tree_add(OTHER, 0x1af4, 0x10f0, NETWORK, UIO);
	driver.in_probe = attach_the_other;
	driver.in_remove = detach_the_other;
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	CHECK_INT(pci_state(OTHER), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK_INT(rte_eal_hotplug_remove("pci", FUNCTION), 0);
	CHECK_INT(pci_state(OTHER), -ENODEV);
	CHECK_INT(driver.removes, 2);
}

#define THREADS 8

static void *attach_and_detach(void *address)
{
	for (int i = 0; i < suite_scaled(200); i++) {
		EXPECT(rte_dev_probe(address) == 0);
		EXPECT(rte_eal_hotplug_remove("pci", address) == 0);
	}
	return NULL;
}

static void each_thread_has_its_own(void)
{
	static char addresses[THREADS][16];
	pthread_t threads[THREADS];

	pci_set_up();
	for (int i = 0; i < THREADS; i++) {
		snprintf(addresses[i], sizeof(addresses[i]), "0000:03:00.%d", i);
		tree_add(addresses[i], 0x1af4, 0x10f0, NETWORK, UIO);
	}
	for (int i = 0; i < THREADS; i++)
		CHECK_INT(pthread_create(&threads[i], NULL, attach_and_detach, addresses[i]), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	CHECK(!harness_failed);
	CHECK_INT(driver.probes, THREADS * suite_scaled(200));
	CHECK(rte_hotplug_device_next("pci", NULL) == NULL);
}

static void a_remove_that_fails(void)
{
	struct rte_device *dev;
	void *memory, *again;

	pci_set_up();
	dev = pci_attached(FUNCTION);
	CHECK_INT(rte_hotplug_pci_map(dev, 0, &memory, NULL), 0);
	driver.remove_result = -EBUSY;
	CHECK_INT(rte_dev_remove(dev), -EBUSY);
	CHECK_INT(rte_hotplug_device_state(dev), RTE_HOTPLUG_DEVICE_PROBED);
	CHECK_INT(rte_hotplug_pci_map(dev, 0, &again, NULL), 0);
	CHECK(again == memory && *(char *)memory == '0');
	driver.remove_result = 0;
	CHECK_INT(rte_dev_remove(dev), 0);
}

static const struct test_case cases[] = {
	{ "every way to write an address", every_way_to_write_an_address },
	{ "what is not there", what_is_not_there },
	{ "tables of ids", tables_of_ids },
	{ "several drivers", several_drivers },
	{ "a driver without ids", a_driver_without_ids },
	{ "of the kernel's drivers", of_the_kernels_drivers },
	{ "under VFIO without its means", under_vfio_without_its_means },
	{ "a device that vanishes", a_device_that_vanishes },
	{ "another device at its address", another_device_at_its_address },
	{ "stale and foreign pointers", stale_and_foreign_pointers },
	{ "from inside of a driver", from_inside_of_a_driver },
	{ "each thread has its own", each_thread_has_its_own },
	{ "a remove that fails", a_remove_that_fails },
};

int main(void)
{
	return pci_run(cases, sizeof(cases) / sizeof(cases[0]));
}
