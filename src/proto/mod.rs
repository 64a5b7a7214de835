//! Pure parsers: devargs, their key-value lists, PCI addresses. No input can make them fail
//! otherwise than by an error value.

#![forbid(unsafe_code)]

pub mod devargs;
pub mod kvargs;
pub mod pci;
pub mod wire;
