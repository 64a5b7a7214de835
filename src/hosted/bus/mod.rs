//! A bus of the host EAL, driven through its `struct rte_bus` as the EAL itself does.

mod devices;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use super::devargs::{self, Unlisted, Walk};
use super::host::text;
use super::layout::{BUS_ALLOW_MULTI_PROBE, DEVARGS_ARGS, Generation, NAME};
use super::{Hosted, vdev};
use crate::error::{Error, Kind, Result, describe_code};
use crate::ports::{self, DeviceId, Plugged, label};
use crate::sys::lock::{Mutex, ReentrantGuard, ReentrantMutex};
use crate::sys::{dl, thread};

type Compare = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
type Scan = unsafe extern "C" fn() -> c_int;
type OnDevice = unsafe extern "C" fn(*mut c_void) -> c_int;
type ProbeDevice = unsafe extern "C" fn(*mut c_void, *mut c_void) -> c_int;
type ParseName = unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int;

/// A `struct rte_bus` of the host. Buses register at load time and stay.
#[derive(Clone, Copy)]
pub struct HostBus {
    hosted: &'static Hosted,
    address: NonNull<c_void>,
}

/// `RTE_BUS_SCAN_ALLOWLIST`
const SCAN_ALLOWLIST: c_int = 1;
/// Many times what a scan takes.
const SCAN_WAIT: Duration = Duration::from_secs(1);
/// Many times the processor time of a scan of the vdev bus: one that uses more waits for the bus's lock,
/// which is a spinlock. A thread that is not running uses none.
const VDEV_SCAN_TIME: Duration = Duration::from_millis(10);
/// How often that is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Devices that 26.07 shows with a driver although their probe still runs. Held while a device's driver is
/// read or written, and taken inside of a bus's own lock only.
static PROBING: Mutex<Vec<DeviceId>> = Mutex::new(Vec::new());

impl HostBus {
    /// The bus at this address.
    ///
    /// # Safety
    /// `address` is a registered `struct rte_bus` of the host whose layout is `hosted.layout`.
    pub unsafe fn new(hosted: &'static Hosted, address: NonNull<c_void>) -> Self {
        Self { hosted, address }
    }

    /// The bus of this name.
    pub fn named(hosted: &'static Hosted, name: &CStr) -> Option<Self> {
        // SAFETY: a C string; the host returns one of its buses or NULL.
        let address = unsafe { (hosted.eal.bus_find_by_name)(name.as_ptr()) };
        // SAFETY: the address is a registered bus.
        NonNull::new(address).map(|address| unsafe { Self::new(hosted, address) })
    }

    /// The host's buses in order of registration.
    pub fn all(hosted: &'static Hosted) -> impl Iterator<Item = Self> {
        unsafe extern "C" fn any(_bus: *const c_void, _data: *const c_void) -> c_int {
            0
        }
        let mut last: *const c_void = std::ptr::null();
        std::iter::from_fn(move || {
            // SAFETY: `last` is NULL or the bus that the previous call returned.
            last = unsafe { (hosted.eal.bus_find)(last, any, std::ptr::null()) };
            // SAFETY: the address is a registered bus.
            NonNull::new(last.cast_mut()).map(|address| unsafe { Self::new(hosted, address) })
        })
    }

    /// Where the `struct rte_bus` is.
    pub fn address(&self) -> NonNull<c_void> {
        self.address
    }

    /// Whether the bus takes devices of this name, by its `parse`.
    pub fn accepts(&self, device: &CStr) -> bool {
        // SAFETY: `bus_parse` is `rte_bus.parse`; with a NULL result pointer it only judges.
        self.function::<ParseName>(self.hosted.layout.bus_parse)
            .is_some_and(|parse| unsafe { parse(device.as_ptr(), std::ptr::null_mut()) } == 0)
    }

    /// Whether the command line names which devices the bus may have.
    pub fn is_allowlisted(&self) -> bool {
        // SAFETY: `rte_bus.conf.scan_mode`, an enum that is written while EAL starts.
        let mode: c_int = unsafe { read(self.address.as_ptr(), self.hosted.layout.bus_scan_mode) };
        mode == SCAN_ALLOWLIST
    }

    /// The driver of a listed device; NULL when none holds it.
    ///
    /// # Safety
    /// The device is listed on this bus.
    unsafe fn driver_of(&self, device: DeviceId) -> *const c_void {
        // SAFETY: the caller's promise.
        unsafe { read(device.as_ptr(), self.hosted.layout.device_driver) }
    }

