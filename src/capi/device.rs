//! `rte_hotplug_device_*`, `rte_hotplug_mode`, `rte_hotplug_version`: finding and reading devices.

use std::ffi::{c_char, c_int, c_void};

use super::dev::rte_device;
use super::{is_null, optional, required, returning_answer, returning_pointer};
use crate::error::{Error, Kind, Result};
use crate::hosted::DeviceView;
use crate::ports::{Bus, DeviceId, DeviceState, Platform};
use crate::process::{Mode, process};

/// How this library serves the process.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rte_hotplug_mode_type {
    /// There is no DPDK in the process.
    RTE_HOTPLUG_MODE_EMBEDDED = 1,
    /// Over the DPDK in the process.
    RTE_HOTPLUG_MODE_HOSTED = 2,
    /// An unknown DPDK is in the process; its own functions serve all calls.
    RTE_HOTPLUG_MODE_FORWARDING = 3,
}

/// How far a device has come.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum rte_hotplug_device_state_type {
    /// Its devargs are known; no bus has found it. Kept for later versions.
    RTE_HOTPLUG_DEVICE_PARSED = 1,
    /// It is on a bus.
    RTE_HOTPLUG_DEVICE_FOUND = 2,
    /// A kernel driver for user space is bound to it. Kept for later versions.
    RTE_HOTPLUG_DEVICE_BOUND = 3,
    /// A driver holds it: it is attached.
    RTE_HOTPLUG_DEVICE_PROBED = 4,
    /// It was removed, or faulted, while in use. Kept for later versions.
    RTE_HOTPLUG_DEVICE_FAULT = 5,
}

/// The version of this library, "1.0.0" for instance.
#[unsafe(no_mangle)]
pub extern "C" fn rte_hotplug_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// How this library serves the process; starts the embedded runtime if there is no DPDK.
///
/// @return
///   An enum rte_hotplug_mode_type; -EIO on a defect of this library.
#[unsafe(no_mangle)]
pub extern "C" fn rte_hotplug_mode() -> c_int {
    returning_answer("rte_hotplug_mode", || {
        Ok(match process().mode()? {
            Mode::Embedded(_) => rte_hotplug_mode_type::RTE_HOTPLUG_MODE_EMBEDDED,
            Mode::Hosted(_) => rte_hotplug_mode_type::RTE_HOTPLUG_MODE_HOSTED,
            Mode::Forwarding(_) => rte_hotplug_mode_type::RTE_HOTPLUG_MODE_FORWARDING,
        } as c_int)
    })
}

/// Finds a device.
///
/// @param bus
///   Its bus.
/// @param name
///   Its name.
/// @return
///   The device, attached or not; NULL when there is none. It is good until the device is detached.
///
/// May be called from any thread.
///
/// # Safety
/// Each argument is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_find(
    bus: *const c_char,
    name: *const c_char,
) -> *mut rte_device {
    returning_pointer("rte_hotplug_device_find", || {
        // SAFETY: the caller's promise.
        let (bus, name) = unsafe { (required(bus, "bus")?, required(name, "name")?) };
        let found = match process().mode()? {
            Mode::Embedded(platform) => platform.bus(bus).and_then(|bus| bus.find(name)),
            Mode::Hosted(platform) => platform.bus(bus).and_then(|bus| bus.find(name)),
            Mode::Forwarding(_) => return Err(unknown_host()),
        };
        found.map(|id| id.as_ptr::<rte_device>().cast_const()).ok_or_else(gone)
    })
    .cast_mut()
}

/// The device after another one, to go through all of them.
///
/// @param bus
///   Devices of this bus only; NULL for all buses.
/// @param prev
///   The device before; NULL for the first.
/// @return
///   The next device; NULL after the last, or when prev is gone.
///
/// May be called from any thread.
///
/// # Safety
/// `bus` is NULL or a C string; `prev` is compared only and may be any value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_next(
    bus: *const c_char,
    prev: *const rte_device,
) -> *mut rte_device {
    returning_pointer("rte_hotplug_device_next", || {
        // SAFETY: the caller's promise.
        let wanted = unsafe { optional(bus) };
        let all = match process().mode()? {
            Mode::Embedded(platform) => platform.devices(wanted),
            Mode::Hosted(platform) => platform.devices(wanted),
            Mode::Forwarding(_) => return Err(unknown_host()),
        };
        let next = match DeviceId::from_ptr(prev) {
            None => 0,
            Some(prev) => all.iter().position(|id| *id == prev).ok_or_else(gone)? + 1,
        };
        all.get(next).map(|id| id.as_ptr::<rte_device>().cast_const()).ok_or_else(gone)
    })
    .cast_mut()
}

/// The name of a device.
///
/// @param dev
///   The device. A pointer that no bus lists is not read.
/// @return
///   Its name, good until the device is detached; NULL when no bus lists it.
///
/// May be called from any thread.
///
/// # Safety
/// Any value of `dev` is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_name(dev: *const rte_device) -> *const c_char {
    field("rte_hotplug_device_name", dev, |view| view.name)
}

