//! EAL's own messages about hotplug: `struct eal_dev_mp_req`, and the datagrams that carry it, an
//! `int type` and `struct rte_mp_msg` without its descriptors.

use std::ffi::{CStr, CString};

use super::wire::Step;

/// `EAL_DEV_MP_DEV_ARGS_MAX_LEN`, with the NUL.
pub const EAL_DEVARGS_SIZE: usize = 128;
/// `sizeof(struct eal_dev_mp_req)`
pub const EAL_REQUEST_SIZE: usize = 136;

/// `EAL_DEV_MP_ACTION_REQUEST`
pub const ACTION: &str = "eal_dev_mp_request";
/// `offsetof(struct rte_mp_msg, len_param)`
pub const LENGTH_AT: usize = 64;
/// `offsetof(struct rte_mp_msg, param)`
pub const PARAM_AT: usize = 72;
/// `sizeof(struct rte_mp_msg)` without `fds`.
pub const MESSAGE_SIZE: usize = 328;

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn garbage_is_refused_or_read_but_never_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            let _ = EalRequest::decode(&bytes);
            let _ = answer(&bytes, Alignment::Four);
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
    fn eal_answers_are_read() {
        for alignment in [Alignment::Four, Alignment::Eight] {
            let request = EalRequest { step: Step::Attach, devargs: c"a".into(), result: -17 };
            let mut datagram = super::request(&request, alignment);
            assert_eq!(answer(&datagram, alignment), None, "a request is no answer");
            datagram[0] = 2;
            assert_eq!(answer(&datagram, alignment), Some(Answer::Reply(request)));
            datagram[0] = 3;
            assert_eq!(answer(&datagram, alignment), Some(Answer::Starting));
            assert_eq!(answer(&datagram[1..], alignment), None);
        }
    }
}
