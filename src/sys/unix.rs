//! Unix sockets, non-blocking throughout: no call here waits for a peer.

use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, accept4, bind,
    connect, getsockopt, listen, recv, recvfrom, send, sendto, socket, sockopt,
};

use super::fork;

/// A descriptor that a forked child does not keep.
pub struct Socket(ManuallyDrop<OwnedFd>);

impl Socket {
    fn new(kind: SockType) -> nix::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        // No child comes in between.
        let _held = fork::hold();
        Ok(Self::keep(socket(AddressFamily::Unix, kind, flags, None)?))
    }

    fn keep(fd: OwnedFd) -> Self {
        fork::close_in_child(fd.as_raw_fd());
        Self(ManuallyDrop::new(fd))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let _held = fork::hold();
        fork::forget(self.0.as_raw_fd());
        // SAFETY: taken once, and not used afterwards.
        drop(unsafe { ManuallyDrop::take(&mut self.0) });
    }
}

/// What came out of a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    /// One message of this length.
    Message(usize),
    /// A message longer than the buffer; its rest is lost.
    TooLong,
    /// Nothing for now.
    Nothing,
    /// The peer has closed, or sent an empty message, which looks the same.
    Empty,
}

/// Listens at `path` for connections that keep message boundaries; only its owner may connect.
pub fn listen_at(path: &Path) -> nix::Result<Socket> {
    let listener = Socket::new(SockType::SeqPacket)?;
    bind(listener.0.as_raw_fd(), &UnixAddr::new(path)?)?;
    let mode = nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR;
    let follow = nix::sys::stat::FchmodatFlags::FollowSymlink;
    nix::sys::stat::fchmodat(nix::fcntl::AT_FDCWD, path, mode, follow)?;
    listen(&listener, Backlog::new(128)?)?;
    Ok(listener)
}

