//! The primary's book of its peers, and what an operation's outcome changes in it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use super::connection::Connection;
use super::operation::{CallToken, Event, Inbox, Plan};
use super::reactor::Token;
use super::settings::Counters;
use super::stock::StockSession;
use super::{Peer, PeerState, label, seconds};
use crate::engine::coordinator::{Limits, PeerId};
use crate::engine::journal::Journal;
use crate::engine::operation::OperationId;
use crate::engine::outcome::{Cause, Failure, Outcome};
use crate::engine::roster::{Roster, Standing};
use crate::error::{Error, Kind, Result, describe_code};
use crate::proto::wire::Device;

/// What the primary knows; behind one lock.
#[derive(Default)]
pub(super) struct State {
    pub next_peer: u64,
    /// Connections that have not said hello.
    pub strangers: HashMap<u64, Arc<Connection>>,
    pub members: BTreeMap<PeerId, Member>,
    /// How the members stand.
    pub roster: Roster,
    pub operations: HashMap<OperationId, UnderWay>,
    pub calls: HashMap<(PeerId, u64), Arc<CallToken>>,
    pub journal: Journal,
    pub stock_ids: HashMap<OsString, PeerId>,
    /// Questions that peers without this library have left unanswered: what they were asked to undo.
    pub unanswered: Vec<Box<dyn StockSession>>,
}

pub(super) struct Member {
    pub connection: Arc<Connection>,
    pub pid: u32,
    pub eal_socket: OsString,
    pub death: Option<Token>,
}

/// An operation that members take part in.
pub(super) struct UnderWay {
    pub inbox: Arc<Inbox>,
    /// The device that it attaches, and may take away again.
    pub new: Option<Device>,
    /// Peers that it does not wait for any longer.
    pub lost: Vec<PeerId>,
}

impl State {
    /// Tells all operations under way.
    pub fn tell(&self, event: &Event) {
        for operation in self.operations.values() {
            operation.inbox.push(event.clone());
        }
    }

    /// What others are told about the members.
    pub fn describe_members(&self) -> Vec<Peer> {
        let describe = |(id, member): (&PeerId, &Member)| Peer {
            pid: member.pid,
            state: match self.roster.standing(*id) {
                Some(Standing::Member) => PeerState::Member,
                Some(Standing::Stopped) => PeerState::Stopped,
                Some(Standing::OutOfStep) => PeerState::OutOfStep,
                Some(Standing::Joining) | None => PeerState::Joining,
            },
            primary: false,
            socket: member.eal_socket.to_string_lossy().into_owned(),
        };
        self.members.iter().map(describe).collect()
    }

    /// What a process is called in messages; `None` is the primary.
    pub fn name_of(&self, peer: Option<PeerId>) -> String {
        let Some(id) = peer else { return "the primary".to_owned() };
        if let Some(member) = self.members.get(&id) {
            return member.name();
        }
        match self.stock_ids.iter().find(|(_, known)| **known == id) {
            Some((socket, _)) => {
                format!("process {} (without librte_hotplug)", socket.to_string_lossy())
            }
            None => "a process that is gone".to_owned(),
        }
    }

    /// The name under which operations know a peer without this library.
    pub fn stock_id(&mut self, socket: &OsStr) -> PeerId {
        if let Some(id) = self.stock_ids.get(socket) {
            return *id;
        }
        self.next_peer += 1;
        let id = PeerId(self.next_peer);
        self.stock_ids.insert(socket.to_owned(), id);
        id
    }

    /// What the caller is told about an operation that is over. `failed_here` is what the primary
    /// itself could not do.
    pub fn conclude(
        &self,
        plan: &Plan<'_>,
        outcome: &Outcome,
        limits: Limits,
        failed_here: Option<Error>,
        counters: &Counters,
    ) -> Result<()> {
        for member in outcome.stopped.iter().filter_map(|id| self.members.get(id)) {
            log::debug!("multi-process: {} is stopped", member.name());
            counters.stopped.add();
        }
        let Some(failure) = &outcome.failure else {
            counters.succeeded.add();
            return Ok(());
        };
        counters.failed.add();
        if !outcome.out_of_step.is_empty() {
            counters.out_of_step.add();
        }
        // A failure in this very process keeps its own words.
        match failed_here {
            Some(error) if failure.peer.is_none() && outcome.out_of_step.is_empty() => Err(error),
            _ => Err(Error::new(failure.kind(), self.describe(plan, outcome, failure, limits))),
        }
    }

    fn describe(
        &self,
        plan: &Plan<'_>,
        outcome: &Outcome,
        failure: &Failure,
        limits: Limits,
    ) -> String {
        let mut text = format!(
            "{}: {} failed in {}: {}",
            label(plan.device),
            plan.step.name(),
            self.name_of(failure.peer),
            failure.describe(limits)
        );
        for lost in &outcome.out_of_step {
            text += &format!(
                "; undoing it failed too in {}, which is out of step: {}",
                self.name_of(lost.peer),
                lost.describe(limits)
            );
        }
        text += match (outcome.out_of_step.is_empty(), outcome.stopped.is_empty()) {
            (true, true) => "; every process is as before",
            (true, false) => "; the others are as before, and so will it be when it goes on",
            _ => "",
        };
        text
    }
}

impl Member {
    /// What it is called in messages.
    pub fn name(&self) -> String {
        format!("secondary process {}", self.pid)
    }
}

impl Failure {
    fn describe(&self, limits: Limits) -> String {
        match &self.cause {
            Cause::Code(code, message) if message.is_empty() => describe_code(*code),
            Cause::Code(_, message) => message.clone(),
            Cause::Stopped => {
                format!("no sign of life for {}: is it stopped?", seconds(limits.liveness))
            }
            Cause::TooSlow => {
                format!("its driver takes longer than {}", seconds(limits.operation))
            }
            Cause::Cancelled => "the caller gave up".to_owned(),
        }
    }

    fn kind(&self) -> Kind {
        match self.cause {
            Cause::Code(code, _) => Kind::Code(code),
            Cause::Stopped | Cause::TooSlow | Cause::Cancelled => Kind::NoAnswer,
        }
    }
}

/// The process number in `mp_socket_PID_TSC`.
pub(super) fn pid_of(socket: &OsStr) -> u32 {
    let name = socket.to_string_lossy();
    name.split('_').nth(2).and_then(|pid| pid.parse().ok()).unwrap_or(0)
}
