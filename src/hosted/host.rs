//! The host EAL's functions, found by name at run time. Nothing here is an undefined symbol.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

use super::layout::{OLDEST, Version};
use crate::sys::dl::{self, Object};

/// `int (*)(const struct rte_device *, const void *)`: 0 means found.
pub type CompareDevice = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
/// `int (*)(const struct rte_bus *, const void *)`: 0 means found.
pub type CompareBus = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;
/// `rte_dev_event_cb_fn`, the enum as an int.
pub type EventCallback = unsafe extern "C" fn(*const c_char, c_int, *mut c_void);

macro_rules! functions {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $symbol:literal as $type:ty,)* }
     optional { $($maybe:ident: $maybe_symbol:literal as $maybe_type:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name {
            $(#[doc = concat!("`", $symbol, "`")] pub $field: $type,)*
            $(#[doc = concat!("`", $maybe_symbol, "`, not in every version")]
              pub $maybe: Option<$maybe_type>,)*
        }

        impl $name {
            /// Finds the functions; the error names the first that is missing.
            fn load(object: Object) -> Result<Self, &'static str> {
                let name = |symbol: &'static str| {
                    CStr::from_bytes_with_nul(symbol.as_bytes()).expect("ends with a NUL")
                };
                // SAFETY: each type below is the C signature of its symbol, the same in 20.11 … 26.07.
                unsafe {
                    Ok(Self {
                        $($field: object.function::<$type>(name(concat!($symbol, "\0")))
                            .ok_or($symbol)?,)*
                        $($maybe: object.function::<$maybe_type>(name(concat!($maybe_symbol, "\0"))),)*
                    })
                }
            }
        }
    };
}

functions! {
    /// What hotplug needs of the host.
    Eal {
        devargs_parse: "rte_devargs_parse" as unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
        devargs_insert: "rte_devargs_insert" as unsafe extern "C" fn(*mut *mut c_void) -> c_int,
        devargs_next: "rte_devargs_next" as
            unsafe extern "C" fn(*const c_char, *const c_void) -> *mut c_void,
        bus_find: "rte_bus_find" as
            unsafe extern "C" fn(*const c_void, CompareBus, *const c_void) -> *mut c_void,
        bus_find_by_name: "rte_bus_find_by_name" as unsafe extern "C" fn(*const c_char) -> *mut c_void,
        process_type: "rte_eal_process_type" as unsafe extern "C" fn() -> c_int,
        runtime_dir: "rte_eal_get_runtime_dir" as unsafe extern "C" fn() -> *const c_char,
        mp_action_register: "rte_mp_action_register" as
            unsafe extern "C" fn(*const c_char, Option<MpAction>) -> c_int,
        mp_action_unregister: "rte_mp_action_unregister" as unsafe extern "C" fn(*const c_char),
        // Not called: its presence tells 20.11 from older versions, which have no `rte_version`.
        since_20_11: "rte_vect_get_max_simd_bitwidth" as unsafe extern "C" fn() -> u16,
    }
    optional {
        ctrl_thread_create: "rte_ctrl_thread_create" as CtrlThreadCreate,
        thread_create_control: "rte_thread_create_control" as ThreadCreateControl,
        alarm_set: "rte_eal_alarm_set" as
            unsafe extern "C" fn(u64, AlarmCallback, *mut c_void) -> c_int,
        alarm_cancel: "rte_eal_alarm_cancel" as
            unsafe extern "C" fn(AlarmCallback, *mut c_void) -> c_int,
        intr_alloc: "rte_intr_instance_alloc" as unsafe extern "C" fn(u32) -> *mut c_void,
        intr_free: "rte_intr_instance_free" as unsafe extern "C" fn(*mut c_void),
        intr_set_fd: "rte_intr_fd_set" as unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
        intr_set_type: "rte_intr_type_set" as unsafe extern "C" fn(*mut c_void, c_int) -> c_int,
        intr_register: "rte_intr_callback_register" as
            unsafe extern "C" fn(*mut c_void, InterruptCallback, *mut c_void) -> c_int,
        intr_unregister: "rte_intr_callback_unregister" as
            unsafe extern "C" fn(*mut c_void, InterruptCallback, *mut c_void) -> c_int,
        intr_unregister_later: "rte_intr_callback_unregister_pending" as
            unsafe extern "C" fn(*mut c_void, InterruptCallback, *mut c_void,
                                 extern "C" fn(*mut c_void, *mut c_void)) -> c_int,
        memory_lock: "rte_mcfg_mem_read_lock" as unsafe extern "C" fn(),
        memory_unlock: "rte_mcfg_mem_read_unlock" as unsafe extern "C" fn(),
        thread_is_intr: "rte_thread_is_intr" as unsafe extern "C" fn() -> c_int,
        devargs_reset: "rte_devargs_reset" as unsafe extern "C" fn(*mut c_void),
        bus_find_driver: "rte_bus_find_driver" as
            unsafe extern "C" fn(*const c_void, *const c_void, *const c_void) -> *mut c_void,
        version: "rte_version" as unsafe extern "C" fn() -> *const c_char,
        bus_name: "rte_bus_name" as unsafe extern "C" fn(*const c_void) -> *const c_char,
        dev_name: "rte_dev_name" as unsafe extern "C" fn(*const c_void) -> *const c_char,
        dev_driver: "rte_dev_driver" as unsafe extern "C" fn(*const c_void) -> *const c_void,
        dev_bus: "rte_dev_bus" as unsafe extern "C" fn(*const c_void) -> *const c_void,
        dev_devargs: "rte_dev_devargs" as unsafe extern "C" fn(*const c_void) -> *const c_void,
        dev_numa_node: "rte_dev_numa_node" as unsafe extern "C" fn(*const c_void) -> c_int,
    }
}

