//! The words of the gate: its rule, the two sides of an experiment, and what each look computed.
//!
//! Plain data: `stats::gate` computes with it, skills hold the rule, the journal holds the looks.
//! Everything that is called a change here is a log-ratio with the sign turned so that more is
//! worse, whatever the metric: 0.03 means about 3 % worse.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metric::{Latency, Metric, Stat};
use crate::names::names;

/// The side of an experiment that a run belongs to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// What is compared with.
    Baseline,
    /// What is judged.
    Candidate,
}

names!(Side, "side", { Baseline => "baseline", Candidate => "candidate" });

/// The place of a run in an interleaved experiment.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Arm {
    /// Which side.
    pub side: Side,
    /// Which pair, from 1; 0 is the throw-away run, which counts for nothing.
    pub pair: u32,
}

/// How loudly a metric varies from run to run, which decides how far it may move.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// A mean, a median or a throughput: it hangs on every request.
    Mean,
    /// A high percentile: it hangs on few.
    Tail,
}

names!(Class, "class", { Mean => "mean", Tail => "tail" });

impl Class {
    /// The class of a metric.
    pub const fn of(metric: Metric) -> Self {
        match metric {
            Metric::Latency(Latency::E2e | Latency::Ttft | Latency::Tpot | Latency::Itl, stat) => {
                match stat {
                    Stat::P90 | Stat::P95 | Stat::P99 => Self::Tail,
                    Stat::Mean | Stat::Median | Stat::Std => Self::Mean,
                }
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
            | Metric::EnergyPerRequest => Self::Mean,
        }
    }
}

/// Every parameter of the gate. The values of [`Rule::standard`] are the ones whose error rates
/// are published; others are allowed and are named in every report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Metrics that decide. Each costs error rate, so they are few; the others are shown.
    pub metrics: Vec<Metric>,
    /// Chance that an unchanged candidate is called regressed, over all metrics and looks.
    pub alpha: f64,
    /// Chance at one look that a metric which is worse by the whole tolerance is called equal.
    pub beta: f64,
    /// When the runs are looked at, in ascending order of pairs.
    pub looks: Vec<LookAt>,
    /// A pair is drawn in to this many standard deviations of the history from the median pair.
    pub clamp_at: f64,
    /// What earlier sessions are good for.
    pub history: HistoryRule,
    /// How far means, medians and throughputs may move.
    pub mean: Limits,
    /// How far high percentiles may move.
    pub tail: Limits,
}

/// One look at the runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LookAt {
    /// Pairs that it takes.
    pub pairs: u32,
    /// Its share of `alpha`, as a part of the sum of all weights.
    pub weight: u32,
}

/// What earlier sessions of a key are good for: how large the noise is, never where the mean is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HistoryRule {
    /// Sessions that are looked back at.
    pub sessions: u32,
    /// The least standard deviation of a pair that is believed.
    pub least_sd: f64,
    /// A short history.
    pub short: Trust,
    /// A long one. Below a short one there is none.
    pub long: Trust,
    /// Stored sessions that it takes to clear a change without measuring the baseline again.
    pub sessions_to_clear: u32,
}

/// How much a history of some length is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Earlier pairs that it takes.
    pub pairs: u32,
    /// Degrees of freedom that it adds.
    pub df: u32,
}

/// How far a metric may move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// A change below this is no regression, however sure it is.
    pub min_effect: f64,
    /// A change that is surely below this is none.
    pub tolerance: f64,
}

impl Rule {
    /// The rule whose error rates are published.
    pub fn standard() -> Self {
        let looks = [(3, 1), (4, 2), (5, 3), (6, 4), (8, 5), (10, 6)];
        Self {
            metrics: vec![
                Metric::OutputThroughput,
                Metric::Latency(Latency::Ttft, Stat::Mean),
                Metric::Latency(Latency::Tpot, Stat::Mean),
                Metric::Latency(Latency::Ttft, Stat::P99),
            ],
            alpha: 0.01,
            beta: 0.05,
            looks: looks.map(|(pairs, weight)| LookAt { pairs, weight }).into(),
            clamp_at: 3.0,
            history: HistoryRule {
                sessions: 10,
                least_sd: 0.002,
                short: Trust { pairs: 12, df: 4 },
                long: Trust { pairs: 20, df: 8 },
                sessions_to_clear: 3,
            },
            mean: Limits { min_effect: 0.01, tolerance: 0.03 },
            tail: Limits { min_effect: 0.03, tolerance: 0.10 },
        }
    }

