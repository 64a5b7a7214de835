//! How far devices come: each step is logged and counted.
//!
//! ```text
//! PARSED ─► FOUND ─► BOUND ─► PROBED ─► FAULT ─► gone
//!                └──────────────┘ └──────────────┘
//! ```
//!
//! Buses know which devices they list and which of these a driver holds. Only a fault has to be kept.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use crate::sys::lock::Mutex;

use super::counters::counters;
use crate::ports::{DeviceState, label};
use crate::proto::pci::kernel_name;
use crate::proto::wire::Device;

counters! {
    /// How many devices have come how far; for C in this order.
    Counters read as Counts:
    /// Devargs became known.
    parsed,
    /// A bus found it.
    found,
    /// A kernel driver for user space was bound to it.
    bound,
    /// A driver took it.
    probed,
    /// It was removed, or faulted, while a driver had it.
    faulted,
    /// A driver let go of it, or nothing was found.
    gone,
}

/// The states of this process's devices.
#[derive(Default)]
pub struct States {
    /// The attached devices that can go by themselves.
    attached: Mutex<Attached>,
    /// How many have come how far.
    pub counters: Counters,
}

/// Names one attach of a device among all of this process.
pub type Attach = u64;

#[derive(Default)]
struct Attached {
    last: Attach,
    /// By the kernel's names: which attach it was, and whether the device has gone since.
    devices: BTreeMap<CString, (Attach, bool)>,
}

/// The bus whose devices can go by themselves.
pub const PCI: &CStr = c"pci";

impl States {
    /// A device has come so far, and goes on at once: the step that it ends with is told.
    pub fn passed(&self, state: DeviceState) {
        let counters = &self.counters;
        match state {
            DeviceState::Parsed => counters.parsed.add(),
            DeviceState::Found => counters.found.add(),
            DeviceState::Bound => counters.bound.add(),
            DeviceState::Probed => counters.probed.add(),
            DeviceState::Fault => counters.faulted.add(),
        }
    }

    /// A device has come so far.
    pub fn reached(&self, bus: &CStr, name: &CStr, state: DeviceState) {
        self.passed(state);
        let text = match state {
            DeviceState::Parsed => "parsed",
            DeviceState::Found => "parsed, found",
            DeviceState::Bound => "bound to a driver for user space",
            DeviceState::Probed => {
                self.learn(bus, name);
                "parsed, found, attached"
            }
            DeviceState::Fault => "gone while it is attached",
        };
        tell(bus, name, text);
    }

    /// A device was attached without us.
    pub fn learn(&self, bus: &CStr, name: &CStr) {
        if bus == PCI {
            let mut attached = self.attached.lock();
            attached.last += 1;
            let new = (attached.last, false);
            attached.devices.insert(kernel_name(name), new);
        }
    }

    /// A driver has let go of a device, or there is none.
    pub fn left(&self, bus: &CStr, name: &CStr, text: &str) {
        if bus == PCI {
            self.attached.lock().devices.remove(&kernel_name(name));
        }
        self.counters.gone.add();
        tell(bus, name, text);
    }

    /// A PCI device has gone, or does not answer any more: a fault if it is attached.
    pub fn lost(&self, name: &CStr) {
        let is_news = match self.attached.lock().devices.get_mut(&kernel_name(name)) {
            Some((_, faulted)) => !std::mem::replace(faulted, true),
            None => false,
        };
        if is_news {
            self.reached(PCI, name, DeviceState::Fault);
        }
    }

    /// Which attach of a PCI device stands; `None` when it is not attached.
    pub fn attach_of(&self, name: &CStr) -> Option<Attach> {
        self.attached.lock().devices.get(&kernel_name(name)).map(|(attach, _)| *attach)
    }

    /// Whether a device has gone while a driver has it.
    pub fn is_faulted(&self, device: &Device) -> bool {
        let attached = || self.attached.lock().devices.get(&kernel_name(&device.name)).copied();
        *device.bus == *PCI && attached().is_some_and(|(_, faulted)| faulted)
    }
}

fn tell(bus: &CStr, name: &CStr, text: &str) {
    if log::log_enabled!(log::Level::Debug) {
        log::debug!("{}: {text}", label(bus, name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(bus: &CStr) -> Device {
        Device { bus: bus.to_owned(), name: c"0000:00:05.0".to_owned() }
    }

    #[test]
    fn only_what_is_attached_faults_and_once() {
        let (states, pci) = (States::default(), device(PCI));
        states.lost(&pci.name);
        assert!(!states.is_faulted(&pci));
        states.reached(PCI, &pci.name, DeviceState::Probed);
        assert!(!states.is_faulted(&pci));
        states.lost(&pci.name);
        states.lost(&pci.name);
        assert!(states.is_faulted(&pci) && !states.is_faulted(&device(c"vdev")));
        states.left(PCI, &pci.name, "detached");
        assert!(!states.is_faulted(&pci));
        let counts = states.counters.read();
        assert_eq!((counts.probed, counts.faulted, counts.gone), (1, 1, 1));
    }

    #[test]
    fn one_that_is_called_otherwise_is_the_same() {
        let (states, short) = (States::default(), c"00:05.0");
        states.reached(PCI, short, DeviceState::Probed);
        states.lost(&device(PCI).name);
        assert!(states.is_faulted(&Device { bus: PCI.to_owned(), name: short.to_owned() }));
        states.left(PCI, short, "detached");
        assert!(!states.is_faulted(&device(PCI)));
    }

    #[test]
    fn attached_again_it_is_whole() {
        let (states, pci) = (States::default(), device(PCI));
        states.learn(PCI, &pci.name);
        states.lost(&pci.name);
        states.reached(PCI, &pci.name, DeviceState::Probed);
        assert!(!states.is_faulted(&pci));
    }
}
