//! Processes that have EAL's own hotplug only, as the primary's side has to do with them.

use std::ffi::{CStr, OsStr, OsString};
use std::sync::Arc;
use std::time::Duration;

use super::hub::Hub;
use super::members::State;
use super::operation::{Inbox, Plan};
use super::reactor::Reactor;
use super::{check_length, label};
use crate::engine::coordinator::PeerId;
use crate::error::{Error, Kind, Result};
use crate::proto::eal::EAL_DEVARGS_SIZE;
use crate::proto::wire::Step;

/// How often it is looked what a process that has just started is.
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(2);

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

impl Hub {
    /// Refuses what no frame, or no stock peer, could carry; nothing has changed yet.
    pub(super) fn check_size(&self, plan: &Plan<'_>) -> Result<()> {
        check_length(plan.device, plan.devargs)?;
        let length = plan.devargs.count_bytes();
        if plan.step == Step::Attach
            && length >= EAL_DEVARGS_SIZE
            && plan.with_stock_peers
            && self.has_stock_peers()
        {
            return Err(Error::new(
                Kind::TooBig,
                format!(
                    "{}: the devargs have {length} bytes, a process without librte_hotplug is \
                     there and takes at most {}",
                    label(plan.device),
                    EAL_DEVARGS_SIZE - 1
                ),
            ));
        }
        Ok(())
    }

    /// The EAL sockets of secondaries that are no members.
    pub(super) fn stock_sockets(&self) -> Vec<OsString> {
        let Some(stock) = &self.options.stock else { return vec![] };
        let mut sockets = stock.sockets();
        // Twice: one that joins or ends between two looks seems for a moment to have done neither.
        for _ in 0..2 {
            if sockets.is_empty() {
                break;
            }
            {
                let state = self.state.lock();
                sockets.retain(|socket| state.members.values().all(|m| m.eal_socket != *socket));
            }
            sockets.retain(|socket| stock.is_there(socket));
        }
        sockets
    }

    /// Whether nobody without this library owes an answer any more.
    pub(super) fn is_answered(&self, state: &mut State) -> bool {
        let owed = std::mem::take(&mut state.unanswered);
        for mut stock in owed {
            stock.look_after();
            if stock.is_settled() {
                stock.close(&self.reactor);
            } else {
                state.unanswered.push(stock);
            }
        }
        state.unanswered.is_empty()
    }

    /// Whether there is a process without this library; who has just started is waited for.
    fn has_stock_peers(&self) -> bool {
        loop {
            let sockets = self.stock_sockets();
            let stock = self.options.stock.as_ref();
            let is_new = |socket: &OsString| stock.is_some_and(|stock| stock.is_new(socket));
            if sockets.iter().any(|socket| !is_new(socket)) {
                return true;
            }
            if sockets.is_empty() {
                return false;
            }
            std::thread::sleep(NEWCOMER_INTERVAL);
        }
    }
}
