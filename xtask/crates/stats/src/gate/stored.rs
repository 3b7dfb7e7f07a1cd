//! Runs of now against a stored baseline.
//!
//! Sessions differ by more than the runs in them do: the same commit measured on another night is
//! easily 4 % faster or slower. So a stored baseline may clear a change, with the spread between
//! sessions taken into account, and fails one only where that was asked for.

use std::collections::BTreeMap;

use domain::event::{Judgement, MetricJudgement};
use domain::gate::{Basis, Class, Estimate, Rule, Side};
use domain::metric::{Better, Metric};
use domain::summary::RunSummary;
use domain::verdict::Verdict;

use super::history::History;
use super::judge::{broken, judge_pairs, metric_judgement, obstacle, values};
use super::key::{key, segment_breaks};
use super::pairs::{Pair, sign};
use super::{noise::median, student, words};

/// Runs that a session must have to stand for itself.
const FEWEST_RUNS: usize = 3;

/// Logarithms of values that differ by less are those of one value, written and read again.
const SAME_LEVEL: f64 = 1e-9;

/// What a stored baseline may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredMay {
    /// Clear a change.
    Clear,
    /// Also fail one, at an error rate that nobody knows.
    ClearOrFail,
}

/// Judges runs by the stored runs of their key; runs of a session stand together, the newest
/// session last. Of an experiment the candidate's runs are judged, and the candidate's runs are
/// what a stored experiment says of its key. No more sessions are looked back at than the rule
/// says.
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
    let stored = newest_sessions(stored, rule.history.sessions as usize);
    let (standing, judged) = (standing(stored), standing(candidate));
    let sides = Sides { rule, stored: &standing, candidate: &judged, basis };
    if let Some((verdict, reason)) = sides.obstacle() {
        return sides.judgement(verdict, reason, |_| None);
    }
    let mut judgement = match may {
        StoredMay::Clear => sides.screened(),
        StoredMay::ClearOrFail => sides.judged(stored),
    };
    judgement.notes.extend(sides.breaks());
    judgement
}

/// The runs of the newest sessions.
fn newest_sessions<'a, 'b>(runs: &'b [&'a RunSummary], most: usize) -> &'b [&'a RunSummary] {
    let sessions: Vec<_> = runs.chunk_by(|a, b| a.session == b.session).collect();
    let older = sessions.len().saturating_sub(most);
    let skipped: usize = sessions[..older].iter().map(|session| session.len()).sum();
    &runs[skipped..]
}

/// The runs that show where their key stands: of an experiment those of the candidate.
fn standing<'a>(runs: &[&'a RunSummary]) -> Vec<&'a RunSummary> {
    let stands =
        |run: &&RunSummary| run.arm.is_none_or(|arm| arm.side == Side::Candidate && 0 < arm.pair);
    runs.iter().copied().filter(stands).collect()
}

/// Where a session lies among earlier ones, by a one-sided prediction bound for one more session;
/// none where fewer than two are known. `past` and `now` are levels: medians of the logarithms of
/// a session's runs, the sign turned so that more is worse.
///
/// The mean and the plain standard deviation are used: an odd session widens the bound and clears
/// less.
pub fn clearance(
    rule: &Rule,
    name: &str,
    class: Class,
    past: &[f64],
    now: f64,
) -> Option<Estimate> {
    let count = past.len() as f64;
    let df = u32::try_from(past.len()).ok()?.checked_sub(1).filter(|df| 0 < *df)?;
    let mean = past.iter().sum::<f64>() / count;
    let squares: f64 = past.iter().map(|level| (level - mean).powi(2)).sum();
    let sd = (squares / f64::from(df)).sqrt().max(rule.history.least_sd);
    let change = now - mean;
    let se = sd * (1.0 + 1.0 / count).sqrt();
    let reach = student::quantile(1.0 - rule.beta, df)? * se;
    Some(Estimate {
        metric: name.to_owned(),
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
        equivalent: change + reach < rule.limits(class).tolerance,
    })
}

/// What stored runs let one expect of a session that is compared with them, on one line.
pub fn stored_foresight(rule: &Rule, stored: &[&RunSummary]) -> String {
    let stored = standing(newest_sessions(stored, rule.history.sessions as usize));
    let sides = Sides { rule, stored: &stored, candidate: &[], basis: Basis::Stored };
    let (sessions, needed) = (sides.sessions().len(), rule.history.sessions_to_clear as usize);
    let count = words::count(sessions, "stored session");
    if sessions < needed {
        return format!("{count} of the {needed} that it takes to clear a change");
    }
    match sides.chance() {
        Some(chance) => format!(
            "{count} clear unchanged code with a chance of {:.0} %; they never fail a change",
            chance * 100.0
        ),
        None => format!("{count}, some without a metric that decides: they clear nothing"),
    }
}

