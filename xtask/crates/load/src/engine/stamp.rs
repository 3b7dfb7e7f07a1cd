//! From the kernel's time of arrival, which is the time of day, to the engine's own clock.
//!
//! Both clocks are read as a pair again and again, since the time of day is set and slewed while
//! a run lasts.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How old a pair may be. A clock that is slewed drifts by at most 0.5 us in this time.
const FRESH: Duration = Duration::from_millis(10);
/// A pair read in this time is good to half of it.
const NARROW: Duration = Duration::from_micros(20);
/// A wide pair is better than one older than this.
const STALE: Duration = Duration::from_secs(1);
/// Readings of a pair, of which the narrowest is taken.
const TRIES: u32 = 3;

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
struct Pair {
    at: Instant,
    /// The same moment since 1970.
    unix: Duration,
    /// The moment lies within so much.
    width: Duration,
}

impl Pair {
    fn read() -> Self {
        let mut best = Self::read_once();
        for _ in 1..TRIES {
            if best.width <= NARROW {
                break;
            }
            let again = Self::read_once();
            if again.width < best.width {
                best = again;
            }
        }
        best
    }

    fn read_once() -> Self {
        let before = Instant::now();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH);
        let width = before.elapsed();
        // A time of day before 1970 gives stamps that are not believed.
        Self { at: before + width / 2, unix: unix.unwrap_or(Duration::ZERO), width }
    }
}

/// The relation of the two clocks.
#[derive(Debug)]
pub(super) struct Stamps {
    pair: Pair,
}

impl Stamps {
    pub(super) fn new() -> Self {
        Self { pair: Pair::read() }
    }

    /// Reads both clocks again if it is time to; `now` is the engine's.
    pub(super) fn refresh(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.pair.at);
        if FRESH <= age {
            let pair = Pair::read();
            if pair.width <= NARROW || STALE <= age {
                self.pair = pair;
            }
        }
    }

    /// When something arrived of which the kernel says `stamp`, the time since 1970.
    ///
    /// `None` if that is not between `earliest` and `read`: then the time of day was set meanwhile.
    pub(super) fn arrival(
        &self,
        stamp: Duration,
        earliest: Instant,
        read: Instant,
    ) -> Option<Instant> {
        let at = match self.pair.unix.checked_sub(stamp) {
            Some(before) => self.pair.at.checked_sub(before)?,
            None => self.pair.at.checked_add(stamp - self.pair.unix)?,
        };
        let early = earliest.saturating_duration_since(at);
        let late = at.saturating_duration_since(read);
        // The pair is exact to its width only.
        let believed = early <= NARROW && late <= NARROW;
        believed.then(|| at.clamp(earliest, read.max(earliest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_placed_between_sending_and_reading_or_not_believed() {
        let stamps = Stamps::new();
        let Pair { at, unix, .. } = stamps.pair;
        let ms = Duration::from_millis(1);
        assert_eq!(stamps.arrival(unix, at - ms, at + ms), Some(at));
        assert_eq!(stamps.arrival(unix + ms / 2, at - ms, at + ms), Some(at + ms / 2));
        assert_eq!(stamps.arrival(unix - ms / 2, at - ms, at + ms), Some(at - ms / 2));
        assert_eq!(stamps.arrival(unix + 2 * ms, at - ms, at + ms), None);
        assert_eq!(stamps.arrival(unix - 2 * ms, at - ms, at + ms), None);
        let hair = Duration::from_micros(5);
        assert_eq!(stamps.arrival(unix + hair, at - ms, at), Some(at), "no later than it was read");
    }
}
