//! The memory of a device, mapped.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::sigbus::page_size;

/// A mapping; it ends with this value.
#[derive(Debug)]
pub struct Bar {
    first_page: NonNull<c_void>,
    /// Where the memory begins in it: what is smaller than a page may share one with others.
    skipped: usize,
    length: NonZeroUsize,
}

// SAFETY: an address and a length; what is behind it is not touched here.
unsafe impl Send for Bar {}
// SAFETY: as above.
unsafe impl Sync for Bar {}

impl Bar {
    /// Maps a part of a file for reading and writing, shared with whoever else has it.
    pub fn map(file: impl AsFd, offset: u64, length: u64) -> nix::Result<Self> {
        let length =
            usize::try_from(length).ok().and_then(NonZeroUsize::new).ok_or(Errno::EINVAL)?;
        let skipped = usize::try_from(offset).map_err(|_| Errno::EINVAL)? % page_size();
        let offset = libc::off_t::try_from(offset - skipped as u64).map_err(|_| Errno::EINVAL)?;
        let whole = length.checked_add(skipped).ok_or(Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: at a place that the kernel chooses, so it replaces nothing.
        let first_page =
            unsafe { mmap(None, whole, protection, MapFlags::MAP_SHARED, file, offset) }?;
        Ok(Self { first_page, skipped, length })
    }

    /// Where it starts.
    pub fn start(&self) -> usize {
        self.first_page.as_ptr() as usize + self.skipped
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.length.get()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // SAFETY: made by map(), or memory that has replaced it; its users have let go of it.
        let _ = unsafe { munmap(self.first_page, self.skipped + self.length.get()) };
    }
}
