/* SPDX-License-Identifier: BSD-3-Clause */
/* Generated from the Rust source; renew with: RENEW_HEADERS=1 cargo test --test header */

#ifndef RTE_HOTPLUG_H
#define RTE_HOTPLUG_H

#include <stddef.h>
#include <stdint.h>

/*
 * With DPDK's headers on the include path these declare what this library replaces; without them
 * rte_hotplug_eal.h does.
 */
#ifdef __has_include
#if __has_include(<rte_dev.h>)
#define RTE_HOTPLUG_WITH_DPDK_HEADERS 1
#endif
#endif

#ifdef RTE_HOTPLUG_WITH_DPDK_HEADERS
#include <rte_dev.h>
#include <rte_eal.h>
#else
#include "rte_hotplug_eal.h"
#endif


/**
 * RTE_DEV_EVENT_ADD tells that vfio-pci, uio_pci_generic or igb_uio is bound to a device and it can be
 * probed, instead of that the kernel has found it: for rte_hotplug_event_policy_set().
 */
#define RTE_HOTPLUG_EVENT_ADD_AFTER_BIND 1

/**
 * In an id table: any vendor, device or subsystem.
 */
#define RTE_HOTPLUG_PCI_ANY_ID 65535

/**
 * In an id table: any class.
 */
#define RTE_HOTPLUG_PCI_ANY_CLASS 16777215

/**
 * Not only what comes from now on: devices that are there already are attached, too.
 */
#define RTE_HOTPLUG_AUTO_NOW 1

/**
 * A step of attaching or detaching a device by itself.
 */
enum rte_hotplug_auto_step {
	/**
	 * It is there, and about to be bound and attached.
	 */
	RTE_HOTPLUG_AUTO_ADDING = 1,
	/**
	 * It is attached: to be put into use.
	 */
	RTE_HOTPLUG_AUTO_ADDED = 2,
	/**
	 * It goes, and is about to be detached: not to be used any more from here on.
	 */
	RTE_HOTPLUG_AUTO_REMOVING = 3,
	/**
	 * It is detached.
	 */
	RTE_HOTPLUG_AUTO_REMOVED = 4,
	/**
	 * Attaching or detaching it was given up; result says why. -ENODEV: it has gone meanwhile.
	 */
	RTE_HOTPLUG_AUTO_FAILED = 5,
};

/**
 * How this library serves the process.
 */
enum rte_hotplug_mode_type {
	/**
	 * There is no DPDK in the process.
	 */
	RTE_HOTPLUG_MODE_EMBEDDED = 1,
	/**
	 * Over the DPDK in the process.
	 */
	RTE_HOTPLUG_MODE_HOSTED = 2,
	/**
	 * An unknown DPDK is in the process; its own functions serve all calls.
	 */
	RTE_HOTPLUG_MODE_FORWARDING = 3,
};

/**
 * How far a device has come.
 */
enum rte_hotplug_device_state_type {
	/**
	 * Its devargs are known to DPDK; no bus has found it.
	 */
	RTE_HOTPLUG_DEVICE_PARSED = 1,
	/**
	 * It is on a bus.
	 */
	RTE_HOTPLUG_DEVICE_FOUND = 2,
	/**
	 * A kernel driver for user space is bound to it: vfio-pci, uio_pci_generic or igb_uio.
	 */
	RTE_HOTPLUG_DEVICE_BOUND = 3,
	/**
	 * A driver holds it: it is attached.
	 */
	RTE_HOTPLUG_DEVICE_PROBED = 4,
	/**
	 * It is attached, and was removed or has faulted: to be seen while the monitor runs or the handling
	 * of faults is enabled.
	 */
	RTE_HOTPLUG_DEVICE_FAULT = 5,
};

/**
 * The state of another process of the group.
 */
enum rte_hotplug_peer_state {
	/**
	 * It takes part in every operation.
	 */
	RTE_HOTPLUG_PEER_MEMBER = 1,
	/**
	 * It has just come, or come back, and is being brought in line.
	 */
	RTE_HOTPLUG_PEER_JOINING = 2,
	/**
	 * It gives no sign of life; operations fail with -ENOMSG until it goes on or ends.
	 */
	RTE_HOTPLUG_PEER_STOPPED = 3,
	/**
	 * Undoing a failed operation failed there too: a device differs from what a caller was told. The
	 * next success on that device ends it.
	 */
	RTE_HOTPLUG_PEER_OUT_OF_STEP = 4,
	/**
	 * It has DPDK's own hotplug only, and takes part over DPDK's own messages.
	 */
	RTE_HOTPLUG_PEER_STOCK = 5,
};

/**
 * What happened to a kernel object.
 */
