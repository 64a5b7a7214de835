//! The engine's platform over a live DPDK EAL: its buses, its devargs, and buses of ours beside them.

pub mod alarm;
pub mod apart;
pub mod bus;
pub mod devargs;
pub mod doorbell;
pub mod eal_socket;
pub mod ethdev;
pub mod host;
pub mod interrupt;
pub mod layout;
pub mod logging;
pub mod mp;
pub mod pci;
mod stock;
pub mod stock_peers;
pub mod stock_primary;
pub mod threads;
pub mod vdev;

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::ports::{self, Bus, DeviceId, Plugged};
use crate::proto::devargs::explicit_bus;
use crate::proto::eal::Alignment;
use crate::registry::{self, Registry};
use crate::sys::dl;
use bus::HostBus;
use devargs::HostDevargs;
use host::{Eal, Host};
use layout::{AS_RELEASED, Layout, NAME, OLDEST, Version};

/// The thread that every running EAL has: up to 23.07, and since.
pub const INTERRUPT_THREADS: [&str; 2] = ["eal-intr-thread", "dpdk-intr"];

/// A host whose version and layouts are known.
pub struct Hosted {
    /// The host.
    pub host: &'static Host,
    /// Its functions.
    pub eal: &'static Eal,
    /// Its version.
    pub version: Version,
    /// Its layouts.
    pub layout: Layout,
}

impl Hosted {
    /// Recognises the host, or says why it cannot be worked with.
    pub fn new(host: &'static Host) -> Result<&'static Self> {
        let refuse = |cause: String| Error::new(Kind::NotSupported, cause);
        if host.is_copy() {
            return Err(refuse("it is another librte_hotplug".into()));
        }
        let eal = host.eal().map_err(|missing| {
            refuse(format!("it has no {missing}: {OLDEST} or later, {AS_RELEASED}"))
        })?;
        let version = eal.version().map_err(|text| {
            refuse(format!("its version is unreadable, \"{text}\": {AS_RELEASED}"))
        })?;
        let layout = Layout::of(version, eal.bus_find_driver.is_some()).map_err(refuse)?;
        // Kept for good, like the host itself.
        let hosted: &'static Self = Box::leak(Box::new(Self { host, eal, version, layout }));
        hosted.check()?;
        Ok(hosted)
    }

    /// Checks the layouts against the buses and devices that there are: again when EAL has started,
    /// as it loads buses as plug-ins.
    pub fn check(&'static self) -> Result<()> {
        HostBus::all(self).try_for_each(|bus| {
            self.check_bus(&bus)?;
            bus.devices().first().map_or(Ok(()), |device| self.check_device(&bus, *device))
        })
    }

    /// How the host's multi-process datagrams are laid out.
    pub fn alignment(&self) -> Alignment {
        if self.version >= Version::new(25, 11) { Alignment::Eight } else { Alignment::Four }
    }

    /// Compares what the layout reads with what the host's accessors say.
    fn check_bus(&self, bus: &HostBus) -> Result<()> {
        let address = bus.address().as_ptr();
        // Compared as a pointer: it need not be one.
        // SAFETY: a registered bus, and the accessor of its name; every layout has a field there.
        let same = self.eal.bus_name.is_none_or(|official| unsafe {
            official(address) == address.byte_add(NAME).cast::<*const c_char>().read()
        });
        let functions = [self.layout.bus_scan, self.layout.bus_find_device];
        let code = functions.iter().all(|offset| {
            // SAFETY: struct rte_bus is larger than every offset of the table.
            dl::is_in_object(unsafe { address.byte_add(*offset).cast::<*const c_void>().read() })
        });
        if code && same { Ok(()) } else { Err(self.mismatch("struct rte_bus")) }
    }

    /// The same for a device that its bus lists.
    fn check_device(&self, bus: &HostBus, device: DeviceId) -> Result<()> {
        let at: *const c_void = device.as_ptr();
        // SAFETY: the device is listed; every offset of the table lies inside struct rte_device.
        let field = |offset: usize| unsafe { at.byte_add(offset).cast::<*const c_void>().read() };
        // SAFETY: the accessors read a listed device.
        let agrees = unsafe {
            self.eal.dev_name.is_none_or(|f| f(at).cast() == field(NAME))
                && self.eal.dev_driver.is_none_or(|f| f(at) == field(self.layout.device_driver))
                && self.eal.dev_devargs.is_none_or(|f| f(at) == field(self.layout.device_devargs))
                && self.eal.dev_numa_node.is_none_or(|f| {
                    f(at) == at.byte_add(self.layout.device_numa).cast::<c_int>().read()
                })
                && self.eal.dev_bus.is_none_or(|f| f(at) == field(self.layout.device_bus))
                && field(self.layout.device_bus) == bus.address().as_ptr().cast_const()
        };
        if agrees { Ok(()) } else { Err(self.mismatch("struct rte_device")) }
    }

    fn mismatch(&self, what: &str) -> Error {
        let version = self.version;
        Error::new(
            Kind::NotSupported,
            format!("{what} is not laid out as DPDK {version} has it: {AS_RELEASED}"),
        )
    }
}

/// The hosted platform: the host's buses and ours.
#[derive(Clone, Copy)]
pub struct Platform {
    /// The host.
    pub hosted: &'static Hosted,
    /// Our buses.
    pub registry: &'static Registry,
}

impl Platform {
    /// Whether devargs for this device of one of the host's buses are listed.
    pub fn has_devargs(&self, bus: &CStr, name: &CStr) -> bool {
        let bus = HostBus::named(self.hosted, bus);
        bus.is_some_and(|bus| devargs::lists(self.hosted, &bus, name))
    }
}

/// A bus of the host or of ours.
#[derive(Clone)]
pub enum AnyBus {
    /// The host's.
    Host(HostBus),
    /// Registered with this library.
    Ours(Arc<registry::Bus>),
}

/// Devargs for a bus of the host or of ours.
pub enum AnyDevargs {
    /// The host's.
    Host(HostDevargs),
    /// For a bus registered with this library.
    Ours(registry::devargs::Devargs),
}

/// Calls the same method of whichever variant it is.
macro_rules! either {
    ($kind:ident, $value:expr, $it:ident => $call:expr) => {
        match $value {
            $kind::Host($it) => $call,
            $kind::Ours($it) => $call,
        }
    };
}

impl Platform {
    /// What a listed device shows, or `None` when no bus lists this address.
    pub fn view(&self, device: DeviceId) -> Option<DeviceView> {
        if self.registry.device_at(device).is_some() {
            return None;
        }
        HostBus::all(self.hosted).find_map(|bus| bus.view_of(device))
    }

