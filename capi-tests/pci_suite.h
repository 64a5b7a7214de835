/* SPDX-License-Identifier: BSD-3-Clause */
/* What the suites of the embedded PCI bus share: a driver that counts, and does what it is told. */
#ifndef PCI_SUITE_H
#define PCI_SUITE_H

#include "pci_tree.h"
#include "suite.h"

#define FUNCTION "0000:02:00.0"
#define OTHER "0000:02:00.1"
#define NETWORK 0x020000
#define ANY RTE_HOTPLUG_PCI_ANY_ID
#define ANY_CLASS RTE_HOTPLUG_PCI_ANY_CLASS

struct pci_driver {
	struct rte_hotplug_driver *handle;
	_Atomic int probes, removes;
	int probe_result, remove_result;
	void (*in_probe)(struct rte_device *dev);
	void (*in_remove)(struct rte_device *dev);
};

static inline int pci_driver_probe(struct rte_device *dev, void *user)
{
	struct pci_driver *driver = user;

	driver->probes++;
	if (driver->in_probe != NULL)
		driver->in_probe(dev);
	return driver->probe_result;
}

static inline int pci_driver_remove(struct rte_device *dev, void *user)
{
	struct pci_driver *driver = user;

	driver->removes++;
	if (driver->in_remove != NULL)
		driver->in_remove(dev);
	return driver->remove_result;
}

static inline int pci_register(struct pci_driver *driver, const char *name,
			       const struct rte_hotplug_pci_id *ids)
{
	struct rte_hotplug_driver_options options = {
		.size = sizeof(options),
		.name = name,
		.bus = "pci",
		.probe = pci_driver_probe,
		.remove = pci_driver_remove,
		.user = driver,
		.pci_ids = ids,
	};

	return rte_hotplug_driver_register(&options, &driver->handle);
}

/* One for every function of vendor 0x1af4, and others for what a case needs. */
static struct pci_driver driver, second, third;

static inline int pci_unregister(struct pci_driver *of)
{
	struct rte_hotplug_driver *handle = of->handle;

	of->handle = NULL;
	return rte_hotplug_driver_unregister(handle);
}

/* Also after a case that has failed anywhere. */
static inline void pci_tear_down(void)
{
	struct pci_driver *drivers[] = { &driver, &second, &third };

	driver.remove_result = 0;
	rte_eal_cleanup();
	for (int i = 0; i < 3; i++) {
		if (drivers[i]->handle != NULL)
			pci_unregister(drivers[i]);
		memset(drivers[i], 0, sizeof(*drivers[i]));
	}
	tree_clear();
}

static inline void pci_set_up(void)
{
	static const struct rte_hotplug_pci_id ids[] = { { ANY_CLASS, 0x1af4, ANY, ANY, ANY },
							 { 0 } };

	pci_tear_down();
	CHECK_INT(pci_register(&driver, "test", ids), 0);
	tree_add(FUNCTION, 0x1af4, 0x10f0, NETWORK, UIO);
}

static inline int pci_run(const struct test_case *cases, size_t count)
{
	int result;

	tree_make();
	result = run_table(cases, count);
	pci_tear_down();
	return result;
}

static inline struct rte_device *pci_attached(const char *address)
{
	struct rte_device *dev;

	CHECK_INT(rte_dev_probe(address), 0);
	dev = rte_hotplug_device_find("pci", address);
	CHECK(dev != NULL);
	return dev;
}

static inline int pci_state(const char *address)
{
	return rte_hotplug_device_state_by_name("pci", address);
}

#endif /* PCI_SUITE_H */
