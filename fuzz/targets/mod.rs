//! What is fuzzed: every parser of bytes that others may send. Each function panics where a parser
//! breaks a promise; cargo-fuzz runs them, and `tests/fuzz/` with any toolchain.

// Each fuzz target uses one of them.
#![allow(dead_code)]

use rte_hotplug::error::Result;
use rte_hotplug::proto::devargs::{self, Buses, NAME_SIZE};
use rte_hotplug::proto::eal::{Alignment, EalRequest};
use rte_hotplug::proto::kvargs::Pair;
use rte_hotplug::proto::pci::Address;
use rte_hotplug::proto::uevent::Uevent;
use rte_hotplug::proto::wire::Message;
use rte_hotplug::proto::{eal, kvargs};

/// A message of the kernel: what is read can be written again, byte by byte.
pub fn uevent(data: &[u8]) {
    if let Ok(event) = Uevent::parse(data) {
        assert_eq!(event.to_message(), data);
        assert!(event.get("ACTION").is_some() && !event.action().name().is_empty());
        if let Some(device) = event.pci_device() {
            let address = Address::parse(device.to_bytes()).expect("an address was checked");
            assert_eq!(address.to_string().as_bytes(), device.to_bytes());
        }
    }
}

/// A frame of our channel: what is read is what its writer meant.
pub fn frame(data: &[u8]) {
    if let Ok((instance, message)) = Message::decode(data) {
        let again = Message::decode(&message.encode(instance));
        assert_eq!(again, Ok((instance, message)));
    }
}

/// DPDK's own request, and its answer in both layouts.
pub fn datagram(data: &[u8]) {
    if let Some(request) = EalRequest::decode(data) {
        assert_eq!(EalRequest::decode(&request.encode()), Some(request));
    }
    for alignment in [Alignment::Four, Alignment::Eight] {
        let _ = eal::answer(data, alignment);
    }
}

/// Device arguments, and what they are made of.
pub fn devargs(data: &[u8]) {
    // They come as C strings.
    if data.contains(&0) {
        return;
    }
    if let Ok(parsed) = devargs::parse(&TwoBuses, data) {
        assert!(parsed.name.len() < NAME_SIZE);
        assert!(parsed.bus.is_some() || parsed.class.is_some());
    }
    let _ = (devargs::breaks_host_parser(data), devargs::explicit_bus(data));
    let pairs = kvargs::parse(data).unwrap_or_default();
    assert!(pairs.iter().all(|pair| !pair.key.contains(&b'=')));
    if let Some(address) = Address::parse(data) {
        assert_eq!(Address::parse(address.to_string().as_bytes()), Some(address));
    }
}

/// A bus that takes PCI addresses, and one that takes names with a prefix.
struct TwoBuses;

impl Buses for TwoBuses {
    type Bus = bool;

    fn all(&self) -> Vec<bool> {
        vec![false, true]
    }

    fn name<'a>(&self, bus: &'a bool) -> &'a [u8] {
        if *bus { b"pci" } else { b"vdev" }
    }

    fn accepts(&self, bus: &bool, device: &[u8]) -> bool {
        if *bus { Address::parse(device).is_some() } else { device.starts_with(b"net_") }
    }

    fn layered_name(&self, _: &bool, layer: &[Pair<'_>]) -> Result<Vec<u8>> {
        devargs::default_layered_name(layer)
    }

    fn has_class(&self, class: &[u8]) -> bool {
        class == b"eth"
    }
}
