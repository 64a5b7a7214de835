//! Our devargs and key-value parsers against those of a DPDK in this process, string by string.
//!
//! Without DPDK the tests say that they skip; with `CI` or `HOTPLUG_REQUIRE_DPDK` set they fail.

mod host;
mod random;
mod texts;

use proptest::prelude::*;
use rte_hotplug::proto::devargs::{Buses, Devargs, breaks_host_parser, parse};
use rte_hotplug::proto::kvargs::{self, Pair};

use host::{HostBuses, OwnPair, Parsed, host};
use random::{address_string, at_random, devargs_string, layered_string};
use texts::{BREAKING, LAYERED, LEGACY, limits};

#[test]
fn devargs_of_the_table() {
    let Some(host) = host() else { return };
    let buses = host.buses();
    let names: Vec<_> = buses.all().into_iter().map(|bus| bus.name).collect();
    assert!(names.contains(&b"pci".to_vec()) && names.contains(&b"vdev".to_vec()));
    assert!(buses.has_class(b"eth") && !buses.has_class(b"none"));
    let limits = limits();
    let texts = LEGACY.iter().chain(LAYERED).copied().chain(limits.iter().map(String::as_str));
    let different: Vec<_> = texts
        .inspect(|text| assert!(!breaks_host_parser(text.as_bytes()), "{text}"))
        .map(|text| (text, host.parse(text.as_bytes()), ours(&buses, text.as_bytes())))
        .filter(|(_, theirs, ours)| theirs != ours)
        .collect();
    assert!(different.is_empty(), "text, host's, ours: {different:#?}");
}

#[test]
fn devargs_that_break_the_host_are_known_and_harmless_to_ours() {
    for text in BREAKING {
        assert!(breaks_host_parser(text.as_bytes()), "{text}");
    }
    let Some(host) = host() else { return };
    let buses = host.buses();
    for text in BREAKING {
        // Not layered, so read in the legacy syntax.
        match ours(&buses, text.as_bytes()) {
            Parsed::Taken { name, .. } => {
                assert_eq!(Some(name.as_slice()), text.as_bytes().split(|b| *b == b',').next());
            }
            Parsed::Refused(code) => assert_eq!(code, -libc::EFAULT, "{text}"),
        }
    }
}

#[test]
fn devargs_at_random() {
    let Some(host) = host() else { return };
    let buses = host.buses();
    let strings = prop_oneof![1 => devargs_string(), 1 => layered_string()];
    at_random(&strings, |text| {
        if breaks_host_parser(text) {
            // Ours has to live with it.
            ours(&buses, text);
        } else {
            prop_assert_eq!(host.parse(text), ours(&buses, text), "host's, ours: {}", shown(text));
        }
        Ok(())
    });
}

/// Through the layered syntax, where ours reads the address itself.
#[test]
fn pci_addresses_at_random() {
    let Some(host) = host() else { return };
    let buses = host.buses();
    let check = |address: &[u8]| {
        let text = [b"bus=pci,addr=", address].concat();
        prop_assert_eq!(host.parse(&text), ours(&buses, &text), "host's, ours: {}", shown(&text));
        Ok(())
    };
    for address in LEGACY.iter().filter(|text| !text.contains(['/', ',', '='])) {
        check(address.as_bytes()).unwrap();
    }
    at_random(&address_string(), check);
}

#[test]
fn key_value_lists_at_random() {
    let Some(host) = host() else { return };
    at_random(&devargs_string(), |text| {
        prop_assert_eq!(host.kvargs(text), our_kvargs(text), "host's, ours: {}", shown(text));
        Ok(())
    });
}

fn ours(buses: &HostBuses, devargs: &[u8]) -> Parsed {
    match parse(buses, devargs) {
        Ok(Devargs { bus, name, arguments, .. }) => {
            Parsed::Taken { bus: bus.map(|bus| bus.name), name, arguments }
        }
        Err(error) => Parsed::Refused(error.code()),
    }
}

fn our_kvargs(list: &[u8]) -> Option<Vec<OwnPair>> {
    let owned = |p: Pair<'_>| (p.key.to_vec(), p.value.map(<[u8]>::to_vec));
    Some(kvargs::parse(list)?.into_iter().map(owned).collect())
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}
