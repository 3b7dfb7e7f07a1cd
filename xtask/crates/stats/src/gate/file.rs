//! A file of pairs: the gate for numbers that were measured elsewhere.

use std::collections::BTreeMap;
use std::fmt;

use domain::gate::{Class, Estimate, Rule};
use domain::metric::Better;
use domain::verdict::Verdict;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};

use super::decide::{Decision, Series, State, decide};
use super::judge::of_metric;
use super::noise::{believed, trust};
use super::pairs::worsening;
use super::words;

/// The pairs of each metric, by its name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PairsFile {
    /// The metrics.
    #[serde(deserialize_with = "each_once")]
    pub metrics: BTreeMap<String, MetricPairs>,
}

/// A map in which no name stands twice: the second would silently stand for the first.
fn each_once<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, MetricPairs>, D::Error> {
    struct EachOnce;
    impl<'de> Visitor<'de> for EachOnce {
        type Value = BTreeMap<String, MetricPairs>;

        fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
            to.write_str("a map of metrics")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut metrics = BTreeMap::new();
            while let Some((name, pairs)) = map.next_entry::<String, MetricPairs>()? {
                if metrics.contains_key(&name) {
                    return Err(A::Error::custom(format!("the metric `{name}` stands twice")));
                }
                metrics.insert(name, pairs);
            }
            Ok(metrics)
        }
    }
    deserializer.deserialize_map(EachOnce)
}

/// The pairs of one metric.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricPairs {
    /// How loudly it varies.
    pub class: Class,
    /// Which direction is an improvement.
    pub better: Better,
    /// The baseline's values, in the order of the pairs; a value that is no number is none.
    pub baseline: Vec<Option<f64>>,
    /// The candidate's.
    pub candidate: Vec<Option<f64>>,
    /// Standard deviation of the log-ratio of a pair by earlier sessions.
    #[serde(default)]
    pub history_sd: Option<f64>,
    /// How many pairs it is from; enough for a long history if not told.
    #[serde(default)]
    pub history_pairs: Option<usize>,
}

/// What a file of pairs says.
#[derive(Clone, Debug, PartialEq)]
pub struct FileJudgement {
    /// The decision. Where the pairs cannot be judged it has no look.
    pub decision: Decision,
    /// Why, on one line.
    pub reason: String,
    /// What a reader must know to weigh it: a changed rule, no history, clamped pairs.
    pub notes: Vec<String>,
    /// Each metric as far as the deciding look got, by name.
    pub metrics: Vec<JudgedPairs>,
}

/// What a file of pairs says of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedPairs {
    /// Its name in the file.
    pub name: String,
    /// Which direction is an improvement.
    pub better: Better,
    /// Its own verdict.
    pub verdict: Verdict,
    /// The values that were used, those of the baseline and those of the candidate.
    pub used: [Vec<f64>; 2],
    /// What the deciding look computed, if there was one.
    pub estimate: Option<Estimate>,
}

/// Judges a file of pairs. Pairs that cannot be judged are a verdict too, never a pass.
pub fn judge_file(rule: &Rule, file: &PairsFile) -> FileJudgement {
    let series: Result<Vec<Series>, Refusal> =
        file.metrics.iter().map(|(name, pairs)| series(rule, name, pairs)).collect();
    let decision = series.and_then(|series| {
        if series.iter().all(|series| series.changes.is_empty()) {
            return Err((Verdict::Broken, "there is no pair to judge".to_owned()));
        }
        decide(rule, &series).map_err(|error| (Verdict::Incomparable, error.to_string()))
    });
    let (decision, reason) = match decision {
        Ok(decision) => {
            let reason = reason(rule, file, &decision);
            (decision, reason)
        }
        Err((verdict, reason)) => {
            let state = State::Decided;
            (Decision { verdict, pairs: 0, looks: Vec::new(), state }, reason)
        }
    };
    let metrics = file.metrics.iter().map(|(name, pairs)| judged(name, pairs, &decision)).collect();
    FileJudgement { reason, notes: notes(rule, &decision), metrics, decision }
}

fn judged(name: &str, pairs: &MetricPairs, decision: &Decision) -> JudgedPairs {
    let last = decision.looks.last().map_or(&[][..], |look| &look.metrics);
    let estimate = last.iter().find(|estimate| estimate.metric == name).cloned();
    let verdict = estimate
        .as_ref()
        .map_or(decision.verdict, |estimate| of_metric(estimate, decision.verdict));
    let used = |side: &[Option<f64>]| {
        side.iter().take(decision.pairs as usize).copied().flatten().collect()
    };
    let used = [used(&pairs.baseline), used(&pairs.candidate)];
    JudgedPairs { name: name.to_owned(), better: pairs.better, verdict, used, estimate }
}

