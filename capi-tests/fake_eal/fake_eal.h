/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A made-up EAL with the layouts and the rules of DPDK 26.07, as far as hotplug meets them: buses and
 * drivers of its own, no hardware, no huge pages. Its rte_dev_probe() and the like do what stock's do,
 * so a program can be run with librte_hotplug in front of it and without.
 *
 * The environment chooses what it plays:
 *
 *	FAKE_VERSION	what rte_version() returns, instead of "DPDK 26.07.0"
 *	FAKE_WRONG	bus: a struct rte_bus is laid out otherwise; late: the same, of a bus that
 *			rte_eal_init() loads; device: struct rte_device is
 *	FAKE_ECHO	stock's functions print their arguments and return a code that nothing else
 *			returns; so they do, too, where something is wrong
 *	FAKE_DIRECTORY	multi-process messages work, with this runtime directory; so they do with
 *			--proc-type, with that of --file-prefix
 *	FAKE_PCI	--no-pci means nothing
 *	FAKE_LOG	up to which level there are log lines, 6 (NOTICE) otherwise
 *
 * Built with FAKE_WITHOUT_DEVARGS_NEXT or FAKE_WITHOUT_FIND_DRIVER it does not export that
 * function.
 */
#ifndef FAKE_EAL_H
#define FAKE_EAL_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include <rte_hotplug.h>

#include "rte_devargs.h"
#include "rte_interrupts.h"

struct rte_driver {
	TAILQ_ENTRY(rte_driver) next;
	const char *name;
	const char *alias;
	const struct rte_bus *bus;
};

struct rte_device {
	TAILQ_ENTRY(rte_device) next;
	const char *name;
	const char *bus_info;
	const struct rte_driver *driver;
	const struct rte_bus *bus;
	int numa_node;
	struct rte_devargs *devargs;
};

/* 0 means found. */
typedef int (*rte_dev_cmp_t)(const struct rte_device *dev, const void *data);
typedef int (*rte_bus_cmp_t)(const struct rte_bus *bus, const void *data);

struct rte_bus {
	TAILQ_ENTRY(rte_bus) next;
	const char *name;
	bool allow_multi_probe;
	int (*scan)(void);
	int (*probe)(struct rte_bus *bus);
	struct rte_device *(*find_device)(const struct rte_bus *bus, const struct rte_device *start,
					  rte_dev_cmp_t compare, const void *data);
	bool (*match)(const struct rte_driver *driver, const struct rte_device *dev);
	int (*probe_device)(struct rte_driver *driver, struct rte_device *dev);
	int (*unplug_device)(struct rte_device *dev);
	int (*parse)(const char *name, void *address);
	void *unused[4];
	int scan_mode; /* 0: by the process's options, 1: only what -a names, 2: all but what -b names */
	void *unused_too[5];
	int (*cleanup)(struct rte_bus *bus);
	TAILQ_HEAD(, rte_device) device_list;
	TAILQ_HEAD(, rte_driver) driver_list;
};

struct rte_pci_device {
	struct rte_device device;
	uint8_t address[8];
	uint8_t id[12];
	struct {
		uint64_t phys_addr;
		uint64_t len;
		void *addr;
	} mem_resource[6];
	struct rte_intr_handle *intr_handle;
};

struct rte_mp_msg {
	char name[64];
	int len_param;
	int num_fds;
	_Alignas(8) uint8_t param[256];
	int fds[253];
};

/* What is sent: all but the descriptors. */
struct fake_datagram {
	enum { MP_MSG, MP_REQ, MP_REP, MP_IGN } type;
	struct rte_mp_msg message;
};

#define FAKE_DATAGRAM_SIZE (offsetof(struct fake_datagram, message.fds) + 4)

/* In the param of a message about hotplug. */
struct eal_dev_mp_req {
	enum { ATTACH, DETACH, ATTACH_ROLLBACK, DETACH_ROLLBACK } t;
	char devargs[128];
	int result;
};

struct rte_vdev_driver {
	struct rte_driver driver;
	int (*probe)(struct rte_device *dev);
	int (*remove)(struct rte_device *dev);
};

