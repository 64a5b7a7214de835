//! Thin wrappers around the system, one file per facility.

pub mod bar;
pub mod bell;
pub mod dl;
pub mod fork;
pub mod kernel_drivers;
pub mod lock;
pub mod maps;
pub mod netlink;
pub mod peers;
pub mod pidfd;
pub mod sigbus;
pub mod sysfs;
pub mod thread;
pub mod unix;
pub mod vfio;
