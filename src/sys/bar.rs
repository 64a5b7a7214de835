//! The memory of a device, mapped.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// A mapping; it ends with this value.
#[derive(Debug)]
pub struct Bar {
    start: NonNull<c_void>,
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
        let offset = libc::off_t::try_from(offset).map_err(|_| Errno::EINVAL)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: at a place that the kernel chooses, so it replaces nothing.
        let start = unsafe { mmap(None, length, protection, MapFlags::MAP_SHARED, file, offset) }?;
        Ok(Self { start, length })
    }

    /// Where it starts.
    pub fn start(&self) -> usize {
        self.start.as_ptr() as usize
    }

    /// Its length in bytes.
    pub fn length(&self) -> usize {
        self.length.get()
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        // SAFETY: made by map(), or memory that has replaced it; its users have let go of it.
        let _ = unsafe { munmap(self.start, self.length.get()) };
    }
}
