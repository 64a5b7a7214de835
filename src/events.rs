//! The device events of this process: the monitor's threads, and the thread that callbacks run on.
//!
//! In a DPDK process that is EAL's interrupt thread, as users expect; embedded it is one of ours.

use std::ffi::CStr;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::sys::lock::{Mutex, MutexGuard};
use nix::sys::eventfd::EventFd;

use crate::channel::without_panic;
use crate::engine::callbacks::Event;
use crate::engine::monitor::{Reactions, Reader};
use crate::engine::states;
use crate::engine::tracker::is_user_driver;
use crate::error::{Error, Kind, Result};
use crate::hosted::alarm::Alarm;
use crate::hosted::doorbell::Doorbell;
use crate::hosted::host::Eal;
use crate::hosted::interrupt::Interrupt;
use crate::kernel::KernelEvents;
use crate::ports::DeviceState;
use crate::process::{Mode, Process, process};
use crate::proto::pci::Address;
use crate::proto::uevent::{Action, Uevent};
use crate::sys::netlink::UeventSocket;
use crate::sys::sysfs::PciDevices;
use crate::sys::{fork, thread};

/// How many events are delivered before the interrupt thread may do something else.
const AT_A_TIME: usize = 32;

/// The threads of this process's device events.
#[derive(Default)]
pub(crate) struct Events {
    watch: Mutex<Watch>,
    delivery: Mutex<Delivery>,
    reader: Mutex<Option<KernelReader>>,
}

/// The monitor while it runs.
#[derive(Default)]
struct Watch {
    /// How often it was started without being stopped.
    users: u32,
    forks: u32,
    running: Option<Running>,
}

struct Running {
    thread: JoinHandle<()>,
    stop: Arc<EventFd>,
}

/// What the kernel's events are read with, while the monitor runs.
type KernelReader = Arc<Mutex<Reader<KernelEvents>>>;

/// Who calls callbacks.
#[derive(Default)]
struct Delivery {
    by: Deliverer,
    /// How many forks there had been: a child does not have what its parent has started.
    forks: u32,
}

#[derive(Default)]
enum Deliverer {
    #[default]
    Nobody,
    Alarm(Alarm),
    Doorbell(Doorbell),
    Thread(JoinHandle<()>),
}

impl Process {
    /// Starts the monitor, or notes one more user of it (`rte_dev_event_monitor_start`).
    pub fn start_monitor(&'static self) -> Result<i32> {
        let mode = self.mode()?;
        if let Mode::Forwarding(host) = mode {
            return host.stock_switch(host.stock.monitor_start);
        }
        self.check_eal_runs(mode)?;
        self.prepare_delivery(mode)?;
        let mut watch = self.events.watch.lock();
        watch.forget_if_forked();
        if watch.users == 0 {
            watch.running = Some(self.watch_kernel()?);
            log::debug!("uevent monitor: started");
        }
        watch.users += 1;
        Ok(0)
    }

    /// Notes one user less of the monitor, and stops it for the last (`rte_dev_event_monitor_stop`).
    pub fn stop_monitor(&'static self) -> Result<i32> {
        if let Mode::Forwarding(host) = self.mode()? {
            return host.stock_switch(host.stock.monitor_stop);
        }
        let mut watch = self.events.watch.lock();
        watch.forget_if_forked();
        match watch.users {
            0 => log::warn!("uevent monitor: it does not run, so it cannot be stopped"),
            1 => self.end_watch(watch),
            _ => watch.users -= 1,
        }
        Ok(0)
    }

    /// Tells of an event that did not come from the kernel's messages
    /// (`rte_dev_event_callback_process`).
    pub fn report_event(&'static self, device: &CStr, event: Event) -> Result<()> {
        let mode = self.mode()?;
        let on_interrupt = self.interrupts(mode).is_some_and(Eal::is_interrupt_thread);
        let wanted_back = match event {
            Event::Remove => Address::canonical(device).filter(|n| is_wanted_back(n, on_interrupt)),
            Event::Add => None,
        };
        match wanted_back {
            // The PCI bus holds a spinlock here.
            Some(name) if on_interrupt => {
                self.prepare_delivery(mode)?;
                self.engine.monitor.queue_request(&name);
                if !self.wake_delivery() {
                    self.deliver(AT_A_TIME);
                }
                return Ok(());
            }
            Some(name) => self.engine.monitor.requested(&name),
            None => {}
        }
        self.engine.callbacks.process(device, &event);
        Ok(())
    }

