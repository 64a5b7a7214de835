//! The parts of a frame's body, written and read.

use std::ffi::CString;

use super::eal::{EAL_DEVARGS_SIZE, EAL_REQUEST_SIZE, EalRequest};
use super::wire::{Device, Reply, Request};

/// The body of a frame, as it grows.
pub(super) struct Writer(pub Vec<u8>);

impl Writer {
    pub fn number(&mut self, value: u64) {
        self.0.extend(value.to_le_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.0.extend((bytes.len() as u32).to_le_bytes());
        self.0.extend(bytes);
    }

    pub fn device(&mut self, device: &Device) {
        self.bytes(device.bus.as_bytes());
        self.bytes(device.name.as_bytes());
    }

    pub fn request(&mut self, request: &Request) -> u64 {
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

    pub fn reply(&mut self, reply: &Reply) -> u64 {
        let (step, devargs) = (reply.step, CString::default());
        self.0.extend(EalRequest { step, devargs, result: reply.code }.encode());
        self.number(u64::from(reply.unchanged));
        self.bytes(reply.message.as_bytes());
        reply.id
    }
}

/// What is left to read of a frame; `None` where it makes no sense.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn flag(&mut self) -> Option<bool> {
        match self.number()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(length as usize)
    }

    pub fn text(&mut self) -> Option<String> {
        Some(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    pub fn c_string(&mut self) -> Option<CString> {
        CString::new(self.bytes()?).ok()
    }

    pub fn device(&mut self) -> Option<Device> {
        Some(Device { bus: self.c_string()?, name: self.c_string()? })
    }

    pub fn request(&mut self, id: u64) -> Option<Request> {
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

    pub fn reply(&mut self, id: u64) -> Option<Reply> {
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
