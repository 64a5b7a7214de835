//! Where the processes of an embedded group meet: the runtime directory of their file prefix, by
//! EAL's rules, and the lock that makes one of them the primary.

use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};

use crate::error::{Error, Kind, Result};

/// `--file-prefix` when there is none, as in EAL.
pub const DEFAULT_PREFIX: &str = "rte";
const LOCK: &str = "hotplug.lock";

/// Held by the primary while it lives; a forked child does not inherit it.
pub struct PrimaryLock(#[expect(dead_code, reason = "the lock lives as long as the file")] File);

/// The runtime directory: `/var/run/dpdk/PREFIX` for root, `$XDG_RUNTIME_DIR/dpdk/PREFIX` otherwise
/// (or in `/tmp`). It is made if it is not there.
pub fn directory(prefix: Option<&str>) -> Result<PathBuf> {
    let base = if nix::unistd::geteuid().is_root() {
        PathBuf::from("/var/run")
    } else {
        std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from)
    };
    let directory = base.join("dpdk").join(prefix.unwrap_or(DEFAULT_PREFIX));
    DirBuilder::new().recursive(true).mode(0o700).create(&directory).map_err(|error| {
        Error::new(
            Kind::Code(-error.raw_os_error().unwrap_or(libc::EIO)),
            format!(
                "the runtime directory {} cannot be made: {error}: set XDG_RUNTIME_DIR, or \
                 --no-shconf for a process without others",
                directory.display()
            ),
        )
    })?;
    Ok(directory)
}

/// Becomes the primary of the directory; `None` while another process is.
pub fn lock(directory: &Path) -> Result<Option<PrimaryLock>> {
    let path = directory.join(LOCK);
    let failed = |error: String| {
        Error::new(Kind::NotSupported, format!("{}: cannot be locked: {error}", path.display()))
    };
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| failed(error.to_string()))?;
    match fcntl(&file, FcntlArg::F_SETLK(&whole_file())) {
        Ok(_) => Ok(Some(PrimaryLock(file))),
        Err(Errno::EAGAIN | Errno::EACCES) => Ok(None),
        Err(errno) => Err(failed(errno.desc().to_owned())),
    }
}

/// Whether a primary holds the lock, or is starting.
pub fn is_locked(directory: &Path) -> bool {
    let Ok(file) = File::options().write(true).open(directory.join(LOCK)) else { return false };
    let mut lock = whole_file();
    let asked = fcntl(&file, FcntlArg::F_GETLK(&mut lock));
    asked.is_ok() && lock.l_type != libc::F_UNLCK as libc::c_short
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
