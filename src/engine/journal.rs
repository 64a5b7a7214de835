//! What a secondary that joins has to be told: the devices that were hotplugged since the start, and
//! those that were removed. What every process finds by itself is not in it.

use std::collections::HashMap;
use std::ffi::{CStr, CString};

use crate::proto::wire::{Device, Step};

/// How many removed devices it keeps.
const TOMBSTONES: usize = 4096;

/// The journal.
#[derive(Default)]
pub struct Journal {
    entries: HashMap<Device, Entry>,
    next: u64,
}

struct Entry {
    /// Its place in the order of changes.
    number: u64,
    /// The devargs of an attached device; `None` for a removed one.
    devargs: Option<CString>,
}

impl Journal {
    /// An operation is over. `touched` says whether it changed the device in the primary at any time;
    /// `devargs` are the ones the device has or had.
    pub fn record(
        &mut self,
        device: &Device,
        step: Step,
        succeeded: bool,
        touched: bool,
        devargs: &CStr,
    ) {
        // One that starts meanwhile may have seen what was there for a moment: it has to be told too.
        let attached = match (step, succeeded) {
            (Step::Attach, true) => true,
            (Step::Detach, true) => false,
            (_, false) if !touched => return,
            (Step::Attach, false) => {
                if self.is_attached(device) {
                    return;
                }
                false
            }
            (_, false) => true,
            _ => return,
        };
        self.next += 1;
        let devargs = attached.then(|| devargs.to_owned());
        self.entries.insert(device.clone(), Entry { number: self.next, devargs });
        self.drop_old_tombstones();
    }

    /// Everything, in the order in which it happened.
    pub fn snapshot(&self) -> Vec<(Device, Option<CString>)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_unstable_by_key(|(_, entry)| entry.number);
        entries.into_iter().map(|(device, e)| (device.clone(), e.devargs.clone())).collect()
    }

    /// The last word on a device: its devargs, or `None` inside when it is not to be there.
    pub fn last(&self, device: &Device) -> Option<Option<CString>> {
        self.entries.get(device).map(|entry| entry.devargs.clone())
    }

    fn is_attached(&self, device: &Device) -> bool {
        self.entries.get(device).is_some_and(|entry| entry.devargs.is_some())
    }

    fn drop_old_tombstones(&mut self) {
        let tombs = self.entries.values().filter(|e| e.devargs.is_none()).count();
        if tombs <= TOMBSTONES {
            return;
        }
        let tombs = self.entries.iter().filter(|(_, e)| e.devargs.is_none());
        if let Some(oldest) = tombs.min_by_key(|(_, e)| e.number).map(|(d, _)| d.clone()) {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str) -> Device {
        Device { bus: c"vdev".into(), name: CString::new(name).unwrap() }
    }

    fn snapshot(journal: &Journal) -> Vec<(String, bool)> {
        let name = |d: Device| d.name.into_string().unwrap();
        journal.snapshot().into_iter().map(|(d, args)| (name(d), args.is_some())).collect()
    }

    #[test]
    fn the_last_word_on_a_device_counts() {
        let mut journal = Journal::default();
        let (a, b) = (device("a"), device("b"));
        journal.record(&a, Step::Attach, true, true, c"vdev:a,x=1");
        journal.record(&b, Step::Attach, true, true, c"vdev:b");
        assert_eq!(journal.last(&a), Some(Some(c"vdev:a,x=1".into())));
        journal.record(&a, Step::Detach, true, true, c"");
        assert_eq!(snapshot(&journal), [("b".into(), true), ("a".into(), false)]);
    }

    #[test]
    fn failures_leave_what_was_and_undo_what_may_have_been_seen() {
        let mut journal = Journal::default();
        let a = device("a");
        journal.record(&a, Step::Attach, false, false, c"");
        assert_eq!(snapshot(&journal), []);
        journal.record(&a, Step::Attach, false, true, c"");
        assert_eq!(snapshot(&journal), [("a".into(), false)]);
        journal.record(&a, Step::Detach, false, true, c"vdev:a");
        assert_eq!(snapshot(&journal), [("a".into(), true)]);
        journal.record(&a, Step::Attach, false, true, c"");
        assert_eq!(snapshot(&journal), [("a".into(), true)], "it was attached before");
    }

    #[test]
    fn tombstones_are_bounded() {
        let mut journal = Journal::default();
        for n in 0..TOMBSTONES + 5 {
            journal.record(&device(&format!("d{n}")), Step::Detach, true, true, c"");
        }
        assert_eq!(journal.entries.len(), TOMBSTONES);
        assert!(!journal.entries.contains_key(&device("d0")));
    }
}
