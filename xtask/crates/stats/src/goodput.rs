//! Goodput: how many requests met every latency that was asked of them.
//!
//! A request that failed was not good, however fast it failed. Defined as in the Python tool
//! 0.5.23, so that both give the same number for the same records.

use std::fmt;
use std::str::FromStr;

use domain::request::RequestRecord;

use crate::metrics;

/// A latency that can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SloMetric {
    /// Time to the first token.
    Ttft,
    /// Mean time per token after the first; 0 for an answer of one token.
    Tpot,
    /// Time to the end of the answer.
    E2el,
}

impl SloMetric {
    /// The name on the command line and in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Tpot => "tpot",
            Self::E2el => "e2el",
        }
    }
}

/// The most that a latency may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slo {
    /// Which latency.
    pub metric: SloMetric,
    /// Its limit, in ms.
    pub most_ms: f64,
}

/// A text that is not a limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not NAME:MS with a name of ttft, tpot, e2el and milliseconds above 0")]
pub struct NotAnSlo(String);

impl FromStr for Slo {
    type Err = NotAnSlo;

    fn from_str(text: &str) -> Result<Self, NotAnSlo> {
        let refused = || NotAnSlo(text.to_owned());
        let (name, limit) = text.split_once(':').ok_or_else(refused)?;
        let all = [SloMetric::Ttft, SloMetric::Tpot, SloMetric::E2el];
        let metric = all.into_iter().find(|metric| metric.as_str() == name);
        let most_ms = limit.trim().parse().ok().filter(|ms: &f64| ms.is_finite() && 0.0 < *ms);
        metric.zip(most_ms).map(|(metric, most_ms)| Self { metric, most_ms }).ok_or_else(refused)
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.metric.as_str(), self.most_ms)
    }
}

/// How well the limits were met.
#[derive(Clone, Debug, PartialEq)]
pub struct Goodput {
    /// Good requests a second.
    pub requests_per_s: f64,
    /// Good requests as a share of all that were sent.
    pub attainment: f64,
    /// Every limit, and the share of the requests that met it.
    pub by_slo: Vec<(Slo, f64)>,
}

/// Judges every request by the limits. Of nothing sent, in no time or without a limit there is no
/// goodput. Where a latency is limited twice, the last limit counts.
pub fn goodput(records: &[RequestRecord], duration_ns: u64, slos: &[Slo]) -> Option<Goodput> {
    let mut limits: Vec<Slo> = Vec::new();
    for slo in slos {
        match limits.iter_mut().find(|known| known.metric == slo.metric) {
            Some(known) => *known = *slo,
            None => limits.push(*slo),
        }
    }
    if limits.is_empty() || records.is_empty() || duration_ns == 0 {
        return None;
    }
    let sent = records.len() as f64;
    let completed: Vec<_> = records.iter().filter(|record| record.completed()).collect();
    let count = |good: &dyn Fn(&RequestRecord) -> bool| {
        completed.iter().filter(|record| good(record)).count() as f64
    };
    let good = count(&|record| limits.iter().all(|slo| met(slo, record)));
    Some(Goodput {
        requests_per_s: good / (duration_ns as f64 / 1e9),
        attainment: good / sent,
        by_slo: limits.iter().map(|slo| (*slo, count(&|record| met(slo, record)) / sent)).collect(),
    })
}

fn met(slo: &Slo, record: &RequestRecord) -> bool {
    let observed_ms = match slo.metric {
        SloMetric::Ttft => metrics::ttft_ms(record),
        SloMetric::Tpot if record.output_tokens() <= 1 => Some(0.0),
        SloMetric::Tpot => metrics::tpot_ms(record),
        SloMetric::E2el => metrics::e2e_ms(record),
    };
    observed_ms.is_some_and(|ms| ms <= slo.most_ms)
}

#[cfg(test)]
mod tests {
    use domain::failure::{FailureKind, RequestFailure};
    use domain::request::Chunk;

    use super::*;

    /// First token and end, in ms.
    fn record(first_ms: u64, end_ms: u64, tokens: u32) -> RequestRecord {
        let chunk = Chunk { at_ns: first_ms * 1_000_000, late_ns: None, tokens: Some(tokens) };
        serde_json::from_value(serde_json::json!({
            "index": 0,
            "chunks": [chunk],
            "done_ns": end_ms * 1_000_000,
            "prompt_tokens": 1,
            "asked_tokens": tokens,
            "server_output_tokens": tokens,
        }))
        .unwrap()
    }

    fn slos(texts: &[&str]) -> Vec<Slo> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_request_is_good_if_it_meets_every_limit() {
        let failed = RequestRecord {
            failure: Some(RequestFailure::new(FailureKind::NoTokens, "x")),
            ..record(1, 2, 2)
        };
        let records = [record(100, 200, 11), record(300, 310, 11), record(100, 900, 1), failed];
        let found = goodput(&records, 2_000_000_000, &slos(&["ttft:100", "tpot:10"])).unwrap();
        assert_eq!((found.requests_per_s, found.attainment), (1.0, 0.5));
        assert_eq!(found.by_slo.iter().map(|(_, share)| *share).collect::<Vec<_>>(), [0.5, 0.75]);
        let found = goodput(&records, 2_000_000_000, &slos(&["e2el:1", "e2el:200"])).unwrap();
        assert_eq!((found.attainment, found.by_slo.len()), (0.25, 1));
    }

    #[test]
    fn nothing_has_no_goodput() {
        assert_eq!(goodput(&[], 1, &slos(&["ttft:1"])), None);
        assert_eq!(goodput(&[record(1, 2, 2)], 1, &[]), None);
    }

    #[test]
    fn what_is_no_limit_is_refused() {
        for wrong in ["", "ttft", "ttft:", "itl:5", "ttft:0", "ttft:-1", "ttft:inf", "ttft:nan"] {
            assert!(wrong.parse::<Slo>().is_err(), "{wrong}");
        }
        assert_eq!(slos(&["tpot:2.5"])[0].to_string(), "tpot:2.5");
    }
}
