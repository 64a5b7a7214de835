//! What is to be done about devices that come and go, by rules that an application has made: what comes
//! next, and when it is tried again. No threads and no clock: times are since any moment.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::time::Duration;

use super::callbacks::{ANY_ARGUMENT, CallbackId, Callbacks};
use super::counters::counters;
use crate::error::{Kind, Result};
use crate::proto::pci::{Ids, Pattern};

/// A time since any moment.
pub type Time = Duration;

/// What a rule's one callback is registered as.
pub const CALLBACK: CallbackId = CallbackId { function: 0, argument: ANY_ARGUMENT };

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

counters! {
    /// What was done by rules; for C in this order.
    Counters read as Counts:
    /// Devices were attached.
    attached,
    /// Devices were detached.
    detached,
    /// An application did not want it.
    vetoed,
    /// It was given up.
    failed,
    /// It was tried again.
    retries,
}

/// Which devices are attached and detached by themselves, and how.
pub struct Rule {
    /// The devices.
    pub pattern: Pattern,
    /// The kernel driver that they are bound to; `None`: somebody else binds them.
    pub driver: Option<CString>,
    /// The arguments for the device's driver.
    pub arguments: CString,
    /// How long it is tried.
    pub limit: Duration,
    /// Who is told.
    pub callbacks: Callbacks<Told>,
}

impl Rule {
    /// Whether it is for a device.
    pub fn is_for(&self, device: &CStr, ids: Option<&Ids>) -> bool {
        self.pattern.matches(device, ids)
    }

    /// Nobody is told from now on. [`Kind::Again`] while the application is being told in another thread.
    pub fn silence(&self) -> Result<()> {
        match self.callbacks.unregister(None, CALLBACK) {
            // There may be none.
            Err(error) if error.kind() != Kind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Tells the application: whether it has no objection.
    pub fn tell(&self, device: &CStr, step: Step, result: i32) -> bool {
        let told = Told { step, result, vetoed: false.into() };
        self.callbacks.process(device, &told);
        !told.vetoed.into_inner()
    }
}

/// What an application is told of a device.
#[derive(Debug)]
pub struct Told {
    /// The step.
    pub step: Step,
    /// 0, or why it failed.
    pub result: i32,
    /// Set by the application when it does not want that.
    pub vetoed: std::sync::atomic::AtomicBool,
}

/// A step of attaching or detaching a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is about to be bound and attached.
    Adding,
    /// It is attached.
    Added,
    /// It goes, and is about to be detached.
    Removing,
    /// It is detached.
    Removed,
    /// Attaching or detaching it was given up.
    Failed,
}

/// What is to be done with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Attach it.
    Insert,
    /// Detach it.
    Remove,
}

/// Something to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The device.
    pub device: CString,
    /// What.
    pub work: Work,
    attempt: Attempt,
}

