//! PCI functions: their addresses as DPDK writes them (`DDDD:BB:DD.F`, the domain optional), their ids,
//! and what names several of them.

use std::ffi::{CStr, CString};
use std::fmt;

/// A PCI address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Domain, 0 unless given.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device.
    pub device: u8,
    /// Function.
    pub function: u8,
}

/// What the kernel shows of a PCI function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Function {
    /// Differs from that of whatever had its address before.
    pub identity: u64,
    /// Its path below `/sys`.
    pub devpath: CString,
    /// The kernel driver that is bound to it.
    pub driver: Option<CString>,
}

/// What kind of function it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Base class, subclass and programming interface.
    pub class: u32,
    /// Vendor.
    pub vendor: u16,
    /// Device.
    pub device: u16,
    /// Vendor of the whole card.
    pub subsystem_vendor: u16,
    /// The card.
    pub subsystem_device: u16,
}

/// The functions that a driver is for: an entry of its id table. `None` stands for any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IdMatch {
    /// Base class, subclass and programming interface.
    pub class: Option<u32>,
    /// Vendor.
    pub vendor: Option<u16>,
    /// Device.
    pub device: Option<u16>,
    /// Vendor of the whole card.
    pub subsystem_vendor: Option<u16>,
    /// The card.
    pub subsystem_device: Option<u16>,
}

impl IdMatch {
    /// Whether it stands for these ids.
    pub fn matches(&self, ids: &Ids) -> bool {
        let is = |wanted: Option<u16>, value| wanted.is_none_or(|wanted| wanted == value);
        self.class.is_none_or(|class| class == ids.class)
            && is(self.vendor, ids.vendor)
            && is(self.device, ids.device)
            && is(self.subsystem_vendor, ids.subsystem_vendor)
            && is(self.subsystem_device, ids.subsystem_device)
    }
}

/// Names one function by its address, or several by what they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Whatever is at this address.
    At(Address),
    /// Functions of a vendor and a device, `None` for any.
    Kind(Option<u16>, Option<u16>),
}

impl Pattern {
    /// Reads an address, or `VENDOR:DEVICE` of four hexadecimal digits or a `*` each.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let kind = || {
            let text = std::str::from_utf8(text).ok()?;
            let (vendor, device) = text.split_once(':')?;
            Some(Self::Kind(id_or_any(vendor)?, id_or_any(device)?))
        };
        Address::parse(text).map(Self::At).or_else(kind)
    }

    /// Whether it stands for a function.
    pub fn matches(&self, address: &CStr, ids: Option<&Ids>) -> bool {
        match self {
            Self::At(at) => Address::parse(address.to_bytes()) == Some(*at),
            Self::Kind(vendor, device) => ids.is_some_and(|ids| {
                vendor.is_none_or(|vendor| vendor == ids.vendor)
                    && device.is_none_or(|device| device == ids.device)
            }),
        }
    }
}

/// `Some(None)` for any.
fn id_or_any(text: &str) -> Option<Option<u16>> {
    match text {
        "*" => Some(None),
        _ if text.len() == 4 && text.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Some(Some(u16::from_str_radix(text, 16).ok()?))
        }
        _ => None,
    }
}

/// A range of a function's memory or ports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resource {
    /// The physical address.
    pub start: u64,
    /// Its length in bytes; 0: there is none.
    pub length: u64,
    /// Whether it is memory, which can be mapped.
    pub is_memory: bool,
}

/// The base address registers of a function.
pub const BARS: usize = 6;

/// Reads the kernel's table of a function's resources: a line `START END FLAGS` each.
pub fn resources(table: &str) -> [Resource; BARS] {
    const MEMORY: u64 = 0x200;
    let mut resources = [Resource::default(); BARS];
    for (resource, line) in resources.iter_mut().zip(table.lines()) {
        let mut numbers = line.split_whitespace().map(hexadecimal);
        if let (Some(Some(start)), Some(Some(end)), Some(Some(flags))) =
            (numbers.next(), numbers.next(), numbers.next())
        {
            let length = end.checked_sub(start).filter(|_| end != 0).and_then(|n| n.checked_add(1));
            let (length, is_memory) = (length.unwrap_or(0), flags & MEMORY != 0);
            *resource = Resource { start, length, is_memory };
        }
    }
    resources
}

/// A number as sysfs shows it: `0x8086`.
pub fn hexadecimal(text: &str) -> Option<u64> {
    u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok()
}

/// The kernel's name of a function, which DPDK calls as it was first asked for it.
pub fn kernel_name(name: &CStr) -> CString {
    Address::canonical(name).unwrap_or_else(|| name.to_owned())
}

impl Address {
    /// The one way to write the address in this text.
    pub fn canonical(text: &CStr) -> Option<CString> {
        CString::new(Self::parse(text.to_bytes())?.to_string()).ok()
    }