enum rte_hotplug_uevent_action {
	/**
	 * It is there.
	 */
	RTE_HOTPLUG_UEVENT_ADD = 1,
	/**
	 * It has gone.
	 */
	RTE_HOTPLUG_UEVENT_REMOVE = 2,
	/**
	 * Something about it is different.
	 */
	RTE_HOTPLUG_UEVENT_CHANGE = 3,
	/**
	 * It has another name.
	 */
	RTE_HOTPLUG_UEVENT_MOVE = 4,
	/**
	 * It works.
	 */
	RTE_HOTPLUG_UEVENT_ONLINE = 5,
	/**
	 * It does not work for now.
	 */
	RTE_HOTPLUG_UEVENT_OFFLINE = 6,
	/**
	 * A driver has it; DRIVER names it.
	 */
	RTE_HOTPLUG_UEVENT_BIND = 7,
	/**
	 * No driver has it any more.
	 */
	RTE_HOTPLUG_UEVENT_UNBIND = 8,
};

/**
 * A rule made with rte_hotplug_auto_add().
 */
struct rte_hotplug_auto;

/**
 * A bus registered with rte_hotplug_bus_register().
 */
struct rte_hotplug_bus;

/**
 * A driver registered with rte_hotplug_driver_register().
 */
struct rte_hotplug_driver;

/**
 * An event of the kernel, during the call of a callback. Opaque.
 */
struct rte_hotplug_uevent;

/**
 * Whether a name can be a device of the bus: 0 if so, like DPDK's bus parse.
 */
typedef int (*rte_hotplug_bus_parse_t)(const char *name, void *user);

/**
 * Looks for the device `name`, or for all with NULL, and reports each one found with
 * rte_hotplug_bus_add_device(). 0 on success, else a negative errno.
 */
typedef int (*rte_hotplug_bus_scan_t)(struct rte_hotplug_bus *bus, const char *name, void *user);

/**
 * Whether a driver is for a device: not 0 if so.
 */
typedef int (*rte_hotplug_bus_match_t)(const char *driver, const char *device, void *user);

/**
 * What a bus is. Set everything that is not used to 0.
 */
struct rte_hotplug_bus_options {
	/**
	 * sizeof(struct rte_hotplug_bus_options)
	 */
	size_t size;
	/**
	 * The bus name, 1 to 63 bytes. Copied.
	 */
	const char *name;
	/**
	 * Required.
	 */
	rte_hotplug_bus_parse_t parse;
	/**
	 * Required.
	 */
	rte_hotplug_bus_scan_t scan;
	/**
	 * NULL: a driver is for the devices whose name starts with its name or alias.
	 */
	rte_hotplug_bus_match_t matches;
	/**
	 * Handed to the functions; stays the caller's, until the bus is unregistered.
	 */
	void *user;
};

/**
 * Takes a device into use, or releases it. 0 on success, else a negative errno. A probe may return
 * a positive value for "not mine": the next driver is asked.
 */
typedef int (*rte_hotplug_driver_fn)(struct rte_device *dev, void *user);

/**
 * What a PCI function is, or which functions a driver is for. As DPDK's struct rte_pci_id; a table of
 * them ends with a vendor_id of 0.
 */
struct rte_hotplug_pci_id {
	/**
	 * Base class, subclass and programming interface, 0x020000 for instance.
	 */
	uint32_t class_id;
	/**
	 * The vendor.
	 */
	uint16_t vendor_id;
	/**
	 * The device.
	 */
	uint16_t device_id;
	/**
	 * The vendor of the whole card.
	 */
	uint16_t subsystem_vendor_id;
	/**
	 * The card.
	 */
	uint16_t subsystem_device_id;
};

/**
 * What a driver is. Set everything that is not used to 0.
 */
struct rte_hotplug_driver_options {
	/**
	 * sizeof(struct rte_hotplug_driver_options)
	 */
	size_t size;
	/**
	 * The driver name, 1 to 63 bytes. On the vdev bus device names start with it. Copied.
	 */
	const char *name;
	/**
	 * A second name, 1 to 63 bytes; NULL for none. Copied.
	 */
	const char *alias;
	/**
	 * The bus that it is for: "vdev" or "pci" in the embedded mode, or a registered one.
	 */
	const char *bus;
	/**
	 * Required.
	 */
	rte_hotplug_driver_fn probe;
	/**
	 * Required.
	 */
	rte_hotplug_driver_fn remove;
	/**
	 * Handed to the functions; stays the caller's, until the driver is unregistered.
	 */
	void *user;
	/**
	 * The functions that it is for, on the bus "pci": a table that ends with a vendor_id of 0. Copied.
	 * NULL on other buses.
	 */
	const struct rte_hotplug_pci_id *pci_ids;
};

/**
 * How many devices have come how far since the process started.
 */
struct rte_hotplug_state_statistics {
	/**
	 * sizeof(struct rte_hotplug_state_statistics)
	 */
	size_t size;
	/**
	 * Devargs of an attach became known.
	 */
	uint64_t parsed;
	/**
	 * A bus found the device of an attach.
	 */
	uint64_t found;
	/**
	 * A kernel driver for user space was bound to a PCI device, while the monitor runs.
	 */
	uint64_t bound;
	/**
	 * A driver took a device.
	 */
	uint64_t probed;
	/**
	 * An attached PCI device was removed or faulted.
	 */
	uint64_t faulted;
	/**
	 * A driver let go of a device, or it was not found.
	 */
	uint64_t gone;
};

