//! The devices of a bus: in the order in which they were found, and quick to find again among thousands.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::sync::Arc;

use super::device::Device;
use crate::ports::DeviceId;

/// The devices of a bus.
#[derive(Default)]
pub(super) struct Devices {
    last: u64,
    by_order: BTreeMap<u64, Arc<Device>>,
    by_name: HashMap<CString, u64>,
    by_id: HashMap<DeviceId, u64>,
}

impl Devices {
    /// Adds a device whose name is not taken.
    pub fn add(&mut self, device: Arc<Device>) {
        self.last += 1;
        self.by_name.insert(device.name().to_owned(), self.last);
        self.by_id.insert(device.id(), self.last);
        self.by_order.insert(self.last, device);
    }

    /// Takes a device out.
    pub fn remove(&mut self, id: DeviceId) -> Option<Arc<Device>> {
        let device = self.by_order.remove(&self.by_id.remove(&id)?)?;
        self.by_name.remove(device.name());
        Some(device)
    }

    /// The device of this name.
    pub fn named(&self, name: &CStr) -> Option<&Arc<Device>> {
        self.by_order.get(self.by_name.get(name)?)
    }

    /// The device with this identity, compared by address only.
    pub fn with_id(&self, id: DeviceId) -> Option<&Arc<Device>> {
        self.by_order.get(self.by_id.get(&id)?)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.by_order.values()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_order.is_empty()
    }
}
