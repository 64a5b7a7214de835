//! Another kernel driver for a PCI function that no driver of this process uses.

use std::ffi::CStr;

use crate::engine::binding::{self, Target};
use crate::engine::states::PCI;
use crate::error::{Error, Kind, Result};
use crate::ports::{PciMemory, label};
use crate::process::{Mode, Process};
use crate::proto::pci::Address;
use crate::sys::sysfs::PciDevices;

impl Process {
    /// Binds a PCI function to a kernel driver (`rte_hotplug_bind_driver`).
    pub fn bind_driver(&'static self, device: &CStr, target: Target<'_>) -> Result<()> {
        let name = Address::canonical(device).ok_or_else(|| {
            let text = device.to_string_lossy();
            Error::new(Kind::Invalid, format!("\"{text}\" is no PCI address like 0000:02:00.0"))
        })?;
        // Nobody attaches it meanwhile.
        let turn = self.engine.order.enter(PCI, &name)?;
        let attached = match self.mode()? {
            Mode::Hosted(platform) => is_attached(&platform, &name),
            Mode::Embedded(platform) => is_attached(&platform, &name),
            Mode::Forwarding(_) => false,
        };
        let kernel = PciDevices::from_environment();
        if !attached && turn.phase().is_none() {
            return binding::bind(&kernel, &name, target);
        }
        match target {
            Target::Driver(driver) if kernel.driver(&name).as_deref() == Some(driver) => Ok(()),
            // VFIO would wait for this process to let go of it.
            _ => Err(Error::new(
                Kind::Busy,
                format!("{}: a driver of this process uses it: detach it first", label(PCI, &name)),
            )),
        }
    }
}

/// Whether a driver has the function; DPDK's bus names it as it was first asked for.
fn is_attached<P: PciMemory>(platform: &P, name: &CStr) -> bool {
    let address = Address::parse(name.to_bytes());
    platform.pci_devices().iter().any(|(name, _)| Address::parse(name.to_bytes()) == address)
}
