//! `rte_hotplug_uevent_*`, `rte_hotplug_event_policy_*`, `rte_hotplug_monitor_statistics_get`: device
//! events as the kernel tells them, and how the monitor fares.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};

use super::{
    is_null, optional, required, returning_answer, returning_code, returning_pointer, sized,
};
use crate::engine::callbacks::CallbackId;
use crate::engine::tracker::Policy;
use crate::error::{Error, Kind, Result};
use crate::process::process;
use crate::proto::uevent::{Action, Uevent};

/// What happened to a kernel object.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum rte_hotplug_uevent_action {
    /// It is there.
    RTE_HOTPLUG_UEVENT_ADD = 1,
    /// It has gone.
    RTE_HOTPLUG_UEVENT_REMOVE = 2,
    /// Something about it is different.
    RTE_HOTPLUG_UEVENT_CHANGE = 3,
    /// It has another name.
    RTE_HOTPLUG_UEVENT_MOVE = 4,
    /// It works.
    RTE_HOTPLUG_UEVENT_ONLINE = 5,
    /// It does not work for now.
    RTE_HOTPLUG_UEVENT_OFFLINE = 6,
    /// A driver has it; DRIVER names it.
    RTE_HOTPLUG_UEVENT_BIND = 7,
    /// No driver has it any more.
    RTE_HOTPLUG_UEVENT_UNBIND = 8,
}

/// RTE_DEV_EVENT_ADD tells that vfio-pci, uio_pci_generic or igb_uio is bound to a device and it can be
/// probed, instead of that the kernel has found it: for rte_hotplug_event_policy_set().
pub const RTE_HOTPLUG_EVENT_ADD_AFTER_BIND: c_uint = 1;

/// An event of the kernel, during the call of a callback. Opaque.
pub struct rte_hotplug_uevent {
    _private: [u8; 0],
}

/// Called for an event of the kernel.
///
/// event is valid during the call; arg is what was registered.
pub type rte_hotplug_uevent_cb =
    Option<unsafe extern "C" fn(event: *const rte_hotplug_uevent, arg: *mut c_void)>;

type OnUevent = unsafe extern "C" fn(*const rte_hotplug_uevent, *mut c_void);

/// A C callback with its argument.
struct CCallback {
    function: OnUevent,
    argument: *mut c_void,
}

// SAFETY: whoever registers a callback agrees to calls from any thread with this argument.
unsafe impl Send for CCallback {}
// SAFETY: as above.
unsafe impl Sync for CCallback {}

impl CCallback {
    fn call(&self, event: &Uevent) {
        let event: *const Uevent = event;
        // SAFETY: registered with this argument, and not unregistered while it runs; the event lives
        // during the call, and comes back through `uevent` only.
        unsafe { (self.function)(event.cast(), self.argument) }
    }
}

/// What the monitor of device events has seen since this process started.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_monitor_statistics {
    /// sizeof(struct rte_hotplug_monitor_statistics)
    pub size: usize,
    /// Events that the kernel sent, of every subsystem.
    pub received: u64,
    /// Additions and removals that were told, each to all callbacks for its device.
    pub delivered: u64,
    /// Messages that somebody else than the kernel sent; ignored.
    pub foreign: u64,
    /// Messages that make no sense; ignored.
    pub malformed: u64,
    /// How often the kernel had to drop events.
    pub overruns: u64,
    /// Events that were found out by looking at the devices after that.
    pub recovered: u64,
    /// Events that had been told before in another way, and were not told again.
    pub repeated: u64,
}

