//! The metrics of a run: one pure function each, over completed requests only.
//!
//! A failed request has no latency and made no throughput, however fast it failed. What a metric
//! means stands on its card in [`domain::metric`].

mod flow;
mod latency;
mod tokens;

use std::collections::BTreeMap;

use domain::metric::{Latency, Metric};
use domain::request::RequestRecord;

pub use flow::{
    concurrency, input_throughput, max_concurrent_requests, max_output_tokens_per_s,
    output_throughput, request_throughput, total_throughput,
};
pub(crate) use latency::arrival_gaps_ns;
pub use latency::{e2e_ms, itl_ms, max_itl_ms, tpot_ms, ttft_ms};
pub use tokens::tokens_per_chunk;

use crate::samples::Gathered;
use crate::time::NS_PER_S;

/// Every metric that the records allow; `duration_ns` is the length of the measurement.
///
/// A run that completed nothing has no throughput either: zero would read like a slow server
/// where there was none.
pub fn all(records: &[RequestRecord], duration_ns: u64) -> BTreeMap<Metric, f64> {
    let completed: Vec<_> = records.iter().filter(|record| record.completed()).collect();
    let window = Window { completed: &completed, duration_ns };
    let latencies = Latency::ALL.map(|of| samples(of, &completed).sorted());
    let value = |metric| match metric {
        Metric::Duration => window.seconds(),
        Metric::RequestThroughput => request_throughput(&window),
        Metric::InputThroughput => input_throughput(&window),
        Metric::OutputThroughput => output_throughput(&window),
        Metric::TotalThroughput => total_throughput(&window),
        Metric::Concurrency => concurrency(&window),
        Metric::MaxOutputTokensPerS => max_output_tokens_per_s(&completed),
        Metric::MaxConcurrentRequests => max_concurrent_requests(&completed),
        // Records of requests do not tell; see `telemetry`.
        Metric::EnergyPerOutputToken | Metric::EnergyPerRequest => None,
        Metric::Latency(of, stat) => latencies[of as usize].stat(stat),
    };
    Metric::all().filter_map(|metric| Some((metric, value(metric)?))).collect()
}

/// The completed requests and the time they took together.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// Completed requests.
    pub completed: &'a [&'a RequestRecord],
    /// Length of the measurement, in ns.
    pub duration_ns: u64,
}

impl Window<'_> {
    /// Length of the measurement, in seconds; a length of zero is none.
    pub fn seconds(&self) -> Option<f64> {
        (0 < self.duration_ns).then(|| self.duration_ns as f64 / NS_PER_S)
    }

    /// `amount` a second, unless nothing completed.
    fn per_second(&self, amount: u64) -> Option<f64> {
        let seconds = self.seconds().filter(|_| !self.completed.is_empty())?;
        Some(amount as f64 / seconds)
    }
}

/// The samples of a latency, in the order of the requests.
pub(crate) fn samples(of: Latency, completed: &[&RequestRecord]) -> Gathered {
    let mut samples = Gathered::new();
    completed.iter().for_each(|record| gather(of, record, &mut samples));
    samples
}

/// Adds what one request has of a latency.
pub(crate) fn gather(of: Latency, record: &RequestRecord, samples: &mut Gathered) {
    let one = match of {
        Latency::E2e => e2e_ms(record),
        Latency::Ttft => ttft_ms(record),
        Latency::Tpot => tpot_ms(record),
        Latency::Itl => {
            return latency::each_itl_ms(record, |gap_ms, count| samples.push(gap_ms, count));
        }
    };
    if let Some(ms) = one {
        samples.push(ms, 1);
    }
}

#[cfg(test)]
mod tests;
