//! Devices that go while drivers work with them: what is published to the SIGBUS handler, and what
//! becomes of a fault.
//!
//! The kernel takes a device's memory away in two ways. Under VFIO it first asks for the device back,
//! and accesses fault if nobody answers; under uio the mappings stay, and may reach the next device at
//! that address. So uio mappings are replaced as soon as the device has gone, those of VFIO by the
//! handler only: until then the driver still needs the device.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::sys::lock::Mutex;
use nix::errno::Errno;
use nix::sys::eventfd::EventFd;

use crate::engine::states::PCI;
use crate::error::{Error, Kind, Result};
use crate::ports::{Bus, DeviceId, Mappings, PciMemory, Platform};
use crate::process::{Mode, Process};
use crate::proto::pci::kernel_name;
use crate::proto::wire::Device;
use crate::registry;
use crate::sys::sigbus::{self, Owner};
use crate::sys::{bell, fork, thread};

/// What is known of faults and of what can fault.
#[derive(Default)]
pub(crate) struct Faults {
    /// One who enables or disables at a time.
    switch: Mutex<()>,
    state: Mutex<State>,
    /// Rings when a mapping was replaced. It stays: the handler has its descriptor. A forked child has
    /// one of its own.
    bell: Mutex<Option<(&'static EventFd, u32)>>,
}

#[derive(Default)]
struct State {
    /// How often the handling was enabled without being disabled.
    users: u32,
    watcher: Option<Watcher>,
    /// By the kernel's names.
    published: HashMap<CString, Published>,
    last_owner: Owner,
}

struct Watcher {
    thread: JoinHandle<()>,
    forks: u32,
    stop: Arc<EventFd>,
}

/// A device of the PCI bus whose mappings the handler knows.
struct Published {
    owner: Owner,
    mappings: Mappings,
    /// Whether its driver may be unmapping them.
    detaching: bool,
}

impl Process {
    /// Enables the handling of devices that go, or notes one more user
    /// (`rte_dev_hotplug_handle_enable`).
    pub fn enable_fault_handling(&'static self) -> Result<i32> {
        let mode = self.mode()?;
        if let Mode::Forwarding(host) = mode {
            return host.stock_switch(host.stock.handle_enable);
        }
        // Who tells of faults is there before they come.
        self.prepare_delivery(mode)?;
        let switch = self.faults.switch.lock();
        self.watch_faults()?;
        if self.faults.state.lock().users == 0 {
            self.install_handler(mode)?;
        }
        self.faults.state.lock().users += 1;
        drop(switch);
        match mode {
            Mode::Hosted(platform) => self.publish_all(&platform),
            Mode::Embedded(platform) => self.publish_all(&platform),
            Mode::Forwarding(_) => {}
        }
        Ok(0)
    }

    /// Publishes what is attached, if the handling is enabled.
    pub(crate) fn publish_all<P: Platform + PciMemory>(&self, platform: &P) {
        if self.faults.state.lock().users == 0 {
            return;
        }
        for (name, _) in platform.pci_devices() {
            self.publish_attached(platform, &name);
        }
    }

    /// Notes one user less, and ends the handling for the last (`rte_dev_hotplug_handle_disable`).
    pub fn disable_fault_handling(&'static self) -> Result<i32> {
        let mode = self.mode()?;
        if let Mode::Forwarding(host) = mode {
            return host.stock_switch(host.stock.handle_disable);
        }
        let _switch = self.faults.switch.lock();
        let users = self.faults.state.lock().users;
        if users == 0 {
            log::warn!("SIGBUS handling: it is not enabled, so it cannot be disabled");
            return Ok(0);
        }
        if users == 1 {
            self.with_memory_locked(mode, sigbus::uninstall)
                .map_err(|errno| no_handler(errno, "remove"))?;
            log::debug!("SIGBUS handling: disabled");
        }
        let mut state = self.faults.state.lock();
        state.users -= 1;
        if state.users == 0 {
            state.published.drain().for_each(|(_, device)| sigbus::withdraw(device.owner));
        }
        Ok(0)
    }

