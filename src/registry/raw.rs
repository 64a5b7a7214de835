//! The C structs that `struct rte_device` points into, laid out as in DPDK 22.11 and later.
//!
//! C code reads them while we write: every pointer is an atomic, which has the layout of the plain
//! pointer, so that this needs no `unsafe`.

use std::ffi::{CStr, c_char, c_void};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicI32, AtomicPtr, Ordering};

use crate::proto::devargs::NAME_SIZE;

/// A C pointer that C reads and we write.
pub type Field<T> = AtomicPtr<T>;

/// `struct rte_driver`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RawDriver {
    next: [Field<c_void>; 2],
    name: Field<c_char>,
    alias: Field<c_char>,
}

/// `struct rte_bus`; its functions stay NULL, only the name is for reading.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RawBus {
    next: [Field<c_void>; 2],
    name: Field<c_char>,
    functions: [Field<c_void>; 15],
}

/// `struct rte_devargs`.
#[repr(C)]
#[derive(Debug)]
pub struct RawDevargs {
    next: [Field<c_void>; 2],
    kind: u32,
    policy: u32,
    name: [u8; NAME_SIZE],
    args: Field<c_char>,
    bus: Field<RawBus>,
    class: Field<c_void>,
    bus_str: Field<c_char>,
    class_str: Field<c_char>,
    data: Field<c_char>,
}

/// `struct rte_device`.
#[repr(C)]
#[derive(Debug, Default)]
pub struct RawDevice {
    next: [Field<c_void>; 2],
    name: Field<c_char>,
    bus_info: Field<c_char>,
    driver: Field<RawDriver>,
    bus: Field<RawBus>,
    numa_node: AtomicI32,
    devargs: Field<RawDevargs>,
}

impl RawDriver {
    /// Points to strings that live as long as the driver.
    pub fn set_names(&self, name: &CStr, alias: Option<&CStr>) {
        self.name.store(pointer(name), Ordering::Release);
        self.alias.store(alias.map_or(null_mut(), pointer), Ordering::Release);
    }
}

impl RawBus {
    /// Points to a string that lives as long as the bus.
    pub fn set_name(&self, name: &CStr) {
        self.name.store(pointer(name), Ordering::Release);
    }
}

impl RawDevargs {
    /// An entry whose `args` and `bus` live as long as it does.
    pub fn new(name: &CStr, args: &CStr, bus: &RawBus) -> Self {
        const VIRTUAL: u32 = 2;
        let mut raw = Self {
            next: Default::default(),
            kind: VIRTUAL,
            policy: 0,
            name: [0; NAME_SIZE],
            args: Field::new(pointer(args)),
            bus: Field::new(std::ptr::from_ref(bus).cast_mut()),
            class: Field::default(),
            bus_str: Field::default(),
            class_str: Field::default(),
            data: Field::new(pointer(args)),
        };
        for (to, from) in raw.name[..NAME_SIZE - 1].iter_mut().zip(name.to_bytes()) {
            *to = *from;
        }
        raw
    }
}

impl RawDevice {
    /// Fills in what never changes; the strings and the bus live as long as the device.
    pub fn set_identity(&self, name: &CStr, bus: &RawBus, numa_node: i32) {
        self.name.store(pointer(name), Ordering::Release);
        self.bus.store(std::ptr::from_ref(bus).cast_mut(), Ordering::Release);
        self.numa_node.store(numa_node, Ordering::Release);
    }

    /// Sets or clears the driver: what `rte_dev_is_probed` looks at.
    pub fn set_driver(&self, driver: Option<&RawDriver>) {
        let driver = driver.map_or(null_mut(), |d| std::ptr::from_ref(d).cast_mut());
        self.driver.store(driver, Ordering::Release);
    }

    /// Sets or clears the devargs.
    pub fn set_devargs(&self, devargs: Option<&RawDevargs>) {
        let devargs = devargs.map_or(null_mut(), |d| std::ptr::from_ref(d).cast_mut());
        self.devargs.store(devargs, Ordering::Release);
    }
}

fn pointer(text: &CStr) -> *mut c_char {
    text.as_ptr().cast_mut()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::{offset_of, size_of};

    #[test]
    fn layouts_are_those_of_dpdk_22_11() {
        assert_eq!(size_of::<RawDevice>(), 64);
        assert_eq!(offset_of!(RawDevice, name), 16);
        assert_eq!(offset_of!(RawDevice, driver), 32);
        assert_eq!(offset_of!(RawDevice, bus), 40);
        assert_eq!(offset_of!(RawDevice, numa_node), 48);
        assert_eq!(offset_of!(RawDevice, devargs), 56);
        assert_eq!(size_of::<RawDevargs>(), 136);
        assert_eq!(offset_of!(RawDevargs, name), 24);
        assert_eq!(offset_of!(RawDevargs, args), 88);
        assert_eq!(offset_of!(RawDevargs, bus), 96);
        assert_eq!(offset_of!(RawDevargs, data), 128);
        assert_eq!(size_of::<RawDriver>(), 32);
        assert_eq!(offset_of!(RawDriver, name), 16);
        assert_eq!(size_of::<RawBus>(), 144);
        assert_eq!(offset_of!(RawBus, name), 16);
    }
}