/// `rte_intr_callback_fn`
pub type InterruptCallback = extern "C" fn(*mut c_void);
/// `rte_eal_alarm_callback`
pub type AlarmCallback = extern "C" fn(*mut c_void);

/// `rte_ctrl_thread_create`, up to 23.07.
pub type CtrlThreadCreate = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const c_char,
    *const c_void,
    extern "C" fn(*mut c_void) -> *mut c_void,
    *mut c_void,
) -> c_int;
/// `rte_thread_create_control`, from 23.11: in 23.03 and 23.07 it has one argument more; `rte_thread_t` holds a `pthread_t`.
pub type ThreadCreateControl = unsafe extern "C" fn(
    *mut libc::pthread_t,
    *const c_char,
    extern "C" fn(*mut c_void) -> u32,
    *mut c_void,
) -> c_int;

/// `rte_mp_t`: the handler of a multi-process action.
pub type MpAction = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;

functions! {
    /// The host's own versions of what this library replaces.
    Stock {}
    optional {
        dev_probe: "rte_dev_probe" as unsafe extern "C" fn(*const c_char) -> c_int,
        dev_remove: "rte_dev_remove" as unsafe extern "C" fn(*mut c_void) -> c_int,
        hotplug_add: "rte_eal_hotplug_add" as
            unsafe extern "C" fn(*const c_char, *const c_char, *const c_char) -> c_int,
        hotplug_remove: "rte_eal_hotplug_remove" as
            unsafe extern "C" fn(*const c_char, *const c_char) -> c_int,
        callback_register: "rte_dev_event_callback_register" as
            unsafe extern "C" fn(*const c_char, Option<EventCallback>, *mut c_void) -> c_int,
        callback_unregister: "rte_dev_event_callback_unregister" as
            unsafe extern "C" fn(*const c_char, Option<EventCallback>, *mut c_void) -> c_int,
        callback_process: "rte_dev_event_callback_process" as unsafe extern "C" fn(*const c_char, c_int),
        monitor_start: "rte_dev_event_monitor_start" as unsafe extern "C" fn() -> c_int,
        monitor_stop: "rte_dev_event_monitor_stop" as unsafe extern "C" fn() -> c_int,
        handle_enable: "rte_dev_hotplug_handle_enable" as unsafe extern "C" fn() -> c_int,
        handle_disable: "rte_dev_hotplug_handle_disable" as unsafe extern "C" fn() -> c_int,
    }
}

/// The DPDK EAL in this process.
pub struct Host {
    object: Object,
    /// The host's own versions of what we replace.
    pub stock: Stock,
    /// What hotplug needs, or why the host cannot be worked with.
    eal: Result<Eal, &'static str>,
    is_copy: bool,
}

/// What every copy of this library defines, and no DPDK.
const OURS: &CStr = c"rte_hotplug_version";

impl Host {
    /// Whether the address lies in the EAL's object.
    pub fn contains(&self, address: NonNull<c_void>) -> bool {
        self.object.contains(address)
    }

    /// The EAL in this process: the object besides ours that defines `rte_eal_init`. Another copy of this
    /// library takes its place for the copy that was loaded later.
    pub fn find() -> Option<Self> {
        let copy = Object::before_ours(OURS);
        let object = copy.or_else(|| Object::defining(c"rte_eal_init", Some(OURS)))?;
        let (stock, eal) = (Stock::load(object), Eal::load(object));
        Some(Self { object, stock: stock.ok()?, eal, is_copy: copy.is_some() })
    }

