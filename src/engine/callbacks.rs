//! Event callbacks: register, unregister, process.
//!
//! The semantics are stock's since DPDK 24.11 with two repairs: a callback is never freed under a
//! running call, and a callback may unregister itself.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use crate::sys::lock::Mutex;

use crate::error::{Error, Kind, Result};
use crate::sys::fork::Thread;

/// What happened to a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// `RTE_DEV_EVENT_ADD`: it became available for probing.
    Add,
    /// `RTE_DEV_EVENT_REMOVE`: it is gone.
    Remove,
}

/// Identifies a callback: function and argument, as the C caller gave them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallbackId {
    /// The function's address.
    pub function: usize,
    /// The user argument.
    pub argument: usize,
}

/// The argument value that matches every argument on unregister.
pub const ANY_ARGUMENT: usize = usize::MAX;

type Invoke<E> = Box<dyn Fn(&CStr, &E) + Send + Sync>;

struct Callback<E> {
    id: CallbackId,
    /// The subject it is for; `None` means all.
    subject: Option<CString>,
    invoke: Invoke<E>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    removed: bool,
    /// The threads that are inside it, one entry per call.
    running: Vec<Thread>,
}

/// The callbacks that are registered for events of one kind, called in order of registration.
pub struct Callbacks<E> {
    list: Mutex<Vec<Arc<Callback<E>>>>,
}

impl<E> Default for Callbacks<E> {
    fn default() -> Self {
        Self { list: Mutex::default() }
    }
}

impl<E> Callbacks<E> {
    /// Registers a callback for one subject, a device for instance, or for all with `None`.
    ///
    /// [`Kind::Exists`] when the same function, argument and subject are registered.
    pub fn register(
        &self,
        subject: Option<&CStr>,
        id: CallbackId,
        invoke: Invoke<E>,
    ) -> Result<()> {
        let state = Mutex::default();
        let callback = Callback { id, subject: subject.map(CStr::to_owned), invoke, state };
        let mut list = self.list.lock();
        if list.iter().any(|c| c.id == id && c.subject.as_deref() == subject) {
            // What the caller gave is dropped with no lock held: it may call us.
            drop(list);
            return Err(Error::new(
                Kind::Exists,
                "event callback: the same function and argument are registered for it already",
            ));
        }
        list.push(Arc::new(callback));
        Ok(())
    }

    /// Unregisters every match and returns how many there were.
    ///
    /// `subject` `None` matches every subject, [`ANY_ARGUMENT`] every argument. When one of the
    /// matches runs in another thread all stay registered and the error is [`Kind::Again`]; after a
    /// success none of them runs, except one that unregistered itself from inside.
    pub fn unregister(&self, subject: Option<&CStr>, id: CallbackId) -> Result<usize> {
        // Dropped last, with no lock held: what it was registered with may call us.
        let matching: Vec<_>;
        let mut list = self.list.lock();
        matching = list.iter().filter(|c| c.matches(subject, id)).cloned().collect();
        if matching.is_empty() {
            return Err(Error::new(Kind::NotFound, "event callback: no such registration"));
        }
        // A callback starts only with the list locked, so what rests now stays at rest.
        if matching.iter().any(|c| c.state.lock().running.iter().any(|t| t.is_elsewhere())) {
            return Err(Error::new(
                Kind::Again,
                "event callback: it runs in another thread: unregister it again when it is done",
            ));
        }
        for callback in &matching {
            callback.state.lock().removed = true;
        }
        list.retain(|c| !c.state.lock().removed);
        Ok(matching.len())
    }

    /// Whether nobody wants to hear anything.
    pub fn is_empty(&self) -> bool {
        self.list.lock().is_empty()
    }

    /// Calls every callback that wants events of this subject, with no lock held.
    pub fn process(&self, subject: &CStr, event: &E) {
        let snapshot: Vec<_> = {
            let list = self.list.lock();
            list.iter().filter(|c| c.wants(subject)).cloned().collect()
        };
        for callback in snapshot {
            if let Some(_running) = self.start(&callback) {
                (callback.invoke)(subject, event);
            }
        }
    }

