//! What the engine needs from the outside: a platform with buses and devargs.
//!
//! Two implementations exist: [`crate::hosted`] over a live DPDK EAL and [`crate::embedded`]
//! without one. Buses registered with this library serve both.

use std::ffi::{CStr, CString};
use std::num::NonZeroUsize;
use std::time::Duration;

use nix::errno::Errno;

use crate::engine::tracker::Snapshot;
use crate::error::{Error, Result};
use crate::proto::pci::Function;
use crate::proto::uevent::{Malformed, Uevent};

/// Names a device: the address of its C `struct rte_device`.
///
/// Only a bus that lists the device may look behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DeviceId(pub NonZeroUsize);

impl DeviceId {
    /// The identity of the device at this address, if it is not NULL.
    pub fn from_ptr<T>(device: *const T) -> Option<Self> {
        NonZeroUsize::new(device as usize).map(Self)
    }

    /// The address as a C pointer.
    pub fn as_ptr<T>(self) -> *mut T {
        self.0.get() as *mut T
    }
}

/// How far a device has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// Devargs are listed for it; no bus has found it. Not told yet.
    Parsed,
    /// It is on a bus.
    Found,
    /// A kernel driver for user space is bound to it. Not told yet.
    Bound,
    /// A driver holds it.
    Probed,
    /// It was removed or faulted while in use. Not told yet.
    Fault,
}

/// How a driver took a device.
#[derive(Debug)]
pub enum Plugged {
    /// The driver probed the device now.
    Probed,
    /// A driver probed it once more, as its bus allows: it was attached before, and stays so whatever else
    /// fails.
    Again,
    /// The device was attached before; nothing changed.
    Already,
}

/// A bus: finds devices and plugs drivers into them.
///
/// No lock of this library is held while `plug` and `unplug` run: drivers call back.
pub trait Bus: Clone {
    /// The bus name, `vdev` or `pci` for instance.
    fn bus_name(&self) -> CString;
    /// Whether devices can be attached at run time.
    fn can_plug(&self) -> bool;
    /// Whether devices can be detached at run time.
    fn can_unplug(&self) -> bool;
    /// Whether the bus holds a lock of its own, for all its devices, while a driver removes one.
    fn locks_remove(&self) -> bool;
    /// Looks for the named device; buses that cannot look for one look for all.
    fn scan(&self, device: &CStr) -> Result<()>;
    /// The device of this name, if the last scan saw it.
    fn find(&self, device: &CStr) -> Option<DeviceId>;
    /// Whether a driver holds the device.
    fn is_probed(&self, device: DeviceId) -> bool;
    /// The arguments for the device's driver, empty when there are none.
    fn arguments(&self, device: DeviceId) -> CString;
    /// Lets the matching driver probe the device.
    fn plug(&self, device: DeviceId) -> Result<Plugged>;
    /// Lets the driver release the device, and removes its devargs.
    fn unplug(&self, device: DeviceId) -> Result<()>;
}

/// Parsed device arguments, not listed yet.
pub trait Devargs {
    /// The bus they name.
    type Bus: Bus;
    /// The bus, or `None` when only a class was named.
    fn bus(&self) -> Option<Self::Bus>;
    /// The device name.
    fn name(&self) -> &CStr;
    /// Puts them on the global list; an entry for the same device is replaced.
    fn insert(&mut self) -> Result<()>;
    /// Takes them off the list again: no device came to own them.
    fn withdraw(self);
}

/// The process that the engine works in.
pub trait Platform {
    /// Its buses.
    type Bus: Bus;
    /// Its device arguments.
    type Devargs: Devargs<Bus = Self::Bus>;
    /// Parses a devargs string.
    fn parse(&self, text: &CStr) -> Result<Self::Devargs>;
    /// The bus of this name.
    fn bus(&self, name: &CStr) -> Option<Self::Bus>;
    /// The bus and the name of a device, or `None` when no bus lists this address.
    ///
    /// Never looks behind the address unless a bus lists it.
    fn locate(&self, device: DeviceId) -> Option<(Self::Bus, CString)>;
}

