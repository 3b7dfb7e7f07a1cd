//! One thread's event loop.
//!
//! Between two looks at the connections it may rest: the kernel notes when bytes arrive, so that
//! reading them later costs no accuracy as long as two events of one stream are not merged. A
//! request that is due ends every rest.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use domain::request::RequestRecord;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::prctl::set_timerslack;
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};
use nix::sys::timerfd::{ClockId, TimerFd, TimerFlags};

use super::hand::Hand;
use super::slab::{Key, Slab};
use super::socket::{READ_BYTES, Room, Socket};
use super::stamp::Stamps;
use super::stream::{GaveUp, Phase, Stream, not_connected, not_sent, unbegun};
use super::{Clock, Job, Run, Schedule};
use crate::answer::{End, Need, chain};
use crate::clock;
use crate::error::DriveError;

/// How long before it is due a request's connection is opened: many round trips in a data centre.
const AHEAD: Duration = Duration::from_millis(10);
/// A request that is due this soon is waited for with open eyes: the kernel's timers are about
/// this exact.
const SPIN: Duration = Duration::from_micros(50);
/// How often stopping, deadlines and silence are looked at.
const TICK: Duration = Duration::from_millis(20);
/// How long the rest of a body is waited for after the stream's end mark. It is waited for at all
/// so that the server does not see its last write fail.
const REST: Duration = Duration::from_secs(1);
/// Events that the kernel tells of at once; more wait for the next look.
const EVENTS: usize = 1024;
/// The number by which the timer's event is known; no stream has it.
const TIMER: u64 = u64::MAX;

/// The event loop of a thread, with everything that it owns.
pub(super) struct Worker<'a> {
    run: &'a Run,
    hand: Hand<'a>,
    /// Requests that may still be begun before one ends.
    places: usize,
    abandoned: &'a AtomicBool,
    streams: Slab<Stream<'a>>,
    /// Requests that were begun and are not due yet, in order.
    early: VecDeque<(Instant, Key)>,
    io: Io,
    records: Vec<RequestRecord>,
    pace: Pace,
}

/// What a thread asks the kernel with.
struct Io {
    epoll: Epoll,
    timer: TimerFd,
    /// When the timer goes off.
    wound: Option<Instant>,
    room: Room,
    stamps: Stamps,
}

impl<'a> Worker<'a> {
    pub(super) fn new(
        run: &'a Run,
        hand: Hand<'a>,
        places: usize,
        abandoned: &'a AtomicBool,
    ) -> Result<Self, DriveError> {
        let io = Io::new().map_err(|source| DriveError::Events { source: source.into() })?;
        Ok(Self {
            run,
            hand,
            places,
            abandoned,
            streams: Slab::new(),
            early: VecDeque::new(),
            io,
            records: Vec::new(),
            pace: Pace::new(clock::now()),
        })
    }

    /// Works until every request has ended, and gives their records.
    pub(super) fn work(mut self) -> Vec<RequestRecord> {
        // The finest that the kernel has; without it a rest is 50 us too long.
        let _ = set_timerslack(1);
        let mut events = vec![EpollEvent::empty(); EVENTS];
        let mut ticked = clock::now();
        loop {
            let now = clock::now();
            if TICK <= now - ticked {
                ticked = now;
                self.pace.tick(now);
                self.tick(now);
            }
            self.begin(now);
            self.send_due();
            if self.streams.len() == 0 && self.over(now) {
                return self.records;
            }
            self.rest();
            let count = self.io.wait(&mut events, self.next_send(), ticked + TICK);
            let looked = clock::now();
            self.io.stamps.refresh(looked);
            self.pace.look(looked);
            for event in &events[..count] {
                if event.data() != TIMER {
                    self.handle(Key::unpack(event.data()), event.events());
                }
            }
        }
    }

    /// Whether nothing is to be begun any more.
    fn over(&self, now: Instant) -> bool {
        self.hand.due().is_none() || self.run.deadline <= now || self.stopped()
    }

    fn stopped(&self) -> bool {
        *self.run.stop.borrow() || self.abandoned.load(Ordering::Relaxed)
    }

