//! A run of the native engine: sends a request set as scheduled and records every request's life.
//!
//! Everything is made ready here, and then handed to the event loops of [`crate::engine`]. The
//! schedule is absolute: a late request does not shift the next one, and how late each was is in
//! its record. Nothing is judged here beyond whether an answer is complete.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use domain::facts::Capabilities;
use domain::failure::{FailureKind, RequestFailure};
use domain::framework::Wire;
use domain::profile::Profile;
use domain::request::RequestRecord;
use domain::timestamp::Timestamp;
use sequencer::{Evidence, ServerVerified};
use tokio::sync::watch;

use crate::answer::LengthRule;
use crate::clock;
use crate::endpoint::{self, Endpoint};
use crate::engine::{self, Clock, Job, Run, Schedule};
use crate::error::DriveError;
use crate::limits::{self, Origin};
use crate::progress::Progress;
use crate::workload::{Request, RequestSet};

/// The header that carries a request's position in the set, so that a server's own record can be
/// compared with ours.
const INDEX_HEADER: &str = "x-request-index";
/// Longest answer of a warm-up request, in tokens, as in the Python tool.
const WARM_UP_TOKENS: u32 = 32;

/// A run begins so long after everything is ready for it, per connection that its first moment
/// needs: they are made meanwhile. Connecting takes 20 to 50 us of a core.
const LEAD_PER_CONNECTION: Duration = Duration::from_micros(50);
/// From so many connections on, which is what a server's queue of new ones holds at most where
/// nobody has enlarged it, the server has to keep up with taking them, too.
const QUEUED_CONNECTIONS: u32 = 4096;
/// What each of those adds.
const LEAD_PER_FURTHER: Duration = Duration::from_micros(100);
/// The least and the most that a run waits for its first connections.
const LEAD: [Duration; 2] = [Duration::from_millis(2), Duration::from_secs(10)];

/// How a load is made, beyond what it is. It changes no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// Threads; absent for as many as the load needs.
    pub threads: Option<NonZeroUsize>,
    /// Whose clock says when bytes arrived.
    pub clock: Clock,
}

impl Tuning {
    /// What suits a load that nobody has special wishes for.
    pub const AUTOMATIC: Self = Self { threads: None, clock: Clock::Kernel };
}

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
    drive_tuned(order, Tuning::AUTOMATIC, verified, progress, stop).await
}

/// The same, made as `tuning` says.
///
/// # Errors
///
/// As [`drive`].
pub async fn drive_tuned(
    order: &Order<'_>,
    tuning: Tuning,
    verified: &Evidence<ServerVerified>,
    progress: &Progress,
    stop: watch::Receiver<bool>,
) -> Result<Drive, DriveError> {
    check_subject(order, verified)?;
    let endpoint = Endpoint::parse(order.base_url)?;
    let requests = order.requests.requests().iter();
    let jobs = requests.map(|request| job(order, &endpoint, request, Some(request.index)));
    run(order, tuning, jobs.collect(), progress, stop).await
}

