//! One connection: frames in order, and no send that waits.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::sys::lock::Mutex;
use nix::errno::Errno;
use nix::sys::socket::{Shutdown, shutdown};

use super::reactor::{Reactor, Ready, Source};
use crate::proto::wire::{MAX_FRAME, Malformed, Message};
use crate::sys::unix::{Received, Socket, credentials, hung_up, receive, send_message};

/// How many frames wait for a peer that does not read before its connection is given up.
const MOST_WAITING: usize = 4096;
/// How many frames are read before others get their turn.
const FRAMES_PER_TURN: usize = 256;

/// Who gets what comes in.
pub trait Receiver: Send + Sync {
    /// The frames that were there, in order. Nothing in here may wait.
    fn received(&self, connection: &Arc<Connection>, frames: Vec<(u64, Message)>);
    /// Bytes that are no frame came in; the connection is closed after this.
    fn malformed(&self, connection: &Arc<Connection>, what: Malformed);
    /// The connection has ended. Called once.
    fn closed(&self, connection: &Arc<Connection>);
}

/// A connection.
pub struct Connection {
    /// For the receiver to know it by.
    pub id: u64,
    socket: Socket,
    reactor: Arc<Reactor>,
    receiver: Arc<dyn Receiver>,
    waiting: Mutex<VecDeque<Vec<u8>>>,
    blocked: AtomicBool,
    ended: AtomicBool,
}

impl Connection {
    /// Begins to receive.
    pub fn open(
        id: u64,
        socket: Socket,
        reactor: &Arc<Reactor>,
        receiver: Arc<dyn Receiver>,
    ) -> Arc<Self> {
        let connection = Arc::new(Self {
            id,
            socket,
            reactor: reactor.clone(),
            receiver,
            waiting: Mutex::default(),
            blocked: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        reactor.watch(connection.clone());
        connection
    }

    /// The process at the other end by the kernel's word; `None` where its pid is not visible here.
    pub fn peer_pid(&self) -> Option<i32> {
        credentials(&self.socket).ok().map(|peer| peer.pid()).filter(|pid| *pid > 0)
    }

    /// Sends a frame after those sent before, now or when the peer reads again.
    pub fn send(&self, frame: Vec<u8>) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() {
            match send_message(&self.socket, &frame) {
                Ok(()) => return,
                Err(Errno::EAGAIN | Errno::ENOBUFS) => {}
                // The reader sees the end, and tells.
                Err(_) => return self.close(),
            }
        }
        if waiting.len() >= MOST_WAITING {
            log::warn!("multi-process: a process does not read: its connection is closed");
            return self.close();
        }
        waiting.push_back(frame);
        self.blocked.store(true, Ordering::Release);
        drop(waiting);
        self.reactor.wake();
    }

    /// Ends the connection; the receiver is told from the reactor's thread.
    pub fn close(&self) {
        // Wakes the reader with an end-of-file.
        let _ = shutdown(self.socket.as_fd().as_raw_fd(), Shutdown::Both);
    }

    fn send_waiting(&self) {
        let mut waiting = self.waiting.lock();
        while let Some(frame) = waiting.front() {
            match send_message(&self.socket, frame) {
                Ok(()) => drop(waiting.pop_front()),
                Err(Errno::EAGAIN | Errno::ENOBUFS) => return,
                Err(_) => return self.close(),
            }
        }
        self.blocked.store(false, Ordering::Release);
    }

    /// Reads what is there; `false` at the end.
    fn read(self: &Arc<Self>) -> bool {
        thread_local! {
            static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; MAX_FRAME]);
        }
        BUFFER.with_borrow_mut(|buffer| self.read_into(buffer))
    }

    fn read_into(self: &Arc<Self>, buffer: &mut [u8]) -> bool {
        let mut frames = vec![];
        let mut bad = None;
        let mut more = true;
        while more && bad.is_none() && frames.len() < FRAMES_PER_TURN {
            match receive(&self.socket, buffer) {
                Ok(Received::Message(length)) => match Message::decode(&buffer[..length]) {
                    Ok(frame) => frames.push(frame),
                    Err(malformed) => {
                        let start = &buffer[..length.min(32)];
                        log::debug!("multi-process: no frame: {length} bytes, {start:02x?} …");
                        bad = Some(malformed);
                    }
                },
                Ok(Received::TooLong) => bad = Some(Malformed::Garbage),
                Ok(Received::Nothing) => break,
                // An empty frame looks like the end, but the peer has not hung up.
                Ok(Received::Empty) if !hung_up(&self.socket) => bad = Some(Malformed::Garbage),
                Ok(Received::Empty) | Err(_) => more = false,
            }
        }
        if !frames.is_empty() {
            self.receiver.received(self, frames);
        }
        if let Some(malformed) = bad {
            self.receiver.malformed(self, malformed);
            return false;
        }
        more
    }
}

impl Source for Connection {
    fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn wants_write(&self) -> bool {
        self.blocked.load(Ordering::Acquire)
    }

    fn ready(self: Arc<Self>, ready: Ready) -> bool {
        if ready.write {
            self.send_waiting();
        }
        if (ready.read || ready.hangup) && !self.read() {
            self.abandoned();
            return false;
        }
        true
    }

    fn abandoned(self: Arc<Self>) {
        self.close();
        if !self.ended.swap(true, Ordering::AcqRel) {
            self.receiver.closed(&self);
        }
    }
}
