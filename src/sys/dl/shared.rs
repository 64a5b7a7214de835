//! DPDK in a shared library: the dynamic linker tells which loaded object defines a symbol, and where. It has
//! locks of its own, so no other thread forks while one of ours is in there.

use std::ffi::{CStr, CString, c_void};
use std::ops::ControlFlow;
use std::ptr::{NonNull, null_mut};

use super::{as_function, object_at, walk_objects};
use crate::sys::fork;

/// A loaded object, held from unloading.
#[derive(Clone, Copy, Debug)]
pub struct Object {
    handle: NonNull<c_void>,
}

// SAFETY: a dlopen handle may be used from any thread.
unsafe impl Send for Object {}
// SAFETY: dlsym on one handle from several threads is allowed.
unsafe impl Sync for Object {}

impl Object {
    /// The object that itself defines `symbol`, other than this library and, with `but`, than objects that
    /// define that.
    ///
    /// Objects loaded with `RTLD_LOCAL` are found too; nothing is loaded.
    pub fn defining(symbol: &CStr, but: Option<&CStr>) -> Option<Self> {
        loaded_objects().iter().find_map(|(path, _)| {
            let object = Self::already_loaded(path)?;
            // dlsym looks into the dependencies of the object as well; any definition will do, as
            // long as it is not ours.
            let found = object.address(symbol).filter(|address| !is_ours(address.as_ptr()));
            let host = found.and_then(Self::containing);
            object.release();
            if host.zip(but).is_some_and(|(host, but)| host.defines(but)) {
                host?.release();
                return None;
            }
            host
        })
    }

    /// An object that was loaded before this library and defines `symbol`.
    pub fn before_ours(symbol: &CStr) -> Option<Self> {
        let objects = loaded_objects();
        objects.iter().take_while(|(_, is_ours)| !is_ours).find_map(|(path, _)| {
            let object = Self::already_loaded(path)?;
            if object.defines(symbol) {
                return Some(object);
            }
            object.release();
            None
        })
    }

    /// Whether the object itself defines `symbol`, not one that it depends on.
    fn defines(&self, symbol: &CStr) -> bool {
        self.address(symbol).is_some_and(|address| self.contains(address))
    }

    /// The loaded object that contains this address.
    pub fn containing(address: NonNull<c_void>) -> Option<Self> {
        let info = info_of(address.as_ptr())?;
        if info.dli_fname.is_null() {
            return None;
        }
        // SAFETY: dladdr set dli_fname to a C string of the linker's; the object stays loaded.
        let path = unsafe { CStr::from_ptr(info.dli_fname) };
        // The main program is known to dlopen by NULL only, whatever dladdr calls it.
        let by_path = Self::already_loaded(path);
        by_path.or_else(|| Self::already_loaded(c""))
    }

    /// Whether the address lies in this object.
    pub fn contains(&self, address: NonNull<c_void>) -> bool {
        Self::containing(address).is_some_and(|object| {
            object.release();
            object.handle == self.handle
        })
    }

    /// The address of `symbol` in this object or in what it depends on.
    pub fn address(&self, symbol: &CStr) -> Option<NonNull<c_void>> {
        let _held = fork::hold();
        // SAFETY: the handle is from dlopen and never closed.
        NonNull::new(unsafe { libc::dlsym(self.handle.as_ptr(), symbol.as_ptr()) })
    }

    /// The function `symbol` as a pointer of type `F`.
    ///
    /// # Safety
    /// `F` is a function pointer type with the signature that the symbol has in C.
    pub unsafe fn function<F: Copy>(&self, symbol: &CStr) -> Option<F> {
        // A main program's handle finds whatever the whole process exports, ours included.
        let address = self.address(symbol).filter(|address| !is_ours(address.as_ptr()))?;
        // SAFETY: passed on to the caller.
        Some(unsafe { as_function(address) })
    }

    /// Gives back the reference that `already_loaded` took.
    fn release(self) {
        let _held = fork::hold();
        // SAFETY: the handle is from dlopen and not used any more.
        unsafe { libc::dlclose(self.handle.as_ptr()) };
    }

    fn already_loaded(path: &CStr) -> Option<Self> {
        let _held = fork::hold();
        let name = if path.is_empty() { std::ptr::null() } else { path.as_ptr() };
        // SAFETY: with RTLD_NOLOAD nothing is loaded and no foreign code runs; the reference that
        // this takes is kept, so that the object cannot go away under us.
        let handle = unsafe { libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD) };
        NonNull::new(handle).map(|handle| Self { handle })
    }
}

