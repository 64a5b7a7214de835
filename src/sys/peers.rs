//! The processes of a DPDK group, seen by the EAL sockets in its runtime directory.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::sys::lock::Mutex;

/// A primary's socket is `mp_socket`, a secondary's `mp_socket_PID_TSC`.
pub const PRIMARY: &str = "mp_socket";
const SECONDARY: &[u8] = b"mp_socket_";

/// More than the tick in which the kernel counts a directory's modification time.
const TICK: Duration = Duration::from_millis(20);

/// Looks for the sockets of secondaries, and reads the directory only when it may have changed.
pub struct Secondaries {
    directory: PathBuf,
    /// The directory, open: asking it is cheaper than looking its path up.
    open: Option<fs::File>,
    seen: Mutex<Option<Seen>>,
}

struct Seen {
    modified: SystemTime,
    sockets: Vec<OsString>,
}

impl Secondaries {
    /// Those in this runtime directory.
    pub fn of(directory: &Path) -> Self {
        let open = fs::File::open(directory).ok();
        Self { directory: directory.to_owned(), open, seen: Mutex::default() }
    }

    /// The names of their sockets; a dead process may have left one behind.
    pub fn sockets(&self) -> Vec<OsString> {
        let status = self.open.as_ref().and_then(|open| open.metadata().ok());
        let modified = status.and_then(|status| status.modified().ok());
        let mut seen = self.seen.lock();
        if let (Some(seen), Some(modified)) = (&*seen, modified) {
            if seen.modified == modified {
                return seen.sockets.clone();
            }
        }
        let now = SystemTime::now();
        let sockets = read_sockets(&self.directory);
        // A socket made from now on changes the time, unless that lies within the current tick.
        let settled = modified.filter(|m| now.duration_since(*m).is_ok_and(|age| age > TICK));
        *seen = settled.map(|modified| Seen { modified, sockets: sockets.clone() });
        sockets
    }
}

fn read_sockets(directory: &Path) -> Vec<OsString> {
    let Ok(entries) = fs::read_dir(directory) else { return vec![] };
    let names = entries.flatten().map(|entry| entry.file_name());
    names.filter(|name| name.as_encoded_bytes().starts_with(SECONDARY)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    #[test]
    fn sockets_of_secondaries_are_seen_at_once() {
        let name = format!("rte_hotplug_peers_{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        assert!(Secondaries::of(&directory).sockets().is_empty(), "no such directory");
        fs::create_dir_all(&directory).unwrap();
        let seen = Secondaries::of(&directory);
        let _primary = UnixDatagram::bind(directory.join("mp_socket")).unwrap();
        assert!(seen.sockets().is_empty());
        let _first = UnixDatagram::bind(directory.join("mp_socket_1_2")).unwrap();
        assert_eq!(seen.sockets(), ["mp_socket_1_2"], "in the same tick as the look before");

        // Make the directory old, so that the next look is remembered.
        let old = SystemTime::now() - Duration::from_secs(10);
        fs::File::open(&directory).unwrap().set_modified(old).unwrap();
        assert_eq!(seen.sockets().len(), 1);
        assert!(seen.seen.lock().is_some());
        let _second = UnixDatagram::bind(directory.join("mp_socket_3_4")).unwrap();
        assert_eq!(seen.sockets().len(), 2, "a later socket is seen");
        fs::remove_dir_all(&directory).unwrap();
    }
}
