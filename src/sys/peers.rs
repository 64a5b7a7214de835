//! Secondary processes of a DPDK primary, seen by the EAL sockets in its runtime directory.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use parking_lot::Mutex;

/// A primary's socket is `mp_socket`, a secondary's `mp_socket_PID_TSC`.
const SECONDARY: &[u8] = b"mp_socket_";

/// More than the tick in which the kernel counts a directory's modification time.
const TICK: Duration = Duration::from_millis(20);

/// Looks for the sockets of secondaries, and reads the directory only when it may have changed.
#[derive(Default)]
pub struct Secondaries {
    /// The modification time at which the directory was seen without any such socket.
    none_at: Mutex<Option<SystemTime>>,
}

impl Secondaries {
    /// Whether a secondary process answers at its EAL socket in `directory`.
    ///
    /// Sockets that dead processes left behind do not count; when in doubt the answer is yes.
    pub fn live(&self, directory: &Path) -> bool {
        let modified = fs::metadata(directory).and_then(|m| m.modified()).ok();
        if modified.is_some() && *self.none_at.lock() == modified {
            return false;
        }
        let now = SystemTime::now();
        let sockets = sockets(directory);
        // A socket made from now on changes the time, unless that lies within the current tick.
        let settled = modified.filter(|m| now.duration_since(*m).is_ok_and(|age| age > TICK));
        *self.none_at.lock() = settled.filter(|_| sockets.is_empty());
        sockets.iter().any(|name| answers(&directory.join(name)))
    }
}

/// The names of the secondaries' sockets.
fn sockets(directory: &Path) -> Vec<std::ffi::OsString> {
    let Ok(entries) = fs::read_dir(directory) else { return vec![] };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter(|name| name.as_encoded_bytes().starts_with(SECONDARY)).collect()
}

fn answers(path: &Path) -> bool {
    let probe = socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None);
    let (Ok(probe), Ok(address)) = (probe, UnixAddr::new(path)) else { return true };
    let result = connect(probe.as_raw_fd(), &address);
    !matches!(result, Err(Errno::ECONNREFUSED | Errno::ENOENT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn only_a_bound_socket_of_a_secondary_counts() {
        let name = format!("rte_hotplug_peers_{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        let seen = Secondaries::default();
        assert!(!seen.live(&directory.join("absent")));
        let primary = UnixDatagram::bind(directory.join("mp_socket")).unwrap();
        assert!(!seen.live(&directory));
        let secondary = UnixDatagram::bind(directory.join("mp_socket_1_2")).unwrap();
        assert!(seen.live(&directory), "in the same tick as the look before");
        drop(secondary);
        assert!(!seen.live(&directory), "a stale socket file is no process");
        fs::remove_file(directory.join("mp_socket_1_2")).unwrap();

        // Make the directory old, so that the next look is remembered.
        let old = SystemTime::now() - Duration::from_secs(10);
        fs::File::open(&directory).unwrap().set_modified(old).unwrap();
        assert!(!seen.live(&directory));
        assert!(seen.none_at.lock().is_some());
        let secondary = UnixDatagram::bind(directory.join("mp_socket_3_4")).unwrap();
        assert!(seen.live(&directory), "a later socket is seen");
        drop((primary, secondary));
        fs::remove_dir_all(&directory).unwrap();
    }
}
