//! The `pci` bus of the embedded runtime: functions that a kernel driver for user space holds.
//!
//! Looking for one function reads its own directory of sysfs and no other. What goes while it is read is
//! not there.

mod access;

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::{Arc, Weak};

use crate::sys::lock::Mutex;
use nix::errno::Errno;

use crate::engine::tracker::is_user_driver;
use crate::error::{Error, Kind, Result};
use crate::ports::{DeviceId, Mappings, PciMemory, label};
use crate::proto::devargs::default_layered_name;
use crate::proto::kvargs::{self, Pair};
use crate::proto::pci::{Address, Ids, kernel_name};
use crate::registry::{Bus, BusOps, Device, Driver, Scan};
use crate::sys::sysfs::PciDevices;
use crate::sys::vfio::Group;
pub use access::Access;

/// The bus name, as in DPDK.
pub const NAME: &CStr = c"pci";

/// Called with a function.
pub type OnFunction = fn(&CStr);

/// Who hears of what happens to functions that drivers of this process use.
#[derive(Clone, Copy)]
pub struct Listeners {
    /// The kernel wants it back.
    pub wanted_back: OnFunction,
    /// Its memory is about to be unmapped.
    pub letting_go: OnFunction,
}

/// The PCI functions that drivers of this process use or may use.
#[derive(Default)]
pub struct Functions {
    ids: Mutex<HashMap<CString, Ids>>,
    open: Mutex<HashMap<CString, Arc<Access>>>,
    groups: Mutex<HashMap<u32, Weak<Group>>>,
}

/// The operations of the `pci` bus.
pub struct Pci {
    /// Its functions.
    pub functions: &'static Functions,
    /// Who hears of what happens to them.
    pub listeners: Listeners,
}

impl BusOps for Pci {
    fn accepts(&self, _bus: &Bus, device: &CStr) -> bool {
        Address::parse(device.to_bytes()).is_some()
    }

    fn scan(&self, scan: &Scan<'_>) -> Result<()> {
        let sysfs = PciDevices::from_environment();
        match scan.wanted() {
            Some(device) => self.look_at(&sysfs, scan, device),
            // Nobody could use what is found.
            None if scan.bus().drivers().is_empty() => Ok(()),
            None => {
                let found = sysfs.list().map_err(|error| {
                    let code = -error.raw_os_error().unwrap_or(libc::EIO);
                    Error::new(Kind::Code(code), format!("cannot list PCI devices: {error}"))
                })?;
                // Whatever is named in another way is not of the kernel.
                let is_address = |name: &&CString| Address::canonical(name).as_ref() == Some(name);
                found.iter().filter(is_address).try_for_each(|n| self.look_at(&sysfs, scan, n))
            }
        }
    }

    fn matches(&self, driver: &Driver, device: &CStr) -> bool {
        self.functions.ids(device).is_some_and(|ids| driver.is_for(&ids))
    }

    fn canonical(&self, device: &CStr) -> CString {
        kernel_name(device)
    }

    fn open(&self, device: &Arc<Device>) -> Result<()> {
        self.functions.open(device.name(), self.listeners.wanted_back)
    }

    fn close(&self, device: &Device) {
        self.functions.close(device.name(), self.listeners.letting_go);
    }

    fn layered_name(&self, layer: &[Pair<'_>]) -> Result<Vec<u8>> {
        match kvargs::get(layer, b"addr") {
            Some(address) => Ok(address.to_vec()),
            None => default_layered_name(layer),
        }
    }
}

impl Pci {
    fn look_at(&self, sysfs: &PciDevices, scan: &Scan<'_>, device: &CStr) -> Result<()> {
        match sysfs.ids(device) {
            Some(ids) => {
                self.functions.ids.lock().insert(device.to_owned(), ids);
                scan.found(device, sysfs.numa_node(device))
            }
            None => {
                if !self.functions.open.lock().contains_key(device) {
                    self.functions.ids.lock().remove(device);
                    scan.missed(device);
                }
                Ok(())
            }
        }
    }
}

impl Functions {
    /// What a function is, as the last scan saw it.
    pub fn ids(&self, device: &CStr) -> Option<Ids> {
        self.ids.lock().get(device).copied()
    }

    /// How this process reaches a function that a driver of it uses.
    pub fn access(&self, device: &CStr) -> Result<Arc<Access>> {
        self.open.lock().get(device).cloned().ok_or_else(|| {
            Error::new(
                Kind::NotFound,
                format!("{}: no driver of this process uses it", label(NAME, device)),
            )
        })
    }

    fn open(&self, device: &CStr, on_request: OnFunction) -> Result<()> {
        let driver = PciDevices::from_environment().driver(device);
        let access = match driver.as_deref() {
            Some(driver) if driver == c"vfio-pci" => {
                Access::by_vfio(device, self.group_of(device)?, on_request)?
            }
            Some(driver) if is_user_driver(driver) => Access::by_sysfs(device),
            other => return Err(unusable(device, other)),
        };
        self.open.lock().insert(device.to_owned(), Arc::new(access));
        Ok(())
    }

    fn close(&self, device: &CStr, letting_go: OnFunction) {
        let access = self.open.lock().remove(device);
        letting_go(device);
        // Its mappings and descriptors end here, with no lock held.
        drop(access);
    }

    /// The group of a function: functions of one group share it, as the kernel gives it away once.
    fn group_of(&self, device: &CStr) -> Result<Arc<Group>> {
        let number = PciDevices::from_environment().iommu_group(device).ok_or_else(|| {
            access::failed(
                device,
                "find its IOMMU group",
                Errno::ENODEV,
                "is the IOMMU switched on?",
            )
        })?;
        let mut groups = self.groups.lock();
        if let Some(group) = groups.get(&number).and_then(Weak::upgrade) {
            return Ok(group);
        }
        let group = Group::open(number).map_err(|failure| access::vfio_failed(device, &failure))?;
        let group = Arc::new(group);
        groups.insert(number, Arc::downgrade(&group));
        Ok(group)
    }
}

impl PciMemory for super::Platform {
    fn pci_devices(&self) -> Vec<(CString, DeviceId)> {
        let attached = self.registry.devices_of(Some(NAME)).into_iter();
        let attached = attached.filter(|device| device.driver().is_some());
        attached.map(|device| (device.name().to_owned(), device.id())).collect()
    }

    fn pci_mappings(&self, name: &CStr, _device: DeviceId) -> Mappings {
        self.pci.access(name).map(|access| access.mappings()).unwrap_or_default()
    }
}

fn unusable(device: &CStr, driver: Option<&CStr>) -> Error {
    let has = match driver {
        Some(driver) => format!("the kernel's driver {} has it", driver.to_string_lossy()),
        None => "no kernel driver has it".into(),
    };
    let device = label(NAME, device);
    Error::new(
        Kind::NotSupported,
        format!(
            "{device}: {has}: bind it to vfio-pci or uio_pci_generic (rte_hotplug_bind_driver)"
        ),
    )
}
