//! The transaction engine with fake processes, connections, drivers and clock: step by step, and in
//! any order that a random number generator finds.

mod drivers;
mod operation;
mod primary;
mod process;
mod promises;
mod random;
mod rng;
mod secondary;
mod steps;
mod world;
