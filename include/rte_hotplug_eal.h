/* SPDX-License-Identifier: BSD-3-Clause */
/* Generated from the Rust source; renew with: RENEW_HEADERS=1 cargo test --test header */

#ifndef RTE_HOTPLUG_EAL_H
#define RTE_HOTPLUG_EAL_H

#include <stddef.h>
#include <stdint.h>

struct rte_device;
struct rte_mp_msg;

/**
 * What happened to a device.
 */
enum rte_dev_event_type {
	RTE_DEV_EVENT_ADD,    /**< it became available for probing */
	RTE_DEV_EVENT_REMOVE, /**< it is gone */
	RTE_DEV_EVENT_MAX
};

/**
 * Called when a device was added or removed. device_name is valid during the call; cb_arg is what
 * was registered.
 */
typedef void (*rte_dev_event_cb_fn)(const char *device_name, enum rte_dev_event_type event,
				    void *cb_arg);

/**
 * Handles a multi-process message.
 */
typedef int (*rte_mp_t)(const struct rte_mp_msg *msg, const void *peer);


#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Attaches a device, in this process and in every other process of the group: in all, or in none.
 *
 * After an error every living process is as it was before, but for those that the log line names.
 * A device that is attached already is a success. A device whose probe failed stays on its bus
 * without a driver, and may be tried again.
 *
 * @param devargs
 *   The device and its arguments: "net_null0,copy=1", "pci:0000:02:00.0,key=value" or
 *   "bus=pci,addr=02:00.0/class=eth/driver=ixgbe,key=value". Not kept.
 * @return
 *   0 on success;
 *   -EINVAL: devargs is NULL, names only a class, or a name longer than 63 bytes;
 *   -EFAULT: no bus takes a device of this name;
 *   -ENODEV: the bus did not find the device;
 *   -ENOMEM: out of memory;
 *   -EBUSY: called from inside the driver's remove of this device, or from inside an attach or detach
 *   of it that goes on in other processes;
 *   -EEXIST: called from inside the driver's probe of this device, from DPDK 26.07 on;
 *   -ENOTSUP: the bus cannot attach at run time, or no driver takes the device;
 *   -ENOMSG: another process did not answer in time, or is stopped; in a secondary: the primary is
 *   gone or stopped;
 *   -E2BIG: 128 bytes of devargs or more while a process with DPDK's own hotplug is in the group, or
 *   more than 60 KB;
 *   -EDEADLK: an operation that waits for this call's device works on the device; or, from inside a
 *   remove that the bus runs under its lock, the device is being worked on elsewhere;
 *   otherwise what the bus's scan or the driver's probe returned, in whichever process: a driver's own
 *   -EEXIST too, which DPDK takes for "attached already".
 *
 * May be called from any thread, and from inside a driver or callback.
 * As the function of the same name in DPDK ("Device Hotplug", Basic Usage).
 */
int rte_dev_probe(const char *devargs);

/**
 * Detaches a device, in this process and in every other process of the group.
 *
 * @param dev
 *   The device. After a success the pointer is stale, except in DPDK 26.07 and later, whose devices stay
 *   on their bus. A pointer that no bus lists is not read.
 * @return
 *   0 on success;
 *   -EINVAL: dev is NULL;
 *   -ENODEV: no bus lists this pointer, the device is detached already for instance;
 *   -ENOENT: no driver holds the device, from DPDK 26.07 on also after it was detached;
 *   -ENOTSUP: the bus cannot detach at run time;
 *   -EBUSY: called from inside the driver's own remove of this device, or from inside an attach or
 *   detach of it that goes on in other processes;
 *   -ENOMSG, -EDEADLK: as rte_dev_probe;
 *   otherwise what the driver's remove returned, in whichever process; the device then stays attached
 *   everywhere.
 *
 * May be called from any thread, and from inside a driver or callback.
 * As the function of the same name in DPDK ("Device Hotplug", Basic Usage).
 */
int rte_dev_remove(struct rte_device *dev);

/**
 * Attaches the device of this name on this bus: rte_dev_probe of "busname:devname,drvargs".
 *
 * @param busname
 *   The bus, "vdev" or "pci" for instance.
 * @param devname
 *   The device.
 * @param drvargs
 *   The driver's arguments; NULL or "" for none.
 * @return
 *   As rte_dev_probe; -EINVAL when busname or devname is NULL.
 *
 * As the function of the same name in DPDK ("Device Hotplug", Basic Usage).
 */