/// The name of a device's bus.
///
/// @param dev
///   The device. A pointer that no bus lists is not read.
/// @return
///   The bus name, good as long as the bus; NULL when no bus lists the device.
///
/// May be called from any thread.
///
/// # Safety
/// Any value of `dev` is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_bus(dev: *const rte_device) -> *const c_char {
    field("rte_hotplug_device_bus", dev, |view| view.bus)
}

/// The name of the driver that holds a device.
///
/// @param dev
///   The device. A pointer that no bus lists is not read.
/// @return
///   The driver name, good until the device is detached; NULL when it is not attached.
///
/// May be called from any thread.
///
/// # Safety
/// Any value of `dev` is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_driver(dev: *const rte_device) -> *const c_char {
    field("rte_hotplug_device_driver", dev, |view| view.driver)
}

/// The driver arguments of a device.
///
/// @param dev
///   The device. A pointer that no bus lists is not read.
/// @return
///   The arguments, "" when there are none, good until the device is detached or its devargs are
///   replaced; NULL when no bus lists it.
///
/// May be called from any thread.
///
/// # Safety
/// Any value of `dev` is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_devargs(dev: *const rte_device) -> *const c_char {
    field("rte_hotplug_device_devargs", dev, |view| {
        if view.arguments.is_null() { c"".as_ptr() } else { view.arguments }
    })
}

/// The NUMA node of a device.
///
/// @param dev
///   The device. A pointer that no bus lists is not read.
/// @return
///   The node; -1 when it is unknown, or when no bus lists the device.
///
/// May be called from any thread.
///
/// # Safety
/// Any value of `dev` is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_numa_node(dev: *const rte_device) -> c_int {
    let node = returning_answer("rte_hotplug_device_numa_node", || Ok(view(dev)?.numa_node));
    node.max(-1)
}

/// The state of a device.
///
/// @param dev
///   The device. A pointer that no bus lists is not read.
/// @return
///   An enum rte_hotplug_device_state_type; -EINVAL: dev is NULL; -ENODEV: no bus lists it;
///   -ENOTSUP: an unknown DPDK is in the process.
///
/// May be called from any thread.
///
/// # Safety
/// Any value of `dev` is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_state(dev: *const rte_device) -> c_int {
    returning_answer("rte_hotplug_device_state", || {
        Ok(match view(dev)?.state {
            DeviceState::Parsed => rte_hotplug_device_state_type::RTE_HOTPLUG_DEVICE_PARSED,
            DeviceState::Found => rte_hotplug_device_state_type::RTE_HOTPLUG_DEVICE_FOUND,
            DeviceState::Bound => rte_hotplug_device_state_type::RTE_HOTPLUG_DEVICE_BOUND,
            DeviceState::Probed => rte_hotplug_device_state_type::RTE_HOTPLUG_DEVICE_PROBED,
            DeviceState::Fault => rte_hotplug_device_state_type::RTE_HOTPLUG_DEVICE_FAULT,
        } as c_int)
    })
}

/// Keeps a pointer for the driver of a device of a registered bus.
///
/// @param dev
///   The device, of a bus of this library (not of DPDK).
/// @param data
///   The pointer; it stays the driver's to free.
/// @return
///   0 on success; -EINVAL: dev is NULL; -ENODEV: no bus of this library lists it.
///
/// May be called from any thread.
///
/// # Safety
/// Any value of `dev` is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_set_data(
    dev: *mut rte_device,
    data: *mut c_void,
) -> c_int {
    returning_answer("rte_hotplug_device_set_data", || {
        let id = DeviceId::from_ptr(dev).ok_or_else(|| is_null("dev"))?;
        process().registry.device_at(id).ok_or_else(gone)?.set_private(data as usize);
        Ok(0)
    })
}

/// The pointer that rte_hotplug_device_set_data() left.
///
/// @param dev
///   The device.
/// @return
///   The pointer; NULL when there is none, or when no bus of this library lists the device.
///
/// May be called from any thread.
///
/// # Safety
/// Any value of `dev` is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_data(dev: *const rte_device) -> *mut c_void {
    returning_pointer("rte_hotplug_device_data", || {
        let id = DeviceId::from_ptr(dev).ok_or_else(|| is_null("dev"))?;
        let data = process().registry.device_at(id).ok_or_else(gone)?.private();
        Ok(data as *const c_void)
    })
    .cast_mut()
}

fn field(
    function: &str,
    dev: *const rte_device,
    get: impl FnOnce(&DeviceView) -> *const c_char,
) -> *const c_char {
    returning_pointer(function, || Ok(get(&view(dev)?)))
}

/// What a device shows, read only when a bus lists it.
fn view(dev: *const rte_device) -> Result<DeviceView> {
    let id = DeviceId::from_ptr(dev).ok_or_else(|| is_null("dev"))?;
    let mode = process().mode()?;
    if let Some(device) = process().registry.device_at(id) {
        return Ok(DeviceView::of(&device));
    }
    match mode {
        Mode::Hosted(platform) => platform.view(id).ok_or_else(gone),
        Mode::Embedded(_) => Err(gone()),
        Mode::Forwarding(_) => Err(unknown_host()),
    }
}

fn gone() -> Error {
    Error::new(Kind::NoDevice, "there is no such device")
}

fn unknown_host() -> Error {
    Error::new(Kind::NotSupported, "the DPDK in this process is not known: its devices are unread")
}
