//! Devargs of the host: parsed, listed and freed by the host's own functions.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;

use super::Hosted;
use super::bus::HostBus;
use super::host::text;
use super::layout::{DEVARGS_ARGS, DEVARGS_BUS, DEVARGS_NAME, DEVARGS_ROOM};
use crate::error::{Error, Kind, Result, describe_code};
use crate::ports;
use crate::proto::devargs::breaks_host_parser;

/// A `struct rte_devargs` from libc's allocator, as the EAL expects. Ours until it is listed.
pub struct HostDevargs {
    hosted: &'static Hosted,
    entry: NonNull<c_void>,
    name: CString,
    listed: bool,
}

impl HostDevargs {
    /// Parses `devargs` with the host's parser.
    pub fn parse(hosted: &'static Hosted, devargs: &CStr) -> Result<Self> {
        if breaks_host_parser(devargs.to_bytes()) {
            return Err(refused(devargs, -libc::EFAULT));
        }
        // The host's parser looks one byte past the NUL of a text that is just a bus name.
        let mut padded = devargs.to_bytes_with_nul().to_vec();
        padded.extend([0, 0]);
        // SAFETY: plain allocation; NULL is checked next.
        let entry = NonNull::new(unsafe { libc::calloc(1, DEVARGS_ROOM) })
            .ok_or_else(|| Error::new(Kind::NoMemory, "devargs: out of memory"))?;
        let mut parsed = Self { hosted, entry, name: CString::default(), listed: false };
        // SAFETY: zeroed room for a struct rte_devargs, and a C string.
        let code = unsafe { (hosted.eal.devargs_parse)(entry.as_ptr(), padded.as_ptr().cast()) };
        if code != 0 {
            return Err(refused(devargs, code));
        }
        // SAFETY: the name is an array inside the entry, NUL-terminated by the parser.
        parsed.name = unsafe { text(entry.as_ptr().byte_add(DEVARGS_NAME).cast()) }
            .unwrap_or_default()
            .to_owned();
        Ok(parsed)
    }

    fn free(&self) {
        // SAFETY: the entry is ours: `args` was allocated by the host's parser with strdup (in
        // 20.11, which has no reset) or belongs to what reset frees.
        unsafe {
            match self.hosted.eal.devargs_reset {
                Some(reset) => reset(self.entry.as_ptr()),
                None => {
                    let data = self.entry.as_ptr().byte_add(DEVARGS_ARGS);
                    libc::free(data.cast::<*mut c_char>().read().cast());
                }
            }
            libc::free(self.entry.as_ptr());
        }
    }
}

impl Drop for HostDevargs {
    fn drop(&mut self) {
        if !self.listed {
            self.free();
        }
    }
}

impl ports::Devargs for HostDevargs {
    type Bus = HostBus;

    fn bus(&self) -> Option<HostBus> {
        // SAFETY: `rte_devargs.bus`, set by the host's parser to one of its buses or NULL.
        unsafe {
            let bus = self.entry.as_ptr().byte_add(DEVARGS_BUS).cast::<*mut c_void>().read();
            NonNull::new(bus).map(|bus| HostBus::new(self.hosted, bus))
        }
    }

    fn name(&self) -> &CStr {
        &self.name
    }

    fn insert(&mut self) -> Result<()> {
        let mut entry = self.entry.as_ptr();
        // SAFETY: hands our entry over; the host may free it and point us to the listed one.
        let code = unsafe { (self.hosted.eal.devargs_insert)(&mut entry) };
        if code != 0 {
            return Err(Error::new(
                Kind::Code(code),
                format!("{}: devargs could not be listed", self.name.to_string_lossy()),
            ));
        }
        self.entry = NonNull::new(entry).unwrap_or(self.entry);
        self.listed = true;
        Ok(())
    }

    fn withdraw(mut self) {
        // SAFETY: removes and frees the listed entry of the same bus and name; when there is none
        // (not zero), the entry is still ours and drop frees it.
        let removed = unsafe { (self.hosted.eal.devargs_remove)(self.entry.as_ptr()) } == 0;
        self.listed = self.listed && removed;
    }
}

fn refused(devargs: &CStr, code: i32) -> Error {
    Error::new(
        Kind::Code(code),
        format!(
            "\"{}\": devargs refused: {}: no bus takes such a name: is its driver loaded?",
            devargs.to_string_lossy(),
            describe_code(code)
        ),
    )
}
