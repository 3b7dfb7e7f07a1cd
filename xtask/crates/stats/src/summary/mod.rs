//! From the records of a run to its measurement.

mod anomalies;
mod effect;
mod lag;

use std::collections::BTreeMap;

use domain::client::ClientLag;
use domain::failure::FailureKind;
use domain::request::RequestRecord;
use domain::summary::{Measurement, RequestCounts, TokenCounts, TokenSource};

use crate::metrics;

/// What was seen of one run.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Every request that was sent, in any order.
    pub records: &'a [RequestRecord],
    /// Requests that were to be sent.
    pub asked: u32,
    /// From the first request's start to the last answer's end, in ns.
    pub duration_ns: u64,
    /// CPU time that the load generator used, in ns, if it is known.
    pub cpu_ns: Option<u64>,
    /// Threads that made the load, if it is known.
    pub threads: Option<u32>,
}

/// Counts, metrics, the generator's own lag and everything unusual of a run.
pub fn summarise(run: &Observation<'_>) -> Measurement {
    let completed: Vec<_> = run.records.iter().filter(|record| record.completed()).collect();
    let requests = count_requests(run.records, run.asked);
    let tokens = count_tokens(&completed);
    let metrics = metrics::all(run.records, run.duration_ns);
    let client = lag::of(run).map(|lag| ClientLag {
        effect: (!completed.is_empty()).then(|| effect::of(&completed, &metrics)),
        ..lag
    });
    let anomalies =
        anomalies::find(&anomalies::Seen { run, completed: &completed, client: client.as_ref() });
    let accounting = crate::accounting::accounting(run.records);
    Measurement { requests, tokens, metrics, client, accounting, anomalies }
}

/// Why a request did not complete, if it did not.
///
/// A record that neither failed nor completed was still in flight when the run ended.
fn failure(record: &RequestRecord) -> Option<FailureKind> {
    match &record.failure {
        Some(failure) => Some(failure.kind),
        None if record.completed() => None,
        None => Some(FailureKind::Aborted),
    }
}

/// Requests by how they ended; `asked` is how many were to be sent.
pub fn count_requests(records: &[RequestRecord], asked: u32) -> RequestCounts {
    let mut counts = RequestCounts { asked, completed: 0, failed: BTreeMap::new() };
    for record in records {
        match failure(record) {
            Some(kind) => *counts.failed.entry(kind).or_insert(0) += 1,
            None => counts.completed += 1,
        }
    }
    counts
}

/// Tokens of completed requests, and who counted them.
pub fn count_tokens(completed: &[&RequestRecord]) -> TokenCounts {
    let sum = |of: fn(&RequestRecord) -> u32| {
        completed.iter().map(|record| u64::from(of(record))).sum::<u64>()
    };
    let by_server: Option<u64> =
        completed.iter().map(|record| record.server_prompt_tokens.map(u64::from)).sum();
    let tells_cached = completed.iter().any(|record| record.cached_tokens.is_some());
    let cached = completed.iter().filter_map(|record| record.cached_tokens.map(u64::from)).sum();
    TokenCounts {
        input: sum(|record| record.prompt_tokens),
        input_by_server: by_server.filter(|_| !completed.is_empty()),
        output: sum(RequestRecord::output_tokens),
        output_source: token_source(completed),
        output_asked: sum(|record| record.asked_tokens),
        cached: tells_cached.then_some(cached),
    }
}

/// The weakest source among the requests; of no request nothing is claimed.
fn token_source(completed: &[&RequestRecord]) -> TokenSource {
    let all = |has: fn(&RequestRecord) -> bool| completed.iter().all(|record| has(record));
    if completed.is_empty() {
        TokenSource::Chunks
    } else if all(|record| record.server_output_tokens.is_some()) {
        TokenSource::ServerUsage
    } else if all(|record| record.server_output_tokens.or(record.reported_output_tokens).is_some())
    {
        TokenSource::Tool
    } else if all(counted) {
        TokenSource::FinishReason
    } else {
        TokenSource::Chunks
    }
}

/// Whether somebody counted the request's tokens.
fn counted(record: &RequestRecord) -> bool {
    record.counted_output_tokens().is_some()
}

#[cfg(test)]
mod tests;
