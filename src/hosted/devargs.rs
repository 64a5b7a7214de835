//! Devargs of the host: parsed, listed and freed by the host's own functions.

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr::NonNull;

use crate::sys::lock::Mutex;

use super::Hosted;
use super::bus::HostBus;
use super::host::text;
use super::layout::{DEVARGS_ARGS, DEVARGS_BUS, DEVARGS_NAME, DEVARGS_POLICY, DEVARGS_ROOM};
use crate::error::{Error, Kind, Result, describe_code};
use crate::ports;
use crate::proto::devargs::breaks_host_parser;

/// `RTE_DEV_BLOCKED`
const BLOCKED: i32 = 1;

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
            return Err(Error::new(
                Kind::NoBus,
                format!(
                    "\"{}\": a layer has a key without a value, or there are more than three",
                    devargs.to_string_lossy()
                ),
            ));
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
}

impl Drop for HostDevargs {
    fn drop(&mut self) {
        if !self.listed {
            // SAFETY: not listed, so it is ours alone.
            unsafe { free(self.hosted, self.entry) };
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
        let _alone = LIST.lock();
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

    fn withdraw(self) {
        if self.listed {
            // Taken off and freed, unless somebody else has done so.
            drop(Unlisted::take(self.hosted, self.entry));
        }
    }
}

/// A listed entry that was taken off the host's list; freed on drop, as soon as nobody can read it.
///
/// The host's list has no lock: `rte_bus.unplug` walks it to remove the entry, while another thread
/// may insert or scan. So the entry leaves the list first, under our lock, and what a walk may still
/// stand on is freed only when no walk is under way.
pub struct Unlisted {
    hosted: &'static Hosted,
    entry: NonNull<c_void>,
}

// SAFETY: the entry belongs to this value alone.
unsafe impl Send for Unlisted {}

/// Held while we change the list; never while a bus or driver runs.
static LIST: Mutex<()> = Mutex::new(());

/// `TAILQ_ENTRY(rte_devargs)`, at the start of the struct.
#[repr(C)]
struct Links {
    next: *mut Links,
    /// The `next` that points here: the previous entry's, or the list head's first pointer.
    previous: *mut *mut Links,
}

/// `TAILQ_HEAD(rte_devargs)`
#[repr(C)]
struct Head {
    first: *mut Links,
    last: *mut *mut Links,
}

impl Unlisted {
    /// Takes `entry` off the host's list, if it is there.
    pub fn take(hosted: &'static Hosted, entry: NonNull<c_void>) -> Option<Self> {
        Self::take_first(hosted, |listed| listed == entry.as_ptr())
    }

    /// Takes the entry for a device of this name off the host's list, if there is one.
    pub fn take_named(hosted: &'static Hosted, bus: &HostBus, name: &CStr) -> Option<Self> {
        Self::take_first(hosted, |listed| {
            // SAFETY: a listed entry, which nobody takes off while the lock is held: its bus and its
            // name, an array inside the entry.
            unsafe {
                listed.byte_add(DEVARGS_BUS).cast::<*mut c_void>().read() == bus.address().as_ptr()
                    && text(listed.byte_add(DEVARGS_NAME).cast()) == Some(name)
            }
        })
    }

    fn take_first(hosted: &'static Hosted, wanted: impl Fn(*mut c_void) -> bool) -> Option<Self> {
        let _alone = LIST.lock();
        let first = next(hosted, std::ptr::null());
        let mut listed = first;
        while !listed.is_null() && !wanted(listed) {
            listed = next(hosted, listed);
        }
        let entry = NonNull::new(listed)?;
        // SAFETY: `first` and `entry` are on the list, so their links are valid, and the first
        // one's `previous` is the head. A walk in another thread sees either link; both lead on.
        unsafe {
            let head: *mut Head = (*first.cast::<Links>()).previous.cast();
            let links: *mut Links = entry.as_ptr().cast();
            let (after, before) = ((*links).next, (*links).previous);
            if after.is_null() {
                (*head).last = before;
            } else {
                (*after).previous = before;
            }
            before.write(after);
        }
        Some(Self { hosted, entry })
    }

    /// Where the entry is.
    pub fn address(&self) -> *mut c_void {
        self.entry.as_ptr()
    }

    /// Lists the entry again, at the end.
    pub fn put_back(self) {
        let _alone = LIST.lock();
        let mut entry = self.entry.as_ptr();
        // The device refers to the entry, so it is not freed even if it could not be listed.
        // SAFETY: hands the entry over; no other is listed for this device, as we have its turn.
        unsafe { (self.hosted.eal.devargs_insert)(&mut entry) };
        std::mem::forget(self);
    }
}

impl Drop for Unlisted {
    fn drop(&mut self) {
        let mut graves = GRAVES.lock();
        graves.entries.push((self.hosted, Grave(self.entry)));
        graves.clear_if_quiet();
    }
}

/// A walk of the host over its list that we cannot see into: while it lasts nothing is freed.
pub struct Walk(());

impl Walk {
    /// The host may start to walk.
    pub fn start() -> Self {
        GRAVES.lock().walks += 1;
        Self(())
    }
}

impl Drop for Walk {
    fn drop(&mut self) {
        let mut graves = GRAVES.lock();
        graves.walks -= 1;
        graves.clear_if_quiet();
    }
}

/// Entries that are off the list but may still be read.
#[derive(Default)]
struct Graves {
    walks: usize,
    entries: Vec<(&'static Hosted, Grave)>,
}

struct Grave(NonNull<c_void>);

// SAFETY: only its address is kept, until it is freed.
unsafe impl Send for Grave {}

static GRAVES: Mutex<Graves> = Mutex::new(Graves { walks: 0, entries: Vec::new() });

impl Graves {
    fn clear_if_quiet(&mut self) {
        if self.walks == 0 {
            for (hosted, Grave(entry)) in self.entries.drain(..) {
                // SAFETY: off the list, and no walk stands on it.
                unsafe { free(hosted, entry) };
            }
        }
    }
}

/// Whether the command line keeps the device off its bus: blocks it, or allows others.
pub fn keeps_out(hosted: &'static Hosted, bus: &HostBus, name: &CStr) -> bool {
    let _alone = LIST.lock();
    let mut listed = next(hosted, std::ptr::null());
    while !listed.is_null() {
        // SAFETY: a listed entry, which nobody takes off while the lock is held.
        let (policy, of, entry) = unsafe { fields(listed) };
        if of == bus.address().as_ptr() && entry == name {
            return policy == BLOCKED;
        }
        listed = next(hosted, listed);
    }
    // Entries of others say nothing: those of devices that were attached look like those of -a. And a
    // vdev is made by its own.
    bus.is_allowlisted() && !bus.is_vdev()
}

/// Whether devargs are listed for a device of this bus that do not block it.
pub fn lists(hosted: &'static Hosted, bus: &HostBus, name: &CStr) -> bool {
    let _alone = LIST.lock();
    let mut listed = next(hosted, std::ptr::null());
    while !listed.is_null() {
        // SAFETY: a listed entry, which nobody takes off while the lock is held.
        let (policy, of, entry) = unsafe { fields(listed) };
        if of == bus.address().as_ptr() && entry == name {
            return policy != BLOCKED;
        }
        listed = next(hosted, listed);
    }
    false
}

/// The policy, the bus and the name of an entry.
///
/// # Safety
/// The entry lives for `'a`.
unsafe fn fields<'a>(entry: *const c_void) -> (i32, *mut c_void, &'a CStr) {
    // SAFETY: the caller's promise; the name is an array inside of the entry.
    unsafe {
        (
            entry.byte_add(DEVARGS_POLICY).cast::<i32>().read(),
            entry.byte_add(DEVARGS_BUS).cast::<*mut c_void>().read(),
            text(entry.byte_add(DEVARGS_NAME).cast()).unwrap_or_default(),
        )
    }
}

/// Whether the host lists this entry.
pub fn is_listed(hosted: &Hosted, entry: *const c_void) -> bool {
    let _alone = LIST.lock();
    let mut listed = next(hosted, std::ptr::null());
    while !listed.is_null() && listed.cast_const() != entry {
        listed = next(hosted, listed);
    }
    !listed.is_null()
}

fn next(hosted: &Hosted, after: *const c_void) -> *mut c_void {
    // SAFETY: all buses; `after` is NULL or listed.
    unsafe { (hosted.eal.devargs_next)(std::ptr::null(), after) }
}

/// Frees an entry with its strings.
///
/// # Safety
/// The entry was made by the host's parser, is on no list, and nobody reads it.
pub unsafe fn free(hosted: &Hosted, entry: NonNull<c_void>) {
    // SAFETY: 20.11 has no reset; its parser allocates `args` alone.
    unsafe {
        match hosted.eal.devargs_reset {
            Some(reset) => reset(entry.as_ptr()),
            None => {
                let arguments = entry.as_ptr().byte_add(DEVARGS_ARGS).cast::<*mut c_char>();
                libc::free(arguments.read().cast());
            }
        }
        libc::free(entry.as_ptr());
    }
}

fn refused(devargs: &CStr, code: i32) -> Error {
    Error::new(
        Kind::Code(code),
        format!(
            "\"{}\": devargs refused: {}{}",
            devargs.to_string_lossy(),
            describe_code(code),
            match code {
                code if code == -libc::EFAULT => {
                    ": no bus takes such a name: is it right, and its driver loaded?"
                }
                code if code == -libc::EINVAL => ": the device name is longer than 63 bytes",
                _ => "",
            }
        ),
    )
}
