//! The kernel's device events as they come over netlink: `action@devpath`, then `KEY=VALUE` strings,
//! each with a NUL.

#![forbid(unsafe_code)]

use std::ffi::CStr;
use std::fmt;

use super::pci::Address;

/// The longest message that the kernel makes is 2048 bytes of strings after a path.
pub const MAX_MESSAGE: usize = 8192;

/// What happened to a kernel object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It is there.
    Add,
    /// It has gone.
    Remove,
    /// Something about it is different.
    Change,
    /// It has another name.
    Move,
    /// It works.
    Online,
    /// It does not work for now.
    Offline,
    /// A driver has it.
    Bind,
    /// No driver has it any more.
    Unbind,
}

impl Action {
    const ALL: [(Self, &'static str); 8] = [
        (Self::Add, "add"),
        (Self::Remove, "remove"),
        (Self::Change, "change"),
        (Self::Move, "move"),
        (Self::Online, "online"),
        (Self::Offline, "offline"),
        (Self::Bind, "bind"),
        (Self::Unbind, "unbind"),
    ];

    /// The kernel's word for it.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(action, _)| *action == self).map_or("", |(_, name)| name)
    }

    fn named(name: &[u8]) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| known.as_bytes() == name).map(|(action, _)| *action)
    }
}

/// Why a message is none of the kernel's device events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not end with a NUL.
    Unterminated,
    /// It does not begin with `action@devpath`.
    Header,
    /// It is not made of `KEY=VALUE` strings.
    Pair,
    /// This key has to be there.
    Missing(&'static str),
    /// This key is there twice.
    Repeated(&'static str),
    /// The value of this key makes no sense, or is not what the header says.
    Value(&'static str),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated => write!(f, "its last string has no end"),
            Self::Header => write!(f, "it does not begin with an action and a path"),
            Self::Pair => write!(f, "a string in it is not KEY=VALUE"),
            Self::Missing(key) => write!(f, "{key} is missing"),
            Self::Repeated(key) => write!(f, "{key} is there twice"),
            Self::Value(key) => write!(f, "the value of {key} makes no sense"),
        }
    }
}

/// The keys that are read here: each may be there once.
const KEYS: [&str; 6] = ["ACTION", "DEVPATH", "SUBSYSTEM", "SEQNUM", "DRIVER", "PCI_SLOT_NAME"];

/// A device event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uevent {
    action: Action,
    seqnum: u64,
    /// The `KEY=VALUE` strings, each with its NUL.
    pairs: Box<[u8]>,
}

impl Uevent {
    /// Reads a message.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        if message.last() != Some(&0) {
            return Err(Malformed::Unterminated);
        }
        let end = message.iter().position(|b| *b == 0).unwrap_or(0);
        let (header, pairs) = (&message[..end], &message[end + 1..]);
        let at = header.iter().position(|b| *b == b'@').ok_or(Malformed::Header)?;
        let (action, path) = (&header[..at], &header[at + 1..]);
        check_pairs(pairs)?;
        if value(pairs, "ACTION") != Some(action) {
            return Err(Malformed::Value("ACTION"));
        }
        if value(pairs, "DEVPATH") != Some(path) {
            return Err(Malformed::Value("DEVPATH"));
        }
        let read = Self {
            action: Action::named(action).ok_or(Malformed::Value("ACTION"))?,
            seqnum: number(value(pairs, "SEQNUM").unwrap_or_default())
                .ok_or(Malformed::Value("SEQNUM"))?,
            pairs: pairs.into(),
        };
        match read.get("PCI_SLOT_NAME") {
            Some(name) if read.subsystem() == c"pci" && !is_address(name) => {
                Err(Malformed::Value("PCI_SLOT_NAME"))
            }
            _ => Ok(read),
        }
    }

    /// The event of a PCI device of which no message has come: it was found out otherwise.
    pub fn found_out(action: Action, device: &CStr, devpath: &CStr, driver: Option<&CStr>) -> Self {
        let mut pairs = Vec::new();
        let mut add = |key: &str, value: &[u8]| {
            pairs.extend([key.as_bytes(), b"=", value, b"\0"].concat());
        };
        add("ACTION", action.name().as_bytes());
        add("DEVPATH", devpath.to_bytes());
        add("SUBSYSTEM", b"pci");
        if let Some(driver) = driver {
            add("DRIVER", driver.to_bytes());
        }
        add("PCI_SLOT_NAME", device.to_bytes());
        add("SEQNUM", b"0");
        Self { action, seqnum: 0, pairs: pairs.into() }
    }

    /// What happened.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The kernel's number of the event; 0 for one that was found out otherwise.
    pub fn seqnum(&self) -> u64 {
        self.seqnum
    }

    /// The subsystem: `pci`, `net`, `vfio` and so on.
    pub fn subsystem(&self) -> &CStr {
        self.get("SUBSYSTEM").unwrap_or_default()
    }

    /// The object's path below `/sys`.
    pub fn devpath(&self) -> &CStr {
        self.get("DEVPATH").unwrap_or_default()
    }

    /// The kernel driver that it is about.
    pub fn driver(&self) -> Option<&CStr> {
        self.get("DRIVER")
    }

    /// The address of a PCI function, if it is about one.
    pub fn pci_device(&self) -> Option<&CStr> {
        if self.subsystem() == c"pci" { self.get("PCI_SLOT_NAME") } else { None }
    }

    /// Whether somebody asked the kernel for it, through the `uevent` file of the object.
    pub fn is_synthetic(&self) -> bool {
        self.get("SYNTH_UUID").is_some()
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&CStr> {
        let at = position(&self.pairs, key)?;
        CStr::from_bytes_until_nul(&self.pairs[at..]).ok()
    }

    /// How much memory it takes, about.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.pairs.len()
    }

    /// The message that it would be.
    pub fn to_message(&self) -> Vec<u8> {
        let header = [self.action.name().as_bytes(), b"@", self.devpath().to_bytes_with_nul()];
        [&header.concat(), &*self.pairs].concat()
    }
}