/// Sends the first request `requests` times, with an answer of at most 32 tokens, and throws the
/// results away.
///
/// Each is bounded by the order's idle limit and all of them by its deadline, so that a caller
/// needs no watch on them.
///
/// # Errors
///
/// [`DriveError::TooFewFiles`] and [`DriveError::TooFewPorts`] where the load itself will not have
/// enough of them, [`DriveError::WarmUp`] when none completed, [`DriveError::Stopped`] when `stop` became true,
/// and whatever [`drive`] may fail with.
pub async fn warm_up(
    order: &Order<'_>,
    requests: u32,
    verified: &Evidence<ServerVerified>,
    stop: watch::Receiver<bool>,
) -> Result<(), DriveError> {
    check_subject(order, verified)?;
    check_room(order).await?;
    let Some(first) = order.requests.requests().first() else { return Ok(()) };
    let output_len = first.output_len.min(WARM_UP_TOKENS);
    let again = Request { output_len, due: Duration::ZERO, ..first.clone() };
    let job = job(order, &Endpoint::parse(order.base_url)?, &again, None);
    let jobs = vec![job; requests as usize];
    let stopped = stop.clone();
    let drive = run(order, Tuning::AUTOMATIC, jobs, &Progress::new(requests), stop).await?;
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

/// Whether the system lets the load have as many connections at once as it needs. Room for open
/// files is made, if it may be.
async fn check_room(order: &Order<'_>) -> Result<(), DriveError> {
    let addresses = Endpoint::parse(order.base_url)?.resolve().await?;
    let at_once = at_once(order, order.requests.requests().len());
    limits::allow_connections(at_once)?;
    limits::origin(addresses.first(), at_once).map(|_| ())
}

/// Most of so many requests that are in flight together.
fn at_once(order: &Order<'_>, requests: usize) -> usize {
    let most = order.profile.max_concurrency.map_or(requests, |most| most as usize);
    most.clamp(1, requests.max(1))
}

/// A request as bytes, made before the run.
fn job(order: &Order<'_>, endpoint: &Endpoint, request: &Request, index: Option<u32>) -> Job {
    let mut headers = order.headers.clone();
    headers.extend(index.map(|index| (INDEX_HEADER.to_owned(), index.to_string())));
    // Where it does nothing it is not asked for: some servers refuse what they do not know. The
    // Python tool asks all the same.
    let heeded = order.capabilities.forces_length || order.requests.speaks_as_tool();
    let ignore_eos = order.profile.ignore_eos && heeded;
    let body = order.requests.body(order.wire, order.model, request, ignore_eos);
    Job {
        index: request.index,
        due: request.due,
        bytes: endpoint.request(order.wire, &headers, &body),
        prompt_tokens: request.prompt_len,
        asked_tokens: request.output_len,
        delivery: order.requests.delivery(),
    }
}

/// Sends jobs as scheduled and waits for all that were sent.
async fn run(
    order: &Order<'_>,
    tuning: Tuning,
    jobs: Vec<Job>,
    progress: &Progress,
    stop: watch::Receiver<bool>,
) -> Result<Drive, DriveError> {
    endpoint::check_headers(&order.headers)?;
    let addresses = Endpoint::parse(order.base_url)?.resolve().await?;
    let at_once = at_once(order, jobs.len());
    limits::allow_connections(at_once)?;
    let origin = limits::origin(addresses.first(), at_once)?;

    let (now, wall) = (clock::now(), SystemTime::now());
    let lead = lead(&jobs, at_once);
    let run = plan(order, tuning, addresses, at_once, now + lead, progress.clone(), stop);
    let run = Run { origin, ..run };
    let (start, threads) = (run.start, run.threads);
    let cpu_before = limits::cpu_ns();
    progress.heard_at(start);
    let mut records = on_threads(run, jobs).await?;
    let end = clock::now();
    records.sort_unstable_by_key(|record| record.index);
    Ok(Drive {
        records,
        started: Timestamp::from(wall + lead),
        finished: Timestamp::from(SystemTime::now()),
        duration_ns: clock::ns_between(start, end),
        cpu_ns: limits::cpu_ns().zip(cpu_before).and_then(|(now, before)| now.checked_sub(before)),
        threads: u32::try_from(threads).ok(),
    })
}

/// How long after now the run begins, so that its first connections are there by then.
fn lead(jobs: &[Job], at_once: usize) -> Duration {
    let first = jobs.iter().take(at_once).take_while(|job| job.due.is_zero()).count();
    let first = u32::try_from(first).unwrap_or(u32::MAX);
    let further = first.saturating_sub(QUEUED_CONNECTIONS);
    let [least, most] = LEAD;
    LEAD_PER_CONNECTION
        .saturating_mul(first)
        .saturating_add(LEAD_PER_FURTHER.saturating_mul(further))
        .clamp(least, most)
}

fn plan(
    order: &Order<'_>,
    tuning: Tuning,
    addresses: Vec<SocketAddr>,
    at_once: usize,
    start: Instant,
    progress: Progress,
    stop: watch::Receiver<bool>,
) -> Run {
    // A server can be held to a length only if it was asked to go on to it.
    let forced = order.capabilities.forces_length && order.profile.ignore_eos;
    let length = if forced { LengthRule::Exact } else { LengthRule::AtMost };
    let no_rate = order.profile.request_rate.per_second().is_none();
    let closed = no_rate && order.profile.max_concurrency.is_some();
    let threads = tuning.threads.map_or_else(|| engine::threads_for(at_once), NonZeroUsize::get);
    Run {
        addresses,
        origin: Origin::Usual,
        wire: order.wire,
        length,
        schedule: if closed { Schedule::ClosedLoop } else { Schedule::OpenLoop },
        clock: tuning.clock,
        idle: order.idle,
        start,
        deadline: clock::later(start, order.deadline),
        at_once,
        threads: threads.min(at_once),
        progress,
        stop,
    }
}

/// Runs the event loops, which end when all requests have, or when nobody waits for them.
async fn on_threads(run: Run, jobs: Vec<Job>) -> Result<Vec<RequestRecord>, DriveError> {
    let abandoned = Abandon(Arc::new(AtomicBool::new(false)));
    let seen = Arc::clone(&abandoned.0);
    tokio::task::spawn_blocking(move || engine::run(&run, &jobs, &seen)).await?
}

/// Tells the event loops to end when it is dropped, which is when nobody waits any more.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests;
