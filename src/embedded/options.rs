//! The EAL command line, as much of it as the embedded runtime understands.

use std::ffi::CString;

use crate::error::{Error, Kind, Result};

/// `--proc-type`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProcType {
    /// The first process of its group; all others need it.
    #[default]
    Primary,
    /// Shares the devices of a primary.
    Secondary,
    /// Secondary if there is a primary, else primary.
    Auto,
}

/// What the command line asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// `--file-prefix`
    pub file_prefix: Option<String>,
    /// `--proc-type`
    pub proc_type: ProcType,
    /// `--vdev`, in order.
    pub vdevs: Vec<CString>,
    /// `-a`, `--allow`: the only devices to attach at start.
    pub allowed: Vec<CString>,
    /// `-b`, `--block`: devices not to attach at start.
    pub blocked: Vec<CString>,
    /// `--no-pci`
    pub no_pci: bool,
    /// `--in-memory`
    pub in_memory: bool,
    /// `--no-huge`; the embedded runtime uses no huge pages anyway.
    pub no_huge: bool,
    /// `--no-shconf`
    pub no_shconf: bool,
    /// `--log-level`, the last one that concerns this library.
    pub log_level: Option<log::LevelFilter>,
    /// Options of EAL that mean nothing here.
    pub ignored: Vec<String>,
    /// How many elements of `argv` belong to EAL, the program name included.
    pub consumed: usize,
}

/// Long options of EAL without a value; every other one takes the next word unless it has a `=`.
const FLAGS: &[&str] = &[
    "auto-probing",
    "create-uio-dev",
    "help",
    "huge-unlink",
    "huge-worker-stack",
    "in-memory",
    "legacy-mem",
    "match-allocations",
    "no-auto-probing",
    "no-hpet",
    "no-huge",
    "no-pci",
    "no-shconf",
    "no-telemetry",
    "single-file-segments",
    "telemetry",
    "version",
    "vmware-tsc-map",
];

/// Options with a value that mean something here.
const UNDERSTOOD: &[&str] =
    &["file-prefix", "proc-type", "vdev", "a", "allow", "b", "block", "log-level"];

/// Short options of EAL that take a value.
const SHORT_WITH_VALUE: &[u8] = b"abcdlmnrs";

impl Options {
    /// Reads `argv`, the program name first, up to `--` or the first word that is no option.
    pub fn parse(argv: &[&[u8]]) -> Result<Self> {
        let mut options = Self::default();
        let mut words = argv.iter().enumerate().skip(1).peekable();
        options.consumed = argv.len().saturating_sub(1);
        while let Some((at, word)) = words.next() {
            if *word == b"--" {
                options.consumed = at;
                return options.checked();
            }
            let Some((name, attached)) = split_option(word) else {
                options.consumed = at - 1;
                return options.checked();
            };
            let value = match attached {
                Some(value) => Some(value),
                None if UNDERSTOOD.contains(&name.as_str()) => {
                    let next = words.next().ok_or_else(|| invalid(&name, "needs a value"))?;
                    Some(*next.1)
                }
                // It may be a flag that is not known: the next option is not its value.
                None if takes_value(&name) => {
                    words.next_if(|(_, next)| !next.starts_with(b"-")).map(|(_, next)| *next)
                }
                None => None,
            };
            options.apply(&name, value)?;
        }
        options.checked()
    }

    fn apply(&mut self, name: &str, value: Option<&[u8]>) -> Result<()> {
        let text = || c_string(name, value.unwrap_or_default());
        match name {
            "file-prefix" => self.file_prefix = Some(prefix(value.unwrap_or_default())?),
            "proc-type" => self.proc_type = proc_type(value.unwrap_or_default())?,
            "vdev" => self.vdevs.push(text()?),
            "a" | "allow" => self.allowed.push(text()?),
            "b" | "block" => self.blocked.push(text()?),
            "no-pci" => self.no_pci = true,
            "in-memory" => self.in_memory = true,
            "no-huge" => self.no_huge = true,
            "no-shconf" => self.no_shconf = true,
            "log-level" => self.set_log_level(value.unwrap_or_default())?,
            other => self.ignored.push(dashed(other)),
        }
        Ok(())
    }

    /// `LEVEL`, `PATTERN:LEVEL` or `REGEX,LEVEL`; patterns that cannot mean us are skipped.
    fn set_log_level(&mut self, value: &[u8]) -> Result<()> {
        let value = String::from_utf8_lossy(value);
        if value == "help" {
            return Ok(());
        }
        let (pattern, level) = value.rsplit_once([':', ',']).unwrap_or(("", &value));
        let level = log_level(level).ok_or_else(|| invalid("log-level", "has no such level"))?;
        if pattern.is_empty() || means_us(pattern) {
            self.log_level = Some(level);
        }
        Ok(())
    }

    fn checked(self) -> Result<Self> {
        if !self.allowed.is_empty() && !self.blocked.is_empty() {
            return Err(invalid("a", "and -b cannot be used together"));
        }
        Ok(self)
    }
}

/// An option's name without dashes, and the value attached to it; `None` for other words.
fn split_option(word: &[u8]) -> Option<(String, Option<&[u8]>)> {
    if let Some(long) = word.strip_prefix(b"--") {
        let mut parts = long.splitn(2, |b| *b == b'=');
        let name = String::from_utf8_lossy(parts.next()?).into_owned();
        return Some((name, parts.next()));
    }
    let [b'-', short, attached @ ..] = word else { return None };
    let name = char::from(*short).to_string();
    Some((name, (!attached.is_empty()).then_some(attached)))
}