    /// Shows `driver` at a device, NULL for none; it holds the device unless its probe has yet to run.
    ///
    /// # Safety
    /// The device is listed on this bus, and it is this thread's turn.
    unsafe fn show_driver(&self, device: DeviceId, driver: *mut c_void, probing: bool) {
        let mut list = PROBING.lock();
        list.retain(|d| *d != device);
        if probing {
            list.push(device);
        }
        // SAFETY: the caller's promise; other threads of ours read the field with the lock.
        unsafe { write(device.as_ptr(), self.hosted.layout.device_driver, driver) };
    }

    /// The driver that holds a device; NULL when none does, or is only about to.
    ///
    /// # Safety
    /// The bus lists the device `at` meanwhile.
    unsafe fn holder(&self, at: *const c_void) -> *const c_void {
        let probing = PROBING.lock();
        match DeviceId::from_ptr(at) {
            Some(device) if !probing.contains(&device) => {
                // SAFETY: the caller's promise.
                unsafe { read(at, self.hosted.layout.device_driver) }
            }
            _ => std::ptr::null(),
        }
    }

    /// Keeps other threads of ours from scanning this bus, and so from meeting devargs that leave the
    /// list.
    ///
    /// The wait is bounded: a scan in another thread may wait for this one. The vdev bus has a lock of
    /// its own, which this thread may hold, as `rte_vdev_init` runs drivers under it.
    fn scan_lock(&self) -> Option<ReentrantGuard<'static>> {
        static OTHERS: ReentrantMutex = ReentrantMutex::new();
        let lock = if self.is_vdev() { vdev_scan_lock() } else { OTHERS.lock_within(SCAN_WAIT) };
        if lock.is_none() {
            log::debug!("not waiting any longer for a bus scan in another thread");
        }
        lock
    }

    /// Whether devices are announced to this bus instead of looked for: the vdev bus of a secondary.
    pub fn takes_announcements(&self) -> bool {
        self.is_vdev() && vdev::is_captured() && !self.hosted.eal.is_primary()
    }

    fn announce(&self, device: &CStr) {
        vdev::announce(device, |insert| {
            struct Insert<'a>(&'a mut dyn FnMut());
            unsafe extern "C" fn at_first(_device: *const c_void, data: *const c_void) -> c_int {
                // SAFETY: `data` is the record below, used by this thread only during the call.
                let insert = unsafe { &mut *data.cast_mut().cast::<Insert<'_>>() };
                (insert.0)();
                0
            }
            let mut insert = Insert(insert);
            // The bus compares under its lock, which this thread may take again.
            self.find_device(at_first, (&raw mut insert).cast());
        });
    }

    /// Whether it is the bus of virtual devices.
    pub fn is_vdev(&self) -> bool {
        ports::Bus::bus_name(self).as_bytes() == b"vdev"
    }

    /// Takes the devargs of a device that is about to be removed off the host's list.
    fn unlist(&self, device: DeviceId) -> Option<Unlisted> {
        if self.hosted.layout.generation == Generation::ProbeDevice {
            // The device stays on its bus, and so do its devargs.
            return None;
        }
        let _alone = self.scan_lock();
        // SAFETY: the device is listed on this bus.
        let devargs = unsafe { read(device.as_ptr(), self.hosted.layout.device_devargs) };
        Unlisted::take(self.hosted, NonNull::new(devargs)?)
    }

    /// The device's own devargs, if it was announced: they are on no list, and the bus forgets to free
    /// them.
    fn announced_devargs(&self, device: DeviceId) -> Option<NonNull<c_void>> {
        let keeps_device = self.hosted.layout.generation == Generation::ProbeDevice;
        if keeps_device || !self.takes_announcements() {
            return None;
        }
        let own = self.devargs_of(device);
        if devargs::is_listed(self.hosted, own) { None } else { NonNull::new(own.cast_mut()) }
    }

    /// Frees the devargs of a device that is gone, or lists them again: some buses keep the device.
    fn settle(&self, device: DeviceId, devargs: Option<Unlisted>, failed: bool) {
        let Some(devargs) = devargs else { return };
        let at = self.hosted.layout.device_devargs;
        // SAFETY: the bus lists the device.
        let owned = self.if_listed(device, |d| unsafe { read::<*mut c_void>(d, at) });
        // A PCI scan in another thread clears the field while the entry is off the list.
        let keeps = |own: *mut c_void| own == devargs.address() || (failed && own.is_null());
        if owned.is_some_and(keeps) {
            devargs.put_back();
        }
    }

    /// A function pointer of the bus, `None` when it is NULL.
    fn function<F: Copy>(&self, offset: usize) -> Option<F> {
        // SAFETY: the offset is a function pointer of `struct rte_bus` in this host's layout, and
        // every caller names the type that the field has.
        unsafe {
            let pointer: *mut c_void = read(self.address.as_ptr(), offset);
            NonNull::new(pointer).map(|pointer| dl::as_function(pointer))
        }
    }

    fn label(&self, device: &CStr) -> String {
        label(&ports::Bus::bus_name(self), device)
    }

    /// Up to 26.03: the bus finds the driver itself.
    fn plug_by_bus(&self, device: DeviceId) -> Result<c_int> {
        let plug = self.function::<OnDevice>(self.hosted.layout.bus_plug).ok_or_else(no_plug)?;
        // SAFETY: `rte_bus.plug` of the bus that lists the device.
        let code = unsafe { plug(device.as_ptr()) };
        Ok(if code > 0 { -libc::ENOTSUP } else { code })
    }

    /// From 26.07: every driver that matches is asked in turn.
    fn probe_by_drivers(&self, device: DeviceId) -> Result<c_int> {
        let probe =
            self.function::<ProbeDevice>(self.hosted.layout.bus_plug).ok_or_else(no_plug)?;
        let find_driver = self.hosted.eal.bus_find_driver.ok_or_else(no_plug)?;
        let bus = self.address.as_ptr();
        let pointer: *mut c_void = device.as_ptr();
        // SAFETY: a bool of `struct rte_bus` since 26.07.
        let many: u8 = unsafe { read(bus, BUS_ALLOW_MULTI_PROBE) };
        let mut driver: *mut c_void = std::ptr::null_mut();
        loop {
            // SAFETY: the bus, the previous driver or NULL, and a device of the bus.
            driver = unsafe { find_driver(bus, driver, pointer) };
            if driver.is_null() {
                return Ok(-libc::ENOTSUP);
            }
            // SAFETY: the device is listed.
            let was_probed = unsafe { !self.driver_of(device).is_null() };
            if was_probed && many == 0 {
                return Ok(-libc::EEXIST);
            }
            // The bus reads the driver's flags through the device while it probes.
            // SAFETY: `rte_bus.probe_device` with a driver that matches the listed device; it is this
            // thread's turn.
            let code = unsafe {
                if !was_probed {
                    self.show_driver(device, driver, true);
                }
                let code = probe(driver, pointer);
                if !was_probed {
                    let holder = if code == 0 { driver } else { std::ptr::null_mut() };
                    self.show_driver(device, holder, false);
                }
                code
            };
            if code <= 0 {
                return Ok(code);
            }
        }
    }
}

