//! Work on EAL's interrupt thread whenever a descriptor is readable: no hand-over, unlike an alarm.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::host::{Eal, InterruptCallback as Callback};

/// `RTE_INTR_HANDLE_DEV_EVENT`: EAL itself does not read the descriptor. The same in 21.11 … 26.07.
const DEVICE_EVENTS: c_int = 9;
/// `-EAGAIN` of `rte_intr_callback_unregister`: the callback runs.
const RUNS: c_int = -libc::EAGAIN;

/// How long to wait before looking again whether the interrupt thread is done.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Whether the interrupt thread does work of ours.
static WORKING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether it is this thread that does.
    static WORKS: Cell<bool> = const { Cell::new(false) };
}

/// `rte_intr_unregister_callback_fn`
type Unregistered = extern "C" fn(*mut c_void, *mut c_void);

/// EAL's functions for interrupts; since 21.11, when a handle became opaque.
#[derive(Clone, Copy)]
struct Functions {
    alloc: unsafe extern "C" fn(u32) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    set_fd: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    set_type: unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
    register: unsafe extern "C" fn(*mut c_void, Callback, *mut c_void) -> c_int,
    unregister: unsafe extern "C" fn(*mut c_void, Callback, *mut c_void) -> c_int,
    unregister_later:
        unsafe extern "C" fn(*mut c_void, Callback, *mut c_void, Unregistered) -> c_int,
}

/// A descriptor that EAL's interrupt thread watches, until this is dropped: work that is being done goes
/// on.
pub struct Interrupt {
    registration: NonNull<Registration>,
}

// SAFETY: EAL's functions may be called from any thread, and the rest is not changed.
unsafe impl Send for Interrupt {}

/// Lives as long as EAL may look at it; it keeps the descriptor open, as EAL ends the process when it
/// meets one that is not.
struct Registration {
    functions: Functions,
    handle: NonNull<c_void>,
    _descriptor: Arc<dyn AsFd + Send + Sync>,
    work: Work,
}

type Work = Box<dyn Fn() + Send + Sync>;

impl Interrupt {
    /// Lets EAL do the work whenever the descriptor is readable; `None` where EAL cannot.
    pub fn watch(
        eal: &Eal,
        watched: Arc<dyn AsFd + Send + Sync>,
        work: impl Fn() + Send + Sync + 'static,
    ) -> Option<Self> {
        let functions = Functions {
            alloc: eal.intr_alloc?,
            free: eal.intr_free?,
            set_fd: eal.intr_set_fd?,
            set_type: eal.intr_set_type?,
            register: eal.intr_register?,
            unregister: eal.intr_unregister?,
            unregister_later: eal.intr_unregister_later?,
        };
        let descriptor = watched.as_fd().as_raw_fd();
        // SAFETY: asks for a private handle.
        let handle = NonNull::new(unsafe { (functions.alloc)(0) })?;
        let work = Box::new(work);
        let registration = Registration { functions, handle, _descriptor: watched, work };
        let registration: NonNull<_> = Box::leak(Box::new(registration)).into();
        let (handle, argument) = (handle.as_ptr(), registration.as_ptr().cast());
        // SAFETY: a handle of EAL's; the callback's argument lives until it is unregistered.
        let code = unsafe {
            match (functions.set_fd)(handle, descriptor)
                | (functions.set_type)(handle, DEVICE_EVENTS)
            {
                0 => (functions.register)(handle, ready, argument),
                failed => failed,
            }
        };
        if code == 0 {
            return Some(Self { registration });
        }
        // SAFETY: it was not registered.
        unsafe { drop_registration(registration) };
        None
    }

    /// Waits until none of the work is being done, unless this is a part of it.
    pub fn settle() {
        while WORKING.load(Ordering::Acquire) && !WORKS.get() {
            std::thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        // SAFETY: alive until it is unregistered, here or by EAL when the work is done.
        let Registration { functions, handle, .. } = unsafe { self.registration.as_ref() };
        let (functions, handle) = (*functions, handle.as_ptr());
        let argument = self.registration.as_ptr().cast();
        loop {
            // SAFETY: as registered.
            if unsafe { (functions.unregister)(handle, ready, argument) } != RUNS {
                // SAFETY: EAL knows it no longer.
                return unsafe { drop_registration(self.registration) };
            }
            // SAFETY: as registered; called once, after the work.
            if unsafe { (functions.unregister_later)(handle, ready, argument, unregistered) } >= 0 {
                return;
            }
            std::thread::yield_now();
        }
    }
}

extern "C" fn ready(argument: *mut c_void) {
    // SAFETY: the registration's own, which lives while it is registered.
    let registration = unsafe { &*argument.cast::<Registration>() };
    WORKS.set(true);
    WORKING.store(true, Ordering::Release);
    // A panic must not reach EAL. It has been reported by the panic hook.
    let _ = catch_unwind(AssertUnwindSafe(&registration.work));
    WORKING.store(false, Ordering::Release);
    WORKS.set(false);
}

extern "C" fn unregistered(_handle: *mut c_void, argument: *mut c_void) {
    if let Some(registration) = NonNull::new(argument.cast::<Registration>()) {
        // SAFETY: EAL knows it no longer.
        unsafe { drop_registration(registration) };
    }
}

/// # Safety
/// Nobody uses it any more.
unsafe fn drop_registration(registration: NonNull<Registration>) {
    // SAFETY: it was leaked from a box, and is dropped once.
    let registration = unsafe { Box::from_raw(registration.as_ptr()) };
    // SAFETY: allocated by EAL, and freed once.
    unsafe { (registration.functions.free)(registration.handle.as_ptr()) };
}
