//! `hotplug_null`: a vdev driver that takes any device and does nothing, for a first try.
//!
//! Its arguments: `fail=ERRNO` lets the probe fail with `-ERRNO`, to try out error handling.

use std::ffi::CStr;
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::proto::kvargs;
use crate::registry::{Device, DriverOps};

/// The driver's name; devices are `hotplug_null0`, `hotplug_null1`, …
pub const NAME: &CStr = c"hotplug_null";

/// The operations of `hotplug_null`.
pub struct Null;

impl DriverOps for Null {
    fn probe(&self, device: &Arc<Device>) -> Result<()> {
        let arguments = device.arguments();
        let pairs = kvargs::parse(arguments.to_bytes()).unwrap_or_default();
        let Some(value) = kvargs::get(&pairs, b"fail") else { return Ok(()) };
        match std::str::from_utf8(value).ok().and_then(|v| v.parse::<i32>().ok()) {
            Some(errno) if errno > 0 => {
                Err(Error::new(Kind::Code(-errno), "asked to by its argument fail="))
            }
            _ => Err(Error::new(Kind::Invalid, "fail= takes a positive errno")),
        }
    }

    fn remove(&self, _device: &Arc<Device>) -> Result<()> {
        Ok(())
    }
}
