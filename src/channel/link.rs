//! A secondary's side: its connection to the primary, the steps it carries out for it, and its own
//! calls.

use std::collections::{HashMap, VecDeque};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use parking_lot::{Condvar, Mutex};

use super::connection::{Connection, Receiver};
use super::reactor::Reactor;
use super::settings::{Counters, Timeouts};
use super::workers::Workers;
use super::{Done, Local, Peer, PeerState, SOCKET, check_length, no_answer, now, seconds};
use crate::engine::answer::Answer;
use crate::engine::coordinator::Time;
use crate::engine::operation::{Operation, OperationId};
use crate::engine::participant::{Effect, Participant, Task};
use crate::error::{Error, Kind, Result};
use crate::proto::wire::{Device, Hello, Malformed, Message, Reply, Request, Step, VERSION};
use crate::sys::unix;

/// How long a secondary waits for its primary's answer when it starts.
const JOIN_LIMIT: Duration = Duration::from_secs(10);
/// How long a primary with many secondaries that start at once may be busy.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// In so many parts of the liveness time the primary is asked for a sign of life.
const SILENT_ROUNDS: u32 = 4;

/// What a link is made with.
pub struct LinkOptions {
    /// Whether this is the embedded runtime.
    pub embedded: bool,
    /// The file name of this process's EAL socket; empty when it has none.
    pub eal_socket: std::ffi::OsString,
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

#[derive(Default, Debug, PartialEq, Eq)]
enum Membership {
    #[default]
    Asked,
    Joining,
    Joined,
    Refused(String),
    Gone,
}

/// The work that waits for one thread: answers to its call, and steps that belong to its operation.
#[derive(Default)]
struct Chain {
    state: Mutex<ChainState>,
    changed: Condvar,
}

#[derive(Default)]
struct ChainState {
    answers: HashMap<u64, Reply>,
    tasks: VecDeque<Task>,
    gone: bool,
}

/// What a waiting thread got.
enum Woken {
    Answer(Reply),
    Task(Task),
    Gone,
    Timeout,
}

impl Link {
    /// Joins the primary whose runtime directory this is; `None` when there is none with this
    /// library. Returns when this process is in line with it.
    pub fn join(directory: &Path, options: LinkOptions) -> Result<Option<Arc<Self>>> {
        let path = directory.join(SOCKET);
        let Some(socket) = connect(&path)? else { return Ok(None) };
        if !unix::is_trusted(&socket) {
            options.counters.refused.add();
            let why = "multi-process: cannot join the primary: it is another user's process";
            return Err(Error::new(Kind::NotSupported, why));
        }
        let reactor = Arc::new(Reactor::start()?);
        let link = Arc::new_cyclic(|this| Self {
            options,
            connection: Mutex::default(),
            reactor,
            workers: Workers::default(),
            instance: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
            next_call: AtomicU64::new(1),
            gone: AtomicBool::new(false),
            this: this.clone(),
        });
        let hello = Hello {
            pid: std::process::id(),
            embedded: link.options.embedded,
            eal_socket: link.options.eal_socket.as_bytes().to_vec(),
        };
        let receiver: Arc<dyn Receiver> = link.clone();
        let connection = Connection::open(0, socket, &link.reactor, receiver);
        // Before the hello: answers to what comes after it go through here.
        *link.connection.lock() = Some(connection.clone());
        connection.send(Message::Hello(hello).encode(0));
        match link.wait_until_joined() {
            Ok(()) => Ok(Some(link)),
            Err(error) => {
                link.close();
                Err(error)
            }
        }
    }

    /// Whether the primary is still there.
    pub fn is_up(&self) -> bool {
        !self.gone.load(Ordering::Acquire)
    }

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