fn notes(rule: &Rule, decision: &Decision) -> Vec<String> {
    let last = decision.looks.last().map_or(&[][..], |look| &look.metrics);
    let mut notes: Vec<String> = words::changed_rule(rule).into_iter().collect();
    let cold = last.iter().filter(|estimate| estimate.history_sd.is_none());
    let cold: Vec<&str> = cold.map(|estimate| estimate.metric.as_str()).collect();
    if !cold.is_empty() {
        let cold = cold.join(", ");
        notes.push(format!("cold start: without a history the gate finds less ({cold})"));
    }
    notes.extend(last.iter().flat_map(|estimate| words::clamped(&estimate.metric, estimate)));
    notes
}

/// Runs that vary by a factor of e to the power of this are no measurement.
const MOST_SD: f64 = 10.0;

/// A verdict without a look, and why.
type Refusal = (Verdict, String);

fn series(rule: &Rule, name: &str, pairs: &MetricPairs) -> Result<Series, Refusal> {
    let (baseline, candidate) = (&pairs.baseline, &pairs.candidate);
    if baseline.len() != candidate.len() {
        let reason = format!(
            "`{name}` has {} baseline values and {} candidate values, which make no pairs",
            baseline.len(),
            candidate.len()
        );
        return Err((Verdict::Incomparable, reason));
    }
    if pairs.better == Better::Neutral {
        let reason = format!("`{name}` has no better direction, so nothing of it can be worse");
        return Err((Verdict::Incomparable, reason));
    }
    let both = baseline.iter().zip(candidate).zip(1_usize..);
    let change = |((baseline, candidate), pair): ((&Option<f64>, &Option<f64>), usize)| {
        let change = || {
            worsening(pairs.better, (*baseline)?, (*candidate)?).filter(|change| change.is_finite())
        };
        change().ok_or_else(|| (Verdict::Broken, unfit(name, pair, *baseline, *candidate)))
    };
    let floor = match pairs.history_sd {
        None => None,
        Some(sd) if (0.0..=MOST_SD).contains(&sd) => {
            let earlier = pairs.history_pairs.unwrap_or(rule.history.long.pairs as usize);
            trust(&rule.history, earlier).map(|df| believed(&rule.history, sd, df))
        }
        Some(sd) => {
            let reason = format!(
                "`history_sd` of `{name}` is {sd:?}; the standard deviation of a log-ratio lies \
                 between 0 and {MOST_SD}"
            );
            return Err((Verdict::Broken, reason));
        }
    };
    let changes = both.map(change).collect::<Result<_, _>>()?;
    Ok(Series { name: name.to_owned(), class: pairs.class, changes, floor })
}

/// Which value of a pair is no measurement.
fn unfit(name: &str, pair: usize, baseline: Option<f64>, candidate: Option<f64>) -> String {
    let fit = |value: Option<f64>| value.is_some_and(|value| value.is_finite() && 0.0 < value);
    let (side, value) =
        if fit(baseline) { ("candidate", candidate) } else { ("baseline", baseline) };
    match value {
        Some(value) => {
            format!(
                "`{name}`: the {side} of pair {pair} is {value}; a ratio takes values above zero"
            )
        }
        None => format!("`{name}`: the {side} of pair {pair} is no number"),
    }
}

fn reason(rule: &Rule, file: &PairsFile, decision: &Decision) -> String {
    let shifts = |wanted: fn(&Estimate) -> bool| {
        let last = decision.looks.last().map_or(&[][..], |look| &look.metrics);
        let told = last.iter().filter(|estimate| wanted(estimate)).map(|estimate| {
            let better = file.metrics.get(&estimate.metric).map_or(Better::Neutral, |m| m.better);
            format!("{} {}", estimate.metric, words::shift(better, estimate))
        });
        told.collect::<Vec<_>>().join("; ")
    };
    words::because(
        rule,
        decision.verdict,
        &decision.state,
        decision.pairs,
        &words::Named {
            regressed: shifts(|estimate| estimate.regressed),
            improved: shifts(|estimate| estimate.improved),
            open: shifts(|estimate| !estimate.regressed && !estimate.equivalent),
        },
    )
}
