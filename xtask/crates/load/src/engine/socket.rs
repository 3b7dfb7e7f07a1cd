//! One TCP socket that never blocks, and the kernel's own time of what it brings.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, SockaddrStorage,
    TimestampingFlag, Timestamps, bind, connect, getsockopt, recvmsg, send, setsockopt, socket,
    sockopt,
};

/// Room for one read. Events are far smaller; where a server is faster than we are, many come at
/// once.
pub(super) const READ_BYTES: usize = 256 << 10;

/// Where every read of a thread lands.
#[derive(Debug)]
pub(super) struct Room {
    bytes: Box<[u8]>,
    control: Vec<u8>,
}

impl Room {
    pub(super) fn new() -> Self {
        let control = nix::cmsg_space!(Timestamps);
        Self { bytes: vec![0; READ_BYTES].into(), control }
    }

    /// The first bytes that were read last.
    pub(super) fn read(&self, length: usize) -> &[u8] {
        &self.bytes[..length]
    }
}

/// What a read brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// Bytes; none when the server has closed the connection.
    pub(super) length: usize,
    /// When the last of them arrived, as time since 1970, where the kernel says so.
    pub(super) stamp: Option<Duration>,
}

/// A socket that is connecting or connected.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
}

impl Socket {
    /// Begins to connect, from a certain local address if one is given; the socket is writable
    /// when that has ended.
    pub(super) fn connect(
        address: SocketAddr,
        from: Option<SocketAddr>,
        stamped: bool,
    ) -> io::Result<Self> {
        let family = match address {
            SocketAddr::V4(_) => AddressFamily::Inet,
            SocketAddr::V6(_) => AddressFamily::Inet6,
        };
        let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
        let fd = socket(family, SockType::Stream, flags, None)?;
        setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
        if stamped {
            let software = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
                | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
            // A kernel that cannot gives no stamps, and each read shows that.
            let _ = setsockopt(&fd, sockopt::Timestamping, &software);
        }
        if let Some(from) = from {
            // The port is chosen when it is known where to: only then may two share one.
            setsockopt(&fd, sockopt::IpBindAddressNoPort, &true)?;
            bind(fd.as_raw_fd(), &SockaddrStorage::from(from))?;
        }
        match connect(fd.as_raw_fd(), &SockaddrStorage::from(address)) {
            Ok(()) | Err(Errno::EINPROGRESS) => Ok(Self { fd }),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether connecting succeeded, once it has ended.
    pub(super) fn connected(&self) -> io::Result<()> {
        match getsockopt(&self.fd, sockopt::SocketError)? {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Hands bytes to the kernel and says how many it took.
    pub(super) fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(self.fd.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL)?)
    }

    /// Takes what has come, at most `most` bytes of it.
    pub(super) fn receive(&self, room: &mut Room, most: usize) -> io::Result<Arrived> {
        let Room { bytes, control } = room;
        let mut into = [IoSliceMut::new(&mut bytes[..most.min(READ_BYTES)])];
        let fd = self.fd.as_raw_fd();
        let message = recvmsg::<()>(fd, &mut into, Some(control), MsgFlags::empty())?;
        // A control message that was cut short is none.
        let stamp = message.cmsgs().ok().into_iter().flatten().find_map(|message| match message {
            ControlMessageOwned::ScmTimestampsns(stamps) => Some(Duration::from(stamps.system)),
            _ => None,
        });
        // Zero is how the kernel says that it has no time for these bytes.
        let stamp = stamp.filter(|stamp| !stamp.is_zero());
        Ok(Arrived { length: message.bytes, stamp })
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
