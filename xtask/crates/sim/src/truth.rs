//! The truth log: when the server really received and sent, for judging a client's measurements.
//!
//! Times are taken right beside the system calls. Nothing here is simulated, smoothed or guessed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// The one monotonic clock of a server. Zero is the server's start.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    /// Time since the start, in ns.
    pub fn now_ns(&self) -> u64 {
        nanos(self.elapsed())
    }

    /// `CLOCK_REALTIME` at this clock's zero, in ns since 1970, as of now: the middle of the
    /// tightest of a few brackets, because the thread may lose its core between two readings.
    pub fn realtime_offset_ns(&self) -> u64 {
        const TRIES: usize = 5;
        let bracket = |_| {
            let before = self.now_ns();
            let real = SystemTime::now();
            let width = self.now_ns() - before;
            // Before 1970 there was no CLOCK_REALTIME.
            let real = real.duration_since(UNIX_EPOCH).map_or(0, nanos);
            (width, real.saturating_sub(before + width / 2))
        };
        (0..TRIES).map(bracket).min().map_or(0, |(_, offset)| offset)
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

/// One write that carried a part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TruthEvent {
    /// Just before the write, in ns of the server's clock.
    pub began_ns: u64,
    /// Just after the kernel had taken the last byte, in ns of the server's clock. On the same
    /// machine a receiver's kernel may have stamped it between the two.
    pub sent_ns: u64,
    /// Tokens in it.
    pub tokens: u32,
}

/// What really happened to one generation request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TruthEntry {
    /// Place in the order of receipt, from 0.
    pub seq: u64,
    /// The client's own number, from its header `x-request-index`.
    pub index: Option<u64>,
    /// The path that it was posted to.
    pub path: String,
    /// When its last byte had been read, in ns of the server's clock.
    pub received_ns: u64,
    /// Prompt length, in tokens.
    pub prompt_tokens: u32,
    /// Prompt tokens that came from the prefix cache; absent before the first token.
    pub cached_tokens: Option<u32>,
    /// Tokens that the engine was to make.
    pub output_tokens: u32,
    /// The fault that struck it.
    pub fault: Option<String>,
    /// The writes that carried the answer.
    pub events: Vec<TruthEvent>,
    /// Tokens that found no room in `events`, because the log was full.
    pub unrecorded_tokens: u64,
    /// When the whole answer had been written, in ns of the server's clock; absent while it runs
    /// and when it was cut off.
    pub done_ns: Option<u64>,
    /// Whether the server is through with it, well or not.
    pub closed: bool,
}

/// The log, as `GET /sim/truth` gives it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TruthReport {
    /// `CLOCK_REALTIME` at zero of the server's clock, in ns since 1970, measured now.
    pub realtime_offset_ns: u64,
    /// The server's clock now, in ns.
    pub now_ns: u64,
    /// Give this as `since` to get what comes after this report.
    pub next_seq: u64,
    /// Requests that found no room in the log.
    pub unrecorded_requests: u64,
    /// The requests, by `seq`; those with `closed: false` are still being answered.
    pub entries: Vec<TruthEntry>,
}

/// Most requests in the log; a benchmark has a few thousand.
pub const MAX_REQUESTS: usize = 65_536;
/// Most events of one request in the log; a longer answer is counted, not timed.
pub const MAX_EVENTS: usize = 32_768;
/// Most events in the whole log: about 100 MB.
const MAX_ALL_EVENTS: usize = 4_000_000;

/// The log of one server. Clones share it.
#[derive(Clone, Debug)]
pub struct TruthLog {
    clock: Clock,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    next_seq: u64,
    unrecorded: u64,
    entries: VecDeque<Arc<Mutex<TruthEntry>>>,
    /// Events in all entries, those of cleared requests in flight included.
    events: usize,
}

impl TruthLog {
    /// An empty log on this clock.
    pub(crate) fn new(clock: Clock) -> Self {
        Self { clock, shared: Arc::default() }
    }

    /// What happened to requests from number `since` on.
    pub fn report(&self, since: u64) -> TruthReport {
        let (next_seq, unrecorded_requests, entries) = {
            let shared = lock(&self.shared);
            (shared.next_seq, shared.unrecorded, shared.entries.clone())
        };
        let entries = entries.iter().map(|entry| lock(entry).clone());
        TruthReport {
            realtime_offset_ns: self.clock.realtime_offset_ns(),
            now_ns: self.clock.now_ns(),
            next_seq,
            unrecorded_requests,
            entries: entries.filter(|entry| since <= entry.seq).collect(),
        }
    }

    /// Empties the log. Numbers go on, and requests in flight are no longer recorded.
    pub fn clear(&self) {
        let mut shared = lock(&self.shared);
        for entry in std::mem::take(&mut shared.entries) {
            // Those of a request in flight are given back when it ends.
            if let Some(entry) = Arc::into_inner(entry) {
                shared.events -= events_of(&entry);
            }
        }
        shared.unrecorded = 0;
    }

