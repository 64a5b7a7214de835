//! `rte_eth_dev_attach` and `rte_eth_dev_detach`, gone from DPDK since 18.11.

use std::ffi::{c_char, c_int};

use super::{is_null, required, returning_code};
use crate::process::process;

/// The room that rte_eth_dev_detach needs in its name buffer, in bytes.
const NAME_SIZE: usize = 64;

/// Attaches a device and tells its Ethernet port.
///
/// @param devargs
///   As for rte_dev_probe: a PCI address, or a virtual device name with its arguments. Not kept.
/// @param port_id
///   Set to the number of the device's first port on success, else left as it is.
/// @return
///   0 on success;
///   -EINVAL: an argument is NULL, or devargs name only a class;
///   -EEXIST: the device is attached already;
///   -ENODEV: the driver made no port; the device is detached again;
///   -ENOTSUP: there is no ethdev in this process;
///   otherwise as rte_dev_probe.
///
/// May be called from any thread. As the function of the same name in the Port Hotplug Framework of
/// DPDK 2.0 to 18.08, thread safe.
///
/// # Safety
/// `devargs` is NULL or a C string, `port_id` is NULL or points to room for a uint16_t.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_eth_dev_attach(devargs: *const c_char, port_id: *mut u16) -> c_int {
    returning_code("rte_eth_dev_attach", || {
        // SAFETY: the caller's promise.
        let devargs = unsafe { required(devargs, "devargs") }?;
        if port_id.is_null() {
            return Err(is_null("port_id"));
        }
        let port = process().attach_port(devargs)?;
        // SAFETY: not NULL; the rest is the caller's promise.
        unsafe { port_id.write(port) };
        Ok(0)
    })
}

/// Detaches the device of a port that is stopped and closed.
///
/// @param port_id
///   The port that the device had. The other ports of the device must be closed as well. DPDK gives
///   the number of a closed port away again: while another device has it open it cannot be detached,
///   and of several devices that have closed it the one that had it first is.
/// @param name
///   Room for 64 bytes: the name of the detached device, "0000:02:00.0" or "net_null0". May be NULL.
/// @return
///   0 on success;
///   -EBUSY: the port, or another port of its device, is not stopped and closed;
///   -ENODEV: no device is known to have had this port, or it is detached already;
///   -ENOTSUP: there is no ethdev in this process;
///   otherwise as rte_dev_remove.
///
/// May be called from any thread. As the function of the same name in the Port Hotplug Framework of
/// DPDK 2.0 to 18.08, thread safe, and with any kernel driver.
///
/// # Safety
/// `name` is NULL or points to room for 64 bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_eth_dev_detach(port_id: u16, name: *mut c_char) -> c_int {
    returning_code("rte_eth_dev_detach", || {
        let detached = process().detach_port(port_id)?;
        if !name.is_null() {
            let bytes = detached.to_bytes();
            let length = bytes.len().min(NAME_SIZE - 1);
            // SAFETY: the caller's promise: 64 bytes of room; length and the NUL fit.
            unsafe {
                std::ptr::copy_nonoverlapping(bytes.as_ptr().cast(), name, length);
                name.add(length).write(0);
            }
        }
        Ok(0)
    })
}
