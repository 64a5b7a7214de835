//! What happens on attach, detach and event, in which order. No DPDK, no system calls.

#![forbid(unsafe_code)]

pub mod answer;
pub mod attach;
pub mod callbacks;
pub mod coordinator;
pub mod detach;
pub mod journal;
pub mod operation;
pub mod order;
pub mod outcome;
pub mod participant;
pub mod patience;
pub mod roster;
mod thread_id;

use order::Order;

/// The engine's state, one per process.
#[derive(Default)]
pub struct Engine {
    /// Who works on which device.
    pub order: Order,
    /// The registered device event callbacks.
    pub callbacks: callbacks::Callbacks,
}