    /// The kernel wants a device back: told as its removal, on the thread that tells the others.
    pub(crate) fn queue_request(&'static self, mode: Mode, device: &CStr) {
        if let Err(error) = self.prepare_delivery(mode) {
            return log::error!(
                "pci:{}: its removal cannot be told: {error}",
                device.to_string_lossy()
            );
        }
        self.engine.monitor.queue_request(device);
        self.wake_delivery();
    }

    /// Events are told on a thread of DPDK's.
    fn check_eal_runs(&self, mode: Mode) -> Result<()> {
        match mode {
            Mode::Hosted(_) if !self.eal_runs() => Err(Error::new(
                Kind::Again,
                "uevent monitor: DPDK does not run: start it after rte_eal_init",
            )),
            _ => Ok(()),
        }
    }

    /// Fails where all is left to the host's own monitor.
    pub(crate) fn check_own_monitor(&'static self) -> Result<()> {
        match self.mode()? {
            Mode::Forwarding(_) => Err(Error::new(
                Kind::NotSupported,
                "every call goes to this DPDK's own functions, also those about events",
            )),
            Mode::Hosted(_) | Mode::Embedded(_) => Ok(()),
        }
    }

    /// Ends everything about events: EAL, or the embedded runtime, ends.
    pub(crate) fn end_events(&'static self) {
        let mut watch = self.events.watch.lock();
        watch.forget_if_forked();
        if watch.users > 0 {
            self.end_watch(watch);
        } else {
            drop(watch);
        }
        self.end_fault_handling();
        self.engine.monitor.forget_queued();
        self.end_delivery();
    }

    /// No callback is called any more, but for one that is here.
    fn end_delivery(&'static self) {
        let delivery = std::mem::take(&mut *self.events.delivery.lock());
        if delivery.forks != fork::count() {
            return std::mem::forget(delivery);
        }
        match delivery.by {
            Deliverer::Nobody => {}
            Deliverer::Alarm(alarm) => alarm.cancel(),
            Deliverer::Doorbell(doorbell) => {
                drop(doorbell);
                Interrupt::settle();
            }
            Deliverer::Thread(thread) => {
                self.engine.monitor.end_delivery();
                if thread.thread().id() != std::thread::current().id() {
                    // It does not panic.
                    let _ = thread.join();
                }
            }
        }
    }