    /// The devices of one bus, or of all: the host's, bus by bus, then ours.
    pub fn devices(&self, bus: Option<&CStr>) -> Vec<DeviceId> {
        let wanted = |b: &HostBus| bus.is_none_or(|name| b.bus_name().as_c_str() == name);
        let host = HostBus::all(self.hosted).filter(wanted).flat_map(|bus| bus.devices());
        host.chain(self.registry.devices_of(bus).iter().map(|d| d.id())).collect()
    }

    /// Whether a secondary made the device for itself: its devargs came from its own command line. The
    /// primary's are announced, which lists no devargs.
    pub fn is_private(&self, bus: &CStr, name: &CStr) -> bool {
        if self.hosted.eal.is_primary() || bus != c"vdev" || !vdev::is_captured() {
            return false;
        }
        let Some(bus) = HostBus::named(self.hosted, bus) else { return false };
        bus.find(name).is_some_and(|device| devargs::is_listed(self.hosted, bus.devargs_of(device)))
    }

    /// Whether this process's own `-b` or `-a` keeps a device out that the group has.
    pub fn is_unwanted(&self, bus: &CStr, name: &CStr) -> bool {
        let Some(bus) = HostBus::named(self.hosted, bus) else { return false };
        devargs::keeps_out(self.hosted, &bus, name)
    }

    /// Whether DPDK has a bus of this name.
    pub fn has_host_bus(&self, name: &CStr) -> bool {
        HostBus::named(self.hosted, name).is_some()
    }