    /// How far a metric of a class may move.
    pub const fn limits(&self, class: Class) -> Limits {
        match class {
            Class::Mean => self.mean,
            Class::Tail => self.tail,
        }
    }

    /// Pairs of the last look; without a look none are needed.
    pub fn most_pairs(&self) -> u32 {
        self.looks.last().map_or(0, |look| look.pairs)
    }

    /// Parameters that are not the standard ones, as `alpha: 0.05 instead of 0.01`.
    pub fn changes(&self) -> Vec<String> {
        let (Ok(own), Ok(standard)) =
            (serde_json::to_value(self), serde_json::to_value(Self::standard()))
        else {
            // A rule is a plain struct of finite numbers, which JSON can always hold.
            return vec!["the rule cannot be shown".to_owned()];
        };
        let mut found = Vec::new();
        differing("", &own, &standard, &mut found);
        found
    }

    /// What is wrong with the parameters: the key of each and why.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if self.metrics.is_empty() {
            faults.push(("metrics", "`metrics` is empty; one at least decides".to_owned()));
        }
        for (name, rate) in [("alpha", self.alpha), ("beta", self.beta)] {
            if !(0.0 < rate && rate < 0.5) {
                faults.push((name, format!("`{name}` is {rate}; it lies between 0 and 0.5")));
            }
        }
        faults.extend(self.fault_of_looks().map(|fault| ("looks", fault)));
        if !(self.clamp_at.is_finite() && 1.0 <= self.clamp_at) {
            let fault = format!("`clamp_at` is {}; it is at least 1", self.clamp_at);
            faults.push(("clamp_at", fault));
        }
        if !(self.history.least_sd.is_finite() && 0.0 < self.history.least_sd) {
            faults.push(("history", "`least_sd` is not above 0".to_owned()));
        }
        if self.history.long.pairs < self.history.short.pairs || self.history.sessions == 0 {
            faults.push(("history", "`long` is shorter than `short`, or no session".to_owned()));
        }
        if self.history.sessions_to_clear < 2 {
            let fault = "`sessions_to_clear` is below 2, which show no spread".to_owned();
            faults.push(("history", fault));
        }
        for (name, limits) in [("mean", self.mean), ("tail", self.tail)] {
            let ordered = 0.0 <= limits.min_effect && limits.min_effect < limits.tolerance;
            let sound = ordered && limits.tolerance.is_finite();
            if !sound {
                let fault = format!("`{name}`: `min_effect` is not between 0 and `tolerance`");
                faults.push((name, fault));
            }
        }
        faults
    }

    fn fault_of_looks(&self) -> Option<String> {
        let pairs = || self.looks.iter().map(|look| look.pairs);
        if pairs().next().is_none_or(|first| first < 2) {
            return Some("the first of `looks` is at 2 pairs or later".to_owned());
        }
        if !pairs().is_sorted_by(|a, b| a < b) {
            return Some("`looks` are not in ascending order".to_owned());
        }
        let weightless = self.looks.iter().any(|look| look.weight == 0);
        weightless.then(|| "a look has no `weight`, so that it could not decide".to_owned())
    }
}

/// Collects the leaves of two values that differ.
fn differing(
    path: &str,
    own: &serde_json::Value,
    standard: &serde_json::Value,
    to: &mut Vec<String>,
) {
    match (own, standard) {
        (serde_json::Value::Object(own), serde_json::Value::Object(standard)) => {
            for (key, value) in own {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let standard = standard.get(key).unwrap_or(&serde_json::Value::Null);
                differing(&path, value, standard, to);
            }
        }
        (own, standard) if own == standard => {}
        (own, standard) => to.push(format!("{path}: {own} instead of {standard}")),
    }
}

/// What one look computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Look {
    /// Pairs that it used.
    pub pairs: u32,
    /// One estimate a metric, in the order of the rule.
    pub metrics: Vec<Estimate>,
}