    /// Reads `BB:DD.F` or `DDDD:BB:DD.F`, with the leniency of `strtoul` that DPDK has: leading
    /// zeros, a sign `+`, a prefix `0x`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::parse_bdf(text, 0).or_else(|| {
            let (domain, rest) = number(text, u32::MAX.into())?;
            let (b':', rest) = rest.split_first().map(|(c, r)| (*c, r))? else { return None };
            Self::parse_bdf(rest, u32::try_from(domain).ok()?)
        })
    }

    fn parse_bdf(text: &[u8], domain: u32) -> Option<Self> {
        let (bus, rest) = byte(text, Some(b':'))?;
        let (device, rest) = byte(rest, Some(b'.'))?;
        let (function, _) = byte(rest, None)?;
        Some(Self { domain, bus, device, function })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(f, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

/// A number up to 255 and the delimiter that must follow it (`None`: the end).
fn byte(text: &[u8], delimiter: Option<u8>) -> Option<(u8, &[u8])> {
    if text.is_empty() {
        return None;
    }
    let (value, rest) = number(text, 255)?;
    if rest.first().copied() != delimiter {
        return None;
    }
    Some((u8::try_from(value).ok()?, rest.get(1..).unwrap_or_default()))
}

/// What `strtoul(text, &rest, 16)` reads, up to `max`; without digits 0 and the whole text.
fn number(text: &[u8], max: u64) -> Option<(u64, &[u8])> {
    if matches!(text.first(), Some(b' ' | b'-')) {
        return None;
    }
    let start = text.iter().position(|b| !matches!(b, b'\t'..=b'\r' | b' ')).unwrap_or(text.len());
    let (negative, digits) = match &text[start..] {
        [b'+', rest @ ..] => (false, rest),
        [b'-', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let digits = match digits {
        [b'0', b'x' | b'X', rest @ ..] if rest.first().is_some_and(u8::is_ascii_hexdigit) => rest,
        other => other,
    };
    let end = digits.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(digits.len());
    if end == 0 {
        return Some((0, text));
    }
    let hex = std::str::from_utf8(&digits[..end]).ok()?;
    let value = u64::from_str_radix(hex, 16).ok()?;
    let value = if negative { value.wrapping_neg() } else { value };
    (value <= max).then_some((value, &digits[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Option<String> {
        Address::parse(text.as_bytes()).map(|a| a.to_string())
    }

    #[test]
    fn patterns() {
        let ids = Ids { vendor: 0x8086, device: 0x10d3, ..Ids::default() };
        let matches = |text: &[u8]| {
            Pattern::parse(text).map(|pattern| pattern.matches(c"0000:02:00.0", Some(&ids)))
        };
        for (text, expected) in [
            (&b"02:00.0"[..], Some(true)),
            (b"0000:02:00.1", Some(false)),
            (b"8086:10D3", Some(true)),
            (b"8086:*", Some(true)),
            (b"*:*", Some(true)),
            (b"*:10d4", Some(false)),
            (b"8086", None),
            (b"808:10d3", None),
            (b"+086:10d3", None),
            (b"8086:10d3:", None),
            (b"", None),
        ] {
            assert_eq!(matches(text), expected, "{}", text.escape_ascii());
        }
        let any = Pattern::Kind(None, None);
        assert!(!any.matches(c"0000:02:00.0", None), "what is not known is not matched");
    }

    #[test]
    fn id_tables() {
        let ids = Ids { class: 0x02_0000, vendor: 1, device: 2, ..Ids::default() };
        assert!(IdMatch::default().matches(&ids));
        let exact = IdMatch { vendor: Some(1), device: Some(2), ..IdMatch::default() };
        assert!(exact.matches(&ids));
        assert!(!IdMatch { class: Some(0x01_0802), ..exact }.matches(&ids));
        assert!(!IdMatch { subsystem_device: Some(9), ..exact }.matches(&ids));
    }

    #[test]
    fn tables_of_resources() {
        let table = "0x00000000febc0000 0x00000000febdffff 0x0000000000040200\n\
                     0x000000000000c000 0x000000000000c03f 0x0000000000040101\n\
                     0x0000000000000000 0x0000000000000000 0x0000000000000000\nnonsense\n";
        let found = resources(table);
        assert_eq!(found[0], Resource { start: 0xfebc_0000, length: 0x2_0000, is_memory: true });
        assert_eq!(found[1], Resource { start: 0xc000, length: 0x40, is_memory: false });
        assert_eq!(found[2..], [Resource::default(); 4]);
        assert_eq!(resources("0x10 0x1 0x200")[0].length, 0, "it ends before it starts");
    }

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("02:00.0", Some("0000:02:00.0")),
            ("0000:02:00.0", Some("0000:02:00.0")),
            ("10000:E1:1f.7", Some("10000:e1:1f.7")),
            ("0x2:+0.0", Some("0000:02:00.0")),
            ("2:0.0 ", None),
            (" 2:0.0", None),
            ("2:0.-1", None),
            ("100:0.0", None),
            ("2:0", None),
            ("", None),
            // strtoul reads no digits as 0.
            (":0.0", Some("0000:00:00.0")),
            ("123456789:0:0.0", None),
        ] {
            assert_eq!(shown(text).as_deref(), expected, "{text:?}");
        }
    }
}
