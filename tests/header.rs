//! The committed headers are what cbindgen makes of the source.
//!
//! `RENEW_HEADERS=1 cargo test --test header` writes them anew.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The functions that DPDK's own headers declare too, and the types they need.
const REPLACED: &[&str] = &[
    "rte_dev_probe",
    "rte_dev_remove",
    "rte_eal_hotplug_add",
    "rte_eal_hotplug_remove",
    "rte_dev_event_cb_fn",
    "rte_dev_event_callback_register",
    "rte_dev_event_callback_unregister",
    "rte_dev_event_callback_process",
    "rte_dev_event_monitor_start",
    "rte_dev_event_monitor_stop",
    "rte_dev_hotplug_handle_enable",
    "rte_dev_hotplug_handle_disable",
    "rte_eal_init",
    "rte_eal_cleanup",
    "rte_mp_t",
    "rte_mp_action_register",
    "rte_device",
];

/// What cbindgen must not print itself: the preamble declares it.
const DECLARED_BY_HAND: &[&str] = &["EventType", "rte_mp_t", "rte_dev_event_cb_fn", "rte_device"];

const LICENSE: &str = "/* SPDX-License-Identifier: BSD-3-Clause */\n\
    /* Generated from the Rust source; renew with: RENEW_HEADERS=1 cargo test --test header */";

const EAL_TYPES: &str = "
struct rte_device;
struct rte_mp_msg;

/**
 * What happened to a device.
 */
enum rte_dev_event_type {
	RTE_DEV_EVENT_ADD,    /**< it became available for probing */
	RTE_DEV_EVENT_REMOVE, /**< it is gone */
	RTE_DEV_EVENT_MAX
};

/**
 * Called when a device was added or removed. device_name is valid during the call; cb_arg is what
 * was registered.
 */
typedef void (*rte_dev_event_cb_fn)(const char *device_name, enum rte_dev_event_type event,
				    void *cb_arg);

/**
 * Handles a multi-process message.
 */
typedef int (*rte_mp_t)(const struct rte_mp_msg *msg, const void *peer);
";

const OWN_TYPES: &str = "
/*
 * With DPDK's headers on the include path these declare what this library replaces; without them
 * rte_hotplug_eal.h does.
 */
#ifdef __has_include
#if __has_include(<rte_dev.h>)
#define RTE_HOTPLUG_WITH_DPDK_HEADERS 1
#endif
#endif

#ifdef RTE_HOTPLUG_WITH_DPDK_HEADERS
#include <rte_dev.h>
#include <rte_eal.h>
#else
#include \"rte_hotplug_eal.h\"
#endif
";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn generate(guard: &str, types: &str, excluded: impl Fn(&str) -> bool) -> String {
    let mut config = cbindgen::Config {
        language: cbindgen::Language::C,
        cpp_compat: true,
        include_guard: Some(guard.into()),
        header: Some(LICENSE.into()),
        after_includes: Some(types.into()),
        documentation_style: cbindgen::DocumentationStyle::Doxy,
        style: cbindgen::Style::Tag,
        usize_is_size_t: true,
        no_includes: true,
        sys_includes: vec!["stddef.h".into(), "stdint.h".into()],
        tab_width: 8,
        line_length: 100,
        ..Default::default()
    };
    config.enumeration.enum_class = false;
    config.function.args = cbindgen::Layout::Auto;
    config.export.rename = HashMap::from(
        [("EventType", "enum rte_dev_event_type"), ("rte_device", "struct rte_device")]
            .map(|(rust, c)| (rust.to_owned(), c.to_owned())),
    );
    let all = public_names();
    config.export.exclude = all.into_iter().filter(|name| excluded(name)).collect();
    config.export.include = [
        "rte_hotplug_mode_type",
        "rte_hotplug_device_state_type",
        "rte_hotplug_peer_state",
        "rte_hotplug_uevent_action",
    ]
    .map(str::to_owned)
    .into();
    let mut out = vec![];
    cbindgen::Builder::new()
        .with_src(root().join("src/capi/dev.rs"))
        .with_src(root().join("src/capi/event.rs"))
        .with_src(root().join("src/capi/eal.rs"))
        .with_src(root().join("src/capi/ethdev.rs"))
        .with_src(root().join("src/capi/bus.rs"))
        .with_src(root().join("src/capi/driver.rs"))
        .with_src(root().join("src/capi/device.rs"))
        .with_src(root().join("src/capi/group.rs"))
        .with_src(root().join("src/capi/uevent.rs"))
        .with_src(root().join("src/capi/pci.rs"))
        .with_src(root().join("src/capi/auto.rs"))
        .with_config(config)
        .generate()
        .expect("cbindgen reads the source")
        .write(&mut out);
    tidy(&String::from_utf8(out).expect("a header is text"))
}

