//! The monitor with a made-up kernel: bursts, slow callbacks, lost events, and what is found out by
//! looking. The kernel here has a socket buffer of a size that the test chooses.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::{CStr, CString};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rte_hotplug::engine::callbacks::{CallbackId, Callbacks, Event};
use rte_hotplug::engine::monitor::{Counts, Monitor, QUEUE_LIMIT, Reactions};
use rte_hotplug::engine::tracker::{Policy, Snapshot};
use rte_hotplug::error::{Error, Kind, Result};
use rte_hotplug::ports::{Incoming, UeventSource, UeventWaiter};
use rte_hotplug::proto::pci::Function;
use rte_hotplug::proto::uevent::{Action, Malformed, Uevent};
use rte_hotplug::sys::lock::{Condvar, Mutex};

/// So long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A kernel with PCI functions.
#[derive(Default)]
struct Kernel {
    state: Mutex<KernelState>,
    changed: Condvar,
}

#[derive(Default)]
struct KernelState {
    functions: BTreeMap<CString, Function>,
    seqnum: u64,
    socket: VecDeque<Incoming>,
    room: usize,
    lost: bool,
    stopped: bool,
    /// How often looking fails.
    failing_looks: u32,
}

impl Kernel {
    fn new(room: usize) -> Arc<Self> {
        let kernel = Self::default();
        kernel.state.lock().room = room;
        Arc::new(kernel)
    }

    /// Adds or removes functions, all at once for whoever reads.
    fn change(&self, changes: impl IntoIterator<Item = (Action, CString)>) {
        let mut state = self.state.lock();
        for (action, device) in changes {
            state.seqnum += 1;
            let seqnum = state.seqnum;
            match action {
                Action::Add => drop(state.functions.insert(device.clone(), function(seqnum))),
                Action::Remove => drop(state.functions.remove(&device)),
                _ => {}
            }
            state.send(Incoming::Event(uevent(action, &device, seqnum)));
        }
        self.changed.notify_all();
    }

    fn send(&self, incoming: Incoming) {
        self.state.lock().send(incoming);
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }
}

impl KernelState {
    fn send(&mut self, incoming: Incoming) {
        if self.socket.len() < self.room {
            self.socket.push_back(incoming);
        } else {
            self.lost = true;
        }
    }
}

fn function(identity: u64) -> Function {
    Function { identity, devpath: c"/devices/made-up".to_owned(), driver: None }
}

fn uevent(action: Action, device: &CStr, seqnum: u64) -> Uevent {
    let message = Uevent::found_out(action, device, c"/devices/made-up", None).to_message();
    let text = String::from_utf8(message).unwrap();
    Uevent::parse(text.replace("SEQNUM=0", &format!("SEQNUM={seqnum}")).as_bytes()).unwrap()
}

fn address(number: usize) -> CString {
    CString::new(format!("0000:{:02x}:{:02x}.0", number / 32, number % 32)).unwrap()
}

/// The monitor's end of the kernel.
struct Socket(Arc<Kernel>);

impl UeventSource for Socket {
    fn receive(&mut self) -> Incoming {
        let mut state = self.0.state.lock();
        // As the kernel does: the loss is told before what is still there.
        if std::mem::take(&mut state.lost) {
            return Incoming::Lost;
        }
        state.socket.pop_front().unwrap_or(Incoming::Nothing)
    }

    fn look(&mut self, device: &CStr) -> Option<Function> {
        self.0.state.lock().functions.get(device).cloned()
    }

    fn snapshot(&mut self) -> Result<Snapshot> {
        let mut state = self.0.state.lock();
        if state.failing_looks > 0 {
            state.failing_looks -= 1;
            return Err(Error::new(Kind::NotFound, "no sysfs for now"));
        }
        Ok(Snapshot { functions: state.functions.clone(), since: state.seqnum })
    }
}

struct Waiter(Arc<Kernel>);

impl UeventWaiter for Waiter {
    fn wait(&self, limit: Option<Duration>) -> bool {
        let mut state = self.0.state.lock();
        while !state.stopped && !state.lost && state.socket.is_empty() {
            match limit {
                None => self.0.changed.wait(&mut state),
                Some(limit) if self.0.changed.wait_for(&mut state, limit) => break,
                Some(_) => {}
            }
        }
        !state.stopped
    }
}

