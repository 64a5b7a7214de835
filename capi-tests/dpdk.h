/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tests take of DPDK in all versions, as 22.11 and later have it. */
#ifndef DPDK_H
#define DPDK_H

#include <rte_dev.h>
#include <rte_version.h>

/* Up to 22.07 the structs are public, and there are no functions that read them. */
#define HAS_PUBLIC_STRUCTS (RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0))

#if HAS_PUBLIC_STRUCTS
#include <rte_devargs.h>

static inline const char *rte_dev_name(const struct rte_device *device)
{
	return device->name;
}

static inline const struct rte_driver *rte_dev_driver(const struct rte_device *device)
{
	return device->driver;
}

static inline const struct rte_devargs *rte_dev_devargs(const struct rte_device *device)
{
	return device->devargs;
}
#endif

#endif /* DPDK_H */
