//! Devices that are attached when they come and detached when they go, by rules of the application: the
//! thread that does it.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::io::ErrorKind;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use crate::channel::without_panic;
use crate::engine::binding::Target;
use crate::engine::callbacks::{CallbackId, Event};
use crate::engine::recovery::{Counters, Job, Next, Queue, Rule, Step, Time, Work};
use crate::engine::states::{Attach, PCI};
use crate::engine::tracker::is_user_driver;
use crate::error::{Error, Kind, Result};
use crate::ports::{DeviceId, PciMemory, label};
use crate::process::{Mode, Process, process};
use crate::proto::pci::{Address, Ids};
use crate::proto::uevent::{Action, Uevent};
use crate::proto::wire::Device;
use crate::sys::lock::{Condvar, Mutex, MutexGuard, OnceCell};
use crate::sys::sysfs::PciDevices;
use crate::sys::{fork, thread};

/// The rules, and who carries them out.
pub struct Recovery {
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
    seen: BTreeMap<CString, Seen>,
    worker: Option<JoinHandle<()>>,
    /// Which of the workers that there were may go on.
    generation: u64,
    /// Whose job is being carried out.
    current: Option<Arc<Rule>>,
    forks: u32,
}

/// A function.
struct Seen {
    /// What it is or was: it is not asked any more when it goes.
    ids: Ids,
    /// Whether nothing was told of its going.
    is_there: bool,
}

impl Default for Recovery {
    fn default() -> Self {
        let (state, changed, counters) = Default::default();
        Self { state, changed, start: Instant::now(), counters }
    }
}

