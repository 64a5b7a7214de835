//! The messages between processes of a group: the frames of our channel.
//!
//! A frame is a header of 32 bytes and a body. Whatever asks for an attach or a detach, or answers,
//! has an exact `struct eal_dev_mp_req` at the start of its body; what does not fit in there follows.

#![forbid(unsafe_code)]

use std::ffi::CString;

use super::codec::{Reader, Writer};

/// The version of the frames; both ends must have the same.
pub const VERSION: u16 = 1;
/// No frame is longer.
pub const MAX_FRAME: usize = 65536;

const MAGIC: [u8; 4] = *b"RTHP";
const HEADER: usize = 32;

/// What is asked for: `enum eal_dev_req_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Attach the device.
    Attach,
    /// Detach it.
    Detach,
    /// Undo an attach.
    AttachRollback,
    /// Undo a detach.
    DetachRollback,
}

impl Step {
    /// In the order of their numbers.
    pub(super) const ALL: [Self; 4] =
        [Self::Attach, Self::Detach, Self::AttachRollback, Self::DetachRollback];

    /// The step that undoes this one.
    pub fn rollback(self) -> Self {
        match self {
            Self::Attach | Self::AttachRollback => Self::AttachRollback,
            Self::Detach | Self::DetachRollback => Self::DetachRollback,
        }
    }

    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Attach => "attach",
            Self::Detach => "detach",
            Self::AttachRollback => "undoing the attach",
            Self::DetachRollback => "undoing the detach",
        }
    }
}

/// A device: its bus and its name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// The bus name.
    pub bus: CString,
    /// The device name.
    pub name: CString,
}

/// What a process says when it joins. The pid is a hint: namespaces may show another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Its process id.
    pub pid: u32,
    /// Whether it runs the embedded runtime.
    pub embedded: bool,
    /// The file name of its EAL socket, empty when it has none.
    pub eal_socket: Vec<u8>,
}

/// A step of an operation on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The operation, or in a call the number that the caller gave it.
    pub id: u64,
    /// The operations that wait for it, the nearest first.
    pub lineage: Vec<u64>,
    /// The step.
    pub step: Step,
    /// The device.
    pub device: Device,
    /// Its devargs; empty where the device name is enough.
    pub devargs: CString,
    /// In a call: the caller holds a lock of the device's bus, and so must not wait long for its turn.
    pub hurried: bool,
}

/// The answer to a request or a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// As in the request.
    pub id: u64,
    /// As in the request.
    pub step: Step,
    /// 0, or what went wrong.
    pub code: i32,
    /// Whether there was nothing to do.
    pub unchanged: bool,
    /// Why, for people.
    pub message: String,
}

/// A frame's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Secondary: I want to join.
    Hello(Hello),
    /// Primary: you are in; what follows brings you in line.
    Welcome,
    /// Primary: you may not join, because.
    Refused(String),
    /// Primary: the device is to be attached with these devargs, or not to be.
    Sync(Device, Option<CString>),
    /// Primary: that was all.
    SyncEnd,
    /// Secondary: I am in line, but for these devices.
    Synced(Vec<Device>),
    /// Primary: do this.
    Request(Request),
    /// Secondary: it is done.
    Reply(Reply),
    /// Secondary: let all processes do this.
    Call(Request),
    /// Primary: they did, or not.
    Result(Reply),
    /// Secondary: I gave up this call.
    Cancel(u64),
    /// Are you alive?
    Ping,
    /// I am.
    Pong,
    /// Secondary: I leave.
    Bye,
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Another version of the frames.
    Version(u16),
    /// Anything else.
    Garbage,
}

impl Message {
    /// The frame, sent in the name of the primary's `instance`.
    pub fn encode(&self, instance: u64) -> Vec<u8> {
        let mut body = Writer(Vec::new());
        let (kind, id) = self.write(&mut body);
        let mut frame = Vec::with_capacity(HEADER + body.0.len());
        frame.extend(MAGIC);
        frame.extend(VERSION.to_le_bytes());
        frame.extend(kind.to_le_bytes());
        frame.extend(instance.to_le_bytes());
        frame.extend(id.to_le_bytes());
        frame.extend((body.0.len() as u32).to_le_bytes());
        frame.extend([0; 4]);
        frame.extend(body.0);
        frame
    }

    fn write(&self, body: &mut Writer) -> (u16, u64) {
        match self {
            Self::Hello(hello) => {
                body.number(u64::from(hello.pid));
                body.number(u64::from(hello.embedded));
                body.bytes(&hello.eal_socket);
                (1, 0)
            }
            Self::Welcome => (2, 0),
            Self::Refused(why) => {
                body.bytes(why.as_bytes());
                (3, 0)
            }
            Self::Sync(device, devargs) => {
                body.device(device);
                body.number(u64::from(devargs.is_some()));
                body.bytes(devargs.as_deref().unwrap_or_default().to_bytes());
                (4, 0)
            }
            Self::SyncEnd => (5, 0),
            Self::Synced(but) => {
                body.number(but.len() as u64);
                but.iter().for_each(|device| body.device(device));
                (6, 0)
            }
            Self::Request(request) => (7, body.request(request)),
            Self::Reply(reply) => (8, body.reply(reply)),
            Self::Call(request) => (9, body.request(request)),
            Self::Result(reply) => (10, body.reply(reply)),
            Self::Cancel(call) => (11, *call),
            Self::Ping => (12, 0),
            Self::Pong => (13, 0),
            Self::Bye => (14, 0),
        }
    }

