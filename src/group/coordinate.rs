//! An attach or a detach in every process of the group.

use std::cell::OnceCell;
use std::ffi::CStr;

use super::here::devargs_text;
use super::{Role, Site};
use crate::channel::answered;
use crate::channel::hub::Hub;
use crate::channel::operation::{CallToken, Plan};
use crate::engine::attach::{being_removed, no_bus};
use crate::engine::detach::{no_such_device, not_attached, unlisted};
use crate::engine::order::{Phase, Turn};
use crate::error::{Error, Kind, Result};
use crate::ports::{Bus, Devargs, DeviceId, label, unsupported};
use crate::process::Process;
use crate::proto::wire::{Device, Step};

impl Process {
    /// Attaches the device that `text` describes, in every process of the group.
    pub(crate) fn attach_everywhere<S: Site>(&'static self, site: &S, text: &CStr) -> Result<()> {
        let role = self.group.role();
        if !matches!(role, Role::Alone) && site.is_own_bus(&self.device_of(site, text)?.bus) {
            return self.attach_here(site, text).map(drop);
        }
        match role {
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

    pub(super) fn attach_as_primary<S: Site>(
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

    pub(super) fn detach_as_primary<S: Site>(
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

    pub(super) fn device_of<S: Site>(&'static self, site: &S, text: &CStr) -> Result<Device> {
        let devargs = site.parse(text)?;
        let bus = devargs.bus().ok_or_else(|| no_bus(text))?;
        if !bus.can_plug() {
            return Err(unsupported(&bus.bus_name(), devargs.name(), "plug"));
        }
        Ok(Device { bus: bus.bus_name(), name: devargs.name().to_owned() })
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
