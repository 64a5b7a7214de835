//! SIGBUS by devices that have gone: the signal's handler, and the table of mappings that it may
//! replace. The handler takes no lock, allocates nothing and logs nothing.

use std::ffi::{CStr, c_int, c_void};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence,
};

use crate::sys::lock::Mutex;
use nix::errno::Errno;

use super::maps;

/// How many mappings can be known at a time: six for each of 680 devices.
const SLOTS: usize = 4096;

/// Names who owns a mapping.
pub type Owner = u64;

/// A mapping that the handler may replace.
struct Slot {
    /// Odd while the rest is being written.
    version: AtomicU64,
    start: AtomicUsize,
    /// 0: the slot is free.
    length: AtomicUsize,
    owner: AtomicU64,
    /// Whose it was when it was replaced, until somebody asks; 0: nobody's.
    replaced: AtomicU64,
}

static TABLE: [Slot; SLOTS] = [const {
    Slot {
        version: AtomicU64::new(0),
        start: AtomicUsize::new(0),
        length: AtomicUsize::new(0),
        owner: AtomicU64::new(0),
        replaced: AtomicU64::new(0),
    }
}; SLOTS];
/// No slot from here on was ever used.
static USED: AtomicUsize = AtomicUsize::new(0);
/// One who writes the table at a time.
static WRITER: Mutex<()> = Mutex::new(());

/// What to do with a SIGBUS that is not ours. Never changed or freed: a handler may be reading it.
struct Previous {
    action: libc::sigaction,
    /// The one that was remembered before.
    next: Option<&'static Self>,
}

/// NULL: the default action.
static PREVIOUS: AtomicPtr<Previous> = AtomicPtr::new(ptr::null_mut());
/// All that were remembered: what comes again needs no new one.
static REMEMBERED: Mutex<Option<&'static Previous>> = Mutex::new(None);
/// Whether the handler leaves all to the previous one.
static PASSIVE: AtomicBool = AtomicBool::new(true);
/// The eventfd that tells of a replaced mapping.
static BELL: AtomicI32 = AtomicI32::new(-1);

/// Lets the handler replace a mapping. `false` when the table is full.
pub fn publish(owner: Owner, start: usize, length: usize) -> bool {
    let _alone = WRITER.lock();
    let Some(at) = TABLE.iter().position(|slot| slot.length.load(Ordering::Relaxed) == 0) else {
        return false;
    };
    TABLE[at].write(owner, start, length);
    USED.fetch_max(at + 1, Ordering::Release);
    true
}

/// The handler may not replace the mappings of this owner any more.
pub fn withdraw(owner: Owner) {
    let _alone = WRITER.lock();
    for slot in used() {
        if slot.length.load(Ordering::Relaxed) != 0 && slot.owner.load(Ordering::Relaxed) == owner {
            slot.write(0, 0, 0);
        }
    }
}

