//! The DPDK in this process: its parsers, its buses, and how it is loaded.

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rte_hotplug::error::{Error, Kind, Result};
use rte_hotplug::hosted::layout::{
    DEVARGS_ARGS, DEVARGS_BUS, DEVARGS_NAME, DEVARGS_ROOM, Layout, NAME, Version,
};
use rte_hotplug::proto::devargs::{Buses, default_layered_name};
use rte_hotplug::proto::kvargs::{self, MAX_PAIRS, Pair};
use rte_hotplug::proto::pci;

/// The libraries of DPDK 22.11 to 23.07.
const ABI: &str = "23";
/// Loaded in this order, which is the order of the buses.
const REQUIRED: &[&str] = &["kvargs", "eal", "ethdev", "bus_pci", "bus_vdev", "net_null"];
/// More buses, for their `parse` functions.
const OPTIONAL: &[&str] = &["bus_auxiliary", "bus_vmbus"];

type Compare = unsafe extern "C" fn(*const c_void, *const c_void) -> c_int;

/// The host, or `None` after saying that the test is skipped.
pub fn host() -> Option<&'static Host> {
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

/// The functions of the host.
pub struct Host {
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
pub type OwnPair = (Vec<u8>, Option<Vec<u8>>);

/// What both parsers say of a text.
#[derive(Debug, PartialEq)]
pub enum Parsed {
    Refused(i32),
    Taken { bus: Option<Vec<u8>>, name: Vec<u8>, arguments: Vec<u8> },
}

/// The host's buses as our parser asks for them.
pub struct HostBuses {
    host: &'static Host,
    buses: Vec<Bus>,
}

/// A bus of the host.
#[derive(Clone)]
pub struct Bus {
    pub name: Vec<u8>,
    /// `rte_bus.parse`
    parse: Option<unsafe extern "C" fn(*const c_char, *mut c_void) -> c_int>,
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
            let layout =
                Version::parse(&version).and_then(|version| Layout::of(version, false).ok());
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
    pub fn buses(&'static self) -> HostBuses {
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

    pub fn parse(&self, devargs: &[u8]) -> Parsed {
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

    pub fn kvargs(&self, list: &[u8]) -> Option<Vec<OwnPair>> {
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

impl PartialEq for Bus {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
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