#define FAKE_OFFSET(type, member, offset)                                                          \
	_Static_assert(offsetof(struct type, member) == (offset), #type "." #member)

FAKE_OFFSET(rte_driver, name, 16);
FAKE_OFFSET(rte_driver, alias, 24);
FAKE_OFFSET(rte_driver, bus, 32);
FAKE_OFFSET(rte_device, name, 16);
FAKE_OFFSET(rte_device, bus_info, 24);
FAKE_OFFSET(rte_device, driver, 32);
FAKE_OFFSET(rte_device, bus, 40);
FAKE_OFFSET(rte_device, numa_node, 48);
FAKE_OFFSET(rte_device, devargs, 56);
FAKE_OFFSET(rte_bus, name, 16);
FAKE_OFFSET(rte_bus, allow_multi_probe, 24);
FAKE_OFFSET(rte_bus, scan, 32);
FAKE_OFFSET(rte_bus, find_device, 48);
FAKE_OFFSET(rte_bus, match, 56);
FAKE_OFFSET(rte_bus, probe_device, 64);
FAKE_OFFSET(rte_bus, unplug_device, 72);
FAKE_OFFSET(rte_bus, parse, 80);
FAKE_OFFSET(rte_bus, scan_mode, 120);
FAKE_OFFSET(rte_bus, cleanup, 168);
FAKE_OFFSET(rte_bus, device_list, 176);
FAKE_OFFSET(rte_bus, driver_list, 192);
FAKE_OFFSET(rte_devargs, policy, 20);
FAKE_OFFSET(rte_devargs, name, 24);
FAKE_OFFSET(rte_devargs, args, 88);
FAKE_OFFSET(rte_devargs, bus, 96);
FAKE_OFFSET(rte_devargs, data, 128);
FAKE_OFFSET(rte_pci_device, device, 0);
FAKE_OFFSET(rte_pci_device, mem_resource, 88);
FAKE_OFFSET(rte_pci_device, intr_handle, 232);
FAKE_OFFSET(rte_vdev_driver, probe, 40);
FAKE_OFFSET(rte_vdev_driver, remove, 48);
FAKE_OFFSET(rte_mp_msg, len_param, 64);
FAKE_OFFSET(rte_mp_msg, param, 72);
FAKE_OFFSET(rte_mp_msg, fds, 328);
FAKE_OFFSET(eal_dev_mp_req, devargs, 4);
FAKE_OFFSET(eal_dev_mp_req, result, 132);
FAKE_OFFSET(fake_datagram, message, 8);
_Static_assert(FAKE_DATAGRAM_SIZE == sizeof(struct fake_datagram) - 253 * sizeof(int), "as in EAL");
_Static_assert(sizeof(struct rte_mp_msg) == 1344, "struct rte_mp_msg");
_Static_assert(sizeof(struct rte_bus) == 208, "struct rte_bus");
_Static_assert(sizeof(struct rte_device) == 64, "struct rte_device");
_Static_assert(sizeof(struct rte_devargs) == 136, "struct rte_devargs");

/* What the suites use of DPDK itself. */

extern _Thread_local int per_lcore__rte_errno;
#define rte_errno per_lcore__rte_errno

struct rte_bus *rte_bus_find(const struct rte_bus *start, rte_bus_cmp_t compare, const void *data);
struct rte_bus *rte_bus_find_by_name(const char *name);
struct rte_driver *rte_bus_find_driver(const struct rte_bus *bus, const struct rte_driver *start,
				       const struct rte_device *dev);
const char *rte_bus_name(const struct rte_bus *bus);
const char *rte_dev_name(const struct rte_device *dev);
const struct rte_bus *rte_dev_bus(const struct rte_device *dev);
const struct rte_driver *rte_dev_driver(const struct rte_device *dev);
const struct rte_devargs *rte_dev_devargs(const struct rte_device *dev);
int rte_dev_numa_node(const struct rte_device *dev);
const char *rte_driver_name(const struct rte_driver *driver);
const char *rte_version(void);
void rte_vdev_register(struct rte_vdev_driver *driver);

/*
 * The buses: "vdev" makes a device of any devargs whose name begins with a driver's name or alias;
 * "pci" has the two functions below, and may be probed again; "fixed" has the device "fixed0" and can
 * neither attach nor detach. With --no-pci the latter two have nothing.
 *
 * Its drivers of "vdev" do what a device's arguments say, each a number that is 0 if it is not there:
 *
 *	fail=N		probe returns -N
 *	positive=N	probe returns N
 *	rmfail=N	remove returns -N
 *	rmpositive=N	remove returns N
 *	inside=WHAT	probe calls rte_dev_probe() of itself (1), rte_dev_remove() of itself (2), or
 *			rte_dev_probe() of "net_null_inner" (3)
 *	wait=1		probe waits for fake_go
 *
 * "net_null" is one of them; "net_picky" and then "net_taker" have the alias "net_pair", and the
 * former takes no device.
 *
 * The function FAKE_PCI_ONCE has a driver that may not be probed again, that of FAKE_PCI_AGAIN may.
 */
#define FAKE_PCI_ONCE "0000:f1:00.0"
#define FAKE_PCI_AGAIN "0000:f2:00.0"

/* What the drivers saw, all together. */
extern struct fake_seen {
	atomic_int probes;     /* that ended with success */
	atomic_int refusals;   /* that returned more than 0 */
	atomic_int failures;   /* that returned less than 0 */
	atomic_int removes;    /* that ended with success */
	atomic_int violations; /* two at once for a device, a probe of one that is held, or a remove of
				  one that is not, dev->driver not set */
	atomic_int inside;     /* what the last call inside of a probe returned */
} fake_seen;

/* wait=1: posted when the driver waits, and waited for by it. */
extern sem_t fake_waits, fake_go;

/* Hands a message of this type to whatever is registered for "bus_vdev_mp", as EAL does. */
int fake_vdev_message(int type, const char *name);

/* How many messages the bus's own handler of "bus_vdev_mp" got. */
extern atomic_int fake_vdev_messages;

/* Whether EAL's own handler is registered for "eal_dev_mp_request". */
bool fake_has_own_handler(void);

#endif /* FAKE_EAL_H */
