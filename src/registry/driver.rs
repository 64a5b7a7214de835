//! A driver for the devices of a bus of this library.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use super::device::Device;
use super::raw::RawDriver;
use crate::error::Result;

/// What a driver does with a device. No lock of this library is held during a call, and it may
/// probe and remove other devices.
pub trait DriverOps: Send + Sync {
    /// Takes the device into use. An error with a positive code means "not mine": the next driver
    /// is asked.
    fn probe(&self, device: &Arc<Device>) -> Result<()>;

    /// Releases the device. On an error it stays attached.
    fn remove(&self, device: &Arc<Device>) -> Result<()>;
}

/// A registered driver.
pub struct Driver {
    raw: RawDriver,
    name: CString,
    alias: Option<CString>,
    ops: Box<dyn DriverOps>,
}

impl Driver {
    pub(super) fn new(name: &CStr, alias: Option<&CStr>, ops: Box<dyn DriverOps>) -> Arc<Self> {
        let (name, alias) = (name.to_owned(), alias.map(CStr::to_owned));
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

    pub(super) fn probe(&self, device: &Arc<Device>) -> Result<()> {
        self.ops.probe(device)
    }

    pub(super) fn remove(&self, device: &Arc<Device>) -> Result<()> {
        self.ops.remove(device)
    }

    pub(super) fn raw(&self) -> &RawDriver {
        &self.raw
    }
}
