//! One attach or detach in all processes, seen from the primary, as a state machine: events go in,
//! commands come out. It knows no sockets, threads or clocks.
//!
//! ```text
//! attach:  here ─► ask all ─► done           detach:  ask all ─► here ─► done
//!            │        │ one failed                      │ one failed  │ failed
//!            ▼        ▼                                 ▼             ▼
//!         failed   undo where it changed ─► undo here ─► failed
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::answer::Answer;
use super::outcome::{Cause, Failure, Outcome};
use crate::proto::wire::Step;

/// Names another process of the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerId(pub u64);

/// A point in time, from any fixed start.
pub type Time = Duration;

/// What kind of peer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerKind {
    /// Has this library; answers to pings while its driver works.
    Member,
    /// Has EAL's own hotplug only.
    Stock,
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Without any sign of life for this long, a member counts as stopped.
    pub liveness: Duration,
    /// A driver may take this long in a member.
    pub operation: Duration,
    /// A stock peer has to answer within this time.
    pub stock: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            liveness: Duration::from_secs(2),
            operation: Duration::from_secs(60),
            stock: Duration::from_secs(5),
        }
    }
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Do this in the primary itself and tell [`Coordinator::local_done`].
    Local(Step),
    /// Ask a peer to do this.
    Send(PeerId, Step),
    /// Ask a peer for a sign of life.
    Ping(PeerId),
}

/// The machine.
pub struct Coordinator {
    step: Step,
    limits: Limits,
    stage: Stage,
    local: Local,
    peers: BTreeMap<PeerId, Peer>,
    commands: VecDeque<Command>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not begun.
    Idle,
    /// The primary works itself.
    Local,
    /// The peers work.
    Asking,
    /// The peers undo.
    Undoing,
    /// The primary undoes.
    LocalUndo,
    Finished,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Local {
    Untouched,
    Changed,
    Unchanged,
}

struct Peer {
    kind: PeerKind,
    progress: Progress,
    /// When it was asked last.
    asked: Time,
    /// When it gave the last sign of life.
    heard: Time,
    /// When it was pinged last.
    pinged: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// Not asked yet.
    Known,
    Asked,
    Changed,
    /// It had nothing to change, failed, or has undone it.
    Settled,
    /// It was asked to undo.
    Undoing,
    /// It is not waited for any longer.
    Lost,
}

impl Coordinator {
    /// A machine for `step`, an attach or a detach. Peers are told by [`Self::joined`].
    pub fn new(step: Step, limits: Limits) -> Self {
        Self {
            step,
            limits,
            stage: Stage::Idle,
            local: Local::Untouched,
            peers: BTreeMap::new(),
            commands: VecDeque::new(),
            outcome: Outcome::default(),
        }
    }

    /// Begins; more peers may join later.
    pub fn begin(&mut self, now: Time) {
        match self.step {
            // It was given up before.
            _ if self.outcome.failure.is_some() => self.stage = Stage::Finished,
            Step::Attach => self.work_here(Stage::Local, Step::Attach),
            _ => self.stage = Stage::Asking,
        }
        self.advance(now);
    }

    /// The next thing to do; `None` until another event.
    pub fn next_command(&mut self) -> Option<Command> {
        self.commands.pop_front()
    }

    /// How it ended; `None` while it goes on. A success goes on when another peer joins.
    pub fn outcome(&self) -> Option<&Outcome> {
        (self.stage == Stage::Finished).then_some(&self.outcome)
    }

    /// Whether the device changed in the primary at some time, even if that was undone.
    pub fn touched(&self) -> bool {
        self.local == Local::Changed
    }

    /// The peers that are not waited for any longer.
    pub fn lost(&self) -> Vec<PeerId> {
        let lost = self.peers.iter().filter(|(_, peer)| peer.progress == Progress::Lost);
        lost.map(|(id, _)| *id).collect()
    }

    /// When [`Self::tick`] has something to do at the latest.
    pub fn deadline(&self) -> Option<Time> {
        let pending = self.peers.values().filter(|peer| peer.is_pending());
        pending.map(|peer| peer.deadline(&self.limits)).min()
    }

    /// A peer takes part.
    pub fn joined(&mut self, peer: PeerId, kind: PeerKind, now: Time) {
        let progress = Progress::Known;
        let (asked, heard, pinged) = (now, now, now);
        self.peers.insert(peer, Peer { kind, progress, asked, heard, pinged });
        if self.stage == Stage::Finished && self.outcome.failure.is_none() {
            self.stage = Stage::Asking;
        }
        self.advance(now);
    }

    /// A peer is gone, and with it whatever it had attached.
    pub fn gone(&mut self, peer: PeerId, now: Time) {
        self.peers.remove(&peer);
        self.advance(now);
    }

