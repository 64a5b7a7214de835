//! The monitor of device events: one thread takes them off the source as fast as they come, another
//! one delivers them. A slow callback delays others, and loses nothing.
//!
//! When the queue is full the reader waits, and the source overruns in the end. That is the only way
//! to lose events, and what was missed is then found out by looking ([`super::tracker`]).

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::callbacks::{Callbacks, Event};
use super::counters::counters;
use super::tracker::{News, Policy, Tracker};
use crate::ports::{Incoming, UeventSource};
use crate::proto::uevent::{Action, Uevent};

/// The most memory that queued events take; what a look finds may come on top, once per device.
pub const QUEUE_LIMIT: usize = 64 << 20;
/// How long to wait before trying again what failed.
const RETRY: Duration = Duration::from_millis(20);

counters! {
    /// What the monitor has seen; for C in this order.
    Counters read as Counts:
    /// Events that the kernel sent.
    received,
    /// Calls of device event callbacks, for all that are registered at once.
    delivered,
    /// Messages that the kernel did not send.
    foreign,
    /// Messages that make no sense.
    malformed,
    /// Times that events were lost because nobody had taken them in time.
    overruns,
    /// Events that were found out by looking after that.
    recovered,
    /// Removals and other events that were told already and came again.
    repeated,
}

/// What the reader does besides queueing.
pub trait Reactions {
    /// Lets the queue be delivered soon. `false`: not possible now, it is asked for again.
    fn wake(&self) -> bool;
    /// A device has gone. Nothing in here may wait.
    fn removed(&self, device: &CStr);
}

/// The monitor.
#[derive(Default)]
pub struct Monitor {
    state: Mutex<State>,
    /// There is room in the queue, something in it, or the end.
    changed: Condvar,
    /// What was seen.
    pub counters: Counters,
}

#[derive(Default)]
struct State {
    tracker: Tracker,
    policy: Policy,
    queue: VecDeque<Item>,
    size: usize,
    /// Whether somebody wants events as the kernel tells them.
    with_uevents: bool,
    stopping: bool,
    /// Which threads deliver.
    generation: u64,
}

/// Something to deliver.
enum Item {
    /// From the kernel, or found out by looking.
    Kernel { event: Option<Uevent>, notice: Option<(CString, Event)> },
    /// A device is asked back, or has faulted.
    Leaving(CString),
}

impl Item {
    fn size(&self) -> usize {
        let content = match self {
            Self::Kernel { event, notice } => {
                event.as_ref().map_or(0, Uevent::size)
                    + notice.as_ref().map_or(0, |(device, _)| device.count_bytes())
            }
            Self::Leaving(device) => device.count_bytes(),
        };
        size_of::<Self>() + content
    }
}

impl Monitor {
    /// Takes events until the source stops or [`Self::stop`] is called.
    pub fn watch(&self, source: &mut dyn UeventSource, reactions: &dyn Reactions) {
        let mut lost = false;
        let mut reader = Reader { monitor: self, source, reactions, has_caught_up: false };
        while self.wait_for_room() {
            let retry = lost || !reader.wake();
            match reader.source.receive(retry.then_some(RETRY)) {
                Incoming::Event(event) => reader.accept(event),
                Incoming::Foreign => self.counters.foreign.add(),
                Incoming::Malformed(why) => {
                    self.counters.malformed.add();
                    log::debug!("uevent monitor: a message makes no sense: {why}");
                }
                Incoming::Lost => {
                    self.counters.overruns.add();
                    lost = true;
                }
                // Whatever was sent before the loss has been taken.
                Incoming::Idle | Incoming::TimedOut => lost = lost && !reader.catch_up(),
                Incoming::Stopped => return,
            }
        }
    }

    /// Begins with what the source shows; to be called before [`Self::watch`].
    pub fn begin(&self, source: &mut dyn UeventSource) -> crate::error::Result<()> {
        let snapshot = source.snapshot()?;
        let mut state = self.state.lock();
        state.tracker.begin(snapshot);
        state.stopping = false;
        Ok(())
    }

    /// Ends it: what the kernel has told and was not delivered is forgotten.
    pub fn stop(&self) {
        let mut state = self.state.lock();
        state.stopping = true;
        state.tracker = Tracker::default();
        state.queue.retain(|item| matches!(item, Item::Leaving(_)));
        state.size = state.queue.iter().map(Item::size).sum();
        self.changed.notify_all();
    }

    /// When devices are announced, from the next event on.
    pub fn set_policy(&self, policy: Policy) {
        self.state.lock().policy = policy;
    }

    /// When devices are announced.
    pub fn policy(&self) -> Policy {
        self.state.lock().policy
    }

    /// Keeps events as the kernel tells them, from the next one on, if there are callbacks for them.
    pub fn keep_uevents(&self, wanted_by: &Callbacks<Uevent>) {
        let mut state = self.state.lock();
        state.with_uevents = !wanted_by.is_empty();
    }

    /// The kernel asks for a device back: told now, by the caller. Its removal is not told again.
    pub fn requested(&self, device: &CStr) {
        self.state.lock().tracker.requested(device);
    }

    /// A device was attached: whatever was told of its removal is over.
    pub fn attached(&self, device: &CStr) {
        self.state.lock().tracker.attached(device);
    }

