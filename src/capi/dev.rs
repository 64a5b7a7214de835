//! `rte_dev_probe`, `rte_dev_remove`, `rte_eal_hotplug_add`, `rte_eal_hotplug_remove`.

use std::ffi::{c_char, c_int};

use super::{is_null, optional, required, returning_code};
use crate::ports::DeviceId;
use crate::process::process;

/// A device. DPDK 22.11 and later keep the struct private; the accessors of rte_hotplug.h read it.
pub struct rte_device;

/// Attaches a device, in this process and in every other process of the group: in all, or in none.
///
/// After an error every living process is as it was before, but for those that the log line names.
/// A device that is attached already is a success. A device whose probe failed stays on its bus
/// without a driver, and may be tried again.
///
/// @param devargs
///   The device and its arguments: "net_null0,copy=1", "pci:0000:02:00.0,key=value" or
///   "bus=pci,addr=02:00.0/class=eth/driver=ixgbe,key=value". Not kept.
/// @return
///   0 on success;
///   -EINVAL: devargs is NULL, names only a class, or a name longer than 63 bytes;
///   -EFAULT: no bus takes a device of this name;
///   -ENODEV: the bus did not find the device;
///   -ENOMEM: out of memory;
///   -EBUSY: called from inside the driver's remove of this device, or from inside an attach or detach
///   of it that goes on in other processes;
///   -EEXIST: called from inside the driver's probe of this device, from DPDK 26.07 on;
///   -ENOTSUP: the bus cannot attach at run time, or no driver takes the device;
///   -ENOMSG: another process did not answer in time, or is stopped; in a secondary: the primary is
///   gone or stopped;
///   -E2BIG: 128 bytes of devargs or more while a process with DPDK's own hotplug is in the group, or
///   more than 60 KB;
///   -EDEADLK: an operation that waits for this call's device works on the device; or, from inside a
///   remove that the bus runs under its lock, the device is being worked on elsewhere;
///   otherwise what the bus's scan or the driver's probe returned, in whichever process: a driver's own
///   -EEXIST too, which DPDK takes for "attached already".
///
/// May be called from any thread, and from inside a driver or callback.
/// As the function of the same name in DPDK ("Device Hotplug", Basic Usage).
///
/// # Safety
/// `devargs` is NULL or a C string.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_dev_probe"))]
pub unsafe extern "C" fn rte_dev_probe(devargs: *const c_char) -> c_int {
    returning_code("rte_dev_probe", || {
        // SAFETY: the caller's promise.
        process().probe(unsafe { required(devargs, "devargs") }?)
    })
}

/// Detaches a device, in this process and in every other process of the group.
///
/// @param dev
///   The device. After a success the pointer is stale, except in DPDK 26.07 and later, whose devices stay
///   on their bus. A pointer that no bus lists is not read.
/// @return
///   0 on success;
///   -EINVAL: dev is NULL;
///   -ENODEV: no bus lists this pointer, the device is detached already for instance;
///   -ENOENT: no driver holds the device, from DPDK 26.07 on also after it was detached;
///   -ENOTSUP: the bus cannot detach at run time;
///   -EBUSY: called from inside the driver's own remove of this device, or from inside an attach or
///   detach of it that goes on in other processes;
///   -ENOMSG, -EDEADLK: as rte_dev_probe;
///   otherwise what the driver's remove returned, in whichever process; the device then stays attached
///   everywhere.
///
/// May be called from any thread, and from inside a driver or callback.
/// As the function of the same name in DPDK ("Device Hotplug", Basic Usage).
///
/// # Safety
/// `dev` is compared with listed devices before anything is read; any value is allowed.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_dev_remove"))]
pub unsafe extern "C" fn rte_dev_remove(dev: *mut rte_device) -> c_int {
    returning_code("rte_dev_remove", || {
        process().remove(DeviceId::from_ptr(dev).ok_or_else(|| is_null("dev"))?)
    })
}

/// Attaches the device of this name on this bus: rte_dev_probe of "busname:devname,drvargs".
///
/// @param busname
///   The bus, "vdev" or "pci" for instance.
/// @param devname
///   The device.
/// @param drvargs
///   The driver's arguments; NULL or "" for none.
/// @return
///   As rte_dev_probe; -EINVAL when busname or devname is NULL.
///
/// As the function of the same name in DPDK ("Device Hotplug", Basic Usage).
///
/// # Safety
/// Each argument is NULL or a C string.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_eal_hotplug_add"))]
pub unsafe extern "C" fn rte_eal_hotplug_add(
    busname: *const c_char,
    devname: *const c_char,
    drvargs: *const c_char,
) -> c_int {
    returning_code("rte_eal_hotplug_add", || {
        // SAFETY: the caller's promise.
        unsafe {
            let (bus, device) = (required(busname, "busname")?, required(devname, "devname")?);
            process().hotplug_add(bus, device, optional(drvargs).unwrap_or_default())
        }
    })
}

/// Detaches the device of this name on this bus.
///
/// @param busname
///   The bus.
/// @param devname
///   The device.
/// @return
///   As rte_dev_remove; besides, as in DPDK,
///   -ENOENT: there is no such bus;
///   -EINVAL: the bus has no such device, or an argument is NULL.
///
/// As the function of the same name in DPDK ("Device Hotplug", Basic Usage).
///
/// # Safety
/// Each argument is NULL or a C string.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_eal_hotplug_remove"))]
pub unsafe extern "C" fn rte_eal_hotplug_remove(
    busname: *const c_char,
    devname: *const c_char,
) -> c_int {
    returning_code("rte_eal_hotplug_remove", || {
        // SAFETY: the caller's promise.
        unsafe {
            let (bus, device) = (required(busname, "busname")?, required(devname, "devname")?);
            process().hotplug_remove(bus, device)
        }
    })
}