/// The kernel's drivers of PCI functions, as `/sys/bus/pci` offers them.
pub trait KernelDrivers {
    /// Whether there is such a function.
    fn is_there(&self, device: &CStr) -> bool;
    /// Whether the kernel has this driver.
    fn knows(&self, driver: &CStr) -> bool;
    /// The driver that has the function.
    fn driver(&self, device: &CStr) -> Option<CString>;
    /// The only driver that may have the function, if there is such a rule.
    fn driver_override(&self, device: &CStr) -> std::result::Result<Option<CString>, Errno>;
    /// Makes such a rule, or takes it away.
    fn set_driver_override(
        &self,
        device: &CStr,
        driver: Option<&CStr>,
    ) -> std::result::Result<(), Errno>;
    /// Takes the function away from its driver.
    fn unbind(&self, device: &CStr) -> std::result::Result<(), Errno>;
    /// Gives the function to a driver. `ENODEV`: it may not have it, or not yet. `EBUSY`: another has it,
    /// or this one is being given it already.
    fn bind(&self, device: &CStr, driver: &CStr) -> std::result::Result<(), Errno>;
    /// Lets the kernel look for a driver.
    fn probe(&self, device: &CStr) -> std::result::Result<(), Errno>;
    /// The functions that the IOMMU cannot tell apart from this one, itself included; `None` without an
    /// IOMMU.
    fn group(&self, device: &CStr) -> Option<Vec<GroupMember>>;
    /// Whether VFIO does without an IOMMU.
    fn needs_no_iommu(&self) -> bool;
    /// Waits.
    fn pause(&self, time: Duration);
}

/// A function of an IOMMU group.
#[derive(Clone, Debug)]
pub struct GroupMember {
    /// Its address.
    pub name: CString,
    /// The kernel driver that has it.
    pub driver: Option<CString>,
    /// Whether it is a bridge.
    pub is_bridge: bool,
}

/// The PCI devices of a platform, and which memory of theirs this process has mapped.
pub trait PciMemory {
    /// The attached devices.
    fn pci_devices(&self) -> Vec<(CString, DeviceId)>;
    /// What an attached device has mapped.
    fn pci_mappings(&self, name: &CStr, device: DeviceId) -> Mappings;
}

/// What a device has mapped, and how.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Mappings {
    /// Whether the kernel holds the device for us until we give it back.
    pub under_vfio: bool,
    /// Where each starts, and how long it is.
    pub ranges: Vec<(usize, usize)>,
}

/// Where device events come from.
pub trait UeventSource {
    /// The next thing that has come. Does not wait.
    fn receive(&mut self) -> Incoming;
    /// What the system shows of a PCI function now; `None` when it is not there.
    fn look(&mut self, device: &CStr) -> Option<Function>;
    /// All PCI functions that there are now.
    fn snapshot(&mut self) -> Result<Snapshot>;
}

/// What comes from a source of device events.
#[derive(Debug)]
pub enum Incoming {
    /// An event.
    Event(Uevent),
    /// A message that the kernel did not send.
    Foreign,
    /// A message that makes no sense.
    Malformed(Malformed),
    /// Events were lost.
    Lost,
    /// All that had come has been taken.
    Nothing,
}

/// Waits for a source of device events.
pub trait UeventWaiter {
    /// Waits until something has come, for no longer than the limit: `false` at the end.
    fn wait(&self, limit: Option<Duration>) -> bool;
}

/// `bus:name` for messages; bytes that are not UTF-8 are replaced.
pub fn label(bus: &CStr, device: &CStr) -> String {
    format!("{}:{}", bus.to_string_lossy(), device.to_string_lossy())
}

/// The error for an operation that the bus does not offer.
pub fn unsupported(bus: &CStr, device: &CStr, step: &str) -> Error {
    Error::new(
        crate::error::Kind::NotSupported,
        format!(
            "{}: bus {} has no {step}: its devices cannot change at run time",
            label(bus, device),
            bus.to_string_lossy()
        ),
    )
}
