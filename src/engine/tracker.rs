//! Which PCI functions there are, as far as events and looks at the system have told: what an event
//! means for applications, and what was missed.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString};

use super::callbacks::Event;
use crate::proto::pci::Function;
use crate::proto::uevent::{Action, Uevent};

/// All PCI functions at one time.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// By address.
    pub functions: BTreeMap<CString, Function>,
    /// The number of the last event before: what it tells is contained.
    pub since: u64,
}

/// When a device is announced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// As soon as the kernel has it: like stock.
    #[default]
    AtOnce,
    /// When a driver for user space is bound to it: it can be probed then.
    AfterBind,
}

/// Something to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// The event.
    pub event: Uevent,
    /// What it is to those who hear of devices only.
    pub notice: Option<(CString, Event)>,
}

/// Drivers under which a program in user space works with a device.
const USER_DRIVERS: [&CStr; 3] = [c"vfio-pci", c"uio_pci_generic", c"igb_uio"];

/// What is known of a function.
struct Known {
    /// Which one it is at its address, if it was looked at.
    identity: Option<u64>,
    /// The number of the event that told of it, if one did.
    added: Option<u64>,
    devpath: CString,
    driver: Option<CString>,
}

/// What is known.
#[derive(Default)]
pub struct Tracker {
    /// Whether events are told; else nothing is known of functions.
    watches: bool,
    functions: BTreeMap<CString, Known>,
    /// What was looked at after the last loss contains the events up to this number.
    settled: u64,
    /// Functions of which the look found out something that the kernel may still tell itself: sysfs
    /// changes before it numbers its event.
    found_out: BTreeSet<CString>,
    /// Functions that events told of, until they are looked at.
    unseen: BTreeSet<CString>,
    /// Functions whose removal was told before the kernel's own event.
    leaving: BTreeSet<CString>,
}

impl Tracker {
    /// Begins with what is there; nothing of it is news.
    pub fn begin(&mut self, snapshot: Snapshot) {
        let there = snapshot.functions.into_iter();
        let functions = there.map(|(device, function)| (device, Known::seen(function)));
        *self = Self { watches: true, functions: functions.collect(), ..Self::default() };
    }

    /// An event has come; `look` tells what the system shows of its device at this time. What it was
    /// told before is nothing new.
    pub fn accept(
        &mut self,
        event: Uevent,
        policy: Policy,
        mut look: impl FnMut(&CStr) -> Option<Function>,
    ) -> Vec<News> {
        let Some(device) = event.pci_device().map(CStr::to_owned) else {
            return vec![News { event, notice: None }];
        };
        if self.is_contained(&event, &device, &mut look) {
            return vec![];
        }
        self.found_out.remove(&device);
        let mut news = vec![];
        if event.action() == Action::Add && self.has_missed_removal(&event, &device, look) {
            let remove = Uevent::found_out(Action::Remove, &device, event.devpath(), None);
            news.push(self.note(remove, &device, policy));
        }
        news.push(self.note(event, &device, policy));
        news
    }

    /// The functions that events have told of and nobody has looked at since.
    pub fn unseen(&mut self) -> BTreeSet<CString> {
        std::mem::take(&mut self.unseen)
    }

    /// What the system shows of a function that an event told of.
    pub fn seen(&mut self, device: &CStr, function: &Function) {
        if let Some(known) = self.functions.get_mut(device) {
            known.identity.get_or_insert(function.identity);
        }
    }

    /// Events may have been lost: those that explain what the system shows now, in order.
    pub fn catch_up(&mut self, snapshot: Snapshot, policy: Policy) -> Vec<News> {
        let mut missed = vec![];
        for (device, known) in &self.functions {
            if snapshot.functions.get(device).is_none_or(|now| !known.is(now)) {
                let devpath = &known.devpath;
                missed.push((device, Uevent::found_out(Action::Remove, device, devpath, None)));
            }
        }
        for (device, now) in &snapshot.functions {
            let mut found = |action, driver| {
                missed.push((device, Uevent::found_out(action, device, &now.devpath, driver)));
            };
            let known = self.functions.get(device).filter(|known| known.is(now));
            if known.is_none() {
                found(Action::Add, None);
            }
            let before = known.and_then(|known| known.driver.as_ref());
            if before == now.driver.as_ref() {
                continue;
            }
            if before.is_some() {
                found(Action::Unbind, None);
            }
            if now.driver.is_some() {
                found(Action::Bind, now.driver.as_deref());
            }
        }
        let missed: Vec<_> =
            missed.into_iter().map(|(name, event)| (name.clone(), event)).collect();
        self.settled = snapshot.since;
        self.found_out = missed.iter().map(|(device, _)| device.clone()).collect();
        let news = missed.into_iter().map(|(device, event)| self.note(event, &device, policy));
        let news = news.collect();
        for (device, now) in snapshot.functions {
            self.functions.insert(device, Known::seen(now));
        }
        news
    }

