//! How far a device has come, as its bus, the kernel and what was told of it say together.

use std::ffi::{CStr, CString};

use crate::engine::states::PCI;
use crate::engine::tracker::is_user_driver;
use crate::error::{Error, Kind, Result};
use crate::ports::{Bus, DeviceId, DeviceState, Platform};
use crate::process::{Mode, Process};
use crate::proto::pci::Address;
use crate::proto::wire::Device;
use crate::sys::sysfs::PciDevices;

impl Process {
    /// The state of a device; `None` when no bus lists it.
    pub fn state_of(&'static self, id: DeviceId) -> Result<Option<DeviceState>> {
        match self.mode()? {
            Mode::Hosted(platform) => Ok(self.located(&platform, id)),
            Mode::Embedded(platform) => Ok(self.located(&platform, id)),
            Mode::Forwarding(_) => Err(unknown_host()),
        }
    }

    /// The state of a device by its name; `None` when there are not even devargs for it.
    pub fn state_by_name(&'static self, bus: &CStr, name: &CStr) -> Result<Option<DeviceState>> {
        match self.mode()? {
            Mode::Hosted(platform) => Ok(self
                .named(&platform, bus, name)
                .or_else(|| platform.has_devargs(bus, name).then_some(DeviceState::Parsed))),
            Mode::Embedded(platform) => Ok(self.named(&platform, bus, name)),
            Mode::Forwarding(_) => Err(unknown_host()),
        }
    }

    fn located<P: Platform>(&self, platform: &P, id: DeviceId) -> Option<DeviceState> {
        let (bus, name) = platform.locate(id)?;
        Some(self.state_on(&bus, name, id))
    }

    fn named<P: Platform>(&self, platform: &P, bus: &CStr, name: &CStr) -> Option<DeviceState> {
        // By the name that the bus has for it: a PCI address may be given in another way.
        self.located(platform, platform.bus(bus)?.find(name)?)
    }

    fn state_on<B: Bus>(&self, bus: &B, name: CString, id: DeviceId) -> DeviceState {
        let device = Device { bus: bus.bus_name(), name };
        match bus.is_probed(id) {
            true if self.engine.states.is_faulted(&device) => DeviceState::Fault,
            true => DeviceState::Probed,
            false if is_bound(&device) => DeviceState::Bound,
            false => DeviceState::Found,
        }
    }
}

/// Whether a kernel driver for user space has the device.
fn is_bound(device: &Device) -> bool {
    let name = Address::canonical(&device.name).filter(|_| *device.bus == *PCI);
    let driver = name.and_then(|name| PciDevices::from_environment().driver(&name));
    driver.is_some_and(|driver| is_user_driver(&driver))
}

fn unknown_host() -> Error {
    Error::new(Kind::NotSupported, "an unknown DPDK is in the process")
}