    /// Marks the callback as running here, unless it has been unregistered meanwhile.
    fn start<'a>(&self, callback: &'a Callback<E>) -> Option<Running<'a>> {
        let _list = self.list.lock();
        let mut state = callback.state.lock();
        if state.removed {
            return None;
        }
        state.running.push(Thread::current());
        Some(Running(&callback.state))
    }
}

impl<E> Callback<E> {
    fn matches(&self, subject: Option<&CStr>, id: CallbackId) -> bool {
        let argument = id.argument == ANY_ARGUMENT || self.id.argument == id.argument;
        let subject = subject.is_none() || self.subject.as_deref() == subject;
        self.id.function == id.function && argument && subject
    }

    fn wants(&self, subject: &CStr) -> bool {
        self.subject.as_deref().is_none_or(|mine| mine == subject)
    }
}

struct Running<'a>(&'a Mutex<State>);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        if let Some(at) = state.running.iter().rposition(|t| t.is_here()) {
            state.running.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;
    use std::thread;

    const ID: CallbackId = CallbackId { function: 1, argument: 2 };

    fn counter(hits: &Arc<AtomicUsize>) -> Invoke<Event> {
        let hits = hits.clone();
        Box::new(move |_, _| {
            hits.fetch_add(1, Ordering::SeqCst);
        })
    }

    #[test]
    fn names_are_compared_exactly() {
        let (callbacks, hits) = (Callbacks::default(), Arc::default());
        callbacks.register(Some(c"a"), ID, counter(&hits)).unwrap();
        callbacks.process(c"ab", &Event::Add);
        callbacks.process(c"a", &Event::Add);
        assert_eq!(hits.load(Ordering::SeqCst), 1);
        let twice = callbacks.register(Some(c"a"), ID, counter(&hits)).unwrap_err();
        assert_eq!(twice.kind(), Kind::Exists);
    }

    #[test]
    fn unregister_needs_function_argument_and_device() {
        let (callbacks, hits) = (Callbacks::default(), Arc::default());
        for (device, argument) in [(None, 2), (Some(c"a"), 2), (Some(c"b"), 3)] {
            callbacks.register(device, CallbackId { argument, ..ID }, counter(&hits)).unwrap();
        }
        let other = CallbackId { function: 9, argument: ANY_ARGUMENT };
        assert_eq!(callbacks.unregister(None, other).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(callbacks.unregister(Some(c"b"), ID).unwrap_err().kind(), Kind::NotFound);
        assert_eq!(callbacks.unregister(None, ID).unwrap(), 2);
        let any = CallbackId { argument: ANY_ARGUMENT, ..ID };
        assert_eq!(callbacks.unregister(Some(c"b"), any).unwrap(), 1);
    }

    #[test]
    fn a_callback_unregisters_itself() {
        let callbacks: Arc<Callbacks<Event>> = Arc::default();
        let (inner, (tx, rx)) = (callbacks.clone(), channel());
        let tx = Mutex::new(tx);
        let invoke: Invoke<Event> = Box::new(move |_, _| {
            tx.lock().send(inner.unregister(None, ID).unwrap()).unwrap();
        });
        callbacks.register(None, ID, invoke).unwrap();
        callbacks.process(c"a", &Event::Remove);
        callbacks.process(c"a", &Event::Remove);
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn running_elsewhere_means_again_and_all_stay() {
        let callbacks: Arc<Callbacks<Event>> = Arc::default();
        let ((entered, inside), (leave, may_leave)) = (channel(), channel::<()>());
        let ends = Mutex::new((entered, may_leave));
        let invoke: Invoke<Event> = Box::new(move |_, _| {
            let ends = ends.lock();
            ends.0.send(()).unwrap();
            ends.1.recv().unwrap();
        });
        callbacks.register(Some(c"a"), ID, invoke).unwrap();
        callbacks.register(Some(c"b"), ID, Box::new(|_, _| ())).unwrap();
        let runner = callbacks.clone();
        let thread = thread::spawn(move || runner.process(c"a", &Event::Add));
        inside.recv().unwrap();
        assert_eq!(callbacks.unregister(None, ID).unwrap_err().kind(), Kind::Again);
        leave.send(()).unwrap();
        thread.join().unwrap();
        assert_eq!(callbacks.unregister(None, ID).unwrap(), 2);
    }
}
