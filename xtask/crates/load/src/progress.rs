//! How far a load is, shared between the engine that makes it and whoever watches.
//!
//! The engine writes, a progress bar and the hang detection read. Nothing here may ever block or
//! allocate: it is called from the reading path.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A handle on the counters of one load; clones share them.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    asked: u32,
    sent: AtomicU32,
    completed: AtomicU32,
    failed: AtomicU32,
    tokens: AtomicU64,
    origin: Instant,
    last_heard_ns: AtomicU64,
}

/// The counters at one moment. They are read one by one, so they may be a few requests apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Requests asked for.
    pub asked: u32,
    /// Requests sent.
    pub sent: u32,
    /// Requests completed.
    pub completed: u32,
    /// Requests failed.
    pub failed: u32,
    /// Tokens received; where the stream does not count them, chunks.
    pub tokens: u64,
    /// Time since anything was last heard from the load, or since it was created.
    pub silent_for: Duration,
}

impl Progress {
    /// Counters for a load of `asked` requests, last heard now.
    pub fn new(asked: u32) -> Self {
        Self(Arc::new(Counters {
            asked,
            sent: AtomicU32::new(0),
            completed: AtomicU32::new(0),
            failed: AtomicU32::new(0),
            tokens: AtomicU64::new(0),
            origin: Instant::now(),
            last_heard_ns: AtomicU64::new(0),
        }))
    }

    /// The counters now.
    pub fn snapshot(&self) -> Snapshot {
        let heard = Duration::from_nanos(self.0.last_heard_ns.load(Ordering::Relaxed));
        Snapshot {
            asked: self.0.asked,
            sent: self.0.sent.load(Ordering::Relaxed),
            completed: self.0.completed.load(Ordering::Relaxed),
            failed: self.0.failed.load(Ordering::Relaxed),
            tokens: self.0.tokens.load(Ordering::Relaxed),
            silent_for: self.0.origin.elapsed().saturating_sub(heard),
        }
    }

    /// A request was sent.
    pub fn sent(&self) {
        self.0.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A request completed.
    pub fn completed(&self) {
        self.0.completed.fetch_add(1, Ordering::Relaxed);
    }

    /// A request failed.
    pub fn failed(&self) {
        self.0.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// So many tokens came.
    pub fn tokens(&self, count: u64) {
        self.0.tokens.fetch_add(count, Ordering::Relaxed);
    }

    /// Something was heard from the load just now.
    pub fn heard(&self) {
        self.heard_at(Instant::now());
    }

    /// Something was heard from the load at `at`, for callers that have read the clock already.
    pub fn heard_at(&self, at: Instant) {
        let since = at.saturating_duration_since(self.0.origin).as_nanos();
        self.0.last_heard_ns.fetch_max(u64::try_from(since).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_their_counters() {
        let progress = Progress::new(3);
        let engine = progress.clone();
        engine.sent();
        engine.sent();
        engine.completed();
        engine.failed();
        engine.tokens(7);
        let seen = progress.snapshot();
        assert_eq!((seen.asked, seen.sent, seen.completed, seen.failed), (3, 2, 1, 1));
        assert_eq!(seen.tokens, 7);
    }

    #[test]
    fn hearing_something_old_does_not_turn_the_clock_back() {
        let progress = Progress::new(1);
        let past = Instant::now();
        let future = past + Duration::from_secs(3600);
        progress.heard_at(future);
        progress.heard_at(past);
        assert_eq!(progress.snapshot().silent_for, Duration::ZERO);
    }
}
