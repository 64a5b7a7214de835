//! Where log lines go: the host's `rte_log`, or standard error through `env_logger`.

use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sys::lock::OnceCell;
use env_logger::{Builder, Env};
use log::{LevelFilter, Log, Metadata, Record};

use crate::hosted::host::Host;
use crate::hosted::logging::HostLog;
use crate::sys::fork;

/// The variable with an `env_logger` filter for the embedded mode, `debug` for instance.
pub const VARIABLE: &str = "RTE_HOTPLUG_LOG";

/// Sends log lines to standard error; `level` (from `--log-level`) goes before the variable.
pub fn use_stderr(level: Option<LevelFilter>) {
    install();
    if let Some(level) = level {
        ROUTER.level.store(level as usize, Ordering::Relaxed);
    }
}

/// Sends log lines to the host's log from now on.
pub fn use_host(host: &Host) {
    install();
    if let Some(log) = HostLog::of(host) {
        // A second set cannot differ: there is one host.
        let _ = ROUTER.host.set(log);
    }
}

/// A Rust program that uses this crate keeps a logger of its own.
fn install() {
    static INSTALLED: OnceCell<()> = OnceCell::new();
    INSTALLED.get_or_init(|| {
        if log::set_logger(&ROUTER).is_ok() {
            log::set_max_level(LevelFilter::Debug);
        }
    });
}

const NO_LEVEL: usize = usize::MAX;

struct Router {
    host: OnceCell<&'static HostLog>,
    stderr: OnceCell<env_logger::Logger>,
    /// The `LevelFilter` of `--log-level`.
    level: AtomicUsize,
}

static ROUTER: Router =
    Router { host: OnceCell::new(), stderr: OnceCell::new(), level: AtomicUsize::new(NO_LEVEL) };

impl Router {
    fn stderr(&self) -> &env_logger::Logger {
        self.stderr.get_or_init(|| {
            Builder::from_env(Env::new().filter_or(VARIABLE, "warn"))
                .format(|out, record| {
                    writeln!(out, "HOTPLUG: {}: {}", record.level(), record.args())
                })
                .build()
        })
    }
}

impl Log for Router {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        if let Some(host) = self.host.get() {
            return host.enabled(metadata.level());
        }
        match self.level.load(Ordering::Relaxed) {
            NO_LEVEL => self.stderr().enabled(metadata),
            level => metadata.level() as usize <= level,
        }
    }

    fn log(&self, record: &Record<'_>) {
        // What writes has locks of its own.
        let _held = fork::hold();
        if !self.enabled(record.metadata()) {
            return;
        }
        match self.host.get() {
            Some(host) => host.line(record.level(), &record.args().to_string()),
            None if self.level.load(Ordering::Relaxed) == NO_LEVEL => self.stderr().log(record),
            None => {
                // Written at once: others write there, too. A closed one is no reason to fail.
                let line = format!("HOTPLUG: {}: {}\n", record.level(), record.args());
                drop(std::io::stderr().write_all(line.as_bytes()));
            }
        }
    }

    fn flush(&self) {
        if self.host.get().is_none() {
            self.stderr().flush();
        }
    }
}
