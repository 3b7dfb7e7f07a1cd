//! What the load generator's lag does to the numbers of a run.
//!
//! Lag by itself falsifies nothing: where the kernel stamps arrivals, a reader may come late and
//! its times are right all the same. So a number is compared with what it would be without the
//! lag, number by number, and only that distance is judged.

use std::collections::BTreeMap;

use domain::client::LagEffect;
use domain::metric::{Latency, Metric, Stat};
use domain::request::RequestRecord;

use crate::metrics;
use crate::samples::Gathered;
use crate::time::NS_PER_MS;

/// The statistics that are judged: those that say how fast a server is.
const JUDGED: [Stat; 5] = [Stat::Mean, Stat::Median, Stat::P90, Stat::P95, Stat::P99];

/// Smaller distances, in ms, come from summing in another order.
const NOTHING_MS: f64 = 1e-6;

/// A connection that took so long was made at the kernel's second try, which comes after a second:
/// the server's queue of new connections was full. That is not the client's lateness.
const SECOND_TRY_NS: u64 = 900_000_000;

/// Where merged events may have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placed {
    /// At equal distances since the read before.
    Evenly,
    /// As early as they can have come.
    Earliest,
}

/// By how much each number may have been moved; `reported` are the numbers as they are.
pub(super) fn of(completed: &[&RequestRecord], reported: &BTreeMap<Metric, f64>) -> LagEffect {
    let kept_out = |record: &&RequestRecord| {
        record.connect_ns.is_some_and(|connect_ns| SECOND_TRY_NS <= connect_ns)
    };
    let late = |record: &RequestRecord| {
        ms(Some(record).filter(|record| !kept_out(record)).and_then(RequestRecord::send_lag_ns))
    };
    let write = |record: &RequestRecord| -ms(record.write_ns);
    LagEffect {
        sending: moved(reported, shifted(completed, late)),
        writing: moved(reported, shifted(completed, write)),
        reading: reading(completed, reported),
    }
}

/// A time that is not known moves nothing.
fn ms(ns: Option<u64>) -> f64 {
    ns.map_or(0.0, |ns| ns as f64 / NS_PER_MS)
}

/// The latencies that begin with sending, had every request been sent so much earlier, in ms.
fn shifted(
    completed: &[&RequestRecord],
    earlier_ms: impl Fn(&RequestRecord) -> f64,
) -> [(Latency, Gathered); 2] {
    let of = |latency: fn(&RequestRecord) -> Option<f64>| {
        let each = completed.iter().copied();
        each.filter_map(|record| Some((latency(record)? + earlier_ms(record)).max(0.0))).collect()
    };
    [(Latency::Ttft, of(metrics::ttft_ms)), (Latency::E2e, of(metrics::e2e_ms))]
}

/// Distances of the reported numbers to those of other samples.
fn moved(
    reported: &BTreeMap<Metric, f64>,
    samples: impl IntoIterator<Item = (Latency, Gathered)>,
) -> BTreeMap<Metric, f64> {
    let mut moved = BTreeMap::new();
    for (of, samples) in samples {
        let samples = samples.sorted();
        for stat in JUDGED {
            let metric = Metric::Latency(of, stat);
            let pair = reported.get(&metric).zip(samples.stat(stat));
            let distance = pair.map(|(reported, other)| (reported - other).abs());
            moved.extend(distance.filter(|ms| NOTHING_MS < *ms).map(|ms| (metric, ms)));
        }
    }
    moved
}

/// What merged reads may have done.
fn reading(
    completed: &[&RequestRecord],
    reported: &BTreeMap<Metric, f64>,
) -> BTreeMap<Metric, f64> {
    let chunks = completed.iter().flat_map(|record| &record.chunks);
    // What came together while the client was there came together: only as long as it was ever
    // away can an event have waited for another.
    let Some(away_ns) = chunks.filter_map(|chunk| chunk.late_ns).max() else {
        return BTreeMap::new();
    };
    if !completed.iter().any(|record| has_merged(record)) {
        return BTreeMap::new();
    }
    let places = [Placed::Evenly, Placed::Earliest];
    let mut samples = places.map(|_| Latency::ALL.map(|of| (of, Gathered::new())));
    for record in completed {
        // One copy at a time, and the same one for both: there may be millions of chunks.
        let mut apart = has_merged(record).then(|| (*record).clone());
        for (placed, samples) in places.into_iter().zip(&mut samples) {
            if let Some(apart) = &mut apart {
                place_apart(record, placed, u64::from(away_ns), apart);
            }
            let other = apart.as_ref().unwrap_or(record);
            samples.iter_mut().for_each(|(of, samples)| metrics::gather(*of, other, samples));
        }
    }
    let mut most = BTreeMap::new();
    for (metric, ms) in samples.into_iter().flat_map(|samples| moved(reported, samples)) {
        let most: &mut f64 = most.entry(metric).or_insert(ms);
        *most = most.max(ms);
    }
    most
}

/// Whether any two chunks came in one read.
fn has_merged(record: &RequestRecord) -> bool {
    record.chunks.windows(2).any(|pair| pair[0].at_ns == pair[1].at_ns)
}

