//! The gate's own words: why a verdict is what it is, and what a reader must know to weigh it.

use domain::event::MetricJudgement;
use domain::gate::{Basis, Estimate, Rule};
use domain::metric::Better;
use domain::verdict::Verdict;

use super::decide::State;
use super::history::History;
use super::pairs::{Pair, sign};

/// A change and its bounds in percent, in the metric's own direction: more is more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percent {
    /// The change.
    pub change: f64,
    /// Its lower bound.
    pub low: f64,
    /// Its upper bound.
    pub high: f64,
}

/// An estimate as people read it; none for a metric that has no better direction.
pub fn percent(better: Better, estimate: &Estimate) -> Option<Percent> {
    let sign = sign(better)?;
    let percent = |change: f64| (sign * change).exp_m1() * 100.0;
    let (a, b) = (percent(estimate.lower), percent(estimate.upper));
    Some(Percent { change: percent(estimate.estimate), low: a.min(b), high: a.max(b) })
}

/// `+4.2 % [+2.6, +5.8], p = 2.0e-5`, the bounds being one-sided at 95 % each.
pub fn shift(better: Better, estimate: &Estimate) -> String {
    match percent(better, estimate) {
        Some(Percent { change, low, high }) => {
            format!("{change:+.1} % [{low:+.1}, {high:+.1}], p = {:.1e}", estimate.p_told())
        }
        None => "no better direction".to_owned(),
    }
}

/// A judged metric on one line, without its verdict: `Mean TPOT +4.2 % [+2.6, +5.8], p = 2.0e-5`.
pub fn line(judged: &MetricJudgement) -> String {
    let better = judged.metric.card().better;
    match (&judged.estimate, judged.change) {
        (Some(estimate), _) => format!("{} {}", judged.metric, shift(better, estimate)),
        (None, Some(change)) => format!("{} {:+.1} %", judged.metric, change * 100.0),
        (None, None) => judged.metric.to_string(),
    }
}

/// The metrics behind a verdict, as text; empty where there is none.
pub(super) struct Named {
    /// Surely worse.
    pub(super) regressed: String,
    /// Surely better.
    pub(super) improved: String,
    /// Neither surely worse nor surely equal.
    pub(super) open: String,
}

/// Why the verdict of runs is what it is, on one line.
pub(super) fn reason(
    rule: &Rule,
    verdict: Verdict,
    state: &State,
    pairs: u32,
    metrics: &[MetricJudgement],
) -> String {
    let named = |verdict: Verdict| {
        let of_verdict = metrics.iter().filter(|judged| judged.verdict == verdict);
        of_verdict.map(line).collect::<Vec<_>>().join("; ")
    };
    let named = Named {
        regressed: named(Verdict::Regressed),
        improved: named(Verdict::Improved),
        open: named(Verdict::Inconclusive),
    };
    because(rule, verdict, state, pairs, &named)
}

/// Why a verdict is what it is, on one line.
pub(super) fn because(
    rule: &Rule,
    verdict: Verdict,
    state: &State,
    pairs: u32,
    named: &Named,
) -> String {
    let sure = (1.0 - rule.beta) * 100.0;
    let (mean, tail) = (rule.mean.tolerance * 100.0, rule.tail.tolerance * 100.0);
    let kept = format!("no metric is worse by {mean} % (tails {tail} %), {sure} % sure");
    let open = if named.open.is_empty() { String::new() } else { format!(": {}", named.open) };
    let pairs_used = counted(pairs);
    match (verdict, state) {
        (_, State::NoSpread { metric }) => format!(
            "zero variance: `{metric}` is the same in all {pairs} pairs and has no history, so no chance can be computed"
        ),
        (Verdict::Pass, _) => format!("{kept}, {pairs_used}"),
        (Verdict::Improved, _) => format!("better, {pairs_used}: {}; {kept}", named.improved),
        (Verdict::Regressed, _) => format!("worse, {pairs_used}: {}", named.regressed),
        (_, State::Open { next_look }) => {
            format!("{pairs_used} so far, the next look takes {next_look}{open}")
        }
        (_, State::Exhausted | State::Decided) => format!("{pairs_used} do not decide{open}"),
    }
}

/// What a reader must know besides.
pub(super) fn notes(
    rule: &Rule,
    pairs: &[Pair<'_>],
    history: &History,
    basis: Basis,
    metrics: &[MetricJudgement],
) -> Vec<String> {
    let mut notes: Vec<String> = basis.cost().map(str::to_owned).into_iter().collect();
    notes.extend(changed_rule(rule));
    if let Some(cut) = history.cut() {
        notes.push(format!("older sessions do not count as history: {cut}"));
    }
    let cold = metrics.iter().filter(|judged| {
        judged.estimate.as_ref().is_some_and(|estimate| estimate.history_sd.is_none())
    });
    let cold: Vec<_> = cold.map(|judged| judged.metric.to_string()).collect();
    if !cold.is_empty() {
        let known = rule.metrics.iter().map(|metric| history.pairs(rule, *metric)).min();
        notes.push(format!(
            "cold start: {} earlier pairs, a history takes {}; without one the gate finds less ({})",
            known.unwrap_or(0),
            rule.history.short.pairs,
            cold.join(", ")
        ));
    }
    let clamps =
        metrics.iter().filter_map(|judged| Some((judged.metric, judged.estimate.as_ref()?)));
    notes.extend(clamps.flat_map(|(metric, estimate)| clamped(&metric.to_string(), estimate)));
    notes.extend(super::stability::unstable(rule, pairs));
    notes
}

/// The parameters that are not the standard ones, if any.
pub(super) fn changed_rule(rule: &Rule) -> Option<String> {
    let changes = rule.changes();
    (!changes.is_empty()).then(|| format!("not the standard rule: {}", changes.join("; ")))
}

/// Pairs that were drawn in, one line each.
pub(super) fn clamped(name: &str, estimate: &Estimate) -> Vec<String> {
    let percent = |change: f64| change.exp_m1() * 100.0;
    let told = |clamp: &domain::gate::Clamp| {
        format!(
            "clamped: {name} of pair {} from {:+.1} % to {:+.1} % (more is worse)",
            clamp.pair,
            percent(clamp.from),
            percent(clamp.to)
        )
    };
    estimate.clamped.iter().map(told).collect()
}

/// `1 pair`, `2 pairs`.
pub fn counted(pairs: u32) -> String {
    count(pairs as usize, "pair")
}

/// A number of things: `1 run`, `2 runs`.
pub fn count(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}
