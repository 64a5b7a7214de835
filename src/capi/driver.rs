//! `rte_hotplug_driver_*`: drivers of the application.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use super::bus::{no_buses, read_options};
use super::dev::rte_device;
use super::pci::{read_table, rte_hotplug_pci_id};
use super::{is_null, optional, required, returning_code};
use crate::embedded::pci;
use crate::error::{Error, Kind, Result};
use crate::process::{Mode, process};
use crate::proto::pci::IdMatch;
use crate::registry::{Device, DriverOps};

/// A driver registered with rte_hotplug_driver_register().
pub struct rte_hotplug_driver;

/// Takes a device into use, or releases it. 0 on success, else a negative errno. A probe may return
/// a positive value for "not mine": the next driver is asked.
pub type rte_hotplug_driver_fn =
    Option<unsafe extern "C" fn(dev: *mut rte_device, user: *mut c_void) -> c_int>;

/// What a driver is. Set everything that is not used to 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_driver_options {
    /// sizeof(struct rte_hotplug_driver_options)
    pub size: usize,
    /// The driver name, 1 to 63 bytes. On the vdev bus device names start with it. Copied.
    pub name: *const c_char,
    /// A second name, 1 to 63 bytes; NULL for none. Copied.
    pub alias: *const c_char,
    /// The bus that it is for: "vdev" or "pci" in the embedded mode, or a registered one.
    pub bus: *const c_char,
    /// Required.
    pub probe: rte_hotplug_driver_fn,
    /// Required.
    pub remove: rte_hotplug_driver_fn,
    /// Handed to the functions; stays the caller's, until the driver is unregistered.
    pub user: *mut c_void,
    /// The functions that it is for, on the bus "pci": a table that ends with a vendor_id of 0. Copied.
    /// NULL on other buses.
    pub pci_ids: *const rte_hotplug_pci_id,
}

type OnDevice = unsafe extern "C" fn(*mut rte_device, *mut c_void) -> c_int;

/// A C driver.
struct CDriver {
    probe: OnDevice,
    remove: OnDevice,
    user: *mut c_void,
    pci_ids: Vec<IdMatch>,
}

// SAFETY: whoever registers a driver agrees to calls from any thread with this argument.
unsafe impl Send for CDriver {}
// SAFETY: as above.
unsafe impl Sync for CDriver {}

impl CDriver {
    fn call(&self, function: OnDevice, device: &Device) -> Result<()> {
        // SAFETY: the registered function with its argument; the device outlives the call.
        match unsafe { function(device.id().as_ptr(), self.user) } {
            0 => Ok(()),
            code => Err(Error::new(Kind::Code(code), "")),
        }
    }
}

impl DriverOps for CDriver {
    fn probe(&self, device: &Arc<Device>) -> Result<()> {
        self.call(self.probe, device)
    }

    fn remove(&self, device: &Arc<Device>) -> Result<()> {
        self.call(self.remove, device)
    }

    fn pci_ids(&self) -> &[IdMatch] {
        &self.pci_ids
    }
}

/// Registers a driver.
///
/// @param options
///   What the driver is. Copied; user must live until the driver is unregistered.
/// @param driver
///   Set to the driver on success. May be NULL.
/// @return
///   0 on success;
///   -EINVAL: options, its name, bus, probe or remove is NULL, its size is too small, the name or the
///   alias is empty, or there are no pci_ids for the bus "pci";
///   -E2BIG: the name or the alias is longer than 63 bytes;
///   -EEXIST: the bus has a driver of this name;
///   -ENOENT: there is no such bus;
///   -ENOTSUP: the bus is DPDK's own: its drivers register with DPDK.
///
/// The functions are called from the thread that attaches or detaches, with no lock held; they may
/// probe and remove other devices. Calls for one device never overlap.
///
/// # Safety
/// `options` is NULL or points to `options->size` bytes, its `pci_ids` is NULL or ends; `driver` is NULL or
/// points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_driver_register(
    options: *const rte_hotplug_driver_options,
    driver: *mut *mut rte_hotplug_driver,
) -> c_int {
    returning_code("rte_hotplug_driver_register", || {
        // SAFETY: the caller's promise.
        let options = unsafe { read_options(options) }?;
        // SAFETY: the caller's promise.
        let (name, alias, bus) = unsafe {
            (
                required(options.name, "options->name")?,
                optional(options.alias),
                required(options.bus, "options->bus")?,
            )
        };
        let ops = CDriver {
            probe: options.probe.ok_or_else(|| is_null("options->probe"))?,
            remove: options.remove.ok_or_else(|| is_null("options->remove"))?,
            user: options.user,
            // SAFETY: the caller's promise.
            pci_ids: unsafe { read_table(options.pci_ids) },
        };
        match process().mode()? {
            Mode::Forwarding(_) => return Err(no_buses()),
            Mode::Hosted(platform) if platform.has_host_bus(bus) => {
                return Err(Error::new(
                    Kind::NotSupported,
                    "the bus is DPDK's own: register the driver with DPDK",
                ));
            }
            Mode::Embedded(_) if bus == pci::NAME && ops.pci_ids.is_empty() => {
                return Err(Error::new(
                    Kind::Invalid,
                    "a driver for the bus \"pci\" needs pci_ids",
                ));
            }
            Mode::Hosted(_) | Mode::Embedded(_) => {}
        }
        let bus = process().registry.bus(bus).ok_or_else(|| {
            Error::new(Kind::NotFound, format!("there is no bus \"{}\"", bus.to_string_lossy()))
        })?;
        let registered = bus.register_driver(name, alias, Box::new(ops))?;
        if !driver.is_null() {
            // SAFETY: the caller's promise. The handle is an address to look for, not a reference.
            unsafe { driver.write(Arc::as_ptr(&registered).cast_mut().cast()) };
        }
        Ok(0)
    })
}

/// Unregisters a driver.
///
/// @param driver
///   The driver. After a success the pointer is stale and its functions are not called any more.
/// @return
///   0 on success;
///   -EINVAL: driver is NULL;
///   -ENOENT: it is not registered;
///   -EBUSY: it holds a device, or is probing one.
///
/// # Safety
/// `driver` is compared with the registered drivers only; any value is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_driver_unregister(driver: *mut rte_hotplug_driver) -> c_int {
    returning_code("rte_hotplug_driver_unregister", || {
        if driver.is_null() {
            return Err(is_null("driver"));
        }
        let found = process().registry.driver_at(driver as usize);
        let (bus, driver) = found.ok_or_else(|| {
            Error::new(Kind::NotFound, "this driver is not registered: unregistered already?")
        })?;
        bus.unregister_driver(driver).map(|()| 0)
    })
}
