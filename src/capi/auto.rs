//! `rte_hotplug_auto_*`: devices that are bound, attached and detached by themselves.

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::bus::read_options;
use super::{is_null, optional, required, returning_code, sized};
use crate::engine::callbacks::Callbacks;
use crate::engine::recovery::{CALLBACK, Rule, Step, Told};
use crate::error::{Error, Kind, Result};
use crate::process::process;
use crate::proto::pci::Pattern;

/// A rule made with rte_hotplug_auto_add().
pub struct rte_hotplug_auto;

/// Not only what comes from now on: devices that are there already are attached, too.
pub const RTE_HOTPLUG_AUTO_NOW: c_uint = 1;

/// How long it is tried to attach or detach a device when nothing else is said, in milliseconds.
const DEFAULT_LIMIT_MS: u32 = 5000;
const LONGEST_LIMIT_MS: u32 = 3_600_000;

/// A step of attaching or detaching a device by itself.
#[repr(C)]
#[derive(Clone, Copy)]
pub enum rte_hotplug_auto_step {
    /// It is there, and about to be bound and attached.
    RTE_HOTPLUG_AUTO_ADDING = 1,
    /// It is attached: to be put into use.
    RTE_HOTPLUG_AUTO_ADDED = 2,
    /// It goes, and is about to be detached: not to be used any more from here on.
    RTE_HOTPLUG_AUTO_REMOVING = 3,
    /// It is detached.
    RTE_HOTPLUG_AUTO_REMOVED = 4,
    /// Attaching or detaching it was given up; result says why. -ENODEV: it has gone meanwhile.
    RTE_HOTPLUG_AUTO_FAILED = 5,
}

/// Called for each step.
///
/// result is 0, or at RTE_HOTPLUG_AUTO_FAILED a negative errno; user is what the rule was made with.
/// At RTE_HOTPLUG_AUTO_ADDING and RTE_HOTPLUG_AUTO_REMOVING another return value than 0 is a veto: the
/// library leaves the device alone.
pub type rte_hotplug_auto_cb = Option<
    unsafe extern "C" fn(
        device: *const c_char,
        step: rte_hotplug_auto_step,
        result: c_int,
        user: *mut c_void,
    ) -> c_int,
>;

/// Which devices to attach and detach, and how. Set everything that is not used to 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_auto_options {
    /// sizeof(struct rte_hotplug_auto_options)
    pub size: usize,
    /// An address, "0000:02:00.0", or the devices' kind, "8086:10d3", "8086:*" or "*:*". Copied.
    pub device: *const c_char,
    /// The kernel driver to bind them to, see rte_hotplug_bind_driver(). Copied. NULL: somebody else
    /// binds them; they are attached as soon as vfio-pci, uio_pci_generic or igb_uio has them.
    pub driver: *const c_char,
    /// The arguments for the device's driver, "rx_queues=2" for instance; NULL for none. Copied.
    pub args: *const c_char,
    /// 0, or RTE_HOTPLUG_AUTO_NOW.
    pub flags: c_uint,
    /// How long to try before it is given up, in milliseconds, up to 3600000; 0 stands for 5000.
    pub limit_ms: u32,
    /// Called for each step; NULL: nobody is asked or told.
    pub cb: rte_hotplug_auto_cb,
    /// Handed to cb; stays the caller's, until the rule is removed.
    pub user: *mut c_void,
}

/// What rules have done since this process started.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct rte_hotplug_auto_statistics {
    /// sizeof(struct rte_hotplug_auto_statistics)
    pub size: usize,
    /// Devices that were attached.
    pub attached: u64,
    /// Devices that were detached.
    pub detached: u64,
    /// Vetoes of callbacks.
    pub vetoed: u64,
    /// Devices that were given up.
    pub failed: u64,
    /// Tries after the first one.
    pub retries: u64,
}

type OnStep =
    unsafe extern "C" fn(*const c_char, rte_hotplug_auto_step, c_int, *mut c_void) -> c_int;

/// A C callback with its argument.
struct CCallback {
    function: OnStep,
    user: *mut c_void,
}

// SAFETY: whoever makes a rule agrees to calls from another thread with this argument.
unsafe impl Send for CCallback {}
// SAFETY: as above.
unsafe impl Sync for CCallback {}

impl CCallback {
    fn call(&self, device: &CStr, told: &Told) {
        // SAFETY: the rule's function with its argument, while the rule stands.
        let answer =
            unsafe { (self.function)(device.as_ptr(), told.step.into(), told.result, self.user) };
        told.vetoed.store(answer != 0, Ordering::Relaxed);
    }
}

impl From<Step> for rte_hotplug_auto_step {
    fn from(step: Step) -> Self {
        match step {
            Step::Adding => Self::RTE_HOTPLUG_AUTO_ADDING,
            Step::Added => Self::RTE_HOTPLUG_AUTO_ADDED,
            Step::Removing => Self::RTE_HOTPLUG_AUTO_REMOVING,
            Step::Removed => Self::RTE_HOTPLUG_AUTO_REMOVED,
            Step::Failed => Self::RTE_HOTPLUG_AUTO_FAILED,
        }
    }
}