    /// The removal of a device is about to be told before the kernel does: it asks for the device
    /// back. It asks again until it has it, and each time is told.
    pub fn requested(&mut self, device: &CStr) {
        self.leaving.insert(device.to_owned());
    }

    /// A device has faulted: whether that is news.
    pub fn faulted(&mut self, device: &CStr) -> bool {
        let is_there = !self.watches || self.functions.contains_key(device);
        is_there && self.leaving.insert(device.to_owned())
    }

    /// A device is being attached: it stays, for all that is known.
    pub fn attaching(&mut self, device: &CStr) {
        self.leaving.remove(device);
    }

    /// Whether the last look has shown already what an event tells.
    fn is_contained(
        &self,
        event: &Uevent,
        device: &CStr,
        look: impl FnOnce(&CStr) -> Option<Function>,
    ) -> bool {
        let tells_state =
            matches!(event.action(), Action::Add | Action::Remove | Action::Bind | Action::Unbind);
        if event.is_synthetic() || !tells_state {
            return false;
        }
        if event.seqnum() <= self.settled {
            return true;
        }
        if !self.found_out.contains(device) {
            return false;
        }
        match (event.action(), self.functions.get(device)) {
            (Action::Remove, None) | (Action::Add, Some(_)) => true,
            // Unless something has happened since the look.
            (_, known) => match (known, look(device)) {
                (Some(known), Some(now)) => known.is(&now) && known.driver == now.driver,
                (None, None) => event.action() != Action::Add,
                _ => false,
            },
        }
    }

    /// Whether another function was there, whose removal was lost.
    fn has_missed_removal(
        &self,
        add: &Uevent,
        device: &CStr,
        look: impl FnOnce(&CStr) -> Option<Function>,
    ) -> bool {
        match self.functions.get(device) {
            None => false,
            // Somebody had it announced again.
            Some(_) if add.is_synthetic() => false,
            // The kernel announces each once.
            Some(Known { added: Some(_), .. }) => true,
            // It may have been looked at just before it was announced. If it is not there any more, a
            // removal too many does no harm.
            Some(known) => look(device).is_none_or(|now| !known.is(&now)),
        }
    }

    /// Remembers what happened, and says what to tell of it.
    fn note(&mut self, event: Uevent, device: &CStr, policy: Policy) -> News {
        let notice = match event.action() {
            Action::Add => {
                self.add(&event, device);
                (policy == Policy::AtOnce).then_some(Event::Add)
            }
            Action::Remove => {
                self.functions.remove(device);
                self.unseen.remove(device);
                (!self.leaving.remove(device)).then_some(Event::Remove)
            }
            Action::Bind => {
                self.leaving.remove(device);
                if let Some(known) = self.functions.get_mut(device) {
                    known.driver = event.driver().map(CStr::to_owned);
                }
                let usable = event.driver().is_some_and(is_user_driver);
                (policy == Policy::AfterBind && usable).then_some(Event::Add)
            }
            Action::Unbind => {
                if let Some(known) = self.functions.get_mut(device) {
                    known.driver = None;
                }
                None
            }
            Action::Change | Action::Move | Action::Online | Action::Offline => None,
        };
        News { event, notice: notice.map(|event| (device.to_owned(), event)) }
    }

    fn add(&mut self, event: &Uevent, device: &CStr) {
        self.leaving.remove(device);
        if event.is_synthetic() && self.functions.contains_key(device) {
            return;
        }
        let added = (event.seqnum() > 0).then(|| event.seqnum());
        let devpath = event.devpath().to_owned();
        // What is bound to it is told by an event of its own.
        let known = Known { identity: None, added, devpath, driver: None };
        self.functions.insert(device.to_owned(), known);
        self.unseen.insert(device.to_owned());
    }
}

impl Known {
    fn seen(function: Function) -> Self {
        let Function { identity, devpath, driver } = function;
        Self { identity: Some(identity), added: None, devpath, driver }
    }

    /// Whether it is the function that the system shows; as far as it was looked at.
    fn is(&self, now: &Function) -> bool {
        self.identity.is_none_or(|identity| identity == now.identity)
    }
}

