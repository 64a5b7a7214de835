//! What `channel::hub` does around the coordinator, without sockets and threads; each function is
//! named after the one that it stands for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::CString;

use rte_hotplug::engine::coordinator::PeerId;
use rte_hotplug::engine::journal::Journal;
use rte_hotplug::engine::operation::OperationId;
use rte_hotplug::engine::outcome::Outcome;
use rte_hotplug::engine::roster::Roster;
use rte_hotplug::proto::wire::{Device, Message, Request, Step};

use crate::operation::{Caller, Inboxed, Run};
use crate::secondary;
use crate::world::{Event, PRIMARY, World};

/// The primary's side.
#[derive(Default)]
pub struct Hub {
    pub members: BTreeSet<PeerId>,
    pub roster: Roster,
    pub journal: Journal,
    pub calls: BTreeMap<(PeerId, u64), Token>,
    /// The operations that members take part in.
    pub operations: BTreeSet<OperationId>,
    pub runs: BTreeMap<OperationId, Run>,
    /// Who has the turn of a device, and who waits for it.
    pub turns: BTreeMap<Device, VecDeque<OperationId>>,
    pub next_operation: OperationId,
    /// How the operations ended, in this order.
    pub outcomes: Vec<Outcome>,
}

/// A secondary's call.
#[derive(Default)]
pub struct Token {
    pub cancelled: bool,
    pub run: Option<OperationId>,
}

impl World {
    pub fn hub_received(&mut self, peer: PeerId, messages: Vec<Message>) {
        self.on_life(peer);
        let cancelled: Vec<u64> = messages
            .iter()
            .filter_map(|m| if let Message::Cancel(call) = m { Some(*call) } else { None })
            .collect();
        let mut calls = vec![];
        for message in messages {
            match message {
                Message::Call(call) if cancelled.contains(&call.id) => {
                    // Its thread has gone, or waits for nothing that it could be told.
                    let pid = peer.0 as usize;
                    self.processes[pid].link.calls.remove(&call.id);
                }
                Message::Call(call) => calls.push(call),
                other => self.hub_message(peer, other),
            }
        }
        calls.into_iter().for_each(|call| self.on_call(peer, call));
    }

    fn hub_message(&mut self, peer: PeerId, message: Message) {
        let known = self.hub.members.contains(&peer);
        match message {
            Message::Hello(_) => {
                // What drivers say of their devices may be old when the lock is taken.
                let shared = self.processes[PRIMARY].devices.clone();
                let at = self.now + self.thread_delay();
                self.at(at, Event::Greet(peer, shared));
            }
            _ if !known => {}
            Message::Reply(reply) => {
                if self.hub.operations.contains(&reply.id) {
                    let (run, step) = (reply.id, reply.step);
                    let answer = secondary::answer(reply);
                    self.tell_run(run, Inboxed::Replied(peer, step, answer));
                } else {
                    let (operation, step) = (reply.id, reply.step);
                    self.hub.roster.replied(peer, operation, step, &secondary::answer(reply));
                }
            }
            Message::Cancel(call) => {
                if let Some(token) = self.hub.calls.get_mut(&(peer, call)) {
                    token.cancelled = true;
                    if let Some(run) = token.run {
                        self.tell_run(run, Inboxed::Cancelled);
                    }
                }
            }
            Message::Synced(but) => self.hub.roster.synced(peer, but),
            Message::Ping => self.send(PRIMARY, peer.0 as usize, &Message::Pong),
            Message::Pong => {}
            Message::Bye => self.hub_closed(peer),
            other => panic!("a secondary does not say {other:?}"),
        }
    }

    pub fn greet(&mut self, peer: PeerId, shared: BTreeMap<Device, CString>) {
        if !self.processes[peer.0 as usize].alive {
            // The end of the connection is not read twice.
            return;
        }
        self.hub.members.insert(peer);
        self.hub.roster.joined(peer);
        self.send(PRIMARY, peer.0 as usize, &Message::Welcome);
        self.bring_in_line(peer, shared);
        self.tell(&Inboxed::Joined(peer));
    }

    fn bring_in_line(&mut self, peer: PeerId, shared: BTreeMap<Device, CString>) {
        let pid = peer.0 as usize;
        let journal = self.hub.journal.snapshot();
        if self.embedded {
            for (device, devargs) in shared {
                let told = journal.iter().any(|(told, _)| *told == device);
                if !told && !self.is_new(&device) {
                    self.send(PRIMARY, pid, &Message::Sync(device, Some(devargs)));
                }
            }
        }
        for (device, devargs) in journal {
            self.send(PRIMARY, pid, &Message::Sync(device, devargs));
        }
        self.send(PRIMARY, pid, &Message::SyncEnd);
    }

    fn on_life(&mut self, peer: PeerId) {
        self.tell(&Inboxed::Heard(peer));
        self.hub.roster.heard(peer);
    }

    /// Whether an operation under way attaches the device, and may take it away again.
    fn is_new(&self, device: &Device) -> bool {
        let mut runs = self.hub.operations.iter().filter_map(|id| self.hub.runs.get(id));
        runs.any(|run| run.device == *device && run.step == Step::Attach && run.before.is_none())
    }

    fn on_call(&mut self, peer: PeerId, call: Request) {
        self.hub.calls.insert((peer, call.id), Token::default());
        let caller = Caller { pid: peer.0 as usize, call: Some(call.id) };
        self.operate(caller, call.step, call.device, call.devargs);
    }

    pub fn hub_closed(&mut self, peer: PeerId) {
        self.hub.roster.gone(peer);
        for ((by, _), call) in &mut self.hub.calls {
            // What a dead caller wanted and has not begun need not.
            call.cancelled |= *by == peer && call.run.is_none();
        }
        if self.hub.members.remove(&peer) {
            self.tell(&Inboxed::Gone(peer));
        }
    }

    fn tell(&mut self, event: &Inboxed) {
        let operations = self.hub.operations.clone();
        operations.into_iter().for_each(|run| self.tell_run(run, event.clone()));
    }
}
