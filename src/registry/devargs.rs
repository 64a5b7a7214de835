//! Devargs of the registered buses: the list, and the parser's view of the buses.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use super::bus::Bus;
use super::raw::RawDevargs;
use super::{Registry, c_string};
use crate::error::Result;
use crate::ports;
use crate::proto::devargs as proto;
use crate::proto::kvargs::Pair;

/// A listed entry; C sees its `struct rte_devargs`.
pub struct Entry {
    raw: RawDevargs,
    name: CString,
    arguments: CString,
}

impl Entry {
    pub(super) fn new(bus: Arc<Bus>, name: &CStr, arguments: &CStr) -> Arc<Self> {
        let arguments = arguments.to_owned();
        let raw = RawDevargs::new(name, &arguments, bus.raw());
        Arc::new(Self { raw, name: name.to_owned(), arguments })
    }

    /// The device name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// The driver's arguments.
    pub fn arguments(&self) -> &CStr {
        &self.arguments
    }

    pub(super) fn raw(&self) -> &RawDevargs {
        &self.raw
    }
}

/// Parsed devargs for a registered bus.
pub struct Devargs {
    bus: Option<Arc<Bus>>,
    name: CString,
    arguments: CString,
}

impl Devargs {
    /// Parses `text` against the buses of `registry`.
    pub fn parse(registry: &Registry, text: &CStr) -> Result<Self> {
        let parsed = proto::parse(registry, text.to_bytes())?;
        let (name, arguments) = (c_string(&parsed.name)?, c_string(&parsed.arguments)?);
        let name = parsed.bus.as_ref().map_or_else(|| name.clone(), |bus| bus.canonical(&name));
        Ok(Self { bus: parsed.bus, name, arguments })
    }
}

impl ports::Devargs for Devargs {
    type Bus = Arc<Bus>;

    fn bus(&self) -> Option<Arc<Bus>> {
        self.bus.clone()
    }

    fn name(&self) -> &CStr {
        &self.name
    }

    fn insert(&mut self) -> Result<()> {
        if let Some(bus) = &self.bus {
            bus.insert_devargs(&self.name, &self.arguments);
        }
        Ok(())
    }

    fn withdraw(self) {
        if let Some(bus) = &self.bus {
            bus.withdraw_devargs(&self.name);
        }
    }
}

impl proto::Buses for Registry {
    type Bus = Arc<Bus>;

    fn all(&self) -> Vec<Arc<Bus>> {
        self.buses()
    }

    fn name<'a>(&self, bus: &'a Arc<Bus>) -> &'a [u8] {
        Bus::name(bus).to_bytes()
    }

    fn accepts(&self, bus: &Arc<Bus>, device: &[u8]) -> bool {
        c_string(device).is_ok_and(|device| bus.accepts(&device))
    }

    fn layered_name(&self, bus: &Arc<Bus>, layer: &[Pair<'_>]) -> Result<Vec<u8>> {
        bus.layered_name(layer)
    }

    fn has_class(&self, class: &[u8]) -> bool {
        // The one class that DPDK registers; it selects nothing here.
        class == b"eth"
    }
}

impl PartialEq for Bus {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}
