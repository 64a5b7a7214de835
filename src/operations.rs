//! The operations of the public interface, served in whichever mode the process is in.
//!
//! The C functions of [`crate::capi`] are thin shells around these; Rust programs may call them
//! directly.

use std::ffi::{CStr, CString};

use crate::engine::attach::no_bus;
use crate::engine::detach::{no_such_bus, no_such_device};
use crate::engine::order::Turn;
use crate::error::{Error, Kind, Result};
use crate::group::Role;
use crate::hosted::{self, ethdev};
use crate::ports::{Bus, Devargs, DeviceId, Platform};
use crate::process::{Mode, Process};

impl Process {
    /// Attaches the device that `devargs` describes (`rte_dev_probe`).
    pub fn probe(&'static self, devargs: &CStr) -> Result<i32> {
        match self.mode()? {
            Mode::Forwarding(host) => host.stock_probe(devargs),
            Mode::Embedded(platform) => self.attach_everywhere(&platform, devargs).map(|()| 0),
            Mode::Hosted(platform) => {
                self.ensure_group(&platform);
                self.attach_everywhere(&platform, devargs).map(|()| 0)
            }
        }
    }

    /// Detaches a device (`rte_dev_remove`).
    pub fn remove(&'static self, device: DeviceId) -> Result<i32> {
        match self.mode()? {
            Mode::Forwarding(host) => host.stock_remove_unchecked(device),
            Mode::Embedded(platform) => self.detach_everywhere(&platform, device).map(|()| 0),
            Mode::Hosted(platform) => {
                self.ensure_group(&platform);
                self.detach_everywhere(&platform, device).map(|()| 0)
            }
        }
    }

    /// Attaches the device of this name on this bus (`rte_eal_hotplug_add`).
    pub fn hotplug_add(&'static self, bus: &CStr, device: &CStr, arguments: &CStr) -> Result<i32> {
        if let Mode::Forwarding(host) = self.mode()? {
            return host.stock_hotplug_add(bus, device, arguments);
        }
        let parts = [bus.to_bytes(), b":", device.to_bytes(), b",", arguments.to_bytes()];
        let devargs = CString::new(parts.concat())
            .map_err(|_| Error::new(Kind::Invalid, "a NUL byte inside a name"))?;
        self.probe(&devargs)
    }

    /// Detaches the device of this name on this bus (`rte_eal_hotplug_remove`).
    pub fn hotplug_remove(&'static self, bus: &CStr, device: &CStr) -> Result<i32> {
        match self.mode()? {
            Mode::Forwarding(host) => host.stock_hotplug_remove(bus, device),
            Mode::Embedded(platform) => {
                self.detach_everywhere(&platform, find(&platform, bus, device)?).map(|()| 0)
            }
            Mode::Hosted(platform) => {
                self.ensure_group(&platform);
                self.detach_everywhere(&platform, find(&platform, bus, device)?).map(|()| 0)
            }
        }
    }

    /// Attaches a device and returns its first Ethernet port (`rte_eth_dev_attach`).
    pub fn attach_port(&'static self, devargs: &CStr) -> Result<u16> {
        let platform = self.port_platform()?;
        let parsed = platform.parse(devargs)?;
        let bus = parsed.bus().ok_or_else(|| no_bus(devargs))?;
        let (bus_name, name) = (bus.bus_name(), parsed.name().to_owned());
        drop(parsed);
        // Keeps the answer true: nobody attaches or detaches the device meanwhile.
        let _turn = self.turn_at(&bus_name, &name)?;
        if bus.find(&name).is_some_and(|device| bus.is_probed(device)) {
            return Err(Error::new(
                Kind::Exists,
                format!("{}: attached already", crate::ports::label(&bus_name, &name)),
            ));
        }
        code_to_result(self.probe(devargs)?)?;
        let device = bus.find(&name).ok_or_else(|| ethdev::no_port(devargs))?;
        match self.ports.first_of(device)? {
            Some(port) => Ok(port),
            None => {
                code_to_result(self.remove(device)?)?;
                Err(ethdev::no_port(devargs))
            }
        }
    }

    /// Detaches the device of a stopped and closed port and returns its name
    /// (`rte_eth_dev_detach`).
    pub fn detach_port(&'static self, port: u16) -> Result<CString> {
        let platform = self.port_platform()?;
        let (bus, name) = self.ports.closed_port(&platform, port)?;
        // Asked again once nobody else works on the device.
        let _turn = self.turn_at(&bus, &name)?;
        if self.ports.closed_port(&platform, port)? != (bus.clone(), name.clone()) {
            return Err(Error::new(
                Kind::NoDevice,
                format!("port {port}: its device was detached meanwhile"),
            ));
        }
        code_to_result(self.hotplug_remove(&bus, &name)?)?;
        Ok(name)
    }

    /// The turn of a device, for several steps. A secondary's order is its primary's: with the turn here
    /// it would keep out what it asks for.
    fn turn_at(&self, bus: &CStr, name: &CStr) -> Result<Option<Turn<'_>>> {
        match self.group.role() {
            Role::Alone | Role::Primary(_) => self.engine.order.enter(bus, name).map(Some),
            Role::Secondary(_) | Role::StockSecondary(_) => Ok(None),
        }
    }

    fn port_platform(&'static self) -> Result<hosted::Platform> {
        let Mode::Hosted(platform) = self.mode()? else {
            return Err(Error::new(
                Kind::NotSupported,
                "port hotplug: Ethernet ports need a DPDK that this library works with",
            ));
        };
        ethdev::check_loaded()?;
        Ok(platform)
    }
}

/// The device of this name, or why there is none.
fn find<P: Platform>(platform: &P, bus: &CStr, device: &CStr) -> Result<DeviceId> {
    let found = platform.bus(bus).ok_or_else(|| no_such_bus(bus, device))?;
    found.find(device).ok_or_else(|| no_such_device(bus, device))
}

/// A code that the host's own function returned, which it has logged already.
fn code_to_result(code: i32) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Error::new(
            Kind::Code(code),
            format!("the host's own function returned {}", crate::error::describe_code(code)),
        )),
    }
}
