//! The SIGBUS handler with real faults: reading a mapping of a file behind its end. Each case is a
//! process of its own, as most end with it.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};
use rte_hotplug::sys::sigbus;

const PAGE: usize = 4096;
const OWNER: u64 = 7;
/// The status of a child that did as it should.
const FINE: i32 = 42;

/// Runs a case of this file in a process of its own.
fn in_a_process(case: &str) -> ExitStatus {
    let program = std::env::current_exe().unwrap();
    let mut command = Command::new(program);
    command.args(["--exact", case, "--nocapture", "--include-ignored"]).env("SIGBUS_CASE", case);
    command.output().unwrap().status
}

/// Whether this is the process of a case.
fn is_the_process() -> bool {
    std::env::var_os("SIGBUS_CASE").is_some()
}

/// A mapping of an empty file: every access faults.
fn dead_mapping(pages: usize) -> usize {
    let path = std::env::temp_dir().join(format!("sigbus-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path);
    let file = file.unwrap();
    std::fs::remove_file(path).unwrap();
    let flags = libc::MAP_SHARED;
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses.
    let mapped =
        unsafe { libc::mmap(ptr::null_mut(), pages * PAGE, access, flags, file.as_raw_fd(), 0) };
    assert_ne!(mapped, libc::MAP_FAILED);
    mapped as usize
}

fn read(address: usize) -> u32 {
    // SAFETY: inside a mapping of the test's.
    unsafe { ptr::read_volatile(address as *const u32) }
}

fn bell() -> &'static EventFd {
    let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
    Box::leak(Box::new(EventFd::from_flags(flags).unwrap()))
}

fn install() -> &'static EventFd {
    let bell = bell();
    sigbus::ring(bell.as_fd());
    sigbus::install(None).unwrap();
    bell
}

fn set_action(handler: usize, flags: i32) {
    // SAFETY: a whole sigaction; the handlers here are functions of this file, or the kernel's.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        (action.sa_sigaction, action.sa_flags) = (handler, flags);
        assert_eq!(libc::sigaction(libc::SIGBUS, &action, ptr::null_mut()), 0);
    }
}

fn current_handler() -> usize {
    // SAFETY: only asks.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        assert_eq!(libc::sigaction(libc::SIGBUS, ptr::null(), &mut action), 0);
        action.sa_sigaction
    }
}

static CALLS: AtomicU32 = AtomicU32::new(0);

extern "C" fn exit_in_handler(
    _signal: i32,
    info: *mut libc::siginfo_t,
    _context: *mut libc::c_void,
) {
    // SAFETY: the kernel's siginfo; ends the process.
    unsafe {
        let wanted: usize = std::env::var("SIGBUS_ADDRESS").map_or(0, |text| text.parse().unwrap());
        libc::_exit(if (*info).si_addr() as usize == wanted { FINE } else { 3 });
    }
}

extern "C" fn count_calls(_signal: i32) {
    CALLS.fetch_add(1, Ordering::SeqCst);
}

/// Defines a case, and how its process ends.
macro_rules! case {
    ($name:ident: $(ends with $signal:expr)? $(, $fine:ident)?; $body:block) => {
        #[test]
        fn $name() {
            if is_the_process() {
                $body
                #[allow(unreachable_code)]
                std::process::exit(FINE);
            }
            let status = in_a_process(stringify!($name));
            let signal: Option<i32> = None$(.or(Some($signal)))?;
            match signal {
                Some(signal) => assert_eq!(status.signal(), Some(signal), "{status:?}"),
                None => assert_eq!(status.code(), Some(FINE), "{status:?}"),
            }
        }
    };
}

case!(a_fault_of_a_device_is_replaced_once:; {
    let bell = install();
    let address = dead_mapping(3);
    assert!(sigbus::publish(OWNER, address, 3 * PAGE));
    assert_eq!(read(address + PAGE + 8), 0);
    assert_eq!((read(address), read(address + 3 * PAGE - 4)), (0, 0));
    assert_eq!(sigbus::replaced(), [OWNER]);
    assert_eq!(sigbus::replaced(), []);
    assert_eq!(bell.read().unwrap(), 1, "one fault");
    // It can be written, too.
    // SAFETY: inside the mapping that was replaced.
    unsafe { ptr::write_volatile(address as *mut u32, 1) };
    assert_eq!(read(address), 1);
});

case!(a_fault_elsewhere_ends_the_process: ends with libc::SIGBUS; {
    install();
    assert!(sigbus::publish(OWNER, dead_mapping(1), PAGE));
    read(dead_mapping(1));
});

case!(what_was_withdrawn_is_not_ours: ends with libc::SIGBUS; {
    install();
    let address = dead_mapping(1);
    assert!(sigbus::publish(OWNER, address, PAGE));
    assert!(sigbus::publish(OWNER + 1, dead_mapping(1), PAGE));
    sigbus::withdraw(OWNER);
    read(address);
});

case!(a_fault_with_the_signal_ignored_ends_the_process: ends with libc::SIGBUS; {
    set_action(libc::SIG_IGN, 0);
    install();
    read(dead_mapping(1));
});

