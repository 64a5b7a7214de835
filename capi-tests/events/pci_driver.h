/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A PCI driver of a test's own. Debian ships no bus_pci_driver.h: the structs as far as they are used.
 */
#ifndef PCI_DRIVER_H
#define PCI_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "../dpdk.h"

struct pci_list_entry {
	void *next, *prev;
};

struct rte_pci_device;

struct pci_id {
	uint32_t class_id;
	uint16_t vendor_id, device_id, subsystem_vendor_id, subsystem_device_id;
};

struct rte_pci_driver {
	struct pci_list_entry next;
	struct {
		struct pci_list_entry next;
		const char *name;
		const char *alias;
	} driver;
#if RTE_VERSION < RTE_VERSION_NUM(21, 11, 0, 0)
	void *bus;
#endif
	int (*probe)(struct rte_pci_driver *driver, struct rte_pci_device *device);
	int (*remove)(struct rte_pci_device *device);
	void *dma_map, *dma_unmap;
	const struct pci_id *id_table;
	uint32_t drv_flags;
};

/* rte_pci_device.mem_resource */
#define PCI_RESOURCES (HAS_PUBLIC_STRUCTS ? 96 : 104)

struct pci_resource {
	uint64_t physical, length;
	void *address;
};

static inline struct pci_resource *pci_resources(struct rte_pci_device *device)
{
	return (void *)((char *)device + PCI_RESOURCES);
}

void rte_pci_register(struct rte_pci_driver *driver);

#endif /* PCI_DRIVER_H */
