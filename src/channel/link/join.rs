//! How a secondary comes to its primary.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use crate::sys::lock::{Condvar, Mutex};
use nix::errno::Errno;

use super::{Link, LinkOptions};
use crate::channel::connection::{Connection, Receiver};
use crate::channel::reactor::Reactor;
use crate::channel::workers::Workers;
use crate::channel::{SOCKET, seconds};
use crate::error::{Error, Kind, Result};
use crate::proto::wire::{Hello, Message};
use crate::sys::unix;

/// How long a secondary waits for its primary's answer when it starts.
const JOIN_LIMIT: Duration = Duration::from_secs(10);
/// How long a primary with many secondaries that start at once may be busy.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How far a secondary has come with its primary.
#[derive(Default, Debug, PartialEq, Eq)]
pub(super) enum Membership {
    #[default]
    Asked,
    Joining,
    Joined,
    Refused(String),
    Gone,
}

impl Link {
    /// Joins the primary whose runtime directory this is; `None` when there is none with this
    /// library. Returns when this process is in line with it.
    pub fn join(directory: &Path, options: LinkOptions) -> Result<Option<Arc<Self>>> {
        let path = directory.join(SOCKET);
        let Some(socket) = connect(&path)? else { return Ok(None) };
        if !unix::is_trusted(&socket) {
            options.counters.refused.add();
            let why = "multi-process: cannot join the primary: it is another user's process";
            return Err(Error::new(Kind::NotSupported, why));
        }
        let reactor = Arc::new(Reactor::start()?);
        let link = Arc::new_cyclic(|this| Self {
            options,
            connection: Mutex::default(),
            reactor,
            workers: Workers::default(),
            instance: AtomicU64::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
            next_call: AtomicU64::new(1),
            gone: AtomicBool::new(false),
            this: this.clone(),
        });
        let hello = Hello {
            pid: std::process::id(),
            embedded: link.options.embedded,
            eal_socket: link.options.eal_socket.as_bytes().to_vec(),
        };
        let receiver: Arc<dyn Receiver> = link.clone();
        let connection = Connection::open(0, socket, &link.reactor, receiver);
        // Before the hello: answers to what comes after it go through here.
        *link.connection.lock() = Some(connection.clone());
        connection.send(Message::Hello(hello).encode(0));
        match link.wait_until_joined() {
            Ok(()) => Ok(Some(link)),
            Err(error) => {
                link.close();
                Err(error)
            }
        }
    }

    fn wait_until_joined(&self) -> Result<()> {
        let limit = Instant::now() + JOIN_LIMIT;
        let mut state = self.state.lock();
        loop {
            let failed = |kind, why: &str| {
                Error::new(kind, format!("multi-process: cannot join the primary: {why}"))
            };
            match &state.membership {
                Membership::Joined => return Ok(()),
                Membership::Refused(why) => return Err(failed(Kind::NotSupported, why)),
                Membership::Gone => return Err(failed(Kind::NoAnswer, "it has gone")),
                // The devices take the time that they take; the primary does not.
                Membership::Joining => {
                    let heard = state.heard;
                    let silent = self.changed.wait_for(&mut state, JOIN_LIMIT);
                    if silent && state.syncing == 0 && state.heard == heard {
                        let why = format!("it has said nothing for {}", seconds(JOIN_LIMIT));
                        return Err(failed(Kind::NoAnswer, &why));
                    }
                }
                Membership::Asked => {
                    if self.changed.wait_until(&mut state, limit) {
                        let why = format!("no answer within {}", seconds(JOIN_LIMIT));
                        return Err(failed(Kind::NoAnswer, &why));
                    }
                }
            }
        }
    }
}

/// Connects to a primary, or `None` when none listens there.
fn connect(path: &Path) -> Result<Option<unix::Socket>> {
    let limit = Instant::now() + CONNECT_LIMIT;
    loop {
        match unix::connect_to(path) {
            Ok(socket) => return Ok(Some(socket)),
            Err(Errno::ENOENT | Errno::ECONNREFUSED) => return Ok(None),
            // Its queue of connections is full.
            Err(Errno::EAGAIN) if Instant::now() < limit => {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(errno) => {
                return Err(Error::new(
                    Kind::Code(-(errno as i32)),
                    format!(
                        "multi-process: cannot connect to {}: {}",
                        path.display(),
                        errno.desc()
                    ),
                ));
            }
        }
    }
}
