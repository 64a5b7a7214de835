//! Attach: the steps of the guide, "Attach and Detach", in order.

use std::ffi::CStr;

use super::Engine;
use super::order::Phase;
use super::states::PCI;
use crate::error::{Error, Kind, Result};
use crate::ports::{Bus, Devargs, DeviceId, DeviceState, Platform, Plugged, label, unsupported};
use crate::proto::pci::kernel_name;
use crate::proto::wire::Device;

/// A device that is attached after the call.
#[derive(Debug)]
pub struct Attached {
    /// The device.
    pub device: DeviceId,
    /// Whether this call attached it; `false` when it was attached before.
    pub new: bool,
}

impl Engine {
    /// Attaches the device that `text` describes.
    ///
    /// Like stock, a device that is attached already is a success, and one whose probe failed stays
    /// listed without a driver.
    pub fn attach<P: Platform>(&self, platform: &P, text: &CStr) -> Result<Attached> {
        self.attach_and(platform, text, |_, _| {})
    }

    /// The same; `and` is called with a device that was probed while nobody can detach it.
    pub fn attach_and<P: Platform>(
        &self,
        platform: &P,
        text: &CStr,
        and: impl FnOnce(&Device, DeviceId),
    ) -> Result<Attached> {
        // 1. parse
        let devargs = platform.parse(text)?;
        let bus = devargs.bus().ok_or_else(|| no_bus(text))?;
        let (bus_name, name) = (bus.bus_name(), devargs.name().to_owned());
        if !bus.can_plug() {
            return Err(unsupported(&bus_name, &name, "plug"));
        }
        let mut turn = self.order.enter(&bus_name, &name)?;
        if matches!(turn.phase(), Some(Phase::Unplug | Phase::LockedUnplug)) {
            return Err(being_removed(&bus_name, &name));
        }
        // 2. insert, scan, find
        let device = discover(&bus, devargs).inspect_err(|_| {
            self.states.passed(DeviceState::Parsed);
            self.states.left(&bus_name, &name, "parsed, not found");
        })?;
        if !bus.is_probed(device) {
            self.states.passed(DeviceState::Parsed);
            self.states.passed(DeviceState::Found);
            if *bus_name == *PCI {
                // What goes from now on, in the driver's probe already, is told.
                self.monitor.attaching(&kernel_name(&name));
            }
        }
        // 3. plug
        let plugged = turn.during(Phase::Plug, || bus.plug(device))?;
        let new = matches!(plugged, Plugged::Probed);
        if !matches!(plugged, Plugged::Already) {
            and(&Device { bus: bus_name.clone(), name: name.clone() }, device);
        }
        if new {
            self.states.reached(&bus_name, &name, DeviceState::Probed);
        } else if log::log_enabled!(log::Level::Debug) {
            log::debug!("{}: attached already", label(&bus_name, &name));
        }
        Ok(Attached { device, new })
    }
}

fn discover<B: Bus, D: Devargs<Bus = B>>(bus: &B, mut devargs: D) -> Result<DeviceId> {
    let name = devargs.name().to_owned();
    let found = devargs
        .insert()
        .and_then(|()| bus.scan(&name))
        .and_then(|()| bus.find(&name).ok_or_else(|| not_found(&bus.bus_name(), &name)));
    // A device that is there already owns the entry.
    if found.is_err() && bus.find(&name).is_none() {
        devargs.withdraw();
    }
    found
}

/// The error for text that names only a class.
pub fn no_bus(text: &CStr) -> Error {
    Error::new(
        Kind::Invalid,
        format!(
            "\"{}\": names a class but no bus: add bus=NAME to say where the device is",
            text.to_string_lossy()
        ),
    )
}

/// The error for a call from inside the driver's remove of the same device.
pub fn being_removed(bus: &CStr, name: &CStr) -> Error {
    Error::new(Kind::Busy, format!("{}: its driver is removing it now", label(bus, name)))
}

fn not_found(bus: &CStr, name: &CStr) -> Error {
    Error::new(
        Kind::NoDevice,
        format!("{}: scan did not find the device: check the name", label(bus, name)),
    )
}
