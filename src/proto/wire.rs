//! The messages between processes: frames of our channel, and the datagrams of EAL's.
//!
//! A frame is a header of 32 bytes and a body. Whatever asks for an attach or a detach, or answers,
//! has an exact `struct eal_dev_mp_req` at the start of its body; what does not fit in there follows.

#![forbid(unsafe_code)]

use std::ffi::{CStr, CString};

/// The version of the frames; both ends must have the same.
pub const VERSION: u16 = 1;
/// No frame is longer.
pub const MAX_FRAME: usize = 65536;
/// `EAL_DEV_MP_DEV_ARGS_MAX_LEN`, with the NUL.
pub const EAL_DEVARGS_SIZE: usize = 128;
/// `sizeof(struct eal_dev_mp_req)`
pub const EAL_REQUEST_SIZE: usize = 136;

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
    const ALL: [Self; 4] = [Self::Attach, Self::Detach, Self::AttachRollback, Self::DetachRollback];

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

/// `struct eal_dev_mp_req`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EalRequest {
    /// `t`
    pub step: Step,
    /// `devargs`
    pub devargs: CString,
    /// `result`
    pub result: i32,
}

impl EalRequest {
    /// The bytes of the C struct; devargs that are too long are cut off.
    pub fn encode(&self) -> [u8; EAL_REQUEST_SIZE] {
        let mut bytes = [0; EAL_REQUEST_SIZE];
        let step = Step::ALL.iter().position(|s| *s == self.step).unwrap_or(0) as i32;
        bytes[..4].copy_from_slice(&step.to_ne_bytes());
        let text = self.devargs.as_bytes();
        let fits = text.len().min(EAL_DEVARGS_SIZE - 1);
        bytes[4..4 + fits].copy_from_slice(&text[..fits]);
        bytes[132..].copy_from_slice(&self.result.to_ne_bytes());
        bytes
    }

    /// Reads the C struct; `None` for an unknown type, or devargs without a NUL.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let step = i32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
        let text = bytes.get(4..4 + EAL_DEVARGS_SIZE)?;
        Some(Self {
            step: *Step::ALL.get(usize::try_from(step).ok()?)?,
            devargs: CStr::from_bytes_until_nul(text).ok()?.to_owned(),
            result: i32::from_ne_bytes(bytes.get(132..EAL_REQUEST_SIZE)?.try_into().ok()?),
        })
    }
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

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u32).to_le_bytes());
        self.0.extend(bytes);
    }

    fn device(&mut self, device: &Device) {
        self.bytes(device.bus.as_bytes());
        self.bytes(device.name.as_bytes());
    }

    fn request(&mut self, request: &Request) -> u64 {
        let (step, devargs) = (request.step, request.devargs.clone());
        let long = devargs.as_bytes().len() >= EAL_DEVARGS_SIZE;
        self.0.extend(EalRequest { step, devargs, result: 0 }.encode());
        self.device(&request.device);
        self.number(request.lineage.len() as u64);
        request.lineage.iter().for_each(|id| self.number(*id));
        self.bytes(if long { request.devargs.as_bytes() } else { b"" });
        self.number(u64::from(request.hurried));
        request.id
    }

    fn reply(&mut self, reply: &Reply) -> u64 {
        let (step, devargs) = (reply.step, CString::default());
        self.0.extend(EalRequest { step, devargs, result: reply.code }.encode());
        self.number(u64::from(reply.unchanged));
        self.bytes(reply.message.as_bytes());
        reply.id
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(length as usize)
    }

    fn text(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    fn c_string(&mut self) -> Option<CString> {
        CString::new(self.bytes()?).ok()
    }

    fn device(&mut self) -> Option<Device> {
        Some(Device { bus: self.c_string()?, name: self.c_string()? })
    }

    fn request(&mut self, id: u64) -> Option<Request> {
        let short = EalRequest::decode(self.take(EAL_REQUEST_SIZE)?)?;
        let device = self.device()?;
        let count = self.number()?;
        // Checked against what is there before anything is allocated.
        if count > (self.0.len() / 8) as u64 {
            return None;
        }
        let lineage = (0..count).map(|_| self.number()).collect::<Option<_>>()?;
        let long = self.c_string()?;
        let devargs = if long.is_empty() { short.devargs } else { long };
        let hurried = self.flag()?;
        Some(Request { id, lineage, step: short.step, device, devargs, hurried })
    }

    fn reply(&mut self, id: u64) -> Option<Reply> {
        let short = EalRequest::decode(self.take(EAL_REQUEST_SIZE)?)?;
        Some(Reply {
            id,
            step: short.step,
            code: short.result,
            unchanged: self.flag()?,
            message: self.text()?,
        })
    }
}

/// EAL's own datagrams: `int type` and `struct rte_mp_msg` without its descriptors.
pub mod eal {
    use super::{EAL_REQUEST_SIZE, EalRequest};

    /// `EAL_DEV_MP_ACTION_REQUEST`
    pub const ACTION: &str = "eal_dev_mp_request";
    /// `offsetof(struct rte_mp_msg, len_param)`
    pub const LENGTH_AT: usize = 64;
    /// `offsetof(struct rte_mp_msg, param)`
    pub const PARAM_AT: usize = 72;
    /// `sizeof(struct rte_mp_msg)` without `fds`.
    pub const MESSAGE_SIZE: usize = 328;

