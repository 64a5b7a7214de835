//! A driver for the devices of a bus of this library.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use crate::sys::lock::Mutex;

use super::device::Device;
use super::raw::RawDriver;
use crate::error::{Error, Kind, Result};
use crate::proto::pci::{IdMatch, Ids};

/// What a driver does with a device. No lock of this library is held during a call, and it may
/// probe and remove other devices.
pub trait DriverOps: Send + Sync {
    /// Takes the device into use. An error with a positive code means "not mine": the next driver
    /// is asked.
    fn probe(&self, device: &Arc<Device>) -> Result<()>;

    /// Which PCI functions it is for; other buses go by names.
    fn pci_ids(&self) -> &[IdMatch] {
        &[]
    }

    /// Releases the device. On an error it stays attached.
    fn remove(&self, device: &Arc<Device>) -> Result<()>;
}

/// A registered driver.
pub struct Driver {
    raw: RawDriver,
    name: CString,
    alias: Option<CString>,
    /// `None` once it is unregistered. Each call has it as well while it runs.
    ops: Mutex<Option<Arc<dyn DriverOps>>>,
}

impl Driver {
    pub(super) fn new(name: &CStr, alias: Option<&CStr>, ops: Box<dyn DriverOps>) -> Arc<Self> {
        let (name, alias) = (name.to_owned(), alias.map(CStr::to_owned));
        let ops = Mutex::new(Some(Arc::from(ops)));
        let driver = Self { raw: RawDriver::default(), name, alias, ops };
        driver.raw.set_names(&driver.name, driver.alias.as_deref());
        Arc::new(driver)
    }

    /// Its name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Its other name, if it has one.
    pub fn alias(&self) -> Option<&CStr> {
        self.alias.as_deref()
    }

    /// Whether `device` starts with the name or the alias, as vdev names do: `net_null0`.
    pub fn is_named_in(&self, device: &CStr) -> bool {
        let starts = |name: &CStr| device.to_bytes().starts_with(name.to_bytes());
        starts(&self.name) || self.alias().is_some_and(starts)
    }

    /// Whether it is for a PCI function of these ids.
    pub fn is_for(&self, ids: &Ids) -> bool {
        let ops = self.ops.lock().clone();
        ops.is_some_and(|ops| ops.pci_ids().iter().any(|id| id.matches(ids)))
    }

    /// Lets the driver take the device, and notes that it has it.
    pub(super) fn probe(self: &Arc<Self>, device: &Arc<Device>) -> Result<()> {
        self.with_ops(|ops| {
            ops.probe(device)?;
            // Before the call counts as over: until then it cannot be unregistered.
            device.set_driver(Some(self.clone()));
            Ok(())
        })
    }

    /// Lets the driver release the device.
    pub(super) fn remove(&self, device: &Arc<Device>) -> Result<()> {
        self.with_ops(|ops| ops.remove(device))
    }

    /// Ends the driver, unless one of its functions runs. Its operations are the caller's to drop, with
    /// no lock held.
    pub(super) fn retire(&self) -> Option<Option<Arc<dyn DriverOps>>> {
        let mut ops = self.ops.lock();
        let runs = ops.as_ref().is_some_and(|ops| Arc::strong_count(ops) > 1);
        (!runs).then(|| ops.take())
    }

    fn with_ops(&self, call: impl FnOnce(&dyn DriverOps) -> Result<()>) -> Result<()> {
        let ops = self.ops.lock().clone();
        ops.as_deref().map_or_else(|| Err(self.unregistered()), call)
    }

    fn unregistered(&self) -> Error {
        Error::new(
            Kind::NotSupported,
            format!("driver {}: it has been unregistered", self.name.to_string_lossy()),
        )
    }

    pub(super) fn raw(&self) -> &RawDriver {
        &self.raw
    }
}