impl ports::Bus for HostBus {
    fn bus_name(&self) -> CString {
        // SAFETY: `rte_bus.name` is a C string with the life of the bus.
        unsafe { text(read(self.address.as_ptr(), NAME)) }.unwrap_or_default().to_owned()
    }

    fn can_plug(&self) -> bool {
        self.function::<OnDevice>(self.hosted.layout.bus_plug).is_some()
    }

    fn can_unplug(&self) -> bool {
        self.function::<OnDevice>(self.hosted.layout.bus_unplug).is_some()
    }

    fn locks_remove(&self) -> bool {
        self.is_vdev() && self.hosted.layout.generation == Generation::Plug
    }

    fn scan(&self, device: &CStr) -> Result<()> {
        if self.takes_announcements() {
            self.announce(device);
            return Ok(());
        }
        let scan = self.function::<Scan>(self.hosted.layout.bus_scan);
        let _alone = self.scan_lock();
        let _walk = Walk::start();
        // SAFETY: `rte_bus.scan` takes nothing.
        match scan.map_or(-libc::ENOTSUP, |scan| unsafe { scan() }) {
            0 => Ok(()),
            code => Err(Error::new(
                Kind::Code(code),
                format!("{}: scan of the bus failed: {}", self.label(device), describe_code(code)),
            )),
        }
    }

    fn find(&self, device: &CStr) -> Option<DeviceId> {
        unsafe extern "C" fn same_name(device: *const c_void, name: *const c_void) -> c_int {
            // SAFETY: the bus lists the device; `name` is the C string of the call below.
            unsafe {
                match text(read(device, NAME)) {
                    Some(own) => c_int::from(own != CStr::from_ptr(name.cast())),
                    None => 1,
                }
            }
        }
        DeviceId::from_ptr(self.find_device(same_name, device.as_ptr().cast()))
    }

    fn is_probed(&self, device: DeviceId) -> bool {
        // Read while the bus walks its list: another thread may detach the device.
        // SAFETY: the bus lists the device.
        let driver = self.if_listed(device, |d| unsafe { self.holder(d) });
        driver.is_some_and(|driver| !driver.is_null())
    }

