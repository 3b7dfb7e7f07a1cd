//! The result block of a native run, in the layout of the Python tool's, and below it a block of
//! servegate's own.
//!
//! Labels, order and columns of the first block are those of SGLang's tool 0.5.23, so that
//! whatever reads its output reads this one. A number that is not known reads `n/a`, where the
//! tool prints zero.

mod own;

use std::fmt::Display;

use domain::framework::Backend;
use domain::metric::{Latency, Metric, Stat};
use domain::profile::Profile;
use domain::summary::{Measurement, TokenCounts};
use stats::Goodput;

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
    /// What was asked for beyond that.
    pub extras: Extras<'a>,
}

/// Sections that are printed on request.
#[derive(Clone, Copy, Debug)]
pub struct Extras<'a> {
    /// Tokens that speculative decoding accepts at once, by the server's own account.
    pub accept_length: Option<f64>,
    /// How many requests met their limits.
    pub goodput: Option<&'a Goodput>,
    /// What is said of the prefix cache.
    pub cache: CacheSection,
}

impl Extras<'_> {
    /// Nothing.
    pub const NONE: Self = Self { accept_length: None, goodput: None, cache: CacheSection::None };
}

/// Whether the block has a section on the prefix cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheSection {
    /// It has none.
    None,
    /// It has one.
    Hits,
}

/// Both blocks, with an empty line before the first.
pub fn block(input: &BlockInput<'_>) -> String {
    let mut lines = Lines(String::from("\n"));
    lines.heading('=', " Serving Benchmark Result ");
    load(&mut lines, input);
    flow(&mut lines, input.measurement);
    if let Some(length) = input.extras.accept_length.filter(|length| *length != 0.0) {
        lines.row("Accept length", two_decimals(Some(length)));
    }
    if let Some(found) = input.extras.goodput {
        goodput(&mut lines, found);
    }
    for of in Latency::ALL {
        latency(&mut lines, of, input);
    }
    if input.extras.cache == CacheSection::Hits {
        cache(&mut lines, input.measurement);
    }
    lines.heading('=', "");
    lines.heading('=', " servegate ");
    own::rows(&mut lines, input);
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

fn goodput(lines: &mut Lines, found: &Goodput) {
    lines.heading('-', "Goodput");
    let slos: Vec<_> = found.by_slo.iter().map(|(slo, _)| slo.to_string()).collect();
    let percent = |share: f64| two_decimals(Some(share * 100.0));
    lines.row("SLOs (ms)", slos.join(" "));
    lines.row("Request goodput (req/s)", two_decimals(Some(found.requests_per_s)));
    lines.row("SLO attainment (%)", percent(found.attainment));
    for (slo, share) in &found.by_slo {
        let name = slo.metric.as_str().to_uppercase();
        lines.row(&format!("{name} SLO attainment (%)"), percent(*share));
    }
}

/// Hits of the prefix cache. The tool counts what it is not told as zero; here it is unknown.
fn cache(lines: &mut Lines, measurement: &Measurement) {
    let tokens = &measurement.tokens;
    let prompt = tokens.input_by_server.unwrap_or(tokens.input);
    lines.heading('-', "Cache Hit Details");
    lines.row("Total prompt tokens", prompt);
    lines.row("Total cached tokens", count_or_unknown(tokens.cached));
    let rate = hit_rate(tokens).map_or_else(|| UNKNOWN.to_owned(), |rate| format!("{rate:.1}%"));
    lines.bare("Cache hit rate", &rate);
}

/// Share of the prompt tokens that came from the prefix cache, in percent.
pub(crate) fn hit_rate(tokens: &TokenCounts) -> Option<f64> {
    let prompt = tokens.input_by_server.unwrap_or(tokens.input);
    let cached = tokens.cached.filter(|_| 0 < prompt)?;
    Some(cached as f64 / prompt as f64 * 100.0)
}

fn count_or_unknown(count: Option<u64>) -> String {
    count.map_or_else(|| UNKNOWN.to_owned(), |count| count.to_string())
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

    /// A row whose value is not padded, of which the tool has one.
    fn bare(&mut self, label: &str, value: &str) {
        let label = format!("{label}:");
        self.0.push_str(&format!("{label:<40} {value}\n"));
    }

    fn metric(&mut self, measurement: &Measurement, metric: Metric, label: &str) {
        self.row(label, two_decimals(measurement.metrics.get(&metric).copied()));
    }
}

#[cfg(test)]
mod tests;
