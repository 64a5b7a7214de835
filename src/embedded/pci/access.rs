//! How this process reaches a PCI function: its memory and its configuration space.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::thread::JoinHandle;

use crate::sys::lock::Mutex;
use nix::errno::Errno;
use nix::sys::eventfd::EventFd;

use super::{NAME, OnFunction};
use crate::error::{Error, Kind, Result};
use crate::ports::{Mappings, label};
use crate::proto::pci::BARS;
use crate::sys::bar::Bar;
use crate::sys::sigbus::page_size;
use crate::sys::sysfs::PciDevices;
use crate::sys::vfio::{self, CONFIG_REGION, Failure, Group};
use crate::sys::{bell, fork, thread};

/// A function that a driver uses; given back when this value ends.
pub struct Access {
    device: CString,
    bars: Mutex<[Option<Bar>; BARS]>,
    way: Way,
}

enum Way {
    /// Through the files that the kernel has for it: under uio.
    Sysfs,
    /// Through VFIO. The order is that in which they end.
    Vfio { _watch: RequestWatch, device: vfio::Device },
}

impl Access {
    /// Through sysfs.
    pub fn by_sysfs(device: &CStr) -> Self {
        Self { device: device.to_owned(), bars: Mutex::default(), way: Way::Sysfs }
    }

    /// Through VFIO, as a part of this group.
    pub fn by_vfio(name: &CStr, group: Arc<Group>, on_request: OnFunction) -> Result<Self> {
        let device = group.device(name).map_err(|failure| vfio_failed(name, &failure))?;
        let watch = RequestWatch::start(name, &device, on_request)?;
        let way = Way::Vfio { _watch: watch, device };
        Ok(Self { device: name.to_owned(), bars: Mutex::default(), way })
    }

    /// Maps a base address register, or tells where it is mapped: the address and the length in bytes.
    pub fn map(&self, bar: usize) -> Result<(usize, usize)> {
        let mut bars = self.bars.lock();
        let place = bars
            .get_mut(bar)
            .ok_or_else(|| self.failed("map a BAR", Errno::EINVAL, "a function has six, 0 to 5"))?;
        let mapped = match place {
            Some(mapped) => mapped,
            None => place.insert(self.map_anew(bar)?),
        };
        Ok((mapped.start(), mapped.length()))
    }

    /// Reads a part of the configuration space: how many bytes there were.
    pub fn read_config(&self, bytes: &mut [u8], offset: u64) -> Result<usize> {
        let read = match &self.way {
            Way::Sysfs => self.config_file(offset, bytes.len())?.read_at(bytes, offset),
            Way::Vfio { device, .. } => {
                device.file().read_at(bytes, self.config_of(device, offset, bytes.len())?)
            }
        };
        read.map_err(|error| self.failed("read its configuration", errno(&error), ""))
    }

    /// Writes a part of the configuration space: how many bytes fitted.
    pub fn write_config(&self, bytes: &[u8], offset: u64) -> Result<usize> {
        let written = match &self.way {
            Way::Sysfs => self.config_file(offset, bytes.len())?.write_at(bytes, offset),
            Way::Vfio { device, .. } => {
                device.file().write_at(bytes, self.config_of(device, offset, bytes.len())?)
            }
        };
        written.map_err(|error| self.failed("write its configuration", errno(&error), ""))
    }

    /// The descriptors of the VFIO container, group and device.
    pub fn vfio_descriptors(&self) -> Option<[RawFd; 3]> {
        match &self.way {
            Way::Sysfs => None,
            Way::Vfio { device, .. } => Some(device.descriptors()),
        }
    }

    /// What is mapped.
    pub fn mappings(&self) -> Mappings {
        let bars = self.bars.lock();
        let ranges = bars.iter().flatten().map(|bar| (bar.start(), bar.length())).collect();
        Mappings { under_vfio: matches!(self.way, Way::Vfio { .. }), ranges }
    }

    fn map_anew(&self, bar: usize) -> Result<Bar> {
        match &self.way {
            Way::Sysfs => self.map_resource(bar),
            Way::Vfio { device, .. } => self.map_region(device, bar),
        }
    }

    fn map_resource(&self, bar: usize) -> Result<Bar> {
        let sysfs = PciDevices::from_environment();
        let looked = |error: io::Error| self.failed("look at its BARs", errno(&error), "");
        let resource = sysfs.resources(&self.device).map_err(looked)?[bar];
        self.check_bar(bar, resource.length, resource.is_memory)?;
        let opened = sysfs.open_resource(&self.device, bar);
        let opened = opened.map_err(|error| self.failed("open a BAR", errno(&error), ""))?;
        // The kernel's file begins with the page that the memory is in.
        let offset = resource.start % page_size() as u64;
        Bar::map(opened, offset, resource.length).map_err(|e| self.failed("map a BAR", e, ""))
    }

