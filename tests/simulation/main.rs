//! The transaction engine with fake processes, connections, drivers and clock: step by step, and in
//! any order that a random number generator finds.

mod primary;
mod random;
mod secondary;
mod steps;
mod world;