/// Registers a callback for all that the kernel tells of devices, while the monitor runs.
///
/// It is told every action of every subsystem. Callbacks run as those of
/// rte_dev_event_callback_register() do, for the same event after them.
///
/// @param subsystem
///   The subsystem to hear of, "pci" or "vfio" for instance; NULL for all. Copied.
/// @param cb
///   The function to call. It may call every function of this library.
/// @param arg
///   Handed to cb; stays the caller's, who keeps it until the callback is unregistered.
/// @return
///   0 on success;
///   -EINVAL: cb is NULL;
///   -EEXIST: the same function, argument and subsystem are registered;
///   -ENOTSUP: every call goes to this DPDK's own functions, whose monitor does not tell;
///   -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `subsystem` is NULL or a C string; `cb` may be called with `arg` from any thread until it is
/// unregistered.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_uevent_callback_register(
    subsystem: *const c_char,
    cb: rte_hotplug_uevent_cb,
    arg: *mut c_void,
) -> c_int {
    returning_code("rte_hotplug_uevent_callback_register", || {
        let function = cb.ok_or_else(|| is_null("cb"))?;
        process().check_own_monitor()?;
        let callback = CCallback { function, argument: arg };
        let invoke = Box::new(move |_: &CStr, event: &Uevent| callback.call(event));
        // SAFETY: the caller's promise.
        let subsystem = unsafe { optional(subsystem) };
        let engine = &process().engine;
        engine.uevent_callbacks.register(subsystem, identity(function, arg), invoke)?;
        engine.monitor.keep_uevents(&engine.uevent_callbacks);
        Ok(0)
    })
}

/// Unregisters callbacks.
///
/// After a success none of them runs any more, except one that unregisters itself from inside.
///
/// @param subsystem
///   The subsystem they were registered for; NULL for every one.
/// @param cb
///   The function.
/// @param arg
///   The argument; (void *)-1 for every argument.
/// @return
///   How many were unregistered;
///   -EINVAL: cb is NULL;
///   -ENOENT: none matches;
///   -EAGAIN: one of them runs in another thread; all stay registered;
///   -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `subsystem` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_uevent_callback_unregister(
    subsystem: *const c_char,
    cb: rte_hotplug_uevent_cb,
    arg: *mut c_void,
) -> c_int {
    returning_answer("rte_hotplug_uevent_callback_unregister", || {
        let function = cb.ok_or_else(|| is_null("cb"))?;
        // SAFETY: the caller's promise.
        let subsystem = unsafe { optional(subsystem) };
        let engine = &process().engine;
        let count = engine.uevent_callbacks.unregister(subsystem, identity(function, arg))?;
        engine.monitor.keep_uevents(&engine.uevent_callbacks);
        Ok(c_int::try_from(count).unwrap_or(c_int::MAX))
    })
}

/// Tells what happened.
///
/// @param event
///   An event, inside of its callback.
/// @return
///   An enum rte_hotplug_uevent_action; -EINVAL: event is NULL; -EIO: a defect of this library.
///
/// May be called from inside the callback only.
///
/// # Safety
/// `event` is NULL or the callback's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_uevent_action(event: *const rte_hotplug_uevent) -> c_int {
    returning_code("rte_hotplug_uevent_action", || {
        use rte_hotplug_uevent_action::{
            RTE_HOTPLUG_UEVENT_ADD, RTE_HOTPLUG_UEVENT_BIND, RTE_HOTPLUG_UEVENT_CHANGE,
            RTE_HOTPLUG_UEVENT_MOVE, RTE_HOTPLUG_UEVENT_OFFLINE, RTE_HOTPLUG_UEVENT_ONLINE,
            RTE_HOTPLUG_UEVENT_REMOVE, RTE_HOTPLUG_UEVENT_UNBIND,
        };
        // SAFETY: the caller's promise.
        let action = match unsafe { uevent(event) }?.action() {
            Action::Add => RTE_HOTPLUG_UEVENT_ADD,
            Action::Remove => RTE_HOTPLUG_UEVENT_REMOVE,
            Action::Change => RTE_HOTPLUG_UEVENT_CHANGE,
            Action::Move => RTE_HOTPLUG_UEVENT_MOVE,
            Action::Online => RTE_HOTPLUG_UEVENT_ONLINE,
            Action::Offline => RTE_HOTPLUG_UEVENT_OFFLINE,
            Action::Bind => RTE_HOTPLUG_UEVENT_BIND,
            Action::Unbind => RTE_HOTPLUG_UEVENT_UNBIND,
        };
        Ok(action as c_int)
    })
}

