//! What a secondary does with the requests of its primary, as a state machine: which step runs when,
//! what a rollback undoes, what need not run at all. It knows no sockets and threads.
//!
//! Steps on one device run one after another, in the order in which they came; devices do not wait
//! for each other.

use std::collections::{HashMap, VecDeque};
use std::ffi::CString;

use super::answer::Answer;
use super::operation::OperationId;
use crate::proto::wire::{Device, Request, Step};

/// What is to be done with a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A step of an operation.
    Step(Request),
    /// Bring it in line with the primary: attached with these devargs, or not attached.
    Sync(Device, Option<CString>),
}

impl Task {
    /// The device.
    pub fn device(&self) -> &Device {
        match self {
            Self::Step(request) => &request.device,
            Self::Sync(device, _) => device,
        }
    }
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Carry it out and tell [`Participant::finished`].
    Run(Task),
    /// Answer the primary: this is the result of a step that did not have to run.
    Answer(Request, Answer),
}

/// How many devices it remembers the last change of.
const REMEMBERED: usize = 1024;

/// The machine.
#[derive(Default)]
pub struct Participant {
    /// The steps under way and waiting, by device.
    queues: HashMap<Device, Queue>,
    /// The last change that an operation made to a device, for its rollback.
    changes: HashMap<Device, Change>,
    /// The remembered devices, the oldest first.
    remembered: VecDeque<Device>,
}

#[derive(Default)]
struct Queue {
    /// One is under way.
    running: bool,
    waiting: VecDeque<Task>,
}

struct Change {
    operation: OperationId,
    /// Devargs to attach it with again, after a detach.
    devargs: CString,
}

impl Participant {
    /// A task has come.
    pub fn requested(&mut self, task: Task) -> Vec<Effect> {
        let device = task.device().clone();
        let queue = self.queues.entry(device.clone()).or_default();
        if let Some(cancelled) = take_undone(&mut queue.waiting, &task) {
            let Task::Step(rollback) = task else { return vec![] };
            return vec![
                Effect::Answer(cancelled, Answer::Failed(-libc::ECANCELED, String::new())),
                Effect::Answer(rollback, Answer::Unchanged),
            ];
        }
        queue.waiting.push_back(task);
        self.go_on(&device)
    }

    /// A task was carried out with this result; `devargs` are those that a detached device had.
    pub fn finished(
        &mut self,
        task: &Task,
        answer: &Answer,
        devargs: Option<CString>,
    ) -> Vec<Effect> {
        let device = task.device();
        if let Some(queue) = self.queues.get_mut(device) {
            queue.running = false;
        }
        if let Task::Step(request) = task {
            self.note(request, answer, devargs);
        }
        self.go_on(device)
    }

    /// Remembers what a step changed, for its rollback.
    fn note(&mut self, request: &Request, answer: &Answer, devargs: Option<CString>) {
        let device = &request.device;
        let asked_again = self.changes.get(device).is_some_and(|c| c.operation == request.id)
            && *answer == Answer::Unchanged
            && !is_rollback(request.step);
        if asked_again {
            return;
        }
        self.forget(device);
        if *answer == Answer::Changed && !is_rollback(request.step) {
            let devargs = devargs.unwrap_or_else(|| request.devargs.clone());
            self.remember(device, Change { operation: request.id, devargs });
        }
    }

    /// Begins what waits for a device, unless something runs there. Steps that need not run are
    /// answered until there is one that does.
    fn go_on(&mut self, device: &Device) -> Vec<Effect> {
        let mut effects = vec![];
        while let Some(task) = self.next_for(device) {
            let effect = self.begin(device, task);
            let runs = matches!(effect, Effect::Run(_));
            effects.push(effect);
            if runs {
                if let Some(queue) = self.queues.get_mut(device) {
                    queue.running = true;
                }
                return effects;
            }
        }
        if self.queues.get(device).is_some_and(|q| !q.running && q.waiting.is_empty()) {
            self.queues.remove(device);
        }
        effects
    }

    /// The next task of a device whose turn it is.
    fn next_for(&mut self, device: &Device) -> Option<Task> {
        let queue = self.queues.get_mut(device).filter(|queue| !queue.running)?;
        queue.waiting.pop_front()
    }

    /// The devices with steps under way.
    pub fn busy(&self) -> usize {
        self.queues.len()
    }

    /// Runs a task whose turn it is, or answers that it need not run.
    fn begin(&mut self, device: &Device, task: Task) -> Effect {
        let Task::Step(mut request) = task else { return Effect::Run(task) };
        if is_rollback(request.step) {
            let change = self.changes.get(device).filter(|c| c.operation == request.id);
            let Some(change) = change else {
                // This operation changed nothing here.
                return Effect::Answer(request, Answer::Unchanged);
            };
            if request.step == Step::DetachRollback {
                request.devargs.clone_from(&change.devargs);
            }
        }
        Effect::Run(Task::Step(request))
    }

    fn remember(&mut self, device: &Device, change: Change) {
        self.changes.insert(device.clone(), change);
        self.remembered.push_back(device.clone());
        if self.remembered.len() > REMEMBERED {
            if let Some(oldest) = self.remembered.pop_front() {
                self.changes.remove(&oldest);
            }
        }
    }

    fn forget(&mut self, device: &Device) {
        if self.changes.remove(device).is_some() {
            self.remembered.retain(|d| d != device);
        }
    }
}

/// Whether the step undoes another one.
pub fn is_rollback(step: Step) -> bool {
    matches!(step, Step::AttachRollback | Step::DetachRollback)
}

