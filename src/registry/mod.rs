//! The buses, drivers and devices of this library: those of the embedded runtime, and those that an
//! application registers, in either mode.

#![forbid(unsafe_code)]

pub mod bus;
pub mod devargs;
pub mod device;
pub mod driver;
mod lists;
pub mod raw;

use std::ffi::{CStr, CString};
use std::sync::Arc;

use crate::sys::lock::Mutex;

use crate::error::{Error, Kind, Result};
use crate::ports::DeviceId;
use crate::proto::devargs::NAME_SIZE;
pub use bus::{Bus, BusOps, Scan};
pub use device::Device;
pub use driver::{Driver, DriverOps};

/// The registered buses, in order of registration.
#[derive(Default)]
pub struct Registry {
    buses: Mutex<Vec<Arc<Bus>>>,
}

impl Registry {
    /// Adds a bus. [`Kind::Exists`] when the name is taken.
    pub fn register_bus(&self, name: &CStr, ops: Box<dyn BusOps>) -> Result<Arc<Bus>> {
        check_name("bus", name)?;
        let mut buses = self.buses.lock();
        if buses.iter().any(|b| b.name() == name) {
            return Err(exists("bus", name));
        }
        let bus = Bus::new(name, ops);
        buses.push(bus.clone());
        Ok(bus)
    }

    /// Removes a bus. [`Kind::Busy`] while it has devices or drivers, or one of its functions runs.
    /// None of them is called afterwards.
    pub fn unregister_bus(&self, bus: Arc<Bus>) -> Result<()> {
        // Dropped last, with no lock held.
        let _retired;
        let mut buses = self.buses.lock();
        let at = buses.iter().position(|b| Arc::ptr_eq(b, &bus)).ok_or_else(|| {
            Error::new(Kind::NotFound, "bus: it is not registered: unregistered already?")
        })?;
        _retired = bus
            .retire()
            .ok_or_else(|| busy("bus", bus.name(), "devices, drivers or a running operation"))?;
        buses.remove(at);
        Ok(())
    }

    /// Takes a bus off the list whatever it has: a host with a bus of this name has appeared.
    pub fn drop_bus(&self, name: &CStr) {
        self.buses.lock().retain(|bus| bus.name() != name);
    }

    /// All buses.
    pub fn buses(&self) -> Vec<Arc<Bus>> {
        self.buses.lock().clone()
    }

    /// Whether no bus is registered: lets the hosted mode skip its own parser.
    pub fn is_empty(&self) -> bool {
        self.buses.lock().is_empty()
    }

    /// The bus of this name.
    pub fn bus(&self, name: &CStr) -> Option<Arc<Bus>> {
        self.buses.lock().iter().find(|b| b.name() == name).cloned()
    }

    /// The bus with this identity, compared by address only.
    pub fn bus_at(&self, address: usize) -> Option<Arc<Bus>> {
        self.buses.lock().iter().find(|b| Arc::as_ptr(b) as usize == address).cloned()
    }

    /// The driver with this identity, compared by address only, and its bus.
    pub fn driver_at(&self, address: usize) -> Option<(Arc<Bus>, Arc<Driver>)> {
        self.buses().into_iter().find_map(|bus| {
            let driver = bus.drivers().into_iter().find(|d| Arc::as_ptr(d) as usize == address)?;
            Some((bus, driver))
        })
    }

    /// The device with this identity, compared by address only.
    pub fn device_at(&self, id: DeviceId) -> Option<Arc<Device>> {
        self.buses().iter().find_map(|bus| bus.device(id))
    }

    /// The devices of one bus, or of all.
    pub fn devices_of(&self, bus: Option<&CStr>) -> Vec<Arc<Device>> {
        let wanted = |b: &&Arc<Bus>| bus.is_none_or(|name| b.name() == name);
        self.buses().iter().filter(wanted).flat_map(|bus| bus.devices()).collect()
    }

    /// All devices, bus by bus, in the order in which they were found.
    pub fn devices(&self) -> Vec<Arc<Device>> {
        self.devices_of(None)
    }
}

/// Names go into fixed C arrays and into messages: 1 to 63 bytes.
fn check_name(what: &str, name: &CStr) -> Result<()> {
    match name.count_bytes() {
        0 => Err(Error::new(Kind::Invalid, format!("{what}: the name is empty"))),
        n if n >= NAME_SIZE => Err(Error::new(
            Kind::TooBig,
            format!("{what} \"{}\": the name is longer than 63 bytes", name.to_string_lossy()),
        )),
        _ => Ok(()),
    }
}

fn exists(what: &str, name: &CStr) -> Error {
    Error::new(
        Kind::Exists,
        format!("{what} \"{}\": the name is registered already", name.to_string_lossy()),
    )
}

fn busy(what: &str, name: &CStr, by: &str) -> Error {
    Error::new(
        Kind::Busy,
        format!("{what} \"{}\": in use by {by}: release them first", name.to_string_lossy()),
    )
}

/// The C string of a name that came as bytes without a NUL.
fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::new(Kind::Invalid, "a name contains a NUL byte"))
}
