/* SPDX-License-Identifier: BSD-3-Clause */
/* The PCI bus of the embedded runtime: what a driver reaches of its function. */

#include "pci_suite.h"

#define RESOURCE "devices/" FUNCTION "/resource0"

static volatile char *map(struct rte_device *dev, uint32_t bar, size_t expected)
{
	void *memory = NULL;
	size_t length = 0;

	CHECK_INT(rte_hotplug_pci_map(dev, bar, &memory, &length), 0);
	CHECK_INT(length, expected);
	return memory;
}

static void memory(void)
{
	struct rte_device *dev;
	volatile char *bar;

	pci_set_up();
	dev = pci_attached(FUNCTION);
	CHECK(!tree_is_mapped(tree_path(RESOURCE)));
	bar = map(dev, 0, MEMORY_SIZE);
	CHECK(tree_is_mapped(tree_path(RESOURCE)));
	CHECK(bar[0] == '0' && bar[MEMORY_SIZE - 1] == '0');
	CHECK(map(dev, 0, MEMORY_SIZE) == bar);
	/* It is that file's. */
	bar[0] = '5';
	CHECK_INT(tree_read(tree_path(RESOURCE))[0], '5');
	tree_write(tree_path("devices/" FUNCTION "/resource4"), "");
	CHECK_INT(rte_dev_remove(dev), 0);
	CHECK(!tree_is_mapped(tree_path(RESOURCE)));
	/* Attached again it is mapped again. */
	CHECK(map(pci_attached(FUNCTION), 0, MEMORY_SIZE)[0] == '5');
}

/* Of less than a page: other functions' registers may be in the same one. */
static void memory_in_the_middle_of_a_page(void)
{
	struct rte_device *dev;
	volatile char *bar;
	FILE *file;

	pci_set_up();
	file = fopen(tree_path("devices/" FUNCTION "/resource4"), "r+e");
	CHECK(file != NULL && fseek(file, SMALL_OFFSET, SEEK_SET) == 0);
	CHECK(fputc('x', file) == 'x' && fclose(file) == 0);
	dev = pci_attached(FUNCTION);
	bar = map(dev, 4, SMALL_SIZE);
	CHECK_INT(bar[0], 'x');
	CHECK_INT((uintptr_t)bar % PAGE, SMALL_OFFSET);
	CHECK_INT(bar[-1], '4');
	CHECK_INT(rte_dev_remove(dev), 0);
	CHECK(!tree_is_mapped(tree_path("devices/" FUNCTION "/resource4")));
}

