//! Runs of now against a stored baseline.
//!
//! Sessions differ by more than the runs in them do: the same commit measured on another night is
//! easily 4 % faster or slower. So a stored baseline may clear a change, with the spread between
//! sessions taken into account, and fails one only where that was asked for.

use std::collections::BTreeMap;

use domain::event::{Judgement, MetricJudgement};
use domain::gate::{Basis, Class, Estimate, Rule, Side};
use domain::metric::Metric;
use domain::summary::RunSummary;
use domain::verdict::Verdict;

use super::history::History;
use super::judge::{broken, judge_pairs, metric_judgement, obstacle, values};
use super::key::key;
use super::pairs::{Pair, sign};
use super::{noise::median, student, words};

/// Runs that a session must have to stand for itself.
const FEWEST_RUNS: usize = 3;

/// What a stored baseline may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredMay {
    /// Clear a change.
    Clear,
    /// Also fail one, at an error rate that nobody knows.
    ClearOrFail,
}

/// Judges runs by the stored runs of their key; runs of a session stand together, the newest
/// session last.
pub fn judge_stored(
    rule: &Rule,
    stored: &[&RunSummary],
    candidate: &[&RunSummary],
    may: StoredMay,
) -> Judgement {
    let basis = match may {
        StoredMay::Clear => Basis::Stored,
        StoredMay::ClearOrFail => Basis::StoredAllowed,
    };
    let standing: Vec<&RunSummary> = stored.iter().copied().filter(|run| stands(run)).collect();
    let sides = Sides { rule, stored: &standing, candidate, basis };
    if let Some((verdict, reason)) = sides.obstacle() {
        return sides.judgement(verdict, reason, |_| None);
    }
    match may {
        StoredMay::Clear => sides.screened(),
        StoredMay::ClearOrFail => {
            let newest = sides.newest_session();
            let pairs: Vec<Pair<'_>> =
                newest.iter().copied().zip(candidate.iter().copied()).collect();
            let history = History::of(stored, pairs[0].1);
            judge_pairs(rule, &pairs, &history, basis)
        }
    }
}

/// Whether a stored run shows where its key stood: of an experiment that was accepted that is the
/// candidate.
fn stands(run: &RunSummary) -> bool {
    run.arm.is_none_or(|arm| arm.side == Side::Candidate && 0 < arm.pair)
}

/// The judgement on runs that nothing can be said of, with what was measured.
pub fn refuse(
    rule: &Rule,
    candidate: &[&RunSummary],
    verdict: Verdict,
    reason: String,
) -> Judgement {
    let sides = Sides { rule, stored: &[], candidate, basis: Basis::Stored };
    sides.judgement(verdict, reason, |_| None)
}

/// Both sides and the rule.
struct Sides<'a> {
    rule: &'a Rule,
    stored: &'a [&'a RunSummary],
    candidate: &'a [&'a RunSummary],
    basis: Basis,
}

impl<'a> Sides<'a> {
    /// Why the sides cannot be compared, the gravest first.
    fn obstacle(&self) -> Option<(Verdict, String)> {
        let Some(first) = self.candidate.first() else {
            return Some((Verdict::Broken, "there is no run to judge".to_owned()));
        };
        if let Some(broken) = broken(self.candidate.iter().copied()) {
            return Some(broken);
        }
        if self.stored.is_empty() {
            return Some((Verdict::MissingBaseline, "no stored run of this key".to_owned()));
        }
        let newest = self.newest_session();
        let mut pairs: Vec<Pair<'_>> =
            newest.iter().copied().zip(self.candidate.iter().copied()).collect();
        // Every stored session must be the same experiment, not only the newest.
        pairs.extend(self.sessions().iter().map(|session| (session[0], *first)));
        obstacle(&pairs)
    }

