//! Work on EAL's interrupt thread, by its alarms: never more than one is outstanding.

use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::lock::OnceCell;

use super::host::{AlarmCallback, Eal};

/// The work; `true` asks for another turn.
static WORK: OnceCell<(Alarm, fn() -> bool)> = OnceCell::new();
static ARMED: AtomicBool = AtomicBool::new(false);

/// EAL's alarms.
#[derive(Clone, Copy)]
pub struct Alarm {
    set: unsafe extern "C" fn(u64, AlarmCallback, *mut c_void) -> c_int,
    cancel: unsafe extern "C" fn(AlarmCallback, *mut c_void) -> c_int,
}

impl Alarm {
    /// The alarms of this EAL, which are to do this work. There is one kind of work per process.
    pub fn of(eal: &Eal, work: fn() -> bool) -> Option<Self> {
        let alarm = Self { set: eal.alarm_set?, cancel: eal.alarm_cancel? };
        Some(WORK.get_or_init(|| (alarm, work)).0)
    }

    /// Lets the work be done soon; `false` when EAL cannot, before it is initialised for instance.
    pub fn arm(self) -> bool {
        if ARMED.swap(true, Ordering::AcqRel) {
            return true;
        }
        // SAFETY: the C signature; the function and its NULL argument live for ever.
        let armed = unsafe { (self.set)(1, fire, ptr::null_mut()) } == 0;
        if !armed {
            ARMED.store(false, Ordering::Release);
        }
        armed
    }

    /// Takes it back, after waiting for work that is being done in another thread.
    pub fn cancel(self) {
        // SAFETY: as above.
        unsafe { (self.cancel)(fire, ptr::null_mut()) };
        ARMED.store(false, Ordering::Release);
    }
}

extern "C" fn fire(_argument: *mut c_void) {
    let Some((alarm, work)) = WORK.get() else { return };
    // Before the work: what comes while it is done needs another turn.
    ARMED.store(false, Ordering::Release);
    // A panic must not reach EAL. It has been reported by the panic hook.
    if std::panic::catch_unwind(work).unwrap_or(true) {
        alarm.arm();
    }
}
