//! PCI addresses as DPDK writes them: `DDDD:BB:DD.F`, the domain optional.

use std::ffi::CString;
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

impl Address {
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
