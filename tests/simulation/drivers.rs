//! Drivers: how they behave, and their work.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::time::Duration;

use rte_hotplug::engine::answer::Answer;
use rte_hotplug::engine::coordinator::Time;
use rte_hotplug::engine::operation::OperationId;
use rte_hotplug::engine::participant::Task;
use rte_hotplug::proto::wire::{Device, Step};

use crate::process::{Change, Process};
use crate::world::{Event, PRIMARY, Pid, World, note};

/// How drivers behave.
pub enum Drivers {
    /// As written down, by process and occasion; others take `usual` and succeed.
    Scripted { usual: Time, rules: BTreeMap<(Pid, Option<u8>), Behaviour> },
    /// Anyhow, with so many failures in a hundred.
    Chaotic { fails: usize, undo_fails: usize, slow: usize, too_slow: usize },
}

/// How a driver behaves.
#[derive(Clone, Copy, Debug)]
pub struct Behaviour {
    pub takes: Time,
    pub result: Result<(), i32>,
}

/// What a driver is called for: `None` is to bring the device in line when joining.
pub type Occasion = Option<Step>;

/// A rule for [`Drivers::Scripted`].
pub fn rule(
    process: Pid,
    occasion: Occasion,
    takes: Time,
    result: Result<(), i32>,
) -> ((Pid, Option<u8>), Behaviour) {
    ((process, occasion_key(occasion)), Behaviour { takes, result })
}

/// A driver's work.
pub struct Job {
    device: Device,
    /// Attach with these devargs, or detach.
    goal: Option<CString>,
    /// Whether private devices are kept.
    spare_private: bool,
    operation: Option<OperationId>,
    behaviour: Behaviour,
    due: Time,
    serves: Serves,
}

/// A job as it is remembered.
pub struct Worked {
    pub pid: Pid,
    pub device: Device,
    pub takes: Time,
    pub until: Time,
    job: u64,
}

/// Whom a job serves.
#[derive(Clone)]
pub enum Serves {
    /// An operation in the primary.
    Run(OperationId),
    /// A task in a secondary.
    Task(Task),
}

impl World {
    /// A driver begins to work.
    pub fn begin_work(
        &mut self,
        pid: Pid,
        occasion: Occasion,
        device: &Device,
        goal: Option<CString>,
        operation: Option<OperationId>,
        serves: Serves,
    ) {
        // As `step_here` has it: an attach is undone by name only.
        let spare_private = pid != PRIMARY && matches!(occasion, None | Some(Step::Detach));
        let mut job = Job {
            device: device.clone(),
            goal,
            spare_private,
            operation,
            behaviour: Behaviour { takes: Time::ZERO, result: Ok(()) },
            due: self.now,
            serves,
        };
        if self.processes[pid].changes_with(&job) {
            job.behaviour = self.behaviour(pid, occasion);
        }
        note!(self, "{pid} works on {:?}: {occasion:?} {:?}", device.name, job.behaviour);
        job.due = self.now + job.behaviour.takes;
        let number = self.number();
        let (device, takes) = (device.clone(), job.behaviour.takes);
        self.worked.push(Worked { pid, device, takes, until: Time::MAX, job: number });
        self.at(job.due, Event::Worked(pid, number));
        self.processes[pid].jobs.insert(number, job);
    }

    pub fn worked(&mut self, pid: Pid, number: u64) {
        let Some(job) = self.processes[pid].jobs.remove(&number) else { return };
        if let Some(worked) = self.worked.iter_mut().rev().find(|w| w.job == number) {
            worked.until = self.now;
        }
        let process = &mut self.processes[pid];
        let before = process.devices.get(&job.device).cloned();
        let answer = match job.behaviour.result {
            _ if !process.changes_with(&job) => Answer::Unchanged,
            Ok(()) => Answer::Changed,
            Err(code) => Answer::Failed(code, String::new()),
        };
        if answer == Answer::Changed {
            match &job.goal {
                Some(devargs) => process.devices.insert(job.device.clone(), devargs.clone()),
                None => process.devices.remove(&job.device),
            };
            process.changes.push(Change {
                operation: job.operation,
                device: job.device.clone(),
                before: before.clone(),
                after: job.goal.clone(),
            });
        }
        note!(self, "{pid} has {answer:?} {:?}", job.device.name);
        match job.serves {
            Serves::Run(run) => self.run_worked(run, answer),
            Serves::Task(task) => {
                let had = before.filter(|_| job.goal.is_none() && answer == Answer::Changed);
                self.watch_undoing(pid, &task, &answer);
                self.link_worked(pid, &task, &answer, had);
            }
        }
    }

    fn behaviour(&mut self, pid: Pid, occasion: Occasion) -> Behaviour {
        let random = &mut self.random;
        match &self.drivers {
            Drivers::Scripted { usual, rules } => {
                let usual = Behaviour { takes: *usual, result: Ok(()) };
                rules.get(&(pid, occasion_key(occasion))).copied().unwrap_or(usual)
            }
            Drivers::Chaotic { fails, undo_fails, slow, too_slow } => {
                let undoing = !matches!(occasion, Some(Step::Attach | Step::Detach));
                let chance = if undoing { *undo_fails } else { *fails };
                let codes = [-libc::EIO, -libc::EEXIST, -libc::ENOENT, -libc::EBUSY];
                let result = match random.percent(chance) {
                    true => Err(codes[random.below(codes.len())]),
                    false => Ok(()),
                };
                let takes = if random.percent(*too_slow) {
                    self.limits.operation + random.time(self.limits.operation)
                } else if random.percent(*slow) {
                    self.limits.liveness + random.time(self.limits.liveness)
                } else {
                    random.time(Duration::from_millis(20))
                };
                Behaviour { takes, result }
            }
        }
    }
}

impl Process {
    /// Whether the device's state is another than the job's goal.
    fn changes_with(&self, job: &Job) -> bool {
        let spared = job.goal.is_none() && job.spare_private && self.private.contains(&job.device);
        self.devices.contains_key(&job.device) != job.goal.is_some() && !spared
    }
}

fn occasion_key(occasion: Occasion) -> Option<u8> {
    occasion.map(|step| step as u8)
}