    /// Whether the candidate lies within what another session of the same build would give.
    fn screened(&self) -> Judgement {
        let (sessions, needed) = (self.sessions().len(), self.rule.history.sessions_to_clear);
        let few_runs = self.candidate.len() < FEWEST_RUNS;
        let reason = if few_runs {
            format!("fewer than {FEWEST_RUNS} runs to judge: {}", self.candidate.len())
        } else if sessions < needed as usize {
            format!(
                "{sessions} stored session of the {needed} that show how sessions differ; `ab` measures the baseline again"
            )
        } else {
            String::new()
        };
        if !reason.is_empty() {
            return self.judgement(Verdict::Inconclusive, reason, |_| None);
        }
        let estimates: BTreeMap<Metric, Option<Estimate>> =
            self.rule.metrics.iter().map(|metric| (*metric, self.estimate(*metric))).collect();
        let clear = |estimate: &Option<Estimate>| {
            estimate.as_ref().is_some_and(|estimate| estimate.equivalent)
        };
        let verdict =
            if estimates.values().all(clear) { Verdict::Pass } else { Verdict::Inconclusive };
        let mut judgement = self
            .judgement(verdict, String::new(), |metric| estimates.get(&metric).cloned().flatten());
        judgement.reason = self.reason(verdict, sessions, &judgement.metrics);
        judgement
    }

    fn reason(&self, verdict: Verdict, sessions: usize, metrics: &[MetricJudgement]) -> String {
        if verdict == Verdict::Pass {
            return format!(
                "within what {sessions} stored sessions lead to expect, {} % sure",
                (1.0 - self.rule.beta) * 100.0
            );
        }
        let open = metrics.iter().filter(|judged| judged.verdict == Verdict::Inconclusive);
        let open: Vec<_> = open.map(words::line).collect();
        format!(
            "not cleared by {sessions} stored sessions: {}; `ab` measures the baseline again",
            open.join("; ")
        )
    }

    /// Where the candidate lies among the stored sessions, by a one-sided prediction bound for one
    /// more session. The mean and the plain standard deviation are used: an odd session widens the
    /// bound and clears less.
    fn estimate(&self, metric: Metric) -> Option<Estimate> {
        let sign = sign(metric.card().better)?;
        let level = |runs: &[&RunSummary]| {
            let logs: Option<Vec<f64>> = runs
                .iter()
                .map(|run| Some(run.metric(metric).filter(|v| 0.0 < *v)?.ln()))
                .collect();
            median(&logs?)
        };
        let past: Vec<f64> = self.sessions().into_iter().filter_map(level).collect();
        let count = past.len() as f64;
        let df = u32::try_from(past.len()).ok()?.checked_sub(1).filter(|df| 0 < *df)?;
        let mean = past.iter().sum::<f64>() / count;
        let squares: f64 = past.iter().map(|level| (level - mean).powi(2)).sum();
        let sd = (squares / f64::from(df)).sqrt().max(self.rule.history.least_sd);
        let change = sign * (level(self.candidate)? - mean);
        let se = sd * (1.0 + 1.0 / count).sqrt();
        let reach = student::quantile(1.0 - self.rule.beta, df)? * se;
        let class = Class::of(metric);
        Some(Estimate {
            metric: metric.key().to_owned(),
            class,
            estimate: change,
            se,
            df,
            p: student::above(change / se, df)?,
            p_better: student::below(change / se, df)?,
            alpha: 0.0,
            lower: change - reach,
            upper: change + reach,
            history_sd: Some(sd),
            clamped: Vec::new(),
            regressed: false,
            improved: false,
            equivalent: change + reach < self.rule.limits(class).tolerance,
        })
    }

    fn judgement(
        &self,
        verdict: Verdict,
        reason: String,
        estimate: impl Fn(Metric) -> Option<Estimate>,
    ) -> Judgement {
        let judged = |metric: &Metric| {
            let estimate = estimate(*metric);
            let own = match &estimate {
                Some(estimate) if estimate.equivalent => Verdict::Pass,
                Some(_) => Verdict::Inconclusive,
                None => verdict,
            };
            let sides = [self.newest_session(), self.candidate]
                .map(|runs| values(*metric, runs.iter().copied()));
            metric_judgement(*metric, own, sides, estimate)
        };
        let first = self.candidate.first().or(self.stored.first());
        Judgement {
            key: first.map_or_else(String::new, |run| key(run)),
            verdict,
            reason,
            metrics: self.rule.metrics.iter().map(judged).collect(),
            reported: Vec::new(),
            basis: Some(self.basis),
            pairs: 0,
            looks: Vec::new(),
            next_look: None,
            notes: words::notes(self.rule, &[], &History::none(), self.basis, &[]),
        }
    }

    fn sessions(&self) -> Vec<&'a [&'a RunSummary]> {
        self.stored.chunk_by(|a, b| a.session == b.session).collect()
    }

    fn newest_session(&self) -> &'a [&'a RunSummary] {
        self.sessions().last().copied().unwrap_or(&[])
    }
}