/**
 * Another process of the group.
 */
struct rte_hotplug_peer {
	/**
	 * Its process id; 0 when it is not visible here.
	 */
	uint32_t pid;
	/**
	 * Its state, an enum rte_hotplug_peer_state.
	 */
	uint32_t state;
	/**
	 * 1 for the primary, else 0.
	 */
	uint32_t is_primary;
	/**
	 * The file name of its DPDK socket, for a stock peer or a hosted member; empty otherwise.
	 */
	char socket[64];
};

/**
 * How long to wait for other processes, in milliseconds, each from 10 to 3600000.
 */
struct rte_hotplug_timeouts {
	/**
	 * sizeof(struct rte_hotplug_timeouts)
	 */
	size_t size;
	/**
	 * Without a sign of life for this long a process counts as stopped. Default 2000, or
	 * RTE_HOTPLUG_LIVENESS_MS in the environment.
	 */
	uint32_t liveness_ms;
	/**
	 * A driver in another process may take this long. Default 60000, or RTE_HOTPLUG_OPERATION_MS.
	 */
	uint32_t operation_ms;
	/**
	 * A process with DPDK's own hotplug has to answer within this time. Default 5000, or
	 * RTE_HOTPLUG_STOCK_PEER_MS.
	 */
	uint32_t stock_peer_ms;
};

/**
 * What has happened in this process since it started.
 */
struct rte_hotplug_statistics {
	/**
	 * sizeof(struct rte_hotplug_statistics)
	 */
	size_t size;
	/**
	 * Operations that this primary carried out in every process.
	 */
	uint64_t succeeded;
	/**
	 * Operations of this primary that failed.
	 */
	uint64_t failed;
	/**
	 * Those of them after which a process was left out of step.
	 */
	uint64_t out_of_step;
	/**
	 * Calls of secondaries that this primary served.
	 */
	uint64_t calls;
	/**
	 * Steps that this secondary carried out for its primary.
	 */
	uint64_t requests;
	/**
	 * Secondaries that were brought in line with this primary.
	 */
	uint64_t joins;
	/**
	 * Processes that left or died.
	 */
	uint64_t departures;
	/**
	 * Processes that gave no sign of life in time.
	 */
	uint64_t stopped;
	/**
	 * Answers to operations that were over.
	 */
	uint64_t late_replies;
	/**
	 * Malformed, oversized, empty or unexpected frames; each ended its connection.
	 */
	uint64_t bad_frames;
	/**
	 * Processes refused: another user, another version, another kind of process.
	 */
	uint64_t refused;
};

/**
 * Called for an event of the kernel.
 *
 * event is valid during the call; arg is what was registered.
 */
typedef void (*rte_hotplug_uevent_cb)(const struct rte_hotplug_uevent *event, void *arg);

/**
 * What the monitor of device events has seen since this process started.
 */
struct rte_hotplug_monitor_statistics {
	/**
	 * sizeof(struct rte_hotplug_monitor_statistics)
	 */
	size_t size;
	/**
	 * Events that the kernel sent, of every subsystem.
	 */
	uint64_t received;
	/**
	 * Additions and removals that were told, each to all callbacks for its device.
	 */
	uint64_t delivered;
	/**
	 * Messages that somebody else than the kernel sent; ignored.
	 */
	uint64_t foreign;
	/**
	 * Messages that make no sense; ignored.
	 */
	uint64_t malformed;
	/**
	 * How often the kernel had to drop events.
	 */
	uint64_t overruns;
	/**
	 * Events that were found out by looking at the devices after that.
	 */
	uint64_t recovered;
	/**
	 * Events that had been told before in another way, and were not told again.
	 */
	uint64_t repeated;
};

/**
 * The descriptors of a device under VFIO.
 */
struct rte_hotplug_pci_vfio {
	/**
	 * sizeof(struct rte_hotplug_pci_vfio)
	 */
	size_t size;
	/**
	 * The container: for DMA mappings.
	 */
	int container;
	/**
	 * The IOMMU group.
	 */
	int group;
	/**
	 * The device: for interrupts and resets.
	 */
	int device;
};

/**
 * Called for each step.
 *
 * result is 0, or at RTE_HOTPLUG_AUTO_FAILED a negative errno; user is what the rule was made with.
 * At RTE_HOTPLUG_AUTO_ADDING and RTE_HOTPLUG_AUTO_REMOVING another return value than 0 is a veto: the
 * library leaves the device alone.
 */
typedef int (*rte_hotplug_auto_cb)(const char *device,
				   enum rte_hotplug_auto_step step,
				   int result,
				   void *user);

/**
 * Which devices to attach and detach, and how. Set everything that is not used to 0.
 */
