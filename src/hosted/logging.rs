//! Logging through the host's `rte_log`, with a log type of our own.

use std::ffi::{CString, c_char, c_int};

use crate::sys::lock::OnceCell;

use super::host::Host;

/// `--log-level=lib.hotplug:debug` reaches us under this name.
const LOG_TYPE: &std::ffi::CStr = c"lib.hotplug";

const RTE_LOG_ERR: u32 = 4;
const RTE_LOG_WARNING: u32 = 5;
const RTE_LOG_NOTICE: u32 = 6;
const RTE_LOG_INFO: u32 = 7;
const RTE_LOG_DEBUG: u32 = 8;

type RegisterType = unsafe extern "C" fn(*const c_char, u32) -> c_int;
type CanLog = unsafe extern "C" fn(u32, u32) -> bool;
type Log = unsafe extern "C" fn(u32, u32, *const c_char, ...) -> c_int;

/// The host's log functions, with our log type.
pub struct HostLog {
    log: Log,
    can_log: Option<CanLog>,
    log_type: u32,
}

impl HostLog {
    /// Registers our log type with the host, once.
    pub fn of(host: &Host) -> Option<&'static Self> {
        static LOG: OnceCell<Option<HostLog>> = OnceCell::new();
        LOG.get_or_init(|| Self::new(host)).as_ref()
    }

    fn new(host: &Host) -> Option<Self> {
        // SAFETY: the C signatures of these functions, the same in 20.11 … 26.07.
        let (log, register, can_log) = unsafe {
            (
                host.function::<Log>(c"rte_log")?,
                host.function::<RegisterType>(c"rte_log_register_type_and_pick_level")?,
                host.function::<CanLog>(c"rte_log_can_log"),
            )
        };
        // SAFETY: a C string; it picks up levels that the command line set for this name.
        let log_type = unsafe { register(LOG_TYPE.as_ptr(), RTE_LOG_NOTICE) };
        u32::try_from(log_type).ok().map(|log_type| Self { log, can_log, log_type })
    }

    /// Whether the host prints lines of this level.
    pub fn enabled(&self, level: log::Level) -> bool {
        // SAFETY: two numbers.
        self.can_log.is_none_or(|can_log| unsafe { can_log(self.log_type, rte_level(level)) })
    }

    /// Prints one line.
    pub fn line(&self, level: log::Level, text: &str) {
        let text = CString::new(text.replace('\0', " ")).unwrap_or_default();
        // SAFETY: the format takes one C string.
        unsafe {
            (self.log)(rte_level(level), self.log_type, c"HOTPLUG: %s\n".as_ptr(), text.as_ptr())
        };
    }
}

fn rte_level(level: log::Level) -> u32 {
    match level {
        log::Level::Error => RTE_LOG_ERR,
        log::Level::Warn => RTE_LOG_WARNING,
        log::Level::Info => RTE_LOG_INFO,
        log::Level::Debug | log::Level::Trace => RTE_LOG_DEBUG,
    }
}