/// Lets PCI devices be attached when they come and detached when they go.
///
/// When the kernel adds a device that the rule is for, it is bound to the rule's kernel driver, attached
/// with rte_dev_probe(), and the callback is told. When a device goes, its memory is replaced where the
/// kernel would leave it (uio), the callback is told, and it is detached with rte_dev_remove(): a device
/// that somebody else has attached, too. An event that somebody only had repeated (`udevadm trigger`)
/// adds nothing. A device that another driver for user space has is not taken from it. What fails because it is not ready yet is tried again, less and
/// less often, until the limit. Of several rules for a device the first one counts.
///
/// The rule keeps the monitor of device events and the handling of faults going, as
/// rte_dev_event_monitor_start() and rte_dev_hotplug_handle_enable() do.
///
/// @param options
///   The rule. Copied.
/// @param rule
///   Set to the rule on success, before cb is called, else to NULL. May be NULL.
/// @return
///   0 on success;
///   -EINVAL: options or device is NULL, the size is too small, device is no address and no kind, or
///   there is no such flag or limit;
///   -EAGAIN: DPDK does not run yet: call it after rte_eal_init();
///   -ENOTSUP: every call goes to this DPDK's own functions;
///   -EMFILE, -ENOMEM and other codes of the system; -EIO: a defect of this library.
///
/// May be called from any thread. Callbacks run on a thread of the library, one at a time, with no lock
/// held; they may call every function. After the application's own event callbacks that were registered
/// before the first rule. The rule ends with rte_eal_cleanup(), and a forked child has none.
///
/// # Safety
/// `options` is NULL or points to `options->size` bytes with C strings that are NULL or end; `cb` may be
/// called with `user` until the rule is removed; `rule` is NULL or points to a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_auto_add(
    options: *const rte_hotplug_auto_options,
    rule: *mut *mut rte_hotplug_auto,
) -> c_int {
    returning_code("rte_hotplug_auto_add", || {
        // SAFETY: the caller's promise.
        let options = unsafe { read_options(options) }?;
        // SAFETY: the caller's promise.
        let new = unsafe { read_rule(&options) }?;
        let new = Arc::new(new);
        let set = |handle: *const Rule| {
            if !rule.is_null() {
                // SAFETY: the caller's promise. The handle is an address to look for, not a reference.
                unsafe { rule.write(handle.cast_mut().cast()) };
            }
        };
        // Before its callback may run.
        set(Arc::as_ptr(&new));
        let added = process().add_rule(&new, options.flags & RTE_HOTPLUG_AUTO_NOW != 0);
        added.inspect_err(|_| set(std::ptr::null())).map(|()| 0)
    })
}

/// Removes a rule. Devices stay as they are.
///
/// @param rule
///   The rule. After a success the pointer is stale, and its callback does not run, except when it calls
///   this function itself.
/// @return
///   0 on success;
///   -EINVAL: rule is NULL;
///   -ENOENT: there is no such rule: removed already?
///   -EAGAIN: a device is being attached or detached by it, or its callback runs in another thread; the
///   rule stays;
///   -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `rule` is compared with the rules only; any value is allowed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_auto_remove(rule: *mut rte_hotplug_auto) -> c_int {
    returning_code("rte_hotplug_auto_remove", || {
        if rule.is_null() {
            return Err(is_null("rule"));
        }
        process().remove_rule(rule as usize).map(|()| 0)
    })
}

/// Tells what rules have done.
///
/// @param statistics
///   Filled in; its size has to be set.
/// @return
///   0 on success; -EINVAL: statistics is NULL or its size is wrong; -EIO: a defect of this library.
///
/// May be called from any thread.
///
/// # Safety
/// `statistics` is NULL or a struct whose size is set truly.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rte_hotplug_auto_statistics_get(
    statistics: *mut rte_hotplug_auto_statistics,
) -> c_int {
    returning_code("rte_hotplug_auto_statistics_get", || {
        // SAFETY: the caller's promise.
        let statistics = unsafe { sized(statistics, "statistics", |s| s.size) }?;
        let counts = process().recovery.counters.read();
        *statistics = rte_hotplug_auto_statistics {
            size: statistics.size,
            attached: counts.attached,
            detached: counts.detached,
            vetoed: counts.vetoed,
            failed: counts.failed,
            retries: counts.retries,
        };
        Ok(0)
    })
}

/// # Safety
/// The strings are NULL or end.
unsafe fn read_rule(options: &rte_hotplug_auto_options) -> Result<Rule> {
    // SAFETY: the caller's promise.
    let (device, driver, args) = unsafe {
        (
            required(options.device, "options->device")?,
            optional(options.driver),
            optional(options.args),
        )
    };
    let invalid = |what: String| Err(Error::new(Kind::Invalid, what));
    let Some(pattern) = Pattern::parse(device.to_bytes()) else {
        let text = device.to_string_lossy();
        return invalid(format!(
            "\"{text}\" is no PCI address and no VENDOR:DEVICE like 8086:10d3"
        ));
    };
    if options.flags & !RTE_HOTPLUG_AUTO_NOW != 0 {
        return invalid(format!("there is no such flag: {:#x}", options.flags));
    }
    let limit_ms = match options.limit_ms {
        0 => DEFAULT_LIMIT_MS,
        limit if limit > LONGEST_LIMIT_MS => {
            return invalid(format!("options->limit_ms is {limit}: at most {LONGEST_LIMIT_MS}"));
        }
        limit => limit,
    };
    let callbacks = Callbacks::default();
    if let Some(function) = options.cb {
        let callback = CCallback { function, user: options.user };
        let invoke = Box::new(move |device: &CStr, told: &Told| callback.call(device, told));
        callbacks.register(None, CALLBACK, invoke)?;
    }
    Ok(Rule {
        pattern,
        driver: driver.map(CStr::to_owned),
        arguments: args.unwrap_or_default().to_owned(),
        limit: Duration::from_millis(limit_ms.into()),
        callbacks,
    })
}