    /// Whether it is another copy of this library.
    pub fn is_copy(&self) -> bool {
        self.is_copy
    }

    /// The functions that hotplug needs; the error names one that the host does not have.
    pub fn eal(&self) -> Result<&Eal, &'static str> {
        self.eal.as_ref().map_err(|missing| *missing)
    }

    /// A further function of the host.
    ///
    /// # Safety
    /// `F` is a function pointer type with the signature that the symbol has in C.
    pub unsafe fn function<F: Copy>(&self, symbol: &CStr) -> Option<F> {
        // SAFETY: passed on to the caller.
        unsafe { self.object.function(symbol) }
    }

    /// The calling thread's `rte_errno`.
    pub fn rte_errno(&self) -> Option<NonNull<c_int>> {
        // A thread-local variable: dlsym returns the calling thread's copy.
        self.object.address(c"per_lcore__rte_errno").map(NonNull::cast)
    }

    /// The next `rte_eal_init` after ours.
    pub fn next_init(&self) -> Option<unsafe extern "C" fn(c_int, *mut *mut c_char) -> c_int> {
        // SAFETY: the C signature of rte_eal_init.
        unsafe { self.next(c"rte_eal_init") }
    }

    /// The next `rte_eal_cleanup` after ours.
    pub fn next_cleanup(&self) -> Option<unsafe extern "C" fn() -> c_int> {
        // SAFETY: the C signature of rte_eal_cleanup.
        unsafe { self.next(c"rte_eal_cleanup") }
    }

    /// The next `rte_mp_action_register` after ours.
    pub fn next_mp_action_register(
        &self,
    ) -> Option<unsafe extern "C" fn(*const c_char, Option<MpAction>) -> c_int> {
        // SAFETY: the C signature of rte_mp_action_register.
        unsafe { self.next(c"rte_mp_action_register") }
    }

    /// The next definition of a symbol that is replaced; another copy of this library is never passed by.
    ///
    /// # Safety
    /// `F` is a function pointer type with the signature that the symbol has in C.
    unsafe fn next<F: Copy>(&self, symbol: &CStr) -> Option<F> {
        // SAFETY: passed on to the caller.
        let next = if self.is_copy { None } else { unsafe { dl::next_function(symbol) } };
        // SAFETY: as above.
        next.or_else(|| unsafe { self.object.function(symbol) })
    }
}

impl Eal {
    /// The host's version, or as an error the text that says none; `rte_version` is absent up to 21.08,
    /// whose layouts are those of 20.11.
    pub fn version(&self) -> Result<Version, String> {
        let Some(version) = self.version else { return Ok(OLDEST) };
        // SAFETY: returns a constant C string.
        let text = unsafe { text(version()) }.unwrap_or_default().to_string_lossy();
        Version::parse(&text).ok_or_else(|| text.into_owned())
    }

    /// Whether this process is the primary (`RTE_PROC_PRIMARY` is 0).
    pub fn is_primary(&self) -> bool {
        // SAFETY: takes nothing, reads the host's configuration.
        unsafe { (self.process_type)() == 0 }
    }

    /// Works while EAL allocates no memory.
    pub fn with_memory_locked<T>(&self, work: impl FnOnce() -> T) -> T {
        let locks = self.memory_lock.zip(self.memory_unlock);
        if let Some((lock, _)) = locks {
            // SAFETY: takes nothing; unlocked below by this thread.
            unsafe { lock() };
        }
        let done = work();
        if let Some((_, unlock)) = locks {
            // SAFETY: locked above by this thread.
            unsafe { unlock() };
        }
        done
    }

    /// Whether the calling thread is the one on which EAL handles interrupts and alarms.
    pub fn is_interrupt_thread(&self) -> bool {
        // SAFETY: takes nothing, compares thread ids.
        self.thread_is_intr.is_some_and(|ask| unsafe { ask() != 0 })
    }

    /// The runtime directory of the file prefix.
    pub fn runtime_directory(&self) -> Option<&Path> {
        use std::os::unix::ffi::OsStrExt;
        // SAFETY: returns a C string in static memory.
        let directory = unsafe { text((self.runtime_dir)()) }?;
        Some(Path::new(std::ffi::OsStr::from_bytes(directory.to_bytes())))
    }
}

/// A C string of the host's, or `None` for NULL.
///
/// # Safety
/// `pointer` is NULL or a C string that lives as long as the result is used.
pub unsafe fn text<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: not NULL here; the rest is the caller's promise.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}
