//! The engine's clock: the one place where it is read, and arithmetic that cannot overflow.

use std::time::{Duration, Instant};

/// Beyond any run, and still a time that a timer takes.
const FAR: Duration = Duration::from_secs(60 * 60 * 24 * 365);

/// The runtime's timers are wound in whole milliseconds, rounded up; this much before the time
/// they hand over to the kernel's, which are exact to some ten microseconds.
const LEAD: Duration = Duration::from_millis(2);

/// The time now.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Waits until `time`, and not at all if that is past.
///
/// The last two milliseconds are slept on a thread that is free to block, so that neither a
/// runtime's thread is held up nor a core is kept busy.
pub(crate) async fn until(time: Instant) {
    if let Some(early) = time.checked_sub(LEAD)
        && now() < early
    {
        tokio::time::sleep_until(early.into()).await;
    }
    let left = time.saturating_duration_since(now());
    if !left.is_zero() {
        // It fails only when the runtime is ending, and then nobody waits any more.
        let _ = tokio::task::spawn_blocking(move || std::thread::sleep(left)).await;
    }
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
