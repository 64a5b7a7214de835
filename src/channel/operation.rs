//! One operation while the primary carries it out: the thread that has it, its events, and the way
//! between the state machine and the peers.

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString, OsString};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::sys::lock::{Condvar, Mutex};

use super::hub::Hub;
use super::stock::StockSession;
use super::without_panic;
use crate::engine::answer::Answer;
use crate::engine::coordinator::{Command, Coordinator, Limits, PeerId, PeerKind, Time};
use crate::engine::operation::Operation;
use crate::engine::outcome::Outcome;
use crate::engine::patience::Patience;
use crate::error::{Error, Result};
use crate::proto::wire::{Device, Message, Request, Step};

/// How often peers without this library are looked after while one is waited for.
const STOCK_INTERVAL: Duration = Duration::from_millis(20);

/// Where the events of one operation wait for the thread that carries it out.
#[derive(Default)]
pub struct Inbox {
    events: Mutex<VecDeque<Event>>,
    changed: Condvar,
}

/// Something that concerns an operation.
#[derive(Clone, Debug)]
pub enum Event {
    /// A peer takes part from now on.
    Joined(PeerId, PeerKind),
    /// A peer is gone.
    Gone(PeerId),
    /// A peer gave a sign of life.
    Heard(PeerId),
    /// A peer has answered.
    Replied(PeerId, Step, Answer),
    /// The caller gave up.
    Cancelled,
}

impl Inbox {
    /// Adds an event.
    pub fn push(&self, event: Event) {
        let mut events = self.events.lock();
        if let Event::Heard(peer) = event {
            // Of use only when a limit is over: no reason to wake anybody, and once is enough.
            if !matches!(events.back(), Some(Event::Heard(last)) if *last == peer) {
                events.push_back(event);
            }
            return;
        }
        events.push_back(event);
        drop(events);
        self.changed.notify_one();
    }

    fn take(&self, until: Option<Instant>) -> VecDeque<Event> {
        let mut events = self.events.lock();
        while events.iter().all(|event| matches!(event, Event::Heard(_))) {
            match until {
                None => self.changed.wait(&mut events),
                Some(until) if self.changed.wait_until(&mut events, until) => break,
                Some(_) => {}
            }
        }
        std::mem::take(&mut *events)
    }
}

/// A secondary's call, and whether it still wants the answer.
#[derive(Default)]
pub struct CallToken {
    deadline: Option<Instant>,
    cancelled: AtomicBool,
    inbox: Mutex<Option<Arc<Inbox>>>,
}

impl CallToken {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A call that is given up at this time.
    pub fn until(deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..Self::default() }
    }

    pub(super) fn cancel(&self) {
        let inbox = self.inbox.lock();
        self.cancelled.store(true, Ordering::Release);
        if let Some(inbox) = &*inbox {
            inbox.push(Event::Cancelled);
        }
    }

    /// The caller has died: what has not begun need not.
    pub(super) fn abandon(&self) {
        let inbox = self.inbox.lock();
        if inbox.is_none() {
            self.cancelled.store(true, Ordering::Release);
        }
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Acquire)
    }

    pub(super) fn bind(&self, to: &Arc<Inbox>) {
        let mut inbox = self.inbox.lock();
        if self.is_cancelled() {
            to.push(Event::Cancelled);
        }
        *inbox = Some(to.clone());
    }
}

/// One operation, as the hub has to carry it out.
pub struct Plan<'a> {
    /// The operation.
    pub operation: &'a Operation,
    /// Attach or detach.
    pub step: Step,
    /// The device.
    pub device: &'a Device,
    /// Its devargs, in full.
    pub devargs: &'a CStr,
    /// Whether peers without this library know the device's bus.
    pub with_stock_peers: bool,
    /// The devargs with which the primary had the device before, if it had.
    pub before: &'a OnceCell<CString>,
    /// The call that it serves, if a secondary asked for it.
    pub call: Option<&'a CallToken>,
}

/// The primary's own part of a step: whether it changed anything.
pub type Work<'a> = &'a mut dyn FnMut(Step) -> Result<bool>;

/// An operation while it is carried out.
pub(super) struct Run<'a> {
    hub: &'a Hub,
    plan: &'a Plan<'a>,
    machine: Coordinator,
    inbox: Arc<Inbox>,
    /// Its questions to peers without this library.
    pub stock: Option<Box<dyn StockSession>>,
    stock_peers: HashMap<PeerId, OsString>,
    /// What the primary itself could not do.
    pub failed_here: Option<Error>,
    patience: Patience,
    /// The last request, encoded: it is the same for all.
    frame: Option<(Step, Vec<u8>)>,
    begun: bool,
    /// Those who joined since: they may have found the device as it was for a moment.
    late: Vec<PeerId>,
}

impl<'a> Run<'a> {
    /// An operation that is about to begin.
    pub fn new(hub: &'a Hub, plan: &'a Plan<'a>, limits: Limits, inbox: Arc<Inbox>) -> Self {
        Self {
            hub,
            plan,
            machine: Coordinator::new(plan.step, limits),
            inbox,
            stock: None,
            stock_peers: HashMap::new(),
            failed_here: None,
            patience: Patience::default(),
            frame: None,
            begun: false,
            late: vec![],
        }
    }

