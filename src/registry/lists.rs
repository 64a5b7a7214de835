//! What a bus lists: in the order in which it came, and quick to find again among thousands.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString};
use std::sync::Arc;

use super::devargs::Entry;
use super::device::Device;
use crate::ports::DeviceId;

/// What has a name of its own.
pub(super) trait Named {
    /// The name.
    fn name(&self) -> &CStr;
}

impl Named for Device {
    fn name(&self) -> &CStr {
        Self::name(self)
    }
}

impl Named for Entry {
    fn name(&self) -> &CStr {
        Self::name(self)
    }
}

/// A list without two of one name.
pub(super) struct List<T> {
    last: u64,
    by_order: BTreeMap<u64, Arc<T>>,
    by_name: HashMap<CString, u64>,
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self { last: 0, by_order: BTreeMap::new(), by_name: HashMap::new() }
    }
}

impl<T: Named> List<T> {
    /// Adds one at the end, in the place of another one of its name; tells where it is.
    pub fn add(&mut self, new: Arc<T>) -> u64 {
        self.remove(new.name());
        self.last += 1;
        self.by_name.insert(new.name().to_owned(), self.last);
        self.by_order.insert(self.last, new);
        self.last
    }

    /// Takes one out.
    pub fn remove(&mut self, name: &CStr) -> Option<Arc<T>> {
        self.by_order.remove(&self.by_name.remove(name)?)
    }

    /// The one of this name.
    pub fn named(&self, name: &CStr) -> Option<&Arc<T>> {
        self.by_order.get(self.by_name.get(name)?)
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.by_order.values()
    }
}

/// The devices of a bus.
#[derive(Default)]
pub(super) struct Devices {
    list: List<Device>,
    by_id: HashMap<DeviceId, u64>,
}

impl Devices {
    /// Adds a device whose name is not taken.
    pub fn add(&mut self, device: Arc<Device>) {
        let id = device.id();
        self.by_id.insert(id, self.list.add(device));
    }

    /// Takes a device out.
    pub fn remove(&mut self, id: DeviceId) -> Option<Arc<Device>> {
        let device = self.with_id(id)?.clone();
        self.by_id.remove(&id);
        self.list.remove(device.name())
    }

    /// The device of this name.
    pub fn named(&self, name: &CStr) -> Option<&Arc<Device>> {
        self.list.named(name)
    }

    /// The device with this identity, compared by address only.
    pub fn with_id(&self, id: DeviceId) -> Option<&Arc<Device>> {
        self.list.by_order.get(self.by_id.get(&id)?)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Device>> {
        self.list.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}