    /// A peer gave a sign of life.
    pub fn heard(&mut self, peer: PeerId, now: Time) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.heard = now;
        }
    }

    /// A peer has answered. Answers that nobody waits for are ignored.
    pub fn replied(&mut self, peer: PeerId, step: Step, answer: Answer, now: Time) {
        let asked = self.step;
        let Some(state) = self.peers.get_mut(&peer) else { return };
        state.heard = now;
        let undoing = match state.progress {
            Progress::Asked if step == asked => false,
            Progress::Undoing if step == asked.rollback() => true,
            Progress::Lost if step == asked.rollback() => {
                // It has caught up: only what it says now counts.
                state.progress = Progress::Settled;
                self.outcome.caught_up(peer);
                true
            }
            _ => return,
        };
        state.progress = match (&answer, undoing) {
            (Answer::Changed, false) => Progress::Changed,
            _ => Progress::Settled,
        };
        if let Answer::Failed(code, message) = answer {
            let failure = Failure { peer: Some(peer), cause: Cause::Code(code, message) };
            if undoing {
                self.outcome.out_of_step.push(failure);
            } else {
                self.outcome.failure.get_or_insert(failure);
            }
        }
        self.advance(now);
    }

    /// The primary has carried out the last [`Command::Local`].
    pub fn local_done(&mut self, answer: Answer, now: Time) {
        let failed = |code, message| Failure { peer: None, cause: Cause::Code(code, message) };
        match (self.stage, answer) {
            (Stage::Local, Answer::Changed) => self.local = Local::Changed,
            (Stage::Local, Answer::Unchanged) => self.local = Local::Unchanged,
            (Stage::Local, Answer::Failed(code, message)) => {
                self.outcome.failure.get_or_insert(failed(code, message));
            }
            (Stage::LocalUndo, Answer::Failed(code, message)) => {
                self.outcome.out_of_step.push(failed(code, message));
            }
            _ => {}
        }
        self.stage = match self.stage {
            Stage::Local => Stage::Asking,
            Stage::LocalUndo => Stage::Finished,
            other => other,
        };
        self.advance(now);
    }

    /// The caller gives up: all is undone, unless it is over.
    pub fn cancel(&mut self, now: Time) {
        if self.stage != Stage::Finished {
            self.outcome.failure.get_or_insert(Failure { peer: None, cause: Cause::Cancelled });
            self.advance(now);
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time) {
        let undo = self.step.rollback();
        for (id, peer) in &mut self.peers {
            if !peer.is_pending() {
                continue;
            }
            let cause = match peer.expired(&self.limits, now) {
                Some(cause) => cause,
                None => {
                    if peer.wants_ping(&self.limits, now) {
                        peer.pinged = now;
                        self.commands.push_back(Command::Ping(*id));
                    }
                    continue;
                }
            };
            match cause {
                Cause::Stopped => self.outcome.stopped.push(*id),
                _ => self.outcome.slow.push(*id),
            }
            let failure = Failure { peer: Some(*id), cause };
            if peer.progress == Progress::Undoing {
                self.outcome.out_of_step.push(failure);
            } else {
                // It may still do what it was asked for: then it undoes it after that.
                self.commands.push_back(Command::Send(*id, undo));
                self.outcome.failure.get_or_insert(failure);
            }
            peer.progress = Progress::Lost;
        }
        self.advance(now);
    }

    fn advance(&mut self, now: Time) {
        if self.stage == Stage::Asking {
            if self.outcome.failure.is_none() {
                self.send_to(Progress::Known, Progress::Asked, self.step, now);
            }
            if !self.peers.values().any(|peer| peer.progress == Progress::Asked) {
                self.all_answered(now);
            }
        }
        if self.stage == Stage::Undoing
            && !self.peers.values().any(|peer| peer.progress == Progress::Undoing)
        {
            match self.local {
                Local::Changed => self.work_here(Stage::LocalUndo, self.step.rollback()),
                _ => self.stage = Stage::Finished,
            }
        }
    }

    fn all_answered(&mut self, now: Time) {
        if self.outcome.failure.is_some() {
            self.send_to(Progress::Changed, Progress::Undoing, self.step.rollback(), now);
            self.stage = Stage::Undoing;
        } else if self.step == Step::Detach && self.local == Local::Untouched {
            self.work_here(Stage::Local, Step::Detach);
        } else {
            self.stage = Stage::Finished;
        }
    }

    fn work_here(&mut self, stage: Stage, step: Step) {
        self.stage = stage;
        self.commands.push_back(Command::Local(step));
    }

    fn send_to(&mut self, from: Progress, to: Progress, step: Step, now: Time) {
        for (id, peer) in self.peers.iter_mut().filter(|(_, peer)| peer.progress == from) {
            peer.progress = to;
            (peer.asked, peer.heard, peer.pinged) = (now, now, now);
            self.commands.push_back(Command::Send(*id, step));
        }
    }
}

impl Peer {
    fn is_pending(&self) -> bool {
        matches!(self.progress, Progress::Asked | Progress::Undoing)
    }

    fn expired(&self, limits: &Limits, now: Time) -> Option<Cause> {
        match self.kind {
            PeerKind::Stock if now >= self.asked + limits.stock => Some(Cause::Stopped),
            PeerKind::Member if now >= self.heard + limits.liveness => Some(Cause::Stopped),
            PeerKind::Member if now >= self.asked + limits.operation => Some(Cause::TooSlow),
            _ => None,
        }
    }

    /// Several pings fit into the liveness time, so that one lost in scheduling does no harm.
    fn ping_after(&self, limits: &Limits) -> Time {
        self.heard.max(self.pinged) + limits.liveness / 4
    }

    fn wants_ping(&self, limits: &Limits, now: Time) -> bool {
        self.kind == PeerKind::Member && now >= self.ping_after(limits)
    }

    fn deadline(&self, limits: &Limits) -> Time {
        match self.kind {
            PeerKind::Stock => self.asked + limits.stock,
            PeerKind::Member => self
                .ping_after(limits)
                .min(self.heard + limits.liveness)
                .min(self.asked + limits.operation),
        }
    }
}

#[cfg(test)]
mod tests;