impl Job {
    /// Whether it was not tried before.
    pub fn is_new(&self) -> bool {
        self.attempt.pause == FIRST_PAUSE
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempt {
    since: Time,
    due: Time,
    /// Before the next one.
    pause: Duration,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// This.
    Do(Job),
    /// Nothing before this time.
    Wait(Time),
    /// Nothing until something happens.
    Nothing,
}

/// What is to be done: for each device a removal, an insertion, or the one and then the other.
#[derive(Default)]
pub struct Queue {
    devices: BTreeMap<CString, Wanted>,
}

#[derive(Default)]
struct Wanted {
    remove: Option<Attempt>,
    insert: Option<Attempt>,
}

impl Wanted {
    /// A removal comes before what was added after it.
    fn first(&self) -> Option<(Work, Attempt)> {
        let remove = self.remove.map(|attempt| (Work::Remove, attempt));
        remove.or_else(|| self.insert.map(|attempt| (Work::Insert, attempt)))
    }
}

impl Queue {
    /// A device has come.
    pub fn added(&mut self, device: &CStr, now: Time) {
        self.devices.entry(device.to_owned()).or_default().insert = Some(Attempt::new(now));
    }

    /// A device goes.
    pub fn removed(&mut self, device: &CStr, now: Time) {
        let wanted = Wanted { remove: Some(Attempt::new(now)), insert: None };
        self.devices.insert(device.to_owned(), wanted);
    }

    /// What is to be done now. It is the caller's, who may bring it back with [`Self::again`].
    pub fn next(&mut self, now: Time) -> Next {
        let first = |(device, wanted): (&CString, &Wanted)| {
            wanted.first().map(|(work, attempt)| Job { device: device.clone(), work, attempt })
        };
        let jobs = self.devices.iter().filter_map(first);
        let Some(job) = jobs.min_by_key(|job| job.attempt.due) else { return Next::Nothing };
        if job.attempt.due > now {
            return Next::Wait(job.attempt.due);
        }
        let wanted = self.devices.entry(job.device.clone()).or_default();
        match job.work {
            Work::Remove => wanted.remove = None,
            Work::Insert => wanted.insert = None,
        }
        if wanted.first().is_none() {
            self.devices.remove(&job.device);
        }
        Next::Do(job)
    }

    /// A job failed, and may succeed later: `false` when it has been tried for as long as `limit`. What
    /// has happened to the device meanwhile counts more.
    pub fn again(&mut self, job: Job, now: Time, limit: Duration) -> bool {
        let Attempt { since, pause, .. } = job.attempt;
        if now - since + pause > limit {
            return false;
        }
        let next = Attempt { since, due: now + pause, pause: (pause * 2).min(LONGEST_PAUSE) };
        let wanted = self.devices.entry(job.device).or_default();
        match job.work {
            Work::Remove => {
                wanted.remove.get_or_insert(next);
            }
            // It goes again.
            Work::Insert if wanted.remove.is_some() => {}
            Work::Insert => {
                wanted.insert.get_or_insert(next);
            }
        }
        true
    }
}

impl Attempt {
    fn new(now: Time) -> Self {
        Self { since: now, due: now, pause: FIRST_PAUSE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &CStr = c"0000:00:05.0";
    const B: &CStr = c"0000:00:06.0";
    const LIMIT: Duration = Duration::from_secs(5);

    fn ms(number: u64) -> Time {
        Duration::from_millis(number)
    }

    fn job(queue: &mut Queue, now: Time) -> Job {
        match queue.next(now) {
            Next::Do(job) => job,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_removal_comes_first_and_ends_what_was_added_before() {
        let mut queue = Queue::default();
        queue.added(A, ms(0));
        queue.removed(A, ms(1));
        queue.added(A, ms(2));
        assert_eq!(job(&mut queue, ms(2)).work, Work::Remove);
        assert_eq!(job(&mut queue, ms(2)).work, Work::Insert);
        assert_eq!(queue.next(ms(2)), Next::Nothing);
        queue.added(A, ms(3));
        queue.removed(A, ms(4));
        assert_eq!(job(&mut queue, ms(4)).work, Work::Remove);
        assert_eq!(queue.next(ms(4)), Next::Nothing);
    }

    #[test]
    fn it_is_tried_again_less_and_less_often_until_the_limit() {
        let mut queue = Queue::default();
        queue.added(A, ms(0));
        let (mut now, mut pauses) = (ms(0), vec![]);
        loop {
            let job = job(&mut queue, now);
            assert_eq!(job.is_new(), pauses.is_empty());
            if !queue.again(job, now, LIMIT) {
                break;
            }
            let Next::Wait(due) = queue.next(now) else { panic!("nothing to wait for") };
            pauses.push(due - now);
            now = due;
        }
        assert_eq!(pauses[..4], [ms(10), ms(20), ms(40), ms(80)]);
        assert_eq!(*pauses.last().unwrap(), LONGEST_PAUSE);
        assert!(now <= LIMIT && now + LONGEST_PAUSE > LIMIT);
        assert_eq!(queue.next(now), Next::Nothing);
    }

    #[test]
    fn what_happens_meanwhile_counts_more() {
        let mut queue = Queue::default();
        queue.added(A, ms(0));
        let insert = job(&mut queue, ms(0));
        queue.removed(A, ms(1));
        assert!(queue.again(insert.clone(), ms(2), LIMIT));
        assert_eq!(job(&mut queue, ms(2)).work, Work::Remove);
        assert_eq!(queue.next(ms(100)), Next::Nothing, "it has gone");
        queue.added(A, ms(200));
        assert!(queue.again(insert, ms(200), LIMIT));
        assert!(job(&mut queue, ms(200)).is_new());
        assert_eq!(queue.next(ms(1000)), Next::Nothing);
    }

    #[test]
    fn one_that_waits_keeps_no_other_waiting() {
        let mut queue = Queue::default();
        queue.added(A, ms(0));
        let first = job(&mut queue, ms(0));
        assert!(queue.again(first, ms(0), LIMIT));
        queue.added(B, ms(1));
        assert_eq!(&*job(&mut queue, ms(1)).device, B);
        assert_eq!(queue.next(ms(1)), Next::Wait(ms(10)));
        assert_eq!(&*job(&mut queue, ms(10)).device, A);
    }
}
