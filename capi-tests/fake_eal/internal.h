/* SPDX-License-Identifier: BSD-3-Clause */
/* What the parts of the fake EAL share. */
#ifndef INTERNAL_H
#define INTERNAL_H

#include "fake_eal.h"

enum wrong { NOTHING, BUS, LATE_BUS, DEVICE };

/* What is laid out otherwise than in DPDK 26.07. */
enum wrong fake_wrong(void);

/*
 * Whether stock's functions only echo: then this call is printed. To be called by each of them with its
 * arguments.
 */
bool fake_echo(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Whether there are multi-process messages. */
bool fake_has_messages(void);

/* Opens the socket of such messages, if there are any; 0 on success. */
int fake_open_messages(void);
void fake_close_messages(void);

/* A secondary asks for the vdevs that its primary has, which are announced; false when it does not tell. */
bool fake_ask_for_vdevs(void);

/* The process's options. */
extern struct fake_options {
	bool no_pci, secondary;
	char directory[80]; /* empty: no multi-process messages */
} fake_options;

/* What EAL itself does with "eal_dev_mp_request". */
int fake_on_request(const struct rte_mp_msg *message, const void *peer);

void fake_bus_register(struct rte_bus *bus);
void fake_bus_add_device(struct rte_bus *bus, struct rte_device *dev);
void fake_bus_add_driver(struct rte_bus *bus, struct rte_driver *driver);
/* What stock does with a device that it has found. */
int fake_probe_device(struct rte_device *dev);

int fake_bus_no_probe(struct rte_bus *bus);
struct rte_device *fake_bus_find_device(const struct rte_bus *bus, const struct rte_device *start,
					rte_dev_cmp_t compare, const void *data);
struct rte_bus *fake_bus_of_device_name(const char *name);
int fake_same_name(const struct rte_device *dev, const void *name);

/* A bus whose struct is not that of 26.07. */
void fake_add_wrong_bus(void);

void fake_start_interrupts(void);

#endif /* INTERNAL_H */
