//! DPDK linked into the same executable (the feature `static-dpdk`). Nothing has to find symbols by name
//! there, so this file refers to every one that is looked up.
//!
//! The references are weak: a version may not have the function, and without DPDK there is none at all.
//! A replaced function has three names: with `-Wl,--wrap=NAME` whoever calls `NAME` reaches our
//! `__wrap_NAME`, and `__real_NAME` is DPDK's.

use std::arch::{asm, global_asm};
use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use super::{as_function, object_at};

/// DPDK's part of the executable.
#[derive(Clone, Copy, Debug)]
pub struct Object(());

impl Object {
    /// The executable, if DPDK in it defines `symbol`.
    pub fn defining(symbol: &CStr, _but: Option<&CStr>) -> Option<Self> {
        let object = Self(());
        object.address(symbol).map(|_| object)
    }

    /// Nothing was loaded before.
    pub fn before_ours(_symbol: &CStr) -> Option<Self> {
        None
    }

    /// Whether the address is known to lie in DPDK: what lies in the executable may be anybody's.
    pub fn contains(&self, _address: NonNull<c_void>) -> bool {
        false
    }

    /// The address of DPDK's own `symbol`.
    pub fn address(&self, symbol: &CStr) -> Option<NonNull<c_void>> {
        if symbol == c"per_lcore__rte_errno" {
            return rte_errno();
        }
        if let Some(replaced) = replaced(symbol) {
            return address(replaced.real).or_else(|| {
                // Without --wrap the plain name is DPDK's.
                address(replaced.reached).filter(|_| replaced.reached != replaced.ours)
            });
        }
        let at = OTHER_NAMES.iter().position(|name| name.as_bytes() == symbol.to_bytes());
        debug_assert!(at.is_some(), "{symbol:?} is not listed here");
        // SAFETY: the table has a line for each name; the linker has filled it in for good.
        at.and_then(|at| address(unsafe { OTHERS[at] }))
    }

    /// DPDK's own function `symbol` as a pointer of type `F`.
    ///
    /// # Safety
    /// `F` is a function pointer type with the signature that the symbol has in C.
    pub unsafe fn function<F: Copy>(&self, symbol: &CStr) -> Option<F> {
        // SAFETY: passed on to the caller.
        self.address(symbol).map(|address| unsafe { as_function(address) })
    }
}

/// DPDK's own `symbol`, as a function of type `F`.
///
/// # Safety
/// `F` is a function pointer type with the signature that the symbol has in C.
pub unsafe fn next_function<F: Copy>(symbol: &CStr) -> Option<F> {
    // SAFETY: passed on to the caller.
    unsafe { Object(()).function(symbol) }
}

/// Whether the application's calls of `symbol`, one that is replaced, come to this library; `None` when
/// nothing has it.
pub fn reaches_us(symbol: &CStr) -> Option<bool> {
    let replaced = replaced(symbol)?;
    address(replaced.reached).map(|_| replaced.reached == replaced.ours)
}

/// What is wrong with how the program was linked, for one who can put it right.
pub fn complaint() -> Option<&'static str> {
    let is_ours = |line: &Replaced| line.reached == 0 || line.reached == line.ours;
    if !lines().iter().all(is_ours) {
        return Some(
            "librte_hotplug_static.a is linked without its -Wl,--wrap options, so DPDK's own hotplug \
             is used: link with what \"pkg-config --libs rte_hotplug_static\" prints",
        );
    }
    // SAFETY: the table below, which the linker has filled in for good.
    let others = unsafe { &OTHERS };
    let has_dpdk = lines().iter().any(|line| line.real != 0) || others.iter().any(|at| *at != 0);
    if has_dpdk && lines().iter().any(|line| line.real == 0) {
        return Some(
            "only parts of DPDK are linked, so it cannot be used: put its libraries between \
             -Wl,--whole-archive and -Wl,--no-whole-archive, as \"pkg-config --static --libs libdpdk\" \
             does",
        );
    }
    let is_elsewhere = |line: &Replaced| {
        line.real != 0
            && object_at(line.real as *const c_void) != object_at(line.ours as *const c_void)
    };
    lines().iter().any(is_elsewhere).then_some(
        "librte_hotplug_static.a is linked, but DPDK is a shared library, which calls its own hotplug: \
         link with rte_hotplug instead, or with DPDK's static libraries",
    )
}

/// Where a replaced function is; 0 for what is not there.
#[repr(C)]
struct Replaced {
    real: usize,
    reached: usize,
    ours: usize,
}

fn replaced(symbol: &CStr) -> Option<&'static Replaced> {
    let at = REPLACED_NAMES.iter().position(|name| name.as_bytes() == symbol.to_bytes())?;
    lines().get(at)
}

