//! The runtime for machines without DPDK: the engine's platform over the registered buses.

#![forbid(unsafe_code)]

pub mod null;
pub mod options;
pub mod vdev;

use std::ffi::{CStr, CString};
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Error, Kind, Result};
use crate::ports::{self, DeviceId};
use crate::registry::{Bus, Device, Registry, devargs::Devargs};
use options::{Options, ProcType};

/// The embedded platform.
#[derive(Clone, Copy)]
pub struct Platform {
    /// Its buses.
    pub registry: &'static Registry,
}

impl ports::Platform for Platform {
    type Bus = Arc<Bus>;
    type Devargs = Devargs;

    fn parse(&self, text: &CStr) -> Result<Devargs> {
        Devargs::parse(self.registry, text)
    }

    fn bus(&self, name: &CStr) -> Option<Arc<Bus>> {
        self.registry.bus(name)
    }

    fn locate(&self, device: DeviceId) -> Option<(Arc<Bus>, CString)> {
        let device = self.registry.device_at(device)?;
        Some((device.bus().clone(), device.name().to_owned()))
    }
}

impl Platform {
    /// The devices of one bus, or of all.
    pub fn devices(&self, bus: Option<&CStr>) -> Vec<DeviceId> {
        self.registry.devices_of(bus).iter().map(|device| device.id()).collect()
    }

    /// Provides the `vdev` bus and its `hotplug_null` driver.
    pub fn open(&self) -> Result<()> {
        if self.registry.bus(vdev::NAME).is_none() {
            let bus = self.registry.register_bus(vdev::NAME, Box::new(vdev::Vdev))?;
            bus.register_driver(null::NAME, None, Box::new(null::Null))?;
        }
        Ok(())
    }

    /// Attaches what the command line names and what the buses find, as `rte_eal_init` does.
    ///
    /// Devargs that cannot be parsed are an error; a device whose probe fails is logged and left.
    pub fn start(&self, engine: &Engine, options: &Options) -> Result<()> {
        if options.proc_type == ProcType::Secondary {
            return Err(Error::new(
                Kind::NotSupported,
                "--proc-type=secondary: the embedded runtime has primaries only",
            ));
        }
        for text in options.vdevs.iter().chain(&options.allowed).chain(&options.blocked) {
            self.check_devargs(text)?;
        }
        for bus in self.registry.buses() {
            self.attach_found(engine, &bus, options);
        }
        for text in &options.vdevs {
            if let Err(error) = engine.attach(self, text) {
                log::error!("{error}");
            }
        }
        Ok(())
    }

    /// Detaches every device, the last found first, as `rte_eal_cleanup` does.
    pub fn stop(&self, engine: &Engine) {
        let mut devices = self.registry.devices();
        devices.reverse();
        for device in devices {
            let result = match device.driver() {
                Some(_) => engine.detach(self, device.id()),
                None => device.bus().remove_device(device.name()),
            };
            match result {
                // Another driver's remove has detached it.
                Err(error) if error.kind() == Kind::NoDevice => {}
                Err(error) => log::error!("rte_eal_cleanup: {error}"),
                Ok(()) => {}
            }
        }
    }

    /// A PCI address in `-a` or `-b` may have no bus here; other text must be devargs.
    fn check_devargs(&self, text: &CStr) -> Result<()> {
        let name = text.to_bytes().split(|b| *b == b',').next().unwrap_or_default();
        let name = name.strip_prefix(b"pci:").unwrap_or(name);
        if crate::proto::pci::Address::parse(name).is_some() {
            return Ok(());
        }
        Devargs::parse(self.registry, text).map(drop)
    }

    fn attach_found(&self, engine: &Engine, bus: &Arc<Bus>, options: &Options) {
        if let Err(error) = bus.scan_for(None) {
            log::error!("bus {}: scan failed: {error}", bus.name().to_string_lossy());
        }
        for device in bus.devices() {
            let Some(text) = start_devargs(options, &device) else { continue };
            match engine.attach(self, &text) {
                // A found device without a driver is normal at start.
                Err(error) if error.kind() == Kind::NotSupported => log::debug!("{error}"),
                Err(error) => log::error!("{error}"),
                Ok(_) => {}
            }
        }
    }
}

/// The devargs to attach a found device with at start: those of `-a`, or just its name; `None` when
/// `-b`, or a `-a` for others, keeps it from being attached.
fn start_devargs(options: &Options, device: &Device) -> Option<CString> {
    let naming = |list: &[CString]| list.iter().find(|text| names_device(text, device)).cloned();
    if !options.allowed.is_empty() {
        return naming(&options.allowed);
    }
    if naming(&options.blocked).is_some() {
        return None;
    }
    let text = [device.bus().name().to_bytes(), b":", device.name().to_bytes()].concat();
    CString::new(text).ok()
}

fn names_device(text: &CStr, device: &Device) -> bool {
    let text = text.to_bytes().split(|b| *b == b',').next().unwrap_or_default();
    let prefix = [device.bus().name().to_bytes(), b":"].concat();
    text.strip_prefix(prefix.as_slice()).unwrap_or(text) == device.name().to_bytes()
}
