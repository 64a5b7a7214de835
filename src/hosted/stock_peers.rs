//! Processes without this library, asked on EAL's wire.
//!
//! Each operation has a datagram socket of its own, so an answer belongs to it, one that comes too
//! late goes nowhere, and nobody waits for anybody else's queue. A peer answers to the path that the
//! request came from.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr, OsString};
use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::sys::lock::Lazy;
use crate::sys::lock::Mutex;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::apart;
use crate::channel::now;
use crate::channel::operation::{Event, Inbox};
use crate::channel::reactor::{Reactor, Ready, Source, Token};
use crate::channel::stock::{StockPeers, StockSession};
use crate::engine::answer::Answer as StepAnswer;
use crate::engine::coordinator::PeerId;
use crate::error::{Error, Kind, Result};
use crate::proto::eal::{self, Alignment, Answer, EAL_DEVARGS_SIZE, EalRequest};
use crate::proto::wire::Step;
use crate::sys::peers::Secondaries;
use crate::sys::unix;

/// The file names of our sockets begin with this; a secondary with this library knows by it that its
/// primary has it too. EAL takes no notice of such names.
pub const SOCKET_PREFIX: &str = "hotplug_ask_";

/// Many times what a secondary needs from its socket to its mark, on a machine that is overloaded, too.
/// Only what a stock secondary could not take waits for it.
const NEW: Duration = Duration::from_secs(2);

/// The stock secondaries of a group.
pub struct Peers {
    directory: PathBuf,
    alignment: Alignment,
    secondaries: Secondaries,
}

impl Peers {
    /// Those in this runtime directory; the alignment is that of the host's version.
    pub fn of(directory: &Path, alignment: Alignment) -> Self {
        remove_leftovers(directory);
        let secondaries = Secondaries::of(directory);
        Self { directory: directory.to_owned(), alignment, secondaries }
    }
}

impl StockPeers for Peers {
    fn sockets(&self) -> Vec<OsString> {
        self.secondaries.sockets()
    }

    fn is_there(&self, socket: &OsStr) -> bool {
        let path = self.directory.join(socket);
        let there = unix::is_bound(&path);
        if !there {
            // Left by a process that has died; EAL removes it too.
            let _ = std::fs::remove_file(path);
            apart::clear(&self.directory, socket);
        }
        // One that starts will join, and is told then; one that ends needs nothing.
        there && !apart::is_set(&self.directory, socket)
    }

    fn is_new(&self, socket: &OsStr) -> bool {
        let made =
            std::fs::symlink_metadata(self.directory.join(socket)).and_then(|m| m.modified());
        made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age < NEW))
    }

    fn open(&self, reactor: &Arc<Reactor>, inbox: &Arc<Inbox>) -> Result<Box<dyn StockSession>> {
        let own = OwnSocket::open(&self.directory)?;
        let asking = Arc::new(Asking {
            socket: own.socket.clone(),
            alignment: self.alignment,
            directory: self.directory.clone(),
            inbox: inbox.clone(),
            asked: Mutex::default(),
        });
        let token = reactor.watch(asking.clone());
        Ok(Box::new(Session { _own: own, asking, token }))
    }
}

