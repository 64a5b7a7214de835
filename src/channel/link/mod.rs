//! A secondary's side: its connection to the primary, the steps it carries out for it, and its own
//! calls.

mod chain;
mod join;

use std::collections::HashMap;
use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use crate::sys::lock::{Condvar, Mutex};

use super::connection::{Connection, Receiver};
use super::reactor::Reactor;
use super::settings::{Counters, Timeouts};
use super::workers::Workers;
use super::{Done, Local, Peer, PeerState, now};
use crate::engine::answer::Answer;
use crate::engine::coordinator::Time;
use crate::engine::operation::OperationId;
use crate::engine::participant::{Effect, Participant, Task};
use crate::proto::wire::{Device, Malformed, Message, Request, VERSION};
use chain::Chain;
use join::Membership;

/// What a link is made with.
pub struct LinkOptions {
    /// Whether this is the embedded runtime.
    pub embedded: bool,
    /// The file name of this process's EAL socket; empty when it has none.
    pub eal_socket: OsString,
    /// The process.
    pub local: &'static dyn Local,
    /// The timeouts.
    pub timeouts: &'static Timeouts,
    /// The counters.
    pub counters: &'static Counters,
}

/// A secondary's side of the channel.
pub struct Link {
    options: LinkOptions,
    connection: Mutex<Option<Arc<Connection>>>,
    reactor: Arc<Reactor>,
    workers: Workers,
    instance: AtomicU64,
    state: Mutex<State>,
    changed: Condvar,
    next_call: AtomicU64,
    gone: AtomicBool,
    this: Weak<Self>,
}

#[derive(Default)]
struct State {
    membership: Membership,
    participant: Participant,
    /// Devices still to be brought in line, and whether all have been named.
    syncing: usize,
    sync_ended: bool,
    /// Those that could not be.
    not_in_line: Vec<Device>,
    /// The operations that run here, and threads that wait inside of them.
    chains: HashMap<OperationId, Arc<Chain>>,
    calls: HashMap<u64, Arc<Chain>>,
    heard: Time,
    /// The primary gave no sign of life.
    stopped: bool,
}

impl Link {
    /// The primary, as the only peer that a secondary knows.
    pub fn peers(&self) -> Vec<Peer> {
        let state = self.state.lock();
        if state.membership == Membership::Gone {
            return vec![];
        }
        let connection = self.connection.lock();
        let pid = connection.as_ref().and_then(|c| c.peer_pid()).unwrap_or(0);
        vec![Peer {
            pid: pid.unsigned_abs(),
            state: match state.membership {
                _ if state.stopped => PeerState::Stopped,
                Membership::Joined => PeerState::Member,
                _ => PeerState::Joining,
            },
            primary: true,
            socket: String::new(),
        }]
    }

    /// Leaves the group: the devices stay as they are.
    pub fn close(&self) {
        self.gone.store(true, Ordering::Release);
        let connection = self.connection.lock().take();
        if let Some(connection) = connection {
            connection.send(Message::Bye.encode(self.instance.load(Ordering::Relaxed)));
            connection.close();
        }
        self.end();
        self.workers.stop();
        self.reactor.stop();
    }

    fn send(&self, message: &Message) {
        let connection = self.connection.lock().clone();
        if let Some(connection) = connection {
            connection.send(message.encode(self.instance.load(Ordering::Relaxed)));
        }
    }

    fn reply(&self, request: &Request, answer: &Answer) {
        self.send(&Message::Reply(super::reply(answer, request.id, request.step)));
    }

    /// A step or a device to bring in line has come.
    fn request(&self, task: Task) {
        let effects = self.state.lock().participant.requested(task);
        self.perform(effects);
    }

