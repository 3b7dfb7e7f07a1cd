//! Kernel clocks: when bytes arrived, and a timer that is finer than a millisecond.

use std::io::{self, IoSliceMut};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, TimestampingFlag, Timestamps, recvmsg, setsockopt, sockopt,
};
use nix::sys::time::{TimeSpec, TimeValLike as _};
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// Has the kernel note when bytes arrive. Set on the listener, so that it holds for bytes that
/// come before their connection is accepted.
pub(super) fn stamp_arrivals(listener: &TcpListener) -> io::Result<()> {
    let flags = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
    Ok(setsockopt(listener, sockopt::Timestamping, &flags)?)
}

/// Reads what there is, and when its last byte arrived by `CLOCK_REALTIME`, in ns since 1970.
pub(super) fn receive(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<(usize, Option<u64>)> {
    let mut control = cmsg_space!(Timestamps);
    let mut pieces = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<()>(stream.as_raw_fd(), &mut pieces, Some(&mut control), MsgFlags::empty())?;
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampsns(stamps) => Some(stamps.system),
        _ => None,
    });
    let stamp = stamp.and_then(|stamp| u64::try_from(stamp.num_nanoseconds()).ok());
    // Zero is the kernel's way to say that it has none.
    Ok((message.bytes, stamp.filter(|ns| *ns != 0)))
}

/// One alarm at a time.
#[derive(Debug)]
pub(super) struct Alarm {
    timer: TimerFd,
    /// When it rings, in ns of the server's clock.
    at_ns: Option<u64>,
}

impl Alarm {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        Ok(Self { timer: TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?, at_ns: None })
    }

    pub(super) const fn timer(&self) -> &TimerFd {
        &self.timer
    }

    /// Rings at `at_ns`. An alarm in the past rings at once.
    pub(super) fn set(&mut self, at_ns: u64, now_ns: u64) -> io::Result<()> {
        if self.at_ns == Some(at_ns) && now_ns < at_ns {
            return Ok(());
        }
        // Zero would turn it off.
        let wait = Duration::from_nanos(at_ns.saturating_sub(now_ns).max(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(wait));
        self.timer.set(once, TimerSetTimeFlags::empty())?;
        self.at_ns = Some(at_ns);
        Ok(())
    }
}