    fn arguments(&self, device: DeviceId) -> CString {
        let at = self.hosted.layout.device_devargs;
        let copy = |d: *const c_void| {
            // SAFETY: the bus lists the device, which owns its devargs and their strings.
            unsafe {
                let devargs: *const c_void = read(d, at);
                if devargs.is_null() {
                    return None;
                }
                text(read(devargs, DEVARGS_ARGS)).map(CStr::to_owned)
            }
        };
        self.if_listed(device, copy).flatten().unwrap_or_default()
    }

    fn plug(&self, device: DeviceId) -> Result<Plugged> {
        self.hosted.check_device(self, device)?;
        let name = self.name_of(device).unwrap_or_default();
        let before = self.is_probed(device);
        let code = match self.hosted.layout.generation {
            Generation::Plug => self.plug_by_bus(device)?,
            Generation::ProbeDevice => self.probe_by_drivers(device)?,
        };
        match code {
            0 if before => Ok(Plugged::Again),
            0 => Ok(Plugged::Probed),
            code if code == -libc::EEXIST && self.is_probed(device) => Ok(Plugged::Already),
            code => Err(Error::new(
                Kind::Code(code),
                format!("{}: probe failed: {}", self.label(&name), describe_code(code)),
            )),
        }
    }

    fn unplug(&self, device: DeviceId) -> Result<()> {
        let unplug =
            self.function::<OnDevice>(self.hosted.layout.bus_unplug).ok_or_else(no_plug)?;
        let name = self.name_of(device).unwrap_or_default();
        let unlisted = self.announced_devargs(device);
        let devargs = match unlisted {
            None => self.unlist(device),
            // Its driver, and drivers of others, look for it on the list: an entry by its name is there.
            Some(_) => Unlisted::take_named(self.hosted, self, &name),
        };
        let code = {
            let _walk = Walk::start();
            // SAFETY: `rte_bus.unplug` of the bus that lists the device.
            unsafe { unplug(device.as_ptr()) }
        };
        match (unlisted, devargs) {
            (None, devargs) => self.settle(device, devargs, code != 0),
            (Some(_), Some(devargs)) if code != 0 => devargs.put_back(),
            (Some(unlisted), _) if code == 0 => {
                // SAFETY: the bus made it for the device, which is gone; it was on no list.
                unsafe { devargs::free(self.hosted, unlisted) };
            }
            (Some(_), _) => {}
        }
        if code != 0 {
            let returned = if code < 0 { code } else { -libc::ENOENT };
            return Err(Error::new(
                Kind::Code(returned),
                format!("{}: remove failed: {}", self.label(&name), describe_code(code)),
            ));
        }
        if self.hosted.layout.generation == Generation::ProbeDevice {
            // SAFETY: since 26.07 the device stays listed and the caller clears its driver.
            unsafe { self.show_driver(device, std::ptr::null_mut(), false) };
        }
        Ok(())
    }
}

fn no_plug() -> Error {
    Error::new(Kind::NotSupported, "the bus cannot attach or detach at run time")
}

/// Waits for the scan of another thread, unless that one seems to wait for a lock that this thread has.
fn vdev_scan_lock() -> Option<ReentrantGuard<'static>> {
    static LOCK: ReentrantMutex = ReentrantMutex::new();
    let until = Instant::now() + SCAN_WAIT;
    let mut seen = None;
    loop {
        if let Some(guard) = LOCK.lock_within(LOOK) {
            return Some(guard);
        }
        let holder = LOCK.holder();
        let used = holder.and_then(|holder| thread::processor_time(holder.thread));
        match seen {
            Some((before, first)) if before == holder => {
                let since = used.zip(first).map(|(now, first)| now.saturating_sub(first));
                let spins = since.is_some_and(|time| time > VDEV_SCAN_TIME);
                if spins || Instant::now() >= until {
                    return None;
                }
            }
            _ => seen = Some((holder, used)),
        }
    }
}

/// Reads a field.
///
/// # Safety
/// `object` is alive and has a `T` at `offset`.
unsafe fn read<T: Copy>(object: *const c_void, offset: usize) -> T {
    // SAFETY: the caller's promise.
    unsafe { object.byte_add(offset).cast::<T>().read() }
}

/// Writes a field.
///
/// # Safety
/// `object` is alive, has a `T` at `offset`, and nobody else writes it.
unsafe fn write<T>(object: *mut c_void, offset: usize, value: T) {
    // SAFETY: the caller's promise.
    unsafe { object.byte_add(offset).cast::<T>().write(value) }
}
