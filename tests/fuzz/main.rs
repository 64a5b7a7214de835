//! The fuzz targets with whatever toolchain there is: valid inputs, changed at random. cargo-fuzz finds
//! more (`CONTRIBUTING.md`); this finds what a change breaks.
//!
//! `FUZZ_SECONDS` says how long each target runs, `FUZZ_SEED` repeats a run, and `FUZZ_CORPUS` is a
//! directory to which the valid inputs are written, for cargo-fuzz. Built with coverage counters (see
//! `tools/test.py`), an input that reaches new code is changed further.

mod coverage;
#[path = "../../fuzz/targets/mod.rs"]
mod targets;

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use coverage::Coverage;
use rte_hotplug::proto::eal::EalRequest;
use rte_hotplug::proto::uevent::{Action, Uevent};
use rte_hotplug::proto::wire::{Device, Hello, Message, Reply, Request, Step};

/// Numbers that a seed determines (xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Changes an input in one to four places.
fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(4) {
        let at = random.below(input.len() + 1);
        match random.below(7) {
            0 | 1 if input.is_empty() => {}
            0 => {
                let last = input.len() - 1;
                input[at.min(last)] = random.next() as u8;
            }
            1 => {
                let last = input.len() - 1;
                input[at.min(last)] ^= 1 << random.below(8);
            }
            2 => input.insert(at, b"\0,=:/@0f"[random.below(8)]),
            3 => drop(input.drain(at..(at + random.below(9)).min(input.len()))),
            4 => input.truncate(at),
            5 => {
                // A piece of another one.
                let other = &seeds[random.below(seeds.len())];
                let from = random.below(other.len());
                let piece = other[from..(from + random.below(40)).min(other.len())].to_vec();
                input.splice(at..at, piece);
            }
            _ => {
                let piece = input[..at].to_vec();
                input.extend(piece);
            }
        }
        input.truncate(1 << 16);
    }
    input
}

fn run(name: &str, target: fn(&[u8]), seeds: &[Vec<u8>]) {
    let variable =
        |name, default| std::env::var(name).map_or(default, |text| text.parse().expect("a number"));
    let (seed, seconds) = (variable("FUZZ_SEED", 20_261_121), variable("FUZZ_SECONDS", 1));
    if let Some(corpus) = std::env::var_os("FUZZ_CORPUS") {
        write_seeds(&Path::new(&corpus).join(name), seeds);
    }
    let end = Instant::now() + Duration::from_secs(seconds);
    let (mut random, mut executions) = (Random(seed), 0_u64);
    let (mut inputs, mut coverage) = (seeds.to_vec(), Coverage::new());
    // They are right as they are.
    for seed in seeds {
        coverage.reaches_more(target, seed);
    }
    let by_seeds = coverage.regions();
    while executions % 1024 != 0 || Instant::now() < end {
        let input = mutate(&mut random, &inputs);
        match catch_unwind(AssertUnwindSafe(|| coverage.reaches_more(target, &input))) {
            Ok(true) => inputs.push(input),
            Ok(false) => {}
            Err(_) => {
                panic!(
                    "{name}: execution {executions} of seed {seed}: \"{}\"",
                    input.escape_ascii()
                )
            }
        }
        executions += 1;
    }
    print!("fuzz: {name}: {executions} executions, seed {seed}");
    if cfg!(fuzz_coverage) {
        print!(", {} regions reached, {by_seeds} by valid inputs", coverage.regions());
        assert!(by_seeds > 0);
    }
    println!();
    assert!(executions > 0);
}

fn write_seeds(directory: &Path, seeds: &[Vec<u8>]) {
    std::fs::create_dir_all(directory).unwrap();
    for (number, seed) in seeds.iter().enumerate() {
        std::fs::write(directory.join(format!("seed-{number}")), seed).unwrap();
    }
}

fn device() -> Device {
    Device { bus: c"vdev".into(), name: c"net_null0".into() }
}

#[test]
fn uevents() {
    let event = |action, driver| {
        Uevent::found_out(action, c"0000:00:05.0", c"/devices/pci0000:00/0000:00:05.0", driver)
            .to_message()
    };
    let mut more = event(Action::Change, None);
    more.extend(b"SYNTH_UUID=0\0MODALIAS=pci:v00008086\0");
    run(
        "uevent",
        targets::uevent,
        &[
            event(Action::Add, None),
            event(Action::Remove, None),
            event(Action::Bind, Some(c"vfio-pci")),
            more,
        ],
    );
}

#[test]
fn frames() {
    let request = |step| Request {
        id: 7,
        lineage: vec![1, 2],
        step,
        device: device(),
        devargs: c"net_null0,size=64".into(),
        hurried: true,
    };
    let reply =
        Reply { id: 7, step: Step::Attach, code: -5, unchanged: false, message: "why".into() };
    let hello = Hello { pid: 1, embedded: false, eal_socket: b"mp_socket_1_2".to_vec() };
    let messages = [
        Message::Hello(hello),
        Message::Welcome,
        Message::Refused("no".into()),
        Message::Sync(device(), Some(c"net_null0".into())),
        Message::Sync(device(), None),
        Message::Synced(vec![device(), device()]),
        Message::Request(request(Step::Attach)),
        Message::Call(request(Step::Detach)),
        Message::Reply(reply.clone()),
        Message::Result(reply),
        Message::Cancel(9),
        Message::Ping,
    ];
    run("frame", targets::frame, &messages.map(|message| message.encode(0x1234)));
}

#[test]
fn datagrams() {
    let request = |step, devargs: &str| {
        EalRequest { step, devargs: CString::new(devargs).unwrap(), result: -17 }.encode().to_vec()
    };
    let mut message = b"eal_dev_mp_request\0".to_vec();
    message.resize(360, 0);
    run(
        "datagram",
        targets::datagram,
        &[
            request(Step::Attach, "net_null0,a=1"),
            request(Step::DetachRollback, ""),
            message.clone(),
            [vec![1; 8], message].concat(),
        ],
    );
}

#[test]
fn devargs() {
    let texts = [
        "net_null0,size=64,copy=1",
        "pci:0000:02:00.0,k=v",
        "bus=pci,name=0000:02:00.0/class=eth/driver=net_ixgbe,a=[1,2]",
        "bus=vdev,name=net_tap0",
        "class=eth",
        "02:00.0",
        "vdev:net_ring0,nodeaction=r0:0:CREATE",
    ];
    run("devargs", targets::devargs, &texts.map(|text| text.as_bytes().to_vec()));
}
