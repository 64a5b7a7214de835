//! Our devargs and key-value parsers against those of a DPDK in this process, string by string.
//!
//! Without DPDK the tests say that they skip; with `CI` or `HOTPLUG_REQUIRE_DPDK` set they fail.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use rte_hotplug::error::{Error, Kind, Result};
use rte_hotplug::hosted::layout::{
    DEVARGS_ARGS, DEVARGS_BUS, DEVARGS_NAME, DEVARGS_ROOM, Layout, NAME, Version,
};
use rte_hotplug::proto::devargs::{
    Buses, Devargs, NAME_SIZE, breaks_host_parser, default_layered_name, parse,
};
use rte_hotplug::proto::kvargs::{self, MAX_PAIRS, Pair};
use rte_hotplug::proto::pci;

/// The libraries of DPDK 22.11 to 23.07.
const ABI: &str = "23";
/// Loaded in this order, which is the order of the buses.
const REQUIRED: &[&str] = &["kvargs", "eal", "ethdev", "bus_pci", "bus_vdev", "net_null"];
/// More buses, for their `parse` functions.
const OPTIONAL: &[&str] = &["bus_auxiliary", "bus_vmbus"];
/// Random strings per test.
const CASES: u32 = 20_000;

type Compare = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;

/// The functions of the host.
struct Host {
    bus_find: unsafe extern "C" fn(*const c_void, Compare, *const c_void) -> *const c_void,
    class_find: unsafe extern "C" fn(*const c_char) -> *const c_void,
    devargs_parse: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    devargs_reset: unsafe extern "C" fn(*mut c_void),
    kvargs_parse: unsafe extern "C" fn(*const c_char, *const *const c_char) -> *mut HostKvargs,
    kvargs_free: unsafe extern "C" fn(*mut HostKvargs),
    layout: Layout,
}

/// `struct rte_kvargs`
#[repr(C)]
struct HostKvargs {
    text: *mut c_char,
    count: u32,
    pairs: [[*mut c_char; 2]; MAX_PAIRS],
}

/// A key, and its value if it has one.
type OwnPair = (Vec<u8>, Option<Vec<u8>>);

/// A bus of the host.
#[derive(Clone)]
struct Bus {
    name: Vec<u8>,
    /// `rte_bus.parse`
    parse: Option<unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int>,
}

impl PartialEq for Bus {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// The host's buses as our parser asks for them.
struct HostBuses {
    host: &'static Host,
    buses: Vec<Bus>,
}

impl Buses for HostBuses {
    type Bus = Bus;

    fn all(&self) -> Vec<Bus> {
        self.buses.clone()
    }

    fn name<'a>(&self, bus: &'a Bus) -> &'a [u8] {
        &bus.name
    }

    fn accepts(&self, bus: &Bus, device: &[u8]) -> bool {
        let device = CString::new(device).unwrap();
        // SAFETY: a C string, and NULL: the bus only judges the name.
        bus.parse.is_some_and(|f| unsafe { f(device.as_ptr(), std::ptr::null_mut()) } == 0)
    }

    /// Only the PCI bus has a rule of its own: its `addr=`, and never `name=`.
    fn layered_name(&self, bus: &Bus, layer: &[Pair<'_>]) -> Result<Vec<u8>> {
        if bus.name != b"pci" {
            return default_layered_name(layer);
        }
        let Some(address) = kvargs::get(layer, b"addr") else { return Ok(vec![]) };
        let address = pci::Address::parse(address)
            .ok_or_else(|| Error::new(Kind::Invalid, "not a PCI address"))?;
        Ok(address.to_string().into_bytes())
    }

    fn has_class(&self, class: &[u8]) -> bool {
        let class = CString::new(class).unwrap();
        // SAFETY: a C string.
        unsafe { !(self.host.class_find)(class.as_ptr()).is_null() }
    }
}

/// What both parsers say of a text.
#[derive(Debug, PartialEq)]
enum Parsed {
    Refused(i32),
    Taken { bus: Option<Vec<u8>>, name: Vec<u8>, arguments: Vec<u8> },
}

