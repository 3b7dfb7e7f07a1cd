//! What the tool's output means: pure, over what it printed and wrote.
//!
//! The tool's own numbers are kept where they can be believed. Its successes are not believed:
//! every request is judged again, and where one of them did not generate what was asked, every
//! number that counted it is dropped, because a failed request is not a fast one.

use std::collections::BTreeMap;

use domain::anomaly::Anomaly;
use domain::failure::{FailureKind, RequestFailure};
use domain::framework::Wire;
use domain::metric::{Latency, Metric, Stat};
use domain::request::RequestRecord;
use domain::summary::{Measurement, RequestCounts, TokenCounts, TokenSource};

use super::asked::Asked;
use super::block::Block;
use super::count::Count;
use super::failure::{Ended, ToolExit, ToolFailure, ToolFailureKind, diagnose};
use super::jsonl::Line;
use super::requests::{Requests, judge};

/// What the tool measured.
#[derive(Clone, Debug, PartialEq)]
pub struct ToolReport {
    /// The numbers that can be believed, and why others are missing.
    pub measurement: Measurement,
    /// One record a request that was sent; empty where the tool gives no details (before 0.4.9).
    ///
    /// The tool does not tell when a request was sent nor when its answer ended: `sent_ns` is
    /// absent and `done_ns` is the time of the last text, a lower bound.
    pub records: Vec<RequestRecord>,
}

/// Reads the output of one run of the tool, of any version from 0.4.3 to 0.5.23 and of its Rust
/// client. `jsonl` is the output file, if there is one.
///
/// # Errors
///
/// When the tool failed as a whole, or gave no result.
pub fn read(
    stdout: &str,
    stderr: &str,
    jsonl: Option<&str>,
    exit: ToolExit,
    asked: &Asked,
) -> Result<ToolReport, ToolFailure> {
    let block = Block::find(stdout);
    let line = jsonl.and_then(Line::last);
    let nothing = block.is_none() && line.is_none();
    if exit != ToolExit::Code(0) || nothing {
        return Err(diagnose(&Ended { stdout, stderr, exit, has_block: block.is_some() }));
    }
    let told = Told { block: block.as_ref(), line: line.as_ref() };
    let (completed, requests) = (told.completed()?, told.requests(asked)?);
    Ok(match requests {
        Some(requests) => with_details(&told, requests, asked),
        None => without_details(&told, completed, asked),
    })
}

/// The tool's two accounts of one run. The file is exact, the block has two decimals.
struct Told<'a> {
    block: Option<&'a Block<'a>>,
    line: Option<&'a Line>,
}

impl Told<'_> {
    fn count(&self, of: Count) -> Option<u64> {
        let exact = self.line.and_then(|line| line.count(of));
        exact.or_else(|| self.block.and_then(|block| block.count(of)))
    }

    fn completed(&self) -> Result<u32, ToolFailure> {
        let count = self.count(Count::Completed).and_then(|count| u32::try_from(count).ok());
        count.ok_or_else(|| {
            ToolFailure::new(ToolFailureKind::NoResult, "the block names no successful requests")
        })
    }

    /// The requests judged one by one, where the tool wrote details.
    fn requests(&self, asked: &Asked) -> Result<Option<Requests>, ToolFailure> {
        let Some(details) = self.line.and_then(|line| line.details.as_ref()) else {
            return Ok(None);
        };
        let (sent, wanted) = (details.errors.len(), asked.lengths.output.len());
        if wanted < sent {
            let proof = format!("{sent} requests where {wanted} were asked for");
            return Err(ToolFailure::new(ToolFailureKind::NotThisRun, &proof));
        }
        Ok(Some(judge(details, self.count(Count::Input), asked)))
    }

    /// A metric that the tool measured.
    fn metric(&self, metric: Metric) -> Option<f64> {
        let exact = self.line.and_then(|line| line.metric(metric));
        exact.or_else(|| self.block.and_then(|block| block.metric(metric)))
    }

    /// Every number that the tool has, without those that it made up for want of samples: it
    /// writes 0 (and by rounding less) for the statistics of nothing.
    fn metrics(&self) -> BTreeMap<Metric, f64> {
        let measured = |metric: &Metric| match metric {
            Metric::Latency(of, _) => {
                self.metric(Metric::Latency(*of, Stat::Mean)).is_some_and(|mean| 0.0 < mean)
            }
            Metric::Duration
            | Metric::RequestThroughput
            | Metric::InputThroughput
            | Metric::OutputThroughput
            | Metric::TotalThroughput
            | Metric::Concurrency
            | Metric::MaxOutputTokensPerS
            | Metric::MaxConcurrentRequests
            | Metric::EnergyPerOutputToken
            | Metric::EnergyPerRequest => true,
        };
        let told = Metric::all().filter(measured);
        told.filter_map(|metric| Some((metric, self.metric(metric)?))).collect()
    }

    /// What is odd about the two accounts themselves.
    fn anomalies(&self) -> Vec<Anomaly> {
        let Some(line) = self.line else {
            return vec![Anomaly::ToolWroteNoJsonl { exit: 0 }];
        };
        let mut anomalies = Vec::new();
        if !line.foreign.is_empty() {
            let tokens: Vec<_> = line.foreign.iter().map(String::as_str).collect();
            anomalies.push(Anomaly::ToolWroteNonJson { tokens: tokens.join(", ") });
        }
        if let Some(block) = self.block {
            let differing = Metric::all().filter_map(|metric| {
                let (block, jsonl) = (block.metric(metric)?, line.metric(metric)?);
                let same = (block - jsonl).abs() <= PRINTED_WITHIN + jsonl.abs() * f64::EPSILON;
                let key = metric.key().to_owned();
                (!same).then_some(Anomaly::ToolDisagrees { key, block, jsonl })
            });
            anomalies.extend(differing);
        }
        anomalies
    }
}

