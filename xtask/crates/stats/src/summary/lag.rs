//! How well the load generator kept up: with its schedule, and with what came.

use domain::client::{ClientLag, ClockSource, ReadLag};
use domain::request::{Chunk, RequestRecord};

use super::Observation;
use crate::metrics::NS_PER_MS;
use crate::samples::Samples;

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
    let chunks = || records.iter().flat_map(|record| &record.chunks);
    let late_ns: Vec<u64> = chunks().filter_map(|chunk| chunk.late_ns.map(u64::from)).collect();
    let clock = match (late_ns.len(), chunks().count()) {
        (_, 0) => return None,
        (0, _) => ClockSource::Client,
        (timed, all) if timed == all => ClockSource::Kernel,
        _ => ClockSource::Mixed,
    };
    let late_ms = Samples::new(late_ns.into_iter().map(in_ms).collect());
    let (mut reads, mut bounds_ns) = (0, Vec::new());
    for record in records {
        reads += merged(&record.chunks, &mut bounds_ns);
    }
    let merged_chunks = bounds_ns.iter().filter(|bound| 0 < **bound).count() as u64;
    let bounds_ms = Samples::new(bounds_ns.into_iter().map(in_ms).collect());
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

/// Counts the reads that brought the chunks of one answer, and adds for each chunk by how much
/// its time may be too late.
///
/// The time of a read is that of the last thing in it. What came with that came after the read
/// before, or after sending.
fn merged(chunks: &[Chunk], bounds_ns: &mut Vec<u64>) -> u64 {
    let (mut reads, mut before_ns) = (0, 0);
    for read in chunks.chunk_by(|one, next| one.at_ns == next.at_ns) {
        let at_ns = read[0].at_ns;
        let bound_ns = at_ns.saturating_sub(before_ns);
        bounds_ns.extend(std::iter::repeat_n(bound_ns, read.len() - 1));
        bounds_ns.push(0);
        before_ns = at_ns;
        reads += 1;
    }
    reads
}

fn in_ms(ns: u64) -> f64 {
    ns as f64 / NS_PER_MS
}
