//! A run of the native engine: sends a request set as scheduled and records every request's life.
//!
//! One task a request. The schedule is absolute: a late request does not shift the next one, and
//! how late each was is in its record. Nothing is judged here beyond whether an answer is
//! complete.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use domain::facts::Capabilities;
use domain::failure::{FailureKind, RequestFailure};
use domain::framework::Wire;
use domain::profile::Profile;
use domain::request::RequestRecord;
use domain::timestamp::Timestamp;
use sequencer::{Evidence, ServerVerified};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::answer::LengthRule;
use crate::clock;
use crate::endpoint::{self, Endpoint};
use crate::error::DriveError;
use crate::exchange::{Job, Run, Schedule, exchange};
use crate::limits;
use crate::patience::{GaveUp, Patience};
use crate::progress::Progress;
use crate::workload::{Request, RequestSet};

/// The header that carries a request's position in the set, so that a server's own record can be
/// compared with ours.
const INDEX_HEADER: &str = "x-request-index";
/// Longest answer of a warm-up request, in tokens, as in the Python tool.
const WARM_UP_TOKENS: u32 = 32;

/// What is to be driven, and where to.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// Base URL of the server; the one that was verified.
    pub base_url: &'a str,
    /// Model id as the server knows it.
    pub model: &'a str,
    /// Wire format to speak.
    pub wire: Wire,
    /// The load that `requests` were made from.
    pub profile: &'a Profile,
    /// What is sent.
    pub requests: &'a RequestSet,
    /// What the server can do. Where it forces the length, another count of tokens than the one
    /// asked for is a failure; elsewhere only a higher one is.
    pub capabilities: Capabilities,
    /// A request that hears nothing for this long has stalled.
    pub idle: Duration,
    /// The run is ended after this long.
    pub deadline: Duration,
    /// Further headers of every request, such as an authorisation.
    pub headers: Vec<(String, String)>,
}

/// What a run gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Drive {
    /// One record for every request that was sent or failed to be, by index. Requests that were
    /// still to come when the run was stopped have none.
    pub records: Vec<RequestRecord>,
    /// When the run began.
    pub started: Timestamp,
    /// When the last answer was complete.
    pub finished: Timestamp,
    /// From the one to the other, by a clock that is never set, in ns.
    pub duration_ns: u64,
    /// CPU time of this process in that time, in ns, where the system tells.
    pub cpu_ns: Option<u64>,
    /// Threads that made the load, where the engine knows them.
    pub threads: Option<u32>,
}

/// Sends the load and records what came of it.
///
/// Requests fail one by one, into their records. When `stop` becomes true, or after the order's
/// deadline, requests in flight end as failed and what was measured is returned.
///
/// # Errors
///
/// [`DriveError`] when nothing could be sent at all.
pub async fn drive(
    order: &Order<'_>,
    verified: &Evidence<ServerVerified>,
    progress: &Progress,
    stop: watch::Receiver<bool>,
) -> Result<Drive, DriveError> {
    check_subject(order, verified)?;
    let endpoint = Endpoint::parse(order.base_url)?;
    let requests = order.requests.requests().iter();
    let jobs = requests.map(|request| job(order, &endpoint, request, Some(request.index)));
    run(order, jobs.collect(), progress, stop).await
}

/// Sends the first request `requests` times, with an answer of at most 32 tokens, and throws the
/// results away.
///
/// Each is bounded by the order's idle limit and all of them by its deadline, so that a caller
/// needs no watch on them.
///
/// # Errors
///
/// [`DriveError::WarmUp`] when none completed, [`DriveError::Stopped`] when `stop` became true,
/// and whatever [`drive`] may fail with.
pub async fn warm_up(
    order: &Order<'_>,
    requests: u32,
    verified: &Evidence<ServerVerified>,
    stop: watch::Receiver<bool>,
) -> Result<(), DriveError> {
    check_subject(order, verified)?;
    let Some(first) = order.requests.requests().first() else { return Ok(()) };
    let output_len = first.output_len.min(WARM_UP_TOKENS);
    let again = Request { output_len, due: Duration::ZERO, ..first.clone() };
    let job = job(order, &Endpoint::parse(order.base_url)?, &again, None);
    let jobs = vec![job; requests as usize];
    let stopped = stop.clone();
    let drive = run(order, jobs, &Progress::new(requests), stop).await?;
    if *stopped.borrow() {
        return Err(DriveError::Stopped);
    }
    if requests == 0 || drive.records.iter().any(RequestRecord::completed) {
        return Ok(());
    }
    let first = drive.records.into_iter().find_map(|record| record.failure);
    let first = first.unwrap_or_else(|| {
        RequestFailure::new(FailureKind::DeadlineExceeded, "no request could be sent in time")
    });
    Err(DriveError::WarmUp { requests, first })
}

