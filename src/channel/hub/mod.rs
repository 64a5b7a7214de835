//! The primary's side: who is a member, and the operations that they take part in.

mod reception;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use crate::sys::lock::Mutex;
use nix::errno::Errno;

use super::connection::Connection;
use super::listener::Listener;
use super::members::{State, UnderWay, pid_of};
use super::operation::{CallToken, Event, Inbox, Plan, Run, Work};
use super::reactor::Reactor;
use super::settings::{Counters, Timeouts};
use super::stock::StockPeers;
use super::workers::Workers;
use super::{Local, Peer, PeerState, SOCKET};
use crate::engine::coordinator::{PeerId, PeerKind};
use crate::engine::operation::OperationId;
use crate::error::{Error, Kind, Result};
use crate::proto::wire::{Message, Step};
use crate::sys::unix;

/// What the hub is made with.
pub struct HubOptions {
    /// The runtime directory of the group.
    pub directory: PathBuf,
    /// Whether this is the embedded runtime.
    pub embedded: bool,
    /// The process.
    pub local: &'static dyn Local,
    /// The timeouts.
    pub timeouts: &'static Timeouts,
    /// The counters.
    pub counters: &'static Counters,
    /// How to reach peers without this library, if there can be any.
    pub stock: Option<Box<dyn StockPeers>>,
}

/// The primary's side of the channel.
pub struct Hub {
    instance: u64,
    path: PathBuf,
    pub(super) options: HubOptions,
    pub(super) reactor: Arc<Reactor>,
    workers: Workers,
    pub(super) state: Mutex<State>,
    this: Weak<Self>,
    closing: AtomicBool,
}

