//! EAL's own multi-process socket, for what has to come from there: a peer without this library takes
//! an answer only from the socket that it asked. Sends of ours never wait in the kernel.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::sys::lock::Mutex;
use nix::errno::Errno;

use super::Hosted;
use crate::proto::eal::{Alignment, Kind, MESSAGE_SIZE, datagram};
use crate::sys::peers::PRIMARY;
use crate::sys::unix;

/// How often a full queue is tried again.
const RETRY: Duration = Duration::from_millis(1);

/// A second descriptor of EAL's socket.
pub struct EalSocket {
    socket: unix::Socket,
    name: OsString,
    alignment: Alignment,
}

static OWN: Mutex<Option<Arc<EalSocket>>> = Mutex::new(None);

/// EAL's socket in this process, if it has one.
pub fn own(hosted: &Hosted) -> Option<Arc<EalSocket>> {
    let mut own = OWN.lock();
    if own.is_none() {
        let directory = hosted.eal.runtime_directory()?;
        *own = EalSocket::find(directory, hosted.alignment()).map(Arc::new);
    }
    own.clone()
}

/// EAL is about to close its socket.
pub fn forget() {
    *OWN.lock() = None;
}

impl EalSocket {
    /// By what this process has bound: pids repeat in containers, and files of dead processes stay.
    fn find(directory: &Path, alignment: Alignment) -> Option<Self> {
        let (descriptor, path) = unix::bound().into_iter().find(|(_, path)| {
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            path.parent() == Some(directory) && name.starts_with(PRIMARY.as_bytes())
        })?;
        let socket = unix::duplicate(descriptor)?;
        Some(Self { socket, name: path.file_name()?.to_owned(), alignment })
    }

    /// Its file name.
    pub fn name(&self) -> &OsString {
        &self.name
    }

    /// Sends a message to the socket at `to`. A full queue is tried again for at most `limit`; the
    /// result is whether it went out.
    pub fn send(
        &self,
        kind: Kind,
        message: &[u8; MESSAGE_SIZE],
        to: &Path,
        limit: Duration,
    ) -> bool {
        let datagram = datagram(kind, message, self.alignment);
        let end = Instant::now() + limit;
        loop {
            match unix::send_to(&self.socket, &datagram, to) {
                Ok(()) => return true,
                Err(Errno::EAGAIN | Errno::ENOBUFS) if Instant::now() < end => {
                    std::thread::sleep(RETRY);
                }
                Err(error) => {
                    let to = to.display();
                    log::debug!("multi-process: no answer to {to}: {}", error.desc());
                    return false;
                }
            }
        }
    }
}