impl Host {
    /// The DPDK on this machine, or why there is none; loaded once.
    fn load() -> std::result::Result<Self, String> {
        for library in REQUIRED {
            dlopen(library)?;
        }
        for library in OPTIONAL {
            // Not part of every build of DPDK.
            let _ = dlopen(library);
        }
        // SAFETY: the C signatures of these functions.
        unsafe {
            let set_level: unsafe extern "C" fn(u32) = symbol(c"rte_log_set_global_level")?;
            // EMERG: what the parsers say of malformed strings is not wanted.
            set_level(1);
            let version: unsafe extern "C" fn() -> *const c_char = symbol(c"rte_version")?;
            let version = CStr::from_ptr(version()).to_string_lossy();
            let layout = Version::parse(&version).and_then(|version| Layout::of(version, false));
            Ok(Self {
                bus_find: symbol(c"rte_bus_find")?,
                class_find: symbol(c"rte_class_find_by_name")?,
                devargs_parse: symbol(c"rte_devargs_parse")?,
                devargs_reset: symbol(c"rte_devargs_reset")?,
                kvargs_parse: symbol(c"rte_kvargs_parse")?,
                kvargs_free: symbol(c"rte_kvargs_free")?,
                layout: layout.ok_or_else(|| format!("{version} is not known"))?,
            })
        }
    }

    /// The buses in order of registration.
    fn buses(&'static self) -> HostBuses {
        unsafe extern "C" fn any(_bus: *const c_void, _data: *const c_void) -> c_int {
            0
        }
        let mut last: *const c_void = std::ptr::null();
        let next = || {
            // SAFETY: NULL or the bus before.
            last = unsafe { (self.bus_find)(last, any, std::ptr::null()) };
            // SAFETY: a registered bus, whose name and parse stand at these offsets.
            (!last.is_null()).then(|| unsafe {
                Bus { name: text(read(last, NAME)), parse: read(last, self.layout.bus_parse) }
            })
        };
        HostBuses { host: self, buses: std::iter::from_fn(next).collect() }
    }

    fn parse(&self, devargs: &[u8]) -> Parsed {
        // It looks one byte past the NUL of a text that is just a bus name.
        let padded = [devargs, &[0, 0, 0]].concat();
        let mut entry = [0_u64; DEVARGS_ROOM / 8];
        let entry: *mut c_void = entry.as_mut_ptr().cast();
        // SAFETY: zeroed room for a struct rte_devargs, and a C string; the fields are read before
        // the reset frees what they point to.
        unsafe {
            let code = (self.devargs_parse)(entry, padded.as_ptr().cast());
            let parsed = if code == 0 { fields(entry) } else { Parsed::Refused(code) };
            (self.devargs_reset)(entry);
            parsed
        }
    }

    fn kvargs(&self, list: &[u8]) -> Option<Vec<OwnPair>> {
        let list = CString::new(list).unwrap();
        // SAFETY: a C string; NULL allows every key.
        let parsed = unsafe { (self.kvargs_parse)(list.as_ptr(), std::ptr::null()).as_mut() }?;
        // SAFETY: the pairs point into the parsed text, which lives until it is freed.
        let pair = |[key, value]: &[*mut c_char; 2]| unsafe {
            (text(*key), (!value.is_null()).then(|| text(*value)))
        };
        let pairs = parsed.pairs[..parsed.count as usize].iter().map(pair).collect();
        // SAFETY: freed once.
        unsafe { (self.kvargs_free)(parsed) };
        Some(pairs)
    }
}

/// Reads what a successful parse left.
///
/// # Safety
/// `entry` is a struct rte_devargs that the host's parser filled.
unsafe fn fields(entry: *const c_void) -> Parsed {
    // SAFETY: the caller's promise, and the offsets of the struct.
    unsafe {
        let bus: *const c_void = read(entry, DEVARGS_BUS);
        Parsed::Taken {
            bus: (!bus.is_null()).then(|| text(read(bus, NAME))),
            name: text(entry.byte_add(DEVARGS_NAME).cast()),
            arguments: text(read(entry, DEVARGS_ARGS)),
        }
    }
}

