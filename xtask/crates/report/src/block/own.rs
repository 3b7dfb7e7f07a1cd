//! The second block: what the Python tool does not tell.
//!
//! No label is one of the tool's, so that whoever looks for a number of the tool finds the tool's.

use domain::accounting::{Accounting, FewSamples, FromDue, ServerSide, Steady};
use domain::anomaly::{Anomaly, Lag};
use domain::client::{ClientLag, ReadLag};
use domain::metric::{Latency, Metric, Stat};
use domain::summary::Measurement;

use super::{BlockInput, Lines, count_or_unknown};
use crate::number::{UNKNOWN, two_decimals};

/// All rows.
pub(super) fn rows(lines: &mut Lines, input: &BlockInput<'_>) {
    let Measurement { requests, tokens, client, accounting, anomalies, .. } = input.measurement;
    verdict(lines, anomalies);
    lines.row("Requests asked for", requests.asked);
    lines.row("Failed requests", requests.failed_total());
    for (kind, count) in &requests.failed {
        lines.row(&format!("  {kind}"), count);
    }
    lines.row("Generated tokens asked for", tokens.output_asked);
    lines.row("Generated tokens counted by", tokens.output_source.as_str());
    lines.row("Input tokens counted by server", count_or_unknown(tokens.input_by_server));
    lines.row("Input tokens from prefix cache", count_or_unknown(tokens.cached));
    if let Some(accounting) = accounting {
        beside(lines, accounting);
    }
    lag(lines, client.as_ref());
    lines.row("Request set", input.request_set.unwrap_or(UNKNOWN));
}

/// What the client spoilt, if it did.
fn verdict(lines: &mut Lines, anomalies: &[Anomaly]) {
    for anomaly in anomalies {
        if let Anomaly::ClientOverBudget { lag, metric, moved_ms, allowed_ms } = anomaly {
            let metric = metric.map_or(UNKNOWN, Metric::key);
            let moved = format!("{metric} by {moved_ms:.2} ms, {allowed_ms:.2} ms allowed");
            lines.row(&format!("INVALID: late in {lag}, moving"), moved);
        }
    }
}

/// What the metrics leave out.
fn beside(lines: &mut Lines, accounting: &Accounting) {
    for FewSamples { percentile, samples, beyond } in &accounting.few_samples {
        let few = format!("{beyond} of {samples}: too few to trust it");
        lines.row(&format!("Requests beyond P{percentile}"), few);
    }
    if let Some(from_due) = &accounting.from_due {
        due(lines, from_due);
    }
    if let Some(part) = &accounting.steady {
        steady(lines, part);
    }
    if let Some(told) = &accounting.server_side {
        server_side(lines, told);
    }
}

/// Latencies as somebody has them who comes when the schedule says, whatever the client does.
fn due(lines: &mut Lines, from_due: &FromDue) {
    let rows = [
        ("Mean TTFT from due (ms)", from_due.mean_ttft_ms),
        ("Median TTFT from due (ms)", from_due.median_ttft_ms),
        ("P99 TTFT from due (ms)", from_due.p99_ttft_ms),
        ("Mean E2E latency from due (ms)", from_due.mean_e2e_latency_ms),
        ("Median E2E latency from due (ms)", from_due.median_e2e_latency_ms),
        ("P99 E2E latency from due (ms)", from_due.p99_e2e_latency_ms),
    ];
    for (label, value) in rows {
        lines.row(label, two_decimals(Some(value)));
    }
}

/// The run without its ramps.
fn steady(lines: &mut Lines, part: &Steady) {
    let seconds = |ms: f64| two_decimals(Some(ms / 1000.0));
    lines.row("Steady part (s)", format!("{} to {}", seconds(part.from_ms), seconds(part.to_ms)));
    lines.row("Steady requests", part.requests);
    let rows = [
        ("Steady request throughput (req/s)", Metric::RequestThroughput),
        ("Steady output throughput (tok/s)", Metric::OutputThroughput),
        ("Steady mean TTFT (ms)", Metric::Latency(Latency::Ttft, Stat::Mean)),
        ("Steady P99 TTFT (ms)", Metric::Latency(Latency::Ttft, Stat::P99)),
        ("Steady mean TPOT (ms)", Metric::Latency(Latency::Tpot, Stat::Mean)),
        ("Steady mean ITL (ms)", Metric::Latency(Latency::Itl, Stat::Mean)),
        ("Steady P99 ITL (ms)", Metric::Latency(Latency::Itl, Stat::P99)),
        ("Steady mean E2E latency (ms)", Metric::Latency(Latency::E2e, Stat::Mean)),
    ];
    for (label, metric) in rows {
        lines.row(label, two_decimals(part.metrics.get(&metric).copied()));
    }
}

/// The server's account of itself beside the client's.
fn server_side(lines: &mut Lines, told: &ServerSide) {
    lines.row("Requests timed by the server", told.requests);
    let rows = [
        ("Mean prompt time by server (ms)", told.mean_prompt_ms),
        ("Mean TTFT of those requests (ms)", told.mean_ttft_ms),
        ("Mean generation time by server (ms)", told.mean_generation_ms),
        ("Mean time after their TTFT (ms)", told.mean_after_first_ms),
    ];
    for (label, value) in rows.into_iter().filter(|(_, value)| value.is_some()) {
        lines.row(label, two_decimals(value));
    }
}

/// How well the client kept up, and what that does to the numbers.
fn lag(lines: &mut Lines, client: Option<&ClientLag>) {
    lines.row("Median send lag (ms)", two_decimals(client.map(|lag| lag.send_lag_median_ms)));
    lines.row("P99 send lag (ms)", two_decimals(client.map(|lag| lag.send_lag_p99_ms)));
    lines.row("Max send lag (ms)", two_decimals(client.map(|lag| lag.send_lag_max_ms)));
    lines.row("Client CPU time / duration", two_decimals(client.map(|lag| lag.cpu_share)));
    let Some(client) = client else { return };
    if let Some(threads) = client.threads {
        lines.row("Client threads", threads);
    }
    if let Some(kept) = &client.reading {
        reading(lines, kept);
    }
    let Some(effect) = &client.effect else { return };
    let rows = [
        ("Mean TTFT moved by late sends (ms)", Lag::Sending, Latency::Ttft, Stat::Mean),
        ("P99 TTFT moved by late sends (ms)", Lag::Sending, Latency::Ttft, Stat::P99),
        ("P99 TTFT moved by slow writes (ms)", Lag::Writing, Latency::Ttft, Stat::P99),
        ("P99 TTFT moved by merged reads (ms)", Lag::Reading, Latency::Ttft, Stat::P99),
        ("P99 ITL moved by merged reads (ms)", Lag::Reading, Latency::Itl, Stat::P99),
    ];
    for (label, lag, of, stat) in rows {
        // What was not moved is absent.
        let moved_ms = effect.of(lag).get(&Metric::Latency(of, stat)).copied().unwrap_or(0.0);
        lines.row(label, two_decimals(Some(moved_ms)));
    }
}

/// How well the client kept up with what came.
fn reading(lines: &mut Lines, reading: &ReadLag) {
    lines.row("Arrival times by the clock of", reading.clock.as_str());
    lines.row("P99 read lateness (ms)", two_decimals(reading.late_p99_ms));
    lines.row("Max read lateness (ms)", two_decimals(reading.late_max_ms));
    lines.row("Chunks merged in a read", reading.merged_chunks);
    lines.row("Max time hidden by a merge (ms)", two_decimals(reading.merged_bound_max_ms));
}
