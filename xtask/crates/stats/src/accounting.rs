//! What the metrics of a run leave out; see [`domain::accounting`].

use std::collections::BTreeMap;

use domain::accounting::{Accounting, FewSamples, FromDue, ServerSide, Steady};
use domain::metric::{Latency, Metric, Stat};
use domain::request::{RequestRecord, ServerTimes};

use crate::metrics::{self, tokens_per_chunk};
use crate::samples::Samples;
use crate::time::NS_PER_MS;

/// The share of the most requests in flight that still counts as nearly all.
const NEARLY: f64 = 0.9;
/// A steady part shorter than this share of the run is none.
const LEAST_SHARE: f64 = 0.1;
/// A percentile with fewer requests beyond it is worth a warning: its own error is then a third of
/// what lies beyond, or more.
const FEW: u32 = 10;
/// The percentiles that are reported.
const PERCENTILES: [u8; 3] = [90, 95, 99];

/// Reads from the records what is to be told beside the metrics; nothing of a run in which nothing
/// completed.
pub fn accounting(records: &[RequestRecord]) -> Option<Accounting> {
    let completed: Vec<_> = records.iter().filter(|record| record.completed()).collect();
    if completed.is_empty() {
        return None;
    }
    Some(Accounting {
        from_due: from_due(&completed),
        steady: steady(&completed),
        few_samples: few_samples(completed.len()),
        server_side: server_side(&completed),
    })
}

fn from_due(completed: &[&RequestRecord]) -> Option<FromDue> {
    let late = |record: &RequestRecord| record.send_lag_ns().map(|ns| ns as f64 / NS_PER_MS);
    let of = |latency: fn(&RequestRecord) -> Option<f64>| {
        let each = completed.iter().map(|record| Some(late(record)? + latency(record)?));
        each.collect::<Option<Vec<f64>>>().map(Samples::new)
    };
    let (ttft, e2e) = (of(metrics::ttft_ms)?, of(metrics::e2e_ms)?);
    Some(FromDue {
        mean_ttft_ms: ttft.stat(Stat::Mean)?,
        median_ttft_ms: ttft.stat(Stat::Median)?,
        p99_ttft_ms: ttft.stat(Stat::P99)?,
        mean_e2e_latency_ms: e2e.stat(Stat::Mean)?,
        median_e2e_latency_ms: e2e.stat(Stat::Median)?,
        p99_e2e_latency_ms: e2e.stat(Stat::P99)?,
    })
}

fn steady(completed: &[&RequestRecord]) -> Option<Steady> {
    let span = |record: &&RequestRecord| {
        let sent_ns = record.sent_ns?;
        Some((sent_ns, sent_ns.checked_add(record.done_ns?)?))
    };
    let spans: Vec<(u64, u64)> = completed.iter().map(span).collect::<Option<_>>()?;
    let (from_ns, to_ns) = plateau(&spans)?;
    let sent = completed.iter().copied().filter(|record| {
        record.sent_ns.is_some_and(|sent_ns| from_ns <= sent_ns && sent_ns < to_ns)
    });
    let sent: Vec<_> = sent.collect();
    let mut metrics = BTreeMap::new();
    let latencies = Latency::ALL.map(|of| metrics::samples(of, &sent).sorted());
    for metric in Metric::all() {
        let value = match metric {
            Metric::Latency(of, stat) => latencies[of as usize].stat(stat),
            _ => None,
        };
        metrics.extend(value.map(|value| (metric, value)));
    }
    let seconds = (to_ns - from_ns) as f64 / 1e9;
    let inside = |at_ns: u64| from_ns <= at_ns && at_ns < to_ns;
    let ended = spans.iter().filter(|(_, end_ns)| inside(*end_ns)).count();
    metrics.insert(Metric::RequestThroughput, ended as f64 / seconds);
    let tokens: u64 = completed
        .iter()
        .zip(&spans)
        .map(|(record, (sent_ns, _))| {
            let each = tokens_per_chunk(record);
            let arrived = each.filter(|(chunk, _)| inside(sent_ns.saturating_add(chunk.at_ns)));
            arrived.map(|(_, tokens)| u64::from(tokens)).sum::<u64>()
        })
        .sum();
    metrics.insert(Metric::OutputThroughput, tokens as f64 / seconds);
    let ms = |ns: u64| ns as f64 / NS_PER_MS;
    let requests = u32::try_from(sent.len()).unwrap_or(u32::MAX);
    Some(Steady { from_ms: ms(from_ns), to_ms: ms(to_ns), requests, metrics })
}

/// From the first to the last moment in which nearly as many spans overlap as ever.
fn plateau(spans: &[(u64, u64)]) -> Option<(u64, u64)> {
    let changes = spans.iter().flat_map(|(from, to)| [(*from, 1_i64), (*to, -1)]);
    let mut changes: Vec<(u64, i64)> = changes.collect();
    // At equal times ends sort before starts.
    changes.sort_unstable();
    let mut level = 0;
    let levels: Vec<(u64, i64)> = changes
        .iter()
        .map(|(at, change)| {
            level += change;
            (*at, level)
        })
        .collect();
    let most = levels.iter().map(|(_, level)| *level).max()?;
    let nearly = |level: i64| NEARLY * most as f64 <= level as f64;
    let from = levels.iter().find(|(_, level)| nearly(*level))?.0;
    let last = levels.iter().rposition(|(_, level)| nearly(*level))?;
    // It lasts until the next change.
    let to = levels.get(last + 1)?.0;
    let whole = levels.last()?.0.saturating_sub(levels.first()?.0);
    (LEAST_SHARE * whole as f64 <= to.saturating_sub(from) as f64 && from < to)
        .then_some((from, to))
}

