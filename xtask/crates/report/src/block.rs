//! The result block of a native run, in the layout of the Python tool's, and below it a block of
//! servegate's own.
//!
//! Labels, order and columns of the first block are those of SGLang's tool 0.5.23, so that
//! whatever reads its output reads this one. A number that is not known reads `n/a`, where the
//! tool prints zero.

use std::fmt::Display;

use domain::framework::Backend;
use domain::metric::{Latency, Metric, Stat};
use domain::profile::Profile;
use domain::summary::Measurement;

use crate::number::{UNKNOWN, two_decimals};

/// Statistics of a latency that the block prints; the standard deviation is not among them.
const PRINTED: [Stat; 5] = [Stat::Mean, Stat::Median, Stat::P90, Stat::P95, Stat::P99];

/// What the block shows.
#[derive(Clone, Copy, Debug)]
pub struct BlockInput<'a> {
    /// The backend that was spoken.
    pub backend: Backend,
    /// The load.
    pub profile: &'a Profile,
    /// What was measured.
    pub measurement: &'a Measurement,
    /// Hash of the request set, if it is known.
    pub request_set: Option<&'a str>,
    /// Length of the longest gap between tokens, in ms; see [`stats::metrics::max_itl_ms`].
    pub max_itl_ms: Option<f64>,
}

/// Both blocks, with an empty line before the first.
pub fn block(input: &BlockInput<'_>) -> String {
    let mut lines = Lines(String::from("\n"));
    lines.heading('=', " Serving Benchmark Result ");
    load(&mut lines, input);
    flow(&mut lines, input.measurement);
    for of in Latency::ALL {
        latency(&mut lines, of, input);
    }
    lines.heading('=', "");
    lines.heading('=', " servegate ");
    client(&mut lines, input);
    lines.heading('=', "");
    lines.0
}

/// What was sent and what came back.
fn load(lines: &mut Lines, input: &BlockInput<'_>) {
    let (profile, tokens) = (input.profile, &input.measurement.tokens);
    // Python writes a whole number of requests a second as `20.0`, as Rust does for debugging.
    let rate = profile.request_rate.per_second();
    let rate = rate.map_or_else(|| "inf".to_owned(), |rate| format!("{rate:?}"));
    let limit = profile.max_concurrency.map(|limit| limit.to_string());
    lines.row("Backend", input.backend.as_str());
    lines.row("Traffic request rate", rate);
    lines.row("Max request concurrency", limit.as_deref().unwrap_or("not set"));
    lines.row("Successful requests", input.measurement.requests.completed);
    lines.metric(input.measurement, Metric::Duration, "Benchmark duration (s)");
    lines.row("Total input tokens", tokens.input);
    lines.row("Total input text tokens", tokens.input);
    lines.row("Total generated tokens", tokens.output);
    // The native engine keeps no generated text, so there is nothing to count again.
    lines.row("Total generated tokens (retokenized)", UNKNOWN);
}

/// Throughputs and concurrency.
fn flow(lines: &mut Lines, measurement: &Measurement) {
    let rows = [
        (Metric::RequestThroughput, "Request throughput (req/s)"),
        (Metric::InputThroughput, "Input token throughput (tok/s)"),
        (Metric::OutputThroughput, "Output token throughput (tok/s)"),
        (Metric::MaxOutputTokensPerS, "Peak output token throughput (tok/s)"),
    ];
    for (metric, label) in rows {
        lines.metric(measurement, metric, label);
    }
    let peak = measurement.metrics.get(&Metric::MaxConcurrentRequests);
    let peak = peak.map_or_else(|| UNKNOWN.to_owned(), |peak| format!("{peak:.0}"));
    lines.row("Peak concurrent requests", peak);
    lines.metric(measurement, Metric::TotalThroughput, "Total token throughput (tok/s)");
    lines.metric(measurement, Metric::Concurrency, "Concurrency");
}

fn latency(lines: &mut Lines, of: Latency, input: &BlockInput<'_>) {
    lines.heading('-', heading(of));
    for stat in PRINTED {
        let metric = Metric::Latency(of, stat);
        lines.metric(input.measurement, metric, &format!("{} (ms)", metric.card().title));
    }
    if of == Latency::Itl {
        lines.row("Max ITL (ms)", two_decimals(input.max_itl_ms));
    }
}

const fn heading(of: Latency) -> &'static str {
    match of {
        Latency::E2e => "End-to-End Latency",
        Latency::Ttft => "Time to First Token",
        Latency::Tpot => "Time per Output Token (excl. 1st token)",
        Latency::Itl => "Inter-Token Latency",
    }
}

/// What the Python tool does not tell.
fn client(lines: &mut Lines, input: &BlockInput<'_>) {
    let Measurement { requests, tokens, client, .. } = input.measurement;
    lines.row("Requests asked for", requests.asked);
    lines.row("Failed requests", requests.failed_total());
    for (kind, count) in &requests.failed {
        lines.row(&format!("  {kind}"), count);
    }
    lines.row("Generated tokens asked for", tokens.output_asked);
    lines.row("Generated tokens counted by", tokens.output_source.as_str());
    let known = |count: Option<u64>| count.map_or_else(|| UNKNOWN.to_owned(), |n| n.to_string());
    lines.row("Input tokens counted by server", known(tokens.input_by_server));
    lines.row("Input tokens from prefix cache", known(tokens.cached));
    lines.row("Median send lag (ms)", two_decimals(client.map(|lag| lag.send_lag_median_ms)));
    lines.row("P99 send lag (ms)", two_decimals(client.map(|lag| lag.send_lag_p99_ms)));
    lines.row("Max send lag (ms)", two_decimals(client.map(|lag| lag.send_lag_max_ms)));
    lines.row("Client CPU time / duration", two_decimals(client.map(|lag| lag.cpu_share)));
    lines.row("Request set", input.request_set.unwrap_or(UNKNOWN));
}

/// The text as it grows, in the tool's columns.
struct Lines(String);

impl Lines {
    /// A heading centred in 50 columns; an empty one is a rule.
    fn heading(&mut self, rule: char, title: &str) {
        let line = match rule {
            '=' => format!("{title:=^50}\n"),
            _ => format!("{title:-^50}\n"),
        };
        self.0.push_str(&line);
    }

    fn row(&mut self, label: &str, value: impl Display) {
        let label = format!("{label}:");
        let value = value.to_string();
        self.0.push_str(&format!("{label:<40} {value:<10}\n"));
    }

    fn metric(&mut self, measurement: &Measurement, metric: Metric, label: &str) {
        self.row(label, two_decimals(measurement.metrics.get(&metric).copied()));
    }
}

#[cfg(test)]
mod tests;
