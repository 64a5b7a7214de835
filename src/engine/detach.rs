//! Detach: the steps of the guide, "Attach and Detach", in order.

use std::ffi::CStr;

use super::Engine;
use super::attach::being_removed;
use super::order::{Phase, Turn};
use crate::error::{Error, Kind, Result};
use crate::ports::{Bus, DeviceId, Platform, label, unsupported};

impl Engine {
    /// Detaches the device at this address.
    pub fn detach<P: Platform>(&self, platform: &P, device: DeviceId) -> Result<()> {
        let (bus, name) = platform.locate(device).ok_or_else(unlisted)?;
        let turn = self.order.enter(&bus.bus_name(), &name)?;
        // Whoever had the turn before may have detached it, and another device may live there now.
        match platform.locate(device) {
            Some((b, n)) if n == name && b.bus_name() == bus.bus_name() => {}
            _ => return Err(unlisted()),
        }
        remove(&bus, &name, device, turn)
    }

    /// Detaches the device of this name on this bus, and returns which it was.
    pub fn detach_named<P: Platform>(
        &self,
        platform: &P,
        bus: &CStr,
        name: &CStr,
    ) -> Result<DeviceId> {
        let found = platform.bus(bus).ok_or_else(|| no_such_bus(bus, name))?;
        let turn = self.order.enter(bus, name)?;
        let device = found.find(name).ok_or_else(|| no_such_device(bus, name))?;
        remove(&found, name, device, turn).map(|()| device)
    }
}

fn remove<B: Bus>(bus: &B, name: &CStr, device: DeviceId, mut turn: Turn<'_>) -> Result<()> {
    let bus_name = bus.bus_name();
    // 1. validate
    if turn.phase() == Some(Phase::Unplug) {
        return Err(being_removed(&bus_name, name));
    }
    if !bus.is_probed(device) || turn.phase() == Some(Phase::Plug) {
        return Err(Error::new(
            Kind::NotFound,
            format!("{}: not attached: no driver holds it", label(&bus_name, name)),
        ));
    }
    if !bus.can_unplug() {
        return Err(unsupported(&bus_name, name, "unplug"));
    }
    // 2. unplug, 3. remove the devargs
    turn.during(Phase::Unplug, || bus.unplug(device))?;
    log::debug!("{}: detached", label(&bus_name, name));
    Ok(())
}

/// The error for a bus that does not exist.
pub fn no_such_bus(bus: &CStr, name: &CStr) -> Error {
    Error::new(Kind::NotFound, format!("{}: there is no such bus", label(bus, name)))
}

/// The error for a name that the bus does not list.
pub fn no_such_device(bus: &CStr, name: &CStr) -> Error {
    Error::new(Kind::Invalid, format!("{}: the bus has no such device", label(bus, name)))
}

fn unlisted() -> Error {
    Error::new(Kind::NoDevice, "detach: no bus lists this device: it is detached already")
}
