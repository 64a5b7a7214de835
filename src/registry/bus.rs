//! A bus of this library and what it has: devargs, devices, drivers.

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::sync::Arc;

use crate::sys::lock::Mutex;

use super::devargs::Entry;
use super::device::Device;
use super::driver::{Driver, DriverOps};
use super::lists::{Devices, List};
use super::raw::RawBus;
use super::{busy, check_name, exists};
use crate::error::{Error, Kind, Result, describe_code};
use crate::ports::{self, DeviceId, Plugged, label};
use crate::proto::devargs::default_layered_name;
use crate::proto::kvargs::Pair;

/// What a kind of bus does in its own way. No lock of this library is held during a call.
pub trait BusOps: Send + Sync {
    /// Whether `device` can be a device of this bus, judged by its name.
    fn accepts(&self, bus: &Bus, device: &CStr) -> bool;

    /// Looks for devices and reports each by [`Scan::found`].
    fn scan(&self, scan: &Scan<'_>) -> Result<()>;

    /// Whether `driver` is for `device`; by default its name or alias starts the device name.
    fn matches(&self, driver: &Driver, device: &CStr) -> bool {
        driver.is_named_in(device)
    }

    /// The one name that a device has here, whichever way it is written; by default as it is.
    fn canonical(&self, device: &CStr) -> CString {
        device.to_owned()
    }

    /// Makes a device usable for drivers; none is asked when that fails.
    fn open(&self, _device: &Arc<Device>) -> Result<()> {
        Ok(())
    }

    /// No driver uses the device any more, or none took it.
    fn close(&self, _device: &Device) {}

    /// The device name that a `bus=…` layer of devargs stands for; by default its `name=`.
    fn layered_name(&self, layer: &[Pair<'_>]) -> Result<Vec<u8>> {
        default_layered_name(layer)
    }
}

/// One scan: what is looked for, and where to report it.
pub struct Scan<'a> {
    bus: &'a Arc<Bus>,
    wanted: Option<&'a CStr>,
}

impl Scan<'_> {
    /// The device that is looked for; `None` means all.
    pub fn wanted(&self) -> Option<&CStr> {
        self.wanted
    }

    /// The devices of this bus for which devargs are listed.
    pub fn listed(&self) -> Vec<CString> {
        self.bus.listed()
    }

    /// The bus.
    pub fn bus(&self) -> &Arc<Bus> {
        self.bus
    }

    /// Reports a device on NUMA node `numa_node` (-1: unknown); known ones are left as they are.
    pub fn found(&self, device: &CStr, numa_node: i32) -> Result<()> {
        self.bus.add_device(device, numa_node)
    }

    /// Reports that a device is not there: it is forgotten, unless it is attached.
    pub fn missed(&self, device: &CStr) {
        // That it is not known, or attached, is no failure.
        let _ = self.bus.remove_device(device);
    }
}

/// A registered bus.
pub struct Bus {
    raw: RawBus,
    name: CString,
    /// `None` once it is unregistered. Each call has it as well while it runs.
    ops: Mutex<Option<Arc<dyn BusOps>>>,
    contents: Mutex<Contents>,
}

/// What a bus had when it was unregistered.
pub(super) struct Retired {
    _ops: Option<Arc<dyn BusOps>>,
    /// They refer to the bus, which would never be freed.
    _gone: VecDeque<Arc<Device>>,
}

/// How many devices that left a bus are kept.
const KEPT_GONE: usize = 64;

#[derive(Default)]
struct Contents {
    /// Devices that left the bus: kept for a while, so that a stale pointer of C names nobody else.
    gone: VecDeque<Arc<Device>>,
    devargs: List<Entry>,
    devices: Devices,
    drivers: Vec<Arc<Driver>>,
}

impl Bus {
    pub(super) fn new(name: &CStr, ops: Box<dyn BusOps>) -> Arc<Self> {
        let contents = Mutex::default();
        let bus = Self {
            raw: RawBus::default(),
            name: name.to_owned(),
            ops: Mutex::new(Some(Arc::from(ops))),
            contents,
        };
        bus.raw.set_name(&bus.name);
        Arc::new(bus)
    }

    /// The bus name.
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// Whether `device` can be a device of this bus.
    pub fn accepts(&self, device: &CStr) -> bool {
        self.with_ops(|ops| ops.accepts(self, device)).unwrap_or(false)
    }

