//! The socket on which the kernel announces device events.

use std::io::IoSliceMut;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType,
    UnixCredentials, bind, getsockopt, recvmsg, setsockopt, socket, sockopt,
};
use nix::sys::stat::fstat;

use super::fork;

/// The multicast group of the kernel's own events; udev's are in another one.
const KERNEL_GROUP: u32 = 1;

/// A socket for device events; a forked child does not keep it. Somebody may close it, as programs do
/// that close all they do not know: its number may be somebody else's descriptor then.
pub struct UeventSocket {
    fd: ManuallyDrop<OwnedFd>,
    inode: u64,
}

/// What came out of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// A message of the kernel, of this length.
    Message(usize),
    /// A message that somebody else sent.
    Foreign,
    /// A message that is longer than the buffer.
    TooLong,
    /// Messages were lost: there was no room for them.
    Overrun,
    /// Nothing for now.
    Nothing,
}

impl UeventSocket {
    /// Listens to the kernel, with room for `buffer` bytes of messages if the rights allow it.
    pub fn open(buffer: usize) -> nix::Result<Self> {
        let _held = fork::hold();
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            SockProtocol::NetlinkKObjectUEvent,
        )?;
        if setsockopt(&fd, sockopt::RcvBufForce, &buffer).is_err() {
            // As much as everybody may have.
            setsockopt(&fd, sockopt::RcvBuf, &buffer)?;
        }
        setsockopt(&fd, sockopt::PassCred, &true)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, KERNEL_GROUP))?;
        let inode = fstat(&fd)?.st_ino;
        fork::close_in_child(fd.as_raw_fd());
        Ok(Self { fd: ManuallyDrop::new(fd), inode })
    }

    /// Whether nobody has closed it.
    fn is_open(&self) -> bool {
        fstat(&*self.fd).is_ok_and(|status| status.st_ino == self.inode)
    }

    /// How much the kernel keeps for us.
    pub fn room(&self) -> usize {
        getsockopt(&*self.fd, sockopt::RcvBuf).unwrap_or(0)
    }

    /// Takes the next message.
    pub fn receive(&self, buffer: &mut [u8]) -> nix::Result<Received> {
        match self.take(buffer)? {
            Received::Message(length) => Ok(Received::Message(length)),
            // Not asked before each message: callbacks wait for those.
            _ if !self.is_open() => Err(Errno::EBADF),
            other => Ok(other),
        }
    }

    fn take(&self, buffer: &mut [u8]) -> nix::Result<Received> {
        let room = buffer.len();
        let mut space = nix::cmsg_space!(UnixCredentials);
        let mut parts = [IoSliceMut::new(buffer)];
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let message = loop {
            match recvmsg::<NetlinkAddr>(self.fd.as_raw_fd(), &mut parts, Some(&mut space), flags) {
                Ok(message) => break message,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(Received::Nothing),
                Err(Errno::ENOBUFS) => return Ok(Received::Overrun),
                Err(errno) => return Err(errno),
            }
        };
        let sender = message.address.map(|from| (from.pid(), from.groups()));
        let process = message.cmsgs()?.find_map(|control| match control {
            ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
            _ => None,
        });
        Ok(match message.bytes {
            _ if !is_from_kernel(sender, process) => Received::Foreign,
            length if length > room => Received::TooLong,
            length => Received::Message(length),
        })
    }
}

impl AsFd for UeventSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for UeventSocket {
    fn drop(&mut self) {
        let _held = fork::hold();
        fork::forget(self.fd.as_raw_fd());
        if self.is_open() {
            // SAFETY: taken once, and not used afterwards.
            drop(unsafe { ManuallyDrop::take(&mut self.fd) });
        }
    }
}

/// Whether the kernel sent it, to the group: neither can anybody forge a sender or a process 0, nor
/// does a message to this socket alone come from it. A user id would prove nothing.
fn is_from_kernel(sender: Option<(u32, u32)>, process: Option<i32>) -> bool {
    sender == Some((0, KERNEL_GROUP)) && process == Some(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_kernel_is_believed() {
        assert!(is_from_kernel(Some((0, 1)), Some(0)));
        for (sender, process) in [
            (None, Some(0)),
            (Some((0, 1)), None),
            (Some((0, 1)), Some(1)),
            (Some((0, 0)), Some(0)),
            (Some((0, 2)), Some(0)),
            (Some((0, 3)), Some(0)),
            (Some((4711, 1)), Some(0)),
            (Some((4711, 1)), Some(4711)),
        ] {
            assert!(!is_from_kernel(sender, process), "{sender:?} {process:?}");
        }
    }

    #[test]
    fn an_open_socket_waits_for_nothing() {
        let socket = UeventSocket::open(1 << 20).unwrap();
        let mut buffer = [0; 64];
        // Events of this machine may come.
        while socket.receive(&mut buffer).unwrap() != Received::Nothing {}
    }
}
