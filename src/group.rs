//! The group of processes that share their devices: what this process is in it, and how an attach or
//! a detach here becomes one everywhere.
//!
//! Alone, a process works for itself. The primary coordinates ([`crate::channel::hub`]); a secondary
//! asks it ([`crate::channel::link`]), and carries out what it is asked for.

use std::cell::OnceCell;
use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::{Mutex, RwLock};

use crate::channel::hub::Hub;
use crate::channel::link::Link;
use crate::channel::operation::{CallToken, Plan};
use crate::channel::settings::{Counters, Timeouts};
use crate::channel::{Done, Local, Peer, answered, without_panic};
use crate::engine::answer::Answer;
use crate::engine::attach::{being_removed, no_bus};
use crate::engine::detach::{no_such_device, not_attached, unlisted};
use crate::engine::operation::Operation;
use crate::engine::order::{Phase, Turn};
use crate::engine::participant::Task;
use crate::error::{Error, Kind, Result};
use crate::hosted::stock_primary::{Duties, StockPrimary};
use crate::ports::{Bus, Devargs, DeviceId, Platform, label, unsupported};
use crate::process::{Mode, Process};
use crate::proto::wire::{Device, Request, Step};
use crate::sys::fork;

/// What this process is in its group.
#[derive(Clone, Default)]
pub enum Role {
    /// There is no group: nobody else is told.
    #[default]
    Alone,
    /// The primary.
    Primary(Arc<Hub>),
    /// A secondary of a primary with this library.
    Secondary(Arc<Link>),
    /// A secondary of a primary without it.
    StockSecondary(Arc<StockPrimary>),
}

/// The group of this process.
#[derive(Default)]
pub struct Group {
    /// With the number of forks at which it was taken.
    role: RwLock<(Role, u32)>,
    /// Devices of this secondary alone, from its command line.
    private: Mutex<HashSet<Device>>,
    /// Devices that were attached for the group, whatever the command line says.
    shared: Mutex<HashSet<Device>>,
    /// The timeouts.
    pub timeouts: Timeouts,
    /// What has happened.
    pub counters: Counters,
}