struct rte_hotplug_auto_options {
	/**
	 * sizeof(struct rte_hotplug_auto_options)
	 */
	size_t size;
	/**
	 * An address, "0000:02:00.0", or the devices' kind, "8086:10d3", "8086:*" or "*:*". Copied.
	 */
	const char *device;
	/**
	 * The kernel driver to bind them to, see rte_hotplug_bind_driver(). Copied. NULL: somebody else
	 * binds them; they are attached as soon as vfio-pci, uio_pci_generic or igb_uio has them.
	 */
	const char *driver;
	/**
	 * The arguments for the device's driver, "rx_queues=2" for instance; NULL for none. Copied.
	 */
	const char *args;
	/**
	 * 0, or RTE_HOTPLUG_AUTO_NOW.
	 */
	unsigned int flags;
	/**
	 * How long to try before it is given up, in milliseconds, up to 3600000; 0 stands for 5000.
	 */
	uint32_t limit_ms;
	/**
	 * Called for each step; NULL: nobody is asked or told.
	 */
	rte_hotplug_auto_cb cb;
	/**
	 * Handed to cb; stays the caller's, until the rule is removed.
	 */
	void *user;
};

/**
 * What rules have done since this process started.
 */
struct rte_hotplug_auto_statistics {
	/**
	 * sizeof(struct rte_hotplug_auto_statistics)
	 */
	size_t size;
	/**
	 * Devices that were attached.
	 */
	uint64_t attached;
	/**
	 * Devices that were detached.
	 */
	uint64_t detached;
	/**
	 * Vetoes of callbacks.
	 */
	uint64_t vetoed;
	/**
	 * Devices that were given up.
	 */
	uint64_t failed;
	/**
	 * Tries after the first one.
	 */
	uint64_t retries;
};

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Attaches a device and tells its Ethernet port.
 *
 * @param devargs
 *   As for rte_dev_probe: a PCI address, or a virtual device name with its arguments. Not kept.
 * @param port_id
 *   Set to the number of the device's first port on success, else left as it is.
 * @return
 *   0 on success;
 *   -EINVAL: an argument is NULL, or devargs name only a class;
 *   -EEXIST: the device is attached already;
 *   -ENODEV: the driver made no port; the device is detached again;
 *   -ENOTSUP: there is no ethdev in this process;
 *   otherwise as rte_dev_probe.
 *
 * May be called from any thread. As the function of the same name in the Port Hotplug Framework of
 * DPDK 2.0 to 18.08, thread safe.
 */
int rte_eth_dev_attach(const char *devargs, uint16_t *port_id);

/**
 * Detaches the device of a port that is stopped and closed.
 *
 * @param port_id
 *   The port that the device had. The other ports of the device must be closed as well. DPDK gives
 *   the number of a closed port away again: while another device has it open it cannot be detached,
 *   and of several devices that have closed it the one that had it first is.
 * @param name
 *   Room for 64 bytes: the name of the detached device, "0000:02:00.0" or "net_null0". May be NULL.
 * @return
 *   0 on success;
 *   -EBUSY: the port, or another port of its device, is not stopped and closed;
 *   -ENODEV: no device is known to have had this port, or it is detached already;
 *   -ENOTSUP: there is no ethdev in this process;
 *   otherwise as rte_dev_remove.
 *
 * May be called from any thread. As the function of the same name in the Port Hotplug Framework of
 * DPDK 2.0 to 18.08, thread safe, and with any kernel driver.
 */
int rte_eth_dev_detach(uint16_t port_id, char *name);

/**
 * Registers a bus, beside those of DPDK or of the embedded runtime.
 *
 * Its devices are attached and detached with rte_dev_probe(), rte_dev_remove() and so on. A device
 * is forgotten when it is detached; the next scan finds it again. In the embedded mode
 * rte_eal_init() attaches what the bus finds, so register before it. Devices of such a bus belong to
 * this process alone.
 *
 * @param options
 *   What the bus is. Copied; user must live until the bus is unregistered.
 * @param bus
 *   Set to the bus on success. May be NULL.
 * @return
 *   0 on success;
 *   -EINVAL: options, its name, parse or scan is NULL, its size is too small, or the name is empty;
 *   -E2BIG: the name is longer than 63 bytes;
 *   -EEXIST: a bus of this name exists;
 *   -ENOTSUP: an unknown DPDK is in the process and serves all calls itself.
 *
 * The functions are called from any thread that attaches or detaches, with no lock held.
 */
int rte_hotplug_bus_register(const struct rte_hotplug_bus_options *options,
			     struct rte_hotplug_bus **bus);

/**
 * Unregisters a bus.
 *
 * @param bus
 *   The bus. After a success the pointer is stale.
 * @return
 *   0 on success;
 *   -EINVAL: bus is NULL;
 *   -ENOENT: it is not registered;
 *   -EBUSY: it has devices or drivers, or an operation uses it.
 *
 * Not from inside the bus's own functions: -EBUSY.
 */
int rte_hotplug_bus_unregister(struct rte_hotplug_bus *bus);

