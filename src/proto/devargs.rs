//! Device arguments: the layered syntax (`bus=pci,addr=02:00.0/class=eth/driver=ixgbe,k=v`) and the
//! legacy one (`pci:0000:02:00.0,k=v`), accepted and refused as `rte_devargs_parse` does.

use super::kvargs::{self, Pair};
use crate::error::{Error, Kind, Result};

/// A device name, its final NUL included, has to fit in this many bytes.
pub const NAME_SIZE: usize = 64;
/// A string has at most a bus, a class and a driver layer.
const MAX_LAYERS: usize = 3;
const LAYER_KEYS: [&[u8]; MAX_LAYERS] = [b"bus", b"class", b"driver"];

/// What the parser has to know about the buses.
pub trait Buses {
    /// A bus.
    type Bus: Clone + PartialEq;
    /// The buses in order of registration.
    fn all(&self) -> Vec<Self::Bus>;
    /// A bus's name.
    fn name<'a>(&self, bus: &'a Self::Bus) -> &'a [u8];
    /// Whether the bus takes a device of this name.
    fn accepts(&self, bus: &Self::Bus, device: &[u8]) -> bool;
    /// The device name that a `bus=…` layer stands for; the empty name when it gives none.
    fn layered_name(&self, bus: &Self::Bus, layer: &[Pair<'_>]) -> Result<Vec<u8>>;
    /// Whether a device class of this name exists.
    fn has_class(&self, class: &[u8]) -> bool;
}

/// Parsed device arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Devargs<B> {
    /// The bus; `None` when only a class was named.
    pub bus: Option<B>,
    /// The class, if one was named.
    pub class: Option<Vec<u8>>,
    /// The device name.
    pub name: Vec<u8>,
    /// Legacy: what follows the first comma. Layered: the `driver=…` layer.
    pub arguments: Vec<u8>,
}

/// Parses `text`, layered syntax first.
pub fn parse<S: Buses>(buses: &S, text: &[u8]) -> Result<Devargs<S::Bus>> {
    if let Ok(Some(devargs)) = parse_layered(buses, text) {
        return Ok(devargs);
    }
    parse_legacy(buses, text)
}

/// The device name of a `bus=…` layer for buses without a rule of their own: its `name=`.
pub fn default_layered_name(layer: &[Pair<'_>]) -> Result<Vec<u8>> {
    let name = kvargs::get(layer, b"name").unwrap_or_default();
    if name.len() >= NAME_SIZE {
        return Err(Error::new(Kind::TooBig, "devargs: the device name is longer than 63 bytes"));
    }
    Ok(name.to_vec())
}

/// Whether the host's parser reads through a null pointer (`bus` or `class` without a value) or
/// writes past its array (more than three layers) on this text.
pub fn breaks_host_parser(text: &[u8]) -> bool {
    let layers = split_layers(text);
    layers.len() > MAX_LAYERS
        || layers.iter().any(|layer| {
            let pairs = kvargs::parse(layer);
            let first = pairs.as_ref().and_then(|pairs| pairs.first());
            first.is_some_and(|p| matches!(p.key, b"bus" | b"class") && p.value.is_none())
        })
}

/// A bus named in so many words.
#[derive(Debug, PartialEq, Eq)]
pub struct ExplicitBus<'a> {
    /// Its name.
    pub bus: &'a [u8],
    /// Whether a `bus=` layer names it, not `name:`.
    pub by_layer: bool,
}

/// The bus that `text` names in so many words: by a `bus=` layer, or as what stands before a colon.
pub fn explicit_bus(text: &[u8]) -> Option<ExplicitBus<'_>> {
    let layer = split_layers(text).into_iter().find(|layer| layer.starts_with(b"bus="));
    if let Some(layer) = layer {
        let bus = layer[4..].split(|b| *b == b',').next()?;
        return Some(ExplicitBus { bus, by_layer: true });
    }
    let device = text.split(|b| *b == b',').next()?;
    let colon = device.iter().position(|b| *b == b':')?;
    Some(ExplicitBus { bus: &device[..colon], by_layer: false })
}

