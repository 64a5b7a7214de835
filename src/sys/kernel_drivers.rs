//! Which kernel driver has a PCI function, and how another one gets it: files of sysfs.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;

use super::sysfs::PciDevices;
use crate::ports::{GroupMember, KernelDrivers};

/// What the kernel shows as the override of a function that has none.
const NO_OVERRIDE: &[u8] = b"(null)";
const NO_IOMMU: &str = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
/// Classes of functions that pass on what others do, and take no part in a group: to PCI, to `CardBus`,
/// semi-transparent. Those to ISA, for instance, do take part.
const BRIDGES: [u32; 3] = [0x0604, 0x0607, 0x0609];

impl KernelDrivers for PciDevices {
    fn is_there(&self, device: &CStr) -> bool {
        self.contains(device)
    }

    fn knows(&self, driver: &CStr) -> bool {
        self.bus().join("drivers").join(name(driver)).is_dir()
    }

    fn driver(&self, device: &CStr) -> Option<CString> {
        Self::driver(self, device)
    }

    fn driver_override(&self, device: &CStr) -> Result<Option<CString>, Errno> {
        let read = fs::read(self.directory(device).join("driver_override")).map_err(errno)?;
        let text = read.trim_ascii_end();
        Ok(CString::new(text).ok().filter(|_| !text.is_empty() && text != NO_OVERRIDE))
    }

    fn set_driver_override(&self, device: &CStr, driver: Option<&CStr>) -> Result<(), Errno> {
        // An empty line takes it away.
        let text = driver.map_or(&b"\n"[..], CStr::to_bytes);
        write(&self.directory(device).join("driver_override"), text)
    }

    fn unbind(&self, device: &CStr) -> Result<(), Errno> {
        write(&self.directory(device).join("driver/unbind"), device.to_bytes())
    }

    fn bind(&self, device: &CStr, driver: &CStr) -> Result<(), Errno> {
        write(&self.bus().join("drivers").join(name(driver)).join("bind"), device.to_bytes())
    }

    fn probe(&self, device: &CStr) -> Result<(), Errno> {
        write(&self.bus().join("drivers_probe"), device.to_bytes())
    }

    fn group(&self, device: &CStr) -> Option<Vec<GroupMember>> {
        let members = fs::read_dir(self.directory(device).join("iommu_group/devices")).ok()?;
        let names =
            members.filter_map(|entry| CString::new(entry.ok()?.file_name().as_bytes()).ok());
        Some(names.map(|name| self.member(name)).collect())
    }

    fn needs_no_iommu(&self) -> bool {
        fs::read(NO_IOMMU).is_ok_and(|text| text.starts_with(b"Y"))
    }

    fn pause(&self, time: Duration) {
        std::thread::sleep(time);
    }
}

impl PciDevices {
    fn member(&self, name: CString) -> GroupMember {
        let is_bridge = self.ids(&name).is_some_and(|ids| BRIDGES.contains(&(ids.class >> 8)));
        GroupMember { driver: Self::driver(self, &name), is_bridge, name }
    }
}

fn name(driver: &CStr) -> &OsStr {
    OsStr::from_bytes(driver.to_bytes())
}

/// The kernel wants the whole text by one call. It does not mind that the file is cut off, and in a made-up
/// tree nothing stays of a longer text.
fn write(path: &Path, text: &[u8]) -> Result<(), Errno> {
    let mut file = OpenOptions::new().write(true).truncate(true).open(path).map_err(errno)?;
    file.write_all(text).map_err(errno)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn errno(error: io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