case!(a_signal_that_is_ignored_stays_so:; {
    set_action(libc::SIG_IGN, 0);
    install();
    // SAFETY: sends a signal to this thread.
    assert_eq!(unsafe { libc::raise(libc::SIGBUS) }, 0);
});

case!(a_signal_that_somebody_sends_ends_the_process: ends with libc::SIGBUS; {
    // Rust programs begin with a handler for overflows of the stack.
    set_action(libc::SIG_DFL, 0);
    install();
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGBUS) };
});

case!(a_previous_handler_gets_everything_that_it_wants:; {
    let address = dead_mapping(1);
    // SAFETY: no other thread of this process reads the environment now.
    unsafe { std::env::set_var("SIGBUS_ADDRESS", address.to_string()) };
    // SA_RESTART besides: stock compares the flags as a whole.
    set_action(exit_in_handler as *const () as usize, libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK);
    install();
    read(address);
    std::process::exit(4);
});

case!(a_handler_for_one_call_is_called_once: ends with libc::SIGBUS; {
    set_action(count_calls as *const () as usize, libc::SA_RESETHAND);
    install();
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGBUS) };
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    // SAFETY: as above.
    unsafe { libc::raise(libc::SIGBUS) };
});

case!(uninstalled_it_puts_back_what_was_there:; {
    set_action(count_calls as *const () as usize, 0);
    install();
    assert_ne!(current_handler(), count_calls as *const () as usize);
    sigbus::uninstall().unwrap();
    assert_eq!(current_handler(), count_calls as *const () as usize);
});

static OURS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

extern "C" fn chain_to_ours(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    let ours = OURS.load(Ordering::SeqCst);
    // SAFETY: the handler that was installed before this one, with SA_SIGINFO.
    let ours: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
        unsafe { std::mem::transmute(ours) };
    ours(signal, info, context);
}

case!(under_another_handler_it_lets_all_pass_and_comes_back:; {
    set_action(count_calls as *const () as usize, 0);
    install();
    OURS.store(current_handler(), Ordering::SeqCst);
    set_action(chain_to_ours as *const () as usize, libc::SA_SIGINFO);
    sigbus::uninstall().unwrap();
    assert_eq!(current_handler(), chain_to_ours as *const () as usize, "it is not ours to take away");
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGBUS) };
    assert_eq!(CALLS.load(Ordering::SeqCst), 1);
    // Not above the one that leads to it: they would call each other for ever.
    install();
    assert_eq!(current_handler(), chain_to_ours as *const () as usize);
    let address = dead_mapping(1);
    assert!(sigbus::publish(OWNER, address, PAGE));
    assert_eq!(read(address), 0);
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGBUS) };
    assert_eq!(CALLS.load(Ordering::SeqCst), 2);
});

case!(a_handler_of_the_host_is_never_called: ends with libc::SIGBUS; {
    set_action(count_calls as *const () as usize, 0);
    sigbus::install(Some(count_calls as *const () as usize)).unwrap();
    // SAFETY: sends a signal to this thread.
    unsafe { libc::raise(libc::SIGBUS) };
});

case!(a_forked_child_recovers_by_itself:; {
    let of_parent = install();
    let address = dead_mapping(1);
    assert!(sigbus::publish(OWNER, address, PAGE));
    // SAFETY: the only other thread of this process waits for this one.
    let child = unsafe { libc::fork() };
    let of_child = bell();
    if child == 0 {
        sigbus::ring(of_child.as_fd());
        assert_eq!(read(address), 0);
        assert_eq!(sigbus::replaced(), [OWNER]);
        assert_eq!(of_child.read().unwrap(), 1);
        std::process::exit(FINE);
    }
    let mut status = 0;
    // SAFETY: a child of this process, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert_eq!(ExitStatus::from_raw(status).code(), Some(FINE));
    assert!(of_parent.read().is_err(), "a fault of the child's");
    assert_eq!(read(address), 0);
    assert_eq!(sigbus::replaced(), [OWNER]);
    assert_eq!(of_parent.read().unwrap(), 1);
});

case!(the_table_has_an_end:; {
    install();
    let published = (1..10_000).take_while(|n| sigbus::publish(*n, 0x1000, PAGE)).count();
    assert_eq!(published, 4096);
    (0..10_000).for_each(sigbus::withdraw);
    assert!(sigbus::publish(OWNER, dead_mapping(1), PAGE));
});

case!(faults_in_many_threads_while_the_table_changes:; {
    install();
    let address = dead_mapping(64);
    for page in 0..64 {
        assert!(sigbus::publish(page as u64 + 1, address + page * PAGE, PAGE));
    }
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..20_000_u64 {
                assert!(sigbus::publish(1000 + round, 0x10_0000, PAGE));
                sigbus::withdraw(1000 + round);
            }
        });
        for thread in 0..4 {
            scope.spawn(move || {
                for page in (thread..64).step_by(4) {
                    assert_eq!(read(address + page * PAGE), 0);
                }
            });
        }
    });
    assert_eq!(sigbus::replaced(), (1..=64).collect::<Vec<_>>());
});
