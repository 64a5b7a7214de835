//! The `vdev` bus of the embedded runtime: a device exists when devargs name it.

use std::ffi::CStr;

use crate::error::Result;
use crate::registry::{Bus, BusOps, Scan};

/// The bus name, as in DPDK.
pub const NAME: &CStr = c"vdev";

const UNKNOWN_NODE: i32 = -1;

/// The operations of the `vdev` bus.
pub struct Vdev;

impl BusOps for Vdev {
    /// A vdev is known by its driver: the name starts with the driver's.
    fn accepts(&self, bus: &Bus, device: &CStr) -> bool {
        bus.drivers().iter().any(|driver| driver.is_named_in(device))
    }

    fn scan(&self, scan: &Scan<'_>) -> Result<()> {
        let listed = scan.listed();
        let wanted =
            listed.iter().filter(|name| scan.wanted().is_none_or(|w| w == name.as_c_str()));
        wanted.filter(|name| !name.is_empty()).try_for_each(|name| scan.found(name, UNKNOWN_NODE))
    }
}
