//! Numbers that only grow, for statistics.

use std::sync::atomic::{AtomicU64, Ordering};

/// One of them.
#[derive(Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Defines a struct of counters, and one of their values at a time.
macro_rules! counters {
    ($(#[$about:meta])* $counters:ident read as $counts:ident:
     $($(#[$doc:meta])* $name:ident,)*) => {
        $(#[$about])*
        #[derive(Default)]
        pub struct $counters { $($(#[$doc])* pub $name: $crate::engine::counters::Counter,)* }

        /// Their values at one time.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $counts { $($(#[$doc])* pub $name: u64,)* }

        impl $counters {
            /// Their values.
            pub fn read(&self) -> $counts {
                $counts { $($name: self.$name.read(),)* }
            }
        }
    };
}
pub(crate) use counters;
