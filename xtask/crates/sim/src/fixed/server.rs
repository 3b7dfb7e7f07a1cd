//! The loop that serves: one thread, one epoll, one alarm.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::EventFd;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, listen, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeValLike as _;

use super::Schedule;
use super::connection::{Answer, Connection, Sent};
use super::script::{Script, Scripts};
use super::timing::{Alarm, stamp_arrivals};
use super::truth::Log;
use crate::app::App;
use crate::control;
use crate::http::NoRequest;

/// Most connections at once: the largest load, and some to ask questions with.
const MOST_CONNECTIONS: usize = 20_000;
/// Connections accepted in a row before answers have their turn.
const ACCEPTS_IN_A_ROW: usize = 32;
/// Answers sent in a row before requests have their turn.
const SENDS_IN_A_ROW: usize = 32;
/// Events taken from the kernel at once.
const EVENTS: usize = 128;
/// Bytes read at once.
const READ: usize = 64 << 10;

const LISTENER: u64 = u64::MAX;
const STOP: u64 = u64::MAX - 1;
const ALARM: u64 = u64::MAX - 2;

/// Listens on an address, with the longest queue that the system allows: a burst of connections
/// that does not fit is retried by the kernel a second later, which would look like a slow server.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let family = if addr.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // A port that the last server has just left can be taken again.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    let address = SockaddrStorage::from(addr);
    nix::sys::socket::bind(std::os::fd::AsRawFd::as_raw_fd(&fd), &address)?;
    listen(&fd, Backlog::MAXALLOWABLE)?;
    Ok(TcpListener::from(fd))
}

/// CPU time of this thread, in ns.
pub(super) fn cpu_ns() -> u64 {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return 0 };
    let spent = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    u64::try_from(spent).map_or(0, |micros| micros * 1000)
}

/// A place for a connection, used again and again.
#[derive(Debug, Default)]
struct Slot {
    connection: Option<Connection>,
    /// How often it was used, so that what was due for an earlier one is not taken for this one's.
    uses: u32,
}

/// What is due: when, for which slot, in which of its uses.
type Due = Reverse<(u64, usize, u32)>;

/// A server with a fixed schedule.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) app: App,
    pub(super) schedule: Schedule,
    pub(super) scripts: Scripts,
    pub(super) log: Log,
    listener: TcpListener,
    epoll: Epoll,
    alarm: Alarm,
    slots: Vec<Slot>,
    free: Vec<usize>,
    due: BinaryHeap<Due>,
    scratch: Vec<u8>,
}

impl Server {
    pub(super) fn new(
        listener: TcpListener,
        app: App,
        schedule: Schedule,
        stop: &EventFd,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        stamp_arrivals(&listener)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let alarm = Alarm::new()?;
        let readable = EpollFlags::EPOLLIN;
        epoll.add(&listener, EpollEvent::new(readable, LISTENER))?;
        epoll.add(stop.as_fd(), EpollEvent::new(readable, STOP))?;
        // Edge-triggered, so that it need not be read.
        epoll.add(alarm.timer().as_fd(), EpollEvent::new(readable | EpollFlags::EPOLLET, ALARM))?;
        let (slots, free, due) = (Vec::new(), Vec::new(), BinaryHeap::new());
        let (scripts, log, scratch) = (Scripts::default(), Log::default(), vec![0; READ]);
        Ok(Self { app, schedule, scripts, log, listener, epoll, alarm, slots, free, due, scratch })
    }