/// The next definition of `symbol` after ours in the search order, as a function of type `F`.
///
/// # Safety
/// `F` is a function pointer type with the signature that the symbol has in C.
pub unsafe fn next_function<F: Copy>(symbol: &CStr) -> Option<F> {
    let _held = fork::hold();
    // SAFETY: dlsym with RTLD_NEXT only looks up.
    let address = unsafe { libc::dlsym(libc::RTLD_NEXT, symbol.as_ptr()) };
    // SAFETY: passed on to the caller.
    NonNull::new(address).map(|address| unsafe { as_function(address) })
}

/// Whether the application's calls of `symbol` come to this library; `None` when nothing has it.
pub fn reaches_us(symbol: &CStr) -> Option<bool> {
    let reached = default_address(symbol)?;
    if is_ours(reached.as_ptr()) {
        return Some(true);
    }
    if is_in_program(reached) && !is_dpdk_in_program() {
        // Where a program that takes the function's address calls it: whichever is in front.
        return is_first(symbol);
    }
    Some(false)
}

/// Whether this library stands before all other objects that define `symbol`, the program left out.
fn is_first(symbol: &CStr) -> Option<bool> {
    loaded_objects().iter().skip(1).find_map(|(path, is_ours)| {
        let object = Object::already_loaded(path)?;
        let defines = object.defines(symbol);
        object.release();
        defines.then_some(*is_ours)
    })
}

fn is_dpdk_in_program() -> bool {
    default_address(c"rte_eal_process_type").is_some_and(is_in_program)
}

/// What is wrong with how the library came into the process, for one who can put it right.
pub fn complaint() -> Option<&'static str> {
    if reaches_us(c"rte_dev_probe")? || reaches_us(c"rte_hotplug_version") == Some(false) {
        // Or it is another copy of this library, and the first call here says so.
        return None;
    }
    Some(if is_dpdk_in_program() {
        "librte_hotplug is loaded, but DPDK is linked statically into the program, so DPDK's own \
         hotplug is used: link librte_hotplug_static.a into the program as well"
    } else {
        "librte_hotplug is loaded but not in front of librte_eal, so DPDK's own hotplug is used: put \
         -lrte_hotplug before -lrte_eal (with -Wl,--no-as-needed), or set LD_PRELOAD"
    })
}

fn default_address(symbol: &CStr) -> Option<NonNull<c_void>> {
    let _held = fork::hold();
    // SAFETY: dlsym with RTLD_DEFAULT only looks up.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, symbol.as_ptr()) })
}

/// Whether the address lies in the object that this code is in.
fn is_ours(address: *const c_void) -> bool {
    // Not an exported function: its address is whichever definition stands in front.
    let own = base_of(base_of as *const c_void);
    own.is_some() && base_of(address) == own
}

/// Whether the address lies in the main program.
fn is_in_program(address: NonNull<c_void>) -> bool {
    let (Some(object), Some(program)) = (Object::containing(address), Object::already_loaded(c""))
    else {
        return false;
    };
    object.release();
    program.release();
    object.handle == program.handle
}

/// The paths of all loaded objects, in the order of loading, and whether it is this library; the main
/// program's path is empty.
fn loaded_objects() -> Vec<(CString, bool)> {
    let own = object_at(base_of as *const c_void);
    let mut objects = vec![];
    // dlopen is called later, outside of the walk.
    walk_objects(|object| {
        // SAFETY: the linker's record has a C string.
        let path = unsafe { CStr::from_ptr(object.dlpi_name) };
        objects.push((path.to_owned(), own == Some(object.dlpi_phdr.addr())));
        ControlFlow::Continue(())
    });
    objects
}

fn base_of(address: *const c_void) -> Option<NonNull<c_void>> {
    info_of(address).and_then(|info| NonNull::new(info.dli_fbase))
}

fn info_of(address: *const c_void) -> Option<libc::Dl_info> {
    let _held = fork::hold();
    let mut info = libc::Dl_info {
        dli_fname: std::ptr::null(),
        dli_fbase: null_mut(),
        dli_sname: std::ptr::null(),
        dli_saddr: null_mut(),
    };
    // SAFETY: dladdr takes any address and fills in our record when it returns non-zero.
    (unsafe { libc::dladdr(address, &mut info) } != 0).then_some(info)
}