/// Whether all strings are pairs, and the keys that are read are there as often as they may.
fn check_pairs(pairs: &[u8]) -> Result<(), Malformed> {
    let mut seen = [false; KEYS.len()];
    for string in strings(pairs) {
        let equals = string.iter().position(|b| *b == b'=').ok_or(Malformed::Pair)?;
        if equals == 0 {
            return Err(Malformed::Pair);
        }
        if let Some(known) = KEYS.iter().position(|key| key.as_bytes() == &string[..equals]) {
            if std::mem::replace(&mut seen[known], true) {
                return Err(Malformed::Repeated(KEYS[known]));
            }
        }
    }
    // The first four are in every event.
    match seen[..4].iter().position(|seen| !seen) {
        Some(missing) => Err(Malformed::Missing(KEYS[missing])),
        None => Ok(()),
    }
}

fn strings(pairs: &[u8]) -> impl Iterator<Item = &[u8]> {
    pairs.split_inclusive(|b| *b == 0).map(|string| &string[..string.len() - 1])
}

/// Where the value of a key begins.
fn position(pairs: &[u8], key: &str) -> Option<usize> {
    let mut at = 0;
    for string in strings(pairs) {
        if string.strip_prefix(key.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'=')) {
            return Some(at + key.len() + 1);
        }
        at += string.len() + 1;
    }
    None
}

fn value<'a>(pairs: &'a [u8], key: &str) -> Option<&'a [u8]> {
    let rest = &pairs[position(pairs, key)?..];
    rest.split(|b| *b == 0).next()
}

