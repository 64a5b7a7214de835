//! A device on a bus of this library.

use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::lock::Mutex;

use super::bus::Bus;
use super::devargs::Entry;
use super::driver::Driver;
use super::raw::RawDevice;
use crate::ports::{DeviceId, label};

/// A device; C sees its `struct rte_device`.
pub struct Device {
    raw: RawDevice,
    bus: Arc<Bus>,
    name: CString,
    numa_node: i32,
    /// For the driver that holds the device.
    private: AtomicUsize,
    owned: Mutex<Owned>,
}

#[derive(Default)]
struct Owned {
    driver: Option<Arc<Driver>>,
    devargs: Option<Arc<Entry>>,
}

impl Device {
    pub(super) fn new(bus: Arc<Bus>, name: &CStr, numa_node: i32) -> Arc<Self> {
        let device = Self {
            raw: RawDevice::default(),
            bus,
            name: name.to_owned(),
            numa_node,
            private: AtomicUsize::new(0),
            owned: Mutex::default(),
        };
        device.raw.set_identity(&device.name, device.bus.raw(), numa_node);
        Arc::new(device)
    }

    /// Its identity: the address of its `struct rte_device`.
    pub fn id(&self) -> DeviceId {
        DeviceId::from_ptr(&raw const self.raw).expect("a reference is not null")
    }

    /// Its bus.
    pub fn bus(&self) -> &Arc<Bus> {
        &self.bus
    }

    /// Its name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Its NUMA node, -1 when unknown.
    pub fn numa_node(&self) -> i32 {
        self.numa_node
    }

    /// The driver that holds it, if it is attached.
    pub fn driver(&self) -> Option<Arc<Driver>> {
        self.owned.lock().driver.clone()
    }

    /// The arguments for its driver, empty when there are none.
    pub fn arguments(&self) -> CString {
        let owned = self.owned.lock();
        owned.devargs.as_ref().map(|e| e.arguments().to_owned()).unwrap_or_default()
    }

    /// Where the C string of [`Self::arguments`] stands; it lives until the device is detached.
    pub fn arguments_ptr(&self) -> *const std::ffi::c_char {
        self.owned.lock().devargs.as_ref().map_or(c"".as_ptr(), |e| e.arguments().as_ptr())
    }

    /// Where the C string with its driver's name stands, NULL when there is none; it lives as long as
    /// the driver.
    pub fn driver_name_ptr(&self) -> *const std::ffi::c_char {
        let owned = self.owned.lock();
        owned.driver.as_ref().map_or(std::ptr::null(), |driver| driver.name().as_ptr())
    }

    /// The value that its driver left with [`Self::set_private`].
    pub fn private(&self) -> usize {
        self.private.load(Ordering::Acquire)
    }

    /// Keeps a value for its driver.
    pub fn set_private(&self, value: usize) {
        self.private.store(value, Ordering::Release);
    }

    /// `bus:name`.
    pub fn label(&self) -> String {
        label(self.bus.name(), &self.name)
    }

    pub(super) fn set_driver(&self, driver: Option<Arc<Driver>>) {
        self.raw.set_driver(driver.as_deref().map(Driver::raw));
        self.owned.lock().driver = driver;
    }

    pub(super) fn set_devargs(&self, devargs: Option<Arc<Entry>>) {
        self.raw.set_devargs(devargs.as_deref().map(Entry::raw));
        self.owned.lock().devargs = devargs;
    }
}
