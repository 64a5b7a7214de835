//! `rte_eal_init`, `rte_eal_cleanup`, `rte_mp_action_register`: DPDK's own in a DPDK process, with
//! our part before or after; in the embedded mode the start and the end of the runtime.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::{is_null, optional, returning_code, returning_minus_one};
use crate::error::{Error, Kind, Result};
use crate::process::process;

/// Handles a multi-process message (`rte_mp_t`).
pub type rte_mp_t = Option<unsafe extern "C" fn(msg: *const c_void, peer: *const c_void) -> c_int>;

/// Initialises DPDK, or the embedded runtime when there is no DPDK in the process.
///
/// Embedded, these options mean something: --vdev, -a/--allow, -b/--block, --log-level,
/// --file-prefix and --proc-type, which name a group of processes and the place in it; with
/// --no-shconf or --in-memory the process is alone. --no-pci and --no-huge are always so. Other
/// options of EAL are accepted with one warning. A secondary first gets the devices of its primary.
/// Then devices that registered buses find are attached, then those of --vdev, which a secondary
/// keeps to itself. A first call of another function does the same without options, and alone. After
/// rte_eal_cleanup it may be called again.
///
/// @param argc
///   The number of elements of argv.
/// @param argv
///   The program's arguments, the program name first. The last one that was EAL's becomes the
///   program name.
/// @return
///   How many arguments were EAL's; the application's start at argv[result + 1].
///   -1 on failure, the reason in rte_errno as DPDK's own function leaves it, or embedded in errno:
///   EALREADY: called twice; EINVAL: a bad option or argv is NULL; EFAULT: devargs that no bus takes;
///   EBUSY: the group has a primary already; ENOENT: it has none to be a secondary of; ENOMSG: the
///   primary does not answer; ENOTSUP: it refuses; EACCES and others: the runtime directory cannot be
///   made; EIO: a defect of this library.
///
/// To be called once, from the main thread. As the function of the same name in DPDK.
///
/// # Safety
/// `argv` is NULL or has `argc` C strings.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_eal_init"))]
pub unsafe extern "C" fn rte_eal_init(argc: c_int, argv: *mut *mut c_char) -> c_int {
    returning_minus_one("rte_eal_init", || {
        let Some(host) = process().host() else {
            // SAFETY: the caller's promise.
            return unsafe { init_embedded(argc, argv) };
        };
        let first = process().host_starts();
        let init = host.next_init().ok_or_else(no_such_function)?;
        // SAFETY: the caller's promise is the same.
        let result = unsafe { init(argc, argv) };
        if result >= 0 {
            process().host_started();
        } else if first {
            process().abandon_group();
        }
        Ok(result)
    })
}

/// # Safety
/// As `rte_eal_init`.
unsafe fn init_embedded(argc: c_int, argv: *mut *mut c_char) -> Result<c_int> {
    let count = usize::try_from(argc).unwrap_or(0);
    if argv.is_null() && count > 0 {
        return Err(is_null("argv"));
    }
    let words: Vec<&[u8]> = (0..count)
        // SAFETY: argv has argc elements.
        .map(|at| unsafe { *argv.add(at) })
        .take_while(|word| !word.is_null())
        // SAFETY: each is a C string.
        .map(|word| unsafe { CStr::from_ptr(word) }.to_bytes())
        .collect();
    let consumed = process().init_embedded(&words)?;
    if consumed < words.len() {
        // SAFETY: both indices are inside argv.
        unsafe { argv.add(consumed).write(*argv) };
    }
    Ok(c_int::try_from(consumed).unwrap_or(c_int::MAX))
}

/// Ends DPDK, or the embedded runtime: every attached device is detached, but for those whose driver
/// fails to remove them, which are logged.
///
/// Buses and drivers that the application registered stay registered. Event callbacks that run are waited
/// for, unless this is called inside of one; no further event is told.
///
/// @return
///   0 on success; -EFAULT as DPDK; -EIO on a defect of this library.
///
/// To be called once, from the main thread. As the function of the same name in DPDK.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_eal_cleanup"))]
pub extern "C" fn rte_eal_cleanup() -> c_int {
    returning_code("rte_eal_cleanup", || {
        let Some(host) = process().host() else {
            process().stop_embedded();
            return Ok(0);
        };
        process().host_stops();
        let cleanup = host.next_cleanup().ok_or_else(no_such_function)?;
        // SAFETY: takes nothing.
        let result = unsafe { cleanup() };
        process().has_left_group();
        Ok(result)
    })
}

/// Registers a handler of multi-process messages with DPDK.
///
/// @param name
///   The action.
/// @param action
///   Its handler.
/// @return
///   As DPDK's own function; embedded -1 with errno ENOTSUP.
///
/// May be called from any thread.
///
/// # Safety
/// As DPDK's own function.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_mp_action_register"))]
pub unsafe extern "C" fn rte_mp_action_register(name: *const c_char, action: rte_mp_t) -> c_int {
    returning_minus_one("rte_mp_action_register", || {
        let Some(host) = process().host() else {
            return Err(Error::new(
                Kind::NotSupported,
                "the embedded runtime has no multi-process messages",
            ));
        };
        let register = host.next_mp_action_register().ok_or_else(no_such_function)?;
        // SAFETY: the caller's promise.
        let known = unsafe { optional(name) };
        // SAFETY: the caller's promise is the same; our own handler lives for ever.
        process().host_registers(host, known, action, |action| unsafe { register(name, action) })
    })
}

fn no_such_function() -> Error {
    Error::new(Kind::NotSupported, "the DPDK in this process does not have this function")
}
