//! `rte_hotplug_bus_*`: buses of the application.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::size_of;
use std::sync::Arc;

use super::{is_null, required, returning_code};
use crate::error::{Error, Kind, Result, describe_code};
use crate::process::{Mode, process};
use crate::registry::{Bus, BusOps, Driver, Scan};

/// A bus registered with rte_hotplug_bus_register().
pub struct rte_hotplug_bus;

/// Whether a name can be a device of the bus: 0 if so, like DPDK's bus parse.
pub type rte_hotplug_bus_parse_t =
    Option<unsafe extern "C" fn(name: *const c_char, user: *mut c_void) -> c_int>;

/// Looks for the device `name`, or for all with NULL, and reports each one found with
/// rte_hotplug_bus_add_device(). 0 on success, else a negative errno.
pub type rte_hotplug_bus_scan_t = Option<
    unsafe extern "C" fn(
        bus: *mut rte_hotplug_bus,
        name: *const c_char,
        user: *mut c_void,
    ) -> c_int,
>;

/// Whether a driver is for a device: not 0 if so.
pub type rte_hotplug_bus_match_t = Option<
    unsafe extern "C" fn(driver: *const c_char, device: *const c_char, user: *mut c_void) -> c_int,
>;

/// What a bus is. Set everything that is not used to 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_bus_options {
    /// sizeof(struct rte_hotplug_bus_options)
    pub size: usize,
    /// The bus name, 1 to 63 bytes. Copied.
    pub name: *const c_char,
    /// Required.
    pub parse: rte_hotplug_bus_parse_t,
    /// Required.
    pub scan: rte_hotplug_bus_scan_t,
    /// NULL: a driver is for the devices whose name starts with its name or alias.
    pub matches: rte_hotplug_bus_match_t,
    /// Handed to the functions; stays the caller's, until the bus is unregistered.
    pub user: *mut c_void,
}

/// A C bus.
struct CBus {
    parse: unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int,
    scan: unsafe extern "C" fn(*mut rte_hotplug_bus, *const c_char, *mut c_void) -> c_int,
    matches: rte_hotplug_bus_match_t,
    user: *mut c_void,
}

// SAFETY: whoever registers a bus agrees to calls from any thread with this argument.
unsafe impl Send for CBus {}
// SAFETY: as above.
unsafe impl Sync for CBus {}

impl BusOps for CBus {
    fn accepts(&self, _bus: &Bus, device: &CStr) -> bool {
        // SAFETY: the registered function with its argument, and a C string.
        unsafe { (self.parse)(device.as_ptr(), self.user) == 0 }
    }

    fn scan(&self, scan: &Scan<'_>) -> Result<()> {
        let bus = Arc::as_ptr(scan.bus()).cast_mut().cast();
        let wanted = scan.wanted().map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: as above; the handle is the bus's address.
        match unsafe { (self.scan)(bus, wanted, self.user) } {
            0 => Ok(()),
            code => Err(Error::new(
                Kind::Code(if code < 0 { code } else { -libc::EIO }),
                format!("scan of the bus failed: {}", describe_code(code)),
            )),
        }
    }

    fn matches(&self, driver: &Driver, device: &CStr) -> bool {
        match self.matches {
            // SAFETY: as above.
            Some(matches) => unsafe {
                matches(driver.name().as_ptr(), device.as_ptr(), self.user) != 0
            },
            None => driver.is_named_in(device),
        }
    }
}

/// Registers a bus, beside those of DPDK or of the embedded runtime.
///
/// Its devices are attached and detached with rte_dev_probe(), rte_dev_remove() and so on. A device
/// is forgotten when it is detached; the next scan finds it again. In the embedded mode
/// rte_eal_init() attaches what the bus finds, so register before it. Devices of such a bus belong to
/// this process alone.
///
/// @param options
///   What the bus is. Copied; user must live until the bus is unregistered.
/// @param bus
///   Set to the bus on success. May be NULL.
/// @return
///   0 on success;
///   -EINVAL: options, its name, parse or scan is NULL, its size is too small, or the name is empty;
///   -E2BIG: the name is longer than 63 bytes;
///   -EEXIST: a bus of this name exists;
///   -ENOTSUP: an unknown DPDK is in the process and serves all calls itself.
///
/// The functions are called from any thread that attaches or detaches, with no lock held.
///
/// # Safety
/// `options` is NULL or points to `options->size` bytes; `bus` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_bus_register(
    options: *const rte_hotplug_bus_options,
    bus: *mut *mut rte_hotplug_bus,
) -> c_int {
    returning_code("rte_hotplug_bus_register", || {
        // SAFETY: the caller's promise.
        let options = unsafe { read_options(options) }?;
        // SAFETY: the caller's promise.
        let name = unsafe { required(options.name, "options->name") }?;
        let ops = CBus {
            parse: options.parse.ok_or_else(|| is_null("options->parse"))?,
            scan: options.scan.ok_or_else(|| is_null("options->scan"))?,
            matches: options.matches,
            user: options.user,
        };
        match process().mode()? {
            Mode::Forwarding(_) => return Err(no_buses()),
            Mode::Hosted(platform) if platform.has_host_bus(name) => {
                return Err(Error::new(Kind::Exists, "DPDK has a bus of this name"));
            }
            Mode::Hosted(_) | Mode::Embedded(_) => {}
        }
        let registered = process().registry.register_bus(name, Box::new(ops))?;
        if !bus.is_null() {
            // SAFETY: the caller's promise. The handle is an address to look for, not a reference.
            unsafe { bus.write(Arc::as_ptr(&registered).cast_mut().cast()) };
        }
        Ok(0)
    })
}