int rte_eal_hotplug_add(const char *busname, const char *devname, const char *drvargs);

/**
 * Detaches the device of this name on this bus.
 *
 * @param busname
 *   The bus.
 * @param devname
 *   The device.
 * @return
 *   As rte_dev_remove; besides, as in DPDK,
 *   -ENOENT: there is no such bus;
 *   -EINVAL: the bus has no such device, or an argument is NULL.
 *
 * As the function of the same name in DPDK ("Device Hotplug", Basic Usage).
 */
int rte_eal_hotplug_remove(const char *busname, const char *devname);

/**
 * Registers a callback for device events.
 *
 * Callbacks run in order of registration, on the thread that reports the event.
 *
 * @param device_name
 *   The device to hear of, compared exactly; NULL for all. Copied.
 * @param cb_fn
 *   The function to call. It may register and unregister callbacks, itself included, and probe and
 *   remove devices.
 * @param cb_arg
 *   Handed to cb_fn; stays the caller's, who keeps it until the callback is unregistered.
 * @return
 *   0 on success;
 *   -EINVAL: cb_fn is NULL;
 *   -EEXIST: the same function, argument and device are registered.
 *
 * May be called from any thread. As the function of the same name in DPDK ("Kernel Device
 * Events").
 */
int rte_dev_event_callback_register(const char *device_name,
				    rte_dev_event_cb_fn cb_fn,
				    void *cb_arg);

/**
 * Unregisters callbacks.
 *
 * After a success none of them runs any more, except one that unregisters itself from inside.
 *
 * @param device_name
 *   The device they were registered for; NULL for every device.
 * @param cb_fn
 *   The function.
 * @param cb_arg
 *   The argument; (void *)-1 for every argument.
 * @return
 *   How many were unregistered;
 *   -EINVAL: cb_fn is NULL;
 *   -ENOENT: none matches;
 *   -EAGAIN: one of them runs in another thread; all stay registered.
 *
 * May be called from any thread. As the function of the same name in DPDK 24.11 and later, which
 * however unregisters those before the one that runs.
 */
int rte_dev_event_callback_unregister(const char *device_name,
				      rte_dev_event_cb_fn cb_fn,
				      void *cb_arg);

/**
 * Calls the callbacks registered for a device: for drivers that learn of events themselves.
 *
 * @param device_name
 *   The device; NULL does nothing.
 * @param event
 *   RTE_DEV_EVENT_ADD or RTE_DEV_EVENT_REMOVE; other values do nothing.
 *
 * Callbacks run on the calling thread, with no lock held. One exception: the removal of a device that
 * vfio-pci holds, told on DPDK's interrupt thread, is delivered right after it on that thread, since
 * DPDK's PCI bus holds a lock meanwhile. As the function of the same name in DPDK.
 */
void rte_dev_event_callback_process(const char *device_name,
				    enum rte_dev_event_type event);

/**
 * Starts the monitor of the kernel's device events.
 *
 * It is counted: each start needs a stop. From the first start on, the addition and the removal of
 * every PCI device is told to the callbacks that are registered for it, in order: on DPDK's interrupt
 * thread, embedded on a thread of its own. Slow callbacks lose nothing. Only messages of the kernel
 * are believed. When the kernel has lost events because they came faster than anybody could take them,
 * the devices are looked at and what was missed is told. In a forked child it does not run, and can be
 * started: callbacks are called there on a thread of its own, as DPDK's is the parent's.
 *
 * @return
 *   0: it runs;
 *   -EMFILE, -ENFILE, -ENOMEM, -EAGAIN and other codes of the system: it does not run, as there is no
 *   socket or thread for it; -EIO: a defect of this library.
 *
 * May be called from any thread. As the function of the same name in DPDK ("Kernel Device
 * Events").
 */
int rte_dev_event_monitor_start(void);