fn parse_layered<S: Buses>(buses: &S, text: &[u8]) -> Result<Option<Devargs<S::Bus>>> {
    let layers = split_layers(text);
    if layers.len() > MAX_LAYERS {
        return Err(Error::new(Kind::TooBig, "devargs: more than a bus, a class and a driver"));
    }
    let mut devargs = Devargs { bus: None, class: None, name: vec![], arguments: vec![] };
    let mut bus_layer = vec![];
    let lists = layers
        .iter()
        .map(|layer| kvargs::parse(layer).ok_or_else(|| invalid("more than 32 pairs")))
        .collect::<Result<Vec<_>>>()?;
    for (layer, pairs) in layers.iter().zip(lists) {
        let Some(first) = pairs.first() else { continue };
        let value = first.value.ok_or_else(|| invalid("a layer's key has no value"));
        match first.key {
            b"bus" => {
                let wanted = value?;
                let bus = buses.all().into_iter().find(|b| buses.name(b) == wanted);
                devargs.bus = Some(bus.ok_or_else(|| unknown("bus", wanted))?);
                bus_layer = pairs;
            }
            b"class" => {
                let wanted = value?;
                if !buses.has_class(wanted) {
                    return Err(unknown("class", wanted));
                }
                devargs.class = Some(wanted.to_vec());
            }
            b"driver" => devargs.arguments = layer.to_vec(),
            _ => {}
        }
    }
    if let Some(bus) = &devargs.bus {
        devargs.name = buses.layered_name(bus, &bus_layer)?;
    }
    Ok((devargs.bus.is_some() || devargs.class.is_some()).then_some(devargs))
}

/// A layer starts at a `/` that is followed by a layer key and `=`.
fn split_layers(text: &[u8]) -> Vec<&[u8]> {
    let mut layers = vec![];
    let mut start = 0;
    for at in 0..text.len() {
        if text[at] == b'/' && starts_layer(&text[at + 1..]) {
            layers.push(&text[start..at]);
            start = at + 1;
        }
    }
    layers.push(&text[start..]);
    layers
}

fn starts_layer(text: &[u8]) -> bool {
    LAYER_KEYS.iter().any(|key| text.strip_prefix(*key).is_some_and(|rest| rest.starts_with(b"=")))
}

fn parse_legacy<S: Buses>(buses: &S, text: &[u8]) -> Result<Devargs<S::Bus>> {
    let named = buses.all().into_iter().find_map(|bus| {
        let rest = text.strip_prefix(buses.name(&bus))?.get(1..).unwrap_or_default();
        (by_device_name(buses, rest).as_ref() == Some(&bus)).then_some((bus, rest))
    });
    let (bus, rest) = match named {
        Some((bus, rest)) => (Some(bus), rest),
        None => (None, text),
    };
    let comma = rest.iter().position(|b| *b == b',');
    let name = &rest[..comma.unwrap_or(rest.len())];
    if name.len() >= NAME_SIZE {
        return Err(invalid("the device name is longer than 63 bytes"));
    }
    let bus = bus.or_else(|| by_device_name(buses, name)).ok_or_else(|| {
        let known: Vec<_> = buses.all().iter().map(|b| lossy(buses.name(b)).into_owned()).collect();
        Error::new(
            Kind::NoBus,
            format!(
                "\"{}\": no bus takes a device of this name: check its spelling and that its \
                 driver is loaded (buses: {})",
                lossy(name),
                known.join(" ")
            ),
        )
    })?;
    let arguments = comma.map(|at| rest[at + 1..].to_vec()).unwrap_or_default();
    Ok(Devargs { bus: Some(bus), class: None, name: name.to_vec(), arguments })
}

/// The first bus that takes the device name at the start of `text`, of which 63 bytes count.
fn by_device_name<S: Buses>(buses: &S, text: &[u8]) -> Option<S::Bus> {
    let text = &text[..text.len().min(NAME_SIZE - 1)];
    let name = text.split(|b| *b == b',').next()?;
    buses.all().into_iter().find(|bus| buses.accepts(bus, name))
}

fn invalid(cause: &'static str) -> Error {
    Error::new(Kind::Invalid, format!("devargs: {cause}"))
}

fn unknown(what: &str, name: &[u8]) -> Error {
    Error::new(Kind::NoBus, format!("devargs: there is no {what} \"{}\"", lossy(name)))
}