    /// Reads one whole frame: the instance it names, and what it says.
    pub fn decode(frame: &[u8]) -> Result<(u64, Self), Malformed> {
        let (header, body) = frame.split_at_checked(HEADER).ok_or(Malformed::Garbage)?;
        let mut header = Reader(header);
        let read = (|| {
            let magic = header.take(4)?;
            let version = u16::from_le_bytes(header.take(2)?.try_into().ok()?);
            let kind = u16::from_le_bytes(header.take(2)?.try_into().ok()?);
            let (instance, id) = (header.number()?, header.number()?);
            let length = u32::from_le_bytes(header.take(4)?.try_into().ok()?);
            (magic == MAGIC).then_some((version, kind, instance, id, length))
        })();
        let (version, kind, instance, id, length) = read.ok_or(Malformed::Garbage)?;
        if version != VERSION {
            return Err(Malformed::Version(version));
        }
        if length as usize != body.len() {
            return Err(Malformed::Garbage);
        }
        let mut body = Reader(body);
        let message = Self::read(kind, id, &mut body).ok_or(Malformed::Garbage)?;
        if body.0.is_empty() { Ok((instance, message)) } else { Err(Malformed::Garbage) }
    }

    fn read(kind: u16, id: u64, body: &mut Reader<'_>) -> Option<Self> {
        Some(match kind {
            1 => Self::Hello(Hello {
                pid: u32::try_from(body.number()?).ok()?,
                embedded: body.flag()?,
                eal_socket: body.bytes()?.to_vec(),
            }),
            2 => Self::Welcome,
            3 => Self::Refused(body.text()?),
            4 => {
                let (device, present, devargs) = (body.device()?, body.flag()?, body.c_string()?);
                Self::Sync(device, present.then_some(devargs))
            }
            5 => Self::SyncEnd,
            6 => {
                let count = body.number()?;
                // A device has at least the lengths of its names.
                if count > (body.0.len() / 8) as u64 {
                    return None;
                }
                Self::Synced((0..count).map(|_| body.device()).collect::<Option<_>>()?)
            }
            7 => Self::Request(body.request(id)?),
            8 => Self::Reply(body.reply(id)?),
            9 => Self::Call(body.request(id)?),
            10 => Self::Result(body.reply(id)?),
            11 => Self::Cancel(id),
            12 => Self::Ping,
            13 => Self::Pong,
            14 => Self::Bye,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn c_text(longest: usize) -> impl Strategy<Value = CString> {
        proptest::collection::vec(1..=255u8, 0..longest).prop_map(|b| CString::new(b).unwrap())
    }

    fn device() -> impl Strategy<Value = Device> {
        (c_text(20), c_text(64)).prop_map(|(bus, name)| Device { bus, name })
    }

    fn step() -> impl Strategy<Value = Step> {
        (0..4usize).prop_map(|at| Step::ALL[at])
    }

    fn request() -> impl Strategy<Value = Request> {
        let lineage = proptest::collection::vec(any::<u64>(), 0..4);
        (any::<u64>(), lineage, step(), device(), c_text(4200), any::<bool>()).prop_map(
            |(id, lineage, step, device, devargs, hurried)| Request {
                id,
                lineage,
                step,
                device,
                devargs,
                hurried,
            },
        )
    }

    fn reply() -> impl Strategy<Value = Reply> {
        (any::<u64>(), step(), any::<i32>(), any::<bool>(), ".*").prop_map(
            |(id, step, code, unchanged, message)| Reply { id, step, code, unchanged, message },
        )
    }

    fn message() -> impl Strategy<Value = Message> {
        let hello = (any::<u32>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40))
            .prop_map(|(pid, embedded, eal_socket)| Hello { pid, embedded, eal_socket });
        prop_oneof![
            hello.prop_map(Message::Hello),
            Just(Message::Welcome),
            ".*".prop_map(Message::Refused),
            (device(), proptest::option::of(c_text(300))).prop_map(|(d, a)| Message::Sync(d, a)),
            Just(Message::SyncEnd),
            proptest::collection::vec(device(), 0..4).prop_map(Message::Synced),
            request().prop_map(Message::Request),
            reply().prop_map(Message::Reply),
            request().prop_map(Message::Call),
            reply().prop_map(Message::Result),
            any::<u64>().prop_map(Message::Cancel),
            Just(Message::Ping),
            Just(Message::Pong),
            Just(Message::Bye),
        ]
    }

    proptest! {
        #[test]
        fn every_message_comes_back(message in message(), instance: u64) {
            let frame = message.encode(instance);
            prop_assert!(frame.len() <= MAX_FRAME);
            prop_assert_eq!(Message::decode(&frame), Ok((instance, message)));
        }

        #[test]
        fn garbage_is_refused_or_read_but_never_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(Message::decode(&bytes).is_err());
        }

        #[test]
        fn changed_frames_are_never_fatal(
            message in message(), at: prop::sample::Index, value: u8, cut: prop::sample::Index,
        ) {
            let mut frame = message.encode(7);
            let at = at.index(frame.len());
            frame[at] = value;
            let _ = Message::decode(&frame);
            frame.truncate(cut.index(frame.len()));
            prop_assert!(Message::decode(&frame).is_err(), "a short frame is no frame");
        }
    }

    #[test]
    fn another_version_is_told() {
        let mut frame = Message::Ping.encode(1);
        frame[4] = 9;
        assert_eq!(Message::decode(&frame), Err(Malformed::Version(9)));
    }
}