/// Half of the last decimal that the block prints, and a hair for the rounding of halves.
const PRINTED_WITHIN: f64 = 0.005 + 1e-9;

/// The report where every request can be judged.
fn with_details(told: &Told<'_>, requests: Requests, asked: &Asked) -> ToolReport {
    let mut anomalies = told.anomalies();
    let mut metrics = told.metrics();
    let counts = RequestCounts {
        asked: asked.requests(),
        completed: requests.completed(),
        failed: requests.failed(),
    };
    if counts.completed == 0 || 0 < requests.hidden {
        metrics.retain(|metric, _| *metric == Metric::Duration);
    }
    if requests.sent() < counts.asked {
        let sent = requests.sent();
        anomalies.push(Anomaly::FewerRequests { asked: counts.asked, sent });
    }
    anomalies.extend(failures(&requests.records));
    if 0 < counts.failed_total() {
        anomalies.push(Anomaly::ToolHidFailures { failed: counts.failed_total() });
    }
    let tokens = requests.tokens();
    if 0 < requests.short {
        anomalies.push(Anomaly::ShortAnswers { requests: requests.short });
    }
    if requests.unconfirmed {
        doubt_tokens(
            &mut metrics,
            &mut anomalies,
            tokens.output,
            told.count(Count::Retokenized),
            asked,
        );
    }
    anomalies.extend(split_tokens(&requests.records));
    let measurement = Measurement {
        requests: counts,
        tokens,
        metrics,
        client: None,
        accounting: None,
        anomalies,
    };
    ToolReport { measurement, records: requests.records }
}

/// The report of a tool that tells sums only.
fn without_details(told: &Told<'_>, completed: u32, asked: &Asked) -> ToolReport {
    let mut anomalies = told.anomalies();
    let mut metrics = told.metrics();
    let mut failed = BTreeMap::new();
    if let Some(missing) = asked.requests().checked_sub(completed).filter(|n| 0 < *n) {
        failed.insert(FailureKind::ToolReported, missing);
        anomalies.push(Anomaly::ToolHidFailures { failed: missing });
    }
    if completed == 0 {
        metrics.retain(|metric, _| *metric == Metric::Duration);
    }
    let by_server = asked.wire == Wire::SglangGenerate;
    let all_asked = asked.lengths.output.iter().map(|n| u64::from(*n)).sum();
    // Sums that are not told are those of what was asked; the anomalies say what is unsure.
    let all_input = || asked.lengths.input.iter().map(|n| u64::from(*n)).sum();
    let output = told.count(Count::Output);
    let tokens = TokenCounts {
        input: told.count(Count::Input).unwrap_or_else(all_input),
        input_by_server: None,
        output: output.unwrap_or(all_asked),
        output_source: if by_server { TokenSource::ServerUsage } else { TokenSource::Tool },
        output_asked: all_asked,
        cached: None,
    };
    if !by_server || output.is_none() {
        doubt_tokens(
            &mut metrics,
            &mut anomalies,
            tokens.output,
            told.count(Count::Retokenized),
            asked,
        );
    }
    let requests = RequestCounts { asked: asked.requests(), completed, failed };
    let measurement =
        Measurement { requests, tokens, metrics, client: None, accounting: None, anomalies };
    ToolReport { measurement, records: Vec::new() }
}

/// Nothing confirms the number of tokens. From a server that was seen to generate what it is
/// asked for it is still plausible; from any other it is fiction, and so is what rests on it.
fn doubt_tokens(
    metrics: &mut BTreeMap<Metric, f64>,
    anomalies: &mut Vec<Anomaly>,
    reported: u64,
    retokenized: Option<u64>,
    asked: &Asked,
) {
    anomalies.push(Anomaly::ToolTokensUnverified { reported, retokenized });
    if !asked.forced() {
        metrics.retain(|metric, _| {
            !matches!(
                metric,
                Metric::OutputThroughput
                    | Metric::TotalThroughput
                    | Metric::Latency(Latency::Tpot, _)
            )
        });
    }
}

/// One line a kind of failure, with its first example.
fn failures(records: &[RequestRecord]) -> impl Iterator<Item = Anomaly> {
    let mut kinds: BTreeMap<FailureKind, (u32, &RequestFailure)> = BTreeMap::new();
    for failure in records.iter().filter_map(|record| record.failure.as_ref()) {
        kinds.entry(failure.kind).or_insert((0, failure)).0 += 1;
    }
    kinds.into_iter().map(|(kind, (count, first))| {
        let example = first.detail.clone();
        Anomaly::RequestsFailed { failure: kind, count, example }
    })
}

/// More texts than tokens: the server splits tokens, so the gaps are not between tokens.
fn split_tokens(records: &[RequestRecord]) -> Option<Anomaly> {
    let completed = records.iter().filter(|record| record.completed());
    let (chunks, tokens) = completed.fold((0, 0), |(chunks, tokens), record| {
        let in_record = u64::try_from(record.chunks.len()).unwrap_or(u64::MAX);
        (chunks + in_record, tokens + u64::from(record.output_tokens()))
    });
    (tokens < chunks).then_some(Anomaly::SplitTokens { chunks, tokens })
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
