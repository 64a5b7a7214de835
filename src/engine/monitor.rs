//! The monitor of device events: one thread takes them off the source as fast as they come, another
//! one delivers them. A slow callback delays others, and loses nothing. The thread that delivers may
//! take them off itself while it has nothing to deliver.
//!
//! When the queue is full the reader waits, and the source overruns in the end. That is the only way
//! to lose events, and what was missed is then found out by looking ([`super::tracker`]).

use std::collections::VecDeque;
use std::ffi::{CStr, CString};
use std::time::Duration;

use crate::sys::lock::{Condvar, Mutex, MutexGuard};

use super::callbacks::{Callbacks, Event};
use super::counters::counters;
use super::tracker::{News, Policy, Tracker};
use crate::error::Result;
use crate::ports::{Incoming, UeventSource, UeventWaiter};
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

/// A source while it is read, by one thread at a time.
pub struct Reader<S> {
    source: S,
    /// Which start of the monitor it belongs to.
    start: u64,
    /// Whether events were lost, and what was missed is not found out yet.
    lost: bool,
    has_caught_up: bool,
}

/// What the reader does besides queueing.
pub trait Reactions {
    /// Lets the queue be delivered soon. `false`: not possible now, it is asked for again.
    fn wake(&self) -> bool;
    /// Something has happened to a PCI device. Nothing in here may wait.
    fn happened(&self, event: &Uevent, device: &CStr);
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
    /// How often it was started.
    start: u64,
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
    /// Takes events off the source until the waiter ends or [`Self::stop`] is called.
    pub fn watch<S: UeventSource>(
        &self,
        reader: &Mutex<Reader<S>>,
        waiter: &dyn UeventWaiter,
        reactions: &dyn Reactions,
    ) {
        let start = reader.lock().start;
        while self.wait_for_room(start) {
            let retry = {
                let mut reader = reader.lock();
                while self.take_next(&mut reader, reactions) {}
                reader.lost
            };
            let retry = !self.wake(reactions) || retry;
            self.look_at_unseen(reader);
            if !waiter.wait(retry.then_some(RETRY)) {
                return;
            }
        }
    }

    /// Takes the next thing off the source, if there is one and room for it: whether there was.
    pub fn take_next<S: UeventSource>(
        &self,
        reader: &mut Reader<S>,
        reactions: &dyn Reactions,
    ) -> bool {
        if !self.has_room(reader.start) {
            return false;
        }
        match reader.source.receive() {
            Incoming::Event(event) => self.accept(event, reader, reactions),
            Incoming::Foreign => self.counters.foreign.add(),
            Incoming::Malformed(why) => {
                self.counters.malformed.add();
                log::debug!("uevent monitor: a message makes no sense: {why}");
            }
            Incoming::Lost => {
                self.counters.overruns.add();
                reader.lost = true;
            }
            // Whatever was sent before the loss has been taken.
            Incoming::Nothing => {
                reader.lost = reader.lost && !self.catch_up(reader, reactions);
                return false;
            }
        }
        true
    }

    /// Begins with what the source shows; to be called before [`Self::watch`].
    pub fn begin<S: UeventSource>(&self, mut source: S) -> Result<Reader<S>> {
        let snapshot = source.snapshot()?;
        let mut state = self.state();
        state.tracker.begin(snapshot);
        state.stopping = false;
        state.start += 1;
        Ok(Reader { source, start: state.start, lost: false, has_caught_up: false })
    }