impl Process {
    /// Adds a rule (`rte_hotplug_auto_add`); with `at_once` for what is there already, too.
    pub fn add_rule(&'static self, rule: &Arc<Rule>, at_once: bool) -> Result<()> {
        self.check_own_monitor()?;
        self.start_monitor()?;
        let added = self.enable_fault_handling().and_then(|_| {
            let added = self.recovery.add(rule, at_once);
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
        // A last callback may add rules: until there are none.
        while let Some(worker) = self.recovery.end() {
            if worker.thread().id() != std::thread::current().id() {
                // It does not panic.
                let _ = worker.join();
            }
        }
    }

    fn let_go(&self, ends: impl FnOnce() -> Result<i32>) {
        if let Err(error) = ends() {
            log::error!("{error}");
        }
    }

    /// Attaches and detaches until there are no rules any more.
    fn recover(&'static self, generation: u64) {
        while let Some(job) = self.recovery.next_job(generation) {
            // A defect has been reported by the panic hook.
            let done = without_panic(|| match job.work {
                Work::Insert => self.insert(&job),
                Work::Remove(attach) => self.take_out(&job, attach),
            });
            if let Err(error) = done.and_then(|done| done) {
                self.try_again(job, &error);
            }
        }
    }

    fn insert(&'static self, job: &Job) -> Result<()> {
        let (device, rule) = (&job.device, &job.rule);
        let faulted = || {
            let device = Device { bus: PCI.to_owned(), name: device.clone() };
            self.engine.states.is_faulted(&device)
        };
        let attached = self.attached_function(device)?;
        if attached.is_some() && !faulted() || !self.may_begin(job, Step::Adding) {
            return Ok(());
        }
        if attached.is_some() {
            let cause = "the one before it at this address is still attached: detach it";
            return Err(Error::new(Kind::Busy, format!("{}: {cause}", label(PCI, device))));
        }
        if let Some(driver) = &rule.driver {
            check_unused(device, driver)?;
            self.bind_driver(device, Target::Driver(driver))?;
        }
        let devargs = [PCI.to_bytes(), b":", device.to_bytes(), b",", rule.arguments.to_bytes()];
        let devargs = CString::new(devargs.concat())
            .map_err(|_| Error::new(Kind::Invalid, "a NUL byte inside a name"))?;
        self.probe(&devargs).and_then(as_result)?;
        self.recovery.counters.attached.add();
        self.tell_end(job, Step::Added);
        Ok(())
    }

    fn take_out(&'static self, job: &Job, attach: Option<Attach>) -> Result<()> {
        let device = &job.device;
        let now = self.engine.states.attach_of(device);
        // It was being attached when it went.
        let has_gone = || attach.is_none() && !PciDevices::from_environment().contains(device);
        if now != attach && !has_gone() {
            return Ok(());
        }
        if self.attached_function(device)?.is_none() || !self.may_begin(job, Step::Removing) {
            return Ok(());
        }
        // The application may have detached it by itself, and even attached it again.
        let left = self.attached_function(device)?;
        if let Some(id) = left.filter(|_| self.engine.states.attach_of(device) == now) {
            self.remove(id).and_then(as_result)?;
            self.recovery.counters.detached.add();
        }
        self.tell_end(job, Step::Removed);
        Ok(())
    }

    /// Asks the application before the first try, and whether the rule still stands.
    fn may_begin(&self, job: &Job, step: Step) -> bool {
        if job.is_new() && !job.rule.tell(&job.device, step, 0) {
            self.recovery.counters.vetoed.add();
            return false;
        }
        self.recovery.stands(&job.rule)
    }

    fn tell_end(&self, job: &Job, step: Step) {
        // The driver may have ended everything.
        if self.recovery.stands(&job.rule) {
            job.rule.tell(&job.device, step, 0);
        }
    }

    fn try_again(&self, job: Job, error: &Error) {
        let (device, rule) = (job.device.clone(), job.rule.clone());
        let is_there = || PciDevices::from_environment().contains(&device);
        if job.work == Work::Insert && !is_there() {
            log::debug!("{}: it has gone before it was attached: {error}", label(PCI, &device));
            rule.tell(&device, Step::Failed, -libc::ENODEV);
            return;
        }
        if may_succeed_later(error) && self.recovery.again(job) {
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
        let is_it = |name: &CStr| Address::parse(name.to_bytes()) == address;
        Ok(devices.into_iter().find(|(name, _)| is_it(name)).map(|(_, id)| id))
    }
}

impl Recovery {
    fn add(&'static self, rule: &Arc<Rule>, at_once: bool) -> Result<()> {
        // Heard first and looked at last: nothing comes in between.
        hear();
        {
            let mut state = self.lock();
            if state.worker.is_none() {
                state.generation += 1;
                let generation = state.generation;
                let worker = thread::start("hotplug-auto", move || process().recover(generation));
                state.worker = Some(worker.map_err(|error| {
                    let code = -error.raw_os_error().unwrap_or(libc::EAGAIN);
                    Error::new(Kind::Code(code), format!("auto: cannot start a thread: {error}"))
                })?);
            }
            state.rules.push(rule.clone());
        }
        let kernel = PciDevices::from_environment();
        let there = match kernel.list() {
            Ok(there) => there,
            // A machine without PCI has none.
            Err(error) if error.kind() == ErrorKind::NotFound => vec![],
            Err(error) => {
                log::error!("auto: cannot list PCI devices: {error}");
                vec![]
            }
        };
        for device in there {
            let Some(ids) = kernel.ids(&device) else { continue };
            let mut state = self.lock();
            state.seen.insert(device.clone(), Seen { ids, is_there: true });
            let is_first =
                || state.rule_for(&device).is_some_and(|first| Arc::ptr_eq(&first, rule));
            if at_once && is_first() && is_usable(&kernel, rule, &device) {
                state.queue.added(&device, rule, self.now());
            }
        }
        self.changed.notify_all();
        Ok(())
    }

    fn remove(&self, address: usize) -> Result<()> {
        let mut state = self.lock();
        let at = state.rules.iter().position(|rule| Arc::as_ptr(rule) as usize == address);
        let at = at.ok_or_else(|| Error::new(Kind::NotFound, "auto: there is no such rule"))?;
        let here = std::thread::current().id();
        let is_elsewhere = state.worker.as_ref().is_some_and(|w| w.thread().id() != here);
        let rule = state.rules[at].clone();
        if is_elsewhere && state.current.as_ref().is_some_and(|current| Arc::ptr_eq(current, &rule))
        {
            let cause =
                "auto: a device is being attached or detached by this rule: remove it later";
            return Err(Error::new(Kind::Again, cause));
        }
        rule.silence()?;
        state.rules.remove(at);
        state.queue.forget(&rule);
        self.changed.notify_all();
        // What the application gave is dropped with no lock held.
        drop(state);
        drop(rule);
        Ok(())
    }

    /// Forgets the rules; the worker, if there is one, ends when it has done what it is doing.
    fn end(&self) -> Option<JoinHandle<()>> {
        let mut state = self.lock();
        let rules = std::mem::take(&mut state.rules);
        state.queue = Queue::default();
        state.generation += 1;
        state.current = None;
        let worker = state.worker.take();
        self.changed.notify_all();
        drop(state);
        drop(rules);
        worker
    }

    /// The next thing to do; `None` when there are no rules any more, or another worker is there.
    fn next_job(&self, generation: u64) -> Option<Job> {
        let mut state = self.lock();
        loop {
            if state.generation != generation {
                return None;
            }
            state.current = None;
            if state.rules.is_empty() {
                state.worker = None;
                return None;
            }
            match state.queue.next(self.now()) {
                Next::Do(job) => {
                    state.current = Some(job.rule.clone());
                    return Some(job);
                }
                Next::Wait(until) => {
                    let time = until.saturating_sub(self.now());
                    self.changed.wait_for(&mut state, time);
                }
                Next::Nothing => {
                    self.changed.wait(&mut state);
                }
            }
        }
    }

    fn stands(&self, rule: &Arc<Rule>) -> bool {
        self.lock().rules.iter().any(|other| Arc::ptr_eq(other, rule))
    }

    fn again(&self, job: Job) -> bool {
        let mut state = self.lock();
        let stands = state.rules.iter().any(|rule| Arc::ptr_eq(rule, &job.rule));
        // Of a rule that does not stand nobody wants to hear.
        !stands || state.queue.again(job, self.now())
    }

    /// A device may be attached now: the kernel has it, or somebody has bound it.
    fn appeared(&self, event: &Uevent) {
        let (Some(device), action) = (event.pci_device(), event.action()) else { return };
        if !matches!(action, Action::Add | Action::Bind) || self.lock().rules.is_empty() {
            return;
        }
        let kernel = PciDevices::from_environment();
        let Some(ids) = kernel.ids(device) else { return };
        let mut state = self.lock();
        let before = state.seen.insert(device.to_owned(), Seen { ids, is_there: true });
        let Some(rule) = state.rule_for(device) else { return };
        let is_due = match action {
            // One that is announced again has not come.
            Action::Add => {
                let was_there = before.is_some_and(|seen| seen.is_there);
                rule.driver.is_some() && !(was_there && event.is_synthetic())
            }
            _ => rule.driver.is_none() && is_usable(&kernel, &rule, device),
        };
        if is_due {
            state.queue.added(device, &rule, self.now());
            self.changed.notify_all();
        }
    }

    fn goes(&self, device: &CStr) {
        let attach = process().engine.states.attach_of(device);
        let mut state = self.lock();
        if !state.rules.is_empty() {
            let rule = state.rule_for(device);
            if let Some(seen) = state.seen.get_mut(device) {
                seen.is_there = false;
            }
            state.queue.removed(device, attach, rule.as_ref(), self.now());
            self.changed.notify_all();
        }
    }

    fn now(&self) -> Time {
        self.start.elapsed()
    }

    /// The state; that of a forked child has nothing of its parent's.
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.forks != fork::count() {
            let own = State { forks: fork::count(), ..State::default() };
            // Its thread is not here.
            std::mem::forget(std::mem::replace(&mut *state, own));
        }
        state
    }
}

impl State {
    /// The first rule for a device.
    fn rule_for(&self, device: &CStr) -> Option<Arc<Rule>> {
        let ids = self.seen.get(device).map(|seen| &seen.ids);
        self.rules.iter().find(|rule| rule.is_for(device, ids)).cloned()
    }
}

/// Lets the events of this process come here, after the application's callbacks that are there already.
fn hear() {
    static HEARS: OnceCell<()> = OnceCell::new();
    HEARS.get_or_init(|| {
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
    });
}

/// Whether the rule binds a device itself, or a driver for user space has it.
fn is_usable(kernel: &PciDevices, rule: &Rule, device: &CStr) -> bool {
    rule.driver.is_some() || kernel.driver(device).is_some_and(|driver| is_user_driver(&driver))
}

/// Fails when another driver for user space has the device: the kernel would wait for whoever uses it.
fn check_unused(device: &CStr, driver: &CStr) -> Result<()> {
    match PciDevices::from_environment().driver(device) {
        Some(now) if *now != *driver && is_user_driver(&now) => {
            let (device, now) = (label(PCI, device), now.to_string_lossy());
            Err(Error::new(
                Kind::Busy,
                format!("{device}: {now} has it, for another process maybe"),
            ))
        }
        _ => Ok(()),
    }
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
