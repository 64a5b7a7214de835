//! Timeouts and counters, one set per process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::engine::coordinator::Limits;
use crate::engine::counters::counters;

/// The variables that set the timeouts, in milliseconds.
const LIVENESS_VARIABLE: &str = "RTE_HOTPLUG_LIVENESS_MS";
const OPERATION_VARIABLE: &str = "RTE_HOTPLUG_OPERATION_MS";
const STOCK_VARIABLE: &str = "RTE_HOTPLUG_STOCK_PEER_MS";

/// The shortest time that can be set: less cannot be told from a busy machine.
pub const SHORTEST: Duration = Duration::from_millis(10);
/// The longest time that can be set.
pub const LONGEST: Duration = Duration::from_secs(3600);

/// The timeouts, in milliseconds; 0 until first used.
#[derive(Default)]
pub struct Timeouts {
    liveness: AtomicU64,
    operation: AtomicU64,
    stock: AtomicU64,
}

impl Timeouts {
    /// The timeouts: as set, or from the environment, or the default.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        Limits {
            liveness: of(&self.liveness, LIVENESS_VARIABLE, default.liveness),
            operation: of(&self.operation, OPERATION_VARIABLE, default.operation),
            stock: of(&self.stock, STOCK_VARIABLE, default.stock),
        }
    }

    /// Sets the timeouts; `false` when one is out of bounds, and then none is set.
    pub fn set(&self, limits: &Limits) -> bool {
        let all = [
            (&self.liveness, limits.liveness),
            (&self.operation, limits.operation),
            (&self.stock, limits.stock),
        ];
        if !all.iter().all(|(_, value)| (SHORTEST..=LONGEST).contains(value)) {
            return false;
        }
        for (place, value) in all {
            place.store(value.as_millis() as u64, Ordering::Relaxed);
        }
        true
    }
}

fn of(place: &AtomicU64, variable: &str, default: Duration) -> Duration {
    let set = place.load(Ordering::Relaxed);
    if set != 0 {
        return Duration::from_millis(set);
    }
    let value = match std::env::var(variable) {
        Err(_) => default,
        Ok(text) => match text.parse().map(Duration::from_millis) {
            Ok(value) if (SHORTEST..=LONGEST).contains(&value) => value,
            _ => {
                log::warn!("{variable}={text}: not a number of milliseconds from 10 to 3600000");
                default
            }
        },
    };
    place.store(value.as_millis() as u64, Ordering::Relaxed);
    value
}

counters! {
    /// What has happened in this process; for C in this order.
    Counters read as Counts:
    /// Operations that succeeded in every process.
    succeeded,
    /// Operations that failed and left every process as it was.
    failed,
    /// Operations after which a process was left out of step.
    out_of_step,
    /// Calls of secondaries that this primary served.
    calls,
    /// Requests that this process carried out for a primary.
    requests,
    /// Secondaries that joined, or were brought in line again.
    joins,
    /// Peers that left or died.
    departures,
    /// Peers that gave no sign of life in time.
    stopped,
    /// Answers to operations that were over.
    late_replies,
    /// Frames that were malformed, too long, empty or out of place; each closed its connection.
    bad_frames,
    /// Connections refused: another user, another version, another kind of process.
    refused,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_checked_and_kept() {
        let timeouts = Timeouts::default();
        assert_eq!(timeouts.limits(), Limits::default());
        let mut limits = Limits { liveness: Duration::from_millis(50), ..Limits::default() };
        assert!(timeouts.set(&limits));
        assert_eq!(timeouts.limits(), limits);
        limits.operation = Duration::from_millis(9);
        assert!(!timeouts.set(&limits));
        assert_eq!(timeouts.limits().operation, Limits::default().operation);
    }
}
