//! The engine's clock: the one place where it is read, and arithmetic that cannot overflow.

use std::time::{Duration, Instant};

/// Beyond any run, and still a time that a timer takes.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// The time now.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// So much after `start`, at most a year.
pub(crate) fn later(start: Instant, after: Duration) -> Instant {
    start + after.min(FAR)
}

/// From `start` to `end` in ns; zero if `end` is earlier.
pub(crate) fn ns_between(start: Instant, end: Instant) -> u64 {
    ns(end.saturating_duration_since(start))
}

/// A duration in whole ns.
pub(crate) fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