/// Every name that may appear in a header.
fn public_names() -> Vec<String> {
    let exports = std::fs::read_to_string(root().join("capi-tests/exports.txt")).unwrap();
    let functions = exports.lines().filter(|l| l.starts_with("rte_")).map(str::to_owned);
    let types = [
        "EventType",
        "rte_mp_t",
        "rte_dev_event_cb_fn",
        "rte_device",
        "rte_hotplug_bus",
        "rte_hotplug_driver",
        "rte_hotplug_bus_parse_t",
        "rte_hotplug_bus_scan_t",
        "rte_hotplug_bus_match_t",
        "rte_hotplug_bus_options",
        "rte_hotplug_driver_fn",
        "rte_hotplug_driver_options",
        "rte_hotplug_mode_type",
        "rte_hotplug_device_state_type",
        "rte_hotplug_peer_state",
        "rte_hotplug_peer",
        "rte_hotplug_timeouts",
        "rte_hotplug_statistics",
        "rte_hotplug_uevent_action",
        "rte_hotplug_uevent",
        "rte_hotplug_uevent_cb",
        "rte_hotplug_monitor_statistics",
        "rte_hotplug_state_statistics",
        "rte_hotplug_auto",
        "rte_hotplug_auto_step",
        "rte_hotplug_auto_cb",
        "rte_hotplug_auto_options",
        "rte_hotplug_auto_statistics",
        "RTE_HOTPLUG_AUTO_NOW",
        "rte_hotplug_pci_id",
        "rte_hotplug_pci_vfio",
        "RTE_HOTPLUG_EVENT_ADD_AFTER_BIND",
        "RTE_HOTPLUG_PCI_ANY_ID",
        "RTE_HOTPLUG_PCI_ANY_CLASS",
    ];
    functions.chain(types.map(str::to_owned)).collect()
}

/// The Rust reader's "# Safety" sections say nothing to a C reader.
fn tidy(header: &str) -> String {
    let mut lines: Vec<String> = vec![];
    let mut in_safety = false;
    for line in header.lines() {
        let text = line.trim();
        if text == "* # Safety" {
            in_safety = true;
            while lines.last().is_some_and(|l| l.trim() == "*") {
                lines.pop();
            }
        }
        if text == "*/" {
            in_safety = false;
        }
        if !in_safety {
            lines.push(line.trim_end().to_owned());
        }
    }
    lines.iter().map(|line| tabbed(line) + "\n").collect()
}

/// C code indents with tabs.
fn tabbed(line: &str) -> String {
    let text = line.trim_start_matches(' ');
    let width = line.len() - text.len();
    "\t".repeat(width / 8) + &" ".repeat(width % 8) + text
}

fn headers() -> [(PathBuf, String); 2] {
    let include = root().join("include");
    let by_hand = |name: &str| DECLARED_BY_HAND.contains(&name);
    let replaced = |name: &str| REPLACED.contains(&name);
    [
        (
            include.join("rte_hotplug_eal.h"),
            generate("RTE_HOTPLUG_EAL_H", EAL_TYPES, |name| by_hand(name) || !replaced(name)),
        ),
        (
            include.join("rte_hotplug.h"),
            generate("RTE_HOTPLUG_H", OWN_TYPES, |name| by_hand(name) || replaced(name)),
        ),
    ]
}

#[test]
fn headers_are_fresh() {
    for (path, expected) in headers() {
        if std::env::var_os("RENEW_HEADERS").is_some() {
            std::fs::write(&path, &expected).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == expected,
            "{} is stale; renew it with: RENEW_HEADERS=1 cargo test --test header",
            path.display()
        );
    }
}
