//! `rte_dev_event_*` and `rte_dev_hotplug_handle_*`.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::{is_null, optional, required, returning_answer, returning_code};
use crate::engine::callbacks::{CallbackId, Event};
use crate::error::{Error, Kind};
use crate::process::{Mode, process};

/// `enum rte_dev_event_type`, as the int that C passes: any value can arrive.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct EventType(c_int);

const RTE_DEV_EVENT_ADD: c_int = 0;
const RTE_DEV_EVENT_REMOVE: c_int = 1;

/// Called when a device was added or removed.
///
/// device_name is valid during the call; cb_arg is what was registered.
pub type rte_dev_event_cb_fn =
    Option<unsafe extern "C" fn(device_name: *const c_char, event: EventType, cb_arg: *mut c_void)>;

type OnEvent = unsafe extern "C" fn(*const c_char, EventType, *mut c_void);

/// A C callback with its argument.
struct CCallback {
    function: OnEvent,
    argument: *mut c_void,
}

// SAFETY: whoever registers a callback agrees to calls from any thread with this argument.
unsafe impl Send for CCallback {}
// SAFETY: as above.
unsafe impl Sync for CCallback {}

impl CCallback {
    fn call(&self, device: &CStr, event: Event) {
        let event = match event {
            Event::Add => RTE_DEV_EVENT_ADD,
            Event::Remove => RTE_DEV_EVENT_REMOVE,
        };
        // SAFETY: registered with this argument, and not unregistered while it runs.
        unsafe { (self.function)(device.as_ptr(), EventType(event), self.argument) }
    }
}

/// Registers a callback for device events.
///
/// Callbacks run in order of registration, on the thread that reports the event.
///
/// @param device_name
///   The device to hear of, compared exactly; NULL for all. Copied.
/// @param cb_fn
///   The function to call. It may register and unregister callbacks, itself included, and probe and
///   remove devices.
/// @param cb_arg
///   Handed to cb_fn; stays the caller's, who keeps it until the callback is unregistered.
/// @return
///   0 on success;
///   -EINVAL: cb_fn is NULL;
///   -EEXIST: the same function, argument and device are registered.
///
/// May be called from any thread. As the function of the same name in DPDK ("Kernel Device
/// Events").
///
/// # Safety
/// `device_name` is NULL or a C string; `cb_fn` may be called with `cb_arg` from any thread until
/// it is unregistered.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_dev_event_callback_register"))]
pub unsafe extern "C" fn rte_dev_event_callback_register(
    device_name: *const c_char,
    cb_fn: rte_dev_event_cb_fn,
    cb_arg: *mut c_void,
) -> c_int {
    returning_code("rte_dev_event_callback_register", || {
        let function = cb_fn.ok_or_else(|| is_null("cb_fn"))?;
        if let Mode::Forwarding(host) = process().mode()? {
            // SAFETY: the caller's promise.
            return unsafe {
                host.stock_callback_register(device_name, Some(as_host(function)), cb_arg)
            };
        }
        let callback = CCallback { function, argument: cb_arg };
        let invoke = Box::new(move |device: &CStr, event: &Event| callback.call(device, *event));
        // SAFETY: the caller's promise.
        let device = unsafe { optional(device_name) };
        process().engine.callbacks.register(device, identity(function, cb_arg), invoke).map(|()| 0)
    })
}

/// Unregisters callbacks.
///
/// After a success none of them runs any more, except one that unregisters itself from inside.
///
/// @param device_name
///   The device they were registered for; NULL for every device.
/// @param cb_fn
///   The function.
/// @param cb_arg
///   The argument; (void *)-1 for every argument.
/// @return
///   How many were unregistered;
///   -EINVAL: cb_fn is NULL;
///   -ENOENT: none matches;
///   -EAGAIN: one of them runs in another thread; all stay registered.
///
/// May be called from any thread. As the function of the same name in DPDK 24.11 and later, which
/// however unregisters those before the one that runs.
///
/// # Safety
/// `device_name` is NULL or a C string.
#[unsafe(no_mangle)]
#[cfg_attr(
    feature = "static-dpdk",
    unsafe(export_name = "__wrap_rte_dev_event_callback_unregister")
)]
pub unsafe extern "C" fn rte_dev_event_callback_unregister(
    device_name: *const c_char,
    cb_fn: rte_dev_event_cb_fn,
    cb_arg: *mut c_void,
) -> c_int {
    returning_answer("rte_dev_event_callback_unregister", || {
        let function = cb_fn.ok_or_else(|| is_null("cb_fn"))?;
        if let Mode::Forwarding(host) = process().mode()? {
            // SAFETY: the caller's promise.
            return unsafe {
                host.stock_callback_unregister(device_name, Some(as_host(function)), cb_arg)
            };
        }
        // SAFETY: the caller's promise.
        let device = unsafe { optional(device_name) };
        let count = process().engine.callbacks.unregister(device, identity(function, cb_arg))?;
        Ok(c_int::try_from(count).unwrap_or(c_int::MAX))
    })
}