/// The bytes of a C string; none for NULL.
///
/// # Safety
/// NULL or a C string.
unsafe fn text(pointer: *const c_char) -> Vec<u8> {
    // SAFETY: the caller's promise.
    if pointer.is_null() { vec![] } else { unsafe { CStr::from_ptr(pointer) }.to_bytes().to_vec() }
}

/// # Safety
/// `object` has a `T` at `offset`.
unsafe fn read<T: Copy>(object: *const c_void, offset: usize) -> T {
    // SAFETY: the caller's promise.
    unsafe { object.byte_add(offset).cast::<T>().read() }
}

/// A function of the loaded libraries.
///
/// # Safety
/// `F` is a function pointer of the type that the function has in C.
unsafe fn symbol<F: Copy>(name: &CStr) -> std::result::Result<F, String> {
    assert_eq!(size_of::<F>(), size_of::<*mut c_void>());
    // SAFETY: a C string.
    let address = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    if address.is_null() {
        return Err(format!("{} is missing", name.to_string_lossy()));
    }
    // SAFETY: the sizes are equal, the type is the caller's promise.
    Ok(unsafe { std::mem::transmute_copy(&address) })
}

/// Loads `librte_<name>` for good: where the loader finds it, else from DPDK's directories.
fn dlopen(name: &str) -> std::result::Result<(), String> {
    let file = format!("librte_{name}.so.{ABI}");
    let found = directories().into_iter().map(|directory| directory.join(&file));
    let mut paths = std::iter::once(PathBuf::from(&file)).chain(found.filter(|path| path.exists()));
    let loads = |path: PathBuf| {
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a C string; the constructors register buses and drivers, nothing else.
        unsafe { !libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL).is_null() }
    };
    if paths.any(loads) { Ok(()) } else { Err(format!("{file} cannot be loaded")) }
}

/// Where DPDK may be: pkg-config's answer, then the usual directories; each with its drivers.
fn directories() -> Vec<PathBuf> {
    let told = Command::new("pkg-config").args(["--variable=libdir", "libdpdk"]).output();
    let told = told.map(|output| output.stdout).unwrap_or_default();
    let usual = ["/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64"].map(Path::new);
    let mut all = vec![PathBuf::from(OsStr::from_bytes(told.trim_ascii()))];
    for directory in usual {
        all.push(directory.into());
        all.extend(std::fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()));
    }
    let drivers = all.iter().map(|directory| directory.join(format!("dpdk/pmds-{ABI}.0")));
    let drivers: Vec<_> = drivers.collect();
    all.into_iter().chain(drivers).collect()
}

/// The host, or `None` after saying that the test is skipped.
fn host() -> Option<&'static Host> {
    static HOST: OnceLock<std::result::Result<Host, String>> = OnceLock::new();
    match HOST.get_or_init(Host::load) {
        Ok(host) => Some(host),
        Err(cause) => {
            let wanted =
                ["CI", "HOTPLUG_REQUIRE_DPDK"].iter().find(|v| std::env::var_os(v).is_some());
            assert!(wanted.is_none(), "{wanted:?} is set, and there is no DPDK: {cause}");
            // Not with a macro: what passing tests print is hidden.
            let line = format!("skipped: no DPDK: {cause}\n");
            let _ = std::io::stderr().write_all(line.as_bytes());
            None
        }
    }
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

