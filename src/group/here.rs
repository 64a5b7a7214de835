//! An attach or a detach in this process only, and what its primary asks it for.

use std::ffi::{CStr, CString};

use super::Site;
use crate::channel::Done;
use crate::engine::operation::Operation;
use crate::engine::participant::Task;
use crate::error::Result;
use crate::ports::{Bus, DeviceId};
use crate::process::Process;
use crate::proto::wire::{Device, Request, Step};

impl Process {
    /// Attaches in this process only: whether that changed anything.
    pub(super) fn attach_here<S: Site>(&'static self, site: &S, text: &CStr) -> Result<bool> {
        let attached = self.engine.attach_and(site, text, |device, id| {
            site.attached(self, device, id);
        });
        attached.map(|attached| attached.new)
    }

    /// Detaches in this process only.
    pub(super) fn detach_here<S: Site>(
        &'static self,
        site: &S,
        device: &Device,
        id: DeviceId,
    ) -> Result<()> {
        // Held until it is forgotten: the address may soon be another device's.
        let _turn = self.engine.order.enter(&device.bus, &device.name)?;
        self.detach_device(site, device, id)?;
        self.group.forget(device);
        site.detached(self, device, id);
        Ok(())
    }

    /// The same by name: the devargs that the device had, `None` when it is not attached.
    pub(super) fn detach_named_here<S: Site>(
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
        self.detach_device(site, device, id)?;
        self.group.forget(device);
        site.detached(self, device, id);
        Ok(Some(text))
    }

    fn detach_device<S: Site>(&self, site: &S, device: &Device, id: DeviceId) -> Result<()> {
        site.detaching(self, device, true);
        let detached = self.engine.detach(site, id);
        if detached.is_err() {
            site.detaching(self, device, false);
        }
        detached
    }

    /// Carries out a step that the primary asked for, or brings a device in line with it.
    pub(super) fn carry_out_on<S: Site>(&'static self, site: &S, task: &Task) -> Result<Done> {
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

    pub(super) fn is_private<S: Site>(&'static self, site: &S, device: &Device) -> bool {
        !self.group.is_shared(device) && site.is_private(self, device)
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
}

/// The devargs of a device, in full.
pub(super) fn devargs_text(device: &Device, arguments: &CStr) -> CString {
    let parts = [device.bus.to_bytes(), b":", device.name.to_bytes(), b",", arguments.to_bytes()];
    CString::new(parts.concat()).unwrap_or_default()
}