/**
 * Reports a device that a scan has found.
 *
 * @param bus
 *   The bus.
 * @param name
 *   The device, 1 to 63 bytes. Copied. A device that is known is left as it is.
 * @param numa_node
 *   Its NUMA node, -1 when unknown.
 * @return
 *   0 on success;
 *   -EINVAL: an argument is NULL or the name empty;
 *   -E2BIG: the name is longer than 63 bytes;
 *   -ENOENT: the bus is not registered.
 */
int rte_hotplug_bus_add_device(struct rte_hotplug_bus *bus, const char *name, int numa_node);

/**
 * Takes a device off a bus that is not attached: it is gone from the hardware.
 *
 * @param bus
 *   The bus.
 * @param name
 *   The device.
 * @return
 *   0 on success;
 *   -EINVAL: an argument is NULL;
 *   -ENOENT: the bus is not registered;
 *   -ENODEV: the bus has no such device;
 *   -EBUSY: it is attached, or its driver is attaching or detaching it: detach it first;
 *   -EDEADLK: an operation that waits for this call's device works on the device.
 */
int rte_hotplug_bus_remove_device(struct rte_hotplug_bus *bus, const char *name);

/**
 * Registers a driver.
 *
 * @param options
 *   What the driver is. Copied; user must live until the driver is unregistered.
 * @param driver
 *   Set to the driver on success. May be NULL.
 * @return
 *   0 on success;
 *   -EINVAL: options, its name, bus, probe or remove is NULL, its size is too small, the name or the
 *   alias is empty, or there are no pci_ids for the bus "pci";
 *   -E2BIG: the name or the alias is longer than 63 bytes;
 *   -EEXIST: the bus has a driver of this name;
 *   -ENOENT: there is no such bus;
 *   -ENOTSUP: the bus is DPDK's own: its drivers register with DPDK.
 *
 * The functions are called from the thread that attaches or detaches, with no lock held; they may
 * probe and remove other devices. Calls for one device never overlap.
 */
int rte_hotplug_driver_register(const struct rte_hotplug_driver_options *options,
				struct rte_hotplug_driver **driver);

/**
 * Unregisters a driver.
 *
 * @param driver
 *   The driver. After a success the pointer is stale and its functions are not called any more.
 * @return
 *   0 on success;
 *   -EINVAL: driver is NULL;
 *   -ENOENT: it is not registered;
 *   -EBUSY: it holds a device, or is probing one.
 */
int rte_hotplug_driver_unregister(struct rte_hotplug_driver *driver);

/**
 * The version of this library, "1.0.0" for instance.
 */
const char *rte_hotplug_version(void);

/**
 * How this library serves the process; starts the embedded runtime if there is no DPDK.
 *
 * @return
 *   An enum rte_hotplug_mode_type; -EIO on a defect of this library.
 */
int rte_hotplug_mode(void);

/**
 * Finds a device.
 *
 * @param bus
 *   Its bus.
 * @param name
 *   Its name.
 * @return
 *   The device, attached or not; NULL when there is none. It is good until the device is detached.
 *
 * May be called from any thread.
 */
struct rte_device *rte_hotplug_device_find(const char *bus, const char *name);

/**
 * The device after another one, to go through all of them.
 *
 * @param bus
 *   Devices of this bus only; NULL for all buses.
 * @param prev
 *   The device before; NULL for the first.
 * @return
 *   The next device; NULL after the last, or when prev is gone.
 *
 * May be called from any thread.
 */
struct rte_device *rte_hotplug_device_next(const char *bus, const struct rte_device *prev);

/**
 * The name of a device.
 *
 * @param dev
 *   The device. A pointer that no bus lists is not read.
 * @return
 *   Its name, good until the device is detached; NULL when no bus lists it.
 *
 * May be called from any thread.
 */
const char *rte_hotplug_device_name(const struct rte_device *dev);

/**
 * The name of a device's bus.
 *
 * @param dev
 *   The device. A pointer that no bus lists is not read.
 * @return
 *   The bus name, good as long as the bus; NULL when no bus lists the device.
 *
 * May be called from any thread.
 */
const char *rte_hotplug_device_bus(const struct rte_device *dev);

/**
 * The name of the driver that holds a device.
 *
 * @param dev
 *   The device. A pointer that no bus lists is not read.
 * @return
 *   The driver name, good until the device is detached; NULL when it is not attached.
 *
 * May be called from any thread.
 */
const char *rte_hotplug_device_driver(const struct rte_device *dev);

/**
 * The driver arguments of a device.
 *
 * @param dev
 *   The device. A pointer that no bus lists is not read.
 * @return
 *   The arguments, "" when there are none, good until the device is detached or its devargs are
 *   replaced; NULL when no bus lists it.
 *
 * May be called from any thread.
 */
const char *rte_hotplug_device_devargs(const struct rte_device *dev);

/**
 * The NUMA node of a device.
 *
 * @param dev
 *   The device. A pointer that no bus lists is not read.
 * @return
 *   The node; -1 when it is unknown, or when no bus lists the device.
 *
 * May be called from any thread.
 */