const LEGACY: &[&str] = &[
    "",
    ",",
    ",,",
    ":",
    "::",
    " ",
    "x",
    "net_null",
    "net_null0",
    "net_null0,",
    "net_null0,,",
    "net_null0,copy=1",
    "net_null0,copy=1,size=64",
    "net_null0,a=[1,2]",
    "net_null0:x",
    "eth_null0",
    "eth_null0,x",
    "net_nul",
    "net_nul,l0",
    "Net_null0",
    " net_null0",
    "vdev",
    "vdev,",
    "vdev:",
    "vdev:,",
    "vdev:x",
    "vdev:net_null0",
    "vdev:net_null0,copy=1",
    "vdev,net_null0",
    "vdevXnet_null0",
    "vdevnet_null0",
    "vdev::net_null0",
    "vdev:vdev:net_null0",
    "vdev:0000:02:00.0",
    "pci",
    "pci:",
    "pci:net_null0",
    "pci:02:00.0",
    "pci:0000:02:00.0",
    "pci:0000:02:00.0,a=b",
    "pci,02:00.0",
    "0000:02:00.0",
    "0000:02:00.0,a=b",
    "02:00.0",
    "2:0.0",
    "2:0.0 ",
    " 2:0.0",
    "\t2:0.0",
    "+2:+0.+0",
    "-2:0.0",
    "2:-0.0",
    "0x2:0x0.0x0",
    "0x:0.0",
    ":0.0",
    "::.",
    ":.",
    "2:.0",
    "2:0.",
    "2:0",
    "ff:1f.7",
    "ff:20.7",
    "ff:1f.8",
    "ff:ff.ff",
    "100:0.0",
    "0:100.0",
    "0:0.100",
    "ffffffff:0:0.0",
    "100000000:0:0.0",
    "10000000000000000:0:0.0",
    "0:0:0:0.0",
    "0000000000000000000000000000000000000000000000000000000002:00.0",
    "auxiliary",
    "auxiliary:",
    "auxiliary:x",
    "auxiliary,x",
    "vmbus:635a7ae3-091e-4410-ad59-667c4f8c04c3",
    "635a7ae3-091e-4410-ad59-667c4f8c04c3,latency=20",
    "635a7ae3-091e-4410-ad59-667c4f8c04c",
    "nobus:net_null0",
    "net_null0/x",
    "net_null0/bus",
    "net_null0/bus=",
    "net_null0,iface=/driver=x",
    "net_null0\u{e9}",
    "net_null0\n",
];

const LAYERED: &[&str] = &[
    "bus=",
    "bus=,",
    "bus=,name=x",
    "bus=vdev",
    "bus=vdev,",
    "bus=vdev,name",
    "bus=vdev,name=",
    "bus=vdev,name=x",
    "bus=vdev,name,name=x",
    "bus=vdev,name=x,name=y",
    "bus=vdev,name=x=y",
    "bus=vdev=x",
    "bus=x=vdev",
    "bus=bus=vdev",
    "x=bus=vdev,name=x",
    "=bus=vdev,name=x",
    "bus=vdev,a=b,name=net_null0",
    "name=net_null0,bus=vdev",
    ",bus=vdev,name=x",
    ",,,bus=vdev,name=x",
    "bus=vdev,name=[a,b]",
    "bus=vdev,name=[a,b",
    "bus=vdev,name=a]b,c",
    "[bus=vdev,name=x",
    "bus=[vdev],name=x",
    "bus=nobus,name=x",
    "bus=pci",
    "bus=pci,name=x",
    "bus=pci,addr",
    "bus=pci,addr=",
    "bus=pci,addr=x",
    "bus=pci,addr=02:00.0",
    "bus=pci,addr=0000:02:00.0",
    "bus=pci,addr=12345:02:1F.7",
    "bus=pci,addr=02:00.0,addr=x",
    "bus=pci,addr=x,addr=02:00.0",
    "bus=pci,addr=02:00.0,name=x",
    "bus=pci,addr=02:00.0/class=eth",
    "bus=pci,addr=02:00.0/class=eth/driver=ixgbe,k=v",
    "bus=pci,addr=02:00.0/driver=ixgbe,k=v",
    "driver=ixgbe,k=v/bus=pci,addr=02:00.0",
    "bus=vdev,name=x/bus=pci,addr=02:00.0",
    "bus=pci,addr=02:00.0/bus=vdev,name=x",
    "bus=pci,addr=x/bus=vdev,name=x",
    "bus=vdev,name=x/bus=nobus",
    "class=eth",
    "class=eth,mac=00:11:22:33:44:55",
    "class=eth/driver=net_null",
    "class=eth/bus=vdev,name=x",
    "class=none",
    "class=",
    "class==eth",
    "bus=vdev,name=x/class=none",
    "bus=vdev,name=x/class=",
    "bus=vdev,name=x/class",
    "bus=vdev,name=x/driver",
    "bus=vdev,name=x/driver=",
    "bus=vdev,name=x/driver=/driver=y",
    "bus=vdev,name=x/driver=a/driver=b",
    "driver",
    "driver=",
    "driver=x",
    "driver=x/driver=y/driver=z",
    "/bus=vdev,name=x",
    "//bus=vdev,name=x",
    "x/bus=vdev,name=net_null0",
    "net_null0/bus=vdev,name=net_null1",
    "bus=vdev,name=x/",
    "bus=vdev,name=x//",
    "bus=vdev,name=x/other=y",
    "bus=vdev,name=x/y",
    "bus=vdev/name=x",
    "bus=auxiliary",
    "bus=auxiliary,name=mlx5_core.sf.1",
    "bus=vmbus,name=635a7ae3-091e-4410-ad59-667c4f8c04c3",
    "bus=vdev,name=x/Bus=y",
    "BUS=vdev,name=x",
    "bus =vdev",
];

