//! From runs to a judgement: are the sides one experiment, and if so what does the rule say.

use domain::event::{Judgement, MetricJudgement};
use domain::gate::{Basis, Class, Estimate, Rule};
use domain::metric::Metric;
use domain::summary::RunSummary;
use domain::verdict::Verdict;

use super::decide::{Decision, Series, State, decide, shown};
use super::history::History;
use super::key::{differences, key};
use super::pairs::{Pair, pair_up, sign, worsening};
use super::words;
use crate::samples::Samples;

/// Judges an experiment by its runs so far, which have their `arm` set. While
/// [`Judgement::next_look`] is there, more pairs may decide; otherwise it has ended.
pub fn judge_interleaved(
    rule: &Rule,
    runs: &[&RunSummary],
    history: &History,
    basis: Basis,
) -> Judgement {
    let (pairs, incomplete) = pair_up(runs);
    let mut judgement = judge_pairs(rule, &pairs, history, basis);
    if let Some(first) = incomplete.first() {
        judgement.notes.push(format!(
            "left out: {} of a pair without its other side, the first is pair {first}",
            incomplete.len()
        ));
    }
    judgement
}

/// Judges pairs of runs in the order in which they were measured.
pub fn judge_pairs(rule: &Rule, pairs: &[Pair<'_>], history: &History, basis: Basis) -> Judgement {
    if let Some((verdict, reason)) = obstacle(pairs) {
        return refused(rule, pairs, basis, verdict, reason);
    }
    let decision = series(rule, pairs, history).and_then(|series| {
        decide(rule, &series).map_err(|error| (Verdict::Broken, error.to_string()))
    });
    match decision {
        Ok(decision) => told(rule, pairs, history, basis, decision),
        Err((verdict, reason)) => refused(rule, pairs, basis, verdict, reason),
    }
}

/// Why pairs cannot be judged at all. A server that drops requests is fast, so correctness comes
/// before speed.
pub(super) fn obstacle(pairs: &[Pair<'_>]) -> Option<(Verdict, String)> {
    let differences = differences(pairs);
    if !differences.is_empty() {
        let reason = format!("not the same experiment: {}", differences.join("; "));
        return Some((Verdict::Incomparable, reason));
    }
    let runs = || pairs.iter().flat_map(|(baseline, candidate)| [*baseline, *candidate]);
    broken(runs())
}

/// What makes runs no measurement, on both sides alike.
pub(super) fn broken<'a>(runs: impl Iterator<Item = &'a RunSummary>) -> Option<(Verdict, String)> {
    for run in runs {
        let counts = &run.requests;
        let (failed, completed, asked) = (counts.failed_total(), counts.completed, counts.asked);
        if 0 < failed || completed < asked {
            let reason = format!(
                "requests failed: run {} of session {} completed {completed} of {asked}",
                run.repeat, run.session
            );
            return Some((Verdict::Broken, reason));
        }
    }
    None
}

/// The series of the metrics that decide, or what one of them lacks.
fn series(
    rule: &Rule,
    pairs: &[Pair<'_>],
    history: &History,
) -> Result<Vec<Series>, (Verdict, String)> {
    let one = |metric: &Metric| match one_series(rule, *metric, pairs, history) {
        Ok(series) => Ok(series),
        Err(pair) => Err((
            Verdict::Broken,
            format!("`{}` of pair {pair} is not there, or not above zero", metric.key()),
        )),
    };
    rule.metrics.iter().map(one).collect()
}

/// A metric's series, or the number of the first pair that has no change.
pub(super) fn one_series(
    rule: &Rule,
    metric: Metric,
    pairs: &[Pair<'_>],
    history: &History,
) -> Result<Series, usize> {
    let better = metric.card().better;
    let change = |(baseline, candidate): &Pair<'_>| {
        worsening(better, baseline.metric(metric)?, candidate.metric(metric)?)
    };
    let changes = pairs.iter().zip(1_usize..).map(|(pair, number)| change(pair).ok_or(number));
    Ok(Series {
        name: metric.key().to_owned(),
        class: Class::of(metric),
        changes: changes.collect::<Result<_, _>>()?,
        floor: history.floor(rule, metric),
    })
}

/// The judgement that a decision is.
fn told(
    rule: &Rule,
    pairs: &[Pair<'_>],
    history: &History,
    basis: Basis,
    decision: Decision,
) -> Judgement {
    let Decision { verdict, pairs: used, looks, state } = decision;
    let last = looks.last().map_or(&[][..], |look| &look.metrics);
    let used_pairs = &pairs[..pairs.len().min(used as usize)];
    let judged = rule.metrics.iter().enumerate().map(|(at, metric)| {
        let estimate = last.get(at).cloned();
        let verdict = estimate.as_ref().map_or(verdict, |estimate| of_metric(estimate, verdict));
        of_pairs(*metric, verdict, used_pairs, estimate)
    });
    let metrics: Vec<MetricJudgement> = judged.collect();
    let reported = Metric::KEY.iter().filter(|metric| !rule.metrics.contains(metric));
    let reported = reported.filter_map(|metric| {
        let series = one_series(rule, *metric, used_pairs, history).ok()?;
        let estimate = shown(rule, used, &series);
        let verdict = estimate.as_ref().map_or(Verdict::Inconclusive, |e| of_metric(e, verdict));
        Some(of_pairs(*metric, verdict, used_pairs, estimate))
    });
    let reported = reported.collect();
    let next_look = match state {
        State::Open { next_look } => Some(next_look),
        State::Decided | State::Exhausted | State::NoSpread { .. } => None,
    };
    Judgement {
        key: pairs.first().map_or_else(String::new, |(_, run)| key(run)),
        verdict,
        reason: words::reason(rule, verdict, &state, used, &metrics),
        notes: words::notes(rule, pairs, history, basis, &metrics),
        metrics,
        reported,
        basis: Some(basis),
        pairs: used,
        looks,
        next_look,
    }
}

/// A metric's own verdict. One that is neither surely worse nor surely equal is inconclusive,
/// also where another metric has decided.
pub(super) fn of_metric(estimate: &Estimate, whole: Verdict) -> Verdict {
    match whole {
        Verdict::Broken | Verdict::Incomparable | Verdict::MissingBaseline => whole,
        Verdict::Pass | Verdict::Improved | Verdict::Regressed | Verdict::Inconclusive => {
            match (estimate.regressed, estimate.equivalent, estimate.improved) {
                (true, _, _) => Verdict::Regressed,
                (false, true, true) => Verdict::Improved,
                (false, true, false) => Verdict::Pass,
                (false, false, _) => Verdict::Inconclusive,
            }
        }
    }
}

fn of_pairs(
    metric: Metric,
    verdict: Verdict,
    pairs: &[Pair<'_>],
    estimate: Option<Estimate>,
) -> MetricJudgement {
    let baseline = values(metric, pairs.iter().map(|(baseline, _)| *baseline));
    let candidate = values(metric, pairs.iter().map(|(_, candidate)| *candidate));
    metric_judgement(metric, verdict, [baseline, candidate], estimate)
}

/// The judgement of a metric; its change is that of the estimate, else that of the means.
pub(super) fn metric_judgement(
    metric: Metric,
    verdict: Verdict,
    [baseline, candidate]: [Vec<f64>; 2],
    estimate: Option<Estimate>,
) -> MetricJudgement {
    let mean = |values: &[f64]| Samples::new(values.to_vec()).mean();
    let of_means = || {
        let (old, new) = (mean(&baseline).filter(|old| 0.0 < *old)?, mean(&candidate)?);
        Some(new / old - 1.0)
    };
    let change = match &estimate {
        Some(estimate) => {
            sign(metric.card().better).map(|sign| (sign * estimate.estimate).exp_m1())
        }
        None => of_means(),
    };
    MetricJudgement { metric, verdict, baseline, candidate, change, estimate }
}

pub(super) fn values<'a>(metric: Metric, runs: impl Iterator<Item = &'a RunSummary>) -> Vec<f64> {
    runs.filter_map(|run| run.metric(metric)).collect()
}

/// A judgement without numbers of its own: what was measured is shown, and why it says nothing.
fn refused(
    rule: &Rule,
    pairs: &[Pair<'_>],
    basis: Basis,
    verdict: Verdict,
    reason: String,
) -> Judgement {
    let metrics = rule.metrics.iter().map(|metric| of_pairs(*metric, verdict, pairs, None));
    Judgement {
        key: pairs.first().map_or_else(String::new, |(_, run)| key(run)),
        verdict,
        reason,
        metrics: metrics.collect(),
        reported: Vec::new(),
        basis: Some(basis),
        pairs: u32::try_from(pairs.len()).unwrap_or(u32::MAX),
        looks: Vec::new(),
        next_look: None,
        notes: words::notes(rule, pairs, &History::none(), basis, &[]),
    }
}

#[cfg(test)]
mod tests;
