//! How the secondaries stand with their primary: which are in line, and what the others owe. It
//! knows no sockets, threads or clocks.
//!
//! One that is not waited for any longer has been sent the step that undoes its part. It carries
//! that out before anything that comes later, so it is back in line as soon as it has answered it.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::answer::Answer;
use super::coordinator::PeerId;
use super::operation::OperationId;
use super::outcome::Outcome;
use super::participant::is_rollback;
use crate::proto::wire::{Device, Step};

/// How a secondary stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// In line.
    Member,
    /// It is being brought in line.
    Joining,
    /// It gives no sign of life.
    Stopped,
    /// A device's state differs there from what a caller was told.
    OutOfStep,
}

/// The secondaries.
#[derive(Default)]
pub struct Roster {
    peers: BTreeMap<PeerId, Record>,
}

#[derive(Default)]
struct Record {
    synced: bool,
    stopped: bool,
    /// Devices that it could not bring back.
    lost: HashSet<Device>,
    /// Failed operations that have ended, whose undoing it has not answered.
    owes: HashMap<OperationId, Owed>,
}

struct Owed {
    device: Device,
    /// It is alive, but its driver still works.
    slow: bool,
}

impl Roster {
    /// One joins, and is being told the journal.
    pub fn joined(&mut self, peer: PeerId) {
        self.peers.insert(peer, Record::default());
    }

    /// One has carried out the journal, but for these devices.
    pub fn synced(&mut self, peer: PeerId, but: Vec<Device>) {
        if let Some(record) = self.peers.get_mut(&peer) {
            record.synced = true;
            record.lost.extend(but);
        }
    }

    /// One is gone.
    pub fn gone(&mut self, peer: PeerId) {
        self.peers.remove(&peer);
    }

    /// One gave a sign of life: whether that was news.
    pub fn heard(&mut self, peer: PeerId) -> bool {
        self.peers.get_mut(&peer).is_some_and(|record| std::mem::take(&mut record.stopped))
    }

    /// One has answered a step of an operation that has ended.
    pub fn replied(&mut self, peer: PeerId, operation: OperationId, step: Step, answer: &Answer) {
        let Some(record) = self.peers.get_mut(&peer) else { return };
        if !is_rollback(step) {
            return;
        }
        let Some(owed) = record.owes.remove(&operation) else { return };
        if matches!(answer, Answer::Failed(..)) {
            record.lost.insert(owed.device);
        }
    }

    /// An operation has ended, and takes no more answers from here on. Those that count as stopped
    /// have to be asked for a sign of life after this: they may have gone on before.
    pub fn ended(&mut self, operation: OperationId, device: &Device, outcome: &Outcome) {
        if outcome.failure.is_none() {
            for record in self.peers.values_mut() {
                record.lost.remove(device);
            }
            return;
        }
        for peer in outcome.out_of_step.iter().filter_map(|failure| failure.peer) {
            // Of those two it will be known when they answer.
            if !outcome.slow.contains(&peer) && !outcome.stopped.contains(&peer) {
                if let Some(record) = self.peers.get_mut(&peer) {
                    record.lost.insert(device.clone());
                }
            }
        }
        for (peers, slow) in [(&outcome.slow, true), (&outcome.stopped, false)] {
            for peer in peers {
                if let Some(record) = self.peers.get_mut(peer) {
                    record.stopped |= !slow;
                    record.owes.insert(operation, Owed { device: device.clone(), slow });
                }
            }
        }
    }

    /// Those that give no sign of life.
    pub fn stopped(&self) -> impl Iterator<Item = PeerId> {
        self.peers.iter().filter(|(_, record)| record.stopped).map(|(peer, _)| *peer)
    }

    /// How one stands; `None` for one that is not there.
    pub fn standing(&self, peer: PeerId) -> Option<Standing> {
        let record = self.peers.get(&peer)?;
        Some(if record.stopped {
            Standing::Stopped
        } else if !record.synced {
            Standing::Joining
        } else if record.out_of_step().next().is_some() {
            Standing::OutOfStep
        } else if !record.owes.is_empty() {
            Standing::Joining
        } else {
            Standing::Member
        })
    }

