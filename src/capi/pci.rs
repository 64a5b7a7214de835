//! `rte_hotplug_pci_*` and `rte_hotplug_bind_driver`: PCI functions, their memory and their drivers.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::slice;
use std::sync::Arc;

use super::dev::rte_device;
use super::{is_null, optional, required, returning_answer, returning_code, sized};
use crate::embedded::pci::{self, Access};
use crate::engine::binding::Target;
use crate::error::{Error, Kind, Result};
use crate::ports::DeviceId;
use crate::process::{Mode, process};
use crate::proto::pci::{IdMatch, Ids};
use crate::registry::Device;

/// In an id table: any vendor, device or subsystem.
pub const RTE_HOTPLUG_PCI_ANY_ID: u32 = 0xffff;

/// In an id table: any class.
pub const RTE_HOTPLUG_PCI_ANY_CLASS: u32 = 0xff_ffff;

/// What a PCI function is, or which functions a driver is for. As DPDK's struct rte_pci_id; a table of
/// them ends with a vendor_id of 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_pci_id {
    /// Base class, subclass and programming interface, 0x020000 for instance.
    pub class_id: u32,
    /// The vendor.
    pub vendor_id: u16,
    /// The device.
    pub device_id: u16,
    /// The vendor of the whole card.
    pub subsystem_vendor_id: u16,
    /// The card.
    pub subsystem_device_id: u16,
}

/// The descriptors of a device under VFIO.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_pci_vfio {
    /// sizeof(struct rte_hotplug_pci_vfio)
    pub size: usize,
    /// The container: for DMA mappings.
    pub container: c_int,
    /// The IOMMU group.
    pub group: c_int,
    /// The device: for interrupts and resets.
    pub device: c_int,
}

impl From<&rte_hotplug_pci_id> for IdMatch {
    fn from(id: &rte_hotplug_pci_id) -> Self {
        let unless_any = |id: u16| (u32::from(id) != RTE_HOTPLUG_PCI_ANY_ID).then_some(id);
        Self {
            class: (id.class_id != RTE_HOTPLUG_PCI_ANY_CLASS).then_some(id.class_id),
            vendor: unless_any(id.vendor_id),
            device: unless_any(id.device_id),
            subsystem_vendor: unless_any(id.subsystem_vendor_id),
            subsystem_device: unless_any(id.subsystem_device_id),
        }
    }
}

/// A table of ids; NULL is an empty one.
///
/// # Safety
/// `table` is NULL or ends with an entry whose vendor is 0.
pub(super) unsafe fn read_table(table: *const rte_hotplug_pci_id) -> Vec<IdMatch> {
    if table.is_null() {
        return vec![];
    }
    // SAFETY: the caller's promise: there is a last entry.
    let entries = (0..).map(|at| unsafe { &*table.add(at) });
    entries.take_while(|id| id.vendor_id != 0).map(IdMatch::from).collect()
}

/// Tells what a PCI function is.
///
/// @param dev
///   A device of the embedded mode's "pci" bus.
/// @param id
///   Filled in.
/// @return
///   0 on success; -EINVAL: an argument is NULL; -ENODEV: the bus does not list this device;
///   -ENOTSUP: there is a DPDK in the process, whose drivers know that; -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `id` is NULL or a struct to write to; `dev` may be any value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_pci_id_get(
    dev: *const rte_device,
    id: *mut rte_hotplug_pci_id,
) -> c_int {
    returning_code("rte_hotplug_pci_id_get", || {
        // SAFETY: the caller's promise.
        let id = unsafe { id.as_mut() }.ok_or_else(|| is_null("id"))?;
        let device = function(dev)?;
        let Ids { class, vendor, device, subsystem_vendor, subsystem_device } =
            process().pci.ids(device.name()).ok_or_else(not_listed)?;
        *id = rte_hotplug_pci_id {
            class_id: class,
            vendor_id: vendor,
            device_id: device,
            subsystem_vendor_id: subsystem_vendor,
            subsystem_device_id: subsystem_device,
        };
        Ok(0)
    })
}