int rte_hotplug_device_numa_node(const struct rte_device *dev);

/**
 * The state of a device.
 *
 * @param dev
 *   The device. A pointer that no bus lists is not read.
 * @return
 *   An enum rte_hotplug_device_state_type; -EINVAL: dev is NULL; -ENODEV: no bus lists it;
 *   -ENOTSUP: an unknown DPDK is in the process.
 *
 * May be called from any thread.
 */
int rte_hotplug_device_state(const struct rte_device *dev);

/**
 * The state of a device by its name, also of one that no bus has found.
 *
 * @param bus_name
 *   The bus.
 * @param device_name
 *   The device.
 * @return
 *   An enum rte_hotplug_device_state_type; -EINVAL: an argument is NULL; -ENODEV: there is neither such
 *   a device nor devargs for it; -ENOTSUP: an unknown DPDK is in the process.
 *
 * May be called from any thread.
 */
int rte_hotplug_device_state_by_name(const char *bus_name,
				     const char *device_name);

/**
 * Tells how many devices have come how far since this process started.
 *
 * @param statistics
 *   Filled in; its size has to be set.
 * @return
 *   0 on success; -EINVAL: statistics is NULL or its size is wrong; -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_state_statistics_get(struct rte_hotplug_state_statistics *statistics);

/**
 * Keeps a pointer for the driver of a device of a registered bus.
 *
 * @param dev
 *   The device, of a bus of this library (not of DPDK).
 * @param data
 *   The pointer; it stays the driver's to free.
 * @return
 *   0 on success; -EINVAL: dev is NULL; -ENODEV: no bus of this library lists it.
 *
 * May be called from any thread.
 */
int rte_hotplug_device_set_data(struct rte_device *dev, void *data);

/**
 * The pointer that rte_hotplug_device_set_data() left.
 *
 * @param dev
 *   The device.
 * @return
 *   The pointer; NULL when there is none, or when no bus of this library lists the device.
 *
 * May be called from any thread.
 */
void *rte_hotplug_device_data(const struct rte_device *dev);

/**
 * Tells the other processes of the group: those that a primary has, or the primary of a secondary.
 *
 * @param peers
 *   Filled in; NULL to ask for the number only.
 * @param n
 *   The number of elements of peers.
 * @return
 *   How many there are, which may be more than n;
 *   -EINVAL: peers is NULL and n is not 0; -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_peers(struct rte_hotplug_peer *peers, unsigned int n);

/**
 * Tells how long this process waits for others.
 *
 * @param timeouts
 *   Filled in; its size has to be set.
 * @return
 *   0 on success; -EINVAL: timeouts is NULL or its size is wrong; -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_timeouts_get(struct rte_hotplug_timeouts *timeouts);

/**
 * Sets how long this process waits for others; for operations that begin after it.
 *
 * @param timeouts
 *   The timeouts, with its size; stays the caller's.
 * @return
 *   0 on success; -EINVAL: timeouts is NULL, its size is wrong, or one is out of bounds: then none
 *   is set; -EIO: a defect of this library.
 *
 * May be called from any thread, also before rte_eal_init().
 */
int rte_hotplug_timeouts_set(const struct rte_hotplug_timeouts *timeouts);

/**
 * Tells what has happened between this process and others.
 *
 * @param statistics
 *   Filled in; its size has to be set.
 * @return
 *   0 on success; -EINVAL: statistics is NULL or its size is wrong; -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_statistics_get(struct rte_hotplug_statistics *statistics);

/**
 * Registers a callback for all that the kernel tells of devices, while the monitor runs.
 *
 * It is told every action of every subsystem. Callbacks run as those of
 * rte_dev_event_callback_register() do, for the same event after them.
 *
 * @param subsystem
 *   The subsystem to hear of, "pci" or "vfio" for instance; NULL for all. Copied.
 * @param cb
 *   The function to call. It may call every function of this library.
 * @param arg
 *   Handed to cb; stays the caller's, who keeps it until the callback is unregistered.
 * @return
 *   0 on success;
 *   -EINVAL: cb is NULL;
 *   -EEXIST: the same function, argument and subsystem are registered;
 *   -ENOTSUP: every call goes to this DPDK's own functions, whose monitor does not tell;
 *   -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_uevent_callback_register(const char *subsystem,
					 rte_hotplug_uevent_cb cb,
					 void *arg);

/**
 * Unregisters callbacks.
 *
 * After a success none of them runs any more, except one that unregisters itself from inside.
 *
 * @param subsystem
 *   The subsystem they were registered for; NULL for every one.
 * @param cb
 *   The function.
 * @param arg
 *   The argument; (void *)-1 for every argument.
 * @return
 *   How many were unregistered;
 *   -EINVAL: cb is NULL;
 *   -ENOENT: none matches;
 *   -EAGAIN: one of them runs in another thread; all stay registered;
 *   -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_uevent_callback_unregister(const char *subsystem,
					   rte_hotplug_uevent_cb cb,
					   void *arg);

/**
 * Tells what happened.
 *
 * @param event
 *   An event, inside of its callback.
 * @return
 *   An enum rte_hotplug_uevent_action; -EINVAL: event is NULL; -EIO: a defect of this library.
 *
 * May be called from inside the callback only.
 */
