//! What the contract promises, and where it does not any longer.

use rte_hotplug::engine::answer::Answer;
use rte_hotplug::engine::coordinator::{PeerId, Time};
use rte_hotplug::engine::operation::OperationId;
use rte_hotplug::engine::outcome::Outcome;
use rte_hotplug::engine::participant::Task;
use rte_hotplug::proto::wire::{Device, Step};

use crate::world::{PRIMARY, Pid, World};

impl World {
    /// The contract's promises at the end of an operation.
    pub fn check_promises(&mut self, id: OperationId, outcome: &Outcome) {
        let run = &self.hub.runs[&id];
        let (step, device, now) = (run.step, run.device.clone(), self.now);
        let peers: Vec<PeerId> = self.hub.members.iter().copied().collect();
        let pids = peers.iter().map(|p| p.0 as usize).chain([PRIMARY]);
        let lost = |pid: Pid| {
            let peer = (pid != PRIMARY).then_some(PeerId(pid as u64));
            let quiet = peer.is_some_and(|p| outcome.stopped.contains(&p));
            let slow = peer.is_some_and(|p| outcome.slow.contains(&p));
            quiet || slow || outcome.out_of_step.iter().any(|failure| failure.peer == peer)
        };
        for pid in pids.filter(|pid| self.processes[*pid].alive).collect::<Vec<_>>() {
            let process = &self.processes[pid];
            if outcome.failure.is_none() {
                let attached = step == Step::Attach;
                let spared = process.private.contains(&device);
                let right = self.has(pid, &device) == attached || (spared && !attached);
                assert!(right, "{now:?}: operation {id} succeeded, {pid} is wrong");
                self.loose.remove(&(pid, device.clone()));
                self.not_undone.remove(&(pid, device.clone()));
                if !spared {
                    self.expected.insert((pid, device.clone()), attached);
                    self.agreed.insert((pid, device.clone()));
                }
            } else if !lost(pid) {
                let right = process.is_as_before(id, &device);
                assert!(right, "{now:?}: operation {id} failed, {pid} is not as before");
            }
        }
    }

    /// It waits for drivers and for those who are stopped, not for the dead, nor for ever.
    pub fn check_duration(&self, from: Time, device: &Device) {
        let mut allowed = self.delay * 100;
        let most = self.limits.operation + self.limits.liveness;
        for work in self.worked.iter().filter(|w| w.device == *device && w.until >= from) {
            allowed += if work.pid == PRIMARY { work.takes } else { work.takes.min(most) };
        }
        for (since, until, pid) in &self.disturbed {
            if *until >= from {
                allowed += self.limits.liveness * 2;
                let until = (*until).min(self.now);
                if *pid == PRIMARY {
                    allowed += until.saturating_sub(*since);
                }
            }
        }
        let took = self.now - from;
        assert!(took <= allowed, "{:?}: it took {took:?}, at most {allowed:?}", self.now);
    }

    /// Keeps in mind what the contract does not promise any longer, and what it promises anew.
    pub fn watch_undoing(&mut self, pid: Pid, task: &Task, answer: &Answer) {
        let key = (pid, task.device().clone());
        let failed = matches!(answer, Answer::Failed(..));
        match task {
            Task::Step(request) => {
                let undoing = matches!(request.step, Step::AttachRollback | Step::DetachRollback);
                if failed && undoing {
                    self.not_undone.insert(key.clone());
                    self.loose.insert(key);
                }
            }
            Task::Sync(..) if failed => drop(self.loose.insert(key)),
            Task::Sync(_, goal) => {
                self.loose.remove(&key);
                if !self.processes[pid].private.contains(&key.1) {
                    self.expected.insert(key.clone(), goal.is_some());
                    self.agreed.insert(key);
                }
            }
        }
    }
}
