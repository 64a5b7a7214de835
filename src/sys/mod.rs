//! Thin wrappers around the system, one file per facility.

pub mod dl;
pub mod peers;
