//! The host's own versions of the functions that this library replaces, for calls that it has to
//! serve: an unknown host, or one with other processes.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::Platform;
use super::host::{EventCallback, Host};
use crate::error::{Error, Kind, Result};
use crate::ports::{DeviceId, Platform as _};

impl Host {
    /// `rte_dev_probe`
    pub fn stock_probe(&self, devargs: &CStr) -> Result<i32> {
        let probe = present(self.stock.dev_probe)?;
        // SAFETY: a C string.
        Ok(unsafe { probe(devargs.as_ptr()) })
    }

    /// `rte_dev_remove` of an unknown host: whether the device is one, only the host knows.
    pub fn stock_remove_unchecked(&self, device: DeviceId) -> Result<i32> {
        let remove = present(self.stock.dev_remove)?;
        // SAFETY: the application called rte_dev_remove with this pointer; we only stand between.
        Ok(unsafe { remove(device.as_ptr()) })
    }

    /// `rte_eal_hotplug_add`
    pub fn stock_hotplug_add(&self, bus: &CStr, device: &CStr, arguments: &CStr) -> Result<i32> {
        let add = present(self.stock.hotplug_add)?;
        // SAFETY: three C strings.
        Ok(unsafe { add(bus.as_ptr(), device.as_ptr(), arguments.as_ptr()) })
    }

    /// `rte_eal_hotplug_remove`
    pub fn stock_hotplug_remove(&self, bus: &CStr, device: &CStr) -> Result<i32> {
        let remove = present(self.stock.hotplug_remove)?;
        // SAFETY: two C strings.
        Ok(unsafe { remove(bus.as_ptr(), device.as_ptr()) })
    }

    /// `rte_dev_event_callback_register`
    ///
    /// # Safety
    /// `callback` may be called with `argument` until it is unregistered.
    pub unsafe fn stock_callback_register(
        &self,
        device: *const c_char,
        callback: Option<EventCallback>,
        argument: *mut c_void,
    ) -> Result<i32> {
        let register = present(self.stock.callback_register)?;
        // SAFETY: passed on to the caller.
        Ok(unsafe { register(device, callback, argument) })
    }

    /// `rte_dev_event_callback_unregister`
    ///
    /// # Safety
    /// `device` is NULL or a C string.
    pub unsafe fn stock_callback_unregister(
        &self,
        device: *const c_char,
        callback: Option<EventCallback>,
        argument: *mut c_void,
    ) -> Result<i32> {
        let unregister = present(self.stock.callback_unregister)?;
        // SAFETY: passed on to the caller.
        Ok(unsafe { unregister(device, callback, argument) })
    }

    /// `rte_dev_event_callback_process`
    pub fn stock_callback_process(&self, device: &CStr, event: c_int) -> Result<i32> {
        let process = present(self.stock.callback_process)?;
        // SAFETY: a C string and a number.
        unsafe { process(device.as_ptr(), event) };
        Ok(0)
    }

    /// One of the host's functions that take nothing: monitor start and stop, handler on and off.
    pub fn stock_switch(&self, switch: Option<unsafe extern "C" fn() -> c_int>) -> Result<i32> {
        let switch = present(switch)?;
        // SAFETY: takes nothing.
        Ok(unsafe { switch() })
    }
}

impl Platform {
    /// `rte_dev_remove` of the host for a device that one of its buses lists.
    pub fn stock_remove(&self, device: DeviceId) -> Result<i32> {
        if self.locate(device).is_none() {
            return Err(Error::new(Kind::NoDevice, "detach: no bus lists this device"));
        }
        self.hosted.host.stock_remove_unchecked(device)
    }
}

fn present<F>(function: Option<F>) -> Result<F> {
    function.ok_or_else(|| {
        Error::new(Kind::NotSupported, "the DPDK in this process does not have this function")
    })
}
