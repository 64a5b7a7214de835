//! Who joins, and what members say.

use std::collections::HashSet;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Hub;
use crate::channel::connection::{Connection, Receiver};
use crate::channel::listener::Death;
use crate::channel::members::{Member, State};
use crate::channel::operation::{CallToken, Event};
use crate::channel::reactor::Token;
use crate::channel::{answer, reply, without_panic};
use crate::engine::answer::Answer;
use crate::engine::coordinator::{PeerId, PeerKind};
use crate::proto::wire::{Device, Hello, Malformed, Message, Reply, Request, Step, VERSION};
use crate::sys::{pidfd, unix};

impl Hub {
    /// A process has connected.
    pub(in crate::channel) fn accept(self: Arc<Self>, socket: unix::Socket) {
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

    /// Tells those who have joined during an operation that failed how the device is to be.
    pub(in crate::channel) fn bring_back(&self, state: &State, late: &[PeerId], device: &Device) {
        let Some(devargs) = state.journal.last(device) else { return };
        for member in late.iter().filter_map(|id| state.members.get(id)) {
            self.send(&member.connection, &Message::Sync(device.clone(), devargs.clone()));
            self.send(&member.connection, &Message::SyncEnd);
        }
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
        let answer = answer(reply);
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
                    without_panic(|| hub.options.local.serve(&call, &token))
                        .unwrap_or_else(|e| Answer::Failed(e.code(), e.to_string()))
                };
                hub.state.lock().calls.remove(&(peer, call.id));
                hub.send_to(peer, &Message::Result(reply(&answer, call.id, call.step)));
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
