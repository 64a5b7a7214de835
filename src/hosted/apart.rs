//! The mark of a secondary with this library that has not joined yet, or has left. Its EAL socket is
//! there: without the mark its primary would take it for a process without the library.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// Stands before the name of its EAL socket. EAL takes no notice of such names.
const PREFIX: &str = "hotplug_apart_";

/// A mark; removed on drop.
pub struct Mark(PathBuf);

impl Mark {
    /// Marks the process with this EAL socket; `None` when that fails, which costs others little.
    pub fn set(directory: &Path, socket: &OsStr) -> Option<Self> {
        let path = path(directory, socket);
        File::create(&path).ok().map(|_| Self(path))
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Whether the process with this EAL socket is about to join, or to end.
pub fn is_set(directory: &Path, socket: &OsStr) -> bool {
    path(directory, socket).exists()
}

/// The process has died.
pub fn clear(directory: &Path, socket: &OsStr) {
    let _ = fs::remove_file(path(directory, socket));
}

fn path(directory: &Path, socket: &OsStr) -> PathBuf {
    let mut name = OsString::from(PREFIX);
    name.push(socket);
    directory.join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_lasts_as_long_as_it_is_kept() {
        let directory = std::env::temp_dir();
        let socket = OsString::from(format!("mp_socket_{}_test", std::process::id()));
        assert!(!is_set(&directory, &socket));
        let mark = Mark::set(&directory, &socket);
        assert!(mark.is_some() && is_set(&directory, &socket));
        drop(mark);
        assert!(!is_set(&directory, &socket));
        std::mem::forget(Mark::set(&directory, &socket));
        clear(&directory, &socket);
        assert!(!is_set(&directory, &socket), "one that has died");
    }
}
