//! `rte_hotplug_device_*`, `rte_hotplug_mode`, `rte_hotplug_version`: finding and reading devices.

use std::ffi::{c_char, c_int, c_void};

use super::dev::rte_device;
use super::{
    is_null, optional, required, returning_answer, returning_code, returning_pointer, sized,
};
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
    /// Its devargs are known to DPDK; no bus has found it.
    RTE_HOTPLUG_DEVICE_PARSED = 1,
    /// It is on a bus.
    RTE_HOTPLUG_DEVICE_FOUND = 2,
    /// A kernel driver for user space is bound to it: vfio-pci, uio_pci_generic or igb_uio.
    RTE_HOTPLUG_DEVICE_BOUND = 3,
    /// A driver holds it: it is attached.
    RTE_HOTPLUG_DEVICE_PROBED = 4,
    /// It is attached, and was removed or has faulted: to be seen while the monitor runs or the handling
    /// of faults is enabled.
    RTE_HOTPLUG_DEVICE_FAULT = 5,
}

/// How many devices have come how far since the process started.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_state_statistics {
    /// sizeof(struct rte_hotplug_state_statistics)
    pub size: usize,
    /// Devargs of an attach became known.
    pub parsed: u64,
    /// A bus found the device of an attach.
    pub found: u64,
    /// A kernel driver for user space was bound to a PCI device, while the monitor runs.
    pub bound: u64,
    /// A driver took a device.
    pub probed: u64,
    /// An attached PCI device was removed or faulted.
    pub faulted: u64,
    /// A driver let go of a device, or it was not found.
    pub gone: u64,
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
        // Fails for what no bus lists.
        view(dev)?;
        let id = DeviceId::from_ptr(dev).ok_or_else(|| is_null("dev"))?;
        process().state_of(id)?.map(as_c).ok_or_else(gone)
    })
}

/// The state of a device by its name, also of one that no bus has found.
///
/// @param bus_name
///   The bus.
/// @param device_name
///   The device.
/// @return
///   An enum rte_hotplug_device_state_type; -EINVAL: an argument is NULL; -ENODEV: there is neither such
///   a device nor devargs for it; -ENOTSUP: an unknown DPDK is in the process.
///
/// May be called from any thread.
///
/// # Safety
/// `bus_name` and `device_name` are NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_device_state_by_name(
    bus_name: *const c_char,
    device_name: *const c_char,
) -> c_int {
    returning_answer("rte_hotplug_device_state_by_name", || {
        // SAFETY: the caller's promise.
        let (bus, name) =
            unsafe { (required(bus_name, "bus_name")?, required(device_name, "device_name")?) };
        process().state_by_name(bus, name)?.map(as_c).ok_or_else(gone)
    })
}

/// Tells how many devices have come how far since this process started.
///
/// @param statistics
///   Filled in; its size has to be set.
/// @return
///   0 on success; -EINVAL: statistics is NULL or its size is wrong; -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `statistics` is NULL or a struct whose first member is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_state_statistics_get(
    statistics: *mut rte_hotplug_state_statistics,
) -> c_int {
    returning_code("rte_hotplug_state_statistics_get", || {
        // SAFETY: the caller's promise.
        let statistics = unsafe { sized(statistics, "statistics", |s| s.size)? };
        let counts = process().engine.states.counters.read();
        *statistics = rte_hotplug_state_statistics {
            size: statistics.size,
            parsed: counts.parsed,
            found: counts.found,
            bound: counts.bound,
            probed: counts.probed,
            faulted: counts.faulted,
            gone: counts.gone,
        };
        Ok(0)
    })
}

fn as_c(state: DeviceState) -> c_int {
    use rte_hotplug_device_state_type::{
        RTE_HOTPLUG_DEVICE_BOUND, RTE_HOTPLUG_DEVICE_FAULT, RTE_HOTPLUG_DEVICE_FOUND,
        RTE_HOTPLUG_DEVICE_PARSED, RTE_HOTPLUG_DEVICE_PROBED,
    };
    (match state {
        DeviceState::Parsed => RTE_HOTPLUG_DEVICE_PARSED,
        DeviceState::Found => RTE_HOTPLUG_DEVICE_FOUND,
        DeviceState::Bound => RTE_HOTPLUG_DEVICE_BOUND,
        DeviceState::Probed => RTE_HOTPLUG_DEVICE_PROBED,
        DeviceState::Fault => RTE_HOTPLUG_DEVICE_FAULT,
    }) as c_int
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