fn lossy(bytes: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::pci;

    /// The two buses of every DPDK: `pci` and `vdev` with the driver `net_null`.
    struct Stock;

    impl Buses for Stock {
        type Bus = &'static str;

        fn all(&self) -> Vec<&'static str> {
            vec!["vdev", "pci"]
        }

        fn name<'a>(&self, bus: &'a &'static str) -> &'a [u8] {
            bus.as_bytes()
        }

        fn accepts(&self, bus: &&'static str, device: &[u8]) -> bool {
            match *bus {
                "pci" => pci::Address::parse(device).is_some(),
                _ => device.starts_with(b"net_null"),
            }
        }

        fn layered_name(&self, bus: &&'static str, layer: &[Pair<'_>]) -> Result<Vec<u8>> {
            let ("pci", Some(address)) = (*bus, kvargs::get(layer, b"addr")) else {
                return default_layered_name(layer);
            };
            let address = pci::Address::parse(address).ok_or_else(|| invalid("PCI address"))?;
            Ok(address.to_string().into_bytes())
        }

        fn has_class(&self, class: &[u8]) -> bool {
            class == b"eth"
        }
    }

    fn ok(text: &str) -> (Option<&'static str>, String, String) {
        let d = parse(&Stock, text.as_bytes()).unwrap();
        (d.bus, lossy(&d.name).into_owned(), lossy(&d.arguments).into_owned())
    }

    fn err(text: &str) -> i32 {
        parse(&Stock, text.as_bytes()).unwrap_err().code()
    }

    #[test]
    fn legacy() {
        let own = |bus, name: &str, args: &str| (Some(bus), name.to_owned(), args.to_owned());
        assert_eq!(ok("net_null0"), own("vdev", "net_null0", ""));
        assert_eq!(ok("vdev:net_null0,copy=1"), own("vdev", "net_null0", "copy=1"));
        assert_eq!(ok("0000:02:00.0,arg=v"), own("pci", "0000:02:00.0", "arg=v"));
        assert_eq!(ok("pci:0000:02:00.0"), own("pci", "0000:02:00.0", ""));
        assert_eq!(err("pci"), -libc::EFAULT);
        assert_eq!(err("vdev:nothing0"), -libc::EFAULT);
        assert_eq!(err(""), -libc::EFAULT);
        assert_eq!(err(&"n".repeat(64)), -libc::EINVAL);
        assert_eq!(err(&"n".repeat(63)), -libc::EFAULT);
    }

    #[test]
    fn layered() {
        let text = "bus=pci,addr=02:00.0/class=eth/driver=ixgbe,k=v";
        assert_eq!(ok(text), (Some("pci"), "0000:02:00.0".into(), "driver=ixgbe,k=v".into()));
        assert_eq!(ok("bus=vdev,name=x").1, "x");
        assert_eq!(ok("class=eth").0, None);
        assert_eq!(err("bus=none,name=x"), -libc::EFAULT);
        assert_eq!(err("bus=vdev/class=none"), -libc::EFAULT);
        assert_eq!(err("bus"), -libc::EFAULT);
        assert_eq!(err("bus=vdev/class=eth/driver=a/driver=b"), -libc::EFAULT);
    }

    #[test]
    fn buses_named_in_so_many_words() {
        let named = |text: &'static str| explicit_bus(text.as_bytes());
        let bus = |bus: &'static str, by_layer| Some(ExplicitBus { bus: bus.as_bytes(), by_layer });
        assert_eq!(named("vdev:net_null0,a:b"), bus("vdev", false));
        assert_eq!(named("0000:02:00.0"), bus("0000", false));
        assert_eq!(named("bus=vdev,name=x/driver=y"), bus("vdev", true));
        assert_eq!(named("class=eth/bus=pci"), bus("pci", true));
        assert_eq!(named("net_null0,a:b"), None);
    }

    #[test]
    fn strings_that_crash_the_host_are_known() {
        for text in ["bus", "class", "bus,a=b", "a/bus=x/class=y/driver=z"] {
            assert!(breaks_host_parser(text.as_bytes()), "{text}");
        }
        for text in ["", "bus=", "driver", "net_null0", "bus=pci/class=eth/driver=x", "a/class"] {
            assert!(!breaks_host_parser(text.as_bytes()), "{text}");
        }
    }
}