    /// Begins the requests that are due soon and have a place.
    fn begin(&mut self, now: Instant) {
        if self.places == 0 || self.run.deadline <= now || self.stopped() {
            return;
        }
        // Before the run's start only what is due at its very beginning is begun.
        let by = (now + AHEAD).saturating_duration_since(self.run.start);
        while 0 < self.places
            && let Some(job) = self.hand.take(by)
        {
            let due = match self.run.schedule {
                Schedule::OpenLoop => clock::later(self.run.start, job.due),
                Schedule::ClosedLoop => clock::now().max(self.run.start),
            };
            self.places -= 1;
            self.open(job, due, 0, clock::now());
        }
    }

    /// Begins to connect to the server's `address`th address, or else to the next that works.
    fn open(&mut self, job: &'a Job, due: Instant, address: usize, begun: Instant) {
        let mut failure = None;
        let stamped = self.run.clock == Clock::Kernel;
        for (at, to) in self.run.addresses.iter().enumerate().skip(address) {
            match Socket::connect(*to, self.run.origin.of(job.index), stamped) {
                Ok(socket) => {
                    let stream = Stream::new(self.run, job, socket, due, begun);
                    let key = self.streams.insert(Stream { address: at, ..stream });
                    if let Err(error) = self.watch(key) {
                        self.fail(key, |_| not_connected(&error));
                    }
                    return;
                }
                Err(error) => failure = Some(error),
            }
        }
        let failure = failure.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into());
        self.run.progress.failed();
        let record = unbegun(self.run, job, due);
        self.records.push(RequestRecord { failure: Some(not_connected(&failure)), ..record });
        self.places += 1;
    }

    fn watch(&mut self, key: Key) -> io::Result<()> {
        let Some(stream) = self.streams.get(key) else { return Ok(()) };
        // Every change is told once, so that nothing needs to be asked for anew.
        let all = EpollFlags::EPOLLIN
            | EpollFlags::EPOLLOUT
            | EpollFlags::EPOLLRDHUP
            | EpollFlags::EPOLLET;
        Ok(self.io.epoll.add(&stream.socket, EpollEvent::new(all, key.pack()))?)
    }

    /// Something happened on a stream's connection.
    fn handle(&mut self, key: Key, flags: EpollFlags) {
        let Some(stream) = self.streams.get(key) else { return };
        let broken = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
        match stream.phase {
            Phase::Connecting => self.connected(key),
            Phase::Waiting if flags.intersects(broken) => {
                let lost = io::Error::from(io::ErrorKind::ConnectionReset);
                self.fail(key, |_| not_sent(&lost));
            }
            Phase::Waiting => {}
            Phase::Sending { .. } => self.send(key),
            Phase::Reading => self.read(key, flags.intersects(broken)),
        }
    }

    fn connected(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        let connected = stream.socket.connected();
        let now = clock::now();
        if let Err(error) = connected {
            let (job, due, next) = (stream.job, stream.due, stream.address + 1);
            let begun = stream.begun;
            if next < self.run.addresses.len() {
                self.streams.remove(key);
                return self.open(job, due, next, begun);
            }
            return self.fail(key, |_| not_connected(&error));
        }
        stream.connect_ns = Some(clock::ns_between(stream.begun, now));
        stream.phase = Phase::Waiting;
        stream.heard = now;
        let due = stream.due;
        if due <= now {
            self.send(key);
        } else {
            let behind = self.early.partition_point(|(other, _)| *other <= due);
            self.early.insert(behind, (due, key));
        }
    }

    /// Sends what is due.
    fn send_due(&mut self) {
        while let Some((due, key)) = self.early.front().copied()
            && due <= clock::now()
        {
            self.early.pop_front();
            self.send(key);
        }
    }

    /// Hands the rest of the request to the kernel, as far as it takes it.
    fn send(&mut self, key: Key) {
        let Some(stream) = self.streams.get(key) else { return };
        let mut written = match stream.phase {
            Phase::Sending { written } => written,
            Phase::Connecting | Phase::Waiting | Phase::Reading => 0,
        };
        while written < stream.job.bytes.len() {
            let before = clock::now();
            match stream.socket.send(&stream.job.bytes[written..]) {
                Ok(length) => {
                    let now = clock::now();
                    if stream.sent.is_none() {
                        stream.sent = Some(before);
                        stream.write_ns = Some(clock::ns_between(before, now));
                        self.run.progress.sent();
                        self.run.progress.heard_at(before);
                    }
                    stream.heard = now;
                    written += length;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.phase = Phase::Sending { written };
                    return;
                }
                Err(error) => return self.fail(key, |_| not_sent(&error)),
            }
        }
        let interrupted = matches!(stream.phase, Phase::Sending { .. });
        stream.phase = Phase::Reading;
        if interrupted {
            // An answer may have begun meanwhile, and would not be told of again.
            self.read(key, false);
        }
    }

    /// Reads what has come; to the very end if the server has closed its side.
    ///
    /// After a pause several events of a stream may wait. They are then taken one by one, since
    /// the kernel gives one time for each read. Only where very many come that is too dear.
    fn read(&mut self, key: Key, to_end: bool) {
        let one_by_one = self.run.clock == Clock::Kernel && self.pace.is_behind(clock::now());
        loop {
            let Some(stream) = self.streams.get(key) else { return };
            let within = stream.answer.within_event().filter(|_| one_by_one);
            let most = within.unwrap_or(READ_BYTES);
            let arrived = stream.socket.receive(&mut self.io.room, most);
            let now = clock::now();
            let (length, at) = match arrived {
                Ok(arrived) => {
                    let sent = stream.sent.unwrap_or(stream.due);
                    let stamp = arrived.stamp;
                    let at = stamp.and_then(|stamp| self.io.stamps.arrival(stamp, sent, now));
                    (arrived.length, at)
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return self.finish(key, End::Lost(chain(&error)), now),
            };
            if length == 0 {
                return self.finish(key, End::Closed, now);
            }
            stream.heard = now;
            let (known, moment) = (stream.answer.chunks().len(), stream.moment(at, now));
            let need = stream.answer.feed(self.io.room.read(length), moment);
            let fresh = &stream.answer.chunks()[known..];
            self.pace.took(fresh.len());
            self.run.progress.heard_at(now);
            let tokens = fresh.iter().map(|chunk| u64::from(chunk.tokens.unwrap_or(1))).sum();
            self.run.progress.tokens(tokens);
            match need {
                Need::More => {}
                Need::Rest => stream.idle = REST,
                Need::Nothing => return self.finish(key, End::Closed, at.unwrap_or(now)),
            }
            if length < most && !to_end {
                return;
            }
        }
    }

    fn finish(&mut self, key: Key, end: End, at: Instant) {
        if let Some(stream) = self.streams.remove(key) {
            self.records.push(stream.finish(self.run, end, at));
            self.places += 1;
        }
    }

    fn fail(
        &mut self,
        key: Key,
        failure: impl FnOnce(&Stream<'a>) -> domain::failure::RequestFailure,
    ) {
        if let Some(stream) = self.streams.remove(key) {
            let failure = failure(&stream);
            self.records.push(stream.fail(self.run, failure));
            self.places += 1;
        }
    }

    /// Ends what has been silent for too long, and everything if the run is over.
    fn tick(&mut self, now: Instant) {
        let all = if self.stopped() {
            Some(GaveUp::Stopped)
        } else {
            (self.run.deadline <= now).then_some(GaveUp::Deadline)
        };
        for key in self.streams.keys() {
            let Some(stream) = self.streams.get(key) else { continue };
            let silent = stream.phase != Phase::Waiting
                && stream.idle <= now.saturating_duration_since(stream.heard);
            let Some(why) = all.or(silent.then_some(GaveUp::Idle)) else { continue };
            if let Some(stream) = self.streams.remove(key) {
                self.records.extend(stream.give_up(self.run, why, now));
                self.places += 1;
            }
        }
    }

    /// When a request is to be sent or begun next.
    fn next_send(&self) -> Option<Instant> {
        let send = self.early.front().map(|(due, _)| *due);
        let begin = self.hand.due().filter(|_| 0 < self.places).map(|due| {
            let due = clock::later(self.run.start, due);
            due.checked_sub(AHEAD).unwrap_or(due)
        });
        [send, begin].into_iter().flatten().min()
    }

    /// Lets events gather for a moment, if many come and the kernel notes when.
    fn rest(&self) {
        if self.run.clock != Clock::Kernel {
            return;
        }
        let now = clock::now();
        let until = self.pace.rest_until();
        let until = self.next_send().map_or(until, |send| until.min(send - SPIN));
        let left = until.saturating_duration_since(now);
        if !left.is_zero() {
            thread::sleep(left);
        }
    }
}

impl Io {
    fn new() -> Result<Self, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        // Told once each time, so that it need not be read.
        let once = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&timer, EpollEvent::new(once, TIMER))?;
        Ok(Self { epoll, timer, wound: None, room: Room::new(), stamps: Stamps::new() })
    }

    /// Waits for events, until just before `send` or until `tick` at the latest.
    fn wait(&mut self, events: &mut [EpollEvent], send: Option<Instant>, tick: Instant) -> usize {
        let now = clock::now();
        let wake = send.map_or(tick, |send| tick.min(send.checked_sub(SPIN).unwrap_or(send)));
        let left = wake.saturating_duration_since(now);
        let timeout = if left.is_zero() || !self.wind(wake, left) {
            EpollTimeout::ZERO
        } else {
            EpollTimeout::NONE
        };
        // A signal is no event; whatever else fails shows as silence.
        self.epoll.wait(events, timeout).unwrap_or(0)
    }

    /// Has the timer go off at `wake`, which is `left` from now, unless it goes off before.
    fn wind(&mut self, wake: Instant, left: Duration) -> bool {
        if self.wound == Some(wake) {
            return true;
        }
        let once = Expiration::OneShot(TimeSpec::from_duration(left));
        let wound = self.timer.set(once, TimerSetTimeFlags::empty()).is_ok();
        self.wound = Some(wake).filter(|_| wound);
        wound
    }
}