    /// What a datagram is: the `int` at its start.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Kind {
        /// A message without an answer.
        Message = 0,
        /// A request.
        Request = 1,
        /// Its answer.
        Reply = 2,
        /// "I am still starting", instead of an answer.
        Ignore = 3,
    }

    /// Where the message stands in a datagram: after an `int`, aligned to 8 since 25.11.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Alignment {
        /// Up to 25.07.
        Four,
        /// From 25.11.
        Eight,
    }

    impl Alignment {
        fn message_at(self) -> usize {
            match self {
                Self::Four => 4,
                Self::Eight => 8,
            }
        }

        /// The size of a datagram. From 25.11 it ends with padding: the size of the struct without
        /// its descriptors.
        pub fn datagram(self) -> usize {
            match self {
                Self::Four => 332,
                Self::Eight => 340,
            }
        }
    }

    /// What a peer answered.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Answer {
        /// The request with its result.
        Reply(EalRequest),
        /// It is still starting and takes no part.
        Starting,
    }

    /// A `struct rte_mp_msg` without descriptors; a parameter that is too long is cut off.
    pub fn message(action: &str, param: &[u8]) -> [u8; MESSAGE_SIZE] {
        let mut message = [0; MESSAGE_SIZE];
        let action = &action.as_bytes()[..action.len().min(LENGTH_AT - 1)];
        let param = &param[..param.len().min(MESSAGE_SIZE - PARAM_AT)];
        message[..action.len()].copy_from_slice(action);
        message[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&(param.len() as i32).to_ne_bytes());
        message[PARAM_AT..PARAM_AT + param.len()].copy_from_slice(param);
        message
    }

    /// The datagram with a message.
    pub fn datagram(kind: Kind, message: &[u8; MESSAGE_SIZE], alignment: Alignment) -> Vec<u8> {
        let mut datagram = vec![0; alignment.datagram()];
        datagram[..4].copy_from_slice(&(kind as i32).to_ne_bytes());
        let at = alignment.message_at();
        datagram[at..at + MESSAGE_SIZE].copy_from_slice(message);
        datagram
    }

    /// The datagram that asks a peer.
    pub fn request(request: &EalRequest, alignment: Alignment) -> Vec<u8> {
        datagram(Kind::Request, &message(ACTION, &request.encode()), alignment)
    }

    /// Reads a peer's answer to a [`request`]; `None` for anything else.
    pub fn answer(datagram: &[u8], alignment: Alignment) -> Option<Answer> {
        if datagram.len() != alignment.datagram() {
            return None;
        }
        let kind = i32::from_ne_bytes(datagram.get(..4)?.try_into().ok()?);
        let message = datagram.get(alignment.message_at()..)?;
        let name = message.get(..LENGTH_AT)?.split(|b| *b == 0).next()?;
        if name != ACTION.as_bytes() {
            return None;
        }
        match kind {
            kind if kind == Kind::Reply as i32 => {
                let length = message.get(LENGTH_AT..LENGTH_AT + 4)?;
                if i32::from_ne_bytes(length.try_into().ok()?) != EAL_REQUEST_SIZE as i32 {
                    return None;
                }
                EalRequest::decode(message.get(PARAM_AT..)?).map(Answer::Reply)
            }
            kind if kind == Kind::Ignore as i32 => Some(Answer::Starting),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::eal::{Alignment, Answer};
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
            let _ = EalRequest::decode(&bytes);
            let _ = eal::answer(&bytes, Alignment::Four);
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
    fn eal_request_is_the_c_struct() {
        let request = EalRequest { step: Step::Detach, devargs: c"vdev:x,".into(), result: -5 };
        let bytes = request.encode();
        assert_eq!((bytes[0], &bytes[4..12]), (1, b"vdev:x,\0".as_slice()));
        assert_eq!(bytes[132..], (-5i32).to_ne_bytes());
        assert_eq!(EalRequest::decode(&bytes), Some(request));
        let mut unterminated = bytes;
        unterminated[4..132].fill(b'x');
        assert_eq!(EalRequest::decode(&unterminated), None);
        let mut unknown = bytes;
        unknown[0] = 4;
        assert_eq!(EalRequest::decode(&unknown), None);
    }

    #[test]
    fn another_version_is_told() {
        let mut frame = Message::Ping.encode(1);
        frame[4] = 9;
        assert_eq!(Message::decode(&frame), Err(Malformed::Version(9)));
    }

    #[test]
    fn eal_answers_are_read() {
        for alignment in [Alignment::Four, Alignment::Eight] {
            let request = EalRequest { step: Step::Attach, devargs: c"a".into(), result: -17 };
            let mut datagram = eal::request(&request, alignment);
            assert_eq!(eal::answer(&datagram, alignment), None, "a request is no answer");
            datagram[0] = 2;
            assert_eq!(eal::answer(&datagram, alignment), Some(Answer::Reply(request)));
            datagram[0] = 3;
            assert_eq!(eal::answer(&datagram, alignment), Some(Answer::Starting));
            assert_eq!(eal::answer(&datagram[1..], alignment), None);
        }
    }
}
