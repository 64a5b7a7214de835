//! What the kernel shows of PCI functions: one directory each.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString, OsStr};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::proto::pci::{BARS, Function, Ids, Resource, hexadecimal, resources};

/// The directory of all PCI functions.
#[derive(Clone, Debug)]
pub struct PciDevices(PathBuf);

impl PciDevices {
    /// The one that `SYSFS_PCI_DEVICES` names, as for DPDK, or the kernel's.
    pub fn from_environment() -> Self {
        let named = std::env::var_os("SYSFS_PCI_DEVICES").filter(|path| !path.is_empty());
        Self::at(named.map_or_else(|| "/sys/bus/pci/devices".into(), PathBuf::from))
    }

    /// The one at this path.
    pub fn at(path: PathBuf) -> Self {
        Self(path)
    }

    /// The addresses of all functions that are there.
    pub fn list(&self) -> io::Result<Vec<CString>> {
        let mut names = vec![];
        for entry in fs::read_dir(&self.0)? {
            names.extend(CString::new(entry?.file_name().into_vec()));
        }
        Ok(names)
    }

    /// A function; `None` when it is not there, or goes while it is looked at.
    pub fn look(&self, address: &CStr) -> Option<Function> {
        let path = self.directory(address);
        let identity = fs::metadata(&path).ok()?.ino();
        Some(Function { identity, devpath: devpath(&path)?, driver: driver(&path) })
    }

    /// The kernel driver that is bound to a function.
    pub fn driver(&self, address: &CStr) -> Option<CString> {
        driver(&self.directory(address))
    }

    /// Whether there is such a function.
    pub fn contains(&self, address: &CStr) -> bool {
        self.directory(address).is_dir()
    }

    /// What a function is; `None` when it is not there, or goes while it is looked at.
    pub fn ids(&self, address: &CStr) -> Option<Ids> {
        let directory = self.directory(address);
        let number = |file| hexadecimal(&fs::read_to_string(directory.join(file)).ok()?);
        let id = |file| u16::try_from(number(file)?).ok();
        Some(Ids {
            class: u32::try_from(number("class")?).ok()?,
            vendor: id("vendor")?,
            device: id("device")?,
            subsystem_vendor: id("subsystem_vendor")?,
            subsystem_device: id("subsystem_device")?,
        })
    }

    /// The NUMA node of a function, -1 when it is not known.
    pub fn numa_node(&self, address: &CStr) -> i32 {
        let text = fs::read_to_string(self.directory(address).join("numa_node"));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(-1)
    }

    /// The resources of a function.
    pub fn resources(&self, address: &CStr) -> io::Result<[Resource; BARS]> {
        Ok(resources(&fs::read_to_string(self.directory(address).join("resource"))?))
    }

    /// The memory of a resource.
    pub fn open_resource(&self, address: &CStr, bar: usize) -> io::Result<File> {
        self.open(address, &format!("resource{bar}"))
    }

    /// The configuration space of a function.
    pub fn open_config(&self, address: &CStr) -> io::Result<File> {
        self.open(address, "config")
    }

    /// The IOMMU group of a function.
    pub fn iommu_group(&self, address: &CStr) -> Option<u32> {
        let target = fs::read_link(self.directory(address).join("iommu_group")).ok()?;
        target.file_name()?.to_str()?.parse().ok()
    }

    /// The directory of a function.
    pub(super) fn directory(&self, address: &CStr) -> PathBuf {
        self.0.join(OsStr::from_bytes(address.to_bytes()))
    }

    /// The directory of the bus: it has `drivers` beside `devices`.
    pub(super) fn bus(&self) -> PathBuf {
        self.0.join("..")
    }

    fn open(&self, address: &CStr, file: &str) -> io::Result<File> {
        // The standard library opens with O_CLOEXEC.
        File::options().read(true).write(true).open(self.directory(address).join(file))
    }
}

/// The number of the kernel's last event.
pub fn uevent_seqnum() -> Option<u64> {
    fs::read_to_string("/sys/kernel/uevent_seqnum").ok()?.trim().parse().ok()
}

fn driver(function: &Path) -> Option<CString> {
    let target = fs::read_link(function.join("driver")).ok()?;
    CString::new(target.file_name()?.as_bytes()).ok()
}

/// Entries are links like `../../../devices/pci0000:00/0000:00:05.0`; in a made-up tree they may be
/// directories.
fn devpath(function: &Path) -> Option<CString> {
    let target = match fs::read_link(function) {
        Ok(target) => target,
        Err(_) => Path::new("devices").join(function.file_name()?),
    };
    let below: PathBuf = target.components().filter(|part| part.as_os_str() != "..").collect();
    CString::new(Path::new("/").join(below).into_os_string().into_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with the test.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sysfs-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn functions_and_their_drivers() {
        let tree = Tree::new("functions");
        let real = tree.0.join("devices/pci0000:00/0000:00:05.0");
        fs::create_dir_all(&real).unwrap();
        fs::create_dir_all(tree.0.join("bus/0000:00:06.0")).unwrap();
        let link = tree.0.join("bus/0000:00:05.0");
        std::os::unix::fs::symlink("../devices/pci0000:00/0000:00:05.0", link).unwrap();
        std::os::unix::fs::symlink("../../../drivers/vfio-pci", real.join("driver")).unwrap();
        let pci = PciDevices::at(tree.0.join("bus"));

        let mut names = pci.list().unwrap();
        names.sort();
        assert_eq!(names, [c"0000:00:05.0".to_owned(), c"0000:00:06.0".to_owned()]);
        let bound = pci.look(c"0000:00:05.0").unwrap();
        assert_eq!(bound.devpath.as_c_str(), c"/devices/pci0000:00/0000:00:05.0");
        assert_eq!(bound.driver.as_deref(), Some(c"vfio-pci"));
        let free = pci.look(c"0000:00:06.0").unwrap();
        assert_eq!((free.driver, free.devpath), (None, c"/devices/0000:00:06.0".to_owned()));
        assert_eq!(pci.look(c"0000:00:07.0"), None);

        fs::remove_dir(real.join("driver")).unwrap_err();
        fs::remove_dir_all(&real).unwrap();
        assert_eq!(pci.look(c"0000:00:05.0"), None, "the link leads nowhere");
    }

    #[test]
    fn the_kernel_numbers_its_events() {
        assert!(uevent_seqnum().is_some());
    }
}