    /// Whether the text is for one of our buses: named in so many words, or a device name that ours
    /// takes and none of the host's.
    pub fn is_ours(&self, devargs: &CStr) -> bool {
        if self.registry.is_empty() {
            return false;
        }
        if let Some(named) = explicit_bus(devargs.to_bytes()) {
            if self.registry.buses().iter().any(|bus| bus.name().to_bytes() == named.bus) {
                return true;
            }
            let hosts = CString::new(named.bus).is_ok_and(|bus| self.has_host_bus(&bus));
            if hosts || named.by_layer {
                return false;
            }
        }
        let device = devargs.to_bytes().split(|b| *b == b',').next().unwrap_or_default();
        let Ok(device) = CString::new(device) else { return false };
        self.registry.buses().iter().any(|bus| bus.accepts(&device))
            && !HostBus::all(self.hosted).any(|bus| bus.accepts(&device))
    }
}

/// What C code may ask of a device of the host; the strings live as long as the device is listed.
pub struct DeviceView {
    /// Its name.
    pub name: *const c_char,
    /// Its bus's name.
    pub bus: *const c_char,
    /// Its driver's name; NULL when no driver holds it.
    pub driver: *const c_char,
    /// Its driver's arguments; NULL when there are none.
    pub arguments: *const c_char,
    /// Its NUMA node, -1 when unknown.
    pub numa_node: c_int,
}

impl DeviceView {
    /// What a device of ours shows.
    pub fn of(device: &registry::Device) -> Self {
        Self {
            name: device.name().as_ptr(),
            bus: device.bus().name().as_ptr(),
            driver: device.driver_name_ptr(),
            arguments: device.arguments_ptr(),
            numa_node: device.numa_node(),
        }
    }
}

impl ports::Platform for Platform {
    type Bus = AnyBus;
    type Devargs = AnyDevargs;

    fn parse(&self, text: &CStr) -> Result<AnyDevargs> {
        if self.is_ours(text) {
            return registry::devargs::Devargs::parse(self.registry, text).map(AnyDevargs::Ours);
        }
        HostDevargs::parse(self.hosted, text).map(AnyDevargs::Host)
    }

    fn bus(&self, name: &CStr) -> Option<AnyBus> {
        let host = HostBus::named(self.hosted, name).map(AnyBus::Host);
        host.or_else(|| self.registry.bus(name).map(AnyBus::Ours))
    }

    fn locate(&self, device: DeviceId) -> Option<(AnyBus, CString)> {
        if let Some(ours) = self.registry.device_at(device) {
            return Some((AnyBus::Ours(ours.bus().clone()), ours.name().to_owned()));
        }
        HostBus::all(self.hosted)
            .find_map(|bus| bus.name_of(device).map(|name| (AnyBus::Host(bus), name)))
    }
}

impl ports::Devargs for AnyDevargs {
    type Bus = AnyBus;

    fn bus(&self) -> Option<AnyBus> {
        match self {
            Self::Host(devargs) => devargs.bus().map(AnyBus::Host),
            Self::Ours(devargs) => devargs.bus().map(AnyBus::Ours),
        }
    }

    fn name(&self) -> &CStr {
        either!(Self, self, it => it.name())
    }

    fn insert(&mut self) -> Result<()> {
        either!(Self, self, it => it.insert())
    }

    fn withdraw(self) {
        either!(Self, self, it => it.withdraw());
    }
}

impl Bus for AnyBus {
    fn bus_name(&self) -> CString {
        either!(Self, self, it => it.bus_name())
    }

    fn can_plug(&self) -> bool {
        either!(Self, self, it => it.can_plug())
    }

    fn can_unplug(&self) -> bool {
        either!(Self, self, it => it.can_unplug())
    }

    fn locks_remove(&self) -> bool {
        either!(Self, self, it => it.locks_remove())
    }

    fn scan(&self, device: &CStr) -> Result<()> {
        either!(Self, self, it => Bus::scan(it, device))
    }

    fn find(&self, device: &CStr) -> Option<DeviceId> {
        either!(Self, self, it => it.find(device))
    }

    fn is_probed(&self, device: DeviceId) -> bool {
        either!(Self, self, it => it.is_probed(device))
    }

    fn arguments(&self, device: DeviceId) -> CString {
        either!(Self, self, it => it.arguments(device))
    }

    fn plug(&self, device: DeviceId) -> Result<Plugged> {
        either!(Self, self, it => it.plug(device))
    }

    fn unplug(&self, device: DeviceId) -> Result<()> {
        either!(Self, self, it => it.unplug(device))
    }
}