/**
 * Stops the monitor of the kernel's device events, with the last of its users.
 *
 * What has not been told by then is not told any more. A callback that runs in another thread is not
 * waited for; rte_dev_event_callback_unregister() says whether one does.
 *
 * @return
 *   0, also when it did not run; -EIO: a defect of this library.
 *
 * May be called from any thread and from inside a callback. As the function of the same name in DPDK
 * ("Kernel Device Events").
 */
int rte_dev_event_monitor_stop(void);

/**
 * Enables the handling of devices that go while their drivers work with them.
 *
 * It is counted: each call needs an rte_dev_hotplug_handle_disable(). From the first on, a SIGBUS by an
 * access to the memory of an attached PCI device is recovered from: the access and all later ones reach
 * memory that nobody else has, and the removal of the device is told once to the callbacks of
 * rte_dev_event_callback_register(), later and outside of the signal's handler. Any other SIGBUS goes
 * to the handler that was installed before, or to the default action. While the monitor runs, the
 * memory of a device under uio is replaced as soon as the device has gone, since it could reach the
 * next device at that address.
 *
 * @return
 *   0 on success;
 *   -EMFILE, -ENFILE, -ENOMEM, -EAGAIN and other codes of the system: there is no thread or descriptor
 *   for it, or the signal's handler cannot be installed; -EIO: a defect of this library.
 *
 * May be called from any thread. As the function of the same name in DPDK ("SIGBUS Handling").
 */
int rte_dev_hotplug_handle_enable(void);

/**
 * Disables what rte_dev_hotplug_handle_enable() enabled, with the last of its users.
 *
 * What was installed for SIGBUS before is put back. Where somebody has installed another handler since,
 * that one stays, and ours passes everything on.
 *
 * @return
 *   0, also when it was not enabled; -EINVAL: the signal's action cannot be set;
 *   -EIO: a defect of this library.
 *
 * May be called from any thread. As the function of the same name in DPDK ("SIGBUS Handling").
 */
int rte_dev_hotplug_handle_disable(void);

/**
 * Initialises DPDK, or the embedded runtime when there is no DPDK in the process.
 *
 * Embedded, these options mean something: --vdev, -a/--allow, -b/--block, --log-level,
 * --file-prefix and --proc-type, which name a group of processes and the place in it; with
 * --no-shconf or --in-memory the process is alone. --no-pci and --no-huge are always so. Other
 * options of EAL are accepted with one warning. A secondary first gets the devices of its primary.
 * Then devices that registered buses find are attached, then those of --vdev, which a secondary
 * keeps to itself. A first call of another function does the same without options, and alone. After
 * rte_eal_cleanup it may be called again.
 *
 * @param argc
 *   The number of elements of argv.
 * @param argv
 *   The program's arguments, the program name first. The last one that was EAL's becomes the
 *   program name.
 * @return
 *   How many arguments were EAL's; the application's start at argv[result + 1].
 *   -1 on failure, the reason in rte_errno as DPDK's own function leaves it, or embedded in errno:
 *   EALREADY: called twice; EINVAL: a bad option or argv is NULL; EFAULT: devargs that no bus takes;
 *   EBUSY: the group has a primary already; ENOENT: it has none to be a secondary of; ENOMSG: the
 *   primary does not answer; ENOTSUP: it refuses; EACCES and others: the runtime directory cannot be
 *   made; EIO: a defect of this library.
 *
 * To be called once, from the main thread. As the function of the same name in DPDK.
 */
int rte_eal_init(int argc,
		 char **argv);

/**
 * Ends DPDK, or the embedded runtime: every attached device is detached, but for those whose driver
 * fails to remove them, which are logged.
 *
 * Buses and drivers that the application registered stay registered. Event callbacks that run are waited
 * for, unless this is called inside of one; no further event is told.
 *
 * @return
 *   0 on success; -EFAULT as DPDK; -EIO on a defect of this library.
 *
 * To be called once, from the main thread. As the function of the same name in DPDK.
 */
int rte_eal_cleanup(void);

/**
 * Registers a handler of multi-process messages with DPDK.
 *
 * @param name
 *   The action.
 * @param action
 *   Its handler.
 * @return
 *   As DPDK's own function; embedded -1 with errno ENOTSUP.
 *
 * May be called from any thread.
 */
int rte_mp_action_register(const char *name, rte_mp_t action);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RTE_HOTPLUG_EAL_H */
