//! What is to be done about devices that come and go, by rules that an application has made: what comes
//! next, and when it is tried again. No threads and no clock: times are since any moment.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::callbacks::{ANY_ARGUMENT, CallbackId, Callbacks};
use super::counters::counters;
use super::states::Attach;
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
    pub vetoed: AtomicBool,
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
    /// Detach it, if it is still the one that was attached then.
    Remove(Option<Attach>),
}

/// Something to do now.
#[derive(Clone)]
pub struct Job {
    /// The device.
    pub device: CString,
    /// What.
    pub work: Work,
    /// By which rule.
    pub rule: Arc<Rule>,
    attempt: Attempt,
}

impl Job {
    /// Whether it was not tried before.
    pub fn is_new(&self) -> bool {
        self.attempt.pause == FIRST_PAUSE
    }
}

#[derive(Clone, Copy)]
struct Attempt {
    since: Time,
    due: Time,
    /// Before the next one.
    pause: Duration,
}

/// What comes next.
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
    remove: Option<(Option<Attach>, Entry)>,
    insert: Option<Entry>,
}

struct Entry {
    rule: Arc<Rule>,
    attempt: Attempt,
}

impl Wanted {
    /// When it is due. A removal comes before what was added after it.
    fn due(&self) -> Option<Time> {
        let first = self.remove.as_ref().map(|(_, entry)| entry).or(self.insert.as_ref());
        first.map(|entry| entry.attempt.due)
    }

    fn take(&mut self) -> Option<(Work, Entry)> {
        let remove = self.remove.take().map(|(attach, entry)| (Work::Remove(attach), entry));
        remove.or_else(|| self.insert.take().map(|entry| (Work::Insert, entry)))
    }
}

impl Queue {
    /// A device has come.
    pub fn added(&mut self, device: &CStr, rule: &Arc<Rule>, now: Time) {
        let entry = Entry { rule: rule.clone(), attempt: Attempt::new(now) };
        self.devices.entry(device.to_owned()).or_default().insert = Some(entry);
    }

    /// A device goes, which was attached so. One that is asked for again is not tried anew, but at once.
    pub fn removed(
        &mut self,
        device: &CStr,
        attach: Option<Attach>,
        rule: Option<&Arc<Rule>>,
        now: Time,
    ) {
        let wanted = self.devices.entry(device.to_owned()).or_default();
        wanted.insert = None;
        match &mut wanted.remove {
            Some((before, entry)) if *before == attach => entry.attempt.due = now,
            remove => {
                let new = rule.map(|rule| (attach, Entry::new(rule, now)));
                *remove = new.or_else(|| remove.take());
            }
        }
    }

    /// A rule does not stand any more.
    pub fn forget(&mut self, rule: &Arc<Rule>) {
        let is_its = |entry: &Entry| Arc::ptr_eq(&entry.rule, rule);
        for wanted in self.devices.values_mut() {
            wanted.remove.take_if(|(_, entry)| is_its(entry));
            wanted.insert.take_if(|entry| is_its(entry));
        }
    }

    /// What is to be done now. It is the caller's, who may bring it back with [`Self::again`].
    pub fn next(&mut self, now: Time) -> Next {
        self.devices.retain(|_, wanted| wanted.due().is_some());
        let soonest = self.devices.iter_mut().min_by_key(|(_, wanted)| wanted.due());
        let Some((device, wanted)) = soonest else { return Next::Nothing };
        match wanted.due() {
            Some(due) if due > now => Next::Wait(due),
            _ => match wanted.take() {
                Some((work, Entry { rule, attempt })) => {
                    Next::Do(Job { device: device.clone(), work, rule, attempt })
                }
                None => Next::Nothing,
            },
        }
    }

    /// A job failed, and may succeed later: `false` when it has been tried for as long as its rule says.
    /// What has happened to the device meanwhile counts more.
    pub fn again(&mut self, job: Job, now: Time) -> bool {
        let Attempt { since, pause, .. } = job.attempt;
        if now - since + pause > job.rule.limit {
            return false;
        }
        let attempt = Attempt { since, due: now + pause, pause: (pause * 2).min(LONGEST_PAUSE) };
        let entry = Entry { rule: job.rule, attempt };
        let wanted = self.devices.entry(job.device).or_default();
        match job.work {
            Work::Remove(attach) => match &mut wanted.remove {
                // Asked for again.
                Some((new, entry)) if *new == attach => {
                    entry.attempt = Attempt { due: entry.attempt.due, ..attempt };
                }
                Some(_) => {}
                remove => *remove = Some((attach, entry)),
            },
            // It goes again.
            Work::Insert if wanted.remove.is_some() => {}
            Work::Insert => {
                wanted.insert.get_or_insert(entry);
            }
        }
        true
    }
}

