//! What happens on attach, detach and event, in which order. No DPDK, no system calls.

#![forbid(unsafe_code)]

pub mod answer;
pub mod attach;
pub mod binding;
pub mod callbacks;
pub mod coordinator;
pub mod counters;
pub mod detach;
pub mod journal;
pub mod monitor;
pub mod operation;
pub mod order;
pub mod outcome;
pub mod participant;
pub mod patience;
pub mod recovery;
pub mod roster;
pub mod states;
pub mod tracker;

use callbacks::{Callbacks, Event};
use monitor::Monitor;
use order::Order;
use states::States;

use crate::proto::uevent::Uevent;

/// The engine's state, one per process.
#[derive(Default)]
pub struct Engine {
    /// Who works on which device.
    pub order: Order,
    /// The registered device event callbacks.
    pub callbacks: Callbacks<Event>,
    /// The registered callbacks for events as the kernel tells them, by subsystem.
    pub uevent_callbacks: Callbacks<Uevent>,
    /// The monitor of the kernel's device events.
    pub monitor: Monitor,
    /// How far devices have come.
    pub states: States,
}