    /// A device has faulted: its removal is told unless it has been. Whether it is.
    pub fn report_fault(&self, device: &CStr) -> bool {
        let mut state = self.state.lock();
        let is_news = state.tracker.faulted(device);
        if is_news {
            state.push(Item::Leaving(device.to_owned()));
            self.changed.notify_all();
        } else {
            self.counters.repeated.add();
        }
        is_news
    }

    /// The same, to be delivered in its turn. The kernel repeats it: one in the queue is enough.
    pub fn queue_request(&self, device: &CStr) {
        let mut state = self.state.lock();
        state.tracker.requested(device);
        let same = |item: &Item| matches!(item, Item::Leaving(queued) if **queued == *device);
        if state.queue.iter().any(same) {
            self.counters.repeated.add();
            return;
        }
        state.push(Item::Leaving(device.to_owned()));
        self.changed.notify_all();
    }

    /// Delivers what is queued, `at_most` so many: whether there is more.
    pub fn deliver(
        &self,
        devices: &Callbacks<Event>,
        uevents: &Callbacks<Uevent>,
        at_most: usize,
    ) -> bool {
        for _ in 0..at_most {
            let Some(item) = self.take() else { return false };
            let (event, notice) = match item {
                Item::Kernel { event, notice } => (event, notice),
                Item::Leaving(device) => (None, Some((device, Event::Remove))),
            };
            if let Some((device, event)) = notice {
                self.counters.delivered.add();
                devices.process(&device, &event);
            }
            if let Some(event) = event {
                uevents.process(event.subsystem(), &event);
            }
        }
        !self.state.lock().queue.is_empty()
    }

    /// Waits until something is queued: `false` when the thread that delivers is to end, see
    /// [`Self::end_delivery`].
    pub fn wait_for_item(&self, generation: u64) -> bool {
        let mut state = self.state.lock();
        while state.queue.is_empty() && state.generation == generation {
            self.changed.wait(&mut state);
        }
        state.generation == generation
    }

    /// Names the threads that deliver from now on.
    pub fn generation(&self) -> u64 {
        self.state.lock().generation
    }

    /// Ends the threads that deliver.
    pub fn end_delivery(&self) {
        self.state.lock().generation += 1;
        self.changed.notify_all();
    }

    fn push(&self, news: News) {
        if news.event.seqnum() == 0 {
            self.counters.recovered.add();
        }
        let mut state = self.state.lock();
        let event = state.with_uevents.then_some(news.event);
        if state.stopping {
            return;
        }
        if event.is_some() || news.notice.is_some() {
            state.push(Item::Kernel { event, notice: news.notice });
            self.changed.notify_all();
        }
    }

    fn take(&self) -> Option<Item> {
        let mut state = self.state.lock();
        let item = state.queue.pop_front()?;
        let was_full = state.size >= QUEUE_LIMIT;
        state.size -= item.size();
        if was_full && state.size < QUEUE_LIMIT {
            self.changed.notify_all();
        }
        Some(item)
    }

    /// Whether the reader may go on.
    fn wait_for_room(&self) -> bool {
        let mut state = self.state.lock();
        while state.size >= QUEUE_LIMIT && !state.stopping {
            self.changed.wait(&mut state);
        }
        !state.stopping
    }
}

impl State {
    fn push(&mut self, item: Item) {
        self.size += item.size();
        self.queue.push_back(item);
    }
}

/// The reader's end.
struct Reader<'a> {
    monitor: &'a Monitor,
    source: &'a mut dyn UeventSource,
    reactions: &'a dyn Reactions,
    has_caught_up: bool,
}

impl Reader<'_> {
    /// Whether what is queued will be delivered.
    fn wake(&self) -> bool {
        self.monitor.state.lock().queue.is_empty() || self.reactions.wake()
    }

    fn accept(&mut self, event: Uevent) {
        let monitor = self.monitor;
        monitor.counters.received.add();
        let is_removal = event.action() == Action::Remove;
        let now = match event.pci_device() {
            Some(device) if event.action() == Action::Add => self.source.look(device),
            _ => None,
        };
        let news = {
            let mut state = monitor.state.lock();
            let policy = state.policy;
            state.tracker.accept(event, now, policy)
        };
        let told_before =
            |news: &News| is_removal && news.event.pci_device().is_some() && news.notice.is_none();
        if news.is_empty() || news.iter().any(told_before) {
            monitor.counters.repeated.add();
        }
        self.tell(news);
    }

    /// Finds out what was missed: whether that worked.
    fn catch_up(&mut self) -> bool {
        let monitor = self.monitor;
        let snapshot = match self.source.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                log::debug!("uevent monitor: cannot look what was missed, trying again: {error}");
                return false;
            }
        };
        let missed = {
            let mut state = monitor.state.lock();
            let policy = state.policy;
            state.tracker.catch_up(snapshot, policy)
        };
        let count = missed.len();
        self.tell(missed);
        let level = if self.has_caught_up { log::Level::Debug } else { log::Level::Warn };
        self.has_caught_up = true;
        log::log!(level, "uevent monitor: events were lost; {count} were found out by looking");
        true
    }

    fn tell(&self, news: Vec<News>) {
        for news in news {
            // Before anybody works with what the device's address has next.
            if let (Action::Remove, Some(device)) = (news.event.action(), news.event.pci_device()) {
                self.reactions.removed(device);
            }
            self.monitor.push(news);
        }
    }
}
