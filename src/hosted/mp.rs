//! The place of EAL's own hotplug in its multi-process messages: our handler stands there instead.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::lock::OnceCell;

use super::host::{Eal, Host, MpAction, text};
use super::{Hosted, eal_socket};
use crate::error::{Error, Kind, Result};
use crate::proto::eal::{self, EAL_REQUEST_SIZE, EalRequest, LENGTH_AT, PARAM_AT};

/// The action of EAL's hotplug.
pub const ACTION: &CStr = c"eal_dev_mp_request";

/// Who gets the requests of processes without this library.
pub trait Server: Sync {
    /// A request has come from the EAL socket at `peer`. Runs on EAL's thread: must not wait.
    fn requested(&'static self, request: EalRequest, peer: PathBuf);
    /// What has come from there is no request that is known. As above.
    fn misunderstood(&'static self, param: [u8; EAL_REQUEST_SIZE], peer: PathBuf);
}

static SERVER: OnceCell<&'static dyn Server> = OnceCell::new();

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// Requests come to us from now on.
    Ours,
    /// EAL has no multi-process messages: `--no-shconf`, `--in-memory`.
    Off,
    /// EAL has not been initialised.
    NotYet,
}

/// Our handler, for EAL to register in place of its own.
pub fn handler(server: &'static dyn Server) -> MpAction {
    SERVER.get_or_init(|| server);
    on_request
}

/// What the host's `rte_mp_action_register` said of our handler.
pub fn outcome(host: &Host, code: c_int) -> Result<Registered> {
    if code == 0 {
        return Ok(Registered::Ours);
    }
    match errno(host) {
        libc::ENOTSUP => Ok(Registered::Off),
        errno => Err(Error::new(
            Kind::Code(-errno),
            format!("multi-process: EAL refused our handler: errno {errno}"),
        )),
    }
}

/// Takes the place after EAL has registered its own handler: a DPDK that was initialised behind our
/// back.
pub fn take_over(host: &Host, eal: &Eal, server: &'static dyn Server) -> Result<Registered> {
    let before = errno(host);
    let ours = handler(server);
    // SAFETY: a C string and a handler that lives for ever.
    let register = || unsafe { (eal.mp_action_register)(ACTION.as_ptr(), Some(ours)) };
    // SAFETY: a C string.
    let unregister = || unsafe { (eal.mp_action_unregister)(ACTION.as_ptr()) };
    let registered = match register() {
        0 => {
            // EAL is not there yet, and would fail to register its own.
            unregister();
            Ok(Registered::NotYet)
        }
        _ if errno(host) == libc::EEXIST => {
            unregister();
            outcome(host, register())
        }
        code => outcome(host, code),
    };
    set_errno(host, before);
    registered
}

/// Registers EAL's own handler again in place of ours.
pub fn put_back(host: &Host, eal: &Eal, action: MpAction) {
    let before = errno(host);
    // SAFETY: a C string, and the handler that EAL itself has for it.
    unsafe {
        (eal.mp_action_unregister)(ACTION.as_ptr());
        (eal.mp_action_register)(ACTION.as_ptr(), Some(action));
    }
    set_errno(host, before);
}

/// How long the full queue of a process without this library is tried.
pub const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// Answers a request on EAL's wire; a peer that does not read is given up after `limit`.
pub fn reply(hosted: &Hosted, request: &EalRequest, peer: &Path, limit: Duration) {
    answer(hosted, &request.encode(), peer, limit);
}

fn answer(hosted: &Hosted, param: &[u8; EAL_REQUEST_SIZE], peer: &Path, limit: Duration) {
    match eal_socket::own(hosted) {
        Some(socket) => {
            socket.send(eal::Kind::Reply, &eal::message(eal::ACTION, param), peer, limit);
        }
        None => log::error!("multi-process: EAL's socket is not found: no answer to a process"),
    }
}

unsafe extern "C" fn on_request(message: *const c_void, peer: *const c_void) -> c_int {
    // SAFETY: EAL calls us with a whole rte_mp_msg and the path of its sender.
    let taken = uncancelled(|| unsafe { take(message, peer) });
    if taken.unwrap_or(false) { 0 } else { -1 }
}

/// Runs a handler on EAL's thread, which EAL cancels at cleanup: that must not unwind through Rust,
/// and neither must a panic through C.
pub(super) fn uncancelled<T>(handler: impl FnOnce() -> T) -> Option<T> {
    let mut state = 0;
    // SAFETY: changes the calling thread's own state, and puts it back below.
    unsafe { libc_cancel::pthread_setcancelstate(libc_cancel::DISABLE, &mut state) };
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(handler));
    // SAFETY: as above.
    unsafe { libc_cancel::pthread_setcancelstate(state, std::ptr::null_mut()) };
    caught.ok()
}

/// # Safety
/// `message` is a `struct rte_mp_msg`, `peer` a C string.
unsafe fn take(message: *const c_void, peer: *const c_void) -> bool {
    // SAFETY: the caller's promise; the offsets are the same in every version.
    let (length, param, peer) = unsafe {
        (
            message.byte_add(LENGTH_AT).cast::<c_int>().read_unaligned(),
            message.byte_add(PARAM_AT).cast::<[u8; EAL_REQUEST_SIZE]>().read_unaligned(),
            text(peer.cast::<c_char>()),
        )
    };
    let (Some(peer), Some(server)) = (peer, SERVER.get()) else { return false };
    let peer = PathBuf::from(OsStr::from_bytes(peer.to_bytes()));
    if length != EAL_REQUEST_SIZE as c_int {
        return false;
    }
    match EalRequest::decode(&param) {
        Some(request) => server.requested(request, peer),
        None => server.misunderstood(param, peer),
    }
    true
}

/// Refuses a request that makes no sense, in its own words.
pub fn refuse(hosted: &Hosted, mut param: [u8; EAL_REQUEST_SIZE], peer: &Path) {
    param[EAL_REQUEST_SIZE - 4..].copy_from_slice(&(-libc::EINVAL).to_ne_bytes());
    answer(hosted, &param, peer, Duration::ZERO);
}

fn errno(host: &Host) -> c_int {
    // SAFETY: the calling thread's own variable.
    host.rte_errno().map_or(0, |errno| unsafe { errno.read() })
}

fn set_errno(host: &Host, value: c_int) {
    if let Some(errno) = host.rte_errno() {
        // SAFETY: the calling thread's own variable.
        unsafe { errno.write(value) };
    }
}

/// Not in the `libc` crate.
mod libc_cancel {
    use std::ffi::c_int;

    /// `PTHREAD_CANCEL_DISABLE`
    pub const DISABLE: c_int = 1;

    unsafe extern "C" {
        pub fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    }
}