/// How long a rest may be, by how many events come.
#[derive(Debug)]
struct Pace {
    /// When the connections were last looked at.
    looked: Instant,
    ticked: Instant,
    /// Events since then.
    events: usize,
    rest: Duration,
    /// Whether several events of one stream may have come before this look.
    behind: bool,
}

impl Pace {
    /// Rests by the events in a second from which on they are worth it: few events are better
    /// read at once, so that a place that becomes free is used at once.
    const RESTS: [(f64, Duration); 2] =
        [(150_000.0, Self::LONGEST), (10_000.0, Duration::from_micros(250))];
    /// The longest rest. Where it is right, two events of a stream come together anyway.
    const LONGEST: Duration = Duration::from_micros(500);
    /// Fewer than two events of one stream come in this time, where a GPU makes them.
    const AWAY: Duration = Duration::from_millis(2);

    const fn new(now: Instant) -> Self {
        Self { looked: now, ticked: now, events: 0, rest: Duration::ZERO, behind: false }
    }

    fn took(&mut self, events: usize) {
        self.events += events;
    }

    /// The connections are looked at now.
    fn look(&mut self, at: Instant) {
        let away = at.saturating_duration_since(self.looked);
        self.behind = Self::AWAY <= away && self.rest < Self::LONGEST;
        self.looked = at;
    }

    /// Whether several events of one stream may wait at `now`. The processor may be lost in the
    /// middle of a look, too.
    fn is_behind(&self, now: Instant) -> bool {
        let away = now.saturating_duration_since(self.looked);
        self.behind || Self::AWAY <= away && self.rest < Self::LONGEST
    }

    fn rest_until(&self) -> Instant {
        self.looked + self.rest
    }

    fn tick(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.ticked).as_secs_f64();
        let per_second = self.events as f64 / seconds;
        let rest = Self::RESTS.iter().find(|(least, _)| *least < per_second);
        self.rest = rest.map_or(Duration::ZERO, |(_, rest)| *rest);
        (self.ticked, self.events) = (now, 0);
    }
}