    /// A device was attached, and nobody detaches it meanwhile.
    pub(crate) fn publish_mappings<P: PciMemory>(
        &self,
        platform: &P,
        device: &Device,
        id: DeviceId,
    ) {
        if *device.bus != *PCI {
            return;
        }
        if self.faults.state.lock().users > 0 {
            let mappings = platform.pci_mappings(&device.name, id);
            self.faults.state.lock().publish(&device.name, mappings);
        }
    }

    /// Maps the memory of a function, or tells where it is: the address and the length in bytes.
    pub(crate) fn map_bar(
        &'static self,
        device: &registry::Device,
        bar: usize,
    ) -> Result<(usize, usize)> {
        let access = self.pci.access(device.name())?;
        let mapped = access.map(bar)?;
        let mut state = self.faults.state.lock();
        // It may have been detached since: then its memory ends with the last who has it.
        if self.pci.access(device.name()).is_ok_and(|now| Arc::ptr_eq(&now, &access)) {
            state.publish(device.name(), access.mappings());
        }
        drop(state);
        Ok(mapped)
    }

    /// A device is about to be detached, or stays after all.
    pub(crate) fn hold_mappings(&self, device: &Device, detaching: bool) {
        if *device.bus == *PCI {
            let mut state = self.faults.state.lock();
            if let Some(published) = state.published.get_mut(&kernel_name(&device.name)) {
                published.detaching = detaching;
            }
            drop(state);
            // It went while that was tried.
            if !detaching && self.engine.states.is_faulted(device) {
                self.secure_mappings(&kernel_name(&device.name));
            }
        }
    }

    /// A device was detached: its addresses may soon be something else's.
    pub(crate) fn withdraw_mappings(&self, device: &Device) {
        if *device.bus == *PCI {
            self.withdraw_mappings_of(&device.name);
        }
    }

    /// The addresses of a PCI device are about to become something else's.
    pub(crate) fn withdraw_mappings_of(&self, name: &CStr) {
        self.faults.state.lock().withdraw(name);
    }

    /// A device has gone: what still reaches its address must not reach the next one there.
    pub(crate) fn secure_mappings(&self, name: &CStr) {
        // Held meanwhile: no driver begins to unmap them.
        let state = self.faults.state.lock();
        let keeps = |device: &Published| device.mappings.under_vfio || device.detaching;
        if state.published.get(name).is_none_or(keeps) {
            return;
        }
        if let Err(errno) = sigbus::replace_mappings_of(name) {
            let why = errno.desc();
            log::error!("{}: cannot replace its memory: {why}", name.to_string_lossy());
        }
    }

    /// Ends the handling altogether: EAL, or the embedded runtime, ends.
    pub(crate) fn end_fault_handling(&'static self) {
        let users = self.faults.state.lock().users;
        for _ in 0..users {
            if let Err(error) = self.disable_fault_handling() {
                log::error!("{error}");
            }
        }
        let watcher = self.faults.state.lock().watcher.take();
        let Some(watcher) = watcher else { return };
        if watcher.forks != fork::count() {
            // Its thread is not here.
            return std::mem::forget(watcher);
        }
        // A full counter wakes as well. It runs no callbacks and does not panic.
        let _ = watcher.stop.write(1);
        let _ = watcher.thread.join();
    }

    fn publish_attached<P: Platform + PciMemory>(&self, platform: &P, name: &CStr) {
        // Nobody detaches it while it is published.
        let Ok(_turn) = self.engine.order.enter(PCI, name) else { return };
        let Some(bus) = platform.bus(PCI) else { return };
        if let Some(id) = bus.find(name).filter(|id| bus.is_probed(*id)) {
            let mappings = platform.pci_mappings(name, id);
            self.faults.state.lock().publish(name, mappings);
        }
    }

    fn install_handler(&'static self, mode: Mode) -> Result<()> {
        // Asked before: the linker has a lock of its own.
        let current = sigbus::current_handler().map_err(|errno| no_handler(errno, "look at"))?;
        let is_hosts = match (mode, NonNull::new(current as *mut _)) {
            (Mode::Hosted(platform), Some(handler)) => platform.hosted.host.contains(handler),
            _ => false,
        };
        let foreign = is_hosts.then_some(current);
        self.with_memory_locked(mode, || sigbus::install(foreign))
            .map_err(|errno| no_handler(errno, "install"))?;
        log::debug!("SIGBUS handling: enabled");
        Ok(())
    }