fn few_samples(samples: usize) -> Vec<FewSamples> {
    let samples = u32::try_from(samples).unwrap_or(u32::MAX);
    let few = |percentile: u8| {
        // The rank by which the percentile is read, counted from the largest.
        let beyond = u64::from(samples.saturating_sub(1)) * u64::from(100 - percentile) / 100;
        let beyond = u32::try_from(beyond).unwrap_or(u32::MAX);
        (beyond < FEW).then_some(FewSamples { percentile, samples, beyond })
    };
    PERCENTILES.into_iter().filter_map(few).collect()
}

fn server_side(completed: &[&RequestRecord]) -> Option<ServerSide> {
    let told = || completed.iter().filter_map(|record| Some((*record, record.server_times?)));
    let requests = u32::try_from(told().count()).ok().filter(|requests| 0 < *requests)?;
    let mean = |of: fn(&RequestRecord, &ServerTimes) -> Option<u64>| {
        let values = told().filter_map(|(record, times)| of(record, &times));
        Samples::new(values.map(|ns| ns as f64 / NS_PER_MS).collect()).mean()
    };
    Some(ServerSide {
        requests,
        mean_prompt_ms: mean(|_, times| times.prompt_ns),
        mean_generation_ms: mean(|_, times| times.generation_ns),
        mean_ttft_ms: mean(|record, _| record.ttft_ns()),
        mean_after_first_ms: mean(|record, _| record.done_ns?.checked_sub(record.ttft_ns()?)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MS, completed, failed};
    use domain::failure::FailureKind;

    #[test]
    fn waiting_to_be_sent_counts_from_when_a_request_was_due() {
        let mut late = completed(0, 100, &[10, 20], 2);
        late.due_ns = Some(40 * MS);
        let records = [late, completed(1, 100, &[30, 40], 2)];
        let from_due = accounting(&records).unwrap().from_due.unwrap();
        assert_eq!((from_due.mean_ttft_ms, from_due.mean_e2e_latency_ms), (50.0, 60.0));
        let unknown = [RequestRecord { due_ns: None, ..completed(0, 0, &[1], 1) }];
        assert_eq!(accounting(&unknown).unwrap().from_due, None);
    }

    #[test]
    fn a_run_without_a_completed_request_has_nothing_to_account_for() {
        assert_eq!(accounting(&[failed(0, FailureKind::NoTokens, "none")]), None);
    }

    #[test]
    fn the_steady_part_leaves_out_both_ramps() {
        // One request every 10 ms, each of 50 ms: five in flight from 40 ms on, until 100 ms.
        let chunks: Vec<u64> = (1..=5).map(|at| at * 10).collect();
        let records: Vec<_> =
            (0..10).map(|at| completed(at, u64::from(at) * 10, &chunks, 5)).collect();
        let steady = accounting(&records).unwrap().steady.unwrap();
        assert_eq!((steady.from_ms, steady.to_ms, steady.requests), (40.0, 100.0, 6));
        // Four tokens at its very beginning, then five each 10 ms until 90 ms; an answer ends each
        // 10 ms from 50 ms on.
        assert_eq!(steady.metrics[&Metric::OutputThroughput], 29.0 / 0.06);
        assert_eq!(steady.metrics[&Metric::RequestThroughput], 5.0 / 0.06);
        assert_eq!(steady.metrics[&Metric::Latency(Latency::Ttft, Stat::P99)], 10.0);
    }

    #[test]
    fn percentiles_of_few_requests_say_how_few_lie_beyond() {
        let told =
            |samples| few_samples(samples).into_iter().map(|few| (few.percentile, few.beyond));
        assert_eq!(told(300).collect::<Vec<_>>(), [(99, 2)]);
        assert_eq!(told(32).collect::<Vec<_>>(), [(90, 3), (95, 1), (99, 0)]);
        assert_eq!(told(1001).count(), 0);
    }

    #[test]
    fn the_servers_own_times_stand_beside_the_clients() {
        let times =
            ServerTimes { prompt_ns: Some(8 * MS), generation_ns: Some(19 * MS), total_ns: None };
        let told = RequestRecord { server_times: Some(times), ..completed(0, 0, &[10, 30], 2) };
        let records = [told, completed(1, 0, &[500, 600], 2)];
        let side = accounting(&records).unwrap().server_side.unwrap();
        assert_eq!(
            (side.requests, side.mean_prompt_ms, side.mean_ttft_ms),
            (1, Some(8.0), Some(10.0))
        );
        assert_eq!((side.mean_generation_ms, side.mean_after_first_ms), (Some(19.0), Some(20.0)));
    }
}