/// A platform, as the group needs it.
pub trait Site: Platform + Copy + 'static {
    /// A device has been attached.
    fn attached(&self, _process: &'static Process, _device: DeviceId) {}
    /// A device has been detached.
    fn detached(&self, _process: &'static Process, _device: DeviceId) {}
    /// Whether the command line of this process made the device.
    fn is_private(&self, process: &'static Process, device: &Device) -> bool;
    /// Whether the command line of this process keeps the device out.
    fn is_unwanted(&self, process: &'static Process, device: &Device) -> bool;
    /// Whether processes without this library know the bus.
    fn is_common_bus(&self, bus: &CStr) -> bool;
}

impl Group {
    /// The role. A forked child has none of its parent's: it must not use its sockets.
    pub fn role(&self) -> Role {
        let (role, forks) = &*self.role.read();
        if *forks == fork::count() { role.clone() } else { Role::Alone }
    }

    /// Takes a role; what was before is the caller's to close.
    pub fn enter(&self, role: Role) -> Role {
        let (before, forks) = std::mem::replace(&mut *self.role.write(), (role, fork::count()));
        if forks == fork::count() {
            return before;
        }
        // Its threads are not here, and its sockets are its parent's.
        std::mem::forget(before);
        Role::Alone
    }

    /// Leaves the group: from now on calls concern this process only.
    pub fn leave(&self) {
        match self.enter(Role::Alone) {
            Role::Alone => {}
            Role::Primary(hub) => hub.close(),
            Role::Secondary(link) => link.close(),
            Role::StockSecondary(stock) => stock.close(),
        }
        self.private.lock().clear();
        self.shared.lock().clear();
    }

    /// The other processes that are known.
    pub fn peers(&self) -> Vec<Peer> {
        match self.role() {
            Role::Alone => vec![],
            Role::Primary(hub) => hub.peers(),
            Role::Secondary(link) => link.peers(),
            Role::StockSecondary(stock) => stock.peers(),
        }
    }

    /// Keeps a device to this process.
    pub fn keep_private(&self, device: Device) {
        self.private.lock().insert(device);
    }

    /// Whether a device is kept to this process.
    pub fn is_private(&self, device: &Device) -> bool {
        self.private.lock().contains(device)
    }

    /// Whether a device of the command line has come to belong to the group.
    pub fn is_shared(&self, device: &Device) -> bool {
        self.shared.lock().contains(device)
    }

    fn share(&self, device: &Device) {
        self.shared.lock().insert(device.clone());
    }

    fn forget(&self, device: &Device) {
        self.private.lock().remove(device);
        self.shared.lock().remove(device);
    }
}

impl Process {
    /// Attaches the device that `text` describes, in every process of the group.
    pub(crate) fn attach_everywhere<S: Site>(&'static self, site: &S, text: &CStr) -> Result<()> {
        match self.group.role() {
            Role::Alone => self.attach_here(site, text).map(drop),
            Role::Primary(hub) => self.attach_as_primary(site, &hub, text, None, false),
            Role::Secondary(link) => {
                // Parsed here first: some strings crash the host's parser in the primary.
                let device = self.device_of(site, text)?;
                let order = &self.engine.order;
                let (parent, hurried) = (order.current(), order.holds_bus_lock(&device.bus));
                let reply = link.call(Step::Attach, &device, text, parent.as_ref(), hurried)?;
                if reply.code == 0 { Ok(()) } else { Err(answered(&device, Step::Attach, &reply)) }
            }
            Role::StockSecondary(stock) => {
                let device = self.device_of(site, text)?;
                if !site.is_common_bus(&device.bus) {
                    return self.attach_here(site, text).map(drop);
                }
                stock.ask(Step::Attach, &device, text)
            }
        }
    }

    /// Detaches a device in every process of the group.
    pub(crate) fn detach_everywhere<S: Site>(&'static self, site: &S, id: DeviceId) -> Result<()> {
        let (bus, name) = site.locate(id).ok_or_else(unlisted)?;
        let device = Device { bus: bus.bus_name(), name };
        let role = self.group.role();
        if matches!(role, Role::Alone) || self.is_private(site, &device) {
            return self.detach_here(site, &device, id);
        }
        if let Role::Primary(hub) = role {
            return self.detach_as_primary(site, &hub, &device, Some(id), None, false);
        }
        if !bus.is_probed(id) {
            return Err(not_attached(&device.bus, &device.name));
        }
        let text = devargs_text(&device, c"");
        match role {
            Role::Secondary(link) => {
                let order = &self.engine.order;
                let (parent, hurried) = (order.current(), order.holds_bus_lock(&device.bus));
                let reply = link.call(Step::Detach, &device, &text, parent.as_ref(), hurried)?;
                if reply.code == 0 { Ok(()) } else { Err(answered(&device, Step::Detach, &reply)) }
            }
            Role::StockSecondary(stock) if site.is_common_bus(&device.bus) => {
                stock.ask(Step::Detach, &device, &text)
            }
            _ => self.detach_here(site, &device, id),
        }
    }

    fn attach_as_primary<S: Site>(
        &'static self,
        site: &S,
        hub: &Hub,
        text: &CStr,
        call: Option<&CallToken>,
        hurried: bool,
    ) -> Result<()> {
        let devargs = site.parse(text)?;
        let bus = devargs.bus().ok_or_else(|| no_bus(text))?;
        let device = Device { bus: bus.bus_name(), name: devargs.name().to_owned() };
        drop(devargs);
        if !bus.can_plug() {
            return Err(unsupported(&device.bus, &device.name, "plug"));
        }
        let mut turn = self.coordinating_turn(hub, &device, hurried)?;
        refuse_inside(Step::Attach, turn.phase(), &device)?;
        let own_devargs = || {
            let found = bus.find(&device.name).filter(|id| bus.is_probed(*id));
            found.map(|id| devargs_text(&device, &bus.arguments(id)))
        };
        let before = OnceCell::new();
        // A bus of DPDK is asked later: it may hold its lock for long, and no joiner needs it here.
        if !site.is_common_bus(&device.bus) {
            own_devargs().map(|devargs| before.set(devargs));
        }
        let operation = turn.operation().clone();
        let plan = Plan {
            operation: &operation,
            step: Step::Attach,
            device: &device,
            devargs: text,
            with_stock_peers: site.is_common_bus(&device.bus),
            before: &before,
            call,
        };
        turn.during(Phase::Elsewhere, || {
            hub.coordinate(&plan, &mut |step| match step {
                Step::Attach => {
                    let new = self.attach_here(site, text)?;
                    if !new {
                        own_devargs().map(|devargs| before.set(devargs));
                    }
                    Ok(new)
                }
                _ => self.detach_named_here(site, &device).map(|_| true),
            })
        })
    }

    fn detach_as_primary<S: Site>(
        &'static self,
        site: &S,
        hub: &Hub,
        device: &Device,
        id: Option<DeviceId>,
        call: Option<&CallToken>,
        hurried: bool,
    ) -> Result<()> {
        let mut turn = self.coordinating_turn(hub, device, hurried)?;
        refuse_inside(Step::Detach, turn.phase(), device)?;
        // Looked for again: whoever had the turn before may have detached it.
        let bus = site.bus(&device.bus).ok_or_else(unlisted)?;
        let found = bus.find(&device.name);
        let found = match id {
            Some(id) => found.filter(|found| *found == id).ok_or_else(unlisted)?,
            None => found.ok_or_else(|| missing(device))?,
        };
        if !bus.is_probed(found) {
            return Err(not_attached(&device.bus, &device.name));
        }
        if !bus.can_unplug() {
            return Err(unsupported(&device.bus, &device.name, "unplug"));
        }
        let text = devargs_text(device, &bus.arguments(found));
        let operation = turn.operation().clone();
        let plan = Plan {
            operation: &operation,
            step: Step::Detach,
            device,
            devargs: &text,
            with_stock_peers: site.is_common_bus(&device.bus),
            before: &OnceCell::from(text.clone()),
            call,
        };
        turn.during(Phase::Elsewhere, || {
            hub.coordinate(&plan, &mut |step| match step {
                Step::Detach => self.detach_here(site, device, found).map(|()| true),
                _ => self.attach_here(site, &text),
            })
        })
    }

    /// The turn for an operation in all processes. A caller that holds a lock of the bus, in whichever
    /// process, does not wait for it for long: who has the turn may wait for that lock.
    fn coordinating_turn(
        &'static self,
        hub: &Hub,
        device: &Device,
        hurried: bool,
    ) -> Result<Turn<'static>> {
        let order = &self.engine.order;
        if hurried || (order.holds_bus_lock(&device.bus) && hub.has_peers()) {
            return order.enter_soon(&device.bus, &device.name);
        }
        order.enter(&device.bus, &device.name)
    }

    /// Attaches in this process only: whether that changed anything.
    pub(crate) fn attach_here<S: Site>(&'static self, site: &S, text: &CStr) -> Result<bool> {
        let attached = self.engine.attach(site, text)?;
        if attached.new {
            site.attached(self, attached.device);
        }
        Ok(attached.new)
    }

    /// Detaches in this process only.
    fn detach_here<S: Site>(&'static self, site: &S, device: &Device, id: DeviceId) -> Result<()> {
        // Held until it is forgotten: the address may soon be another device's.
        let _turn = self.engine.order.enter(&device.bus, &device.name)?;
        self.engine.detach(site, id)?;
        self.group.forget(device);
        site.detached(self, id);
        Ok(())
    }

    /// The same by name: the devargs that the device had, `None` when it is not attached.
    fn detach_named_here<S: Site>(
        &'static self,
        site: &S,
        device: &Device,
    ) -> Result<Option<CString>> {
        let _turn = self.engine.order.enter(&device.bus, &device.name)?;
        let Some(bus) = site.bus(&device.bus) else { return Ok(None) };
        let Some(id) = bus.find(&device.name).filter(|id| bus.is_probed(*id)) else {
            return Ok(None);
        };
        let text = devargs_text(device, &bus.arguments(id));
        self.engine.detach(site, id)?;
        self.group.forget(device);
        site.detached(self, id);
        Ok(Some(text))
    }

    fn is_private<S: Site>(&'static self, site: &S, device: &Device) -> bool {
        !self.group.is_shared(device) && site.is_private(self, device)
    }

    fn device_of<S: Site>(&'static self, site: &S, text: &CStr) -> Result<Device> {
        let devargs = site.parse(text)?;
        let bus = devargs.bus().ok_or_else(|| no_bus(text))?;
        if !bus.can_plug() {
            return Err(unsupported(&bus.bus_name(), devargs.name(), "plug"));
        }
        Ok(Device { bus: bus.bus_name(), name: devargs.name().to_owned() })
    }

    /// Serves a call of a secondary: the primary's part of it.
    fn serve_on<S: Site>(
        &'static self,
        site: &S,
        call: &Request,
        token: Option<&CallToken>,
    ) -> Result<()> {
        let Role::Primary(hub) = self.group.role() else {
            return Err(Error::new(Kind::NoAnswer, "this process is not the primary any more"));
        };
        let operation = Operation { lineage: call.lineage.clone(), ..Operation::new(None) };
        let _inside = self.engine.order.adopt(&operation);
        match call.step {
            Step::Attach => self.attach_as_primary(site, &hub, &call.devargs, token, call.hurried),
            Step::Detach => {
                self.detach_as_primary(site, &hub, &call.device, None, token, call.hurried)
            }
            _ => Err(Error::new(Kind::NotSupported, "a secondary cannot ask for a rollback")),
        }
    }

    /// Carries out a step that the primary asked for, or brings a device in line with it.
    fn carry_out_on<S: Site>(&'static self, site: &S, task: &Task) -> Result<Done> {
        let operation = match task {
            Task::Step(r) => Some(Operation { id: r.id, lineage: r.lineage.clone() }),
            Task::Sync(..) => None,
        };
        let _adopted = operation.as_ref().map(|operation| self.engine.order.adopt(operation));
        match task {
            Task::Step(request) => self.step_here(site, request),
            // Its own -b and -a win.
            Task::Sync(device, Some(_)) if site.is_unwanted(self, device) => {
                Ok(Done::attach(false))
            }
            Task::Sync(device, Some(devargs)) => {
                let new = self.attach_here(site, devargs)?;
                self.group.share(device);
                Ok(Done::attach(new))
            }
            Task::Sync(device, None) => self.detach_shared_here(site, device).map(Done::detach),
        }
    }

    fn step_here<S: Site>(&'static self, site: &S, request: &Request) -> Result<Done> {
        match request.step {
            Step::Attach | Step::DetachRollback => {
                let new = self.attach_here(site, &request.devargs)?;
                if new {
                    self.group.share(&request.device);
                }
                Ok(Done::attach(new))
            }
            Step::Detach => self.detach_shared_here(site, &request.device).map(Done::detach),
            Step::AttachRollback => self.detach_named_here(site, &request.device).map(Done::detach),
        }
    }

    /// Detaches a device, unless it is this process's own: `None` when there is nothing to detach.
    fn detach_shared_here<S: Site>(
        &'static self,
        site: &S,
        device: &Device,
    ) -> Result<Option<CString>> {
        if self.is_private(site, device) {
            return Ok(None);
        }
        self.detach_named_here(site, device)
    }

    /// Does a stock secondary's call in all processes: EAL's code, `None` when the secondary does not
    /// wait for it any longer.
    pub(crate) fn serve_stock(&'static self, step: Step, devargs: &CStr) -> Option<i32> {
        let limit = self.group.timeouts.limits().stock;
        let began = Instant::now();
        // Given up in time for the answer to be heard.
        let token = CallToken::until(began + limit * 4 / 5);
        let serve = || {
            let Mode::Hosted(platform) = self.mode()? else { return Err(not_here()) };
            let device = self.device_of(&platform, devargs)?;
            let devargs = devargs.to_owned();
            let call = Request { id: 0, lineage: vec![], step, device, devargs, hurried: false };
            self.serve_on(&platform, &call, Some(&token))
        };
        let result = match without_panic(serve).and_then(|served| served) {
            Ok(()) => 0,
            Err(error) => {
                log::error!("for another process: {error}");
                error.code()
            }
        };
        // A late answer would be taken for one to the next request.
        (began.elapsed() < limit).then_some(result)
    }
}

impl Duties for Process {
    fn device(&'static self, devargs: &CStr) -> Option<Device> {
        match self.mode() {
            Ok(Mode::Hosted(platform)) => self.device_of(&platform, devargs).ok(),
            _ => None,
        }
    }

    fn carry_out(&'static self, request: &Request) -> Done {
        Local::carry_out(self, &Task::Step(request.clone()))
    }
}

impl Local for Process {
    fn carry_out(&'static self, task: &Task) -> Done {
        let done = self.mode().and_then(|mode| match mode {
            Mode::Embedded(platform) => self.carry_out_on(&platform, task),
            Mode::Hosted(platform) => self.carry_out_on(&platform, task),
            Mode::Forwarding(_) => Err(not_here()),
        });
        done.unwrap_or_else(|error| Done::failed(&error))
    }

    fn serve(&'static self, call: &Request, token: &CallToken) -> Answer {
        let served = self.mode().and_then(|mode| match mode {
            Mode::Embedded(platform) => self.serve_on(&platform, call, Some(token)),
            Mode::Hosted(platform) => self.serve_on(&platform, call, Some(token)),
            Mode::Forwarding(_) => Err(not_here()),
        });
        match served {
            Ok(()) => Answer::Changed,
            Err(error) => Answer::Failed(error.code(), error.to_string()),
        }
    }

    fn devices_to_share(&'static self) -> Vec<(Device, CString)> {
        // Not by mode(), which may stop the embedded runtime: this runs in the channel's thread.
        self.embedded_devices()
    }

    fn primary_gone(&'static self) {
        self.look_for_another_primary();
    }
}

/// The devargs of a device, in full.
fn devargs_text(device: &Device, arguments: &CStr) -> CString {
    let parts = [device.bus.to_bytes(), b":", device.name.to_bytes(), b",", arguments.to_bytes()];
    CString::new(parts.concat()).unwrap_or_default()
}

/// Refuses a call from inside the device's own probe or remove, or from a callback of its attach or
/// detach.
fn refuse_inside(step: Step, phase: Option<Phase>, device: &Device) -> Result<()> {
    match phase {
        None => Ok(()),
        Some(Phase::Plug) if step == Step::Detach => Err(not_attached(&device.bus, &device.name)),
        Some(Phase::Unplug | Phase::LockedUnplug) => Err(being_removed(&device.bus, &device.name)),
        Some(Phase::Plug | Phase::Elsewhere) => Err(Error::new(
            Kind::Busy,
            format!(
                "{}: an attach or detach of it is under way, and this call is made inside of it",
                label(&device.bus, &device.name)
            ),
        )),
    }
}

fn missing(device: &Device) -> Error {
    Error::new(Kind::NotFound, no_such_device(&device.bus, &device.name).to_string())
}

fn not_here() -> Error {
    Error::new(Kind::NotSupported, "this process's DPDK is not one that can be worked with")
}