fn number(digits: &[u8]) -> Option<u64> {
    let digits = std::str::from_utf8(digits).ok()?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Whether it is the address of a PCI function as the kernel writes it.
fn is_address(name: &CStr) -> bool {
    Address::parse(name.to_bytes()).is_some_and(|a| a.to_string().as_bytes() == name.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVPATH: &str = "/devices/pci0000:00/0000:00:05.0";

    fn message(header: &str, pairs: &[&str]) -> Vec<u8> {
        let mut message = [header.as_bytes(), b"\0"].concat();
        pairs.iter().for_each(|pair| message.extend([pair.as_bytes(), b"\0"].concat()));
        message
    }

    fn add(more: &[&str]) -> Vec<u8> {
        let path = format!("DEVPATH={DEVPATH}");
        let pairs = [&["ACTION=add", &path, "SUBSYSTEM=pci", "SEQNUM=1234"], more].concat();
        message(&format!("add@{DEVPATH}"), &pairs)
    }

    #[test]
    fn an_event_of_the_kernel() {
        let bytes = add(&["PCI_CLASS=20000", "PCI_SLOT_NAME=0000:00:05.0", "SYNTH_UUID=0"]);
        let event = Uevent::parse(&bytes).unwrap();
        assert_eq!((event.action(), event.seqnum()), (Action::Add, 1234));
        assert_eq!(event.pci_device(), Some(c"0000:00:05.0"));
        assert_eq!(event.devpath().to_str(), Ok(DEVPATH));
        assert_eq!((event.driver(), event.get("PCI_CLASS")), (None, Some(c"20000")));
        assert_eq!(event.get("PCI"), None);
        assert_eq!(event.to_message(), bytes);
    }

    #[test]
    fn other_subsystems_have_no_pci_device() {
        for subsystem in ["pcix", "pci_bus", "vfio", ""] {
            let text = String::from_utf8(add(&["PCI_SLOT_NAME=0000:00:05.0"])).unwrap();
            let text = text.replace("SUBSYSTEM=pci", &format!("SUBSYSTEM={subsystem}"));
            let event = Uevent::parse(text.as_bytes()).unwrap();
            assert_eq!(event.pci_device(), None, "{subsystem}");
        }
    }

    #[test]
    fn every_action_and_no_other() {
        for (action, name) in Action::ALL {
            let text = String::from_utf8(add(&[])).unwrap().replace("add", name);
            assert_eq!(Uevent::parse(text.as_bytes()).unwrap().action(), action);
        }
        let text = String::from_utf8(add(&[])).unwrap().replace("add", "added");
        assert_eq!(Uevent::parse(text.as_bytes()), Err(Malformed::Value("ACTION")));
    }

    #[test]
    fn malformed_messages() {
        let replaced = |from: &str, to: &str| {
            String::from_utf8(add(&["PCI_SLOT_NAME=0000:00:05.0"])).unwrap().replacen(from, to, 1)
        };
        let cases = [
            (String::new(), Malformed::Unterminated),
            ("add@/a".to_owned(), Malformed::Unterminated),
            ("\0".to_owned(), Malformed::Header),
            ("libudev\0\u{fe}".to_owned() + "\0", Malformed::Header),
            ("add@/a\0".to_owned(), Malformed::Missing("ACTION")),
            (replaced("ACTION=add\0", "ACTION=add\0\0"), Malformed::Pair),
            (replaced("SEQNUM=1234", "SEQNUM"), Malformed::Pair),
            (replaced("SEQNUM=1234", "=1234"), Malformed::Pair),
            (replaced("SEQNUM=1234", "SEQNUM="), Malformed::Value("SEQNUM")),
            (replaced("SEQNUM=1234", "SEQNUM=+1"), Malformed::Value("SEQNUM")),
            (replaced("=1234", "=99999999999999999999"), Malformed::Value("SEQNUM")),
            (replaced("SEQNUM=", "SEQNUN="), Malformed::Missing("SEQNUM")),
            (replaced("SUBSYSTEM=pci\0", ""), Malformed::Missing("SUBSYSTEM")),
            (replaced("=add", "=remove"), Malformed::Value("ACTION")),
            (replaced("DEVPATH=/", "DEVPATH=//"), Malformed::Value("DEVPATH")),
            (replaced("NAME=0000:00:05.0", "NAME=00:05.0"), Malformed::Value("PCI_SLOT_NAME")),
            (replaced("NAME=0000:00:05.0", "NAME="), Malformed::Value("PCI_SLOT_NAME")),
            (replaced("SEQNUM=1234", "SEQNUM=1\0SEQNUM=1234"), Malformed::Repeated("SEQNUM")),
            (
                replaced("PCI_SLOT", "PCI_SLOT_NAME=0000:00:06.0\0PCI_SLOT"),
                Malformed::Repeated("PCI_SLOT_NAME"),
            ),
        ];
        for (text, why) in cases {
            assert_eq!(Uevent::parse(text.as_bytes()), Err(why), "{text:?}");
        }
    }

    #[test]
    fn what_was_found_out_reads_like_a_message() {
        let path = std::ffi::CString::new(DEVPATH).unwrap();
        let event = Uevent::found_out(Action::Bind, c"0000:00:05.0", &path, Some(c"vfio-pci"));
        assert_eq!(Uevent::parse(&event.to_message()).as_ref(), Ok(&event));
        assert_eq!((event.driver(), event.seqnum()), (Some(c"vfio-pci"), 0));
        assert_eq!(event.pci_device(), Some(c"0000:00:05.0"));
    }
}
