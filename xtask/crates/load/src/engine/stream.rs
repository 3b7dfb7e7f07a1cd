//! One request on its connection: what is known of it, and the record that it becomes. No I/O.

use std::io;
use std::time::{Duration, Instant};

use domain::failure::{FailureKind, RequestFailure};
use domain::request::RequestRecord;

use super::socket::Socket;
use super::{Job, Run};
use crate::answer::{Answer, End, Moment, Outcome, Rules, chain};
use crate::clock;

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Connecting,
    /// Connected, and not due yet.
    Waiting,
    /// So many bytes were handed to the kernel.
    Sending {
        written: usize,
    },
    Reading,
}

/// Why a request that was not sent yet ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GaveUp {
    Idle,
    Deadline,
    Stopped,
}

/// A request in flight.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    pub(super) socket: Socket,
    pub(super) job: &'a Job,
    pub(super) due: Instant,
    /// When connecting began.
    pub(super) begun: Instant,
    pub(super) phase: Phase,
    /// Which of the server's addresses is tried.
    pub(super) address: usize,
    /// When anything was last heard of it.
    pub(super) heard: Instant,
    /// How long nothing may be heard.
    pub(super) idle: Duration,
    pub(super) connect_ns: Option<u64>,
    pub(super) sent: Option<Instant>,
    pub(super) write_ns: Option<u64>,
    pub(super) answer: Answer,
}

impl<'a> Stream<'a> {
    /// A request whose connection is being made. What its answer needs is allocated now.
    pub(super) fn new(run: &Run, job: &'a Job, socket: Socket, due: Instant, now: Instant) -> Self {
        Self {
            socket,
            job,
            due,
            begun: now,
            phase: Phase::Connecting,
            address: 0,
            heard: now,
            idle: run.idle,
            connect_ns: None,
            sent: None,
            write_ns: None,
            answer: Answer::new(run.wire, job.asked_tokens).delivered(job.delivery),
        }
    }

    /// A moment as times of this request count.
    pub(super) fn moment(&self, arrived: Option<Instant>, read: Instant) -> Moment {
        let sent = self.sent.unwrap_or(self.due);
        match arrived {
            Some(at) => Moment {
                at_ns: clock::ns_between(sent, at),
                late_ns: Some(u32::try_from(clock::ns_between(at, read)).unwrap_or(u32::MAX)),
            },
            None => Moment { at_ns: clock::ns_between(sent, read), late_ns: None },
        }
    }

    /// Ends it at `now` for a reason that lies outside. Gives no record if it was not to be sent
    /// any more.
    pub(super) fn give_up(self, run: &Run, why: GaveUp, now: Instant) -> Option<RequestRecord> {
        if self.phase == Phase::Reading {
            let end = match why {
                GaveUp::Idle => End::Idle,
                GaveUp::Deadline => End::Deadline,
                GaveUp::Stopped => End::Stopped,
            };
            return Some(self.finish(run, end, now));
        }
        // Its time had not come, so that nothing is missing.
        let early = self.phase == Phase::Waiting && now < self.due;
        unsent(why).filter(|_| !early).map(|failure| self.fail(run, failure))
    }

    /// Ends it because it could not be sent.
    pub(super) fn fail(self, run: &Run, failure: RequestFailure) -> RequestRecord {
        run.progress.failed();
        RequestRecord { failure: Some(failure), ..self.blank(run) }
    }

    /// Ends the reading of its answer, at `at`.
    pub(super) fn finish(self, run: &Run, end: End, at: Instant) -> RequestRecord {
        let record = self.blank(run);
        let at_ns = self.moment(None, at).at_ns;
        let rules = Rules { asked_tokens: self.job.asked_tokens, length: run.length };
        let Outcome { status, chunks, usage, times, pings, done_ns, failure } =
            self.answer.close(end, at_ns, rules);
        match failure {
            Some(_) => run.progress.failed(),
            None => run.progress.completed(),
        }
        RequestRecord {
            chunks,
            done_ns,
            server_prompt_tokens: usage.prompt,
            cached_tokens: usage.cached,
            server_output_tokens: usage.output,
            reached_length: usage.reached_length,
            server_times: times,
            status,
            pings,
            failure,
            ..record
        }
    }

    /// The record of a request without an answer.
    fn blank(&self, run: &Run) -> RequestRecord {
        RequestRecord {
            sent_ns: self.sent.map(|sent| clock::ns_between(run.start, sent)),
            write_ns: self.write_ns,
            connect_ns: self.connect_ns,
            ..unbegun(run, self.job, self.due)
        }
    }
}

/// The record of a request of which nothing is known yet.
pub(super) fn unbegun(run: &Run, job: &Job, due: Instant) -> RequestRecord {
    RequestRecord {
        index: job.index,
        due_ns: Some(clock::ns_between(run.start, due)),
        sent_ns: None,
        write_ns: None,
        connect_ns: None,
        chunks: Vec::new(),
        done_ns: None,
        prompt_tokens: job.prompt_tokens,
        server_prompt_tokens: None,
        cached_tokens: None,
        asked_tokens: job.asked_tokens,
        server_output_tokens: None,
        reported_output_tokens: None,
        reached_length: false,
        server_times: None,
        status: None,
        pings: 0,
        failure: None,
    }
}

pub(super) fn not_connected(error: &io::Error) -> RequestFailure {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureKind::ConnectRefused,
        // A port that refuses says so; one that resets had taken the connection, and closed
        // before anybody looked at it.
        io::ErrorKind::ConnectionReset => FailureKind::ConnectionLost,
        _ => FailureKind::ConnectFailed,
    };
    let text = chain(error);
    let detail = match error.kind() {
        // A closed connection keeps its port for a minute.
        io::ErrorKind::AddrNotAvailable => format!("no local port is free any more: {text}"),
        _ => text,
    };
    RequestFailure::new(kind, detail)
}

pub(super) fn not_sent(error: &io::Error) -> RequestFailure {
    RequestFailure::new(FailureKind::SendFailed, chain(error))
}

/// The failure of a request that was not sent in time; none if it was not to be sent any more.
fn unsent(why: GaveUp) -> Option<RequestFailure> {
    match why {
        GaveUp::Idle => Some(RequestFailure::new(
            FailureKind::ConnectFailed,
            "the server took neither the connection nor the request for too long",
        )),
        GaveUp::Deadline => Some(RequestFailure::new(
            FailureKind::DeadlineExceeded,
            "the run's time was over before the request was sent",
        )),
        GaveUp::Stopped => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_taken_and_reset_is_lost_and_not_refused() {
        let kind = |kind: io::ErrorKind| not_connected(&io::Error::from(kind)).kind;
        assert_eq!(kind(io::ErrorKind::ConnectionRefused), FailureKind::ConnectRefused);
        assert_eq!(kind(io::ErrorKind::ConnectionReset), FailureKind::ConnectionLost);
        assert_eq!(kind(io::ErrorKind::NetworkUnreachable), FailureKind::ConnectFailed);
    }
}
