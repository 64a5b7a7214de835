//! The Port Hotplug API over ethdev's public functions: attach by devargs, detach by port number.

use std::ffi::{CStr, CString, c_int, c_void};

use crate::sys::lock::Mutex;
use crate::sys::lock::OnceCell;

use super::Platform;
use crate::error::{Error, Kind, Result};
use crate::ports::{Bus as _, DeviceId, Platform as _, label};
use crate::sys::dl::{self, Object};

type FindNextOf = unsafe extern "C" fn(u16, *const c_void) -> u16;
type IsValidPort = unsafe extern "C" fn(u16) -> c_int;

/// ethdev's functions.
struct Ethdev {
    find_next_of: FindNextOf,
    is_valid_port: IsValidPort,
}

impl Ethdev {
    /// ethdev, if it is loaded.
    fn get() -> Option<&'static Self> {
        static ETHDEV: OnceCell<Ethdev> = OnceCell::new();
        static SEARCHED_AT: Mutex<u64> = Mutex::new(0);
        if let Some(ethdev) = ETHDEV.get() {
            return Some(ethdev);
        }
        // Search again only when something was loaded since.
        let loads = dl::load_count();
        if *SEARCHED_AT.lock() == loads {
            return None;
        }
        // With no lock held: the linker has its own, and may run constructors that call us.
        match Self::load() {
            Some(ethdev) => Some(ETHDEV.get_or_init(|| ethdev)),
            None => {
                *SEARCHED_AT.lock() = loads;
                None
            }
        }
    }

    fn load() -> Option<Self> {
        let object = Object::defining(c"rte_eth_find_next_of", None)?;
        // SAFETY: the C signatures, the same in 20.11 … 26.07.
        unsafe {
            Some(Self {
                find_next_of: object.function::<FindNextOf>(c"rte_eth_find_next_of")?,
                is_valid_port: object.function::<IsValidPort>(c"rte_eth_dev_is_valid_port")?,
            })
        }
    }

    fn is_valid(&self, port: u16) -> bool {
        // SAFETY: any number is allowed.
        unsafe { (self.is_valid_port)(port) != 0 }
    }

    /// The ports of a device. The pointer is compared only.
    fn ports_of(&self, device: DeviceId) -> Vec<u16> {
        let mut ports = vec![];
        let mut from = 0;
        loop {
            // SAFETY: any number and pointer are allowed.
            let port = unsafe { (self.find_next_of)(from, device.as_ptr()) };
            if !self.is_valid(port) {
                return ports;
            }
            ports.push(port);
            from = port + 1;
        }
    }
}

/// A device and a port number that it has or had.
#[derive(Clone, PartialEq)]
struct Owner {
    port: u16,
    device: DeviceId,
    bus: CString,
    name: CString,
}

/// Which devices a port number belonged to: a closed port does not tell any more, and ethdev gives
/// its number away again.
#[derive(Default)]
pub struct Ports {
    /// The oldest first.
    owners: Mutex<Vec<Owner>>,
}

impl Ports {
    /// Remembers the ports of a device that has just been attached.
    pub fn learn(&self, platform: &Platform, device: DeviceId) {
        let Some(ethdev) = Ethdev::get() else { return };
        let ports = ethdev.ports_of(device);
        if ports.is_empty() {
            return;
        }
        let Some((bus, name)) = platform.locate(device) else { return };
        let bus = bus.bus_name();
        let mut owners = self.owners.lock();
        for port in ports {
            let owner = Owner { port, device, bus: bus.clone(), name: name.clone() };
            if !owners.contains(&owner) {
                owners.push(owner);
            }
        }
    }

    /// Remembers the ports of all devices, those of the command line.
    pub fn learn_all(&self, platform: &Platform) {
        for device in platform.devices(None) {
            self.learn(platform, device);
        }
    }

    /// Forgets a device that has been detached.
    pub fn forget(&self, device: DeviceId) {
        self.owners.lock().retain(|owner| owner.device != device);
    }

    /// The first port of a device that has just been attached.
    pub fn first_of(&self, device: DeviceId) -> Result<Option<u16>> {
        Ok(ethdev()?.ports_of(device).first().copied())
    }

    /// Bus and name of the device behind a port that may be detached: closed, and none of its device's ports open.
    /// When several devices have closed this port, the one that had it first.
    pub fn closed_port(&self, platform: &Platform, port: u16) -> Result<(CString, CString)> {
        let ethdev = ethdev()?;
        if ethdev.is_valid(port) {
            return Err(Error::new(
                Kind::Busy,
                format!("port {port} is open: stop and close it first"),
            ));
        }
        let owners: Vec<_> =
            self.owners.lock().iter().filter(|owner| owner.port == port).cloned().collect();
        for owner in owners {
            let now = platform.locate(owner.device).map(|(bus, name)| (bus.bus_name(), name));
            if now != Some((owner.bus.clone(), owner.name.clone())) {
                // Detached by other means.
                self.forget(owner.device);
                continue;
            }
            if let Some(open) = ethdev.ports_of(owner.device).first() {
                let device = label(&owner.bus, &owner.name);
                return Err(Error::new(
                    Kind::Busy,
                    format!(
                        "port {port}: port {open} of {device} is open: stop and close it first"
                    ),
                ));
            }
            return Ok((owner.bus, owner.name));
        }
        Err(Error::new(Kind::NoDevice, format!("port {port}: no device is known to have had it")))
    }
}

/// Fails when ethdev is not loaded.
pub fn check_loaded() -> Result<()> {
    ethdev().map(drop)
}

/// The error for a device without a port.
pub fn no_port(devargs: &CStr) -> Error {
    Error::new(
        Kind::NoDevice,
        format!("\"{}\": its driver made no Ethernet port", devargs.to_string_lossy()),
    )
}

fn ethdev() -> Result<&'static Ethdev> {
    Ethdev::get().ok_or_else(|| {
        Error::new(Kind::NotSupported, "port hotplug: librte_ethdev is not loaded in this process")
    })
}