    fn perform(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Run(task) => self.dispatch(task),
                Effect::Answer(request, answer) => self.reply(&request, &answer),
            }
        }
    }

    /// Gives the task to the thread of the operation that it belongs to, if one runs here, else to a
    /// worker.
    fn dispatch(&self, task: Task) {
        let lineage = match &task {
            Task::Step(request) => request.lineage.as_slice(),
            Task::Sync(..) => &[],
        };
        let nested = !lineage.is_empty();
        {
            // Added under the lock under which the chain is taken off: no task is left in it.
            let state = self.state.lock();
            let chain = lineage.iter().find_map(|operation| state.chains.get(operation));
            if let Some(chain) = chain {
                return chain.push(task);
            }
        }
        if let Some(link) = self.this.upgrade() {
            self.workers.run(nested, move || link.run(task));
        }
    }

    /// Carries out a task in this thread, and what it leaves to do.
    fn run(&self, task: Task) {
        let operation = match &task {
            Task::Step(request) => Some(request.id),
            Task::Sync(..) => None,
        };
        let chain = Arc::new(Chain::default());
        if let Some(id) = operation {
            self.options.counters.requests.add();
            self.state.lock().chains.insert(id, chain.clone());
        }
        let done = super::without_panic(|| self.options.local.carry_out(&task))
            .unwrap_or_else(|error| Done::failed(&error));
        let (effects, left) = {
            let mut state = self.state.lock();
            if let Some(id) = operation {
                state.chains.remove(&id);
            }
            let left = chain.take_tasks();
            (state.participant.finished(&task, &done.answer, done.devargs), left)
        };
        match &task {
            Task::Step(request) => self.reply(request, &done.answer),
            Task::Sync(..) => {
                let mut state = self.state.lock();
                if let Answer::Failed(_, message) = &done.answer {
                    log::error!("joining the primary: {message}");
                    state.not_in_line.push(task.device().clone());
                }
                state.syncing -= 1;
                drop(state);
                self.check_synced();
            }
        }
        self.perform(effects);
        left.into_iter().for_each(|task| self.dispatch(task));
    }

    fn check_synced(&self) {
        let mut state = self.state.lock();
        if state.syncing > 0 || !state.sync_ended {
            return;
        }
        state.sync_ended = false;
        if state.membership == Membership::Joining {
            state.membership = Membership::Joined;
        }
        self.changed.notify_all();
        let not_in_line = std::mem::take(&mut state.not_in_line);
        drop(state);
        self.send(&Message::Synced(not_in_line));
    }

    fn on_message(&self, instance: u64, message: Message) -> bool {
        let asked = self.state.lock().membership == Membership::Asked;
        match message {
            Message::Welcome if asked => {
                self.instance.store(instance, Ordering::Relaxed);
                self.state.lock().membership = Membership::Joining;
                self.changed.notify_all();
            }
            Message::Refused(why) if asked => {
                self.state.lock().membership = Membership::Refused(why);
                self.changed.notify_all();
            }
            _ if asked || instance != self.instance.load(Ordering::Relaxed) => return false,
            Message::Sync(device, devargs) => {
                self.state.lock().syncing += 1;
                self.request(Task::Sync(device, devargs));
            }
            Message::SyncEnd => {
                self.state.lock().sync_ended = true;
                self.check_synced();
            }
            Message::Request(request) => self.request(Task::Step(request)),
            Message::Result(reply) => {
                let chain = self.state.lock().calls.get(&reply.id).cloned();
                match chain {
                    Some(chain) => chain.answer(reply),
                    None => self.options.counters.late_replies.add(),
                }
            }
            Message::Ping => self.send(&Message::Pong),
            Message::Pong => {}
            _ => return false,
        }
        true
    }

    /// The primary is gone, or this process leaves: nobody waits any longer.
    fn end(&self) {
        self.gone.store(true, Ordering::Release);
        let mut state = self.state.lock();
        if !matches!(state.membership, Membership::Refused(_)) {
            state.membership = Membership::Gone;
        }
        for chain in state.calls.values() {
            chain.end();
        }
        self.changed.notify_all();
    }
}

impl Receiver for Link {
    fn received(&self, connection: &Arc<Connection>, frames: Vec<(u64, Message)>) {
        {
            let mut state = self.state.lock();
            state.heard = now();
            state.stopped = false;
        }
        for (instance, message) in frames {
            let kind = std::mem::discriminant(&message);
            if !self.on_message(instance, message) {
                log::debug!("multi-process: out of place: {kind:?} of instance {instance:x}");
                return self.malformed(connection, Malformed::Garbage);
            }
        }
    }

    fn malformed(&self, connection: &Arc<Connection>, what: Malformed) {
        self.options.counters.bad_frames.add();
        let why = match what {
            Malformed::Version(theirs) => {
                format!("it speaks version {theirs} of the channel, this process {VERSION}")
            }
            Malformed::Garbage => "a frame of the primary makes no sense".to_owned(),
        };
        log::error!("multi-process: the connection is closed: {why}");
        let mut state = self.state.lock();
        if state.membership == Membership::Asked {
            state.membership = Membership::Refused(why);
        }
        drop(state);
        connection.close();
    }

    fn closed(&self, _connection: &Arc<Connection>) {
        let was_member = {
            let state = self.state.lock();
            state.membership == Membership::Joined && !self.gone.load(Ordering::Acquire)
        };
        self.options.counters.departures.add();
        self.end();
        // One that had not joined yet looks further by itself.
        if was_member {
            self.options.local.primary_gone();
        }
        log::debug!("multi-process: the primary process is gone");
    }
}
