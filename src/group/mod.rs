//! The group of processes that share their devices: what this process is in it, and how an attach or
//! a detach here becomes one everywhere.
//!
//! Alone, a process works for itself. The primary coordinates ([`crate::channel::hub`]); a secondary
//! asks it ([`crate::channel::link`]), and carries out what it is asked for.

mod coordinate;
mod here;
mod serve;

use std::collections::HashSet;
use std::ffi::CStr;
use std::sync::Arc;

use crate::sys::lock::Mutex;

use crate::channel::Peer;
use crate::channel::hub::Hub;
use crate::channel::link::Link;
use crate::channel::settings::{Counters, Timeouts};
use crate::hosted::stock_primary::StockPrimary;
use crate::ports::{DeviceId, Platform};
use crate::process::Process;
use crate::proto::wire::Device;
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
    role: Mutex<(Role, u32)>,
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
    /// A device has been attached; nobody detaches it during the call.
    fn attached(&self, _process: &'static Process, _device: &Device, _id: DeviceId) {}
    /// A device is about to be detached; `false`: it stays.
    fn detaching(&self, _process: &Process, _device: &Device, _detaching: bool) {}
    /// A device has been detached; nobody attaches it during the call.
    fn detached(&self, _process: &'static Process, _device: &Device, _id: DeviceId) {}
    /// Whether devices of this bus belong to the process that attaches them, whatever its group.
    fn is_own_bus(&self, _bus: &CStr) -> bool {
        false
    }
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
        let (role, forks) = &*self.role.lock();
        if *forks == fork::count() { role.clone() } else { Role::Alone }
    }

    /// Takes a role; what was before is the caller's to close.
    pub fn enter(&self, role: Role) -> Role {
        let (before, forks) = std::mem::replace(&mut *self.role.lock(), (role, fork::count()));
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
    fn is_shared(&self, device: &Device) -> bool {
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