/// Tells the kernel's number of an event.
///
/// @param event
///   An event, inside of its callback.
/// @return
///   The number, which grows with each event of the machine; 0 for an event that the kernel had to drop
///   and that was found out by looking at the devices, or when event is NULL.
///
/// May be called from inside the callback only.
///
/// # Safety
/// `event` is NULL or the callback's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_uevent_seqnum(event: *const rte_hotplug_uevent) -> u64 {
    // SAFETY: the caller's promise.
    unsafe { uevent(event) }.map_or(0, Uevent::seqnum)
}

/// Tells a value that the kernel gave with an event.
///
/// @param event
///   An event, inside of its callback.
/// @param key
///   "DEVPATH", "SUBSYSTEM", "DRIVER", "PCI_SLOT_NAME", or any other key of the kernel's.
/// @return
///   The value, valid until the callback returns; NULL when there is none, or an argument is NULL.
///
/// May be called from inside the callback only.
///
/// # Safety
/// `event` is NULL or the callback's; `key` is NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_uevent_get(
    event: *const rte_hotplug_uevent,
    key: *const c_char,
) -> *const c_char {
    returning_pointer("rte_hotplug_uevent_get", || {
        // SAFETY: the caller's promise.
        let (event, key) = unsafe { (uevent(event)?, required(key, "key")?) };
        let key = key.to_str().map_err(|_| Error::new(Kind::Invalid, "key is no UTF-8"))?;
        let none = || Error::new(Kind::NotFound, format!("the event has no {key}"));
        event.get(key).map(CStr::as_ptr).ok_or_else(none)
    })
}

/// Says when devices are announced, from the next event on.
///
/// @param flags
///   0, or RTE_HOTPLUG_EVENT_ADD_AFTER_BIND.
/// @return
///   0 on success; -EINVAL: there is no such flag;
///   -ENOTSUP: every call goes to this DPDK's own functions; -EIO: a defect of this library.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn rte_hotplug_event_policy_set(flags: c_uint) -> c_int {
    returning_code("rte_hotplug_event_policy_set", || {
        let policy = match flags {
            0 => Policy::AtOnce,
            RTE_HOTPLUG_EVENT_ADD_AFTER_BIND => Policy::AfterBind,
            _ => return Err(Error::new(Kind::Invalid, format!("there is no flag {flags:#x}"))),
        };
        process().check_own_monitor()?;
        process().engine.monitor.set_policy(policy);
        Ok(0)
    })
}

/// Tells when devices are announced.
///
/// @return
///   0, or RTE_HOTPLUG_EVENT_ADD_AFTER_BIND.
///
/// May be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn rte_hotplug_event_policy_get() -> c_uint {
    match process().engine.monitor.policy() {
        Policy::AtOnce => 0,
        Policy::AfterBind => RTE_HOTPLUG_EVENT_ADD_AFTER_BIND,
    }
}

/// Tells what the monitor of device events has seen.
///
/// @param statistics
///   Filled in; its size has to be set.
/// @return
///   0 on success; -EINVAL: statistics is NULL or its size is wrong; -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `statistics` is NULL or a struct whose first member is set.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_monitor_statistics_get(
    statistics: *mut rte_hotplug_monitor_statistics,
) -> c_int {
    returning_code("rte_hotplug_monitor_statistics_get", || {
        // SAFETY: the caller's promise.
        let statistics = unsafe { sized(statistics, "statistics", |s| s.size)? };
        let counts = process().engine.monitor.counters.read();
        *statistics = rte_hotplug_monitor_statistics {
            size: statistics.size,
            received: counts.received,
            delivered: counts.delivered,
            foreign: counts.foreign,
            malformed: counts.malformed,
            overruns: counts.overruns,
            recovered: counts.recovered,
            repeated: counts.repeated,
        };
        Ok(0)
    })
}

/// The event that a callback was given.
///
/// # Safety
/// `event` is NULL or what a callback was called with, which has not returned.
unsafe fn uevent<'a>(event: *const rte_hotplug_uevent) -> Result<&'a Uevent> {
    // SAFETY: callbacks are given the address of a Uevent.
    unsafe { event.cast::<Uevent>().as_ref() }.ok_or_else(|| is_null("event"))
}

fn identity(function: OnUevent, argument: *mut c_void) -> CallbackId {
    CallbackId { function: function as usize, argument: argument as usize }
}