/// Removes the sockets of processes that died while they asked.
fn remove_leftovers(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.as_encoded_bytes().starts_with(SOCKET_PREFIX.as_bytes());
        if ours && !unix::is_bound(&entry.path()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A bound socket, unlinked on drop.
pub struct OwnSocket {
    /// The socket.
    pub socket: Arc<unix::Socket>,
    path: PathBuf,
}

impl OwnSocket {
    /// Binds a new path in the runtime directory.
    pub fn open(directory: &Path) -> Result<Self> {
        // Pids repeat in containers that share a directory: a number that starts anywhere does not.
        static NUMBER: Lazy<AtomicU64> =
            Lazy::new(|| AtomicU64::new(RandomState::new().hash_one(std::process::id())));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = directory.join(format!("{SOCKET_PREFIX}{number:x}"));
        let socket = unix::datagrams_at(&path).map_err(|errno| {
            Error::new(
                Kind::Code(-(errno as i32)),
                format!("multi-process: cannot bind {}: {}", path.display(), errno.desc()),
            )
        })?;
        Ok(Self { socket: Arc::new(socket), path })
    }
}

impl Drop for OwnSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

struct Session {
    _own: OwnSocket,
    asking: Arc<Asking>,
    token: Token,
}

struct Asking {
    socket: Arc<unix::Socket>,
    alignment: Alignment,
    directory: PathBuf,
    inbox: Arc<Inbox>,
    asked: Mutex<HashMap<PathBuf, Asked>>,
}

/// What a peer was asked last.
struct Asked {
    peer: PeerId,
    request: EalRequest,
    datagram: Vec<u8>,
    sent: bool,
    answered: bool,
}

impl StockSession for Session {
    fn send(&mut self, peer: PeerId, socket: &OsStr, step: Step, devargs: &CStr) {
        let devargs = fitting(step, devargs);
        let request = EalRequest { step, devargs, result: 0 };
        let datagram = eal::request(&request, self.asking.alignment);
        let path = self.asking.directory.join(socket);
        let asked = Asked { peer, request, datagram, sent: false, answered: false };
        let mut all = self.asking.asked.lock();
        let asked = all.entry(path.clone()).insert_entry(asked).into_mut();
        self.asking.try_send(&path, asked);
    }

    fn look_after(&mut self) {
        for (path, asked) in self.asking.asked.lock().iter_mut() {
            if !asked.sent {
                self.asking.try_send(path, asked);
            } else if !asked.answered && !unix::is_bound(path) {
                self.asking.gone(path, asked);
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.asking.asked.lock().values().all(|asked| asked.answered)
    }

    fn close(self: Box<Self>, reactor: &Reactor) {
        reactor.forget(self.token);
    }
}

impl Asking {
    fn try_send(&self, path: &Path, asked: &mut Asked) {
        match unix::send_to(&self.socket, &asked.datagram, path) {
            Ok(()) => asked.sent = true,
            // Its queue is full: tried again until its time is over.
            Err(Errno::EAGAIN | Errno::ENOBUFS) => {}
            Err(Errno::ECONNREFUSED | Errno::ENOENT) => self.gone(path, asked),
            Err(errno) => {
                (asked.sent, asked.answered) = (true, true);
                let why = format!("cannot send to {}: {}", path.display(), errno.desc());
                let failed = StepAnswer::Failed(-(errno as i32), why);
                self.inbox.push(Event::Replied(asked.peer, asked.request.step, failed));
            }
        }
    }

    /// Nobody is there any more; the file is removed, as EAL does.
    fn gone(&self, path: &Path, asked: &mut Asked) {
        (asked.sent, asked.answered) = (true, true);
        let _ = std::fs::remove_file(path);
        self.inbox.push(Event::Gone(asked.peer));
    }

    fn answer(&self, bytes: &[u8], from: &Path) {
        let Some(answer) = eal::answer(bytes, self.alignment) else { return };
        let mut all = self.asked.lock();
        let Some(asked) = all.get_mut(from).filter(|asked| !asked.answered) else { return };
        match answer {
            Answer::Reply(reply) if answers(&asked.request, &reply) => {
                asked.answered = true;
                let (peer, step) = (asked.peer, asked.request.step);
                let answer = StepAnswer::from_code(step, reply.result);
                self.inbox.push(Event::Replied(peer, step, answer));
            }
            // A late answer to the step before.
            Answer::Reply(_) => {}
            Answer::Starting => {
                asked.answered = true;
                self.inbox.push(Event::Gone(asked.peer));
            }
        }
    }
}

impl Source for Asking {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn ready(self: Arc<Self>, _ready: Ready) -> bool {
        let mut buffer = [0; 512];
        while let Ok(Some((length, from))) = unix::receive_from(&self.socket, &mut buffer) {
            if let Some(from) = from {
                self.answer(&buffer[..length], &from);
            }
        }
        true
    }
}

/// Asks the stock primary, whose EAL socket is `primary`, and waits for its answer: at most the time
/// `limit`, after which nobody knows what it will still do.
pub fn ask_primary(
    directory: &Path,
    primary: &Path,
    alignment: Alignment,
    request: &EalRequest,
    limit: Duration,
) -> Result<i32> {
    let own = OwnSocket::open(directory)?;
    let datagram = eal::request(request, alignment);
    let end = now() + limit;
    let mut sent = false;
    let mut buffer = [0; 512];
    loop {
        if !sent {
            match unix::send_to(&own.socket, &datagram, primary) {
                Ok(()) => sent = true,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {}
                Err(_) => return Err(silent("the primary process is gone")),
            }
        } else if !unix::is_bound(primary) {
            return Err(silent("the primary process is gone"));
        }
        let mut look = [PollFd::new(own.socket.as_fd(), PollFlags::POLLIN)];
        // Short: the primary's end can only be seen by looking.
        let _ = poll(&mut look, PollTimeout::from(20u8));
        while let Ok(Some((length, _))) = unix::receive_from(&own.socket, &mut buffer) {
            match eal::answer(&buffer[..length], alignment) {
                Some(Answer::Reply(reply)) => return Ok(reply.result),
                Some(Answer::Starting) => return Err(silent("the primary process still starts")),
                None => {}
            }
        }
        if now() >= end {
            return Err(silent("the primary process has not answered in time"));
        }
    }
}

/// Whether an answer is one to this request. Devargs come back as they were sent, but where the peer
/// knew better ones.
fn answers(request: &EalRequest, reply: &EalRequest) -> bool {
    reply.step == request.step
        && (reply.devargs == request.devargs || request.step == Step::DetachRollback)
}

fn silent(why: &'static str) -> Error {
    Error::new(Kind::NoAnswer, why)
}

/// What fits into EAL's request. A device that is detached is known by its name; arguments that do
/// not fit are left out where it is attached again.
fn fitting(step: Step, devargs: &CStr) -> CString {
    let fits = devargs.count_bytes() < EAL_DEVARGS_SIZE;
    if fits && matches!(step, Step::Attach | Step::AttachRollback | Step::DetachRollback) {
        return devargs.to_owned();
    }
    let name = devargs.to_bytes().split(|b| *b == b',').next().unwrap_or_default();
    CString::new([name, b","].concat()).unwrap_or_default()
}