    /// Carries it out in this thread.
    pub fn carry_out(&mut self, work: Work<'_>) -> Outcome {
        // Those that take part from the start have been put into the inbox.
        for event in self.inbox.take(Some(Instant::now())) {
            self.handle(event);
        }
        if self.plan.step == Step::Detach {
            self.add_stock_peers();
        }
        self.begun = true;
        self.machine.begin(self.time());
        loop {
            while let Some(command) = self.machine.next_command() {
                self.obey(command, work);
            }
            if self.machine.outcome().is_some() {
                if let Some(outcome) = self.finish() {
                    return outcome;
                }
                continue;
            }
            self.wait();
        }
    }

    fn obey(&mut self, command: Command, work: Work<'_>) {
        match command {
            Command::Local(step) => {
                let answer = match without_panic(|| work(step)).and_then(|done| done) {
                    Ok(true) => Answer::Changed,
                    Ok(false) => Answer::Unchanged,
                    Err(error) => {
                        let answer = Answer::Failed(error.code(), error.to_string());
                        self.failed_here.get_or_insert(error);
                        answer
                    }
                };
                if step == Step::Attach && !matches!(answer, Answer::Failed(..)) {
                    // As late as possible: one may have started meanwhile.
                    self.add_stock_peers();
                }
                self.machine.local_done(answer, self.time());
            }
            Command::Send(peer, step) => self.send(peer, step),
            Command::Ping(peer) => self.hub.send_to(peer, &Message::Ping),
        }
    }

    fn send(&mut self, peer: PeerId, step: Step) {
        let plan = self.plan;
        if let Some(socket) = self.stock_peers.get(&peer) {
            if let Some(stock) = &mut self.stock {
                stock.send(peer, socket, step, plan.devargs);
            }
            return;
        }
        let frame = match &self.frame {
            Some((of, frame)) if *of == step => frame.clone(),
            _ => {
                let frame = self.hub.encode(&Message::Request(Request {
                    id: plan.operation.id,
                    lineage: plan.operation.lineage.clone(),
                    step,
                    device: plan.device.clone(),
                    devargs: plan.devargs.to_owned(),
                    hurried: false,
                }));
                self.frame = Some((step, frame.clone()));
                frame
            }
        };
        self.hub.send_frame(peer, frame);
    }

    fn add_stock_peers(&mut self) {
        let sockets = if self.plan.with_stock_peers { self.hub.stock_sockets() } else { vec![] };
        let Some(stock) = self.hub.options.stock.as_ref().filter(|_| !sockets.is_empty()) else {
            return;
        };
        match stock.open(&self.hub.reactor, &self.inbox) {
            Ok(session) => self.stock = Some(session),
            // They cannot be asked: the operation fails for their silence.
            Err(error) => log::error!("{error}"),
        }
        for socket in sockets {
            let id = self.hub.state.lock().stock_id(&socket);
            self.stock_peers.insert(id, socket);
            self.machine.joined(id, PeerKind::Stock, self.time());
        }
    }

    fn wait(&mut self) {
        let mut deadline = self.machine.deadline();
        if let Some(stock) = &mut self.stock {
            stock.look_after();
            let soon = self.time() + STOCK_INTERVAL;
            deadline = Some(deadline.map_or(soon, |d| d.min(soon)));
        }
        let turn = self.patience.turn(deadline);
        let since = Instant::now();
        let mut until = turn.map(|turn| since + turn);
        if let Some(given_up) = self.plan.call.and_then(|call| call.deadline) {
            if given_up <= since {
                self.machine.cancel(self.time());
            } else {
                until = Some(until.map_or(given_up, |until| until.min(given_up)));
            }
        }
        let events = self.inbox.take(until);
        self.patience.listened(turn, since.elapsed());
        events.into_iter().for_each(|event| self.handle(event));
        let time = self.time();
        if self.machine.deadline().is_some_and(|d| d <= time) {
            self.machine.tick(time);
            self.tell_lost();
        }
    }

    /// Operations inside of this one do not wait for those that this one has given up.
    fn tell_lost(&self) {
        let lost = self.machine.lost();
        if let Some(own) = self.hub.state.lock().operations.get_mut(&self.plan.operation.id) {
            own.lost = lost;
        }
    }

    fn time(&self) -> Time {
        self.patience.time()
    }

    fn handle(&mut self, event: Event) {
        let now = self.time();
        match event {
            Event::Joined(peer, kind) => {
                if self.begun {
                    self.late.push(peer);
                }
                self.machine.joined(peer, kind, now);
            }
            Event::Gone(peer) => self.machine.gone(peer, now),
            Event::Heard(peer) => self.machine.heard(peer, now),
            Event::Replied(peer, step, answer) => self.machine.replied(peer, step, answer, now),
            Event::Cancelled => self.machine.cancel(now),
        }
    }

    /// Ends the operation, unless somebody has joined who has to be asked: from here on those who
    /// join are told by the journal.
    fn finish(&mut self) -> Option<Outcome> {
        let mut state = self.hub.state.lock();
        let events = std::mem::take(&mut *self.inbox.events.lock());
        for event in events {
            self.handle(event);
        }
        let outcome = self.machine.outcome()?.clone();
        let plan = self.plan;
        let (succeeded, touched) = (outcome.failure.is_none(), self.machine.touched());
        // Attached before, it has kept its devargs.
        let devargs = plan.before.get().map_or(plan.devargs, CString::as_c_str);
        state.journal.record(plan.device, plan.step, succeeded, touched, devargs);
        state.operations.remove(&plan.operation.id);
        if !succeeded && touched {
            self.hub.bring_back(&state, &self.late, plan.device);
        }
        // Under the same lock: the next answer is a late one.
        state.roster.ended(plan.operation.id, plan.device, &outcome);
        Some(outcome)
    }
}
