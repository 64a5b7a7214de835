/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vdev driver of a test's own. Debian ships no bus_vdev_driver.h: the struct is that of DPDK 22.11;
 * the members that tests use are the same since 20.11.
 */
#ifndef VDEV_DRIVER_H
#define VDEV_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include <rte_dev.h>

struct list_entry {
	void *next, *prev;
};

struct rte_vdev_driver {
	struct list_entry next;
	struct {
		struct list_entry next;
		const char *name;
		const char *alias;
	} driver;
	int (*probe)(void *vdev);
	int (*remove)(void *vdev);
	int (*dma_map)(void *vdev, void *addr, uint64_t iova, size_t len);
	int (*dma_unmap)(void *vdev, void *addr, uint64_t iova, size_t len);
	uint32_t drv_flags;
};

void rte_vdev_register(struct rte_vdev_driver *driver);
void rte_vdev_unregister(struct rte_vdev_driver *driver);

/* struct rte_vdev_device is a list entry and the device. */
static inline const struct rte_device *device_of(const void *vdev)
{
	return (const void *)((const char *)vdev + sizeof(struct list_entry));
}

#endif /* VDEV_DRIVER_H */