fn takes_value(name: &str) -> bool {
    match name.as_bytes() {
        [short] => SHORT_WITH_VALUE.contains(short),
        _ => !FLAGS.contains(&name),
    }
}

fn prefix(value: &[u8]) -> Result<String> {
    let text = String::from_utf8_lossy(value).into_owned();
    if text.is_empty() || text.contains(['/', '%']) {
        return Err(invalid("file-prefix", "must be a plain file name"));
    }
    Ok(text)
}

fn proc_type(value: &[u8]) -> Result<ProcType> {
    match value.to_ascii_lowercase().as_slice() {
        b"primary" => Ok(ProcType::Primary),
        b"secondary" => Ok(ProcType::Secondary),
        b"auto" => Ok(ProcType::Auto),
        _ => Err(invalid("proc-type", "is one of primary, secondary, auto")),
    }
}

fn log_level(text: &str) -> Option<log::LevelFilter> {
    use log::LevelFilter::{Debug, Error, Info, Off, Warn};
    Some(match text {
        "disable" | "disabled" => Off,
        "emerg" | "emergency" | "alert" | "crit" | "critical" | "err" | "error" => Error,
        "warn" | "warning" | "notice" => Warn,
        "info" => Info,
        "debug" | "max" => Debug,
        number => match number.parse::<u32>().ok()? {
            0 => Off,
            1..=4 => Error,
            5 | 6 => Warn,
            7 => Info,
            _ => Debug,
        },
    })
}

/// Whether a log pattern covers `lib.hotplug`: `*`, `lib.*`, `lib.hotplug`, and the regex forms.
fn means_us(pattern: &str) -> bool {
    let pattern = pattern.trim_start_matches('^').trim_end_matches('$').replace(".*", "*");
    match pattern.split_once('*') {
        Some((start, _)) => "lib.hotplug".starts_with(start),
        None => pattern == "lib.hotplug",
    }
}

fn c_string(name: &str, value: &[u8]) -> Result<CString> {
    CString::new(value).map_err(|_| invalid(name, "has a NUL byte in its value"))
}

fn dashed(name: &str) -> String {
    if name.len() == 1 { format!("-{name}") } else { format!("--{name}") }
}

fn invalid(name: &str, cause: &str) -> Error {
    Error::new(Kind::Invalid, format!("{} {cause}", dashed(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Options> {
        let argv: Vec<_> = words.iter().map(|w| w.as_bytes()).collect();
        Options::parse(&argv)
    }

    #[test]
    fn known_options() {
        let options = parse(&[
            "app",
            "--vdev",
            "a0,k=v",
            "--vdev=b0",
            "-a",
            "0000:01:00.0",
            "--no-pci",
            "--no-huge",
            "--in-memory",
            "--no-shconf",
            "--file-prefix",
            "x",
            "--proc-type=auto",
            "--log-level=8",
            "--",
            "-z",
        ])
        .unwrap();
        assert_eq!(options.vdevs, [c"a0,k=v".to_owned(), c"b0".to_owned()]);
        assert_eq!(options.allowed, [c"0000:01:00.0".to_owned()]);
        assert!(options.no_pci && options.no_huge && options.in_memory && options.no_shconf);
        assert_eq!(options.file_prefix.as_deref(), Some("x"));
        assert_eq!(options.proc_type, ProcType::Auto);
        assert_eq!(options.log_level, Some(log::LevelFilter::Debug));
        assert!(options.ignored.is_empty());
        assert_eq!(options.consumed, 14);
    }

    #[test]
    fn others_are_accepted() {
        let options =
            parse(&["app", "-l", "0-1", "-n4", "--telemetry", "--main-lcore", "0"]).unwrap();
        assert_eq!(options.ignored, ["-l", "-n", "--telemetry", "--main-lcore"]);
        assert_eq!(options.consumed, 6);
        let options = parse(&["app", "--new-flag", "--vdev", "a0"]).unwrap();
        assert_eq!((options.vdevs.len(), options.ignored.len()), (1, 1));
        assert_eq!(parse(&["app"]).unwrap().consumed, 0);
        assert_eq!(parse(&[]).unwrap().consumed, 0);
        assert_eq!(parse(&["app", "--no-pci", "word"]).unwrap().consumed, 1);
    }

    #[test]
    fn bad_values_are_refused() {
        for words in [
            &["app", "--vdev"][..],
            &["app", "--proc-type=chief"],
            &["app", "--file-prefix=a/b"],
            &["app", "--log-level=loud"],
            &["app", "-a", "x", "-b", "y"],
        ] {
            assert_eq!(parse(words).unwrap_err().kind(), Kind::Invalid, "{words:?}");
        }
    }

    #[test]
    fn log_patterns() {
        let level = |text| parse(&["app", "--log-level", text]).unwrap().log_level;
        assert_eq!(level("lib.hotplug:debug"), Some(log::LevelFilter::Debug));
        assert_eq!(level("lib.*:info"), Some(log::LevelFilter::Info));
        assert_eq!(level("^lib.hotplug$,err"), Some(log::LevelFilter::Error));
        assert_eq!(level("lib.eal:debug"), None);
    }
}