fn check_subject(order: &Order<'_>, verified: &Evidence<ServerVerified>) -> Result<(), DriveError> {
    if order.base_url.trim_end_matches('/') == verified.subject().trim_end_matches('/') {
        return Ok(());
    }
    let (url, verified) = (order.base_url.to_owned(), verified.subject().to_owned());
    Err(DriveError::NotVerified { url, verified })
}

/// A request as bytes, made before the run.
fn job(order: &Order<'_>, endpoint: &Endpoint, request: &Request, index: Option<u32>) -> Job {
    let mut headers = order.headers.clone();
    headers.extend(index.map(|index| (INDEX_HEADER.to_owned(), index.to_string())));
    let ignore_eos = order.profile.ignore_eos;
    let body = order.requests.body(order.wire, order.model, request, ignore_eos);
    Job {
        index: request.index,
        due: request.due,
        bytes: endpoint.request(order.wire, &headers, &body),
        prompt_tokens: request.prompt_len,
        asked_tokens: request.output_len,
    }
}

/// Sends jobs as scheduled and waits for all that were sent.
async fn run(
    order: &Order<'_>,
    jobs: Vec<Job>,
    progress: &Progress,
    stop: watch::Receiver<bool>,
) -> Result<Drive, DriveError> {
    endpoint::check_headers(&order.headers)?;
    let addresses = Endpoint::parse(order.base_url)?.resolve().await?;
    let at_once = order.profile.max_concurrency.map_or(jobs.len(), |most| most as usize);
    limits::allow_connections(at_once.min(jobs.len()))?;

    let (cpu_before, started) = (limits::cpu_ns(), Timestamp::from(SystemTime::now()));
    let start = clock::now();
    let run = Arc::new(plan(order, addresses, start, progress.clone(), stop));
    progress.heard_at(start);
    let mut tasks = dispatch(&run, jobs, at_once).await;
    let mut records = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        records.extend(ended?);
    }
    let duration_ns = clock::ns_between(start, clock::now());
    records.sort_unstable_by_key(|record| record.index);
    Ok(Drive {
        records,
        started,
        finished: Timestamp::from(SystemTime::now()),
        duration_ns,
        cpu_ns: limits::cpu_ns().zip(cpu_before).and_then(|(now, before)| now.checked_sub(before)),
        threads: None,
    })
}

fn plan(
    order: &Order<'_>,
    addresses: Vec<SocketAddr>,
    start: Instant,
    progress: Progress,
    stop: watch::Receiver<bool>,
) -> Run {
    // A server can be held to a length only if it was asked to go on to it.
    let forced = order.capabilities.forces_length && order.profile.ignore_eos;
    let length = if forced { LengthRule::Exact } else { LengthRule::AtMost };
    let no_rate = order.profile.request_rate.per_second().is_none();
    let closed = no_rate && order.profile.max_concurrency.is_some();
    Run {
        addresses,
        wire: order.wire,
        length,
        schedule: if closed { Schedule::ClosedLoop } else { Schedule::OpenLoop },
        idle: order.idle,
        start,
        deadline: clock::later(start, order.deadline),
        progress,
        stop,
    }
}

/// Starts each job when it is due and one of the `at_once` places is free.
///
/// Places are given in the order of the schedule, which is what waiting for them here, before the
/// task exists, makes sure of.
async fn dispatch(
    run: &Arc<Run>,
    jobs: Vec<Job>,
    at_once: usize,
) -> JoinSet<Option<RequestRecord>> {
    let places = Arc::new(Semaphore::new(at_once.clamp(1, Semaphore::MAX_PERMITS)));
    let mut tasks = JoinSet::new();
    // Silence is no concern of the schedule: a request may be due hours after the one before.
    let mut patience = Patience::new(run.stop.clone(), run.deadline, Duration::MAX);
    for job in jobs {
        let scheduled = clock::later(run.start, job.due);
        let place = patience.wait(async {
            clock::until(scheduled).await;
            Arc::clone(&places).acquire_owned().await
        });
        let place = match place.await {
            Ok(place) => place,
            Err(GaveUp::Idle | GaveUp::Deadline | GaveUp::Stopped) => break,
        };
        let due = match run.schedule {
            Schedule::OpenLoop => scheduled,
            Schedule::ClosedLoop => clock::now(),
        };
        let run = Arc::clone(run);
        tasks.spawn(async move {
            let record = exchange(&run, &job, due).await;
            drop(place);
            record
        });
    }
    tasks
}

#[cfg(test)]
mod tests;