/// Texts around the limits: name lengths, numbers of pairs.
fn limits() -> Vec<String> {
    let around = NAME_SIZE - 3..NAME_SIZE + 3;
    let lengths = around.chain([0, 1, 200, 10_240]).flat_map(|length| {
        let name = format!("net_null{}", "n".repeat(length.saturating_sub(8)));
        let zeros = format!("{}2:0.0", "0".repeat(length.saturating_sub(5)));
        [
            name.clone(),
            format!("{name},a=b"),
            format!("vdev:{name}"),
            format!("bus=vdev,name={name}"),
            format!("net_null0,{name}"),
            format!("bus=pci,addr={zeros}"),
            format!("pci:{zeros}"),
            "n".repeat(length),
        ]
    });
    let pairs = (MAX_PAIRS - 2..MAX_PAIRS + 3).flat_map(|count| {
        [
            format!("bus=vdev,name=x{}", ",k=v".repeat(count)),
            format!("bus=vdev,name=x{}", ",k".repeat(count)),
            format!("bus=vdev,name=x{}", ",".repeat(count)),
            format!("bus=vdev,name=x{},", ",k".repeat(count)),
            format!("bus=vdev,name=x/driver=d{}", ",k=v".repeat(count)),
            format!("net_null0{}", ",k=v".repeat(count)),
        ]
    });
    lengths.chain(pairs).collect()
}

/// Texts that the host's parser does not survive.
const BREAKING: &[&str] = &[
    "bus",
    "class",
    "bus,name=x",
    "class,x",
    ",bus",
    ",,class,a=b",
    "class=eth/bus=vdev,name=x/driver=a/driver=b",
    "bus=vdev/bus=vdev/bus=vdev/bus=vdev",
    "/bus=/class=/driver=",
    "net_null0/driver=/driver=/driver=/driver=/driver=/driver=",
];

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

fn at_random(
    strings: &impl Strategy<Value = Vec<u8>>,
    check: impl Fn(&[u8]) -> std::result::Result<(), TestCaseError>,
) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) };
    TestRunner::new(config).run(strings, |text| check(&text)).unwrap_or_else(|e| panic!("{e}"));
}

fn shown(text: &[u8]) -> String {
    text.escape_ascii().to_string()
}

/// Words of the grammar in any order, a few of them many times, and raw bytes.
fn devargs_string() -> impl Strategy<Value = Vec<u8>> {
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

/// Numbers as `strtoul` takes and refuses them, between the delimiters of an address or others.
fn address_string() -> impl Strategy<Value = Vec<u8>> {
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

/// Layers that are nearly well formed.
fn layered_string() -> impl Strategy<Value = Vec<u8>> {
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
