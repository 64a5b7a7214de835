//! The runtime for machines without DPDK: the engine's platform over the registered buses.

#![forbid(unsafe_code)]

pub mod null;
pub mod options;
pub mod pci;
pub mod runtime;
pub mod vdev;

use std::ffi::{CStr, CString};
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::{Kind, Result};
use crate::ports::{self, DeviceId};
use crate::proto::wire::Device as WireDevice;
use crate::registry::{Bus, Device, Registry, devargs::Devargs};
use options::Options;

/// The embedded platform.
#[derive(Clone, Copy)]
pub struct Platform {
    /// Its buses.
    pub registry: &'static Registry,
    /// The PCI functions that its drivers use.
    pub pci: &'static pci::Functions,
    /// Who hears of what happens to them.
    pub pci_listeners: pci::Listeners,
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

    /// Provides the `vdev` bus with its `hotplug_null` driver, and the `pci` bus.
    pub fn open(&self) -> Result<()> {
        if self.registry.bus(vdev::NAME).is_none() {
            let bus = self.registry.register_bus(vdev::NAME, Box::new(vdev::Vdev))?;
            bus.register_driver(null::NAME, None, Box::new(null::Null))?;
        }
        if self.registry.bus(pci::NAME).is_none() {
            let bus = pci::Pci { functions: self.pci, listeners: self.pci_listeners };
            self.registry.register_bus(pci::NAME, Box::new(bus))?;
        }
        Ok(())
    }

    /// Refuses devargs on the command line that cannot be parsed.
    pub fn check(&self, options: &Options) -> Result<()> {
        for text in options.vdevs.iter().chain(&options.allowed).chain(&options.blocked) {
            Devargs::parse(self.registry, text)?;
        }
        Ok(())
    }

    /// Attaches what the buses find, as `rte_eal_init` does, and returns that; a device whose probe
    /// fails is logged and left.
    pub fn start(&self, engine: &Engine, options: &Options) -> Vec<DeviceId> {
        let mut buses = self.registry.buses();
        buses.retain(|bus| !(options.no_pci && bus.name() == pci::NAME));
        buses.iter().flat_map(|bus| self.attach_found(engine, bus, options)).collect()
    }

    /// Detaches what [`Self::start`] has attached, the last first.
    pub fn detach(&self, engine: &Engine, found: Vec<DeviceId>) {
        for device in found.into_iter().rev() {
            if let Err(error) = engine.detach(self, device) {
                log::error!("rte_eal_init: {error}");
            }
        }
    }

    /// Attaches the devices of `--vdev`, and returns those that were not attached before.
    pub fn attach_vdevs(&self, engine: &Engine, options: &Options) -> Vec<WireDevice> {
        let mut made = vec![];
        for text in &options.vdevs {
            match engine.attach(self, text) {
                Ok(attached) if attached.new => {
                    made.extend(
                        ports::Platform::locate(self, attached.device)
                            .map(|(bus, name)| WireDevice { bus: bus.name().to_owned(), name }),
                    );
                }
                Ok(_) => {}
                Err(error) => log::error!("{error}"),
            }
        }
        made
    }

    /// The attached devices of the vdev bus with their devargs: a secondary that starts gets them.
    pub fn vdevs(&self) -> Vec<(WireDevice, CString)> {
        let attached = self.registry.devices_of(Some(vdev::NAME)).into_iter();
        let attached = attached.filter(|device| device.driver().is_some());
        let with_devargs = attached.filter_map(|device| {
            let (bus, name) = (vdev::NAME.to_owned(), device.name().to_owned());
            let parts = [bus.to_bytes(), b":", name.to_bytes(), b","];
            let text = [&parts.concat(), device.arguments().to_bytes()].concat();
            Some((WireDevice { bus, name }, CString::new(text).ok()?))
        });
        with_devargs.collect()
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

    fn attach_found(&self, engine: &Engine, bus: &Arc<Bus>, options: &Options) -> Vec<DeviceId> {
        let mut made = vec![];
        if let Err(error) = bus.scan_for(None) {
            log::error!("bus {}: scan failed: {error}", bus.name().to_string_lossy());
        }
        for device in bus.devices() {
            let Some(text) = start_devargs(self.registry, options, &device) else { continue };
            match engine.attach(self, &text) {
                // A found device without a driver is normal at start.
                Err(error) if error.kind() == Kind::NotSupported => log::debug!("{error}"),
                Err(error) => log::error!("{error}"),
                Ok(attached) if attached.new => made.push(attached.device),
                Ok(_) => {}
            }
        }
        made
    }
}

/// The devargs to attach a found device with at start: those of `-a`, or just its name; `None` when
/// `-b`, or a `-a` for others, keeps it from being attached.
fn start_devargs(registry: &Registry, options: &Options, device: &Device) -> Option<CString> {
    let names_it = |text: &&CString| names(registry, text, device.bus().name(), device.name());
    if !options.allowed.is_empty() {
        return options.allowed.iter().find(names_it).cloned();
    }
    if options.blocked.iter().any(|text| names_it(&text)) {
        return None;
    }
    let text = [device.bus().name().to_bytes(), b":", device.name().to_bytes()].concat();
    CString::new(text).ok()
}

/// Whether the command line keeps out a device that the group has.
pub fn is_unwanted(registry: &Registry, options: &Options, bus: &CStr, name: &CStr) -> bool {
    let named_in = |list: &[CString]| list.iter().any(|text| names(registry, text, bus, name));
    if named_in(&options.blocked) {
        return true;
    }
    // A vdev is made by its devargs: what `-a` allows on other buses says nothing about it.
    bus != vdev::NAME && !options.allowed.is_empty() && !named_in(&options.allowed)
}

/// Whether devargs are for this device, however they write it.
fn names(registry: &Registry, text: &CStr, bus: &CStr, name: &CStr) -> bool {
    let is_it = |devargs: Devargs| {
        let named = ports::Devargs::bus(&devargs);
        named.is_some_and(|named| named.name() == bus) && ports::Devargs::name(&devargs) == name
    };
    Devargs::parse(registry, text).is_ok_and(is_it)
}
