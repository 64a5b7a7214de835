/* SPDX-License-Identifier: BSD-3-Clause */
/* What the suites use of DPDK's header of this name, as the fake EAL has it. */
#ifndef RTE_DEVARGS_H
#define RTE_DEVARGS_H

#include <sys/queue.h>

struct rte_bus;

enum rte_devtype {
	RTE_DEVTYPE_ALLOWED,
	RTE_DEVTYPE_BLOCKED,
	RTE_DEVTYPE_VIRTUAL,
};

struct rte_devargs {
	TAILQ_ENTRY(rte_devargs) next;
	enum rte_devtype type;
	int policy;
	char name[64];
	const char *args;
	struct rte_bus *bus;
	void *cls;
	const char *bus_str;
	const char *cls_str;
	void *data;
};

int rte_devargs_parse(struct rte_devargs *devargs, const char *text);
int rte_devargs_insert(struct rte_devargs **devargs);
int rte_devargs_remove(struct rte_devargs *devargs);
struct rte_devargs *rte_devargs_next(const char *bus_name, const struct rte_devargs *start);
void rte_devargs_reset(struct rte_devargs *devargs);
int rte_devargs_add(enum rte_devtype type, const char *text);

#endif /* RTE_DEVARGS_H */