    /// EAL swaps the handler itself while it allocates huge pages, with this lock held for writing.
    fn with_memory_locked<T>(&self, mode: Mode, work: impl FnOnce() -> T) -> T {
        match mode {
            Mode::Hosted(platform) if self.eal_runs() => {
                platform.hosted.eal.with_memory_locked(work)
            }
            Mode::Hosted(_) | Mode::Forwarding(_) | Mode::Embedded(_) => work(),
        }
    }

    fn watch_faults(&'static self) -> Result<()> {
        let watcher = |state: &State| state.watcher.as_ref().map(|watcher| watcher.forks);
        if watcher(&self.faults.state.lock()) == Some(fork::count()) {
            return Ok(());
        }
        let bell = self.faults.bell()?;
        let stop = Arc::new(new_eventfd()?);
        let ends = stop.clone();
        let thread = thread::start("hotplug-faults", move || {
            while bell::wait(bell, &ends) {
                self.report_faults();
            }
        });
        let thread = thread.map_err(|error| {
            let code = -error.raw_os_error().unwrap_or(libc::EAGAIN);
            Error::new(Kind::Code(code), format!("SIGBUS handling: cannot start a thread: {error}"))
        })?;
        // One that is not here after a fork is none to wait for.
        let watcher = Watcher { thread, forks: fork::count(), stop };
        std::mem::forget(self.faults.state.lock().watcher.replace(watcher));
        Ok(())
    }

    /// Tells of the devices whose mappings were replaced.
    fn report_faults(&'static self) {
        for owner in sigbus::replaced() {
            let state = self.faults.state.lock();
            let faulted = state.published.iter().find(|(_, device)| device.owner == owner);
            let Some(name) = faulted.map(|(name, _)| name.clone()) else { continue };
            drop(state);
            let shown = name.to_string_lossy();
            log::warn!("{shown}: it does not answer any more: its memory was replaced");
            self.engine.states.lost(&name);
            if self.engine.monitor.report_fault(&name) {
                self.wake_delivery();
            }
        }
    }
}

impl Faults {
    fn bell(&self) -> Result<&'static EventFd> {
        let mut bell = self.bell.lock();
        if let Some((bell, forks)) = *bell {
            if forks == fork::count() {
                return Ok(bell);
            }
        }
        let new: &'static EventFd = Box::leak(Box::new(new_eventfd()?));
        *bell = Some((new, fork::count()));
        sigbus::ring(new.as_fd());
        Ok(new)
    }
}

impl State {
    fn publish(&mut self, name: &CStr, mappings: Mappings) {
        if self.users == 0 {
            return;
        }
        let name = &*kernel_name(name);
        let is_left = |range| mappings.ranges.contains(range);
        if self.published.get(name).is_some_and(|d| !d.mappings.ranges.iter().all(is_left)) {
            self.withdraw(name);
        }
        // One that has mapped more stays the same owner: a fault of it may not have been told yet.
        let device = self.published.entry(name.to_owned()).or_insert_with(|| {
            self.last_owner += 1;
            let mappings = Mappings::default();
            Published { owner: self.last_owner, mappings, detaching: false }
        });
        let known = &device.mappings.ranges;
        for (start, length) in mappings.ranges.iter().filter(|range| !known.contains(range)) {
            if !sigbus::publish(device.owner, *start, *length) {
                let shown = name.to_string_lossy();
                log::error!("{shown}: too many devices: a fault of it ends the process");
            }
        }
        device.mappings = mappings;
    }

    fn withdraw(&mut self, name: &CStr) {
        if let Some(device) = self.published.remove(&kernel_name(name)) {
            sigbus::withdraw(device.owner);
        }
    }
}

fn new_eventfd() -> Result<EventFd> {
    bell::new().map_err(|errno| no_handler(errno, "make an eventfd for"))
}

fn no_handler(errno: Errno, what: &str) -> Error {
    let why = errno.desc();
    Error::new(
        Kind::Code(-(errno as i32)),
        format!("SIGBUS handling: cannot {what} the handler: {why}"),
    )
}
