//! Devices that are attached when they come and detached when they go, by rules of the application: the
//! thread that does it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use crate::channel::without_panic;
use crate::engine::binding::Target;
use crate::engine::callbacks::{CallbackId, Event};
use crate::engine::recovery::{Counters, Job, Next, Queue, Rule, Step, Time, Work};
use crate::engine::states::PCI;
use crate::engine::tracker::is_user_driver;
use crate::error::{Error, Kind, Result};
use crate::ports::{DeviceId, PciMemory, label};
use crate::process::{Mode, Process, process};
use crate::proto::pci::{Address, Ids};
use crate::proto::uevent::{Action, Uevent};
use crate::sys::sysfs::PciDevices;
use crate::sys::{fork, thread};

/// The rules, and who carries them out.
pub struct Recovery {
    /// A thread waits for it, and is not in a forked child: `parking_lot` would wake it there in place of
    /// the child's.
    state: Mutex<State>,
    changed: Condvar,
    /// What times are counted from.
    start: Instant,
    /// What was done.
    pub counters: Counters,
}

#[derive(Default)]
struct State {
    rules: Vec<Arc<Rule>>,
    queue: Queue,
    /// What devices are or were: they are not asked any more when they go.
    seen: BTreeMap<CString, Ids>,
    worker: Option<JoinHandle<()>>,
    /// Whether this process's events come here.
    hears: bool,
    forks: u32,
}

impl Default for Recovery {
    fn default() -> Self {
        let (state, changed, counters) = Default::default();
        Self { state, changed, start: Instant::now(), counters }
    }
}

impl Process {
    /// Adds a rule (`rte_hotplug_auto_add`); with `at_once` for what is there already, too.
    pub fn add_rule(&'static self, rule: Rule, at_once: bool) -> Result<Arc<Rule>> {
        self.check_own_monitor()?;
        self.start_monitor()?;
        let added = self.enable_fault_handling().and_then(|_| {
            let added = self.recovery.add(Arc::new(rule), at_once);
            added.inspect_err(|_| self.let_go(|| self.disable_fault_handling()))
        });
        added.inspect_err(|_| self.let_go(|| self.stop_monitor()))
    }

    /// Removes the rule at this address (`rte_hotplug_auto_remove`).
    pub fn remove_rule(&'static self, address: usize) -> Result<()> {
        self.recovery.remove(address)?;
        self.let_go(|| self.disable_fault_handling());
        self.let_go(|| self.stop_monitor());
        Ok(())
    }

    /// Ends it altogether: EAL, or the embedded runtime, ends.
    pub(crate) fn end_recovery(&self) {
        let worker = {
            let mut state = self.recovery.lock();
            state.rules.clear();
            state.worker.take()
        };
        self.recovery.changed.notify_all();
        if let Some(worker) = worker.filter(|w| w.thread().id() != std::thread::current().id()) {
            // It does not panic.
            let _ = worker.join();
        }
    }

    fn let_go(&self, ends: impl FnOnce() -> Result<i32>) {
        if let Err(error) = ends() {
            log::error!("{error}");
        }
    }

    /// Attaches and detaches until there are no rules any more.
    fn recover(&'static self) {
        while let Some(job) = self.recovery.next_job() {
            let Some(rule) = self.recovery.rule_for(&job.device, job.work) else { continue };
            // A defect has been reported by the panic hook.
            let done = without_panic(|| match job.work {
                Work::Insert => self.insert(&rule, &job),
                Work::Remove => self.take_out(&rule, &job),
            });
            if let Err(error) = done.and_then(|done| done) {
                self.try_again(&rule, job, &error);
            }
        }
    }

