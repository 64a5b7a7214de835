/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vdev driver of a test's own. From 22.11 Debian ships no bus_vdev_driver.h: the struct is that of DPDK
 * 22.11; the members that tests use are the same in all versions.
 */
#ifndef VDEV_DRIVER_H
#define VDEV_DRIVER_H

#include <stddef.h>
#include <stdint.h>

#include "dpdk.h"

#if HAS_PUBLIC_STRUCTS
#include <rte_bus_vdev.h>
#else
struct rte_vdev_device;

struct rte_vdev_driver {
	struct {
		void *next, *prev;
	} next;
	struct {
		struct {
			void *next, *prev;
		} next;
		const char *name;
		const char *alias;
	} driver;
	int (*probe)(struct rte_vdev_device *vdev);
	int (*remove)(struct rte_vdev_device *vdev);
	int (*dma_map)(struct rte_vdev_device *vdev, void *addr, uint64_t iova, size_t len);
	int (*dma_unmap)(struct rte_vdev_device *vdev, void *addr, uint64_t iova, size_t len);
	uint32_t drv_flags;
};

void rte_vdev_register(struct rte_vdev_driver *driver);
void rte_vdev_unregister(struct rte_vdev_driver *driver);
#endif

/* struct rte_vdev_device is a list entry, two pointers, and the device. */
static inline const struct rte_device *device_of(const struct rte_vdev_device *vdev)
{
	return (const void *)((const char *)vdev + 2 * sizeof(void *));
}

#endif /* VDEV_DRIVER_H */