/// Where a session stands, as [`clearance`] takes it; none without runs, or where a value is not
/// above zero.
pub fn level(better: Better, values: &[f64]) -> Option<f64> {
    let sign = sign(better)?;
    let measured = |value: &f64| value.is_finite() && 0.0 < *value;
    values.iter().all(measured).then_some(())?;
    median(&values.iter().map(|value| sign * value.ln()).collect::<Vec<_>>())
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
        if let Some(metric) =
            self.rule.metrics.iter().find(|m| self.level(**m, self.candidate).is_none())
        {
            let reason = format!("`{}` of a run is not there, or not above zero", metric.key());
            return Some((Verdict::Broken, reason));
        }
        if self.stored.is_empty() {
            let reason =
                "no stored run of this key; `baseline accept` makes this session the first";
            return Some((Verdict::MissingBaseline, reason.to_owned()));
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
                "{} of the {needed} that show how sessions differ; `ab` measures the baseline again",
                words::count(sessions, "stored session")
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
        judgement.notes.extend(self.without_spread());
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

    /// The metrics of which every stored session has the same value, so that the verdict rests on
    /// the spread that is taken for the least: values that were made up, or copied, look like that.
    fn without_spread(&self) -> Option<String> {
        let same = |metric: &&Metric| {
            let levels = self.levels(**metric);
            levels.windows(2).all(|two| (two[0] - two[1]).abs() < SAME_LEVEL)
        };
        let names: Vec<String> =
            self.rule.metrics.iter().filter(same).map(ToString::to_string).collect();
        (!names.is_empty()).then(|| {
            format!(
                "zero variance: the stored sessions do not differ in {}; {} % is taken for the \
                 spread between sessions",
                names.join(", "),
                self.rule.history.least_sd * 100.0
            )
        })
    }

    /// Where each stored session lies.
    fn levels(&self, metric: Metric) -> Vec<f64> {
        self.sessions().into_iter().filter_map(|runs| self.level(metric, runs)).collect()
    }

    /// Where the candidate lies among the stored sessions.
    fn estimate(&self, metric: Metric) -> Option<Estimate> {
        let past = self.levels(metric);
        let now = self.level(metric, self.candidate)?;
        clearance(self.rule, metric.key(), Class::of(metric), &past, now)
    }

    /// Chance that one more session of unchanged code is cleared, metrics taken as independent.
    fn chance(&self) -> Option<f64> {
        let one = |metric: &Metric| {
            let past = self.levels(*metric);
            let mean = past.iter().sum::<f64>() / past.len() as f64;
            let found = clearance(self.rule, metric.key(), Class::of(*metric), &past, mean)?;
            let room = self.rule.limits(found.class).tolerance - found.upper;
            student::below(room / found.se, found.df)
        };
        self.rule.metrics.iter().map(one).product()
    }

    fn level(&self, metric: Metric, runs: &[&RunSummary]) -> Option<f64> {
        let known: Option<Vec<f64>> = runs.iter().map(|run| run.metric(metric)).collect();
        level(metric.card().better, &known?)
    }

    /// The rule of pairs, on runs that were no pairs.
    fn judged(&self, stored: &[&RunSummary]) -> Judgement {
        let (newest, candidate) = (self.newest_session(), self.candidate);
        let pairs: Vec<Pair<'_>> = newest.iter().copied().zip(candidate.iter().copied()).collect();
        let history = History::of(stored, pairs[0].1);
        let mut judgement = judge_pairs(self.rule, &pairs, &history, self.basis);
        if newest.len() != candidate.len() {
            judgement.notes.push(format!(
                "left out: the baseline's newest session has {} and this one {}; {} can be made",
                words::count(newest.len(), "run"),
                words::count(candidate.len(), "run"),
                words::count(pairs.len(), "pair"),
            ));
        }
        judgement
    }

    /// What became different between the newest stored session and this one and is neither under
    /// test nor forbidden to change.
    fn breaks(&self) -> Option<String> {
        let (old, new) = (self.newest_session().first()?, self.candidate.first()?);
        let breaks = segment_breaks(&old.environment, &new.environment);
        (!breaks.is_empty())
            .then(|| format!("since the newest stored session: {}", breaks.join(", ")))
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