/// A monitor that runs, and what it has told.
struct Bench {
    kernel: Arc<Kernel>,
    /// The functions that were there at the start.
    before: BTreeSet<CString>,
    shared: Arc<Shared>,
    reader: Option<std::thread::JoinHandle<()>>,
    deliverer: Option<std::thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    monitor: Monitor,
    devices: Callbacks<Event>,
    uevents: Callbacks<Uevent>,
    told: Mutex<Vec<(CString, Event)>>,
    raw: Mutex<Vec<(Action, u64)>>,
    removed: Mutex<Vec<CString>>,
    changed: Condvar,
    gate: Mutex<bool>,
    gate_opened: Condvar,
}

impl Reactions for Shared {
    fn wake(&self) -> bool {
        true
    }

    fn happened(&self, event: &Uevent, device: &CStr) {
        if event.action() == Action::Remove {
            self.removed.lock().push(device.to_owned());
        }
    }
}

impl Bench {
    /// Begins to watch; callbacks wait while the gate is closed.
    fn new(kernel: Arc<Kernel>, gate_is_open: bool, policy: Policy) -> Self {
        let shared = Arc::new(Shared::default());
        *shared.gate.lock() = gate_is_open;
        let id = CallbackId { function: 1, argument: 0 };
        let to = shared.clone();
        let on_device = Box::new(move |device: &CStr, event: &Event| {
            let mut open = to.gate.lock();
            while !*open {
                to.gate_opened.wait(&mut open);
            }
            drop(open);
            to.told.lock().push((device.to_owned(), *event));
            to.changed.notify_all();
        });
        shared.devices.register(None, id, on_device).unwrap();
        let to = shared.clone();
        let on_uevent = Box::new(move |_: &CStr, event: &Uevent| {
            to.raw.lock().push((event.action(), event.seqnum()));
        });
        shared.uevents.register(None, id, on_uevent).unwrap();
        shared.monitor.keep_uevents(&shared.uevents);
        shared.monitor.set_policy(policy);

        let before = kernel.state.lock().functions.keys().cloned().collect();
        let reader = Mutex::new(shared.monitor.begin(Socket(kernel.clone())).unwrap());
        let (reading, waiter) = (shared.clone(), Waiter(kernel.clone()));
        let reader = std::thread::spawn(move || reading.monitor.watch(&reader, &waiter, &*reading));
        let delivering = shared.clone();
        let generation = shared.monitor.generation();
        let deliverer = std::thread::spawn(move || {
            while delivering.monitor.wait_for_item(generation) {
                delivering.monitor.deliver(&delivering.devices, &delivering.uevents, 32);
            }
        });
        Self { kernel, before, shared, reader: Some(reader), deliverer: Some(deliverer) }
    }

    fn open_gate(&self) {
        *self.shared.gate.lock() = true;
        self.shared.gate_opened.notify_all();
    }

    /// Waits until so much was told that the condition holds.
    fn wait_until(&self, what: &str, condition: impl Fn(&[(CString, Event)]) -> bool) {
        let mut told = self.shared.told.lock();
        while !condition(&told) {
            let late = self.shared.changed.wait_for(&mut told, PATIENCE);
            assert!(!late, "{what}: {:?} {:?}", told.len(), self.counts());
        }
    }

    /// Waits until those who were told know of all functions that there are, and of no other.
    fn wait_until_true(&self) {
        let there: BTreeSet<CString> = self.kernel.state.lock().functions.keys().cloned().collect();
        self.wait_until("the truth", |told| {
            let mut known = self.before.clone();
            for (device, event) in told {
                match event {
                    Event::Add => drop(known.insert(device.clone())),
                    Event::Remove => drop(known.remove(device)),
                }
            }
            known == there
        });
    }

    fn counts(&self) -> Counts {
        self.shared.monitor.counters.read()
    }

