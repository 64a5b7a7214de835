//! The process that this library lives in: which mode it is in, and everything it has.

use std::ffi::{CStr, CString};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use crate::sys::lock::Mutex;
use crate::sys::lock::{Lazy, OnceCell};

use crate::embedded::{self, options::Options};
use crate::engine::{Engine, states};
use crate::error::{Error, Kind, Result};
use crate::events::Events;
use crate::faults::Faults;
use crate::group::{Group, Role};
use crate::hosted::ethdev::Ports;
use crate::hosted::host::Host;
use crate::hosted::{self, Hosted, vdev};
use crate::logging;
use crate::membership::Membership;
use crate::ports::PciMemory;
use crate::proto::wire::Device;
use crate::recovery::Recovery;
use crate::registry::Registry;
use crate::sys::{dl, fork, thread};

/// Everything this library has in a process.
#[derive(Default)]
pub struct Process {
    /// The order of operations, and the event callbacks.
    pub engine: Engine,
    /// The buses of this library.
    pub registry: Registry,
    /// The PCI functions that drivers of the embedded runtime use.
    pub pci: embedded::pci::Functions,
    /// The Ethernet ports that devices had.
    pub ports: Ports,
    /// The processes that share their devices with this one.
    pub group: Group,
    /// What can fault, and who handles it.
    pub(crate) faults: Faults,
    /// The threads of its device events.
    pub(crate) events: Events,
    /// The rules by which devices are attached and detached.
    pub(crate) recovery: Recovery,
    /// How it came into the group.
    pub(crate) membership: Membership,
    /// The EAL in this process, once it was found.
    host: OnceCell<Host>,
    /// The host as we can work with it; `None` when all is forwarded to it.
    hosted: OnceCell<Option<&'static Hosted>>,
    /// The number of loads at which no host was found.
    searched_at: Mutex<Option<u64>>,
    embedded: Mutex<Embedded>,
    /// What is known of the host's EAL: [`EAL_UNSEEN`] and so on.
    eal: AtomicU8,
    /// How many forks there had been when it started.
    eal_forks: AtomicU32,
    /// The host's buses turned out not to be laid out as its version has them.
    mistrusted: AtomicBool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Embedded {
    #[default]
    Stopped,
    /// By the first call, without `rte_eal_init`.
    Implicit,
    /// By `rte_eal_init`.
    Initialised,
    /// Drivers remove what is attached.
    Stopping,
}

/// How calls are served.
#[derive(Clone, Copy)]
pub enum Mode {
    /// Over a DPDK EAL.
    Hosted(hosted::Platform),
    /// By a DPDK EAL that is not known well enough to work with.
    Forwarding(&'static Host),
    /// Without DPDK.
    Embedded(embedded::Platform),
}

/// Its start was not seen.
const EAL_UNSEEN: u8 = 0;
const EAL_RUNS: u8 = 1;
const EAL_ENDED: u8 = 2;

static PROCESS: Lazy<Process> = Lazy::new(Process::default);

/// The process.
pub fn process() -> &'static Process {
    &PROCESS
}

impl Process {
    /// The mode. In the embedded mode the runtime is started if it is not.
    pub fn mode(&'static self) -> Result<Mode> {
        if let Some(mode) = self.host_mode() {
            return Ok(mode);
        }
        let platform = self.embedded_platform();
        let mut embedded = self.embedded.lock();
        if *embedded == Embedded::Stopped {
            logging::use_stderr(None);
            check_no_hidden_host()?;
            platform.open()?;
            *embedded = Embedded::Implicit;
            log::debug!("embedded runtime started by the first call");
        }
        Ok(Mode::Embedded(platform))
    }

