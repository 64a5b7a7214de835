//! What the primary's side needs to ask processes that have EAL's own hotplug only.

use std::ffi::{CStr, OsStr, OsString};
use std::sync::Arc;

use super::operation::Inbox;
use super::reactor::Reactor;
use crate::engine::coordinator::PeerId;
use crate::error::Result;
use crate::proto::wire::Step;

/// Peers that have EAL's own hotplug only.
pub trait StockPeers: Send + Sync {
    /// The EAL sockets of the secondaries that there are.
    fn sockets(&self) -> Vec<OsString>;
    /// Whether such a socket is one of a process without this library; what a dead process left is
    /// removed.
    fn is_there(&self, socket: &OsStr) -> bool;
    /// Whether the socket has just been made: by a process that starts, and may not have said yet that
    /// it has this library.
    fn is_new(&self, socket: &OsStr) -> bool;
    /// Begins to ask such peers; answers go to `inbox`.
    fn open(&self, reactor: &Arc<Reactor>, inbox: &Arc<Inbox>) -> Result<Box<dyn StockSession>>;
}

/// The questions of one operation to stock peers.
pub trait StockSession: Send {
    /// Asks the peer with this EAL socket.
    fn send(&mut self, peer: PeerId, socket: &OsStr, step: Step, devargs: &CStr);
    /// Looks who is gone, and sends again what there was no room for.
    fn look_after(&mut self);
    /// Whether every peer has answered what it was asked last, or is gone.
    fn is_settled(&self) -> bool;
    /// The operation is over.
    fn close(self: Box<Self>, reactor: &Reactor);
}