    /// The devices whose state differs in one from what a caller was told.
    pub fn out_of_step(&self, peer: PeerId) -> impl Iterator<Item = &Device> {
        self.peers.get(&peer).into_iter().flat_map(Record::out_of_step)
    }
}

impl Record {
    fn out_of_step(&self) -> impl Iterator<Item = &Device> {
        let slow = self.owes.values().filter(|owed| owed.slow).map(|owed| &owed.device);
        self.lost.iter().chain(slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::outcome::{Cause, Failure};

    const A: PeerId = PeerId(1);

    fn device() -> Device {
        Device { bus: c"vdev".into(), name: c"a".into() }
    }

    fn joined() -> Roster {
        let mut roster = Roster::default();
        roster.joined(A);
        assert_eq!(roster.standing(A), Some(Standing::Joining));
        roster.synced(A, vec![]);
        assert_eq!(roster.standing(A), Some(Standing::Member));
        roster
    }

    fn failed(peers: impl Fn(&mut Outcome)) -> Outcome {
        let failure = Some(Failure { peer: Some(A), cause: Cause::Stopped });
        let mut outcome = Outcome { failure, ..Outcome::default() };
        peers(&mut outcome);
        outcome
    }

    #[test]
    fn a_stopped_one_comes_back_and_pays_what_it_owes() {
        for (answer, after) in [
            (Answer::Unchanged, Standing::Member),
            (Answer::Changed, Standing::Member),
            (Answer::Failed(-5, String::new()), Standing::OutOfStep),
        ] {
            let mut roster = joined();
            roster.ended(7, &device(), &failed(|o| o.stopped.push(A)));
            assert_eq!(
                (roster.standing(A), roster.stopped().next()),
                (Some(Standing::Stopped), Some(A))
            );
            assert!(roster.heard(A) && !roster.heard(A));
            assert_eq!(roster.standing(A), Some(Standing::Joining));
            roster.replied(A, 7, Step::Attach, &Answer::Changed);
            assert_eq!(roster.standing(A), Some(Standing::Joining), "it is not undone yet");
            roster.replied(A, 7, Step::AttachRollback, &answer);
            assert_eq!(roster.standing(A), Some(after));
        }
    }

    #[test]
    fn a_slow_one_is_out_of_step_until_it_has_caught_up() {
        let mut roster = joined();
        roster.ended(7, &device(), &failed(|o| o.slow.push(A)));
        assert_eq!(roster.standing(A), Some(Standing::OutOfStep));
        roster.replied(A, 6, Step::DetachRollback, &Answer::Changed);
        assert_eq!(roster.standing(A), Some(Standing::OutOfStep), "another operation's answer");
        roster.replied(A, 7, Step::DetachRollback, &Answer::Changed);
        assert_eq!(roster.standing(A), Some(Standing::Member));
    }

    #[test]
    fn what_was_lost_before_stays_lost() {
        let mut roster = joined();
        let lost = Failure { peer: Some(A), cause: Cause::Code(-5, String::new()) };
        roster.ended(7, &device(), &failed(|o| o.out_of_step.push(lost.clone())));
        roster.ended(8, &device(), &failed(|o| o.slow.push(A)));
        roster.replied(A, 8, Step::AttachRollback, &Answer::Changed);
        assert_eq!(roster.standing(A), Some(Standing::OutOfStep), "undone to what was wrong");
    }

    #[test]
    fn a_success_ends_being_out_of_step() {
        let mut roster = joined();
        let failure = Failure { peer: Some(A), cause: Cause::Code(-5, String::new()) };
        roster.ended(7, &device(), &failed(|o| o.out_of_step.push(failure.clone())));
        assert_eq!(roster.out_of_step(A).count(), 1);
        roster.ended(8, &Device { bus: c"vdev".into(), name: c"b".into() }, &Outcome::default());
        assert_eq!(roster.standing(A), Some(Standing::OutOfStep));
        roster.ended(9, &device(), &Outcome::default());
        assert_eq!(roster.standing(A), Some(Standing::Member));
        roster.gone(A);
        assert_eq!(roster.standing(A), None);
    }
}