/// Maps the memory of a PCI function's base address register, or tells where it is mapped.
///
/// The mapping ends by itself: after the driver's remove, or when no driver takes the device. Until then
/// rte_dev_hotplug_handle_enable() keeps a driver that touches it alive when the device goes.
///
/// @param dev
///   A device that a driver of this process is probing or has.
/// @param bar
///   The register, 0 to 5.
/// @param address
///   Set to where the memory is.
/// @param length
///   Set to its length in bytes. May be NULL.
/// @return
///   0 on success;
///   -EINVAL: dev or address is NULL, or there is no such register;
///   -ENODEV: the bus does not list this device;
///   -ENOENT: no driver uses the device, or the register has no memory;
///   -ENOTSUP: the register has ports instead of memory, or there is a DPDK in the process, whose
///   drivers map by themselves;
///   -EACCES, -ENOMEM and other codes of the system; -EIO: a defect of this library.
///
/// May be called from any thread, from inside of the driver's probe above all.
///
/// # Safety
/// `address` and `length` are NULL or can be written to; `dev` may be any value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_pci_map(
    dev: *const rte_device,
    bar: u32,
    address: *mut *mut c_void,
    length: *mut usize,
) -> c_int {
    returning_code("rte_hotplug_pci_map", || {
        // SAFETY: the caller's promise.
        let (address, length) = unsafe { (address.as_mut(), length.as_mut()) };
        let address = address.ok_or_else(|| is_null("address"))?;
        let (start, size) = process().map_bar(&*function(dev)?, bar as usize)?;
        *address = std::ptr::with_exposed_provenance_mut(start);
        if let Some(length) = length {
            *length = size;
        }
        Ok(0)
    })
}

/// Reads from the configuration space of a PCI function.
///
/// @param dev
///   A device that a driver of this process is probing or has.
/// @param offset
///   Where to begin, in bytes.
/// @param buffer
///   Filled in.
/// @param length
///   How many bytes to read.
/// @return
///   How many bytes were read;
///   -EINVAL: an argument is NULL, or outside of the configuration space;
///   -ENODEV, -ENOENT, -ENOTSUP: as rte_hotplug_pci_map(); other codes of the system;
///   -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `buffer` is NULL or has room for `length` bytes; `dev` may be any value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_pci_config_read(
    dev: *const rte_device,
    offset: u32,
    buffer: *mut c_void,
    length: u32,
) -> c_int {
    returning_code("rte_hotplug_pci_config_read", || {
        if buffer.is_null() {
            return Err(is_null("buffer"));
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), length as usize) };
        let read = access(dev)?.read_config(bytes, offset.into())?;
        Ok(c_int::try_from(read).unwrap_or(c_int::MAX))
    })
}

/// Writes to the configuration space of a PCI function: to let it use memory by itself, for instance.
///
/// @param dev
///   A device that a driver of this process is probing or has.
/// @param offset
///   Where to begin, in bytes.
/// @param buffer
///   What to write.
/// @param length
///   How many bytes.
/// @return
///   How many bytes were written; errors as rte_hotplug_pci_config_read().
///
/// May be called from any thread.
///
/// # Safety
/// `buffer` is NULL or has `length` bytes; `dev` may be any value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_pci_config_write(
    dev: *const rte_device,
    offset: u32,
    buffer: *const c_void,
    length: u32,
) -> c_int {
    returning_code("rte_hotplug_pci_config_write", || {
        if buffer.is_null() {
            return Err(is_null("buffer"));
        }
        // SAFETY: the caller's promise.
        let bytes = unsafe { slice::from_raw_parts(buffer.cast::<u8>(), length as usize) };
        let written = access(dev)?.write_config(bytes, offset.into())?;
        Ok(c_int::try_from(written).unwrap_or(c_int::MAX))
    })
}

