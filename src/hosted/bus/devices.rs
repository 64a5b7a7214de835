//! The devices that a bus of the host lists, read while it walks its list.

use std::ffi::{CStr, CString, c_int, c_void};

use super::{Compare, HostBus, read};
use crate::hosted::DeviceView;
use crate::hosted::host::text;
use crate::hosted::layout::{DEVARGS_ARGS, Generation, NAME};
use crate::ports::{Bus, DeviceId};

type FindDevice = unsafe extern "C" fn(*const c_void, Compare, *const c_void) -> *mut c_void;
type FindDeviceOnBus =
    unsafe extern "C" fn(*const c_void, *const c_void, Compare, *const c_void) -> *mut c_void;

impl HostBus {
    /// All devices of the bus, in its order.
    pub fn devices(&self) -> Vec<DeviceId> {
        unsafe extern "C" fn collect(device: *const c_void, list: *const c_void) -> c_int {
            // SAFETY: `list` is the vector below, used by this thread only during the call.
            let list = unsafe { &mut *list.cast_mut().cast::<Vec<DeviceId>>() };
            list.extend(DeviceId::from_ptr(device));
            1
        }
        let mut list: Vec<DeviceId> = vec![];
        self.find_device(collect, (&raw mut list).cast());
        list
    }

    /// The names of all devices of the bus, empty ones left out.
    pub fn names(&self) -> Vec<CString> {
        unsafe extern "C" fn collect(device: *const c_void, list: *const c_void) -> c_int {
            // SAFETY: `list` is the vector below, used by this thread only during the call; the bus
            // lists the device.
            unsafe {
                let list = &mut *list.cast_mut().cast::<Vec<CString>>();
                list.extend(text(read(device, NAME)).map(CStr::to_owned));
            }
            1
        }
        let mut list: Vec<CString> = vec![];
        self.find_device(collect, (&raw mut list).cast());
        list.retain(|name| !name.is_empty());
        list
    }

    /// Whether a process that starts is to have the device: from 26.07 on those that were detached are still
    /// listed.
    pub fn is_for_others(&self, name: &CStr) -> bool {
        self.hosted.layout.generation == Generation::Plug
            || self.find(name).is_some_and(|device| self.is_probed(device))
    }

    /// The name of the device at this address, if the bus lists it.
    pub fn name_of(&self, device: DeviceId) -> Option<CString> {
        // SAFETY: the bus lists the device, so it and its name are alive.
        self.if_listed(device, |at| unsafe { text(read(at, NAME)) }.map(CStr::to_owned)).flatten()
    }

    /// What the device at this address shows, if the bus lists it.
    pub fn view_of(&self, device: DeviceId) -> Option<DeviceView> {
        let layout = self.hosted.layout;
        self.if_listed(device, |at| {
            // SAFETY: the bus lists the device, and the offsets are those of its layout.
            unsafe {
                let driver = self.holder(at);
                let devargs: *const c_void = read(at, layout.device_devargs);
                DeviceView {
                    name: read(at, NAME),
                    bus: read(self.address.as_ptr(), NAME),
                    driver: if driver.is_null() { driver.cast() } else { read(driver, NAME) },
                    arguments: if devargs.is_null() {
                        std::ptr::null()
                    } else {
                        read(devargs, DEVARGS_ARGS)
                    },
                    numa_node: read(at, layout.device_numa),
                }
            }
        })
    }

    /// The devargs of a device that the bus lists; only to be compared.
    pub fn devargs_of(&self, device: DeviceId) -> *const c_void {
        let at = self.hosted.layout.device_devargs;
        // SAFETY: the bus lists the device.
        let own = self.if_listed(device, |d| unsafe { read::<*const c_void>(d, at) });
        own.unwrap_or(std::ptr::null())
    }

    /// Reads a device that the bus lists, while it walks its list: a bus with a lock holds it.
    pub(in crate::hosted) fn if_listed<T>(
        &self,
        device: DeviceId,
        read: impl FnOnce(*const c_void) -> T,
    ) -> Option<T> {
        struct Wanted<F, T> {
            address: *const c_void,
            read: Option<F>,
            value: Option<T>,
        }
        unsafe extern "C" fn same<F: FnOnce(*const c_void) -> T, T>(
            device: *const c_void,
            wanted: *const c_void,
        ) -> c_int {
            // SAFETY: `wanted` is the record below, used by this thread only during the call.
            let wanted = unsafe { &mut *wanted.cast_mut().cast::<Wanted<F, T>>() };
            if device != wanted.address {
                return 1;
            }
            wanted.value = wanted.read.take().map(|read| read(device));
            0
        }
        fn of<F: FnOnce(*const c_void) -> T, T>(_: &Wanted<F, T>) -> Compare {
            same::<F, T>
        }
        let mut wanted = Wanted { address: device.as_ptr(), read: Some(read), value: None };
        self.find_device(of(&wanted), (&raw mut wanted).cast());
        wanted.value
    }

    pub(super) fn find_device(&self, compare: Compare, data: *const c_void) -> *mut c_void {
        let null = std::ptr::null();
        let offset = self.hosted.layout.bus_find_device;
        match self.hosted.layout.generation {
            Generation::Plug => self
                .function::<FindDevice>(offset)
                // SAFETY: `rte_bus.find_device` up to 26.03; starts at the first device.
                .map_or(std::ptr::null_mut(), |find| unsafe { find(null, compare, data) }),
            Generation::ProbeDevice => self
                .function::<FindDeviceOnBus>(offset)
                // SAFETY: `rte_bus.find_device` since 26.07: the bus comes first.
                .map_or(std::ptr::null_mut(), |find| unsafe {
                    find(self.address.as_ptr(), null, compare, data)
                }),
        }
    }
}
