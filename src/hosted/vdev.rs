//! The vdev bus between processes.
//!
//! The bus of a secondary scans by asking the primary's, which then tells every vdev to every
//! secondary, waiting for each. So ours stands in the place of the bus's message handler: a secondary
//! hands the bus's own handler just the one device that is wanted, as if the primary had told it, and
//! asks nobody; and a primary answers a secondary that starts by itself, and only it.
//!
//! The device's arguments stay empty in a secondary, as they do in effect with DPDK's scan: some
//! drivers take that as "use the primary's".

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};
use std::time::Duration;

use crate::sys::lock::OnceCell;
use crate::sys::lock::ReentrantMutex;

use super::bus::HostBus;
use super::eal_socket;
use super::host::{MpAction, text};
use super::mp::uncancelled;
use super::{Hosted, Platform};
use crate::proto::eal::{Kind, MESSAGE_SIZE, PARAM_AT, message};
use crate::sys::dl;

/// The action under which the bus registers its handler.
pub const ACTION: &CStr = c"bus_vdev_mp";

/// `VDEV_SCAN_REQ`: which vdevs are there?
const SCAN_REQUEST: i32 = 1;
/// `VDEV_SCAN_ONE`: there is this one.
const SCAN_ONE: i32 = 2;
/// `VDEV_SCAN_REP`: there were so many.
const SCAN_REPLY: i32 = 3;
/// `struct vdev_param`: type, num, name[64].
const PARAM_SIZE: usize = 72;
const NAME_SIZE: usize = 64;
/// More than any version's `struct rte_mp_msg`.
const MESSAGE_ROOM: usize = 2048;
/// A secondary that starts waits for 5 s.
const TELL_LIMIT: Duration = Duration::from_secs(4);

static HANDLER: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());
/// Whether what other processes announce goes to the bus.
static LISTENS: AtomicBool = AtomicBool::new(true);
/// Whether all messages go to the bus, as if nobody stood in its handler's place.
static PASSES: AtomicBool = AtomicBool::new(false);
static HOSTED: OnceCell<&'static Hosted> = OnceCell::new();

/// The bus registers its handler: this is the one for EAL to call instead.
pub fn capture(platform: &Platform, handler: Option<MpAction>) -> Option<MpAction> {
    let handler = handler?;
    HOSTED.get_or_init(|| platform.hosted);
    HANDLER.store(handler as *mut c_void, Ordering::Release);
    Some(on_message)
}

/// EAL begins to start: its scan needs what the primary announces.
pub fn listen() {
    LISTENS.store(true, Ordering::Release);
}

/// EAL has started. A stock primary announces its devices to all whenever a secondary starts, and the
/// bus would list them without its lock, while others work on the list. An attach announces its device
/// by itself.
pub fn stop_listening() {
    LISTENS.store(false, Ordering::Release);
}

/// The host turned out not to be known: its bus answers for itself.
pub fn give_back() {
    PASSES.store(true, Ordering::Release);
}

/// Whether devices can be announced.
pub fn is_captured() -> bool {
    !HANDLER.load(Ordering::Acquire).is_null()
}

/// Adds a device to the bus's list; nothing happens when it is there. `under_lock` runs what it is
/// given under the bus's list lock, or not at all when the list is empty.
pub fn announce(device: &CStr, under_lock: impl FnOnce(&mut dyn FnMut())) {
    let Some(param) = param(SCAN_ONE, 1, device) else { return };
    let bytes = message(&ACTION.to_string_lossy(), &param);
    let mut done = false;
    let mut insert = || {
        if !done {
            done = true;
            insert(&bytes);
        }
    };
    under_lock(&mut insert);
    insert();
}

/// Lets the bus's handler add a device. It takes no lock: calls must not meet.
fn insert(bytes: &[u8; MESSAGE_SIZE]) {
    // The bus waits for its own lock, under which drivers run.
    static INSERT: ReentrantMutex = ReentrantMutex::new();
    #[repr(align(8))]
    struct Message([u8; MESSAGE_ROOM]);
    let mut whole = Message([0; MESSAGE_ROOM]);
    whole.0[..MESSAGE_SIZE].copy_from_slice(bytes);
    let _alone = INSERT.lock();
    // SAFETY: a whole struct rte_mp_msg of any version; the peer is not read for this type.
    unsafe { pass_on(whole.0.as_ptr().cast(), c"".as_ptr().cast()) };
}

/// # Safety
/// As the bus's handler.
unsafe fn pass_on(message: *const c_void, peer: *const c_void) -> c_int {
    let Some(handler) = std::ptr::NonNull::new(HANDLER.load(Ordering::Acquire)) else { return -1 };
    // SAFETY: the bus registered it as an rte_mp_t; the rest is the caller's promise.
    unsafe {
        let handler: unsafe extern "C" fn(*const c_void, *const c_void) -> c_int =
            dl::as_function(handler);
        handler(message, peer)
    }
}

unsafe extern "C" fn on_message(message: *const c_void, peer: *const c_void) -> c_int {
    uncancelled(|| {
        // SAFETY: EAL calls with a whole rte_mp_msg; the offsets are the same in every version.
        let (kind, bytes) = unsafe {
            (
                message.byte_add(PARAM_AT).cast::<i32>().read_unaligned(),
                message.cast::<[u8; MESSAGE_SIZE]>().read_unaligned(),
            )
        };
        match kind {
            // SAFETY: what EAL has called us with.
            _ if PASSES.load(Ordering::Acquire) => unsafe { pass_on(message, peer) },
            SCAN_ONE => {
                if LISTENS.load(Ordering::Acquire) {
                    insert(&bytes);
                }
                0
            }
            // SAFETY: EAL hands handlers the path of the sender.
            SCAN_REQUEST if unsafe { text(peer.cast::<c_char>()) }.is_some_and(tell_all) => 0,
            // SAFETY: what EAL has called us with.
            _ => unsafe { pass_on(message, peer) },
        }
    })
    .unwrap_or(-1)
}

/// Tells a secondary that starts which vdevs there are; `false` when EAL's socket is not found.
fn tell_all(peer: &CStr) -> bool {
    let Some(hosted) = HOSTED.get() else { return false };
    let (Some(socket), Some(bus)) = (eal_socket::own(hosted), HostBus::named(hosted, c"vdev"))
    else {
        return false;
    };
    let peer = Path::new(OsStr::from_bytes(peer.to_bytes()));
    let action = ACTION.to_string_lossy();
    let names: Vec<CString> =
        bus.names().into_iter().filter(|name| bus.is_for_others(name)).collect();
    let mut told = 0;
    for param in names.iter().filter_map(|name| param(SCAN_ONE, 1, name)) {
        // One that does not read will not start: no need to try the rest.
        if !socket.send(Kind::Message, &message(&action, &param), peer, TELL_LIMIT) {
            break;
        }
        told += 1;
    }
    if let Some(param) = param(SCAN_REPLY, told, c"") {
        socket.send(Kind::Reply, &message(&action, &param), peer, Duration::ZERO);
    }
    true
}

/// A `struct vdev_param`; `None` for a name that it has no room for.
fn param(kind: i32, number: i32, name: &CStr) -> Option<[u8; PARAM_SIZE]> {
    let name = name.to_bytes();
    if name.len() >= NAME_SIZE {
        return None;
    }
    let mut param = [0; PARAM_SIZE];
    param[..4].copy_from_slice(&kind.to_ne_bytes());
    param[4..8].copy_from_slice(&number.to_ne_bytes());
    param[8..8 + name.len()].copy_from_slice(name);
    Some(param)
}