int rte_hotplug_uevent_action(const struct rte_hotplug_uevent *event);

/**
 * Tells the kernel's number of an event.
 *
 * @param event
 *   An event, inside of its callback.
 * @return
 *   The number, which grows with each event of the machine; 0 for an event that the kernel had to drop
 *   and that was found out by looking at the devices, or when event is NULL.
 *
 * May be called from inside the callback only.
 */
uint64_t rte_hotplug_uevent_seqnum(const struct rte_hotplug_uevent *event);

/**
 * Tells a value that the kernel gave with an event.
 *
 * @param event
 *   An event, inside of its callback.
 * @param key
 *   "DEVPATH", "SUBSYSTEM", "DRIVER", "PCI_SLOT_NAME", or any other key of the kernel's.
 * @return
 *   The value, valid until the callback returns; NULL when there is none, or an argument is NULL.
 *
 * May be called from inside the callback only.
 */
const char *rte_hotplug_uevent_get(const struct rte_hotplug_uevent *event, const char *key);

/**
 * Says when devices are announced, from the next event on.
 *
 * @param flags
 *   0, or RTE_HOTPLUG_EVENT_ADD_AFTER_BIND.
 * @return
 *   0 on success; -EINVAL: there is no such flag;
 *   -ENOTSUP: every call goes to this DPDK's own functions; -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_event_policy_set(unsigned int flags);

/**
 * Tells when devices are announced.
 *
 * @return
 *   0, or RTE_HOTPLUG_EVENT_ADD_AFTER_BIND.
 *
 * May be called from any thread.
 */
unsigned int rte_hotplug_event_policy_get(void);

/**
 * Tells what the monitor of device events has seen.
 *
 * @param statistics
 *   Filled in; its size has to be set.
 * @return
 *   0 on success; -EINVAL: statistics is NULL or its size is wrong; -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_monitor_statistics_get(struct rte_hotplug_monitor_statistics *statistics);

/**
 * Tells what a PCI function is.
 *
 * @param dev
 *   A device of the embedded mode's "pci" bus.
 * @param id
 *   Filled in.
 * @return
 *   0 on success; -EINVAL: an argument is NULL; -ENODEV: the bus does not list this device;
 *   -ENOTSUP: there is a DPDK in the process, whose drivers know that; -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_pci_id_get(const struct rte_device *dev,
			   struct rte_hotplug_pci_id *id);

/**
 * Maps the memory of a PCI function's base address register, or tells where it is mapped.
 *
 * The mapping ends by itself: after the driver's remove, or when no driver takes the device. Until then
 * rte_dev_hotplug_handle_enable() keeps a driver that touches it alive when the device goes.
 *
 * @param dev
 *   A device that a driver of this process is probing or has.
 * @param bar
 *   The register, 0 to 5.
 * @param address
 *   Set to where the memory is.
 * @param length
 *   Set to its length in bytes. May be NULL.
 * @return
 *   0 on success;
 *   -EINVAL: dev or address is NULL, or there is no such register;
 *   -ENODEV: the bus does not list this device;
 *   -ENOENT: no driver uses the device, or the register has no memory;
 *   -ENOTSUP: the register has ports instead of memory, or there is a DPDK in the process, whose
 *   drivers map by themselves;
 *   -EACCES, -ENOMEM and other codes of the system; -EIO: a defect of this library.
 *
 * May be called from any thread, from inside of the driver's probe above all.
 */
int rte_hotplug_pci_map(const struct rte_device *dev,
			uint32_t bar,
			void **address,
			size_t *length);

/**
 * Reads from the configuration space of a PCI function.
 *
 * @param dev
 *   A device that a driver of this process is probing or has.
 * @param offset
 *   Where to begin, in bytes.
 * @param buffer
 *   Filled in.
 * @param length
 *   How many bytes to read.
 * @return
 *   How many bytes were read;
 *   -EINVAL: an argument is NULL, or outside of the configuration space;
 *   -ENODEV, -ENOENT, -ENOTSUP: as rte_hotplug_pci_map(); other codes of the system;
 *   -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_pci_config_read(const struct rte_device *dev,
				uint32_t offset,
				void *buffer,
				uint32_t length);

/**
 * Writes to the configuration space of a PCI function: to let it use memory by itself, for instance.
 *
 * @param dev
 *   A device that a driver of this process is probing or has.
 * @param offset
 *   Where to begin, in bytes.
 * @param buffer
 *   What to write.
 * @param length
 *   How many bytes.
 * @return
 *   How many bytes were written; errors as rte_hotplug_pci_config_read().
 *
 * May be called from any thread.
 */
