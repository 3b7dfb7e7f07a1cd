//! What an event costs whoever reads it by itself: a reader that waits, rests, reads and throws
//! away. It parses nothing, counts nothing and keeps no time, so no load client that has one of the
//! kernel's times for each event can be cheaper.

use std::io::{self, IoSliceMut, Write as _};
use std::net::TcpStream;
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::Duration;

use domain::framework::Wire;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{MsgFlags, TimestampingFlag, Timestamps, recvmsg, setsockopt, sockopt};
use nix::sys::time::TimeValLike as _;

use crate::truth::Server;

/// The engine's rest where many events come.
const REST: Duration = Duration::from_micros(250);
/// A server that says nothing for so long will not.
const SILENCE_MS: u16 = 5000;

/// CPU time for each event of so many streams, all at once, in us, with the reads that it took
/// for each.
pub(crate) fn of(server: &Server, wire: Wire, streams: u32, events: u32) -> io::Result<(f64, f64)> {
    let request = server.request(wire, events);
    let mut open = Vec::new();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for at in 0..streams {
        let stream = TcpStream::connect(server.authority())?;
        stream.set_nodelay(true)?;
        let stamps = TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
            | TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE;
        setsockopt(&stream, sockopt::Timestamping, &stamps)?;
        let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
        epoll.add(&stream, EpollEvent::new(flags, u64::from(at)))?;
        open.push(Some(stream));
    }
    for stream in open.iter_mut().flatten() {
        stream.write_all(&request)?;
        stream.set_nonblocking(true)?;
    }
    let before = cpu_us()?;
    let reads = read_all(&epoll, &mut open)?;
    let events = f64::from(streams) * f64::from(events);
    Ok(((cpu_us()? - before) / events, reads as f64 / events))
}

/// Reads until every stream is closed, and says how often.
fn read_all(epoll: &Epoll, open: &mut [Option<TcpStream>]) -> io::Result<u64> {
    let (mut told, mut bytes) = (vec![EpollEvent::empty(); 1024], vec![0; 256 << 10]);
    let mut control = nix::cmsg_space!(Timestamps);
    let (mut left, mut reads) = (open.len(), 0);
    while 0 < left {
        let count = epoll.wait(&mut told, SILENCE_MS)?;
        if count == 0 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        for event in &told[..count] {
            let at = usize::try_from(event.data()).map_err(io::Error::other)?;
            let closed = event.events().contains(EpollFlags::EPOLLRDHUP);
            // After the last event nothing more is told.
            while let Some(stream) = &open[at] {
                let mut into = [IoSliceMut::new(&mut bytes)];
                let fd = stream.as_raw_fd();
                let took = recvmsg::<()>(fd, &mut into, Some(&mut control), MsgFlags::empty());
                match took.map(|message| message.bytes) {
                    Ok(0) => {
                        open[at] = None;
                        left -= 1;
                    }
                    Ok(_) => reads += 1,
                    Err(Errno::EAGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
                if !closed {
                    break;
                }
            }
        }
        thread::sleep(REST);
    }
    Ok(reads)
}

fn cpu_us() -> io::Result<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    Ok((usage.user_time() + usage.system_time()).num_microseconds() as f64)
}
