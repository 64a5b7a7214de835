//! Drop-in device hotplug for DPDK applications, and an embedded runtime for machines without DPDK.
//!
//! C programs use `include/rte_hotplug.h`. Rust programs start at [`process::process`]:
//!
//! ```
//! use rte_hotplug::process::process;
//!
//! let hotplug = process();
//! hotplug.probe(c"hotplug_null0")?;
//! let device = hotplug.registry.devices().remove(0);
//! assert_eq!(device.label(), "vdev:hotplug_null0");
//! hotplug.remove(device.id())?;
//! # Ok::<(), rte_hotplug::error::Error>(())
//! ```
//!
//! The layers, from the top: [`capi`] the C functions · [`operations`] what they do in each mode ·
//! [`engine`] the steps of attach, detach and event · [`ports`] what the engine needs · [`hosted`]
//! and [`embedded`] provide it · [`registry`] the buses, drivers and devices of this library ·
//! [`proto`] pure parsers · [`sys`] the system.

#![deny(unsafe_code)]

mod binding;
#[allow(unsafe_code)]
pub mod capi;
pub mod channel;
pub mod embedded;
pub mod engine;
pub mod error;
mod events;
mod faults;
pub mod group;
#[allow(unsafe_code)]
pub mod hosted;
mod kernel;
pub mod logging;
pub mod membership;
pub mod operations;
pub mod ports;
pub mod process;
pub mod proto;
mod recovery;
pub mod registry;
mod states;
#[allow(unsafe_code)]
pub mod sys;