    /// Serves until it is told to stop.
    pub(super) fn run(mut self) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let wait = self.send_what_is_due()?;
            let count = match self.epoll.wait(&mut events, wait) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(error) => return Err(error.into()),
            };
            for event in &events[..count] {
                match event.data() {
                    STOP => return Ok(()),
                    ALARM => {}
                    LISTENER => self.accept(),
                    slot => self.ready(usize::try_from(slot).unwrap_or(usize::MAX), event.events()),
                }
            }
        }
    }

    /// Sends what is due, and says how long to wait for something else.
    fn send_what_is_due(&mut self) -> io::Result<EpollTimeout> {
        for _ in 0..SENDS_IN_A_ROW {
            let now_ns = self.app.clock.now_ns();
            let Some(Reverse((at_ns, slot, uses))) = self.due.peek().copied() else {
                return Ok(EpollTimeout::NONE);
            };
            if now_ns < at_ns {
                self.alarm.set(at_ns, now_ns)?;
                return Ok(EpollTimeout::NONE);
            }
            self.due.pop();
            if self.slots[slot].uses == uses {
                self.send(slot);
            }
        }
        Ok(EpollTimeout::ZERO)
    }

    fn accept(&mut self) {
        for _ in 0..ACCEPTS_IN_A_ROW {
            // An error here is the client's, or a lack of descriptors; either way the next one may
            // succeed.
            let Ok((stream, _)) = self.listener.accept() else { return };
            if MOST_CONNECTIONS <= self.slots.len() - self.free.len() {
                return;
            }
            let Ok(connection) = Connection::new(stream) else { continue };
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            });
            let event = EpollEvent::new(EpollFlags::EPOLLIN, slot as u64);
            if self.epoll.add(&connection, event).is_err() {
                self.free.push(slot);
                continue;
            }
            self.slots[slot].connection = Some(connection);
            // Its request is often there already.
            self.read(slot);
        }
    }

    fn ready(&mut self, slot: usize, events: EpollFlags) {
        if events.intersects(EpollFlags::EPOLLOUT) {
            self.watch(slot, EpollFlags::EPOLLIN);
            self.send(slot);
        }
        if events.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.read(slot);
        }
    }

    fn watch(&mut self, slot: usize, events: EpollFlags) {
        let Some(connection) = &self.slots[slot].connection else { return };
        if self.epoll.modify(connection, &mut EpollEvent::new(events, slot as u64)).is_err() {
            self.drop_connection(slot);
        }
    }

    fn read(&mut self, slot: usize) {
        let Some(connection) = &mut self.slots[slot].connection else { return };
        match connection.fill(&mut self.scratch) {
            Ok(()) => self.take_request(slot),
            Err(_gone) => self.drop_connection(slot),
        }
    }

    /// Begins the answer to the next request, if it is there.
    fn take_request(&mut self, slot: usize) {
        let Some(connection) = &mut self.slots[slot].connection else { return };
        let answer = match connection.request() {
            Ok(None) => return,
            Ok(Some((request, arrived_real_ns))) => {
                let offset_ns = self.app.clock.realtime_offset_ns();
                let arrived_ns = arrived_real_ns.and_then(|real| real.checked_sub(offset_ns));
                self.answer(&request, arrived_ns)
            }
            Err(NoRequest::Gone) => return self.drop_connection(slot),
            Err(NoRequest::Refused(status, why)) => {
                let script = Script::whole(control::error(status, why).bytes(true));
                Answer::new(script.into(), 0, true, None)
            }
        };
        self.due.push(Reverse((answer.due_ns, slot, self.slots[slot].uses)));
        if let Some(connection) = &mut self.slots[slot].connection {
            connection.begin(answer);
        }
    }

    fn send(&mut self, slot: usize) {
        let Some(connection) = &mut self.slots[slot].connection else { return };
        match connection.send(self.schedule.gap, self.app.clock) {
            Sent::MoreAt(at_ns) => self.due.push(Reverse((at_ns, slot, self.slots[slot].uses))),
            Sent::Blocked => self.watch(slot, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT),
            Sent::Gone => self.drop_connection(slot),
            Sent::Done => {
                let Some(answer) = connection.take_answer() else { return };
                if let Some(record) = answer.record {
                    self.log.keep(record);
                }
                if answer.close {
                    self.drop_connection(slot);
                } else {
                    self.take_request(slot);
                }
            }
        }
    }

    /// Ends a connection. What it was being sent goes into the log as not done.
    fn drop_connection(&mut self, slot: usize) {
        let Some(mut connection) = self.slots[slot].connection.take() else { return };
        if let Some(record) = connection.take_answer().and_then(|answer| answer.record) {
            self.log.keep(record);
        }
        self.slots[slot].uses = self.slots[slot].uses.wrapping_add(1);
        self.free.push(slot);
    }
}