    /// Lets all processes attach or detach the device, and returns the primary's answer.
    ///
    /// `parent` is the operation that this thread carries out. While the answer is awaited, the
    /// thread itself carries out what the primary asks for inside of that operation: it may hold a
    /// lock of a bus which no other thread could take. If it does, it is `hurried`: the operation fails
    /// instead of waiting for long until another one on the device is over.
    pub fn call(
        &self,
        step: Step,
        device: &Device,
        devargs: &std::ffi::CStr,
        parent: Option<&Operation>,
        hurried: bool,
    ) -> Result<Reply> {
        check_length(device, devargs)?;
        let id = self.next_call.fetch_add(1, Ordering::Relaxed);
        let (chain, made) = self.enter_chain(id, parent, step, device)?;
        let request = Request {
            id,
            lineage: parent.map_or_else(Vec::new, Operation::as_lineage),
            step,
            device: device.clone(),
            devargs: devargs.to_owned(),
            hurried,
        };
        self.send(&Message::Call(request));
        let answer = self.wait_for_answer(id, &chain, step, device);
        self.leave_chain(id, &chain, if made { parent } else { None });
        answer
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

    fn wait_until_joined(&self) -> Result<()> {
        let limit = Instant::now() + JOIN_LIMIT;
        let mut state = self.state.lock();
        loop {
            let failed = |kind, why: &str| {
                Error::new(kind, format!("multi-process: cannot join the primary: {why}"))
            };
            match &state.membership {
                Membership::Joined => return Ok(()),
                Membership::Refused(why) => return Err(failed(Kind::NotSupported, why)),
                Membership::Gone => return Err(failed(Kind::NoAnswer, "it has gone")),
                // The devices take the time that they take; the primary does not.
                Membership::Joining => {
                    let heard = state.heard;
                    let silent = self.changed.wait_for(&mut state, JOIN_LIMIT).timed_out();
                    if silent && state.syncing == 0 && state.heard == heard {
                        let why = format!("it has said nothing for {}", seconds(JOIN_LIMIT));
                        return Err(failed(Kind::NoAnswer, &why));
                    }
                }
                Membership::Asked => {
                    if self.changed.wait_until(&mut state, limit).timed_out() {
                        let why = format!("no answer within {}", seconds(JOIN_LIMIT));
                        return Err(failed(Kind::NoAnswer, &why));
                    }
                }
            }
        }
    }

    /// Where the calling thread waits: with others of its operation's work, if it has one. Whether
    /// the chain was made for this call comes second.
    fn enter_chain(
        &self,
        call: u64,
        parent: Option<&Operation>,
        step: Step,
        device: &Device,
    ) -> Result<(Arc<Chain>, bool)> {
        let mut state = self.state.lock();
        if state.membership == Membership::Gone {
            return Err(no_answer(device, step, "the primary process is gone"));
        }
        if state.stopped {
            let why = "the primary process gives no sign of life: is it stopped?";
            return Err(no_answer(device, step, why));
        }
        let known = parent.and_then(|operation| state.chains.get(&operation.id).cloned());
        let made = known.is_none();
        let chain = known.unwrap_or_default();
        if let (true, Some(operation)) = (made, parent) {
            state.chains.insert(operation.id, chain.clone());
        }
        state.calls.insert(call, chain.clone());
        Ok((chain, made))
    }

    fn leave_chain(&self, call: u64, chain: &Arc<Chain>, made_for: Option<&Operation>) {
        let mut state = self.state.lock();
        state.calls.remove(&call);
        if let Some(operation) = made_for {
            state.chains.remove(&operation.id);
            let left = std::mem::take(&mut chain.state.lock().tasks);
            drop(state);
            left.into_iter().for_each(|task| self.dispatch(task));
        }
    }

    fn wait_for_answer(
        &self,
        id: u64,
        chain: &Arc<Chain>,
        step: Step,
        device: &Device,
    ) -> Result<Reply> {
        let liveness = self.options.timeouts.limits().liveness;
        // Counted in rounds, not by the clock: this process may have been stopped itself.
        let mut silent_rounds = 0;
        let mut heard = self.state.lock().heard;
        loop {
            match chain.wait(id, liveness / SILENT_ROUNDS) {
                Woken::Answer(reply) => return Ok(reply),
                Woken::Task(task) => {
                    self.run(task);
                    silent_rounds = 0;
                }
                Woken::Gone => {
                    return Err(no_answer(device, step, "the primary process is gone"));
                }
                Woken::Timeout => {
                    let last = std::mem::replace(&mut heard, self.state.lock().heard);
                    silent_rounds = if heard == last { silent_rounds + 1 } else { 0 };
                    if silent_rounds >= SILENT_ROUNDS {
                        return Err(self.give_up(id, device, step, liveness));
                    }
                    self.send(&Message::Ping);
                }
            }
        }
    }

    fn give_up(&self, call: u64, device: &Device, step: Step, liveness: Duration) -> Error {
        self.state.lock().stopped = true;
        self.send(&Message::Cancel(call));
        // It may have gone on in this very moment: its answer ends that.
        self.send(&Message::Ping);
        let limit = seconds(liveness);
        let why = format!(
            "no sign of life from the primary process for {limit}: is it stopped? If it had begun, it \
             may still finish when it goes on"
        );
        no_answer(device, step, &why)
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
                chain.state.lock().tasks.push_back(task);
                chain.changed.notify_all();
                return;
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
            let left = std::mem::take(&mut chain.state.lock().tasks);
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
                    Some(chain) => {
                        chain.state.lock().answers.insert(reply.id, reply);
                        chain.changed.notify_all();
                    }
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
            chain.state.lock().gone = true;
            chain.changed.notify_all();
        }
        self.changed.notify_all();
    }
}

impl Chain {
    fn wait(&self, call: u64, at_most: Duration) -> Woken {
        let until = Instant::now() + at_most;
        let mut state = self.state.lock();
        loop {
            if let Some(task) = state.tasks.pop_front() {
                return Woken::Task(task);
            }
            if let Some(reply) = state.answers.remove(&call) {
                return Woken::Answer(reply);
            }
            if state.gone {
                return Woken::Gone;
            }
            if self.changed.wait_until(&mut state, until).timed_out() {
                return Woken::Timeout;
            }
        }
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

/// Connects to a primary, or `None` when none listens there.
fn connect(path: &Path) -> Result<Option<unix::Socket>> {
    let limit = Instant::now() + CONNECT_LIMIT;
    loop {
        match unix::connect_to(path) {
            Ok(socket) => return Ok(Some(socket)),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Ok(None),
            // Its queue of connections is full.
            Err(Errno::EAGAIN) if Instant::now() < limit => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(errno) => {
                return Err(Error::new(
                    Kind::Code(-(errno as i32)),
                    format!(
                        "multi-process: cannot connect to {}: {}",
                        path.display(),
                        errno.desc()
                    ),
                ));
            }
        }
    }
}