    /// Starts the record of a request.
    pub(crate) fn open(&self, mut entry: TruthEntry) -> Recorder {
        let mut shared = lock(&self.shared);
        entry.seq = shared.next_seq;
        shared.next_seq += 1;
        let entry = Arc::new(Mutex::new(entry));
        if shared.entries.len() < MAX_REQUESTS {
            shared.entries.push_back(Arc::clone(&entry));
        } else {
            shared.unrecorded += 1;
        }
        drop(shared);
        Recorder { log: self.clone(), entry }
    }

    /// Takes room for one more event.
    fn claim_event(&self) -> bool {
        let mut shared = lock(&self.shared);
        let free = shared.events < MAX_ALL_EVENTS;
        shared.events += usize::from(free);
        free
    }
}

/// Records one request; closes its entry when dropped.
#[derive(Debug)]
pub(crate) struct Recorder {
    log: TruthLog,
    entry: Arc<Mutex<TruthEntry>>,
}

impl Recorder {
    /// The request's number.
    pub(crate) fn seq(&self) -> u64 {
        lock(&self.entry).seq
    }

    /// A write with `tokens` in it began at `began_ns` and has just been completed.
    pub(crate) fn sent(&self, began_ns: u64, tokens: u32) {
        let sent_ns = self.log.clock.now_ns();
        let mut entry = lock(&self.entry);
        if entry.events.len() < MAX_EVENTS && self.log.claim_event() {
            entry.events.push(TruthEvent { began_ns, sent_ns, tokens });
        } else {
            entry.unrecorded_tokens += u64::from(tokens);
        }
    }

    /// The engine has told how much of the prompt it had.
    pub(crate) fn cached(&self, tokens: u32) {
        lock(&self.entry).cached_tokens = Some(tokens);
    }

    /// The whole answer has just been written.
    pub(crate) fn done(&self) {
        lock(&self.entry).done_ns = Some(self.log.clock.now_ns());
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        lock(&self.entry).closed = true;
        // Nobody else has it: it found no room in the log, or was cleared from it.
        if Arc::strong_count(&self.entry) == 1 {
            let events = events_of(&self.entry);
            lock(&self.log.shared).events -= events;
        }
    }
}

fn events_of(entry: &Mutex<TruthEntry>) -> usize {
    lock(entry).events.len()
}

/// A panic while the lock was held leaves a log that is still worth reading.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> TruthEntry {
        TruthEntry {
            seq: 0,
            index: None,
            path: "/generate".to_owned(),
            received_ns: 1,
            prompt_tokens: 1,
            cached_tokens: None,
            output_tokens: 1,
            fault: None,
            events: Vec::new(),
            unrecorded_tokens: 0,
            done_ns: None,
            closed: false,
        }
    }

    #[test]
    fn the_log_is_bounded_and_says_what_it_left_out() {
        let log = TruthLog::new(Clock::start());
        for _ in 0..MAX_REQUESTS + 3 {
            log.open(entry());
        }
        let report = log.report(MAX_REQUESTS as u64 - 1);
        assert_eq!((report.entries.len(), report.unrecorded_requests), (1, 3));
        assert_eq!(report.next_seq, MAX_REQUESTS as u64 + 3);
    }

    #[test]
    fn too_long_an_answer_is_counted_where_it_is_not_timed() {
        let log = TruthLog::new(Clock::start());
        let recorder = log.open(entry());
        for _ in 0..MAX_EVENTS + 5 {
            recorder.sent(0, 2);
        }
        let entry = log.report(0).entries.remove(0);
        assert_eq!((entry.events.len(), entry.unrecorded_tokens), (MAX_EVENTS, 10));
    }

    #[test]
    fn an_entry_is_closed_when_its_request_ends() {
        let log = TruthLog::new(Clock::start());
        let recorder = log.open(entry());
        assert!(!log.report(0).entries[0].closed);
        drop(recorder);
        assert!(log.report(0).entries[0].closed);
        log.clear();
        assert_eq!(log.report(0).entries, []);
        assert_eq!(log.report(0).next_seq, 1);
    }

    #[test]
    fn clearing_gives_all_room_back() {
        let log = TruthLog::new(Clock::start());
        let (ended, flying) = (log.open(entry()), log.open(entry()));
        ended.sent(0, 1);
        flying.sent(0, 1);
        drop(ended);
        log.clear();
        flying.sent(0, 1);
        assert_eq!(lock(&log.shared).events, 2);
        drop(flying);
        assert_eq!(lock(&log.shared).events, 0);
    }

    #[test]
    fn the_realtime_offset_leads_back_to_now() {
        let clock = Clock::start();
        let real = nanos(SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
        let told = clock.realtime_offset_ns() + clock.now_ns();
        assert!(real <= told, "the second reading is the later one");
    }
}
