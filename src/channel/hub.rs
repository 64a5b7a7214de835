//! The primary's side: who is a member, and the operations that they take part in.

use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::hash::{BuildHasher, RandomState};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use parking_lot::Mutex;

use super::connection::{Connection, Receiver};
use super::listener::{Death, Listener};
use super::members::{Member, State, UnderWay, pid_of};
use super::operation::{CallToken, Event, Inbox, Plan, Run, Work};
use super::reactor::{Reactor, Token};
use super::settings::{Counters, Timeouts};
use super::stock::StockPeers;
use super::workers::Workers;
use super::{Local, Peer, PeerState, SOCKET, label};
use crate::engine::answer::Answer;
use crate::engine::coordinator::{PeerId, PeerKind};
use crate::engine::operation::OperationId;
use crate::error::{Error, Kind, Result};
use crate::proto::eal::EAL_DEVARGS_SIZE;
use crate::proto::wire::{Device, Hello, Malformed, Message, Reply, Request, Step, VERSION};
use crate::sys::{pidfd, unix};

/// How often it is looked what a process that has just started is.
const NEWCOMER_INTERVAL: Duration = Duration::from_millis(2);

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

    /// Refuses what no frame, or no stock peer, could carry; nothing has changed yet.
    fn check_size(&self, plan: &Plan<'_>) -> Result<()> {
        super::check_length(plan.device, plan.devargs)?;
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

    /// Whether nobody without this library owes an answer any more.
    fn is_answered(&self, state: &mut State) -> bool {
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

    fn refused(&self, plan: &Plan<'_>, why: &str) -> Error {
        self.options.counters.failed.add();
        super::no_answer(plan.device, plan.step, why)
    }

    /// The EAL sockets of secondaries that are no members.
    pub(super) fn stock_sockets(&self) -> Vec<OsString> {
        let Some(stock) = &self.options.stock else { return vec![] };
        let mut sockets = stock.sockets();
        if sockets.is_empty() {
            return sockets;
        }
        {
            let state = self.state.lock();
            sockets.retain(|socket| state.members.values().all(|m| m.eal_socket != *socket));
        }
        sockets.retain(|socket| stock.is_there(socket));
        sockets
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

    /// A process has connected.
    pub(super) fn accept(self: Arc<Self>, socket: unix::Socket) {
        if !unix::is_trusted(&socket) {
            self.options.counters.refused.add();
            log::warn!("multi-process: a process of another user was refused");
            return;
        }
        let mut state = self.state.lock();
        if self.closing.load(Ordering::Acquire) {
            return;
        }
        state.next_peer += 1;
        let id = state.next_peer;
        let receiver: Arc<dyn Receiver> = self.clone();
        let connection = Connection::open(id, socket, &self.reactor, receiver);
        state.strangers.insert(id, connection);
    }

    /// A connection wants to join.
    fn greet(&self, connection: &Arc<Connection>, hello: Hello) {
        if hello.embedded != self.options.embedded {
            return self.refuse(connection, "the one is a DPDK process, the other is not");
        }
        // Drivers may be asked: before the lock.
        let shared = self.options.local.devices_to_share();
        let id = PeerId(connection.id);
        let mut state = self.state.lock();
        if self.closing.load(Ordering::Acquire) || state.strangers.remove(&connection.id).is_none()
        {
            return;
        }
        let death = self.watch_death(connection);
        let member = Member {
            connection: connection.clone(),
            pid: hello.pid,
            eal_socket: OsString::from_vec(hello.eal_socket),
            death,
        };
        log::debug!("multi-process: {} joins", member.name());
        state.members.insert(id, member);
        state.roster.joined(id);
        self.send(connection, &Message::Welcome);
        self.bring_in_line(&state, connection, shared);
        state.tell(&Event::Joined(id, PeerKind::Member));
    }

    /// Tells those who have joined during an operation that failed how the device is to be.
    pub(super) fn bring_back(&self, state: &State, late: &[PeerId], device: &Device) {
        let Some(devargs) = state.journal.last(device) else { return };
        for member in late.iter().filter_map(|id| state.members.get(id)) {
            self.send(&member.connection, &Message::Sync(device.clone(), devargs.clone()));
            self.send(&member.connection, &Message::SyncEnd);
        }
    }

    /// Sends the journal; what operations under way change is asked for by them.
    fn bring_in_line(
        &self,
        state: &State,
        connection: &Connection,
        shared: Vec<(Device, CString)>,
    ) {
        let journal = state.journal.snapshot();
        // What is being attached may go again: its operation asks the joiner itself.
        let new = state.operations.values().filter_map(|operation| operation.new.as_ref());
        let told: HashSet<_> =
            journal.iter().map(|(device, _)| device).chain(new).cloned().collect();
        let shared = shared.into_iter().filter(|(device, _)| !told.contains(device));
        for (device, devargs) in shared.map(|(d, a)| (d, Some(a))).chain(journal) {
            self.send(connection, &Message::Sync(device, devargs));
        }
        self.send(connection, &Message::SyncEnd);
    }

    fn refuse(&self, connection: &Arc<Connection>, why: &str) {
        self.options.counters.refused.add();
        log::warn!("multi-process: a process was refused: {why}");
        self.send(connection, &Message::Refused(why.to_owned()));
        connection.close();
    }

    /// A descriptor that a peer's child inherited would hide the peer's death.
    fn watch_death(&self, connection: &Arc<Connection>) -> Option<Token> {
        let pid = connection.peer_pid()?;
        let fd = pidfd::open(pid)?;
        let watched = Arc::new(Death { fd, connection: connection.clone() });
        Some(self.reactor.watch(watched))
    }

    fn on_message(&self, connection: &Arc<Connection>, message: Message) -> bool {
        let id = PeerId(connection.id);
        let known = self.state.lock().members.contains_key(&id);
        match message {
            Message::Hello(hello) if !known => self.greet(connection, hello),
            Message::Reply(reply) if known => self.on_reply(id, reply),
            Message::Cancel(call) if known => {
                let token = self.state.lock().calls.get(&(id, call)).cloned();
                if let Some(token) = token {
                    token.cancel();
                }
            }
            Message::Synced(not_in_line) if known => self.on_synced(id, not_in_line),
            Message::Ping if known => self.send(connection, &Message::Pong),
            Message::Pong if known => {}
            Message::Bye if known => connection.close(),
            _ => return false,
        }
        true
    }

    fn on_reply(&self, peer: PeerId, reply: Reply) {
        let mut state = self.state.lock();
        let (id, step) = (reply.id, reply.step);
        let answer = super::answer(reply);
        if let Some(operation) = state.operations.get(&id) {
            return operation.inbox.push(Event::Replied(peer, step, answer));
        }
        self.options.counters.late_replies.add();
        // It was not waited for any longer, and may have caught up now.
        state.roster.replied(peer, id, step, &answer);
    }

    fn on_synced(&self, peer: PeerId, not_in_line: Vec<Device>) {
        let mut state = self.state.lock();
        state.roster.synced(peer, not_in_line);
        self.options.counters.joins.add();
        log::debug!("multi-process: {} is in line", state.name_of(Some(peer)));
    }

    /// Any frame is a sign of life. What one that was stopped has to undo, it has been sent.
    fn on_life(&self, peer: PeerId) {
        let mut state = self.state.lock();
        state.tell(&Event::Heard(peer));
        if state.roster.heard(peer) {
            self.options.counters.joins.add();
            log::debug!("multi-process: {} goes on", state.name_of(Some(peer)));
        }
    }

    fn on_calls(&self, connection: &Arc<Connection>, calls: Vec<Request>) {
        let peer = PeerId(connection.id);
        for call in calls {
            let token = CallToken::new();
            let nested = {
                let mut state = self.state.lock();
                state.calls.insert((peer, call.id), token.clone());
                // Only what is under way here can wait for it: a lineage of nothing gets no thread.
                call.lineage.iter().any(|id| state.operations.contains_key(id))
            };
            self.options.counters.calls.add();
            let Some(hub) = self.this.upgrade() else { return };
            self.workers.run(nested, move || {
                let answer = if token.is_cancelled() {
                    Answer::Failed(-libc::ECANCELED, String::new())
                } else {
                    super::without_panic(|| hub.options.local.serve(&call, &token))
                        .unwrap_or_else(|e| Answer::Failed(e.code(), e.to_string()))
                };
                hub.state.lock().calls.remove(&(peer, call.id));
                hub.send_to(peer, &Message::Result(super::reply(&answer, call.id, call.step)));
            });
        }
    }
}

impl Receiver for Hub {
    fn received(&self, connection: &Arc<Connection>, frames: Vec<(u64, Message)>) {
        self.on_life(PeerId(connection.id));
        let cancelled: HashSet<u64> = frames
            .iter()
            .filter_map(|(_, m)| if let Message::Cancel(call) = m { Some(*call) } else { None })
            .collect();
        let mut calls = vec![];
        for (instance, message) in frames {
            let is_hello = matches!(message, Message::Hello(_));
            match message {
                _ if instance != self.instance && !is_hello => {
                    return self.malformed(connection, Malformed::Garbage);
                }
                // Begun and given up while this process was stopped.
                Message::Call(call) if cancelled.contains(&call.id) => {}
                Message::Call(call) => {
                    let peer = PeerId(connection.id);
                    if !self.state.lock().members.contains_key(&peer)
                        || !matches!(call.step, Step::Attach | Step::Detach)
                    {
                        return self.malformed(connection, Malformed::Garbage);
                    }
                    calls.push(call);
                }
                message => {
                    if !self.on_message(connection, message) {
                        return self.malformed(connection, Malformed::Garbage);
                    }
                }
            }
        }
        self.on_calls(connection, calls);
    }

    fn malformed(&self, connection: &Arc<Connection>, what: Malformed) {
        match what {
            Malformed::Version(theirs) => self.refuse(
                connection,
                &format!("it speaks version {theirs} of the channel, the primary {VERSION}"),
            ),
            Malformed::Garbage => {
                self.options.counters.bad_frames.add();
                log::warn!("multi-process: a frame makes no sense: the connection is closed");
                connection.close();
            }
        }
    }

    fn closed(&self, connection: &Arc<Connection>) {
        let id = PeerId(connection.id);
        let mut state = self.state.lock();
        state.strangers.remove(&connection.id);
        let Some(member) = state.members.remove(&id) else { return };
        for (_, call) in state.calls.iter().filter(|((peer, _), _)| *peer == id) {
            call.abandon();
        }
        state.roster.gone(id);
        state.tell(&Event::Gone(id));
        drop(state);
        if let Some(death) = member.death {
            self.reactor.forget(death);
        }
        self.options.counters.departures.add();
        log::debug!("multi-process: {} is gone", member.name());
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
