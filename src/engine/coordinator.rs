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

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The process; `None` is the primary.
    pub peer: Option<PeerId>,
    /// What.
    pub cause: Cause,
}

/// What went wrong in a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its bus or driver failed with this code.
    Code(i32, String),
    /// It gave no sign of life.
    Stopped,
    /// It took longer than allowed.
    TooSlow,
    /// The caller gave up.
    Cancelled,
}

/// What became of a step in one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was carried out.
    Changed,
    /// There was nothing to do: the device was attached, or was not there, before.
    Unchanged,
    /// The bus or the driver failed.
    Failed(i32, String),
}

impl Answer {
    /// What EAL's code means for a step.
    pub fn from_code(step: Step, code: i32) -> Self {
        let unchanged = match step {
            Step::Attach | Step::DetachRollback => code == -libc::EEXIST,
            Step::Detach | Step::AttachRollback => code == -libc::ENOENT || code == -libc::ENODEV,
        };
        match code {
            0 => Self::Changed,
            _ if unchanged => Self::Unchanged,
            code => Self::Failed(as_error(code), String::new()),
        }
    }

    /// EAL's code for it.
    pub fn code(&self, step: Step) -> i32 {
        match (self, step) {
            (Self::Failed(code, _), _) => *code,
            (Self::Unchanged, Step::Attach) => -libc::EEXIST,
            (Self::Unchanged, Step::Detach) => -libc::ENOENT,
            _ => 0,
        }
    }
}

/// The code for a failure in another process: callers know errors by their sign.
pub fn as_error(code: i32) -> i32 {
    if code < 0 { code } else { -libc::EPROTO }
}

/// How an operation ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The first failure; `None` is success in every process.
    pub failure: Option<Failure>,
    /// Processes whose state differs from what the caller is told: undoing failed there.
    pub out_of_step: Vec<Failure>,
    /// Processes that gave no sign of life, and have not undone their part until the end.
    pub stopped: Vec<PeerId>,
    /// Processes that took too long, and have not undone their part until the end.
    pub slow: Vec<PeerId>,
}

impl Outcome {
    fn caught_up(&mut self, peer: PeerId) {
        self.stopped.retain(|p| *p != peer);
        self.slow.retain(|p| *p != peer);
        self.out_of_step.retain(|failure| failure.peer != Some(peer));
    }
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
mod tests {
    use super::*;

    const A: PeerId = PeerId(1);
    const B: PeerId = PeerId(2);
    const ZERO: Time = Time::ZERO;

    fn commands(machine: &mut Coordinator) -> Vec<Command> {
        std::iter::from_fn(|| machine.next_command()).collect()
    }

    fn begun(step: Step, peers: &[PeerId]) -> Coordinator {
        let mut machine = Coordinator::new(step, Limits::default());
        peers.iter().for_each(|peer| machine.joined(*peer, PeerKind::Member, ZERO));
        machine.begin(ZERO);
        if step == Step::Attach {
            assert_eq!(commands(&mut machine), [Command::Local(Step::Attach)]);
        }
        machine
    }

    fn send(step: Step, peers: &[PeerId]) -> Vec<Command> {
        peers.iter().map(|peer| Command::Send(*peer, step)).collect()
    }

    fn failure(machine: &Coordinator) -> (Option<PeerId>, Cause) {
        let failure = machine.outcome().expect("finished").failure.clone().expect("failed");
        (failure.peer, failure.cause)
    }

    fn answer(step: Step, code: i32) -> Answer {
        Answer::from_code(step, code)
    }

    fn code(code: i32) -> Cause {
        Cause::Code(code, String::new())
    }

