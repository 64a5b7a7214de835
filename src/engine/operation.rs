//! Operations, as every process of a group knows them.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::lock::Lazy;

/// Names an operation, in every process of a group.
pub type OperationId = u64;

/// An operation on one device, and those inside of which it was called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    /// Its name.
    pub id: OperationId,
    /// The operations that wait for it, the nearest first.
    pub lineage: Vec<OperationId>,
}

impl Operation {
    /// A new operation; `parent` is the one inside of which it is called.
    pub fn new(parent: Option<&Self>) -> Self {
        // Ids of different processes must not meet: they start anywhere in 64 bits.
        static NEXT: Lazy<AtomicU64> =
            Lazy::new(|| AtomicU64::new(RandomState::new().hash_one(std::process::id()) | 1));
        let lineage = parent.map_or_else(Vec::new, Self::as_lineage);
        Self { id: NEXT.fetch_add(1, Ordering::Relaxed), lineage }
    }

    /// The lineage of operations called inside of this one.
    pub fn as_lineage(&self) -> Vec<OperationId> {
        std::iter::once(self.id).chain(self.lineage.iter().copied()).collect()
    }

    /// Whether it is called inside of the other one, or is it.
    pub(super) fn is_or_descends_from(&self, other: OperationId) -> bool {
        self.id == other || self.lineage.contains(&other)
    }
}
