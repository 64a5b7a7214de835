//! Random strings, near to what the parsers take.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;

/// Random strings per test.
const CASES: u32 = 20_000;

pub fn at_random(
    strings: &impl Strategy<Value = Vec<u8>>,
    check: impl Fn(&[u8]) -> Result<(), TestCaseError>,
) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) };
    TestRunner::new(config).run(strings, |text| check(&text)).unwrap_or_else(|e| panic!("{e}"));
}

/// Words of the grammar in any order, a few of them many times, and raw bytes.
pub fn devargs_string() -> impl Strategy<Value = Vec<u8>> {
    let word = select(vec![
        "bus=",
        "class=",
        "driver=",
        "/bus=",
        "/class=",
        "/driver=",
        "vdev",
        "pci",
        "auxiliary",
        "vmbus",
        "vdev:",
        "pci:",
        ":",
        ",",
        "/",
        "=",
        "[",
        "]",
        ".",
        " ",
        "+",
        "-",
        "0x",
        "0",
        "f",
        "net_null0",
        "eth_null1",
        "0000:02:00.0",
        "02:00.0",
        "addr=",
        "name=",
        ",addr=",
        ",name=",
        "eth",
        "x",
        "bus",
        "class",
        "driver",
    ])
    .prop_map(|word| word.as_bytes().to_vec());
    let run = (word.clone(), 2..80_usize).prop_map(|(word, count)| word.repeat(count));
    let raw = prop::collection::vec(1..=255_u8, 1..8);
    let piece = prop_oneof![30 => word, 1 => run, 1 => raw];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// Layers that are nearly well formed.
pub fn layered_string() -> impl Strategy<Value = Vec<u8>> {
    let layer = prop_oneof![
        Just("bus=vdev"),
        Just("bus=pci"),
        Just("bus=nobus"),
        Just("class=eth"),
        Just("class=none"),
        Just("driver=net_null"),
        Just("other=x"),
    ];
    let pair = prop_oneof![
        4 => Just(b"name=net_null0".to_vec()),
        4 => Just(b"addr=02:00.0".to_vec()),
        2 => Just(b"k=[1,2]".to_vec()),
        1 => devargs_string(),
    ];
    let pairs = prop::collection::vec(pair, 0..3);
    let layers = prop::collection::vec((layer, pairs), 1..4);
    layers.prop_map(|layers| {
        let joined = layers.into_iter().map(|(layer, pairs)| {
            let first = std::iter::once(layer.as_bytes().to_vec());
            first.chain(pairs).collect::<Vec<_>>().join(&b',')
        });
        joined.collect::<Vec<_>>().join(&b'/')
    })
}

/// Numbers as `strtoul` takes and refuses them, between the delimiters of an address or others.
pub fn address_string() -> impl Strategy<Value = Vec<u8>> {
    let number = "[ \t\n\x0b\r]{0,2}[+-]{0,2}(0[xX]){0,2}0{0,9}[0-9a-fA-FgX]{0,17}";
    let small = "0{0,3}[0-9a-fA-F]{0,2}";
    let part = || prop_oneof![1 => number, 6 => small];
    let delimiter = |usual| prop_oneof![20 => Just(usual), 1 => select(vec![":", ".", "", " "])];
    let domain = prop_oneof![2 => Just(String::new()), 1 => part().prop_map(|n| n + ":")];
    let address = (domain, part(), delimiter(":"), part(), delimiter("."), part());
    let text = address.prop_map(|(domain, bus, d1, device, d2, function)| {
        format!("{domain}{bus}{d1}{device}{d2}{function}")
    });
    prop_oneof![
        20 => text.prop_map(String::into_bytes),
        1 => "[0-9a-fx:. +-]{0,40}".prop_map(String::into_bytes),
    ]
}
