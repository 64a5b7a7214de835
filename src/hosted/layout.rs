//! Where the fields are that we read and write in the host's structs, by DPDK version.

use std::fmt;

/// A DPDK version, year and month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Year, 22 in 22.11.
    pub year: u32,
    /// Month, 11 in 22.11.
    pub month: u32,
}

impl Version {
    /// A version from its two numbers.
    pub const fn new(year: u32, month: u32) -> Self {
        Self { year, month }
    }

    /// Reads what `rte_version()` returns, `DPDK 22.11.11` for instance.
    pub fn parse(text: &str) -> Option<Self> {
        let numbers =
            text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()))?;
        let mut parts = numbers.split(['.', '-']);
        Some(Self::new(parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.year, self.month)
    }
}

/// The oldest version whose layouts are known.
pub const OLDEST: Version = Version::new(20, 11);
/// The newest version whose layouts are known.
pub const NEWEST: Version = Version::new(26, 7);
/// The first version of [`Generation::ProbeDevice`].
const PROBE_DEVICE: Version = Version::new(26, 7);
/// What helps with a DPDK that was changed.
pub const AS_RELEASED: &str = "use one that is built as DPDK releases it";

/// How a bus probes and removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Up to 26.03: the bus finds the driver, and frees the device on unplug.
    Plug,
    /// From 26.07: the caller walks the drivers, and the device stays listed.
    ProbeDevice,
}

/// Byte offsets into the host's structs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The rules that go with the layout.
    pub generation: Generation,
    /// `rte_bus.scan`
    pub bus_scan: usize,
    /// `rte_bus.find_device`
    pub bus_find_device: usize,
    /// `rte_bus.plug`, later `probe_device`
    pub bus_plug: usize,
    /// `rte_bus.unplug`, later `unplug_device`
    pub bus_unplug: usize,
    /// `rte_bus.parse`
    pub bus_parse: usize,
    /// `rte_bus.conf.scan_mode`
    pub bus_scan_mode: usize,
    /// `rte_device.driver`
    pub device_driver: usize,
    /// `rte_device.bus`
    pub device_bus: usize,
    /// `rte_device.numa_node`
    pub device_numa: usize,
    /// `rte_device.devargs`
    pub device_devargs: usize,
    /// From an `rte_device` to the `mem_resource` of its `rte_pci_device`
    pub pci_resources: usize,
}

/// `rte_bus.name`, `rte_device.name` and `rte_driver.name`, in every version.
pub const NAME: usize = 16;
/// `rte_bus.allow_multi_probe`, 26.07 and later.
pub const BUS_ALLOW_MULTI_PROBE: usize = 24;
/// `rte_devargs.policy`
pub const DEVARGS_POLICY: usize = 20;
/// `rte_devargs.name`
pub const DEVARGS_NAME: usize = 24;
/// `rte_devargs.args`
pub const DEVARGS_ARGS: usize = 88;
/// `rte_devargs.bus`
pub const DEVARGS_BUS: usize = 96;
/// More than `sizeof(struct rte_devargs)`, which is 136 in every version.
pub const DEVARGS_ROOM: usize = 256;

impl Layout {
    /// The layout of a version; the error says why it is not known, and what helps.
    ///
    /// `has_find_driver` tells 26.07 from 26.03, whatever the version text says: a mismatch of the
    /// two is an unknown host.
    pub fn of(version: Version, has_find_driver: bool) -> Result<Self, String> {
        if version > NEWEST {
            return Err(format!(
                "version {version} is newer than {NEWEST}, the newest that is known: use a newer \
                 librte_hotplug"
            ));
        }
        if version < OLDEST {
            return Err(format!("version {version} is older than {OLDEST}: use a newer DPDK"));
        }
        if has_find_driver != (version >= PROBE_DEVICE) {
            let has = if has_find_driver { "has" } else { "has no" };
            return Err(format!(
                "it says that it is {version} but {has} rte_bus_find_driver: {AS_RELEASED}"
            ));
        }
        let (device_driver, device_bus, device_numa, device_devargs, pci_resources) =
            if version >= Version::new(22, 11) {
                (32, 40, 48, 56, 88)
            } else {
                (24, 32, 40, 48, 80)
            };
        let plug = Self {
            generation: Generation::Plug,
            bus_scan: 24,
            bus_find_device: 40,
            bus_plug: 48,
            bus_unplug: 56,
            bus_parse: 64,
            bus_scan_mode: if version >= Version::new(21, 11) { 96 } else { 88 },
            device_driver,
            device_bus,
            device_numa,
            device_devargs,
            pci_resources,
        };
        Ok(if !has_find_driver {
            plug
        } else {
            Self {
                generation: Generation::ProbeDevice,
                bus_scan: 32,
                bus_find_device: 48,
                bus_plug: 64,
                bus_unplug: 72,
                bus_parse: 80,
                bus_scan_mode: 120,
                ..plug
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        for (text, version) in [
            ("DPDK 22.11.11", Some(Version::new(22, 11))),
            ("DPDK 26.07.0-rc1", Some(Version::new(26, 7))),
            ("DPDK 25.11", Some(Version::new(25, 11))),
            ("vendor build", None),
            ("", None),
        ] {
            assert_eq!(Version::parse(text), version, "{text}");
        }
    }

    #[test]
    fn layouts_follow_the_version() {
        let driver = |y, m| Layout::of(Version::new(y, m), false).unwrap().device_driver;
        assert_eq!(driver(20, 11), 24);
        assert_eq!(driver(22, 7), 24);
        assert_eq!(driver(22, 11), 32);
        assert_eq!(driver(26, 3), 32);
        let newest = Layout::of(Version::new(26, 7), true).unwrap();
        assert_eq!((newest.bus_plug, newest.generation), (64, Generation::ProbeDevice));
        let scan_mode = |y, m| Layout::of(Version::new(y, m), false).unwrap().bus_scan_mode;
        assert_eq!((scan_mode(20, 11), scan_mode(21, 11), newest.bus_scan_mode), (88, 96, 120));
    }

    #[test]
    fn unknown_hosts_have_none() {
        for (year, month, has_find_driver, why) in [
            (19, 11, false, "older than 20.11"),
            (26, 11, true, "newer than 26.07"),
            (27, 3, false, "newer than 26.07"),
            (26, 7, false, "has no rte_bus_find_driver"),
            (26, 3, true, "has rte_bus_find_driver"),
        ] {
            let error = Layout::of(Version::new(year, month), has_find_driver).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