    fn told(&self) -> Vec<(CString, Event)> {
        self.shared.told.lock().clone()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.open_gate();
        self.kernel.stop();
        self.shared.monitor.stop();
        self.shared.monitor.end_delivery();
        for thread in [self.reader.take(), self.deliverer.take()].into_iter().flatten() {
            let ended = thread.join();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

#[test]
fn a_burst_is_delivered_one_to_one_however_slow_callbacks_are() {
    const EVENTS: usize = 100_000;
    let kernel = Kernel::new(usize::MAX);
    let bench = Bench::new(kernel.clone(), false, Policy::AtOnce);
    let expected: Vec<_> = (0..EVENTS)
        .map(|n| (if n % 2 == 0 { Action::Add } else { Action::Remove }, address(n / 2 % 1000)))
        .collect();
    kernel.change(expected.clone());
    bench.open_gate();
    bench.wait_until("all", |told| told.len() == EVENTS);
    for ((action, device), (told, event)) in expected.iter().zip(bench.told()) {
        assert_eq!((device, *action == Action::Add), (&told, event == Event::Add));
    }
    let counts = bench.counts();
    assert_eq!((counts.received, counts.delivered), (EVENTS as u64, EVENTS as u64));
    assert_eq!((counts.overruns, counts.recovered, counts.repeated), (0, 0, 0));
}

#[test]
fn what_was_lost_is_found_out_and_marked() {
    let kernel = Kernel::new(4);
    kernel.change((0..10).map(|n| (Action::Add, address(n))));
    kernel.state.lock().lost = false;
    kernel.state.lock().socket.clear();
    let bench = Bench::new(kernel.clone(), true, Policy::AtOnce);
    // Four fit, the rest is lost.
    let changes = (0..10).map(|n| (Action::Remove, address(n)));
    kernel.change(changes.chain((20..30).map(|n| (Action::Add, address(n)))));
    bench.wait_until_true();
    let told = bench.told();
    for (number, event) in
        (0..10).map(|n| (n, Event::Remove)).chain((20..30).map(|n| (n, Event::Add)))
    {
        let same = told.iter().filter(|told| **told == (address(number), event)).count();
        assert_eq!(same, 1, "{number} {event:?}");
    }
    let counts = bench.counts();
    assert!(counts.overruns >= 1, "{counts:?}");
    assert!(counts.recovered >= 16, "{counts:?}");
    // The last event is told in full after it was told.
    let shared = bench.shared.clone();
    drop(bench);
    let raw = shared.raw.lock();
    assert_eq!(raw.iter().filter(|(_, seqnum)| *seqnum == 0).count() as u64, counts.recovered);
    assert_eq!(shared.removed.lock().len(), 10);
}

#[test]
fn looking_is_tried_again_until_it_works() {
    let kernel = Kernel::new(0);
    let bench = Bench::new(kernel.clone(), true, Policy::AtOnce);
    kernel.state.lock().failing_looks = 3;
    kernel.change([(Action::Add, address(1))]);
    bench.wait_until("found out", |told| told.len() == 1);
    assert_eq!(kernel.state.lock().failing_looks, 0);
}

#[test]
fn a_full_queue_holds_the_reader_and_loses_nothing_for_good() {
    let one = uevent(Action::Add, &address(0), 1).size();
    let too_many = QUEUE_LIMIT / one + 1000;
    let kernel = Kernel::new(100);
    let bench = Bench::new(kernel.clone(), false, Policy::AtOnce);
    // As fast as they are taken, until they are not taken any more.
    let mut sent = 0;
    while !kernel.state.lock().lost {
        assert!(sent < too_many, "the queue has no limit");
        let room = 100 - kernel.state.lock().socket.len();
        kernel.change(
            (0..room.max(1)).map(|n| {
                (if (sent + n) % 2 == 0 { Action::Add } else { Action::Remove }, address(1))
            }),
        );
        sent += room.max(1);
    }
    kernel.change([(Action::Add, address(2)), (Action::Remove, address(1))]);
    bench.open_gate();
    bench.wait_until_true();
    assert!(bench.told().contains(&(address(2), Event::Add)));
    let last = bench.told().into_iter().rev().find(|(device, _)| *device == address(1)).unwrap();
    assert_eq!(last.1, Event::Remove);
    assert!(bench.counts().overruns >= 1);
}

#[test]
fn what_others_send_or_nobody_understands_is_counted_only() {
    let kernel = Kernel::new(100);
    let bench = Bench::new(kernel.clone(), true, Policy::AtOnce);
    kernel.send(Incoming::Foreign);
    kernel.send(Incoming::Malformed(Malformed::Unterminated));
    kernel.change([(Action::Change, address(1)), (Action::Add, address(1))]);
    bench.wait_until("the addition", |told| told.len() == 1);
    let counts = bench.counts();
    assert_eq!((counts.foreign, counts.malformed, counts.received), (1, 1, 2));
}

#[test]
fn a_request_for_a_device_is_told_in_turn_and_its_removal_once() {
    let kernel = Kernel::new(100);
    kernel.change([(Action::Add, address(1))]);
    kernel.state.lock().socket.clear();
    let bench = Bench::new(kernel.clone(), false, Policy::AtOnce);
    kernel.change([(Action::Add, address(2))]);
    // The gate is closed: both wait, and one of them is enough.
    bench.shared.monitor.queue_request(&address(1));
    bench.shared.monitor.queue_request(&address(1));
    bench.open_gate();
    let removes = |told: &[(CString, Event)]| {
        told.iter().filter(|told| **told == (address(1), Event::Remove)).count()
    };
    bench.wait_until("the request", |told| removes(told) == 1);
    // Asked again while the device is still attached: told again.
    bench.shared.monitor.queue_request(&address(1));
    bench.wait_until("the request again", |told| removes(told) == 2);
    kernel.change([(Action::Remove, address(1)), (Action::Add, address(3))]);
    bench.wait_until_true();
    assert_eq!(removes(&bench.told()), 2);
    assert_eq!(bench.counts().repeated, 2);
    assert_eq!(*bench.shared.removed.lock(), [address(1)]);
}

#[test]
fn stopped_it_tells_nothing_more() {
    let kernel = Kernel::new(100);
    let bench = Bench::new(kernel.clone(), false, Policy::AtOnce);
    kernel.change((0..10).map(|n| (Action::Add, address(n))));
    // The first may wait at the gate already.
    bench.shared.monitor.stop();
    bench.open_gate();
    kernel.change([(Action::Add, address(20))]);
    drop(bench.kernel.state.lock());
    let shared = bench.shared.clone();
    drop(bench);
    assert!(shared.told.lock().len() <= 1, "{:?}", *shared.told.lock());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is lost: at the end applications know of each device whether it is there, and they are
    /// told of a removal before the next device at that address.
    #[test]
    fn the_last_word_is_true(
        room in 0_usize..20,
        bursts in prop::collection::vec(prop::collection::vec(0_usize..6, 1..30), 1..8),
    ) {
        let kernel = Kernel::new(room);
        kernel.change((0..3).map(|n| (Action::Add, address(n))));
        kernel.state.lock().socket.clear();
        kernel.state.lock().lost = false;
        let bench = Bench::new(kernel.clone(), true, Policy::AtOnce);
        for burst in bursts {
            let changes: Vec<_> = {
                let state = kernel.state.lock();
                let mut there = state.functions.clone();
                burst.into_iter().map(|n| {
                    let device = address(n);
                    if there.remove(&device).is_some() {
                        return (Action::Remove, device);
                    }
                    there.insert(device.clone(), function(0));
                    (Action::Add, device)
                }).collect()
            };
            kernel.change(changes);
        }
        // After it nothing is told but what is found out.
        let last = address(40);
        kernel.change([(Action::Add, last.clone())]);
        bench.wait_until("the last", |told| told.iter().any(|(device, _)| *device == last));
        bench.wait_until_true();
        let told = bench.told();
        for number in 0..6 {
            let device = address(number);
            let mut known = number < 3;
            for (_, event) in told.iter().filter(|(told, _)| *told == device) {
                prop_assert!(*event == Event::Remove || !known, "{device:?} twice: {told:?}");
                known = *event == Event::Add;
            }
        }
    }
}