fn lines() -> &'static [Replaced] {
    // SAFETY: the table below, which the linker has filled in for good.
    unsafe { &REPLACED }
}

fn address(address: usize) -> Option<NonNull<c_void>> {
    NonNull::new(address as *mut c_void)
}

macro_rules! symbols {
    (replaced { $($replaced:ident)* } others { $($other:ident)* }) => {
        const REPLACED_NAMES: &[&str] = &[$(stringify!($replaced)),*];
        const OTHER_NAMES: &[&str] = &[$(stringify!($other)),*];

        unsafe extern "C" {
            #[link_name = "rte_hotplug_linked_replaced"]
            static REPLACED: [Replaced; REPLACED_NAMES.len()];
            #[link_name = "rte_hotplug_linked_others"]
            static OTHERS: [usize; OTHER_NAMES.len()];
        }

        // Whatever a program uses of this library, the tables bring along all that replaces DPDK's, and
        // what looks after the linking when it starts (capi/load.rs).
        global_asm!(
            ".pushsection .data.rel.ro.rte_hotplug_linked, \"aw\"",
            ".balign 8",
            ".globl rte_hotplug_linked_replaced",
            ".hidden rte_hotplug_linked_replaced",
            "rte_hotplug_linked_replaced:",
            $(concat!(".weak __real_", stringify!($replaced)),
              concat!(".weak ", stringify!($replaced)),
              concat!(".quad __real_", stringify!($replaced)),
              concat!(".quad ", stringify!($replaced)),
              concat!(".quad __wrap_", stringify!($replaced)),)*
            ".globl rte_hotplug_linked_others",
            ".hidden rte_hotplug_linked_others",
            "rte_hotplug_linked_others:",
            $(concat!(".weak ", stringify!($other)),
              concat!(".quad ", stringify!($other)),)*
            ".quad rte_hotplug_on_load",
            ".popsection",
        );
    };
}

symbols! {
    replaced {
        rte_dev_event_callback_process
        rte_dev_event_callback_register
        rte_dev_event_callback_unregister
        rte_dev_event_monitor_start
        rte_dev_event_monitor_stop
        rte_dev_hotplug_handle_disable
        rte_dev_hotplug_handle_enable
        rte_dev_probe
        rte_dev_remove
        rte_eal_cleanup
        rte_eal_hotplug_add
        rte_eal_hotplug_remove
        rte_eal_init
        rte_mp_action_register
    }
    others {
        rte_bus_find
        rte_bus_find_by_name
        rte_bus_find_driver
        rte_bus_name
        rte_ctrl_thread_create
        rte_dev_bus
        rte_dev_devargs
        rte_dev_driver
        rte_dev_name
        rte_dev_numa_node
        rte_devargs_insert
        rte_devargs_next
        rte_devargs_parse
        rte_devargs_reset
        rte_eal_alarm_cancel
        rte_eal_alarm_set
        rte_eal_get_runtime_dir
        rte_eal_process_type
        rte_eth_dev_is_valid_port
        rte_eth_find_next_of
        rte_intr_callback_register
        rte_intr_callback_unregister
        rte_intr_callback_unregister_pending
        rte_intr_fd_set
        rte_intr_instance_alloc
        rte_intr_instance_free
        rte_intr_type_set
        rte_log
        rte_log_can_log
        rte_log_register_type_and_pick_level
        rte_mcfg_mem_read_lock
        rte_mcfg_mem_read_unlock
        rte_mp_action_unregister
        rte_thread_create_control
        rte_thread_is_intr
        rte_vect_get_max_simd_bitwidth
        rte_version
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!("static-dpdk: how to find a thread's rte_errno is not known for this architecture");

/// The calling thread's `rte_errno`, which every DPDK has.
fn rte_errno() -> Option<NonNull<c_void>> {
    // A place in the thread's variables is nothing that could be NULL when DPDK is not there.
    Object::defining(c"rte_eal_init", None)?;
    let variable: *mut c_void;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: adds the variable's distance to the thread pointer, both only read.
    unsafe {
        asm!(
            ".weak per_lcore__rte_errno",
            "mov {variable}, qword ptr [rip + per_lcore__rte_errno@GOTTPOFF]",
            "add {variable}, qword ptr fs:[0]",
            variable = out(reg) variable,
            options(nostack, readonly)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: adds the variable's distance to the thread pointer, both only read.
    unsafe {
        asm!(
            ".weak per_lcore__rte_errno",
            "adrp {variable}, :gottprel:per_lcore__rte_errno",
            "ldr {variable}, [{variable}, :gottprel_lo12:per_lcore__rte_errno]",
            "mrs {thread}, tpidr_el0",
            "add {variable}, {variable}, {thread}",
            variable = out(reg) variable,
            thread = out(reg) _,
            options(nostack, readonly, preserves_flags)
        );
    }
    NonNull::new(variable)
}
