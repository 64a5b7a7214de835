//! The linker: where the functions of the DPDK in this process are, and who is called by their names.

#[cfg(feature = "static-dpdk")]
mod linked;
#[cfg(not(feature = "static-dpdk"))]
mod shared;

use std::ffi::{c_int, c_void};
use std::mem::{size_of, transmute_copy};
use std::ops::ControlFlow;
use std::ptr::NonNull;

use crate::sys::fork;

#[cfg(feature = "static-dpdk")]
pub use linked::{Object, complaint, next_function, reaches_us};
#[cfg(not(feature = "static-dpdk"))]
pub use shared::{Object, complaint, next_function, reaches_us};

/// Takes an address for a function of type `F`.
///
/// # Safety
/// `F` is a function pointer type with the signature that the code at `address` has.
pub unsafe fn as_function<F: Copy>(address: NonNull<c_void>) -> F {
    const { assert!(size_of::<F>() == size_of::<*mut c_void>()) };
    // SAFETY: the sizes are equal, and the caller vouches for the signature.
    unsafe { transmute_copy(&address) }
}

/// Whether the address lies in a loaded object.
pub fn is_in_object(address: *const c_void) -> bool {
    object_at(address).is_some()
}

/// A number that grows whenever an object is loaded.
pub fn load_count() -> u64 {
    let mut count = 0;
    walk_objects(|object| {
        count = object.dlpi_adds;
        ControlFlow::Break(())
    });
    count
}

/// What tells the loaded object that the address lies in from others. Not by dladdr, which knows nothing
/// in a program without a dynamic linker.
fn object_at(address: *const c_void) -> Option<usize> {
    let mut found = None;
    walk_objects(|object| {
        // SAFETY: the linker's record has so many headers, and they stay while their object does.
        let headers =
            unsafe { std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)) };
        let is_inside =
            headers.iter().filter(|header| header.p_type == libc::PT_LOAD).any(|header| {
                let start = (object.dlpi_addr as usize).wrapping_add(header.p_vaddr as usize);
                address.addr().wrapping_sub(start) < header.p_memsz as usize
            });
        if is_inside {
            found = Some(object.dlpi_phdr.addr());
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    });
    found
}

/// Shows the loaded objects, the main program first. The linker has them locked meanwhile.
fn walk_objects<F: FnMut(&libc::dl_phdr_info) -> ControlFlow<()>>(mut visit: F) {
    unsafe extern "C" fn show<F: FnMut(&libc::dl_phdr_info) -> ControlFlow<()>>(
        info: *mut libc::dl_phdr_info,
        _size: usize,
        visit: *mut c_void,
    ) -> c_int {
        // SAFETY: the linker passes a valid record, and our visitor, which outlives the walk.
        let (info, visit) = unsafe { (&*info, &mut *visit.cast::<F>()) };
        c_int::from(visit(info).is_break())
    }
    let _held = fork::hold();
    // SAFETY: the callback gets a pointer to our visitor back, during the call only.
    unsafe { libc::dl_iterate_phdr(Some(show::<F>), (&raw mut visit).cast()) };
}