    /// The EAL whose interrupt thread is in this process, if there is one.
    fn interrupts(&self, mode: Mode) -> Option<&'static Eal> {
        match mode {
            Mode::Hosted(platform) if !self.eal_is_parents() => Some(platform.hosted.eal),
            _ => None,
        }
    }

    fn watch_kernel(&'static self) -> Result<Running> {
        let source = KernelEvents::open(share_with_interrupts)?;
        let started = self.start_reader(source);
        if started.is_err() {
            self.engine.monitor.stop();
        }
        started
    }

    fn start_reader(&'static self, source: KernelEvents) -> Result<Running> {
        let (waiter, stop) = source.waiter()?;
        let reader = Arc::new(Mutex::new(self.engine.monitor.begin(source)?));
        let watched = reader.clone();
        let thread = thread::start("hotplug-uevent", move || {
            self.engine.monitor.watch(&watched, &waiter, &Reacting(self));
        });
        let thread = thread.map_err(|e| no_thread(&e))?;
        *self.events.reader.lock() = Some(reader);
        Ok(Running { thread, stop })
    }

    fn end_watch(&self, mut watch: MutexGuard<'_, Watch>) {
        watch.users = 0;
        self.engine.monitor.stop();
        self.events.reader.lock().take();
        let running = watch.running.take();
        // Whoever starts it again meanwhile has another thread.
        drop(watch);
        if let Some(Running { thread, stop }) = running {
            // A full counter wakes as well.
            let _ = stop.write(1);
            // It runs no callbacks, so it ends soon; it does not panic.
            let _ = thread.join();
        }
        log::debug!("uevent monitor: stopped");
    }

    /// What the interrupt thread does when the kernel tells something: the reader takes it if this one
    /// is busy for longer.
    fn read_and_deliver(&'static self) {
        let reader = self.events.reader.lock().clone();
        let Some(reader) = reader else { return };
        for _ in 0..AT_A_TIME {
            if !self.engine.monitor.take_next(&mut reader.lock(), &Reacting(self)) {
                break;
            }
            self.deliver(1);
        }
        if self.engine.monitor.has_queued() {
            self.wake_delivery();
        }
    }

    /// Chooses who calls callbacks, and starts it.
    pub(crate) fn prepare_delivery(&'static self, mode: Mode) -> Result<()> {
        let mut delivery = self.events.delivery.lock();
        let (eal, forks) = (self.interrupts(mode), fork::count());
        if matches!(delivery.by, Deliverer::Nobody) || delivery.forks != forks {
            let by = match eal.and_then(|eal| Alarm::of(eal, deliver_some)) {
                Some(alarm) => Deliverer::Alarm(alarm),
                None => Deliverer::Thread(self.start_delivery()?),
            };
            // A thread that is not here after a fork is none to wait for.
            std::mem::forget(std::mem::replace(&mut *delivery, Delivery { by, forks }));
        }
        // EAL forgets what is watched before it starts.
        let eal = eal.filter(|_| self.eal_was_started());
        if let (Deliverer::Alarm(_), Some(eal)) = (&delivery.by, eal) {
            if let Some(doorbell) = Doorbell::hang(eal, deliver_some) {
                delivery.by = Deliverer::Doorbell(doorbell);
            }
        }
        Ok(())
    }

    fn start_delivery(&'static self) -> Result<JoinHandle<()>> {
        let generation = self.engine.monitor.generation();
        let thread = thread::start("hotplug-events", move || {
            while self.engine.monitor.wait_for_item(generation) {
                // A defect has been reported by the panic hook.
                let _ = without_panic(|| self.deliver(1));
            }
        });
        thread.map_err(|e| no_thread(&e))
    }

    /// Lets what is queued be delivered soon: whether that is possible.
    pub(crate) fn wake_delivery(&self) -> bool {
        match &self.events.delivery.lock().by {
            Deliverer::Alarm(alarm) => return alarm.arm(),
            Deliverer::Doorbell(doorbell) => doorbell.ring(),
            // It waits for the queue itself.
            Deliverer::Thread(_) => {}
            Deliverer::Nobody => return false,
        }
        true
    }

    fn deliver(&'static self, at_most: usize) -> bool {
        let engine = &self.engine;
        engine.monitor.deliver(&engine.callbacks, &engine.uevent_callbacks, at_most)
    }
}

/// What the monitor's reader does besides reading.
struct Reacting(&'static Process);

impl Reactions for Reacting {
    fn wake(&self) -> bool {
        self.0.wake_delivery()
    }

    fn happened(&self, event: &Uevent, device: &CStr) {
        let states = &self.0.engine.states;
        match event.action() {
            Action::Remove => {
                self.0.secure_mappings(device);
                states.lost(device);
            }
            Action::Bind if event.driver().is_some_and(is_user_driver) => {
                states.reached(states::PCI, device, DeviceState::Bound);
            }
            _ => {}
        }
    }
}

impl Watch {
    /// In a forked child the monitor does not run.
    fn forget_if_forked(&mut self) {
        if self.forks != fork::count() {
            // Its thread is not here, and its descriptors are closed or the parent's.
            std::mem::forget(std::mem::take(self));
            self.forks = fork::count();
        }
    }
}

/// Lets EAL's interrupt thread read the socket too, if it is in this process.
fn share_with_interrupts(socket: Arc<UeventSocket>) -> Option<Interrupt> {
    let eal = process().host_mode().and_then(|mode| process().interrupts(mode))?;
    Interrupt::watch(eal, socket, || process().read_and_deliver())
}

/// A turn on the interrupt thread: whether there is more.
fn deliver_some() -> bool {
    process().deliver(AT_A_TIME)
}

/// Whether the kernel wants a device back from vfio-pci: it tells so by an interrupt, again and again
/// until it has it, and announces the removal itself afterwards. By then the driver may be shown no more.
fn is_wanted_back(device: &CStr, on_interrupt: bool) -> bool {
    match PciDevices::from_environment().driver(device) {
        Some(driver) => *driver == *c"vfio-pci",
        None => on_interrupt,
    }
}

fn no_thread(error: &std::io::Error) -> Error {
    let code = -error.raw_os_error().unwrap_or(libc::EAGAIN);
    Error::new(Kind::Code(code), format!("uevent monitor: cannot start a thread: {error}"))
}
