//! Where EAL lets control threads run.

use std::ffi::c_void;

use nix::sched::CpuSet;

use super::host::Eal;
use crate::sys::thread::own_affinity;

/// The processors of a control thread, asked of one that EAL starts: a thread that we start would
/// inherit the one processor of the main lcore.
pub fn control_affinity(eal: &Eal) -> Option<CpuSet> {
    extern "C" fn look(place: *mut c_void) {
        // SAFETY: the local below, which nobody else uses until this thread was joined.
        unsafe { *place.cast::<Option<CpuSet>>() = own_affinity() };
    }
    extern "C" fn returning_pointer(place: *mut c_void) -> *mut c_void {
        look(place);
        std::ptr::null_mut()
    }
    extern "C" fn returning_number(place: *mut c_void) -> u32 {
        look(place);
        0
    }
    let mut affinity: Option<CpuSet> = None;
    let place: *mut c_void = (&raw mut affinity).cast();
    let mut thread: libc::pthread_t = 0;
    let name = c"hotplug-look".as_ptr();
    // SAFETY: the signatures of these functions; the thread is joined before `affinity` is read.
    unsafe {
        // Where both are there, the newer one is not yet what it became.
        let code = match (eal.ctrl_thread_create, eal.thread_create_control) {
            (Some(create), _) => {
                create(&mut thread, name, std::ptr::null(), returning_pointer, place)
            }
            (None, Some(create)) => create(&mut thread, name, returning_number, place),
            (None, None) => return None,
        };
        if code != 0 {
            return None;
        }
        libc::pthread_join(thread, std::ptr::null_mut());
    }
    affinity
}