    /// Ends it: what the kernel has told and was not delivered is forgotten.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopping = true;
        state.tracker = Tracker::default();
        state.queue.retain(|item| matches!(item, Item::Leaving(_)));
        state.size = state.queue.iter().map(Item::size).sum();
        self.changed.notify_all();
    }

    /// Forgets all that was not delivered.
    pub fn forget_queued(&self) {
        let mut state = self.state();
        state.queue.clear();
        state.size = 0;
        self.changed.notify_all();
    }

    /// When devices are announced, from the next event on.
    pub fn set_policy(&self, policy: Policy) {
        self.state().policy = policy;
    }

    /// When devices are announced.
    pub fn policy(&self) -> Policy {
        self.state().policy
    }

    /// Keeps events as the kernel tells them, from the next one on, if there are callbacks for them.
    pub fn keep_uevents(&self, wanted_by: &Callbacks<Uevent>) {
        let mut state = self.state();
        state.with_uevents = !wanted_by.is_empty();
    }

    /// The kernel asks for a device back: told now, by the caller. Its removal is not told again.
    pub fn requested(&self, device: &CStr) {
        self.state().tracker.requested(device);
    }

    /// A device is being attached: whatever was told of its removal is over.
    pub fn attaching(&self, device: &CStr) {
        self.state().tracker.attaching(device);
    }

    /// A device has faulted: its removal is told unless it has been. Whether it is.
    pub fn report_fault(&self, device: &CStr) -> bool {
        let mut state = self.state();
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
        let mut state = self.state();
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
        !self.state().queue.is_empty()
    }

    /// Waits until something is queued: `false` when the thread that delivers is to end, see
    /// [`Self::end_delivery`].
    pub fn wait_for_item(&self, generation: u64) -> bool {
        let mut state = self.state();
        while state.queue.is_empty() && state.generation == generation {
            self.changed.wait(&mut state);
        }
        state.generation == generation
    }

    /// Whether something is to be delivered.
    pub fn has_queued(&self) -> bool {
        !self.state().queue.is_empty()
    }

    /// Names the threads that deliver from now on.
    pub fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Ends the threads that deliver.
    pub fn end_delivery(&self) {
        let mut state = self.state();
        state.generation += 1;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Whether what is queued will be delivered.
    fn wake(&self, reactions: &dyn Reactions) -> bool {
        self.state().queue.is_empty() || reactions.wake()
    }

    fn accept<S: UeventSource>(
        &self,
        event: Uevent,
        reader: &mut Reader<S>,
        reactions: &dyn Reactions,
    ) {
        self.counters.received.add();
        let is_removal = event.action() == Action::Remove;
        let news = {
            let mut state = self.state();
            let policy = state.policy;
            state.tracker.accept(event, policy, |device| reader.source.look(device))
        };
        let told_before =
            |news: &News| is_removal && news.event.pci_device().is_some() && news.notice.is_none();
        if news.is_empty() || news.iter().any(told_before) {
            self.counters.repeated.add();
        }
        self.tell(news, reactions);
    }

    /// Finds out what was missed: whether that worked.
    fn catch_up<S: UeventSource>(&self, reader: &mut Reader<S>, reactions: &dyn Reactions) -> bool {
        let snapshot = match reader.source.snapshot() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                log::debug!("uevent monitor: cannot look what was missed, trying again: {error}");
                return false;
            }
        };
        let missed = {
            let mut state = self.state();
            let policy = state.policy;
            state.tracker.catch_up(snapshot, policy)
        };
        let count = missed.len();
        self.tell(missed, reactions);
        let level = if reader.has_caught_up { log::Level::Debug } else { log::Level::Warn };
        reader.has_caught_up = true;
        log::log!(level, "uevent monitor: events were lost; {count} were found out by looking");
        true
    }

    /// Looks which functions they are that events have told of: the next at that address differs.
    fn look_at_unseen<S: UeventSource>(&self, reader: &Mutex<Reader<S>>) {
        let unseen = self.state().tracker.unseen();
        for device in unseen {
            let function = reader.lock().source.look(&device);
            if let Some(function) = function {
                self.state().tracker.seen(&device, &function);
            }
        }
    }

    fn tell(&self, news: Vec<News>, reactions: &dyn Reactions) {
        for news in news {
            // Before anybody works with what the device's address has next.
            if let Some(device) = news.event.pci_device() {
                reactions.happened(&news.event, device);
            }
            self.push(news);
        }
    }

    fn push(&self, news: News) {
        if news.event.seqnum() == 0 {
            self.counters.recovered.add();
        }
        let mut state = self.state();
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
        let mut state = self.state();
        let item = state.queue.pop_front()?;
        let was_full = state.size >= QUEUE_LIMIT;
        state.size -= item.size();
        if was_full && state.size < QUEUE_LIMIT {
            self.changed.notify_all();
        }
        Some(item)
    }

    fn has_room(&self, start: u64) -> bool {
        let state = self.state();
        state.size < QUEUE_LIMIT && state.is_watched(start)
    }

    /// Whether the reader may go on.
    fn wait_for_room(&self, start: u64) -> bool {
        let mut state = self.state();
        while state.size >= QUEUE_LIMIT && state.is_watched(start) {
            self.changed.wait(&mut state);
        }
        state.is_watched(start)
    }
}

impl State {
    /// Whether the monitor runs, and has not been started anew.
    fn is_watched(&self, start: u64) -> bool {
        !self.stopping && self.start == start
    }

    fn push(&mut self, item: Item) {
        self.size += item.size();
        self.queue.push_back(item);
    }
}