/// The owners whose mappings were replaced since this was asked last.
pub fn replaced() -> Vec<Owner> {
    let _alone = WRITER.lock();
    let owners = used().iter().map(|slot| slot.replaced.swap(0, Ordering::AcqRel));
    let mut owners: Vec<_> = owners.filter(|owner| *owner != 0).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// Puts memory in the place of all mappings of a PCI function's resources, as uio drivers have them: it
/// reads as zeros. The caller sees to it that nobody unmaps them meanwhile.
pub fn replace_mappings_of(function: &CStr) -> nix::Result<()> {
    maps::of_pci_function(function).into_iter().try_for_each(|(start, length)| {
        // SAFETY: the kernel has just shown it as a mapping of a device that has gone, and it stays one.
        unsafe { replace(start, length) }
    })
}

/// Puts memory in the place of a mapping.
///
/// # Safety
/// The pages are a mapping of a device that is not used for anything else.
unsafe fn replace(start: usize, length: usize) -> nix::Result<()> {
    let page = page_size();
    let first = start & !(page - 1);
    let end = (start + length).next_multiple_of(page);
    // SAFETY: the caller's promise.
    let mapped = unsafe {
        libc::mmap(
            ptr::without_provenance_mut(first),
            end - first,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_FIXED | libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    if mapped == libc::MAP_FAILED { Err(Errno::last()) } else { Ok(()) }
}

/// Names the eventfd that is written to whenever a mapping was replaced.
pub fn ring(bell: BorrowedFd<'static>) {
    BELL.store(bell.as_raw_fd(), Ordering::Release);
}

/// Installs the handler. A `foreign` handler is not to be called for a SIGBUS that is not ours.
pub fn install(foreign: Option<usize>) -> nix::Result<()> {
    // What the handler reads is made before it can run.
    page_size();
    let current = action(None)?;
    if !is_ours(&current) && !is_below(&current) {
        remember(&current, foreign);
        let replaced = action(Some(&own_action()))?;
        if !is_ours(&replaced) && replaced.sa_sigaction != current.sa_sigaction {
            // Somebody was faster in between.
            remember(&replaced, foreign);
        }
    }
    PASSIVE.store(false, Ordering::Release);
    Ok(())
}

/// The handler that is installed now, or `SIG_DFL` or `SIG_IGN`.
pub fn current_handler() -> nix::Result<usize> {
    Ok(action(None)?.sa_sigaction)
}

/// Puts back what was there, or where somebody has installed a handler since, lets ours do nothing:
/// that one may call it.
pub fn uninstall() -> nix::Result<()> {
    PASSIVE.store(true, Ordering::Release);
    if is_ours(&action(None)?) {
        let previous = PREVIOUS.load(Ordering::Acquire);
        // SAFETY: NULL, or published and never freed.
        let previous = unsafe { previous.as_ref() }.map(|previous| previous.action);
        action(Some(&previous.unwrap_or_else(|| simple_action(libc::SIG_DFL))))?;
        ABOVE.store(0, Ordering::Release);
    } else {
        ABOVE.store(action(None)?.sa_sigaction, Ordering::Release);
    }
    Ok(())
}

/// The handler that stood above ours when it was uninstalled: it may lead to ours.
static ABOVE: AtomicUsize = AtomicUsize::new(0);

fn is_below(current: &libc::sigaction) -> bool {
    let above = ABOVE.load(Ordering::Acquire);
    above != 0 && current.sa_sigaction == above
}

impl Slot {
    fn write(&self, owner: Owner, start: usize, length: usize) {
        self.version.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::Release);
        self.start.store(start, Ordering::Relaxed);
        self.length.store(length, Ordering::Relaxed);
        self.owner.store(owner, Ordering::Relaxed);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The mapping, if it contains the address.
    fn containing(&self, address: usize) -> Option<(usize, usize, Owner)> {
        let before = self.version.load(Ordering::Acquire);
        let start = self.start.load(Ordering::Relaxed);
        let length = self.length.load(Ordering::Relaxed);
        let owner = self.owner.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        let unchanged = before % 2 == 0 && self.version.load(Ordering::Relaxed) == before;
        (unchanged && address.wrapping_sub(start) < length).then_some((start, length, owner))
    }
}

fn used() -> &'static [Slot] {
    &TABLE[..USED.load(Ordering::Acquire)]
}

/// The size of a page.
pub fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    match SIZE.load(Ordering::Relaxed) {
        0 => {
            // SAFETY: asks for a constant.
            let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            SIZE.store(usize::try_from(size).unwrap_or(4096), Ordering::Relaxed);
            SIZE.load(Ordering::Relaxed)
        }
        size => size,
    }
}

type Action = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

fn own_action() -> libc::sigaction {
    let handler: Action = handle;
    libc::sigaction {
        sa_flags: libc::SA_SIGINFO | libc::SA_ONSTACK,
        ..simple_action(handler as *const () as usize)
    }
}

fn simple_action(handler: usize) -> libc::sigaction {
    // SAFETY: all zeros is a sigaction: the default action, an empty mask.
    let nothing: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    libc::sigaction { sa_sigaction: handler, ..nothing }
}

fn is_ours(action: &libc::sigaction) -> bool {
    action.sa_sigaction == own_action().sa_sigaction
}

/// The action of SIGBUS, and a new one in its place if given.
fn action(new: Option<&libc::sigaction>) -> nix::Result<libc::sigaction> {
    let mut old = simple_action(libc::SIG_DFL);
    let new = new.map_or(ptr::null(), ptr::from_ref);
    // SAFETY: both are NULL or whole structs; the handlers in them live for ever, or are the
    // application's own.
    Errno::result(unsafe { libc::sigaction(libc::SIGBUS, new, &mut old) })?;
    Ok(old)
}

/// Keeps an action for signals that are not ours.
fn remember(previous: &libc::sigaction, foreign: Option<usize>) {
    let is_foreign = foreign == Some(previous.sa_sigaction);
    let action = if is_foreign { simple_action(libc::SIG_DFL) } else { *previous };
    let mut remembered = REMEMBERED.lock();
    let mut all = std::iter::successors(*remembered, |previous| previous.next);
    let kept = all.find(|previous| is_same(&previous.action, &action)).unwrap_or_else(|| {
        let new: &'static Previous = Box::leak(Box::new(Previous { action, next: *remembered }));
        *remembered = Some(new);
        new
    });
    PREVIOUS.store(ptr::from_ref(kept).cast_mut(), Ordering::Release);
}

fn is_same(one: &libc::sigaction, other: &libc::sigaction) -> bool {
    let blocks = |action: &libc::sigaction, signal| {
        // SAFETY: a whole signal set, and the number of a signal.
        unsafe { libc::sigismember(&action.sa_mask, signal) == 1 }
    };
    one.sa_sigaction == other.sa_sigaction
        && one.sa_flags == other.sa_flags
        && (1..=libc::SIGRTMAX()).all(|signal| blocks(one, signal) == blocks(other, signal))
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let errno = Errno::last_raw();
    // SAFETY: the kernel gives a siginfo to a handler with SA_SIGINFO; of a fault it has the address.
    let (code, address) = unsafe { ((*info).si_code, (*info).si_addr() as usize) };
    let is_fault = code == libc::BUS_ADRERR && !PASSIVE.load(Ordering::Acquire);
    let recovered = is_fault && recover(address);
    Errno::set_raw(errno);
    if !recovered {
        pass_on(signal, info, context);
    }
}

/// Replaces the mapping that contains the address: whether there is one.
fn recover(address: usize) -> bool {
    let hit = used().iter().find_map(|slot| slot.containing(address).map(|range| (slot, range)));
    let Some((slot, (start, length, owner))) = hit else { return false };
    // SAFETY: a published mapping of a device, which faults: it is of no use any more. Its driver may
    // have unmapped it an instant ago, as it is withdrawn right after that; what another thread has
    // mapped there since, and has fault as well, is lost to it in either way.
    if unsafe { replace(start, length) }.is_err() {
        return false;
    }
    slot.replaced.store(owner, Ordering::Release);
    let one = 1_u64.to_ne_bytes();
    // SAFETY: eight bytes for an eventfd, or a descriptor that is none; a full counter has rung.
    unsafe { libc::write(BELL.load(Ordering::Acquire), one.as_ptr().cast(), one.len()) };
    true
}

/// Does what would have happened without us.
fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: NULL, or published and never freed or changed.
    let previous = unsafe { PREVIOUS.load(Ordering::Acquire).as_ref() };
    let default = simple_action(libc::SIG_DFL);
    let previous = previous.map_or(default, |previous| previous.action);
    // SAFETY: a siginfo of the kernel's.
    let code = unsafe { (*info).si_code };
    // A memory error that nobody has met yet is no fault either.
    let is_fault = code > 0 && code != libc::BUS_MCEERR_AO;
    match previous.sa_sigaction {
        // The kernel ignores no fault.
        libc::SIG_IGN if !is_fault => {}
        libc::SIG_DFL | libc::SIG_IGN => die(signal, is_fault),
        handler => call(&previous, handler, signal, info, context),
    }
}