impl Hub {
    /// Begins to listen in the group's runtime directory.
    ///
    /// The caller makes sure that it is the only primary there: a socket that stands in the way is
    /// one that a dead primary left.
    pub fn open(options: HubOptions) -> Result<Arc<Self>> {
        let path = options.directory.join(SOCKET);
        let cannot = |step: &str, errno: Errno| {
            Error::new(
                Kind::Code(-(errno as i32)),
                format!("multi-process: cannot {step} {}: {}", path.display(), errno.desc()),
            )
        };
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                let errno = Errno::from_raw(e.raw_os_error().unwrap_or(libc::EIO));
                return Err(cannot("remove the old socket", errno));
            }
            _ => {}
        }
        let listener = unix::listen_at(&path).map_err(|e| cannot("listen at", e))?;
        let reactor = Arc::new(Reactor::start()?);
        let instance = RandomState::new().hash_one(std::process::id());
        let hub = Arc::new_cyclic(|this| Self {
            instance,
            path,
            options,
            reactor,
            workers: Workers::default(),
            state: Mutex::default(),
            this: this.clone(),
            closing: AtomicBool::new(false),
        });
        hub.reactor.watch(Arc::new(Listener::new(listener, hub.this.clone())));
        log::debug!("multi-process: primary, listening at {}", hub.path.display());
        Ok(hub)
    }

    /// The threads for what other processes ask.
    pub fn workers(&self) -> &Workers {
        &self.workers
    }

    /// Whether other processes take part in operations.
    pub fn has_peers(&self) -> bool {
        !self.state.lock().members.is_empty() || !self.stock_sockets().is_empty()
    }

    /// The other processes.
    pub fn peers(&self) -> Vec<Peer> {
        let mut peers = self.state.lock().describe_members();
        for socket in self.stock_sockets() {
            peers.push(Peer {
                pid: pid_of(&socket),
                state: PeerState::Stock,
                primary: false,
                socket: socket.to_string_lossy().into_owned(),
            });
        }
        peers
    }

    /// Carries out an operation in all processes; `work` does the primary's own part, in this thread.
    ///
    /// The caller has the turn of the device. An error means that every process is as before, or the
    /// error says which is not.
    pub fn coordinate(&self, plan: &Plan<'_>, work: Work<'_>) -> Result<()> {
        let limits = self.options.timeouts.limits();
        let inbox = Arc::new(Inbox::default());
        if plan.call.is_some_and(CallToken::is_cancelled) {
            return Err(super::no_answer(plan.device, plan.step, "the caller gave up"));
        }
        let mut run = Run::new(self, plan, limits, inbox.clone());
        self.check_size(plan)?;
        self.admit(plan, &inbox)?;
        let _registered = Registration { hub: self, operation: plan.operation.id };
        if let Some(call) = plan.call {
            call.bind(&inbox);
        }
        let outcome = run.carry_out(work);
        let mut state = self.state.lock();
        if let Some(stock) = run.stock.take() {
            // What is still to be undone there is watched, not waited for.
            if stock.is_settled() {
                stock.close(&self.reactor);
            } else {
                state.unanswered.push(stock);
            }
        }
        let result = state.conclude(plan, &outcome, limits, run.failed_here, self.options.counters);
        for member in outcome.stopped.iter().filter_map(|id| state.members.get(id)) {
            // It may have gone on in this very moment: its answer brings it back.
            self.send(&member.connection, &Message::Ping);
        }
        result
    }

    /// Leaves: peers see the end of the connection, calls that wait get an error.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        let connections: Vec<_> = {
            let mut state = self.state.lock();
            for operation in state.operations.values() {
                operation.inbox.push(Event::Cancelled);
            }
            state.unanswered.clear();
            let strangers: Vec<_> = state.strangers.drain().map(|(_, c)| c).collect();
            let members = std::mem::take(&mut state.members);
            for id in members.keys() {
                state.roster.gone(*id);
                state.tell(&Event::Gone(*id));
            }
            strangers.into_iter().chain(members.into_values().map(|m| m.connection)).collect()
        };
        // Gone before the connections end: a secondary that looks again must not find it.
        let _ = std::fs::remove_file(&self.path);
        for connection in connections {
            connection.close();
        }
        self.workers.stop();
        self.reactor.stop();
    }

    /// Registers the operation, and tells it who takes part; refused while a member is stopped.
    fn admit(&self, plan: &Plan<'_>, inbox: &Arc<Inbox>) -> Result<()> {
        let mut state = self.state.lock();
        if self.closing.load(Ordering::Acquire) {
            return Err(super::no_answer(plan.device, plan.step, "rte_eal_cleanup runs"));
        }
        // What an operation around this one has given up, it is not waited for here either: it has been
        // sent what undoes its part, with all that is inside of that.
        let around = plan.operation.lineage.iter().filter_map(|id| state.operations.get(id));
        let lost: Vec<PeerId> = around.flat_map(|o| o.lost.iter().copied()).collect();
        if let Some(stopped) = state.roster.stopped().find(|id| !lost.contains(id)) {
            let why = format!(
                "{} is stopped: nothing was changed; let it go on or end it",
                state.name_of(Some(stopped))
            );
            return Err(self.refused(plan, &why));
        }
        if !self.is_answered(&mut state) && plan.with_stock_peers {
            let why = "a process without librte_hotplug has not answered yet: nothing was changed; \
                       let it go on or end it";
            return Err(self.refused(plan, why));
        }
        for id in state.members.keys().filter(|id| !lost.contains(id)) {
            inbox.push(Event::Joined(*id, PeerKind::Member));
        }
        let is_new = plan.step == Step::Attach && plan.before.get().is_none();
        let new = is_new.then(|| plan.device.clone());
        state
            .operations
            .insert(plan.operation.id, UnderWay { inbox: inbox.clone(), new, lost: vec![] });
        Ok(())
    }

    fn refused(&self, plan: &Plan<'_>, why: &str) -> Error {
        self.options.counters.failed.add();
        super::no_answer(plan.device, plan.step, why)
    }

    fn send(&self, connection: &Connection, message: &Message) {
        connection.send(message.encode(self.instance));
    }

    pub(super) fn encode(&self, message: &Message) -> Vec<u8> {
        message.encode(self.instance)
    }

    pub(super) fn send_to(&self, peer: PeerId, message: &Message) {
        self.send_frame(peer, self.encode(message));
    }

    pub(super) fn send_frame(&self, peer: PeerId, frame: Vec<u8>) {
        let connection = self.state.lock().members.get(&peer).map(|m| m.connection.clone());
        if let Some(connection) = connection {
            connection.send(frame);
        }
    }
}

/// An operation that is known to the hub.
struct Registration<'a> {
    hub: &'a Hub,
    operation: OperationId,
}

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        self.hub.state.lock().operations.remove(&self.operation);
    }
}