/// Unregisters a bus.
///
/// @param bus
///   The bus. After a success the pointer is stale.
/// @return
///   0 on success;
///   -EINVAL: bus is NULL;
///   -ENOENT: it is not registered;
///   -EBUSY: it has devices or drivers, or an operation uses it.
///
/// Not from inside the bus's own functions: -EBUSY.
///
/// # Safety
/// `bus` is compared with the registered buses only; any value is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_bus_unregister(bus: *mut rte_hotplug_bus) -> c_int {
    returning_code("rte_hotplug_bus_unregister", || {
        process().registry.unregister_bus(find_bus(bus)?).map(|()| 0)
    })
}

/// Reports a device that a scan has found.
///
/// @param bus
///   The bus.
/// @param name
///   The device, 1 to 63 bytes. Copied. A device that is known is left as it is.
/// @param numa_node
///   Its NUMA node, -1 when unknown.
/// @return
///   0 on success;
///   -EINVAL: an argument is NULL or the name empty;
///   -E2BIG: the name is longer than 63 bytes;
///   -ENOENT: the bus is not registered.
///
/// # Safety
/// `name` is NULL or a C string; `bus` may be any value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_bus_add_device(
    bus: *mut rte_hotplug_bus,
    name: *const c_char,
    numa_node: c_int,
) -> c_int {
    returning_code("rte_hotplug_bus_add_device", || {
        // SAFETY: the caller's promise.
        let name = unsafe { required(name, "name") }?;
        find_bus(bus)?.add_device(name, numa_node).map(|()| 0)
    })
}

/// Takes a device off a bus that is not attached: it is gone from the hardware.
///
/// @param bus
///   The bus.
/// @param name
///   The device.
/// @return
///   0 on success;
///   -EINVAL: an argument is NULL;
///   -ENOENT: the bus is not registered;
///   -ENODEV: the bus has no such device;
///   -EBUSY: it is attached, or its driver is attaching or detaching it: detach it first;
///   -EDEADLK: an operation that waits for this call's device works on the device.
///
/// # Safety
/// `name` is NULL or a C string; `bus` may be any value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_bus_remove_device(
    bus: *mut rte_hotplug_bus,
    name: *const c_char,
) -> c_int {
    returning_code("rte_hotplug_bus_remove_device", || {
        // SAFETY: the caller's promise.
        let name = unsafe { required(name, "name") }?;
        let bus = find_bus(bus)?;
        // Nobody attaches it meanwhile.
        let turn = process().engine.order.enter(bus.name(), name)?;
        if turn.phase().is_some() {
            return Err(Error::new(Kind::Busy, "its driver is attaching or detaching it now"));
        }
        bus.remove_device(name).map(|()| 0)
    })
}

fn find_bus(bus: *mut rte_hotplug_bus) -> Result<Arc<Bus>> {
    if bus.is_null() {
        return Err(is_null("bus"));
    }
    process().registry.bus_at(bus as usize).ok_or_else(|| {
        Error::new(Kind::NotFound, "this bus is not registered: unregistered already?")
    })
}

pub(super) fn no_buses() -> Error {
    Error::new(Kind::NotSupported, "an unknown DPDK serves all calls in this process")
}

/// Options whose struct may have grown in the caller's version: what we do not know is not read.
///
/// # Safety
/// `options` is NULL or starts with a size_t, its own size, and has that many bytes; the C struct may
/// hold nothing that is no valid `T`.
pub(super) unsafe fn read_options<T: Copy>(options: *const T) -> Result<T> {
    if options.is_null() {
        return Err(is_null("options"));
    }
    // SAFETY: the caller's promise.
    let size = unsafe { options.cast::<usize>().read_unaligned() };
    if size < size_of::<T>() {
        return Err(Error::new(
            Kind::Invalid,
            format!("options->size is {size}: set it to the size of the struct"),
        ));
    }
    // SAFETY: there are at least this many bytes.
    Ok(unsafe { options.read_unaligned() })
}