/// Tells the descriptors of a device under VFIO, for DMA and interrupts.
///
/// @param dev
///   A device that a driver of this process is probing or has.
/// @param vfio
///   Filled in; its size has to be set. The descriptors stay the library's, until the driver's remove
///   returns.
/// @return
///   0 on success;
///   -EINVAL: an argument is NULL, or the size is wrong;
///   -ENOENT: no driver uses the device, or it is not under VFIO;
///   -ENODEV, -ENOTSUP: as rte_hotplug_pci_map(); -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `vfio` is NULL or a struct whose size is set truly; `dev` may be any value.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_pci_vfio_get(
    dev: *const rte_device,
    vfio: *mut rte_hotplug_pci_vfio,
) -> c_int {
    returning_answer("rte_hotplug_pci_vfio_get", || {
        // SAFETY: the caller's promise.
        let vfio = unsafe { sized(vfio, "vfio", |vfio| vfio.size) }?;
        let descriptors = access(dev)?.vfio_descriptors();
        [vfio.container, vfio.group, vfio.device] = descriptors
            .ok_or_else(|| Error::new(Kind::NotFound, "the device is not under VFIO"))?;
        Ok(0)
    })
}

/// Binds a PCI function to a kernel driver: vfio-pci, uio_pci_generic or igb_uio to use it here, any other
/// to give it back.
///
/// The function is taken from the driver that has it, and given to the other one by its driver_override,
/// so that no third one gets it. A function that the kernel has just found is waited for. What was done
/// is read back. After a failure the function has the driver that it had, or the error says so.
///
/// @param device
///   Its address, "0000:02:00.0".
/// @param driver
///   The driver; it has to be loaded. NULL: whichever the kernel finds for it. "": none. For a driver of
///   VFIO all of the function's IOMMU group has to be bound to VFIO or to nothing, or be bridges.
/// @return
///   0 on success, also when it was bound so before;
///   -EINVAL: device is NULL or no address, or the driver refuses the function;
///   -ENODEV: there is no such function, it has gone meanwhile, or the driver does not want it;
///   -ENOENT: the kernel has no such driver;
///   -EBUSY: a driver of this process uses the device, or others of its IOMMU group are in the way: the
///   log line names them;
///   -ENOTSUP: VFIO, and there is no IOMMU;
///   -EACCES: it takes root; -EDEADLK: an operation that waits for this call's device works on the
///   device; other codes of the system; -EIO: the kernel said that it was bound and shows that it is not,
///   or a defect of this library.
///
/// May be called from any thread. It waits while another process uses the function under VFIO: the kernel
/// does. In the place of dpdk-devbind.py.
///
/// # Safety
/// Each argument is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_bind_driver(
    device: *const c_char,
    driver: *const c_char,
) -> c_int {
    returning_code("rte_hotplug_bind_driver", || {
        // SAFETY: the caller's promise.
        let (device, driver) = unsafe { (required(device, "device")?, optional(driver)) };
        process().bind_driver(device, target(driver)).map(|()| 0)
    })
}

/// What the name of a driver asks for.
fn target(driver: Option<&CStr>) -> Target<'_> {
    match driver {
        None => Target::KernelsOwn,
        Some(driver) if driver.is_empty() => Target::Nothing,
        Some(driver) => Target::Driver(driver),
    }
}

fn function(dev: *const rte_device) -> Result<Arc<Device>> {
    let id = DeviceId::from_ptr(dev).ok_or_else(|| is_null("dev"))?;
    let Mode::Embedded(_) = process().mode()? else {
        return Err(Error::new(
            Kind::NotSupported,
            "there is a DPDK in this process: its drivers work with PCI devices themselves",
        ));
    };
    let device = process().registry.device_at(id);
    device.filter(|device| device.bus().name() == pci::NAME).ok_or_else(not_listed)
}

fn access(dev: *const rte_device) -> Result<Arc<Access>> {
    process().pci.access(function(dev)?.name())
}

fn not_listed() -> Error {
    Error::new(Kind::NoDevice, "the PCI bus lists no such device: it is detached already")
}