int rte_hotplug_pci_config_write(const struct rte_device *dev,
				 uint32_t offset,
				 const void *buffer,
				 uint32_t length);

/**
 * Tells the descriptors of a device under VFIO, for DMA and interrupts.
 *
 * @param dev
 *   A device that a driver of this process is probing or has.
 * @param vfio
 *   Filled in; its size has to be set. The descriptors stay the library's, until the driver's remove
 *   returns.
 * @return
 *   0 on success;
 *   -EINVAL: an argument is NULL, or the size is wrong;
 *   -ENOENT: no driver uses the device, or it is not under VFIO;
 *   -ENODEV, -ENOTSUP: as rte_hotplug_pci_map(); -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_pci_vfio_get(const struct rte_device *dev,
			     struct rte_hotplug_pci_vfio *vfio);

/**
 * Binds a PCI function to a kernel driver: vfio-pci, uio_pci_generic or igb_uio to use it here, any other
 * to give it back.
 *
 * The function is taken from the driver that has it, and given to the other one by its driver_override,
 * so that no third one gets it. A function that the kernel has just found is waited for. What was done
 * is read back. After a failure the function has the driver that it had, or the error says so.
 *
 * @param device
 *   Its address, "0000:02:00.0".
 * @param driver
 *   The driver; it has to be loaded. NULL: whichever the kernel finds for it. "": none. For a driver of
 *   VFIO all of the function's IOMMU group has to be bound to VFIO or to nothing, or be bridges.
 * @return
 *   0 on success, also when it was bound so before;
 *   -EINVAL: device is NULL or no address, or the driver refuses the function;
 *   -ENODEV: there is no such function, it has gone meanwhile, or the driver does not want it;
 *   -ENOENT: the kernel has no such driver;
 *   -EBUSY: a driver of this process uses the device, or others of its IOMMU group are in the way: the
 *   log line names them;
 *   -ENOTSUP: VFIO, and there is no IOMMU;
 *   -EACCES: it takes root; -EDEADLK: an operation that waits for this call's device works on the
 *   device; other codes of the system; -EIO: the kernel said that it was bound and shows that it is not,
 *   or a defect of this library.
 *
 * May be called from any thread. It waits while another process uses the function under VFIO: the kernel
 * does. In the place of dpdk-devbind.py.
 */
int rte_hotplug_bind_driver(const char *device,
			    const char *driver);

/**
 * Lets PCI devices be attached when they come and detached when they go.
 *
 * When the kernel adds a device that the rule is for, it is bound to the rule's kernel driver, attached
 * with rte_dev_probe(), and the callback is told. When a device goes, its memory is replaced where the
 * kernel would leave it (uio), the callback is told, and it is detached with rte_dev_remove(): a device
 * that somebody else has attached, too. An event that somebody only had repeated (`udevadm trigger`)
 * adds nothing. A device that another driver for user space has is not taken from it. What fails because it is not ready yet is tried again, less and
 * less often, until the limit. Of several rules for a device the first one counts.
 *
 * The rule keeps the monitor of device events and the handling of faults going, as
 * rte_dev_event_monitor_start() and rte_dev_hotplug_handle_enable() do.
 *
 * @param options
 *   The rule. Copied.
 * @param rule
 *   Set to the rule on success, before cb is called, else to NULL. May be NULL.
 * @return
 *   0 on success;
 *   -EINVAL: options or device is NULL, the size is too small, device is no address and no kind, or
 *   there is no such flag or limit;
 *   -EAGAIN: DPDK does not run yet: call it after rte_eal_init();
 *   -ENOTSUP: every call goes to this DPDK's own functions;
 *   -EMFILE, -ENOMEM and other codes of the system; -EIO: a defect of this library.
 *
 * May be called from any thread. Callbacks run on a thread of the library, one at a time, with no lock
 * held; they may call every function. After the application's own event callbacks that were registered
 * before the first rule. The rule ends with rte_eal_cleanup(), and a forked child has none.
 */
int rte_hotplug_auto_add(const struct rte_hotplug_auto_options *options,
			 struct rte_hotplug_auto **rule);

/**
 * Removes a rule. Devices stay as they are.
 *
 * @param rule
 *   The rule. After a success the pointer is stale, and its callback does not run, except when it calls
 *   this function itself.
 * @return
 *   0 on success;
 *   -EINVAL: rule is NULL;
 *   -ENOENT: there is no such rule: removed already?
 *   -EAGAIN: a device is being attached or detached by it, or its callback runs in another thread; the
 *   rule stays;
 *   -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_auto_remove(struct rte_hotplug_auto *rule);

/**
 * Tells what rules have done.
 *
 * @param statistics
 *   Filled in; its size has to be set.
 * @return
 *   0 on success; -EINVAL: statistics is NULL or its size is wrong; -EIO: a defect of this library.
 *
 * May be called from any thread.
 */
int rte_hotplug_auto_statistics_get(struct rte_hotplug_auto_statistics *statistics);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RTE_HOTPLUG_H */
