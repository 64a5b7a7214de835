//! Secondary processes of a DPDK primary, seen by the EAL sockets in its runtime directory.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};

/// A primary's socket is `mp_socket`, a secondary's `mp_socket_PID_TSC`.
const SECONDARY: &[u8] = b"mp_socket_";

/// Whether a secondary process answers at its EAL socket in `directory`.
///
/// Sockets that dead processes left behind do not count; when in doubt the answer is yes.
pub fn secondaries_live(directory: &Path) -> bool {
    let Ok(entries) = fs::read_dir(directory) else { return false };
    entries
        .flatten()
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(SECONDARY))
        .any(|entry| answers(&entry.path()))
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
        let directory =
            std::env::temp_dir().join(format!("rte_hotplug_peers_{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        assert!(!secondaries_live(&directory.join("absent")));
        let primary = UnixDatagram::bind(directory.join("mp_socket")).unwrap();
        assert!(!secondaries_live(&directory));
        let secondary = UnixDatagram::bind(directory.join("mp_socket_1_2")).unwrap();
        assert!(secondaries_live(&directory));
        drop(secondary);
        assert!(!secondaries_live(&directory), "a stale socket file is no process");
        drop(primary);
        fs::remove_dir_all(&directory).unwrap();
    }
}