/// What a look computed of one metric. Changes are log-ratios; more is worse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Estimate {
    /// The metric's name.
    pub metric: String,
    /// How loudly it varies.
    pub class: Class,
    /// Mean change of a pair.
    pub estimate: f64,
    /// Standard error of it.
    pub se: f64,
    /// Degrees of freedom.
    pub df: u32,
    /// Chance of such an estimate or a worse one if nothing changed.
    pub p: f64,
    /// The same for the other direction.
    pub p_better: f64,
    /// What this look may spend on this metric: `p` at or below it is a regression.
    pub alpha: f64,
    /// One-sided lower bound of the change at 1 - beta.
    pub lower: f64,
    /// One-sided upper bound of the change at 1 - beta.
    pub upper: f64,
    /// Standard deviation of a pair by history, if it is known.
    pub history_sd: Option<f64>,
    /// Pairs that were drawn in.
    pub clamped: Vec<Clamp>,
    /// Worse, surely, and by enough to matter.
    pub regressed: bool,
    /// Better, surely, and by enough to matter.
    pub improved: bool,
    /// Surely not worse by the tolerance.
    pub equivalent: bool,
}

impl Estimate {
    /// The chance that tells: of what was found better that of being better by chance, else that of
    /// being worse.
    pub const fn p_told(&self) -> f64 {
        if self.improved { self.p_better } else { self.p }
    }
}

/// A pair that was drawn in towards the median pair.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Clamp {
    /// Which pair, from 1.
    pub pair: u32,
    /// Its change as measured.
    pub from: f64,
    /// Its change as used.
    pub to: f64,
}

/// How the two sides were measured, which decides what may be said.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// In one session, pair by pair.
    Interleaved,
    /// In one session, pair by pair, on servers that were not started anew for each run.
    InterleavedOneStart,
    /// Given as pairs; how they were measured is not known.
    Pairs,
    /// At other times; the difference of the times is in the difference of the sides.
    Stored,
    /// As [`Basis::Stored`], and allowed to fail a change all the same.
    StoredAllowed,
}

names!(Basis, "basis", {
    Interleaved => "interleaved",
    InterleavedOneStart => "interleaved-one-start",
    Pairs => "pairs",
    Stored => "stored",
    StoredAllowed => "stored-allowed",
});

impl Basis {
    /// What it costs, where it costs anything, as one line.
    pub const fn cost(self) -> Option<&'static str> {
        match self {
            Self::Interleaved | Self::Pairs => None,
            Self::InterleavedOneStart => Some(
                "weaker: one server start a side, so what differs from start to start is taken for a change",
            ),
            Self::Stored => Some(
                "a stored baseline may clear a change and never fails one: sessions differ by more than runs do",
            ),
            Self::StoredAllowed => Some(
                "allowed to fail on a stored baseline: on simulated noise, with five to ten runs a side, 8 to 27 % of unchanged code is called regressed",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_rule_has_no_fault_and_no_change() {
        assert_eq!(Rule::standard().faults(), []);
        assert_eq!(Rule::standard().changes(), Vec::<String>::new());
    }

    #[test]
    fn changed_parameters_are_named_with_both_values() {
        let mut rule = Rule::standard();
        rule.alpha = 0.05;
        rule.tail.tolerance = 0.2;
        rule.looks.truncate(1);
        insta::assert_snapshot!(rule.changes().join("\n"), @r#"
        alpha: 0.05 instead of 0.01
        looks: [{"pairs":3,"weight":1}] instead of [{"pairs":3,"weight":1},{"pairs":4,"weight":2},{"pairs":5,"weight":3},{"pairs":6,"weight":4},{"pairs":8,"weight":5},{"pairs":10,"weight":6}]
        tail.tolerance: 0.2 instead of 0.1
        "#);
    }

    #[test]
    fn every_senseless_parameter_is_named() {
        let mut rule = Rule::standard();
        rule.metrics.clear();
        rule.alpha = 0.7;
        rule.beta = f64::NAN;
        rule.looks.reverse();
        rule.clamp_at = 0.0;
        rule.history.least_sd = 0.0;
        rule.history.sessions_to_clear = 1;
        rule.mean.min_effect = 0.5;
        let keys: Vec<_> = rule.faults().into_iter().map(|(key, _)| key).collect();
        assert_eq!(
            keys,
            ["metrics", "alpha", "beta", "looks", "clamp_at", "history", "history", "mean"]
        );
    }
}