impl Entry {
    fn new(rule: &Arc<Rule>, now: Time) -> Self {
        Self { rule: rule.clone(), attempt: Attempt::new(now) }
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

    fn ms(number: u64) -> Time {
        Duration::from_millis(number)
    }

    fn rule() -> Arc<Rule> {
        Arc::new(Rule {
            pattern: Pattern::Kind(None, None),
            driver: None,
            arguments: c"".into(),
            limit: Duration::from_secs(5),
            callbacks: Callbacks::default(),
        })
    }

    fn job(queue: &mut Queue, now: Time) -> Job {
        match queue.next(now) {
            Next::Do(job) => job,
            Next::Wait(due) => panic!("due at {due:?}"),
            Next::Nothing => panic!("nothing to do"),
        }
    }

    fn is_done(queue: &mut Queue, now: Time) -> bool {
        matches!(queue.next(now), Next::Nothing)
    }

    #[test]
    fn a_removal_comes_first_and_ends_what_was_added_before() {
        let (mut queue, rule) = (Queue::default(), rule());
        queue.added(A, &rule, ms(0));
        queue.removed(A, Some(1), Some(&rule), ms(1));
        queue.added(A, &rule, ms(2));
        assert_eq!(job(&mut queue, ms(2)).work, Work::Remove(Some(1)));
        assert_eq!(job(&mut queue, ms(2)).work, Work::Insert);
        assert!(is_done(&mut queue, ms(2)));
        queue.added(A, &rule, ms(3));
        queue.removed(A, None, Some(&rule), ms(4));
        assert_eq!(job(&mut queue, ms(4)).work, Work::Remove(None));
        assert!(is_done(&mut queue, ms(4)));
        queue.added(A, &rule, ms(5));
        queue.removed(A, None, None, ms(6));
        assert!(is_done(&mut queue, ms(6)), "nobody detaches it, and nobody attaches what is gone");
    }

    #[test]
    fn it_is_tried_again_less_and_less_often_until_the_limit() {
        let (mut queue, rule) = (Queue::default(), rule());
        queue.added(A, &rule, ms(0));
        let (mut now, mut pauses) = (ms(0), vec![]);
        loop {
            let job = job(&mut queue, now);
            assert_eq!(job.is_new(), pauses.is_empty());
            if !queue.again(job, now) {
                break;
            }
            let Next::Wait(due) = queue.next(now) else { panic!("nothing to wait for") };
            pauses.push(due - now);
            now = due;
        }
        assert_eq!(pauses[..4], [ms(10), ms(20), ms(40), ms(80)]);
        assert_eq!(*pauses.last().unwrap(), LONGEST_PAUSE);
        assert!(now <= rule.limit && now + LONGEST_PAUSE > rule.limit);
        assert!(is_done(&mut queue, now));
    }

    #[test]
    fn what_happens_meanwhile_counts_more() {
        let (mut queue, rule) = (Queue::default(), rule());
        queue.added(A, &rule, ms(0));
        let insert = job(&mut queue, ms(0));
        queue.removed(A, None, Some(&rule), ms(1));
        assert!(queue.again(insert.clone(), ms(2)));
        assert_eq!(job(&mut queue, ms(2)).work, Work::Remove(None));
        assert!(is_done(&mut queue, ms(100)), "it has gone");
        queue.added(A, &rule, ms(200));
        assert!(queue.again(insert, ms(200)));
        assert!(job(&mut queue, ms(200)).is_new());
        assert!(is_done(&mut queue, ms(1000)));
    }

    #[test]
    fn one_that_is_asked_for_again_and_again_is_given_up_nevertheless() {
        let (mut queue, rule) = (Queue::default(), rule());
        queue.removed(A, Some(1), Some(&rule), ms(0));
        let first = job(&mut queue, ms(0));
        // While it is tried, and while it waits.
        queue.removed(A, Some(1), Some(&rule), ms(1));
        assert!(queue.again(first, ms(2)));
        let second = job(&mut queue, ms(2));
        assert!(!second.is_new());
        assert!(queue.again(second, ms(3000)));
        queue.removed(A, Some(1), Some(&rule), ms(3001));
        let third = job(&mut queue, ms(3001));
        assert!(!queue.again(third, ms(5000)));
        queue.removed(A, Some(2), Some(&rule), ms(5001));
        assert!(job(&mut queue, ms(5001)).is_new(), "attached anew");
    }

    #[test]
    fn what_a_removed_rule_wanted_is_forgotten() {
        let (mut queue, other, rule) = (Queue::default(), rule(), rule());
        queue.added(A, &rule, ms(0));
        queue.removed(B, Some(1), Some(&other), ms(0));
        queue.added(B, &rule, ms(0));
        queue.forget(&rule);
        assert_eq!(job(&mut queue, ms(0)).work, Work::Remove(Some(1)));
        assert!(is_done(&mut queue, ms(0)));
    }

    #[test]
    fn one_that_waits_keeps_no_other_waiting() {
        let (mut queue, rule) = (Queue::default(), rule());
        queue.added(A, &rule, ms(0));
        let first = job(&mut queue, ms(0));
        assert!(queue.again(first, ms(0)));
        queue.added(B, &rule, ms(1));
        assert_eq!(&*job(&mut queue, ms(1)).device, B);
        assert!(matches!(queue.next(ms(1)), Next::Wait(due) if due == ms(10)));
        assert_eq!(&*job(&mut queue, ms(10)).device, A);
    }
}
