//! Pure parsers: devargs, their key-value lists, PCI addresses, kernel events, messages between
//! processes. No input can make them fail otherwise than by an error value.

#![forbid(unsafe_code)]

mod codec;
pub mod devargs;
pub mod eal;
pub mod kvargs;
pub mod pci;
pub mod uevent;
pub mod wire;
