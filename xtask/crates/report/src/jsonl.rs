//! The line that a run appends to a result file: the keys of the Python tool 0.5.23 in its order,
//! and what only servegate knows under one key of its own.
//!
//! Strict JSON: an infinite rate is `"inf"`, a number that is not known is `null` where the tool
//! writes `NaN` or zero.

use std::collections::BTreeMap;

use domain::accounting::Accounting;
use domain::anomaly::Anomaly;
use domain::client::ClientLag;
use domain::failure::FailureKind;
use domain::framework::Backend;
use domain::metric::{Latency, Metric, Stat};
use domain::profile::{Dataset, Profile, RequestRate};
use domain::request::RequestRecord;
use domain::summary::{Measurement, TokenSource};
use domain::timestamp::Timestamp;
use serde::Serialize;
use serde::ser::{SerializeMap as _, Serializer};
use serde_json::Value;
use stats::Goodput;

use crate::block::{CacheSection, hit_rate};

/// What the line is made of.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// Whatever the user calls the run.
    pub tag: Option<&'a str>,
    /// The backend that was spoken.
    pub backend: Backend,
    /// The load.
    pub profile: &'a Profile,
    /// What was measured.
    pub measurement: &'a Measurement,
    /// What the server tells of itself, if it does.
    pub server_info: Option<&'a Value>,
    /// Tokens that speculative decoding accepts at once, by the server's own account.
    pub accept_length: Option<f64>,
    /// How many requests met their limits.
    pub goodput: Option<&'a Goodput>,
    /// Whether there is a report on the prefix cache.
    pub cache: CacheSection,
    /// Every request, where they are to be told.
    pub details: Option<&'a [RequestRecord]>,
    /// What only servegate knows.
    pub own: Own<'a>,
}

/// What only servegate knows.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Own<'a> {
    /// Version of servegate.
    pub version: &'a str,
    /// Model id as in the requests.
    pub model: &'a str,
    /// Release of the Python tool that was followed.
    pub compat: domain::profile::Compat,
    /// Seed of the run.
    pub seed: u32,
    /// Hash of the request set: equal hashes mean equal work.
    pub request_set: &'a str,
    /// When the measurement began.
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// The longest time between two tokens, in ms.
    pub max_itl_ms: Option<f64>,
}

/// [`Own`], and what the measurement adds to it.
#[derive(Serialize)]
struct Servegate<'a> {
    #[serde(flatten)]
    own: Own<'a>,
    /// Whether every request completed and the client's own lag spoilt no number.
    counts: bool,
    requests_asked: u32,
    requests_failed: &'a BTreeMap<FailureKind, u32>,
    output_tokens_asked: u64,
    output_tokens_counted_by: TokenSource,
    input_tokens_by_server: Option<u64>,
    cached_tokens: Option<u64>,
    client: Option<&'a ClientLag>,
    #[serde(skip_serializing_if = "Option::is_none")]
    accounting: Option<&'a Accounting>,
    anomalies: &'a [Anomaly],
}

/// The report on the prefix cache. Where hits were found is not read, so that it is not known.
#[derive(Serialize)]
struct CacheReport {
    total_prompt_tokens: u64,
    total_cached_tokens: Option<u64>,
    cache_hit_rate_pct: Option<f64>,
    device_cached_tokens: Option<u64>,
    host_cached_tokens: Option<u64>,
    storage_cached_tokens: Option<u64>,
    storage_backend: Option<&'static str>,
}

impl Line<'_> {
    /// The line, with its end.
    ///
    /// # Errors
    ///
    /// When the server's own description cannot be expressed as JSON again.
    pub fn text(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    fn servegate(&self) -> Servegate<'_> {
        let Measurement { requests, tokens, client, accounting, anomalies, .. } = self.measurement;
        Servegate {
            own: self.own,
            counts: requests.completed == requests.asked
                && !anomalies.iter().any(Anomaly::is_of_the_client),
            requests_asked: requests.asked,
            requests_failed: &requests.failed,
            output_tokens_asked: tokens.output_asked,
            output_tokens_counted_by: tokens.output_source,
            input_tokens_by_server: tokens.input_by_server,
            cached_tokens: tokens.cached,
            client: client.as_ref(),
            accounting: accounting.as_ref(),
            anomalies,
        }
    }

    fn metric(&self, metric: Metric) -> Option<f64> {
        self.measurement.metrics.get(&metric).copied()
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Measurement { requests, tokens, .. } = self.measurement;
        let mut map = serializer.serialize_map(None)?;
        let profile = self.profile;
        map.serialize_entry("tag", &self.tag)?;
        map.serialize_entry("backend", &self.backend)?;
        map.serialize_entry::<_, Dataset>("dataset_name", &profile.dataset_name)?;
        map.serialize_entry::<_, RequestRate>("request_rate", &profile.request_rate)?;
        map.serialize_entry("max_concurrency", &profile.max_concurrency)?;
        map.serialize_entry("sharegpt_output_len", &profile.workload.sharegpt.output_len)?;
        map.serialize_entry("random_input_len", &profile.random_input_len)?;
        map.serialize_entry("random_output_len", &profile.random_output_len)?;
        map.serialize_entry("random_range_ratio", &profile.random_range_ratio)?;
        map.serialize_entry("server_info", &self.server_info)?;
        map.serialize_entry("duration", &self.metric(Metric::Duration))?;
        map.serialize_entry("completed", &requests.completed)?;
        map.serialize_entry("total_input_tokens", &tokens.input)?;
        map.serialize_entry("total_input_text_tokens", &tokens.input)?;
        map.serialize_entry("total_input_vision_tokens", &0)?;
        map.serialize_entry("total_output_tokens", &tokens.output)?;
        // No text is kept, so there is nothing to tokenise again.
        map.serialize_entry("total_output_tokens_retokenized", &None::<u64>)?;
        for metric in THROUGHPUTS {
            map.serialize_entry(metric.key(), &self.metric(metric))?;
        }
        for of in Latency::ALL {
            for stat in Stat::ALL {
                let metric = Metric::Latency(of, stat);
                map.serialize_entry(metric.key(), &self.metric(metric))?;
            }
        }
        map.serialize_entry("concurrency", &self.metric(Metric::Concurrency))?;
        map.serialize_entry("accept_length", &self.accept_length)?;
        let peak = self.metric(Metric::MaxOutputTokensPerS);
        map.serialize_entry("max_output_tokens_per_s", &peak)?;
        map.serialize_entry("max_concurrent_requests", &self.max_concurrent())?;
        if let Some(goodput) = self.goodput {
            self.goodput(&mut map, goodput)?;
        }
        if self.cache == CacheSection::Hits {
            map.serialize_entry("cache_report", &self.cache_report())?;
        }
        if let Some(records) = self.details {
            self.details(&mut map, records)?;
        }
        map.serialize_entry("servegate", &self.servegate())?;
        map.end()
    }
}

