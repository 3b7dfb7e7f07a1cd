//! How much flowed through: throughputs and concurrency.

use std::collections::BTreeMap;

use domain::request::RequestRecord;

use super::{Window, tokens_per_chunk};
use crate::time::NS_PER_S;

/// Nanoseconds in a second, for whole seconds.
const SECOND_NS: u64 = 1_000_000_000;

/// Completed requests a second.
pub fn request_throughput(window: &Window<'_>) -> Option<f64> {
    window.per_second(window.completed.len() as u64)
}

/// Prompt tokens a second, by the client's tokenizer.
pub fn input_throughput(window: &Window<'_>) -> Option<f64> {
    window.per_second(input_tokens(window.completed))
}

/// Generated tokens a second.
pub fn output_throughput(window: &Window<'_>) -> Option<f64> {
    window.per_second(output_tokens(window.completed))
}

/// Prompt and generated tokens a second.
pub fn total_throughput(window: &Window<'_>) -> Option<f64> {
    window.per_second(input_tokens(window.completed) + output_tokens(window.completed))
}

/// Mean number of requests in flight: the sum of their lengths over the measurement's.
pub fn concurrency(window: &Window<'_>) -> Option<f64> {
    // A file that somebody changed may hold any times; none of them may overflow.
    let lengths = window.completed.iter().filter_map(|record| record.done_ns);
    let in_flight_ns = lengths.fold(0, u64::saturating_add);
    Some(window.per_second(in_flight_ns)? / NS_PER_S)
}

/// Most tokens that arrived in one second, of the seconds counted from the first send.
pub fn max_output_tokens_per_s(completed: &[&RequestRecord]) -> Option<f64> {
    let sent: Vec<u64> = completed.iter().map(|record| record.sent_ns).collect::<Option<_>>()?;
    let first_ns = *sent.iter().min()?;
    let mut seconds: BTreeMap<u64, u64> = BTreeMap::new();
    for (record, sent_ns) in completed.iter().zip(&sent) {
        let (mut now, mut arrived) = (0, 0);
        for (chunk, tokens) in tokens_per_chunk(record) {
            let second = (sent_ns - first_ns).saturating_add(chunk.at_ns) / SECOND_NS;
            if second != now {
                *seconds.entry(now).or_insert(0) += arrived;
                (now, arrived) = (second, 0);
            }
            arrived += u64::from(tokens);
        }
        *seconds.entry(now).or_insert(0) += arrived;
    }
    seconds.into_values().max().map(|tokens| tokens as f64)
}

/// Most requests that were in flight at one moment.
///
/// A request that is sent in the very nanosecond in which another ends does not overlap it.
pub fn max_concurrent_requests(completed: &[&RequestRecord]) -> Option<f64> {
    let span = |record: &&RequestRecord| Some((record.sent_ns?, record.done_ns?));
    let spans: Vec<(u64, u64)> = completed.iter().map(span).collect::<Option<_>>()?;
    let starts = spans.iter().map(|(sent_ns, _)| (*sent_ns, 1));
    let ends = spans.iter().map(|(sent_ns, done_ns)| (sent_ns.saturating_add(*done_ns), -1));
    // At equal times ends sort before starts.
    let mut changes: Vec<(u64, i64)> = starts.chain(ends).collect();
    changes.sort_unstable();
    let levels = changes.iter().scan(0, |level, (_, change)| {
        *level += change;
        Some(*level)
    });
    levels.max().map(|most| most as f64)
}

fn input_tokens(completed: &[&RequestRecord]) -> u64 {
    completed.iter().map(|record| u64::from(record.prompt_tokens)).sum()
}

fn output_tokens(completed: &[&RequestRecord]) -> u64 {
    completed.iter().map(|record| u64::from(record.output_tokens())).sum()
}