/// Places the merged chunks of a record apart, in a copy of it.
///
/// The time of a read is that of the last chunk in it. The others came after the read before, and
/// waited for no longer than the client was ever `away_ns`.
fn place_apart(record: &RequestRecord, placed: Placed, away_ns: u64, apart: &mut RequestRecord) {
    let (mut begin, mut before_ns, mut before_read_ns) = (0, 0, 0);
    for group in record.chunks.chunk_by(|one, next| one.at_ns == next.at_ns) {
        let (at_ns, late_ns) = (group[0].at_ns, group[group.len() - 1].late_ns);
        // A read takes all that is there, unless that was more than it had room for.
        let since_ns = if before_read_ns < at_ns { before_read_ns } else { before_ns };
        let since_ns = since_ns.max(at_ns.saturating_sub(away_ns)).min(at_ns);
        let step_ns = (at_ns - since_ns) / group.len() as u64;
        // The client's own clock does not tell how late it is.
        let early = if late_ns.is_some() { group.len() - 1 } else { 0 };
        for (chunk, nth) in apart.chunks[begin..][..early].iter_mut().zip(1..) {
            chunk.at_ns = match placed {
                Placed::Evenly => since_ns + step_ns * nth,
                Placed::Earliest => since_ns,
            };
        }
        begin += group.len();
        before_ns = at_ns;
        before_read_ns = at_ns.saturating_add(late_ns.map_or(0, u64::from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MS, completed};

    const P99_ITL: Metric = Metric::Latency(Latency::Itl, Stat::P99);
    const MEAN_TTFT: Metric = Metric::Latency(Latency::Ttft, Stat::Mean);

    /// A request whose chunks were each read so many ms after they came.
    fn read_late(chunks_ms: &[u64], late_ms: &[u32]) -> RequestRecord {
        let tokens = u32::try_from(chunks_ms.len()).unwrap();
        let mut record = completed(0, 0, chunks_ms, tokens);
        for (chunk, late_ms) in record.chunks.iter_mut().zip(late_ms) {
            chunk.late_ns = Some(late_ms * 1_000_000);
        }
        record
    }

    fn effect(records: &[RequestRecord]) -> LagEffect {
        let completed: Vec<_> = records.iter().collect();
        of(&completed, &metrics::all(records, 1_000 * MS))
    }

    #[test]
    fn a_late_reader_moves_nothing_where_every_event_has_its_own_time() {
        let effect = effect(&[read_late(&[10, 20, 30, 40], &[95, 85, 75, 65])]);
        assert_eq!(effect.reading, BTreeMap::new());
        assert_eq!(effect.sending, BTreeMap::new());
        assert_eq!(effect.writing, BTreeMap::new());
    }

    #[test]
    fn merged_events_move_the_tail_of_the_gaps_and_not_their_mean() {
        // Three came in one read, up to 30 ms after the one before.
        let effect = effect(&[read_late(&[10, 40, 40, 40], &[0, 30, 30, 30])]);
        // Gaps are 30, 0, 0 and were 10, 10, 10, or 0, 0, 30.
        let moved = effect.reading[&P99_ITL];
        assert!((moved - 19.4).abs() < 1e-6, "{moved}");
        assert_eq!(effect.reading.get(&Metric::Latency(Latency::Itl, Stat::Mean)), None);
        assert_eq!(effect.reading.get(&MEAN_TTFT), None);
    }

    #[test]
    fn what_came_together_while_the_client_was_there_came_together() {
        let effect = effect(&[read_late(&[10, 40, 40, 70, 70], &[0, 1, 1, 0, 0])]);
        assert!(effect.reading.values().all(|ms| *ms < 1.001), "{:?}", effect.reading);
    }

    #[test]
    fn a_first_event_that_was_merged_moves_the_time_to_it() {
        let effect = effect(&[read_late(&[50, 50, 60], &[40, 40, 0])]);
        assert!((effect.reading[&MEAN_TTFT] - 40.0).abs() < 1e-6, "{:?}", effect.reading);
    }

    #[test]
    fn a_late_send_moves_a_number_by_what_it_adds_to_it() {
        let mut records = [completed(0, 100, &[10, 20], 2), completed(1, 100, &[30, 40], 2)];
        records[0].due_ns = Some(96 * MS);
        let effect = effect(&records);
        assert!((effect.sending[&MEAN_TTFT] - 2.0).abs() < 1e-6);
        // The slower of two is nearly the 99th percentile, and it was in time.
        let p99 = effect.sending[&Metric::Latency(Latency::Ttft, Stat::P99)];
        assert!(p99 < 0.05, "{p99}");
        assert!(
            effect
                .sending
                .keys()
                .all(|metric| metric.key().contains("ttft") || metric.key().contains("e2e"))
        );
    }

    #[test]
    fn a_server_that_takes_no_connection_does_not_make_the_client_late() {
        let mut record = completed(0, 1_100, &[10, 20], 2);
        (record.due_ns, record.connect_ns) = (Some(100 * MS), Some(1_005 * MS));
        assert_eq!(effect(&[record]).sending, BTreeMap::new());
    }

    #[test]
    fn a_write_that_took_long_moves_the_time_to_the_first_token() {
        let mut record = completed(0, 0, &[10, 20], 2);
        record.write_ns = Some(3 * MS);
        let effect = effect(&[record]);
        assert!((effect.writing[&MEAN_TTFT] - 3.0).abs() < 1e-6);
        assert_eq!(effect.writing.get(&P99_ITL), None);
    }

    #[test]
    fn the_clients_own_clock_tells_nothing() {
        let record = completed(0, 0, &[10, 40, 40], 3);
        assert_eq!(effect(&[record]).reading, BTreeMap::new());
    }
}