/// Calls the callbacks registered for a device: for drivers that learn of events themselves.
///
/// @param device_name
///   The device; NULL does nothing.
/// @param event
///   RTE_DEV_EVENT_ADD or RTE_DEV_EVENT_REMOVE; other values do nothing.
///
/// Callbacks run on the calling thread, with no lock held. One exception: the removal of a device that
/// vfio-pci holds, told on DPDK's interrupt thread, is delivered right after it on that thread, since
/// DPDK's PCI bus holds a lock meanwhile. As the function of the same name in DPDK.
///
/// # Safety
/// `device_name` is NULL or a C string.
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_dev_event_callback_process"))]
pub unsafe extern "C" fn rte_dev_event_callback_process(
    device_name: *const c_char,
    event: EventType,
) {
    returning_answer("rte_dev_event_callback_process", || {
        // SAFETY: the caller's promise.
        let device = unsafe { required(device_name, "device_name") }?;
        if let Mode::Forwarding(host) = process().mode()? {
            return host.stock_callback_process(device, event.0);
        }
        let event = match event.0 {
            RTE_DEV_EVENT_ADD => Event::Add,
            RTE_DEV_EVENT_REMOVE => Event::Remove,
            other => {
                return Err(Error::new(Kind::Invalid, format!("there is no event type {other}")));
            }
        };
        process().report_event(device, event).map(|()| 0)
    });
}

/// Starts the monitor of the kernel's device events.
///
/// It is counted: each start needs a stop. From the first start on, the addition and the removal of
/// every PCI device is told to the callbacks that are registered for it, in order: on DPDK's interrupt
/// thread, embedded on a thread of its own. Slow callbacks lose nothing. Only messages of the kernel
/// are believed. When the kernel has lost events because they came faster than anybody could take them,
/// the devices are looked at and what was missed is told. In a forked child it does not run, and can be
/// started: callbacks are called there on a thread of its own, as DPDK's is the parent's.
///
/// @return
///   0: it runs;
///   -EMFILE, -ENFILE, -ENOMEM, -EAGAIN and other codes of the system: it does not run, as there is no
///   socket or thread for it; -EIO: a defect of this library.
///
/// May be called from any thread. As the function of the same name in DPDK ("Kernel Device
/// Events").
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_dev_event_monitor_start"))]
pub extern "C" fn rte_dev_event_monitor_start() -> c_int {
    returning_code("rte_dev_event_monitor_start", || process().start_monitor())
}

/// Stops the monitor of the kernel's device events, with the last of its users.
///
/// What has not been told by then is not told any more. A callback that runs in another thread is not
/// waited for; rte_dev_event_callback_unregister() says whether one does.
///
/// @return
///   0, also when it did not run; -EIO: a defect of this library.
///
/// May be called from any thread and from inside a callback. As the function of the same name in DPDK
/// ("Kernel Device Events").
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_dev_event_monitor_stop"))]
pub extern "C" fn rte_dev_event_monitor_stop() -> c_int {
    returning_code("rte_dev_event_monitor_stop", || process().stop_monitor())
}

/// Enables the handling of devices that go while their drivers work with them.
///
/// It is counted: each call needs an rte_dev_hotplug_handle_disable(). From the first on, a SIGBUS by an
/// access to the memory of an attached PCI device is recovered from: the access and all later ones reach
/// memory that nobody else has, and the removal of the device is told once to the callbacks of
/// rte_dev_event_callback_register(), later and outside of the signal's handler. Any other SIGBUS goes
/// to the handler that was installed before, or to the default action. While the monitor runs, the
/// memory of a device under uio is replaced as soon as the device has gone, since it could reach the
/// next device at that address.
///
/// @return
///   0 on success;
///   -EMFILE, -ENFILE, -ENOMEM, -EAGAIN and other codes of the system: there is no thread or descriptor
///   for it, or the signal's handler cannot be installed; -EIO: a defect of this library.
///
/// May be called from any thread. As the function of the same name in DPDK ("SIGBUS Handling").
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_dev_hotplug_handle_enable"))]
pub extern "C" fn rte_dev_hotplug_handle_enable() -> c_int {
    returning_code("rte_dev_hotplug_handle_enable", || process().enable_fault_handling())
}

/// Disables what rte_dev_hotplug_handle_enable() enabled, with the last of its users.
///
/// What was installed for SIGBUS before is put back. Where somebody has installed another handler since,
/// that one stays, and ours passes everything on.
///
/// @return
///   0, also when it was not enabled; -EINVAL: the signal's action cannot be set;
///   -EIO: a defect of this library.
///
/// May be called from any thread. As the function of the same name in DPDK ("SIGBUS Handling").
#[unsafe(no_mangle)]
#[cfg_attr(feature = "static-dpdk", unsafe(export_name = "__wrap_rte_dev_hotplug_handle_disable"))]
pub extern "C" fn rte_dev_hotplug_handle_disable() -> c_int {
    returning_code("rte_dev_hotplug_handle_disable", || process().disable_fault_handling())
}

fn identity(function: OnEvent, argument: *mut c_void) -> CallbackId {
    CallbackId { function: function as usize, argument: argument as usize }
}

fn as_host(function: OnEvent) -> crate::hosted::host::EventCallback {
    // SAFETY: EventType is a transparent c_int, so the two types are the same function in C.
    unsafe { std::mem::transmute(function) }
}