/// Throughputs, in the tool's order.
const THROUGHPUTS: [Metric; 4] = [
    Metric::RequestThroughput,
    Metric::InputThroughput,
    Metric::OutputThroughput,
    Metric::TotalThroughput,
];

impl Line<'_> {
    /// A whole number, as the tool writes it.
    fn max_concurrent(&self) -> Option<u64> {
        let most = self.metric(Metric::MaxConcurrentRequests)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
        let whole = most as u64;
        Some(whole)
    }

    fn goodput<M: serde::ser::SerializeMap>(
        &self,
        map: &mut M,
        goodput: &Goodput,
    ) -> Result<(), M::Error> {
        let limits = goodput.by_slo.iter().map(|(slo, _)| (slo.metric.as_str(), slo.most_ms));
        let shares = goodput.by_slo.iter().map(|(slo, share)| (slo.metric.as_str(), *share));
        map.serialize_entry("goodput_slos_ms", &Pairs(limits.collect()))?;
        map.serialize_entry("request_goodput", &goodput.requests_per_s)?;
        map.serialize_entry("slo_attainment", &goodput.attainment)?;
        map.serialize_entry("slo_attainment_by_metric", &Pairs(shares.collect()))
    }

    fn cache_report(&self) -> CacheReport {
        let tokens = &self.measurement.tokens;
        CacheReport {
            total_prompt_tokens: tokens.input_by_server.unwrap_or(tokens.input),
            total_cached_tokens: tokens.cached,
            cache_hit_rate_pct: hit_rate(tokens).map(|rate| (rate * 100.0).round() / 100.0),
            device_cached_tokens: None,
            host_cached_tokens: None,
            storage_cached_tokens: None,
            storage_backend: None,
        }
    }

    fn details<M: serde::ser::SerializeMap>(
        &self,
        map: &mut M,
        records: &[RequestRecord],
    ) -> Result<(), M::Error> {
        let list = |of: &dyn Fn(&RequestRecord) -> Value| -> Vec<Value> {
            records.iter().map(of).collect()
        };
        let length =
            |record: &RequestRecord| record.server_prompt_tokens.unwrap_or(record.prompt_tokens);
        map.serialize_entry("input_lens", &list(&|record| length(record).into()))?;
        map.serialize_entry("output_lens", &list(&|record| output_len(record).into()))?;
        map.serialize_entry("ttfts", &list(&|record| seconds(stats::metrics::ttft_ms(record))))?;
        map.serialize_entry("itls", &list(&gaps))?;
        // No text is kept.
        map.serialize_entry("generated_texts", &list(&|_| Value::Null))?;
        map.serialize_entry("errors", &list(&error))?;
        if self.cache == CacheSection::Hits {
            map.serialize_entry("cached_tokens", &list(&|record| record.cached_tokens.into()))?;
            map.serialize_entry("cached_tokens_details", &list(&|_| Value::Null))?;
        }
        Ok(())
    }
}

/// Names and numbers as an object, in order.
struct Pairs<'a>(Vec<(&'a str, f64)>);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// A failed request generated nothing that counts.
fn output_len(record: &RequestRecord) -> u32 {
    if record.completed() { record.output_tokens() } else { 0 }
}

fn seconds(ms: Option<f64>) -> Value {
    ms.map_or(Value::Null, |ms| (ms / 1000.0).into())
}

fn gaps(record: &RequestRecord) -> Value {
    stats::metrics::itl_ms(record).into_iter().map(|ms| ms / 1000.0).collect()
}

fn error(record: &RequestRecord) -> Value {
    match &record.failure {
        Some(failure) => failure.to_string().into(),
        None if record.completed() => "".into(),
        None => "it was in flight when the run ended".into(),
    }
}

#[cfg(test)]
mod tests;