    /// The device name that a `bus=…` layer stands for.
    pub fn layered_name(&self, layer: &[Pair<'_>]) -> Result<Vec<u8>> {
        self.with_ops(|ops| ops.layered_name(layer)).unwrap_or_else(|| Err(self.unregistered()))
    }

    /// Looks for one device, or for all with `None`.
    pub fn scan_for(self: &Arc<Self>, wanted: Option<&CStr>) -> Result<()> {
        self.with_ops(|ops| ops.scan(&Scan { bus: self, wanted }))
            .unwrap_or_else(|| Err(self.unregistered()))
    }

    /// Puts a device on the bus; one that is there already is left as it is.
    pub fn add_device(self: &Arc<Self>, name: &CStr, numa_node: i32) -> Result<()> {
        check_name("device", name)?;
        let mut contents = self.contents.lock();
        if contents.devices.named(name).is_some() {
            return Ok(());
        }
        let device = Device::new(self.clone(), name, numa_node);
        device.set_devargs(contents.devargs.named(name).cloned());
        contents.devices.add(device);
        Ok(())
    }

    /// Takes a device that is not attached off the bus.
    pub fn remove_device(&self, name: &CStr) -> Result<()> {
        let device = self.device_named(name).ok_or_else(|| {
            Error::new(Kind::NoDevice, format!("{}: no such device", label(&self.name, name)))
        })?;
        if device.driver().is_some() {
            return Err(Error::new(
                Kind::Busy,
                format!("{}: attached: detach it first", device.label()),
            ));
        }
        self.drop_device(&device);
        Ok(())
    }

    /// Adds a driver. [`Kind::Exists`] when the name is taken on this bus.
    pub fn register_driver(
        &self,
        name: &CStr,
        alias: Option<&CStr>,
        ops: Box<dyn DriverOps>,
    ) -> Result<Arc<Driver>> {
        check_name("driver", name)?;
        alias.map_or(Ok(()), |alias| check_name("driver alias", alias))?;
        let mut contents = self.contents.lock();
        if contents.drivers.iter().any(|d| d.name() == name) {
            return Err(exists("driver", name));
        }
        let driver = Driver::new(name, alias, ops);
        contents.drivers.push(driver.clone());
        Ok(driver)
    }

    /// Removes a driver. [`Kind::Busy`] while it has a device, or one of its functions runs. None of
    /// them is called afterwards.
    pub fn unregister_driver(&self, driver: Arc<Driver>) -> Result<()> {
        // Dropped last, with no lock held.
        let _retired;
        let mut contents = self.contents.lock();
        let at =
            contents.drivers.iter().position(|d| Arc::ptr_eq(d, &driver)).ok_or_else(|| {
                Error::new(Kind::NotFound, "driver: it is not registered: unregistered already?")
            })?;
        let holds = |d: &Arc<Device>| d.driver().is_some_and(|own| Arc::ptr_eq(&own, &driver));
        let in_use = || busy("driver", driver.name(), "devices");
        if contents.devices.iter().any(holds) {
            return Err(in_use());
        }
        _retired = driver.retire().ok_or_else(in_use)?;
        contents.drivers.remove(at);
        Ok(())
    }

    /// The drivers, in order of registration.
    pub fn drivers(&self) -> Vec<Arc<Driver>> {
        self.contents.lock().drivers.clone()
    }

    /// The devices, in the order in which they were found.
    pub fn devices(&self) -> Vec<Arc<Device>> {
        self.contents.lock().devices.iter().cloned().collect()
    }

    /// The device with this identity, compared by address only.
    pub fn device(&self, id: DeviceId) -> Option<Arc<Device>> {
        self.contents.lock().devices.with_id(id).cloned()
    }

    /// The one name that a device has here.
    pub fn canonical(&self, device: &CStr) -> CString {
        self.with_ops(|ops| ops.canonical(device)).unwrap_or_else(|| device.to_owned())
    }

    /// The device of this name.
    pub fn device_named(&self, name: &CStr) -> Option<Arc<Device>> {
        self.contents.lock().devices.named(name).cloned()
    }

    /// The names for which devargs are listed.
    pub fn listed(&self) -> Vec<CString> {
        self.contents.lock().devargs.iter().map(|e| e.name().to_owned()).collect()
    }

    /// Ends the bus, unless it has devices or drivers or one of its functions runs. What it had is the
    /// caller's to drop, with no lock held.
    pub(super) fn retire(&self) -> Option<Retired> {
        let mut ops = self.ops.lock();
        if ops.as_ref().is_some_and(|ops| Arc::strong_count(ops) > 1) {
            return None;
        }
        let mut contents = self.contents.lock();
        if !contents.devices.is_empty() || !contents.drivers.is_empty() {
            return None;
        }
        Some(Retired { _ops: ops.take(), _gone: std::mem::take(&mut contents.gone) })
    }

    fn with_ops<T>(&self, call: impl FnOnce(&dyn BusOps) -> T) -> Option<T> {
        let ops = self.ops.lock().clone();
        ops.as_deref().map(call)
    }

    fn matches(&self, driver: &Driver, device: &CStr) -> bool {
        self.with_ops(|ops| ops.matches(driver, device)).unwrap_or(false)
    }

    fn unregistered(&self) -> Error {
        Error::new(
            Kind::NoDevice,
            format!("bus {}: it has been unregistered", self.name.to_string_lossy()),
        )
    }

    pub(super) fn raw(&self) -> &RawBus {
        &self.raw
    }

    /// Lists devargs for a device; an attached device keeps those it was attached with.
    pub(super) fn insert_devargs(self: &Arc<Self>, name: &CStr, arguments: &CStr) {
        let mut contents = self.contents.lock();
        let device = contents.devices.named(name).cloned();
        if device.as_ref().is_some_and(|d| d.driver().is_some()) {
            return;
        }
        let entry = Entry::new(self.clone(), name, arguments);
        contents.devargs.add(entry.clone());
        if let Some(device) = device {
            device.set_devargs(Some(entry));
        }
    }

    /// Takes devargs off the list, unless a device has come to own them.
    pub(super) fn withdraw_devargs(&self, name: &CStr) {
        let mut contents = self.contents.lock();
        if contents.devices.named(name).is_none() {
            contents.devargs.remove(name);
        }
    }

    /// Takes a device and its devargs off the bus.
    fn drop_device(&self, device: &Device) {
        let mut contents = self.contents.lock();
        if let Some(device) = contents.devices.remove(device.id()) {
            contents.gone.push_back(device);
        }
        let forgotten =
            if contents.gone.len() > KEPT_GONE { contents.gone.pop_front() } else { None };
        contents.devargs.remove(device.name());
        drop(contents);
        drop(forgotten);
    }

    /// The drivers for a device.
    fn drivers_for(&self, device: &CStr) -> Vec<Arc<Driver>> {
        self.drivers().into_iter().filter(|driver| self.matches(driver, device)).collect()
    }

    /// Asks one driver after the other to take the device.
    fn probe_with(&self, drivers: &[Arc<Driver>], device: &Arc<Device>) -> Result<()> {
        for driver in drivers {
            match driver.probe(device) {
                Ok(()) => return Ok(()),
                // A positive value: "not mine".
                Err(error) if error.code() > 0 => {}
                Err(error) => {
                    return Err(driver_failed(&self.name, device, driver, "probe", &error));
                }
            }
        }
        Err(no_driver(device))
    }

    fn expect(&self, id: DeviceId) -> Result<Arc<Device>> {
        self.device(id).ok_or_else(|| {
            Error::new(
                Kind::NoDevice,
                format!("bus {}: the device is gone", self.name.to_string_lossy()),
            )
        })
    }
}

impl ports::Bus for Arc<Bus> {
    fn bus_name(&self) -> CString {
        self.name.clone()
    }

