//! One client: its bytes so far, and the answer that it is being sent.

use std::io::{self, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use super::script::Script;
use super::timing;
use super::truth::{Answered, Write};
use crate::http::{self, MAX_BODY, MAX_HEAD, NoRequest, Request};
use crate::truth::Clock;

/// Most bytes in one write where there is no gap: a full socket buffer is never waited for long.
const MOST_AT_ONCE: usize = 64 << 10;

/// A client's connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// Bytes that were read and not yet used.
    buffer: Vec<u8>,
    /// When the last of them arrived, by `CLOCK_REALTIME`, in ns since 1970.
    arrived_real_ns: Option<u64>,
    answer: Option<Answer>,
}

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) script: Arc<Script>,
    /// When its next event is due, in ns of the server's clock.
    pub(super) due_ns: u64,
    /// Whether the connection ends with it.
    pub(super) close: bool,
    /// What will be in the log; nothing for answers that are not generated.
    pub(super) record: Option<Answered>,
    /// Events that went out in full.
    sent: usize,
    /// Bytes that went out.
    written: usize,
    /// A write that has begun.
    writing: Option<Writing>,
}

/// A write that has begun: when, to where, and how many events it completes.
#[derive(Clone, Copy, Debug)]
struct Writing {
    began_ns: u64,
    end: usize,
    events: usize,
}

/// What became of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// More is due then.
    MoreAt(u64),
    /// The socket takes no more for now.
    Blocked,
    /// The answer is complete.
    Done,
    /// The client is gone.
    Gone,
}

impl Answer {
    pub(super) const fn new(
        script: Arc<Script>,
        due_ns: u64,
        close: bool,
        record: Option<Answered>,
    ) -> Self {
        Self { script, due_ns, close, record, sent: 0, written: 0, writing: None }
    }

    /// Sends what is due.
    fn send(&mut self, stream: &mut TcpStream, gap: Duration, clock: Clock) -> Sent {
        let writing = self.writing.unwrap_or_else(|| {
            let most = if gap.is_zero() { MOST_AT_ONCE } else { 0 };
            let (end, events) = self.script.next(self.sent, most);
            Writing { began_ns: clock.now_ns(), end, events }
        });
        self.writing = Some(writing);
        while self.written < writing.end {
            match stream.write(self.script.bytes(self.written, writing.end)) {
                Ok(0) => return Sent::Gone,
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Sent::Blocked,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Sent::Gone,
            }
        }
        self.writing = None;
        self.sent += writing.events;
        self.record(&writing, clock.now_ns(), gap)
    }

    fn record(&mut self, writing: &Writing, now_ns: u64, gap: Duration) -> Sent {
        let took_ns = u32::try_from(now_ns - writing.began_ns).unwrap_or(u32::MAX);
        let complete = self.sent == self.script.events();
        if let Some(record) = &mut self.record {
            // A script has at most as many events as a request may ask tokens for.
            let events = u32::try_from(writing.events).unwrap_or(u32::MAX);
            record.writes.push(Write { began_ns: writing.began_ns, took_ns, events });
            record.done_ns = complete.then_some(now_ns);
        }
        if complete {
            return Sent::Done;
        }
        self.due_ns = next_due(self.due_ns, gap, now_ns);
        Sent::MoreAt(self.due_ns)
    }
}

/// When the event after one that was due at `due_ns` is due. A schedule that was missed by more
/// than a gap begins anew: there is no rush to catch up.
fn next_due(due_ns: u64, gap: Duration, now_ns: u64) -> u64 {
    let gap = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
    let next = due_ns.saturating_add(gap);
    if next < now_ns { now_ns.saturating_add(gap) } else { next }
}

impl Connection {
    /// Takes over a fresh connection.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::new(), arrived_real_ns: None, answer: None })
    }

    /// Reads what there is. An error says that the client is gone, or sends too much.
    pub(super) fn fill(&mut self, scratch: &mut [u8]) -> io::Result<()> {
        let (bytes, arrived) = match timing::receive(&self.stream, scratch) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            received => received?,
        };
        if bytes == 0 || MAX_HEAD + MAX_BODY < self.buffer.len() + bytes {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        self.buffer.extend_from_slice(&scratch[..bytes]);
        self.arrived_real_ns = arrived;
        Ok(())
    }

    /// The next request, if all of it is there and the last one has been answered; and when its
    /// last byte arrived.
    pub(super) fn request(&mut self) -> Result<Option<(Request, Option<u64>)>, NoRequest> {
        if self.answer.is_some() || self.buffer.is_empty() {
            return Ok(None);
        }
        let Some((request, used)) = http::parse(&self.buffer)? else { return Ok(None) };
        self.buffer.drain(..used);
        Ok(Some((request, self.arrived_real_ns)))
    }

    /// Begins an answer.
    pub(super) fn begin(&mut self, answer: Answer) {
        self.answer = Some(answer);
    }

    /// Sends what is due of the answer.
    pub(super) fn send(&mut self, gap: Duration, clock: Clock) -> Sent {
        match &mut self.answer {
            Some(answer) => answer.send(&mut self.stream, gap, clock),
            None => Sent::Done,
        }
    }

    /// The answer, which is over.
    pub(super) const fn take_answer(&mut self) -> Option<Answer> {
        self.answer.take()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_absolute_as_long_as_it_is_kept() {
        let gap = Duration::from_nanos(20);
        assert_eq!(next_due(100, gap, 105), 120);
        assert_eq!(next_due(100, gap, 120), 120);
    }

    #[test]
    fn after_a_stall_there_is_no_rush() {
        assert_eq!(next_due(100, Duration::from_nanos(20), 500), 520);
        assert_eq!(next_due(100, Duration::ZERO, 500), 500);
    }
}