/// The next connection that waits, if any.
pub fn accept(listener: &Socket) -> nix::Result<Option<Socket>> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let _held = fork::hold();
    match accept4(listener.0.as_raw_fd(), flags) {
        // SAFETY: a descriptor that the kernel has just made for us.
        Ok(fd) => Ok(Some(Socket::keep(unsafe { OwnedFd::from_raw_fd(fd) }))),
        Err(Errno::EAGAIN | Errno::ECONNABORTED | Errno::EINTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Connects to a listener at `path`. EAGAIN means that its queue is full.
pub fn connect_to(path: &Path) -> nix::Result<Socket> {
    let connection = Socket::new(SockType::SeqPacket)?;
    connect(connection.0.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(connection)
}

/// Who is at the other end, by the kernel's word.
pub fn credentials(connection: &Socket) -> nix::Result<UnixCredentials> {
    getsockopt(connection, sockopt::PeerCredentials)
}

/// Whether the other end is a process of this user, or of root.
pub fn is_trusted(connection: &Socket) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    credentials(connection).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Sends one message; EAGAIN when the peer does not read.
pub fn send_message(connection: &Socket, message: &[u8]) -> nix::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    loop {
        match send(connection.0.as_raw_fd(), message, flags) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Takes the next message.
pub fn receive(connection: &Socket, buffer: &mut [u8]) -> nix::Result<Received> {
    // With MSG_TRUNC the result is the message's own length. Descriptors that come along are closed
    // by the kernel, as there is no room for them.
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
    loop {
        return match recv(connection.0.as_raw_fd(), buffer, flags) {
            Ok(0) => Ok(Received::Empty),
            Ok(length) if length > buffer.len() => Ok(Received::TooLong),
            Ok(length) => Ok(Received::Message(length)),
            Err(Errno::EAGAIN) => Ok(Received::Nothing),
            Err(Errno::EINTR) => continue,
            Err(error) => Err(error),
        };
    }
}

/// Whether the peer has closed its end.
pub fn hung_up(connection: &Socket) -> bool {
    let mut look = [PollFd::new(connection.as_fd(), PollFlags::POLLIN)];
    let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
    poll(&mut look, PollTimeout::ZERO).is_err()
        || look[0].revents().is_none_or(|flags| flags.intersects(gone))
}

/// A datagram socket at `path`.
pub fn datagrams_at(path: &Path) -> nix::Result<Socket> {
    let socket = Socket::new(SockType::Datagram)?;
    bind(socket.0.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket)
}

/// Sends a datagram to the socket at `path`.
pub fn send_to(socket: &Socket, datagram: &[u8], path: &Path) -> nix::Result<()> {
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let to = UnixAddr::new(path)?;
    loop {
        match sendto(socket.0.as_raw_fd(), datagram, &to, flags) {
            Err(Errno::EINTR) => {}
            other => return other.map(drop),
        }
    }
}

/// Takes the next datagram: its length and the path of its sender.
pub fn receive_from(
    socket: &Socket,
    buffer: &mut [u8],
) -> nix::Result<Option<(usize, Option<std::path::PathBuf>)>> {
    match recvfrom::<UnixAddr>(socket.0.as_raw_fd(), buffer) {
        Ok((length, from)) => {
            Ok(Some((length, from.and_then(|a| a.path().map(Path::to_path_buf)))))
        }
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a datagram socket is bound at `path`; when in doubt the answer is yes.
pub fn is_bound(path: &Path) -> bool {
    let (Ok(probe), Ok(address)) = (Socket::new(SockType::Datagram), UnixAddr::new(path)) else {
        return true;
    };
    let result = connect(probe.0.as_raw_fd(), &address);
    !matches!(result, Err(Errno::ECONNREFUSED | Errno::ENOENT))
}

/// A second descriptor for a socket of this process; `None` when it is none any more.
pub fn duplicate(descriptor: RawFd) -> Option<Socket> {
    // SAFETY: fcntl checks the descriptor.
    let copy = unsafe { libc::fcntl(descriptor, libc::F_DUPFD_CLOEXEC, 0) };
    // SAFETY: not negative: a descriptor that the kernel has just made for us.
    (copy >= 0).then(|| Socket::keep(unsafe { OwnedFd::from_raw_fd(copy) }))
}

/// The Unix sockets that this process has bound: descriptors and paths.
pub fn bound() -> Vec<(RawFd, std::path::PathBuf)> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return vec![] };
    let numbers = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let bound = numbers.filter_map(|fd| {
        let address = nix::sys::socket::getsockname::<UnixAddr>(fd).ok()?;
        Some((fd, address.path()?.to_path_buf()))
    });
    bound.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_keep_their_bounds_and_never_block() {
        let path = std::env::temp_dir().join(format!("rte_hotplug_unix_{}", std::process::id()));
        let listener = listen_at(&path).unwrap();
        assert!(accept(&listener).unwrap().is_none());
        let client = connect_to(&path).unwrap();
        let server = accept(&listener).unwrap().unwrap();
        assert_eq!(credentials(&server).unwrap().pid(), std::process::id() as i32);
        let mut buffer = [0; 4];
        assert_eq!(receive(&server, &mut buffer), Ok(Received::Nothing));
        for message in [b"ab".as_slice(), b"abcdef", b""] {
            send_message(&client, message).unwrap();
        }
        assert_eq!(receive(&server, &mut buffer), Ok(Received::Message(2)));
        assert_eq!(receive(&server, &mut buffer), Ok(Received::TooLong));
        assert_eq!(receive(&server, &mut buffer), Ok(Received::Empty));
        while send_message(&client, &[0; 60000]).is_ok() {}
        assert_eq!(send_message(&client, b"x"), Err(Errno::EAGAIN));
        drop(server);
        assert!(matches!(send_message(&client, b"x"), Err(Errno::EPIPE | Errno::ECONNRESET)));
        assert!(bound().iter().any(|(_, bound)| *bound == path));
        std::fs::remove_file(&path).unwrap();
    }
}