static void what_cannot_be_mapped(void)
{
	struct rte_device *dev;
	void *at = &dev;

	pci_set_up();
	dev = pci_attached(FUNCTION);
	CHECK_INT(rte_hotplug_pci_map(dev, 1, &at, NULL), -ENOTSUP);
	CHECK_INT(rte_hotplug_pci_map(dev, 2, &at, NULL), -ENOENT);
	CHECK_INT(rte_hotplug_pci_map(dev, 5, &at, NULL), -ENOENT);
	CHECK_INT(rte_hotplug_pci_map(dev, 6, &at, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_pci_map(dev, UINT32_MAX, &at, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_pci_map(dev, 0, NULL, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_pci_map(NULL, 0, &at, NULL), -EINVAL);
	CHECK(at == &dev);
	tree_remove(tree_path(RESOURCE));
	CHECK_INT(rte_hotplug_pci_map(dev, 0, &at, NULL), -ENOENT);
	tree_write(tree_path("devices/" FUNCTION "/resource"), "nonsense\n\n0x1");
	CHECK_INT(rte_hotplug_pci_map(dev, 4, &at, NULL), -ENOENT);
	/* More than there is room for. */
	tree_write(tree_path("devices/" FUNCTION "/resource"),
		   "0x1000 0xffffffffffffffff 0x200\n0x0 0xffffffffffffffff 0x200\n");
	CHECK_INT(rte_hotplug_pci_map(dev, 1, &at, NULL), -ENOENT);
	tree_write(tree_path(RESOURCE), "");
	CHECK(rte_hotplug_pci_map(dev, 0, &at, NULL) < 0);
	tree_remove(tree_path("devices/" FUNCTION));
	CHECK_INT(rte_hotplug_pci_map(dev, 0, &at, NULL), -ENOENT);
	CHECK(at == &dev);
}

static volatile char *mapped;

static void map_it(struct rte_device *dev)
{
	void *at = NULL;

	EXPECT(rte_hotplug_pci_map(dev, 0, &at, NULL) == 0);
	mapped = at;
}

static void after_a_probe_that_fails(void)
{
	struct rte_device *dev;
	void *at;

	pci_set_up();
	driver.in_probe = map_it;
	driver.probe_result = -EIO;
	CHECK_INT(rte_dev_probe(FUNCTION), -EIO);
	CHECK(mapped != NULL);
	CHECK(!tree_is_mapped(tree_path(RESOURCE)));
	dev = rte_hotplug_device_find("pci", FUNCTION);
	CHECK_INT(rte_hotplug_pci_map(dev, 0, &at, NULL), -ENOENT);
	driver.probe_result = 1;
	CHECK_INT(rte_dev_probe(FUNCTION), -ENOTSUP);
	CHECK(!tree_is_mapped(tree_path(RESOURCE)));
	driver.probe_result = 0;
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	CHECK(mapped[0] == '0');
}

static void read_it(struct rte_device *dev)
{
	void *at;

	EXPECT(rte_hotplug_pci_map(dev, 0, &at, NULL) == 0);
	EXPECT(at == (void *)(uintptr_t)mapped && mapped[0] == '0');
}

static void until_the_drivers_remove_returns(void)
{
	pci_set_up();
	driver.in_probe = map_it;
	driver.in_remove = read_it;
	CHECK_INT(rte_dev_probe(FUNCTION), 0);
	tree_remove(tree_path("devices/" FUNCTION));
	CHECK_INT(mapped[MEMORY_SIZE - 1], '0');
	CHECK_INT(rte_eal_cleanup(), 0);
	CHECK_INT(driver.removes, 1);
	CHECK(!tree_is_mapped(tree_path(RESOURCE)));
}

static void configuration_space(void)
{
	struct rte_device *dev;
	char buffer[CONFIG_SIZE + 1];

	pci_set_up();
	dev = pci_attached(FUNCTION);
	CHECK_INT(rte_hotplug_pci_config_read(dev, 0, buffer, CONFIG_SIZE), CONFIG_SIZE);
	CHECK(buffer[0] == 'c' && buffer[CONFIG_SIZE - 1] == 'c');
	CHECK_INT(rte_hotplug_pci_config_write(dev, 4, "\006", 1), 1);
	CHECK_INT(rte_hotplug_pci_config_read(dev, 3, buffer, 3), 3);
	CHECK(memcmp(buffer, "c\006c", 3) == 0);
	CHECK_INT(rte_hotplug_pci_config_read(dev, CONFIG_SIZE - 1, buffer, 1), 1);
	CHECK_INT(rte_hotplug_pci_config_read(dev, CONFIG_SIZE, buffer, 0), 0);
	CHECK_INT(rte_hotplug_pci_config_read(dev, CONFIG_SIZE, buffer, 1), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_read(dev, CONFIG_SIZE - 1, buffer, 2), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_read(dev, 0, buffer, CONFIG_SIZE + 1), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_read(dev, UINT32_MAX, buffer, 1), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_write(dev, CONFIG_SIZE, buffer, 1), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_write(dev, CONFIG_SIZE - 1, buffer, 2), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_read(dev, 0, NULL, 1), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_write(dev, 0, NULL, 1), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_read(NULL, 0, buffer, 1), -EINVAL);
	CHECK_INT(rte_hotplug_pci_config_write(NULL, 0, buffer, 1), -EINVAL);
	tree_remove(tree_path("devices/" FUNCTION));
	CHECK_INT(rte_hotplug_pci_config_read(dev, 0, buffer, 1), -ENOENT);
}

static void what_it_is(void)
{
	struct rte_hotplug_pci_id id = { 0 };
	struct rte_hotplug_pci_vfio vfio = { .size = sizeof(vfio), .device = 77 };
	struct rte_device *dev;

	pci_set_up();
	dev = pci_attached(FUNCTION);
	CHECK_INT(rte_hotplug_pci_id_get(dev, &id), 0);
	CHECK_INT(id.class_id, NETWORK);
	CHECK_INT(id.vendor_id, 0x1af4);
	CHECK_INT(id.device_id, 0x10f0);
	CHECK_INT(id.subsystem_vendor_id, 0x1af4);
	CHECK_INT(id.subsystem_device_id, 1);
	CHECK_INT(rte_hotplug_pci_id_get(dev, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_pci_id_get(NULL, &id), -EINVAL);
	CHECK_INT(rte_hotplug_pci_vfio_get(dev, &vfio), -ENOENT);
	CHECK_INT(rte_hotplug_pci_vfio_get(dev, NULL), -EINVAL);
	CHECK_INT(rte_hotplug_pci_vfio_get(NULL, &vfio), -EINVAL);
	vfio.size = 1;
	CHECK_INT(rte_hotplug_pci_vfio_get(dev, &vfio), -EINVAL);
	CHECK_INT(vfio.device, 77);
	/* What it was stays known when it has gone. */
	tree_remove(tree_path("devices/" FUNCTION));
	CHECK_INT(rte_hotplug_pci_id_get(dev, &id), 0);
}

static void of_one_that_is_not_attached(void)
{
	struct rte_hotplug_pci_vfio vfio = { .size = sizeof(vfio) };
	struct rte_hotplug_pci_id id;
	struct rte_device *dev;
	char byte = 0;

	pci_set_up();
	driver.probe_result = -EIO;
	CHECK_INT(rte_dev_probe(FUNCTION), -EIO);
	dev = rte_hotplug_device_find("pci", FUNCTION);
	CHECK_INT(rte_hotplug_pci_id_get(dev, &id), 0);
	CHECK_INT(rte_hotplug_pci_config_read(dev, 0, &byte, 1), -ENOENT);
	CHECK_INT(rte_hotplug_pci_config_write(dev, 0, &byte, 1), -ENOENT);
	CHECK_INT(rte_hotplug_pci_vfio_get(dev, &vfio), -ENOENT);
}

static const struct test_case cases[] = {
	{ "memory", memory },
	{ "memory in the middle of a page", memory_in_the_middle_of_a_page },
	{ "what cannot be mapped", what_cannot_be_mapped },
	{ "after a probe that fails", after_a_probe_that_fails },
	{ "until the driver's remove returns", until_the_drivers_remove_returns },
	{ "configuration space", configuration_space },
	{ "what it is", what_it_is },
	{ "of one that is not attached", of_one_that_is_not_attached },
};

int main(void)
{
	return pci_run(cases, sizeof(cases) / sizeof(cases[0]));
}
