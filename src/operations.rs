//! The operations of the public interface, served in whichever mode the process is in.
//!
//! The C functions of [`crate::capi`] are thin shells around these; Rust programs may call them
//! directly.

use std::ffi::{CStr, CString};

use crate::engine::attach::no_bus;
use crate::engine::detach::{no_such_bus, no_such_device};
use crate::error::{Error, Kind, Result};
use crate::hosted::{self, ethdev};
use crate::ports::{Bus, Devargs, DeviceId, Platform};
use crate::process::{Mode, Process};

impl Process {
    /// Attaches the device that `devargs` describes (`rte_dev_probe`).
    pub fn probe(&'static self, devargs: &CStr) -> Result<i32> {
        match self.mode()? {
            Mode::Embedded(platform) => self.engine.attach(&platform, devargs).map(|_| 0),
            Mode::Forwarding(host) => host.stock_probe(devargs),
            Mode::Hosted(platform)
                if !platform.is_ours(devargs) && self.left_to_host(&platform) =>
            {
                // Parsed here first: some strings crash the host, or the primary that it asks.
                let parsed = platform.parse(devargs)?;
                let bus = parsed.bus().ok_or_else(|| no_bus(devargs))?;
                let code = platform.hosted.host.stock_probe(devargs)?;
                if let (0, Some(device)) = (code, bus.find(parsed.name())) {
                    self.ports.learn(&platform, device);
                }
                Ok(code)
            }
            Mode::Hosted(platform) => {
                let attached = self.engine.attach(&platform, devargs)?;
                if attached.new {
                    self.ports.learn(&platform, attached.device);
                }
                Ok(0)
            }
        }
    }

    /// Detaches a device (`rte_dev_remove`).
    pub fn remove(&'static self, device: DeviceId) -> Result<i32> {
        match self.mode()? {
            Mode::Embedded(platform) => self.engine.detach(&platform, device).map(|()| 0),
            Mode::Forwarding(host) => host.stock_remove_unchecked(device),
            Mode::Hosted(platform) => {
                let ours = self.registry.device_at(device).is_some();
                if !ours && self.left_to_host(&platform) {
                    let code = platform.stock_remove(device)?;
                    if code == 0 {
                        self.ports.forget(device);
                    }
                    return Ok(code);
                }
                // Held until the ports are forgotten: the address may soon be another device's.
                let at = platform.locate(device);
                let _turn = match &at {
                    Some((bus, name)) => Some(self.engine.order.enter(&bus.bus_name(), name)?),
                    None => None,
                };
                self.engine.detach(&platform, device)?;
                self.ports.forget(device);
                Ok(0)
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
            Mode::Embedded(platform) => self.engine.detach_named(&platform, bus, device).map(|_| 0),
            Mode::Hosted(platform)
                if platform.has_host_bus(bus) && self.left_to_host(&platform) =>
            {
                let found = platform.bus(bus).ok_or_else(|| no_such_bus(bus, device))?;
                self.remove(found.find(device).ok_or_else(|| no_such_device(bus, device))?)
            }
            Mode::Hosted(platform) => {
                let _turn = self.engine.order.enter(bus, device)?;
                self.ports.forget(self.engine.detach_named(&platform, bus, device)?);
                Ok(0)
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
        let _turn = self.engine.order.enter(&bus_name, &name)?;
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
        let _turn = self.engine.order.enter(&bus, &name)?;
        if self.ports.closed_port(&platform, port)? != (bus.clone(), name.clone()) {
            return Err(Error::new(
                Kind::NoDevice,
                format!("port {port}: its device was detached meanwhile"),
            ));
        }
        code_to_result(self.hotplug_remove(&bus, &name)?)?;
        Ok(name)
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