    #[test]
    fn attach_in_all() {
        let mut machine = begun(Step::Attach, &[A, B]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        assert_eq!(commands(&mut machine), send(Step::Attach, &[A, B]));
        machine.replied(A, Step::Attach, answer(Step::Attach, 0), ZERO);
        assert_eq!(machine.outcome(), None);
        machine.replied(B, Step::Attach, answer(Step::Attach, -libc::EEXIST), ZERO);
        assert_eq!(machine.outcome(), Some(&Outcome::default()));
        assert_eq!(commands(&mut machine), []);
    }

    #[test]
    fn attach_fails_here_and_nobody_is_asked() {
        let mut machine = begun(Step::Attach, &[A]);
        machine.local_done(answer(Step::Attach, -5), ZERO);
        assert_eq!(failure(&machine), (None, code(-5)));
        assert_eq!(commands(&mut machine), []);
    }

    #[test]
    fn attach_fails_in_one_and_only_what_changed_is_undone() {
        for (here, undo_here) in [(0, true), (-libc::EEXIST, false)] {
            let c = PeerId(3);
            let mut machine = begun(Step::Attach, &[A, B, c]);
            machine.local_done(answer(Step::Attach, here), ZERO);
            commands(&mut machine);
            machine.replied(A, Step::Attach, answer(Step::Attach, -libc::EEXIST), ZERO);
            machine.replied(B, Step::Attach, answer(Step::Attach, -12), ZERO);
            assert_eq!(commands(&mut machine), [], "the last answer decides what to undo");
            machine.replied(c, Step::Attach, answer(Step::Attach, 0), ZERO);
            assert_eq!(commands(&mut machine), send(Step::AttachRollback, &[c]));
            machine.replied(c, Step::Attach, answer(Step::Attach, 0), ZERO);
            assert_eq!(machine.outcome(), None, "a late answer to the attach is not one to this");
            machine.replied(c, Step::AttachRollback, answer(Step::AttachRollback, 0), ZERO);
            if undo_here {
                assert_eq!(commands(&mut machine), [Command::Local(Step::AttachRollback)]);
                machine.local_done(answer(Step::Attach, 0), ZERO);
            }
            assert_eq!(failure(&machine), (Some(B), code(-12)));
            assert_eq!(machine.outcome().unwrap().out_of_step, []);
        }
    }

    #[test]
    fn detach_in_all_and_here_last() {
        let mut machine = begun(Step::Detach, &[A, B]);
        assert_eq!(commands(&mut machine), send(Step::Detach, &[A, B]));
        machine.replied(A, Step::Detach, answer(Step::Detach, -libc::ENODEV), ZERO);
        machine.replied(B, Step::Detach, answer(Step::Detach, 0), ZERO);
        assert_eq!(commands(&mut machine), [Command::Local(Step::Detach)]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        assert_eq!(machine.outcome(), Some(&Outcome::default()));
    }

    #[test]
    fn detach_fails_in_one_or_here() {
        for here in [false, true] {
            let mut machine = begun(Step::Detach, &[A, B]);
            commands(&mut machine);
            machine.replied(A, Step::Detach, answer(Step::Detach, 0), ZERO);
            machine.replied(
                B,
                Step::Detach,
                answer(Step::Detach, if here { -libc::ENOENT } else { -16 }),
                ZERO,
            );
            if here {
                assert_eq!(commands(&mut machine), [Command::Local(Step::Detach)]);
                machine.local_done(answer(Step::Attach, -16), ZERO);
            }
            assert_eq!(commands(&mut machine), send(Step::DetachRollback, &[A]));
            machine.replied(A, Step::DetachRollback, answer(Step::DetachRollback, -6), ZERO);
            assert_eq!(failure(&machine), ((!here).then_some(B), code(-16)));
            let lost = Failure { peer: Some(A), cause: code(-6) };
            assert_eq!(machine.outcome().unwrap().out_of_step, [lost], "and it is told");
        }
    }

    #[test]
    fn the_dead_are_not_waited_for() {
        let mut machine = begun(Step::Attach, &[A, B]);
        machine.gone(B, ZERO);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        assert_eq!(commands(&mut machine), send(Step::Attach, &[A]));
        machine.gone(A, ZERO);
        assert_eq!(machine.outcome(), Some(&Outcome::default()));

        let mut machine = begun(Step::Attach, &[A, B]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        machine.replied(A, Step::Attach, answer(Step::Attach, 0), ZERO);
        machine.replied(B, Step::Attach, answer(Step::Attach, -5), ZERO);
        commands(&mut machine);
        machine.gone(A, ZERO);
        assert_eq!(commands(&mut machine), [Command::Local(Step::AttachRollback)]);
    }

    #[test]
    fn one_that_joins_before_the_end_takes_part() {
        let mut machine = begun(Step::Detach, &[]);
        assert_eq!(commands(&mut machine), [Command::Local(Step::Detach)]);
        machine.joined(A, PeerKind::Member, ZERO);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        assert_eq!(commands(&mut machine), send(Step::Detach, &[A]));
        machine.replied(A, Step::Detach, answer(Step::Detach, 0), ZERO);
        assert_eq!(machine.outcome(), Some(&Outcome::default()));
        machine.joined(B, PeerKind::Member, ZERO);
        assert_eq!(machine.outcome(), None);
        assert_eq!(commands(&mut machine), send(Step::Detach, &[B]));
        machine.replied(B, Step::Detach, answer(Step::Detach, -16), ZERO);
        assert_eq!(commands(&mut machine), send(Step::DetachRollback, &[A]));
        machine.replied(A, Step::DetachRollback, answer(Step::DetachRollback, 0), ZERO);
        assert_eq!(commands(&mut machine), [Command::Local(Step::DetachRollback)]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        assert_eq!(failure(&machine), (Some(B), code(-16)));
    }

    #[test]
    fn one_that_joins_a_failed_operation_is_left_alone() {
        let mut machine = begun(Step::Attach, &[A]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        machine.replied(A, Step::Attach, answer(Step::Attach, -5), ZERO);
        commands(&mut machine);
        machine.joined(B, PeerKind::Member, ZERO);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        assert_eq!(commands(&mut machine), []);
        assert_eq!(failure(&machine), (Some(A), code(-5)));
    }

    #[test]
    fn stopped_is_told_from_slow() {
        let limits = Limits::default();
        let mut machine = begun(Step::Attach, &[A, B]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        commands(&mut machine);
        let mut now = ZERO;
        let mut pings = [0, 0];
        while machine.outcome().is_none() && now < Duration::from_secs(10) {
            now = machine.deadline().expect("somebody is waited for").max(now);
            machine.tick(now);
            for command in commands(&mut machine) {
                match command {
                    Command::Ping(A) => {
                        pings[0] += 1;
                        machine.heard(A, now);
                    }
                    Command::Ping(_) => pings[1] += 1,
                    Command::Send(peer, step) => {
                        assert_eq!((peer, step), (B, Step::AttachRollback));
                        assert_eq!(now, limits.liveness);
                        // A was slow, and is done now.
                        machine.replied(A, Step::Attach, answer(Step::Attach, 0), now);
                        assert_eq!(commands(&mut machine), send(Step::AttachRollback, &[A]));
                        machine.replied(
                            A,
                            Step::AttachRollback,
                            answer(Step::AttachRollback, 0),
                            now,
                        );
                        machine.local_done(answer(Step::Attach, 0), now);
                    }
                    Command::Local(_) => {}
                }
            }
        }
        assert_eq!(failure(&machine), (Some(B), Cause::Stopped));
        assert_eq!(machine.outcome().unwrap().stopped, [B]);
        assert!(pings[0] >= 3 && pings[1] >= 3, "{pings:?}");
    }

    #[test]
    fn one_that_catches_up_before_the_end_is_not_out_of_step() {
        let limits = Limits::default();
        for undone in [0, -5] {
            let mut machine = begun(Step::Attach, &[A]);
            machine.local_done(answer(Step::Attach, 0), ZERO);
            machine.tick(limits.liveness);
            let at = limits.liveness;
            machine.replied(A, Step::Attach, answer(Step::Attach, 0), at);
            machine.replied(A, Step::AttachRollback, answer(Step::AttachRollback, undone), at);
            machine.local_done(answer(Step::AttachRollback, 0), at);
            let outcome = machine.outcome().unwrap();
            assert_eq!(failure(&machine), (Some(A), Cause::Stopped), "the caller learns why");
            assert_eq!((&outcome.stopped, &outcome.slow), (&vec![], &vec![]));
            let lost = Failure { peer: Some(A), cause: code(undone) };
            assert_eq!(outcome.out_of_step, if undone == 0 { vec![] } else { vec![lost] });
        }
    }

    #[test]
    fn a_driver_that_takes_too_long_ends_the_operation() {
        let limits = Limits::default();
        let mut machine = begun(Step::Detach, &[A]);
        commands(&mut machine);
        machine.heard(A, limits.operation);
        machine.tick(limits.operation);
        assert_eq!(commands(&mut machine), send(Step::DetachRollback, &[A]));
        assert_eq!(failure(&machine), (Some(A), Cause::TooSlow));
    }

    #[test]
    fn stock_peers_have_their_own_limit_and_no_pings() {
        let limits = Limits::default();
        let mut machine = begun(Step::Attach, &[]);
        machine.joined(A, PeerKind::Stock, ZERO);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        commands(&mut machine);
        assert_eq!(machine.deadline(), Some(limits.stock));
        machine.tick(limits.stock - Duration::from_millis(1));
        assert_eq!((commands(&mut machine), machine.outcome()), (vec![], None));
        machine.tick(limits.stock);
        machine.local_done(answer(Step::Attach, 0), limits.stock);
        assert_eq!(failure(&machine), (Some(A), Cause::Stopped));
    }

    #[test]
    fn a_stopped_peer_does_not_hold_up_the_undoing() {
        let limits = Limits::default();
        let mut machine = begun(Step::Attach, &[A, B]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        machine.replied(A, Step::Attach, answer(Step::Attach, 0), ZERO);
        machine.replied(B, Step::Attach, answer(Step::Attach, -5), ZERO);
        machine.tick(limits.liveness);
        machine.local_done(answer(Step::Attach, -7), limits.liveness);
        let outcome = machine.outcome().unwrap();
        assert_eq!(outcome.stopped, [A]);
        let lost = [
            Failure { peer: Some(A), cause: Cause::Stopped },
            Failure { peer: None, cause: code(-7) },
        ];
        assert_eq!(outcome.out_of_step, lost);
    }

    #[test]
    fn one_cancelled_before_it_begins_does_nothing() {
        for step in [Step::Attach, Step::Detach] {
            let mut machine = Coordinator::new(step, Limits::default());
            machine.joined(A, PeerKind::Member, ZERO);
            machine.cancel(ZERO);
            machine.begin(ZERO);
            assert_eq!(commands(&mut machine), []);
            assert_eq!(failure(&machine), (None, Cause::Cancelled));
        }
    }

    #[test]
    fn a_cancelled_operation_is_undone() {
        let mut machine = begun(Step::Attach, &[A]);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        commands(&mut machine);
        machine.cancel(ZERO);
        machine.replied(A, Step::Attach, answer(Step::Attach, 0), ZERO);
        assert_eq!(commands(&mut machine), send(Step::AttachRollback, &[A]));
        machine.replied(A, Step::AttachRollback, answer(Step::AttachRollback, 0), ZERO);
        machine.local_done(answer(Step::Attach, 0), ZERO);
        assert_eq!(failure(&machine), (None, Cause::Cancelled));
    }
}
