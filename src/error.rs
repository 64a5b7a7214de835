//! The one error type and its one map to errno.

use std::borrow::Cow;
use std::fmt;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An argument is unusable.
    Invalid,
    /// The device is on no bus.
    NoDevice,
    /// The bus, driver or registration does not exist, or the device is not attached.
    NotFound,
    /// It exists already.
    Exists,
    /// The mode, bus or driver cannot do this.
    NotSupported,
    /// No bus accepts the device name.
    NoBus,
    /// A name or string does not fit.
    TooBig,
    /// In use by another thread; the same call may succeed later.
    Again,
    /// Still in use; the caller has to release it first.
    Busy,
    /// Waiting would never end: two operations wait for each other's device.
    Deadlock,
    /// Started already.
    Already,
    /// Another process did not answer, or is not there any more.
    NoAnswer,
    /// Out of memory.
    NoMemory,
    /// A defect of this library, caught at the C boundary.
    Panic,
    /// A value that a driver, bus or the host EAL returned; handed on as it came.
    Code(i32),
}

/// What failed, on which device, at which step, and what can be done about it.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    message: Cow<'static, str>,
}

impl Error {
    /// An error of `kind`; `message` names the device, the step and the cause.
    pub fn new(kind: Kind, message: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, message: message.into() }
    }

    /// What class of failure this is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The positive errno value that stands for this error in C.
    pub fn errno(&self) -> i32 {
        -self.code()
    }

    /// What a C function returns for this error: `-errno`, or a driver's own value unchanged.
    pub fn code(&self) -> i32 {
        match self.kind {
            Kind::Invalid => -libc::EINVAL,
            Kind::NoDevice => -libc::ENODEV,
            Kind::NotFound => -libc::ENOENT,
            Kind::Exists => -libc::EEXIST,
            Kind::NotSupported => -libc::ENOTSUP,
            Kind::NoBus => -libc::EFAULT,
            Kind::TooBig => -libc::E2BIG,
            Kind::Again => -libc::EAGAIN,
            Kind::Busy => -libc::EBUSY,
            Kind::Deadlock => -libc::EDEADLK,
            Kind::Already => -libc::EALREADY,
            Kind::NoAnswer => -libc::ENOMSG,
            Kind::NoMemory => -libc::ENOMEM,
            Kind::Panic => -libc::EIO,
            Kind::Code(code) => code,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

/// Text for a value that a driver or the host EAL returned, for use inside messages.
pub fn describe_code(code: i32) -> String {
    let errno = code.unsigned_abs() as i32;
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    match text.split_once(" (os error") {
        Some((meaning, _)) if code < 0 => format!("{code} ({meaning})"),
        _ => code.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_errno() {
        let table = [
            (Kind::Invalid, libc::EINVAL),
            (Kind::NoDevice, libc::ENODEV),
            (Kind::NotFound, libc::ENOENT),
            (Kind::Exists, libc::EEXIST),
            (Kind::NotSupported, libc::ENOTSUP),
            (Kind::NoBus, libc::EFAULT),
            (Kind::TooBig, libc::E2BIG),
            (Kind::Again, libc::EAGAIN),
            (Kind::Busy, libc::EBUSY),
            (Kind::Deadlock, libc::EDEADLK),
            (Kind::Already, libc::EALREADY),
            (Kind::NoAnswer, libc::ENOMSG),
            (Kind::NoMemory, libc::ENOMEM),
            (Kind::Panic, libc::EIO),
            (Kind::Code(-7), 7),
        ];
        for (kind, errno) in table {
            assert_eq!(Error::new(kind, "x").errno(), errno, "{kind:?}");
        }
    }

    #[test]
    fn codes_are_described() {
        assert_eq!(describe_code(-libc::ENODEV), "-19 (No such device)");
        assert_eq!(describe_code(3), "3");
    }
}