    /// The mode if there is a host; starts nothing.
    ///
    /// Embedded means that no loaded object has an EAL, so this is asked again at every call.
    pub fn host_mode(&'static self) -> Option<Mode> {
        let host = self.host()?;
        if self.hosted.get().is_none() {
            // A host was loaded after the embedded runtime had started. Not inside the cell:
            // drivers run, and may call back.
            if self.stop_embedded() {
                self.registry.drop_bus(embedded::vdev::NAME);
                self.registry.drop_bus(embedded::pci::NAME);
            }
        }
        let hosted = match self.hosted.get() {
            Some(hosted) => *hosted,
            None => {
                // Outside the cell too: the linker's lock is taken, whose holder may wait for us.
                logging::use_host(host);
                let met = Hosted::new(host);
                if self.hosted.set(met.as_ref().ok().copied()).is_ok() {
                    report(host, &met);
                }
                self.hosted.get().copied().flatten()
            }
        };
        Some(match hosted {
            Some(hosted) if !self.mistrusted.load(Ordering::Acquire) => {
                Mode::Hosted(hosted::Platform { hosted, registry: &self.registry })
            }
            _ => Mode::Forwarding(host),
        })
    }

    /// The EAL in this process; looked for again whenever something was loaded since.
    pub fn host(&'static self) -> Option<&'static Host> {
        if let Some(host) = self.host.get() {
            return Some(host);
        }
        let loads = dl::load_count();
        if *self.searched_at.lock() == Some(loads) {
            return None;
        }
        // With no lock held: the linker has its own, and may run constructors that call us.
        match Host::find() {
            Some(host) => Some(self.host.get_or_init(|| host)),
            None => {
                *self.searched_at.lock() = Some(loads);
                None
            }
        }
    }

    /// The host's `rte_eal_init` has returned successfully.
    pub fn host_started(&'static self) {
        let Some(Mode::Hosted(platform)) = self.host_mode() else { return };
        match platform.hosted.check() {
            Ok(()) => {
                self.eal_forks.store(fork::count(), Ordering::Relaxed);
                self.eal.store(EAL_RUNS, Ordering::Release);
                vdev::stop_listening();
                let unheard = self.is_group_unknown();
                self.join_group(&platform);
                if unheard && self.is_in_group() {
                    log::warn!(
                        "this DPDK calls its own functions directly (-Bsymbolic): what other processes \
                         asked for before rte_eal_init returned was DPDK's own hotplug, and rte_exit does \
                         not end librte_hotplug"
                    );
                }
                self.ports.learn_all(&platform);
                for (name, _) in platform.pci_devices() {
                    self.engine.states.learn(states::PCI, &name);
                }
                self.publish_all(&platform);
            }
            Err(error) => {
                self.mistrusted.store(true, Ordering::Release);
                self.give_back(&platform);
                report(platform.hosted.host, &Err(error));
            }
        }
    }

    /// Whether the host's interrupts and its shared memory can be used.
    pub(crate) fn eal_runs(&self) -> bool {
        match self.eal.load(Ordering::Acquire) {
            EAL_RUNS => true,
            // Started before this library was loaded, unless every start comes here.
            EAL_UNSEEN => dl::reaches_us(c"rte_eal_init") != Some(true),
            _ => false,
        }
    }

    /// Whether the host's start was seen, and not its end.
    pub(crate) fn eal_was_started(&self) -> bool {
        self.eal.load(Ordering::Acquire) == EAL_RUNS
    }

    /// Whether the host started before this process was forked: its threads are not here.
    pub(crate) fn eal_is_parents(&self) -> bool {
        self.eal_forks.load(Ordering::Relaxed) != fork::count()
    }

    /// The host's `rte_eal_init` is about to run: whether it does not run already.
    pub fn host_starts(&'static self) -> bool {
        // Recognised first, so that its log level options reach our log type.
        self.host_mode();
        vdev::listen();
        self.forget_group();
        let is_first = self.is_group_unknown();
        if is_first {
            self.eal_forks.store(fork::count(), Ordering::Relaxed);
        }
        is_first
    }

    /// The host's `rte_eal_cleanup` is about to run: its channel closes, calls are local only.
    pub fn host_stops(&'static self) {
        if let Some(Mode::Hosted(_)) = self.host_mode() {
            self.end_recovery();
            self.end_events();
            self.eal.store(EAL_ENDED, Ordering::Release);
            self.leave_group();
        }
    }

    /// Starts the embedded runtime for `rte_eal_init`; the result is how much of `argv` it took.
    pub fn init_embedded(&'static self, argv: &[&[u8]]) -> Result<usize> {
        logging::use_stderr(None);
        check_no_hidden_host()?;
        let options = Options::parse(argv)?;
        let platform = self.embedded_platform();
        let before = {
            let mut embedded = self.embedded.lock();
            if matches!(*embedded, Embedded::Initialised | Embedded::Stopping) {
                return Err(Error::new(Kind::Already, "called twice, or during rte_eal_cleanup"));
            }
            logging::use_stderr(options.log_level);
            platform.open()?;
            std::mem::replace(&mut *embedded, Embedded::Initialised)
        };
        if !options.ignored.is_empty() {
            let ignored = options.ignored.join(" ");
            log::warn!("rte_eal_init: without meaning when there is no DPDK, ignored: {ignored}");
        }
        // Drivers run here: no lock is held.
        if let Err(error) = self.start_embedded(platform, &options) {
            self.leave_embedded_group();
            *self.embedded.lock() = before;
            return Err(error);
        }
        self.publish_all(&platform);
        Ok(options.consumed)
    }

    fn start_embedded(
        &'static self,
        platform: embedded::Platform,
        options: &Options,
    ) -> Result<()> {
        platform.check(options)?;
        self.choose_embedded_group(options)?;
        // A secondary has what its buses find before it joins: whatever changes from then on, and what
        // has been removed before, the primary tells.
        let found = platform.start(&self.engine, options);
        if let Err(error) = self.join_embedded_group() {
            platform.detach(&self.engine, found);
            return Err(error);
        }
        // What its primary has comes before what is its own.
        let made = platform.attach_vdevs(&self.engine, options);
        if let Role::Secondary(_) = self.group.role() {
            made.into_iter().for_each(|device| self.group.keep_private(device));
        }
        self.open_embedded_group()
    }

    /// Detaches what is attached and ends the embedded runtime; `false` while another call does so.
    pub fn stop_embedded(&'static self) -> bool {
        let mut embedded = self.embedded.lock();
        if matches!(*embedded, Embedded::Implicit | Embedded::Initialised) {
            *embedded = Embedded::Stopping;
            drop(embedded);
            self.end_recovery();
            self.end_events();
            self.leave_embedded_group();
            self.embedded_platform().stop(&self.engine);
            *self.embedded.lock() = Embedded::Stopped;
            return true;
        }
        *embedded == Embedded::Stopped
    }

    /// The attached vdevs of the embedded runtime; DPDK's buses tell secondaries of theirs themselves.
    pub(crate) fn embedded_devices(&'static self) -> Vec<(Device, CString)> {
        match self.host.get() {
            None => self.embedded_platform().vdevs(),
            Some(_) => vec![],
        }
    }

    fn embedded_platform(&'static self) -> embedded::Platform {
        let pci_listeners = embedded::pci::Listeners { wanted_back, letting_go };
        embedded::Platform { registry: &self.registry, pci: &self.pci, pci_listeners }
    }
}

/// The kernel wants a PCI function back.
fn wanted_back(device: &CStr) {
    let process = process();
    let state = *process.embedded.lock();
    // Its driver is about to let it go anyway. Not by mode(), which may end the runtime: that waits for
    // this thread.
    if matches!(state, Embedded::Implicit | Embedded::Initialised) {
        process.queue_request(Mode::Embedded(process.embedded_platform()), device);
    }
}

/// The memory of a PCI function is about to be unmapped.
fn letting_go(device: &CStr) {
    process().withdraw_mappings_of(device);
}

/// Fails when a DPDK runs here that the linker does not know: beside it there must be no other runtime.
fn check_no_hidden_host() -> Result<()> {
    if hosted::INTERRUPT_THREADS.iter().any(|name| thread::is_there(name)) {
        return Err(Error::new(
            Kind::NotSupported,
            "a DPDK runs in this process that cannot be reached: it is linked statically into the \
             program, and librte_hotplug is not",
        ));
    }
    Ok(())
}

/// Says once how the host is worked with.
fn report(host: &Host, met: &Result<&'static Hosted>) {
    match met {
        _ if host.is_copy() => log::error!(
            "librte_hotplug is loaded twice: every call goes to the copy that was loaded first"
        ),
        Ok(hosted) => log::debug!("host EAL {}", hosted.version),
        Err(error) => log::error!(
            "the DPDK in this process cannot be worked with: {error}; every call goes to its own \
             functions"
        ),
    }
}