/// Whether programs in user space can work with what this kernel driver holds.
pub fn is_user_driver(driver: &CStr) -> bool {
    USER_DRIVERS.contains(&driver)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &CStr = c"0000:00:05.0";
    const B: &CStr = c"0000:00:06.0";

    fn function(identity: u64, driver: Option<&CStr>) -> Function {
        let driver = driver.map(CStr::to_owned);
        Function { identity, devpath: c"/devices/x".to_owned(), driver }
    }

    fn snapshot(functions: &[(&CStr, Function)], since: u64) -> Snapshot {
        let functions = functions.iter().map(|(name, f)| ((*name).to_owned(), f.clone()));
        Snapshot { functions: functions.collect(), since }
    }

    fn event(action: Action, device: &CStr, driver: Option<&CStr>, seqnum: u64) -> Uevent {
        let found = Uevent::found_out(action, device, c"/devices/x", driver).to_message();
        let text = String::from_utf8(found).unwrap();
        let text = text.replace("SEQNUM=0", &format!("SEQNUM={seqnum}"));
        Uevent::parse(text.as_bytes()).unwrap()
    }

    fn synthetic(event: Uevent) -> Uevent {
        let message = [&*event.to_message(), b"SYNTH_UUID=0\0"].concat();
        Uevent::parse(&message).unwrap()
    }

    /// What one event comes to.
    fn accept(tracker: &mut Tracker, event: Uevent, now: Option<Function>) -> Vec<Option<Event>> {
        let news = tracker.accept(event, Policy::AtOnce, |_| now.clone());
        news.into_iter().map(|news| news.notice.map(|(_, event)| event)).collect()
    }

    fn actions(missed: &[News]) -> Vec<(Action, CString)> {
        let device = |news: &News| news.event.pci_device().unwrap().to_owned();
        missed.iter().map(|news| (news.event.action(), device(news))).collect()
    }

    #[test]
    fn events_are_told_one_to_one() {
        let mut tracker = Tracker::default();
        tracker.begin(snapshot(&[(A, function(1, None))], 10));
        for seqnum in [5, 11, 12] {
            let add = synthetic(event(Action::Add, A, None, seqnum));
            let told = accept(&mut tracker, add, Some(function(1, None)));
            assert_eq!(told, [Some(Event::Add)]);
        }
        for seqnum in [13, 14] {
            let remove = event(Action::Remove, B, None, seqnum);
            assert_eq!(accept(&mut tracker, remove, None), [Some(Event::Remove)]);
        }
        for action in [Action::Change, Action::Bind, Action::Unbind, Action::Offline] {
            let other = event(action, A, Some(c"vfio-pci"), 15);
            assert_eq!(accept(&mut tracker, other, None), [None]);
        }
    }

    #[test]
    fn a_removal_was_lost_when_its_successor_is_gone_as_well() {
        let mut tracker = Tracker::default();
        tracker.begin(snapshot(&[(A, function(1, None))], 10));
        let told = accept(&mut tracker, event(Action::Add, A, None, 12), None);
        assert_eq!(told, [Some(Event::Remove), Some(Event::Add)]);
    }

    #[test]
    fn what_was_missed_is_found_out_once() {
        let mut tracker = Tracker::default();
        tracker.begin(snapshot(&[(A, function(1, None)), (B, function(2, None))], 10));
        let now = snapshot(&[(B, function(3, Some(c"vfio-pci")))], 20);
        let missed = tracker.catch_up(now.clone(), Policy::AtOnce);
        let expected = [
            (Action::Remove, A.to_owned()),
            (Action::Remove, B.to_owned()),
            (Action::Add, B.to_owned()),
            (Action::Bind, B.to_owned()),
        ];
        assert_eq!(actions(&missed), expected);
        let told: Vec<_> = missed.into_iter().filter_map(|news| news.notice).collect();
        let expected = [(A, Event::Remove), (B, Event::Remove), (B, Event::Add)];
        assert_eq!(told, expected.map(|(device, event)| (device.to_owned(), event)));
        assert!(tracker.catch_up(now, Policy::AtOnce).is_empty());
    }

    #[test]
    fn events_on_their_way_during_a_look_are_not_told_twice() {
        let mut tracker = Tracker::default();
        tracker.begin(snapshot(&[(A, function(1, None))], 10));
        tracker.catch_up(snapshot(&[(B, function(2, Some(c"vfio-pci")))], 20), Policy::AtOnce);
        for late in [
            event(Action::Remove, A, None, 18),
            event(Action::Add, B, None, 19),
            event(Action::Bind, B, Some(c"vfio-pci"), 20),
        ] {
            assert_eq!(accept(&mut tracker, late, None), []);
        }
        // Numbered after the look, although sysfs had shown it before.
        tracker.catch_up(snapshot(&[(A, function(3, None))], 30), Policy::AtOnce);
        for late in [event(Action::Remove, B, None, 31), event(Action::Add, A, None, 32)] {
            assert_eq!(accept(&mut tracker, late, Some(function(3, None))), []);
        }
    }

    #[test]
    fn what_happens_after_a_look_is_told() {
        let mut tracker = Tracker::default();
        tracker.begin(snapshot(&[(A, function(1, None))], 10));
        // Another one is there: its coming may still be announced, or it may go at once.
        tracker.catch_up(snapshot(&[(A, function(2, None))], 20), Policy::AtOnce);
        let remove = event(Action::Remove, A, None, 21);
        assert_eq!(accept(&mut tracker, remove.clone(), Some(function(2, None))), []);
        assert_eq!(accept(&mut tracker, remove, None), [Some(Event::Remove)]);
        let add = event(Action::Add, A, None, 22);
        assert_eq!(accept(&mut tracker, add, Some(function(3, None))), [Some(Event::Add)]);
    }

    #[test]
    fn one_that_was_gone_when_looked_at_is_missed_later() {
        let mut tracker = Tracker::default();
        let add = event(Action::Add, A, None, 1);
        assert_eq!(accept(&mut tracker, add, None), [Some(Event::Add)]);
        let missed = tracker.catch_up(snapshot(&[], 2), Policy::AtOnce);
        assert_eq!(actions(&missed), [(Action::Remove, A.to_owned())]);
    }

    #[test]
    fn a_lost_removal_is_told_before_the_next_of_that_address() {
        let mut tracker = Tracker::default();
        tracker.begin(snapshot(&[(A, function(1, None))], 10));
        let add = event(Action::Add, A, None, 12);
        let told = accept(&mut tracker, add.clone(), Some(function(2, None)));
        assert_eq!(told, [Some(Event::Remove), Some(Event::Add)]);
        let told = accept(&mut tracker, add.clone(), Some(function(2, None)));
        assert_eq!(
            told,
            [Some(Event::Remove), Some(Event::Add)],
            "replaced before it was looked at"
        );
        let told = accept(&mut tracker, synthetic(add), Some(function(2, None)));
        assert_eq!(told, [Some(Event::Add)]);
    }

    #[test]
    fn added_when_its_driver_is_bound() {
        let mut tracker = Tracker::default();
        let accept = |tracker: &mut Tracker, action, driver| {
            let event = event(action, A, driver, 1);
            let news = tracker.accept(event, Policy::AfterBind, |_| None);
            news.into_iter().map(|n| n.notice.map(|(_, event)| event)).collect::<Vec<_>>()
        };
        assert_eq!(accept(&mut tracker, Action::Add, None), [None]);
        assert_eq!(accept(&mut tracker, Action::Bind, Some(c"e1000e")), [None]);
        assert_eq!(accept(&mut tracker, Action::Unbind, None), [None]);
        assert_eq!(accept(&mut tracker, Action::Bind, Some(c"vfio-pci")), [Some(Event::Add)]);
        assert_eq!(accept(&mut tracker, Action::Remove, None), [Some(Event::Remove)]);
        let now = snapshot(&[(B, function(2, Some(c"igb_uio"))), (A, function(3, None))], 9);
        let missed = tracker.catch_up(now, Policy::AfterBind);
        let told: Vec<_> = missed.into_iter().filter_map(|news| news.notice).collect();
        assert_eq!(told, [(B.to_owned(), Event::Add)]);
    }

    #[test]
    fn one_removal_is_told_once() {
        let mut tracker = Tracker::default();
        tracker.begin(snapshot(&[(A, function(1, Some(c"vfio-pci")))], 1));
        tracker.requested(A);
        assert!(!tracker.faulted(A), "it was asked for before");
        let remove = event(Action::Remove, A, None, 2);
        assert_eq!(accept(&mut tracker, remove, None), [None]);
        assert!(!tracker.faulted(A), "it has gone");
        let add = event(Action::Add, A, None, 3);
        accept(&mut tracker, add, Some(function(2, None)));
        assert!(tracker.faulted(A));
        assert!(!tracker.faulted(A));
        // It came to another driver instead: its removal is another one.
        let bind = event(Action::Bind, A, Some(c"uio_pci_generic"), 4);
        accept(&mut tracker, bind, None);
        let remove = event(Action::Remove, A, None, 5);
        assert_eq!(accept(&mut tracker, remove, None), [Some(Event::Remove)]);
    }
}
