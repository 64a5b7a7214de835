//! The C ABI: pointer and string checks, and the way from a Rust result to a C return value.
//!
//! What holds for every function:
//!
//! - **Panics** never reach C: they are caught, logged and returned as -EIO.
//! - **NULL** for a required argument returns -EINVAL, where DPDK's own functions would crash.
//! - **Strings** are NUL-terminated, read during the call only, and never kept by pointer.
//! - **Threads**: every function may be called from any thread, and from inside a driver's probe or
//!   remove or an event callback, unless it says otherwise. None may be called in a signal handler.
//! - **Failures** are one log line that says what failed and why.

#![allow(non_camel_case_types)]
// What replaces DPDK's functions has another name where DPDK is linked in: see sys/dl/linked.rs.
#![cfg_attr(feature = "static-dpdk", allow(unused_attributes))]

mod auto;
mod bus;
mod dev;
mod device;
mod driver;
mod eal;
mod ethdev;
mod event;
mod group;
mod load;
mod pci;
mod uevent;

use std::ffi::{CStr, c_char, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use auto::*;
pub use bus::*;
pub use dev::*;
pub use device::*;
pub use driver::*;
pub use eal::*;
pub use ethdev::*;
pub use event::*;
pub use group::*;
pub use pci::*;
pub use uevent::*;

use crate::error::{Error, Kind, Result};
use crate::sys::fork;

/// Runs the body of an exported function: its value, or `-errno` after one ERR line.
fn returning_code(function: &str, body: impl FnOnce() -> Result<c_int>) -> c_int {
    run(function, log::Level::Error, body).unwrap_or_else(|code| code)
}

/// The same for a failure that is an ordinary answer: one DEBUG line.
fn returning_answer(function: &str, body: impl FnOnce() -> Result<c_int>) -> c_int {
    run(function, log::Level::Debug, body).unwrap_or_else(|code| code)
}

/// The same for functions that return -1 and leave the reason in errno.
fn returning_minus_one(function: &str, body: impl FnOnce() -> Result<c_int>) -> c_int {
    run(function, log::Level::Error, body).unwrap_or_else(|code| {
        nix::errno::Errno::from_raw(-code).set();
        -1
    })
}

/// The same for functions that return a pointer, NULL on failure.
fn returning_pointer<T>(function: &str, body: impl FnOnce() -> Result<*const T>) -> *const T {
    run(function, log::Level::Debug, body).unwrap_or(std::ptr::null())
}

fn run<T>(
    function: &str,
    level: log::Level,
    body: impl FnOnce() -> Result<T>,
) -> std::result::Result<T, c_int> {
    if fork::is_stuck() {
        return Err(refuse_in_child(function));
    }
    let caught = catch_unwind(AssertUnwindSafe(|| {
        body().map_err(|error| {
            log::log!(level, "{function}: {error}");
            error.code()
        })
    }));
    caught.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        let error = Error::new(Kind::Panic, format!("a defect of this library: {message}"));
        // A logger that panics must not take the process down either.
        let _ = catch_unwind(AssertUnwindSafe(|| log::error!("{function}: {error}")));
        Err(error.code())
    })
}

/// A thread that is not in this process holds what the call needs, for ever.
fn refuse_in_child(function: &str) -> c_int {
    let text = format!(
        "HOTPLUG: ERR: {function}: this process was forked while another thread was in the middle of a \
         call: nothing works here but exec\n"
    );
    // Not through the logger, which may be locked too.
    let _ = nix::unistd::write(std::io::stderr(), text.as_bytes());
    -libc::EDEADLK
}

/// A required string argument.
///
/// # Safety
/// `pointer` is NULL or a C string that lives during the call.
unsafe fn required<'a>(pointer: *const c_char, what: &'static str) -> Result<&'a CStr> {
    // SAFETY: the caller's promise.
    unsafe { optional(pointer) }.ok_or_else(|| Error::new(Kind::Invalid, format!("{what} is NULL")))
}

/// A string argument that may be NULL.
///
/// # Safety
/// `pointer` is NULL or a C string that lives during the call.
unsafe fn optional<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: not NULL; the rest is the caller's promise.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

/// The error for a NULL that is not a string.
fn is_null(what: &'static str) -> Error {
    Error::new(Kind::Invalid, format!("{what} is NULL"))
}

/// A struct of the caller's whose first member says how large it is.
///
/// # Safety
/// `pointer` is NULL or a struct whose size member is set, and whose size it tells truly.
unsafe fn sized<'a, T>(
    pointer: *mut T,
    what: &'static str,
    size: impl Fn(&T) -> usize,
) -> Result<&'a mut T> {
    // SAFETY: the caller's promise.
    let value = unsafe { pointer.as_mut() }.ok_or_else(|| is_null(what))?;
    if size(value) != size_of::<T>() {
        return Err(Error::new(Kind::Invalid, format!("{what}: its size is not set to sizeof")));
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_code() {
        assert_eq!(returning_code("test", || panic!("{}", 1)), -libc::EIO);
        assert_eq!(returning_minus_one("test", || panic!("x")), -1);
        assert_eq!(nix::errno::Errno::last(), nix::errno::Errno::EIO);
    }

    #[test]
    fn an_error_becomes_its_code() {
        let fail = || Err(Error::new(Kind::Busy, "x"));
        assert_eq!(returning_code("test", fail), -libc::EBUSY);
        assert_eq!(returning_code("test", || Ok(3)), 3);
    }
}
