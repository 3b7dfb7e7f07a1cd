//! How well the load generator kept up: with its schedule, and with what came.

use domain::client::{ClientLag, ClockSource, ReadLag};
use domain::request::{Chunk, RequestRecord};

use super::Observation;
use crate::samples::{Gathered, Samples};
use crate::time::NS_PER_MS;

/// How late requests were sent, over all that were, and what the generator cost; absent unless
/// both are known.
pub(super) fn of(run: &Observation<'_>) -> Option<ClientLag> {
    let lags = run.records.iter().filter_map(RequestRecord::send_lag_ns);
    let lags_ms = Samples::new(lags.map(in_ms).collect());
    let cpu_ns = run.cpu_ns.filter(|_| 0 < run.duration_ns)?;
    Some(ClientLag {
        send_lag_median_ms: lags_ms.percentile(50.0)?,
        send_lag_p99_ms: lags_ms.percentile(99.0)?,
        send_lag_max_ms: lags_ms.max()?,
        cpu_share: cpu_ns as f64 / run.duration_ns as f64,
        threads: run.threads,
        reading: reading(run.records),
        effect: None,
    })
}

/// How well it kept up with the answers, over all chunks that came.
fn reading(records: &[RequestRecord]) -> Option<ReadLag> {
    let (mut timed, mut all, mut late_ms) = (0, 0, Gathered::new());
    let (mut reads, mut merged_chunks, mut bounds_ms) = (0, 0, Gathered::new());
    for record in records {
        all += record.chunks.len();
        late_ms.extend_ms(record.chunks.iter().filter_map(|chunk| {
            timed += usize::from(chunk.late_ns.is_some());
            chunk.late_ns.map(u64::from)
        }));
        for (bound_ns, others) in merged(&record.chunks) {
            reads += 1;
            merged_chunks += if 0 < bound_ns { others as u64 } else { 0 };
            bounds_ms.push(in_ms(bound_ns), others);
            bounds_ms.push(0.0, 1);
        }
    }
    let clock = match (timed, all) {
        (_, 0) => return None,
        (0, _) => ClockSource::Client,
        (timed, all) if timed == all => ClockSource::Kernel,
        _ => ClockSource::Mixed,
    };
    let (late_ms, bounds_ms) = (late_ms.sorted(), bounds_ms.sorted());
    let writes = records.iter().filter_map(|record| record.write_ns);
    Some(ReadLag {
        clock,
        reads,
        late_median_ms: late_ms.percentile(50.0),
        late_p99_ms: late_ms.percentile(99.0),
        late_max_ms: late_ms.max(),
        merged_chunks,
        merged_bound_p99_ms: bounds_ms.percentile(99.0),
        merged_bound_max_ms: bounds_ms.max(),
        write_max_ms: writes.max().map(in_ms),
    })
}

/// For each read that brought chunks of one answer: by how much the time of what came with the
/// last thing in it may be too late, and how many chunks those are.
///
/// The time of a read is that of the last thing in it. What came with that came after the read
/// before, or after sending.
fn merged(chunks: &[Chunk]) -> impl Iterator<Item = (u64, usize)> {
    let reads = chunks.chunk_by(|one, next| one.at_ns == next.at_ns);
    reads.scan(0, |before_ns, read| {
        let bound_ns = read[0].at_ns.saturating_sub(*before_ns);
        *before_ns = read[0].at_ns;
        Some((bound_ns, read.len() - 1))
    })
}

fn in_ms(ns: u64) -> f64 {
    ns as f64 / NS_PER_MS
}
