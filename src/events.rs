//! The device events of this process: the monitor's threads, and the thread that callbacks run on.
//!
//! In a DPDK process that is EAL's interrupt thread, as users expect; embedded it is one of ours.

use std::ffi::CStr;
use std::sync::Arc;
use std::thread::JoinHandle;

use nix::sys::eventfd::EventFd;
use parking_lot::Mutex;

use crate::channel::without_panic;
use crate::engine::callbacks::Event;
use crate::engine::monitor::{Reactions, Reader};
use crate::engine::states;
use crate::engine::tracker::is_user_driver;
use crate::error::{Error, Kind, Result};
use crate::hosted::alarm::Alarm;
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
enum Delivery {
    #[default]
    None,
    Alarm(Alarm),
    Thread(JoinHandle<()>, u32),
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
            1 => self.end_watch(&mut watch),
            _ => watch.users -= 1,
        }
        Ok(0)
    }

    /// Tells of an event that did not come from the kernel's messages
    /// (`rte_dev_event_callback_process`).
    pub fn report_event(&'static self, device: &CStr, event: Event) -> Result<()> {
        let mode = self.mode()?;
        let on_interrupt = match mode {
            Mode::Hosted(platform) => platform.hosted.eal.is_interrupt_thread(),
            Mode::Embedded(_) | Mode::Forwarding(_) => false,
        };
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
    pub(crate) fn queue_request(&'static self, device: &CStr) {
        let prepared = self.mode().and_then(|mode| self.prepare_delivery(mode));
        if let Err(error) = prepared {
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
            self.end_watch(&mut watch);
        }
        drop(watch);
        self.end_fault_handling();
        self.engine.monitor.forget_queued();
        let delivery = std::mem::take(&mut *self.events.delivery.lock());
        match delivery {
            Delivery::None => {}
            Delivery::Alarm(alarm) => alarm.cancel(),
            Delivery::Thread(thread, forks) => {
                self.engine.monitor.end_delivery();
                let is_here = thread.thread().id() == std::thread::current().id();
                if forks == fork::count() && !is_here {
                    // It does not panic.
                    let _ = thread.join();
                }
            }
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

    fn end_watch(&self, watch: &mut Watch) {
        watch.users = 0;
        self.engine.monitor.stop();
        self.events.reader.lock().take();
        if let Some(Running { thread, stop }) = watch.running.take() {
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
        let stands = match &*delivery {
            Delivery::None => false,
            Delivery::Alarm(_) => true,
            Delivery::Thread(_, forks) => *forks == fork::count(),
        };
        if stands {
            return Ok(());
        }
        let alarm = match mode {
            Mode::Hosted(platform) => Alarm::of(platform.hosted.eal, deliver_some),
            _ => None,
        };
        let prepared = match alarm {
            Some(alarm) => Delivery::Alarm(alarm),
            None => {
                let generation = self.engine.monitor.generation();
                let thread = thread::start("hotplug-events", move || {
                    while self.engine.monitor.wait_for_item(generation) {
                        // A defect has been reported by the panic hook.
                        let _ = without_panic(|| self.deliver(1));
                    }
                });
                Delivery::Thread(thread.map_err(|e| no_thread(&e))?, fork::count())
            }
        };
        // A thread that is not here after a fork is none to wait for.
        std::mem::forget(std::mem::replace(&mut *delivery, prepared));
        Ok(())
    }

    /// Lets what is queued be delivered soon: whether that is possible.
    pub(crate) fn wake_delivery(&self) -> bool {
        match &*self.events.delivery.lock() {
            Delivery::Alarm(alarm) => alarm.arm(),
            // It waits for the queue itself.
            Delivery::Thread(..) => true,
            Delivery::None => false,
        }
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

/// Lets EAL's interrupt thread read the socket too.
fn share_with_interrupts(socket: Arc<UeventSocket>) -> Option<Interrupt> {
    match process().host_mode()? {
        Mode::Hosted(platform) => {
            Interrupt::watch(platform.hosted.eal, socket, || process().read_and_deliver())
        }
        Mode::Embedded(_) | Mode::Forwarding(_) => None,
    }
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