    fn insert(&'static self, rule: &Arc<Rule>, job: &Job) -> Result<()> {
        let device = &job.device;
        if self.attached_function(device)?.is_some() {
            return Ok(());
        }
        if !self.may_begin(rule, job, Step::Adding) {
            return Ok(());
        }
        if let Some(driver) = &rule.driver {
            self.bind_driver(device, Target::Driver(driver))?;
        }
        let devargs = [PCI.to_bytes(), b":", device.to_bytes(), b",", rule.arguments.to_bytes()];
        let devargs = CString::new(devargs.concat())
            .map_err(|_| Error::new(Kind::Invalid, "a NUL byte inside a name"))?;
        self.probe(&devargs).and_then(as_result)?;
        self.recovery.counters.attached.add();
        rule.tell(device, Step::Added, 0);
        Ok(())
    }

    fn take_out(&'static self, rule: &Arc<Rule>, job: &Job) -> Result<()> {
        let device = &job.device;
        if self.attached_function(device)?.is_none() {
            return Ok(());
        }
        if !self.may_begin(rule, job, Step::Removing) {
            return Ok(());
        }
        // Looked for again: the application may have detached it by itself.
        let Some(attached) = self.attached_function(device)? else { return Ok(()) };
        self.remove(attached).and_then(as_result)?;
        self.recovery.counters.detached.add();
        rule.tell(device, Step::Removed, 0);
        Ok(())
    }

    /// Asks the application before the first try, and whether the rule still stands.
    fn may_begin(&self, rule: &Arc<Rule>, job: &Job, step: Step) -> bool {
        if job.is_new() && !rule.tell(&job.device, step, 0) {
            self.recovery.counters.vetoed.add();
            return false;
        }
        self.recovery.stands(rule)
    }

    fn try_again(&self, rule: &Rule, job: Job, error: &Error) {
        let device = job.device.clone();
        let shown = label(PCI, &device);
        let is_there = || PciDevices::from_environment().contains(&device);
        if job.work == Work::Insert && !is_there() {
            return log::debug!("{shown}: it has gone before it was attached: {error}");
        }
        if may_succeed_later(error) && self.recovery.again(job, rule) {
            self.recovery.counters.retries.add();
            return log::debug!("{error}; it is tried again");
        }
        log::error!("{error}; it is not tried again");
        self.recovery.counters.failed.add();
        rule.tell(&device, Step::Failed, error.code());
    }

    /// A function that is attached.
    fn attached_function(&'static self, device: &CStr) -> Result<Option<DeviceId>> {
        let devices = match self.mode()? {
            Mode::Hosted(platform) => platform.pci_devices(),
            Mode::Embedded(platform) => platform.pci_devices(),
            Mode::Forwarding(_) => vec![],
        };
        let address = Address::parse(device.to_bytes());
        let found =
            devices.into_iter().find(|(name, _)| Address::parse(name.to_bytes()) == address);
        Ok(found.map(|(_, id)| id))
    }
}

impl Recovery {
    fn add(&'static self, rule: Arc<Rule>, at_once: bool) -> Result<Arc<Rule>> {
        let sysfs = PciDevices::from_environment();
        let there = sysfs.list().unwrap_or_default();
        let there: Vec<_> = there.into_iter().filter_map(|d| Some((sysfs.ids(&d)?, d))).collect();
        let mut state = self.lock();
        if state.worker.is_none() {
            let worker = thread::start("hotplug-auto", || process().recover());
            state.worker = Some(worker.map_err(|error| {
                let code = -error.raw_os_error().unwrap_or(libc::EAGAIN);
                Error::new(Kind::Code(code), format!("auto: cannot start a thread: {error}"))
            })?);
        }
        state.rules.push(rule.clone());
        for (ids, device) in there {
            if at_once && rule.is_for(&device, Some(&ids)) {
                state.queue.added(&device, self.now());
            }
            state.seen.insert(device, ids);
        }
        if !std::mem::replace(&mut state.hears, true) {
            drop(state);
            hear();
        }
        self.changed.notify_all();
        Ok(rule)
    }

