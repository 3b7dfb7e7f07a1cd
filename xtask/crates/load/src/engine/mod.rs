//! The event loops: threads that send requests when they are due and read the answers.
//!
//! Each thread owns its connections, and nothing is handed from one thread to another. What the
//! kernel can tell is taken from it: when bytes arrived, whenever they are read. So a thread may
//! come late, and several times a millisecond at most, and its times are exact all the same.
//!
//! One connection a request, as in the Python tool, opened a little before the request is due, so
//! that connecting does not make it late. How long that took is recorded apart.

mod hand;
mod slab;
mod socket;
mod stamp;
mod stream;
mod worker;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use domain::framework::Wire;
use domain::request::RequestRecord;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use tokio::sync::watch;

use self::hand::Hand;
use self::worker::Worker;
use crate::answer::{Delivery, LengthRule};
use crate::error::DriveError;
use crate::limits::Origin;
use crate::progress::Progress;

/// Streams that one thread is given before a second is taken: at 50 events a second each, which
/// is a fast server, they take a third of a core.
const STREAMS_PER_THREAD: usize = 2048;

/// What makes a request due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Schedule {
    /// Its time, whether or not it may be sent already: waiting for a place makes it late.
    OpenLoop,
    /// A free place: there is no rate, so that nothing else could have wanted it sent earlier.
    ClosedLoop,
}

/// Whose clock says when bytes arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The kernel's, and the engine's own for reads of which the kernel says nothing.
    Kernel,
    /// The engine's own: its lateness is in every time.
    Engine,
}

/// What all requests of a run share.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where connections come from.
    pub(crate) origin: Origin,
    pub(crate) wire: Wire,
    pub(crate) length: LengthRule,
    pub(crate) schedule: Schedule,
    pub(crate) clock: Clock,
    pub(crate) idle: Duration,
    pub(crate) start: Instant,
    pub(crate) deadline: Instant,
    /// Most requests in flight.
    pub(crate) at_once: usize,
    pub(crate) threads: usize,
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
    pub(crate) delivery: Delivery,
}

/// The processors that this process may use, the last first: the first are those that serve
/// interrupts.
fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0));
    let is_set = |set: &CpuSet, cpu: &usize| set.is_set(*cpu).unwrap_or(false);
    allowed.map_or_else(
        |_| Vec::new(),
        |set| (0..CpuSet::count()).rev().filter(|cpu| is_set(&set, cpu)).collect(),
    )
}

/// As many threads as so many streams need, within the processors that there are.
pub(crate) fn threads_for(streams: usize) -> usize {
    streams.div_ceil(STREAMS_PER_THREAD).clamp(1, processors().len().max(1))
}

/// Sends all jobs as scheduled and reads the answers. Returns when all have ended, in no order.
///
/// When `abandoned` becomes true, the run ends as if it had been stopped.
///
/// # Errors
///
/// [`DriveError::Thread`] and [`DriveError::Events`] when the system gives no means to begin.
pub(crate) fn run(
    run: &Run,
    jobs: &[Job],
    abandoned: &AtomicBool,
) -> Result<Vec<RequestRecord>, DriveError> {
    let threads = run.threads.clamp(1, run.at_once.max(1));
    let (next, processors) = (AtomicUsize::new(0), processors());
    let begin = |at: usize| {
        // With a place for each, threads need not agree on whose turn it is.
        let hand = if jobs.len() <= run.at_once {
            Hand::own(jobs, at, threads)
        } else {
            Hand::shared(jobs, &next)
        };
        let places = run.at_once / threads + usize::from(at < run.at_once % threads);
        Worker::new(run, hand, places, abandoned)
    };
    let workers = (0..threads).map(begin).collect::<Result<Vec<_>, _>>()?;
    thread::scope(|scope| {
        let mut running = Vec::new();
        for (at, worker) in workers.into_iter().enumerate() {
            // Two threads on one processor would only wait for each other.
            let processor = processors.get(at).copied().filter(|_| threads <= processors.len());
            let work = move || {
                pin(processor);
                worker.work()
            };
            let spawned =
                thread::Builder::new().name(format!("load-{at}")).spawn_scoped(scope, work);
            match spawned {
                Ok(handle) => running.push(handle),
                Err(source) => {
                    abandoned.store(true, Ordering::Relaxed);
                    return Err(DriveError::Thread { source });
                }
            }
        }
        let mut records = Vec::with_capacity(jobs.len());
        for handle in running {
            // A panic of a thread is this function's own.
            records.extend(handle.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        Ok(records)
    })
}

/// Keeps this thread on its processor. One that cannot be kept there works all the same.
fn pin(processor: Option<usize>) {
    let mut only = CpuSet::new();
    if processor.is_some_and(|processor| only.set(processor).is_ok()) {
        let _ = sched_setaffinity(Pid::from_raw(0), &only);
    }
}
