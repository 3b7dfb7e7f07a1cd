//! One request and its answer: connect, send, read to the end, record.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use domain::failure::{FailureKind, RequestFailure};
use domain::framework::Wire;
use domain::request::RequestRecord;
use tokio::sync::watch;

use crate::answer::{Answer, End, LengthRule, Need, Outcome, Rules, chain};
use crate::clock;
use crate::connection::Connection;
use crate::patience::{GaveUp, Patience};
use crate::progress::Progress;

/// How long the rest of a body is waited for after the stream's end mark. It is waited for at all
/// so that the server does not see its last write fail.
const REST: Duration = Duration::from_secs(1);

/// What makes a request due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Its time, whether or not it may be sent already: waiting for a place makes it late.
    OpenLoop,
    /// A free place: there is no rate, so that nothing else could have wanted it sent earlier.
    ClosedLoop,
}

/// What all requests of a run share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) wire: Wire,
    pub(crate) length: LengthRule,
    pub(crate) schedule: Schedule,
    pub(crate) idle: Duration,
    pub(crate) start: Instant,
    pub(crate) deadline: Instant,
    pub(crate) progress: Progress,
    pub(crate) stop: watch::Receiver<bool>,
}

/// One request, ready to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) index: u32,
    /// When it may be sent at the earliest, from the run's start.
    pub(crate) due: Duration,
    pub(crate) bytes: Vec<u8>,
    pub(crate) prompt_tokens: u32,
    pub(crate) asked_tokens: u32,
}

/// Does one request that is due at `due`. Gives nothing if the run was stopped before it was sent.
pub(crate) async fn exchange(run: &Run, job: &Job, due: Instant) -> Option<RequestRecord> {
    let mut patience = Patience::new(run.stop.clone(), run.deadline, run.idle);
    let begun = clock::now();
    let mut record = blank(job, clock::ns_between(run.start, due));
    let mut connection = match patience.wait(Connection::open(&run.addresses)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Some(failed(run, record, not_connected(&error))),
        Err(gave_up) => return Some(failed(run, record, unsent(gave_up)?)),
    };
    // Made before the request is sent, so that nothing large is allocated while it is answered.
    let mut answer = Answer::new(run.wire, job.asked_tokens);
    record.connect_ns = Some(clock::ns_between(begun, clock::now()));
    let sent = match patience.wait(connection.send(&job.bytes)).await {
        Ok(Ok(sent)) => sent,
        Ok(Err(error)) => return Some(failed(run, record, not_sent(&error))),
        Err(gave_up) => return Some(failed(run, record, unsent(gave_up)?)),
    };
    record.sent_ns = Some(clock::ns_between(run.start, sent));
    run.progress.sent();
    run.progress.heard_at(sent);
    patience.heard(sent);

    let (end, at) = read(run, &mut connection, &mut patience, &mut answer, sent).await;
    let rules = Rules { asked_tokens: job.asked_tokens, length: run.length };
    let outcome = answer.close(end, clock::ns_between(sent, at), rules);
    Some(finished(run, &record, outcome))
}

/// Reads until nothing more is needed. Gives how it ended, and when.
async fn read(
    run: &Run,
    connection: &mut Connection,
    patience: &mut Patience,
    answer: &mut Answer,
    sent: Instant,
) -> (End, Instant) {
    loop {
        let received = match patience.wait(connection.receive()).await {
            Ok(Ok(received)) => received,
            Ok(Err(error)) => return (End::Lost(chain(&error)), clock::now()),
            Err(GaveUp::Idle) => return (End::Idle, clock::now()),
            Err(GaveUp::Deadline) => return (End::Deadline, clock::now()),
            Err(GaveUp::Stopped) => return (End::Stopped, clock::now()),
        };
        let at = received.at;
        if received.bytes.is_empty() {
            return (End::Closed, at);
        }
        patience.heard(at);
        run.progress.heard_at(at);
        let known = answer.chunks().len();
        let need = answer.feed(received.bytes, clock::ns_between(sent, at));
        let fresh = answer.chunks()[known..].iter();
        run.progress.tokens(fresh.map(|chunk| u64::from(chunk.tokens.unwrap_or(1))).sum());
        match need {
            Need::More => {}
            Need::Rest => patience.shorten(REST),
            Need::Nothing => return (End::Closed, at),
        }
    }
}

/// The record of a request of which nothing is known yet.
fn blank(job: &Job, due_ns: u64) -> RequestRecord {
    RequestRecord {
        index: job.index,
        due_ns: Some(due_ns),
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
        server_times: None,
        status: None,
        pings: 0,
        failure: None,
    }
}

fn failed(run: &Run, record: RequestRecord, failure: RequestFailure) -> RequestRecord {
    run.progress.failed();
    RequestRecord { failure: Some(failure), ..record }
}

fn finished(run: &Run, record: &RequestRecord, outcome: Outcome) -> RequestRecord {
    let Outcome { status, chunks, usage, pings, done_ns, failure } = outcome;
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
        status,
        pings,
        failure,
        ..*record
    }
}

fn not_connected(error: &io::Error) -> RequestFailure {
    let kind = match error.kind() {
        io::ErrorKind::ConnectionRefused => FailureKind::ConnectRefused,
        _ => FailureKind::ConnectFailed,
    };
    RequestFailure::new(kind, chain(error))
}

fn not_sent(error: &io::Error) -> RequestFailure {
    RequestFailure::new(FailureKind::SendFailed, chain(error))
}

/// The failure of a request that was not sent in time; none if it was not to be sent any more.
fn unsent(gave_up: GaveUp) -> Option<RequestFailure> {
    match gave_up {
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