/// The default action, with the status and the core dump that belong to it.
fn die(signal: c_int, is_fault: bool) {
    let _ = action(Some(&simple_action(libc::SIG_DFL)));
    if !is_fault {
        // Blocked until this handler returns; the access that faulted is repeated by itself.
        // SAFETY: sends a signal to this thread.
        unsafe { libc::raise(signal) };
    }
}

/// Calls a handler as the kernel would.
fn call(
    previous: &libc::sigaction,
    handler: usize,
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    if previous.sa_flags & libc::SA_RESETHAND != 0 {
        PREVIOUS.store(ptr::null_mut(), Ordering::Release);
    }
    // SAFETY: whole signal sets; the kernel puts the thread's own back when our handler returns.
    unsafe {
        libc::pthread_sigmask(libc::SIG_BLOCK, &previous.sa_mask, ptr::null_mut());
        if previous.sa_flags & libc::SA_NODEFER != 0 {
            let mut own = MaybeUninit::uninit();
            libc::sigemptyset(own.as_mut_ptr());
            libc::sigaddset(own.as_mut_ptr(), signal);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, own.as_ptr(), ptr::null_mut());
        }
    }
    if previous.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: installed with SA_SIGINFO, it takes these arguments.
        let handler: Action = unsafe { std::mem::transmute::<usize, Action>(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: installed without SA_SIGINFO, it takes the signal.
        let handler = unsafe { std::mem::transmute::<usize, extern "C" fn(c_int)>(handler) };
        handler(signal);
    }
}
