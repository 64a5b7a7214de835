//! What the host's PCI bus has mapped of a device.

use std::ffi::{CStr, CString, c_void};

use super::bus::HostBus;
use super::{Hosted, Platform};
use crate::ports::{Bus, DeviceId, Mappings, PciMemory, Platform as _};
use crate::proto::pci::{BARS, kernel_name};
use crate::sys::maps;
use crate::sys::sysfs::PciDevices;

/// The bus's name.
pub const NAME: &CStr = c"pci";
/// `struct rte_mem_resource`
#[repr(C)]
#[derive(Clone, Copy)]
struct Resource {
    _physical: u64,
    length: u64,
    address: *mut c_void,
}

impl PciMemory for Platform {
    fn pci_devices(&self) -> Vec<(CString, DeviceId)> {
        let Some(bus) = self.bus(NAME) else { return vec![] };
        let names = HostBus::named(self.hosted, NAME).map(|bus| bus.names()).unwrap_or_default();
        let found = names.into_iter().filter_map(|name| bus.find(&name).map(|id| (name, id)));
        found.filter(|(_, id)| bus.is_probed(*id)).collect()
    }

    fn pci_mappings(&self, name: &CStr, device: DeviceId) -> Mappings {
        let name = &*kernel_name(name);
        let driver = PciDevices::from_environment().driver(name);
        if driver.as_deref() == Some(c"vfio-pci") {
            return Mappings { under_vfio: true, ranges: resources(self.hosted, device) };
        }
        // In a secondary of 22.11 and older the bus has other addresses in the device under uio.
        Mappings { under_vfio: false, ranges: maps::of_pci_function(name) }
    }
}

/// The mapped resources as the bus keeps them in the device.
fn resources(hosted: &'static Hosted, device: DeviceId) -> Vec<(usize, usize)> {
    let Some(bus) = HostBus::named(hosted, NAME) else { return vec![] };
    let at = hosted.layout.pci_resources;
    let read = |device: *const c_void| {
        // SAFETY: the PCI bus lists the device, which is embedded in a struct rte_pci_device whose
        // mem_resource is at this distance.
        unsafe { device.byte_add(at).cast::<[Resource; BARS]>().read() }
    };
    let resources = bus.if_listed(device, read);
    let mapped = resources.iter().flatten().filter(|r| !r.address.is_null() && r.length > 0);
    mapped.map(|r| (r.address as usize, usize::try_from(r.length).unwrap_or(0))).collect()
}
