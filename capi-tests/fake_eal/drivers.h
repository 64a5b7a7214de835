/* SPDX-License-Identifier: BSD-3-Clause */
/* Drivers that do what a device's arguments say, and look what they are asked for. */
#ifndef DRIVERS_H
#define DRIVERS_H

#include "fake_eal.h"

/* What is known of a device besides what DPDK knows. */
struct fake_use {
	atomic_int busy; /* threads that probe or remove it */
	atomic_bool held;
};

/* Probes for a driver that takes devices, or with picky for one that takes none. */
int fake_driver_probe(struct rte_device *dev, struct fake_use *use, bool picky);
int fake_driver_remove(struct rte_device *dev, struct fake_use *use);

#endif /* DRIVERS_H */