    fn can_plug(&self) -> bool {
        true
    }

    fn can_unplug(&self) -> bool {
        true
    }

    fn locks_remove(&self) -> bool {
        false
    }

    fn scan(&self, device: &CStr) -> Result<()> {
        self.scan_for(Some(device))
    }

    fn find(&self, device: &CStr) -> Option<DeviceId> {
        self.device_named(&self.canonical(device)).map(|d| d.id())
    }

    fn is_probed(&self, device: DeviceId) -> bool {
        self.device(device).is_some_and(|d| d.driver().is_some())
    }

    fn arguments(&self, device: DeviceId) -> CString {
        self.device(device).map(|d| d.arguments()).unwrap_or_default()
    }

    fn plug(&self, device: DeviceId) -> Result<Plugged> {
        let device = self.expect(device)?;
        if device.driver().is_some() {
            return Ok(Plugged::Already);
        }
        let drivers = self.drivers_for(device.name());
        if drivers.is_empty() {
            return Err(no_driver(&device));
        }
        self.with_ops(|ops| ops.open(&device)).unwrap_or_else(|| Err(self.unregistered()))?;
        let probed = self.probe_with(&drivers, &device);
        if probed.is_err() {
            self.with_ops(|ops| ops.close(&device));
        }
        probed.map(|()| Plugged::Probed)
    }

    fn unplug(&self, device: DeviceId) -> Result<()> {
        let device = self.expect(device)?;
        let driver = device.driver().ok_or_else(|| {
            Error::new(Kind::NotFound, format!("{}: no driver holds it", device.label()))
        })?;
        driver.remove(&device).map_err(|error| {
            // Stock's rule: a positive value becomes -ENOENT.
            let code = if error.code() > 0 { -libc::ENOENT } else { error.code() };
            let error = Error::new(Kind::Code(code), error.to_string());
            driver_failed(&self.name, &device, &driver, "remove", &error)
        })?;
        self.with_ops(|ops| ops.close(&device));
        self.drop_device(&device);
        device.set_driver(None);
        Ok(())
    }
}

fn no_driver(device: &Device) -> Error {
    Error::new(
        Kind::NotSupported,
        format!("{}: no driver takes the device: is it registered?", device.label()),
    )
}

fn driver_failed(bus: &CStr, device: &Device, driver: &Driver, step: &str, why: &Error) -> Error {
    let mut text = format!(
        "{}: {step} by driver {} failed: {}",
        label(bus, device.name()),
        driver.name().to_string_lossy(),
        describe_code(why.code())
    );
    if !why.to_string().is_empty() {
        text += &format!(": {why}");
    }
    Error::new(Kind::Code(why.code()), text)
}