/// Takes the step that `task` would undo off the queue: it was not started, so neither has to run.
fn take_undone(queue: &mut VecDeque<Task>, task: &Task) -> Option<Request> {
    let Task::Step(rollback) = task else { return None };
    if !is_rollback(rollback.step) {
        return None;
    }
    let undone = |t: &Task| match t {
        Task::Step(r) => r.id == rollback.id && r.step != rollback.step,
        Task::Sync(..) => false,
    };
    match queue.remove(queue.iter().position(undone)?)? {
        Task::Step(request) => Some(request),
        Task::Sync(..) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Device {
        Device { bus: c"vdev".into(), name: CString::new(name).unwrap() }
    }

    fn task(id: u64, step: Step, name: &str) -> Task {
        let devargs = CString::new(format!("vdev:{name},op={id}")).unwrap();
        Task::Step(Request {
            id,
            lineage: vec![],
            step,
            device: device(name),
            devargs,
            hurried: false,
        })
    }

    fn ran(effects: &[Effect]) -> Vec<(u64, Step)> {
        let run = effects.iter().filter_map(|e| match e {
            Effect::Run(Task::Step(r)) => Some((r.id, r.step)),
            _ => None,
        });
        run.collect()
    }

    fn answered(effects: &[Effect]) -> Vec<(u64, Step, Answer)> {
        let answers = effects.iter().filter_map(|e| match e {
            Effect::Answer(r, answer) => Some((r.id, r.step, answer.clone())),
            Effect::Run(_) => None,
        });
        answers.collect()
    }

    #[test]
    fn one_device_in_order_and_others_at_once() {
        let mut all = Participant::default();
        let first = task(1, Step::Attach, "a");
        assert_eq!(ran(&all.requested(first.clone())), [(1, Step::Attach)]);
        assert_eq!(all.requested(task(2, Step::Detach, "a")), []);
        assert_eq!(ran(&all.requested(task(3, Step::Attach, "b"))), [(3, Step::Attach)]);
        assert_eq!(ran(&all.finished(&first, &Answer::Changed, None)), [(2, Step::Detach)]);
        assert_eq!(all.busy(), 2);
    }

    #[test]
    fn a_rollback_waits_for_its_attach_and_undoes_it() {
        let mut all = Participant::default();
        let attach = task(1, Step::Attach, "a");
        all.requested(attach.clone());
        assert_eq!(all.requested(task(1, Step::AttachRollback, "a")), []);
        let next = all.finished(&attach, &Answer::Changed, None);
        assert_eq!(ran(&next), [(1, Step::AttachRollback)]);
        assert_eq!(all.finished(&task(1, Step::AttachRollback, "a"), &Answer::Changed, None), []);
        let again = all.requested(task(1, Step::AttachRollback, "a"));
        assert_eq!(
            answered(&again),
            [(1, Step::AttachRollback, Answer::Unchanged)],
            "it is undone"
        );
        assert_eq!(all.busy(), 0);
    }

    #[test]
    fn a_rollback_undoes_nothing_that_its_operation_did_not_do() {
        let mut all = Participant::default();
        let earlier = task(1, Step::Attach, "a");
        all.requested(earlier.clone());
        all.finished(&earlier, &Answer::Changed, None);
        let again = task(2, Step::Attach, "a");
        all.requested(again.clone());
        all.finished(&again, &Answer::Unchanged, None);
        let effects = all.requested(task(2, Step::AttachRollback, "a"));
        assert_eq!(answered(&effects), [(2, Step::AttachRollback, Answer::Unchanged)]);
        assert_eq!(ran(&effects), []);
    }

    #[test]
    fn a_rollback_that_overtakes_its_step_cancels_it() {
        let mut all = Participant::default();
        let slow = task(1, Step::Detach, "a");
        all.requested(slow.clone());
        all.requested(task(2, Step::Attach, "a"));
        let effects = all.requested(task(2, Step::AttachRollback, "a"));
        let cancelled = (2, Step::Attach, Answer::Failed(-libc::ECANCELED, String::new()));
        assert_eq!(answered(&effects), [cancelled, (2, Step::AttachRollback, Answer::Unchanged)]);
        assert_eq!(all.finished(&slow, &Answer::Changed, None), [], "nothing is left to do");
        assert_eq!(all.busy(), 0);
    }

    #[test]
    fn a_detach_is_undone_with_the_devargs_that_the_device_had() {
        let mut all = Participant::default();
        let detach = task(1, Step::Detach, "a");
        all.requested(detach.clone());
        all.finished(&detach, &Answer::Changed, Some(c"vdev:a,own=1".into()));
        let effects = all.requested(task(1, Step::DetachRollback, "a"));
        let [Effect::Run(Task::Step(request))] = &effects[..] else { panic!("{effects:?}") };
        assert_eq!(request.devargs.as_c_str(), c"vdev:a,own=1");
    }

    #[test]
    fn a_step_that_comes_twice_can_still_be_undone() {
        let mut all = Participant::default();
        let attach = task(1, Step::Attach, "a");
        all.requested(attach.clone());
        all.finished(&attach, &Answer::Changed, None);
        all.requested(attach.clone());
        all.finished(&attach, &Answer::Unchanged, None);
        let undo = all.requested(task(1, Step::AttachRollback, "a"));
        assert_eq!(ran(&undo), [(1, Step::AttachRollback)]);
    }

    #[test]
    fn changes_are_not_remembered_for_ever() {
        let mut all = Participant::default();
        for id in 0..REMEMBERED as u64 + 10 {
            let attach = task(id, Step::Attach, &format!("d{id}"));
            all.requested(attach.clone());
            all.finished(&attach, &Answer::Changed, None);
        }
        assert_eq!(all.changes.len(), REMEMBERED);
        assert_eq!(ran(&all.requested(task(0, Step::AttachRollback, "d0"))), []);
    }
}