    fn remove(&self, address: usize) -> Result<()> {
        let mut state = self.lock();
        let at = state.rules.iter().position(|rule| Arc::as_ptr(rule) as usize == address);
        let at = at.ok_or_else(|| Error::new(Kind::NotFound, "auto: there is no such rule"))?;
        state.rules[at].silence()?;
        // What the application gave is dropped with no lock held.
        let _rule = state.rules.remove(at);
        self.changed.notify_all();
        drop(state);
        Ok(())
    }

    /// The next thing to do; `None` when there are no rules any more.
    fn next_job(&self) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.rules.is_empty() {
                state.queue = Queue::default();
                state.worker = None;
                return None;
            }
            match state.queue.next(self.now()) {
                Next::Do(job) => return Some(job),
                Next::Wait(until) => {
                    let time = until.saturating_sub(self.now());
                    let waited = self.changed.wait_timeout(state, time);
                    state = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                Next::Nothing => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// The first rule for a device.
    fn rule_for(&self, device: &CStr, work: Work) -> Option<Arc<Rule>> {
        // What goes is not asked any more.
        let now = match work {
            Work::Insert => PciDevices::from_environment().ids(device),
            Work::Remove => None,
        };
        let mut state = self.lock();
        if let Some(now) = now {
            state.seen.insert(device.to_owned(), now);
        }
        let ids = state.seen.get(device);
        state.rules.iter().find(|rule| rule.is_for(device, ids)).cloned()
    }

    fn stands(&self, rule: &Arc<Rule>) -> bool {
        self.lock().rules.iter().any(|other| Arc::ptr_eq(other, rule))
    }

    fn again(&self, job: Job, rule: &Rule) -> bool {
        self.lock().queue.again(job, self.now(), rule.limit)
    }

    /// A device may be attached now: the kernel has it, or somebody has bound it.
    fn appeared(&self, event: &Uevent) {
        let (Some(device), action) = (event.pci_device(), event.action()) else { return };
        if !matches!(action, Action::Add | Action::Bind) || self.lock().rules.is_empty() {
            return;
        }
        let Some(rule) = self.rule_for(device, Work::Insert) else { return };
        let kernel = PciDevices::from_environment();
        let is_usable = || kernel.driver(device).is_some_and(|driver| is_user_driver(&driver));
        let is_due = match &rule.driver {
            Some(_) => action == Action::Add,
            None => action == Action::Bind && is_usable(),
        };
        if is_due {
            self.lock().queue.added(device, self.now());
            self.changed.notify_all();
        }
    }

    fn goes(&self, device: &CStr) {
        let mut state = self.lock();
        if !state.rules.is_empty() {
            state.queue.removed(device, self.now());
            self.changed.notify_all();
        }
    }

    fn now(&self) -> Time {
        self.start.elapsed()
    }

    /// The state; that of a forked child has nothing of its parent's.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.forks != fork::count() {
            let hears = state.hears;
            let own = State { hears, forks: fork::count(), ..State::default() };
            // Its thread is not here.
            std::mem::forget(std::mem::replace(&mut *state, own));
        }
        state
    }
}

/// Lets the events of this process come here, after the application's callbacks that are there already.
fn hear() {
    let engine = &process().engine;
    let id = CallbackId { function: hear as *const () as usize, argument: 0 };
    let goes = Box::new(|device: &CStr, event: &Event| {
        if *event == Event::Remove {
            process().recovery.goes(device);
        }
    });
    let appeared = Box::new(|_: &CStr, event: &Uevent| process().recovery.appeared(event));
    // Nobody else has this function.
    let _ = engine.callbacks.register(None, id, goes);
    let _ = engine.uevent_callbacks.register(Some(PCI), id, appeared);
    engine.monitor.keep_uevents(&engine.uevent_callbacks);
}

/// What a call's arguments make fail does so every time.
fn may_succeed_later(error: &Error) -> bool {
    !matches!(error.kind(), Kind::Invalid | Kind::NoBus | Kind::TooBig | Kind::NotFound)
}

fn as_result(code: i32) -> Result<()> {
    match code {
        0 => Ok(()),
        code => Err(Error::new(Kind::Code(code), "DPDK's own function failed")),
    }
}