    fn map_region(&self, device: &vfio::Device, bar: usize) -> Result<Bar> {
        let region = device.region(bar as u32).map_err(|f| vfio_failed(&self.device, &f))?;
        self.check_bar(bar, region.length, region.can_be_mapped)?;
        Bar::map(device.file(), region.offset, region.length)
            .map_err(|e| self.failed("map a BAR", e, "its MSI-X table needs Linux 4.16 for that"))
    }

    fn check_bar(&self, bar: usize, length: u64, can_be_mapped: bool) -> Result<()> {
        let device = label(NAME, &self.device);
        match length {
            0 => Err(Error::new(Kind::NotFound, format!("{device}: it has no BAR {bar}"))),
            _ if !can_be_mapped => Err(Error::new(
                Kind::NotSupported,
                format!("{device}: its BAR {bar} is no memory that can be mapped"),
            )),
            _ => Ok(()),
        }
    }

    /// The kernel's file with the configuration space, which has this part.
    fn config_file(&self, offset: u64, length: usize) -> Result<File> {
        let looked = |error: io::Error| self.failed("open its configuration", errno(&error), "");
        let file = PciDevices::from_environment().open_config(&self.device).map_err(looked)?;
        self.check_config(file.metadata().map_err(looked)?.len(), offset, length)?;
        Ok(file)
    }

    /// Where the configuration space is in the device's file: offsets outside of it are other regions.
    fn config_of(&self, device: &vfio::Device, offset: u64, length: usize) -> Result<u64> {
        let region = device.region(CONFIG_REGION).map_err(|f| vfio_failed(&self.device, &f))?;
        self.check_config(region.length, offset, length)?;
        Ok(region.offset + offset)
    }

    fn check_config(&self, size: u64, offset: u64, length: usize) -> Result<()> {
        match offset.checked_add(length as u64).filter(|end| *end <= size) {
            Some(_) => Ok(()),
            None => {
                let why = format!("it has {size} bytes");
                Err(self.failed("reach its configuration", Errno::EINVAL, &why))
            }
        }
    }

    fn failed(&self, step: &str, errno: Errno, hint: &str) -> Error {
        failed(&self.device, step, errno, hint)
    }
}

/// Waits for the kernel to want a device back; it asks until it has it.
struct RequestWatch {
    thread: Option<JoinHandle<()>>,
    stop: Arc<EventFd>,
    forks: u32,
}

impl RequestWatch {
    fn start(name: &CStr, device: &vfio::Device, on_request: OnFunction) -> Result<Self> {
        let eventfd = || bell::new().map_err(|errno| failed(name, "make an eventfd", errno, ""));
        let (bell, stop) = (eventfd()?, Arc::new(eventfd()?));
        if let Err(failure) = device.ring_when_wanted(&bell) {
            // Kernels before 4.0 wait for the device without a word.
            log::debug!("{}", vfio_failed(name, &failure));
        }
        let (name, ends) = (name.to_owned(), stop.clone());
        let thread = thread::start("hotplug-request", {
            let name = name.clone();
            move || {
                while bell::wait(&bell, &ends) {
                    on_request(&name);
                }
            }
        });
        let thread = thread.map_err(|e| failed(&name, "start a thread", errno(&e), ""))?;
        Ok(Self { thread: Some(thread), stop, forks: fork::count() })
    }
}

impl Drop for RequestWatch {
    fn drop(&mut self) {
        let Some(thread) = self.thread.take().filter(|_| self.forks == fork::count()) else {
            return;
        };
        // A full counter wakes as well.
        let _ = self.stop.write(1);
        if thread.thread().id() != std::thread::current().id() {
            // It does not panic.
            let _ = thread.join();
        }
    }
}

pub(super) fn vfio_failed(device: &CStr, failure: &Failure) -> Error {
    let hint = match failure.errno {
        Errno::EBUSY => "another process has it",
        Errno::EACCES | Errno::EPERM => "are the rights of /dev/vfio right, and the group whole?",
        _ => "",
    };
    failed(device, failure.step, failure.errno, hint)
}

pub(super) fn failed(device: &CStr, step: &str, errno: Errno, hint: &str) -> Error {
    let separator = if hint.is_empty() { "" } else { ": " };
    let (device, why) = (label(NAME, device), errno.desc());
    let text = format!("{device}: cannot {step}: {why}{separator}{hint}");
    Error::new(Kind::Code(-(errno as i32)), text)
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
