//! PCI functions through VFIO: container, group, device.

use std::ffi::{CStr, c_int, c_long, c_void};
use std::fs::File;
use std::io;
use std::mem::{ManuallyDrop, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use nix::errno::Errno;
use nix::sys::eventfd::EventFd;

use super::fork;

/// What could not be done, and why.
#[derive(Debug)]
pub struct Failure {
    /// The step.
    pub step: &'static str,
    /// The cause.
    pub errno: Errno,
}

type Result<T> = std::result::Result<T, Failure>;

/// An IOMMU group that this process has, in a container of its own.
pub struct Group {
    group: Own,
    container: Own,
}

/// A function of a group.
pub struct Device {
    file: Own,
    group: Arc<Group>,
}

/// A file that forked children do not keep: the kernel waits until nobody has the device.
struct Own(ManuallyDrop<File>, u32);

impl Own {
    fn new(file: File) -> Self {
        fork::close_in_child(file.as_raw_fd());
        Self(ManuallyDrop::new(file), fork::count())
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // In a child it is closed already, and its number may be something else's.
        if self.1 == fork::count() {
            fork::forget(self.0.as_raw_fd());
            // SAFETY: dropped here only.
            unsafe { ManuallyDrop::drop(&mut self.0) };
        }
    }
}

/// A region of a device's descriptor.
#[derive(Clone, Copy, Debug, Default)]
pub struct Region {
    /// Where it starts.
    pub offset: u64,
    /// Its length in bytes; 0: there is none.
    pub length: u64,
    /// Whether it can be mapped.
    pub can_be_mapped: bool,
}

/// The region of the configuration space; those before are the base address registers.
pub const CONFIG_REGION: u32 = 7;

const API_VERSION: c_int = 0;
const TYPE1: c_int = 1;
const NO_IOMMU: c_int = 8;
const GROUP_VIABLE: u32 = 1;
const REGION_MMAP: u32 = 4;
const REQUEST_INTERRUPT: u32 = 4;
const IRQ_TO_EVENTFD: u32 = 1 << 2 | 1 << 5;

/// `struct vfio_group_status`
#[repr(C)]
struct GroupStatus {
    size: u32,
    flags: u32,
}

/// `struct vfio_region_info`
#[repr(C)]
#[derive(Default)]
struct RegionInfo {
    size: u32,
    flags: u32,
    index: u32,
    capabilities: u32,
    length: u64,
    offset: u64,
}

/// `struct vfio_irq_set` with one descriptor.
#[repr(C)]
struct IrqSet {
    size: u32,
    flags: u32,
    index: u32,
    start: u32,
    count: u32,
    descriptor: c_int,
}

/// The numbers of `<linux/vfio.h>`: all have the type `;` and no size.
mod request {
    use nix::request_code_none;

    const TYPE: u8 = b';';
    pub const GET_API_VERSION: u64 = request_code_none!(TYPE, 100);
    pub const SET_IOMMU: u64 = request_code_none!(TYPE, 102);
    pub const GROUP_GET_STATUS: u64 = request_code_none!(TYPE, 103);
    pub const GROUP_SET_CONTAINER: u64 = request_code_none!(TYPE, 104);
    pub const GROUP_GET_DEVICE: u64 = request_code_none!(TYPE, 106);
    pub const GET_REGION_INFO: u64 = request_code_none!(TYPE, 108);
    pub const SET_IRQS: u64 = request_code_none!(TYPE, 110);
}

impl Group {
    /// Takes a group. `EBUSY`: another process has it.
    pub fn open(number: u32) -> Result<Self> {
        let container = open("/dev/vfio/vfio").map_err(at("open /dev/vfio/vfio"))?;
        if plain(&container, request::GET_API_VERSION, 0).map_err(at("ask VFIO"))? != API_VERSION {
            return Err(Failure { step: "ask VFIO for version 0", errno: Errno::ENOTSUP });
        }
        let (group, iommu) = match open(&format!("/dev/vfio/{number}")) {
            Err(Errno::ENOENT) => (open(&format!("/dev/vfio/noiommu-{number}")), NO_IOMMU),
            opened => (opened, TYPE1),
        };
        let group = group.map_err(at("open its VFIO group"))?;
        let mut status = GroupStatus { size: size_of::<GroupStatus>() as u32, flags: 0 };
        with(&group, request::GROUP_GET_STATUS, &mut status)
            .map_err(at("look at its VFIO group"))?;
        if status.flags & GROUP_VIABLE == 0 {
            return Err(Failure {
                step: "use its VFIO group: not all of it is bound to VFIO",
                errno: Errno::EPERM,
            });
        }
        let mut descriptor = container.as_raw_fd();
        with(&group, request::GROUP_SET_CONTAINER, &mut descriptor)
            .map_err(at("join a container"))?;
        plain(&container, request::SET_IOMMU, iommu).map_err(at("set the IOMMU up"))?;
        Ok(Self { group: Own::new(group), container: Own::new(container) })
    }

    /// A function of this group.
    pub fn device(self: &Arc<Self>, address: &CStr) -> Result<Device> {
        // SAFETY: the group's descriptor, and the name of a function.
        let descriptor = unsafe {
            libc::ioctl(self.group.0.as_raw_fd(), request::GROUP_GET_DEVICE, address.as_ptr())
        };
        let descriptor = Errno::result(descriptor).map_err(at("get the device from VFIO"))?;
        // SAFETY: the kernel has just made it for us.
        let owned = unsafe { OwnedFd::from_raw_fd(descriptor) };
        Ok(Device { file: Own::new(File::from(owned)), group: self.clone() })
    }
}

impl Device {
    /// What can be read, written and mapped.
    pub fn file(&self) -> &File {
        &self.file.0
    }

    /// The descriptors of the container, the group and the device.
    pub fn descriptors(&self) -> [RawFd; 3] {
        [&self.group.container, &self.group.group, &self.file].map(|own| own.0.as_raw_fd())
    }

    /// A region of [`Self::file`].
    pub fn region(&self, index: u32) -> Result<Region> {
        let size = size_of::<RegionInfo>() as u32;
        let mut info = RegionInfo { size, index, ..RegionInfo::default() };
        with(&self.file.0, request::GET_REGION_INFO, &mut info).map_err(at("ask for a region"))?;
        let can_be_mapped = info.flags & REGION_MMAP != 0;
        Ok(Region { offset: info.offset, length: info.length, can_be_mapped })
    }

    /// Lets `bell` ring whenever the kernel wants the device back.
    pub fn ring_when_wanted(&self, bell: &EventFd) -> Result<()> {
        let mut set = IrqSet {
            size: size_of::<IrqSet>() as u32,
            flags: IRQ_TO_EVENTFD,
            index: REQUEST_INTERRUPT,
            start: 0,
            count: 1,
            descriptor: bell.as_raw_fd(),
        };
        with(&self.file.0, request::SET_IRQS, &mut set).map(drop).map_err(at("hear of requests"))
    }
}

fn open(path: &str) -> nix::Result<File> {
    let opened = File::options().read(true).write(true).open(path);
    opened.map_err(|error: io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
}

fn at(step: &'static str) -> impl Fn(Errno) -> Failure {
    move |errno| Failure { step, errno }
}

fn plain(file: &File, request: u64, argument: c_int) -> nix::Result<c_int> {
    // SAFETY: requests that take a number.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), request, c_long::from(argument)) })
}

fn with<T>(file: &File, request: u64, argument: &mut T) -> nix::Result<c_int> {
    let argument: *mut c_void = std::ptr::from_mut(argument).cast();
    // SAFETY: each request is called with the struct that it takes, which says how large it is.
    Errno::result(unsafe { libc::ioctl(file.as_raw_fd(), request, argument) })
}
