//! What earlier sessions of a key say of its noise.

use std::collections::BTreeMap;

use domain::gate::{Rule, Side};
use domain::metric::Metric;
use domain::summary::RunSummary;

use super::key::segment_breaks;
use super::noise::{Floor, Past, floor};
use super::pairs::{Pair, pair_up, worsening};

/// Earlier sessions of a key, made on what is the same machine and software.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct History {
    /// Of each metric, its sessions, the newest last.
    sessions: BTreeMap<Metric, Vec<Past>>,
    /// Why older sessions do not count, if any were left out.
    cut: Option<String>,
}

impl History {
    /// No history: the session's own spread is all that is known.
    pub fn none() -> Self {
        Self::default()
    }

    /// The history that stored runs are for a run of now. Runs of a session stand together, the
    /// newest session last. Sessions before a change of host, kernel or driver are left out.
    pub fn of(stored: &[&RunSummary], now: &RunSummary) -> Self {
        let mut history = Self::none();
        let of_one_session = |a: &&RunSummary, b: &&RunSummary| a.session == b.session;
        let sessions: Vec<&[&RunSummary]> = stored.chunk_by(of_one_session).collect();
        let mut first = sessions.len();
        for session in sessions.iter().rev() {
            let breaks = segment_breaks(&session[0].environment, &now.environment);
            if !breaks.is_empty() {
                history.cut = Some(breaks.join(", "));
                break;
            }
            first -= 1;
        }
        let sessions: Vec<Session<'_>> =
            sessions[first..].iter().map(|session| Session::of(session)).collect();
        for metric in Metric::all() {
            let past = sessions.iter().filter_map(|session| session.past(metric));
            history.sessions.insert(metric, past.collect());
        }
        history
    }

    /// The floor under a metric's variance; none while the history is short.
    pub fn floor(&self, rule: &Rule, metric: Metric) -> Option<Floor> {
        floor(&rule.history, self.of_metric(metric))
    }

    /// Earlier pairs of a metric that the rule looks back at.
    pub fn pairs(&self, rule: &Rule, metric: Metric) -> usize {
        let sessions = self.of_metric(metric);
        let kept = sessions.len().saturating_sub(rule.history.sessions as usize);
        sessions[kept..].iter().map(Past::pairs).sum()
    }

    /// Why older sessions do not count, if any were left out.
    pub fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    fn of_metric(&self, metric: Metric) -> &[Past] {
        self.sessions.get(&metric).map_or(&[], Vec::as_slice)
    }
}

/// One stored session: the pairs of an experiment, or the runs of one side.
struct Session<'a> {
    pairs: Vec<Pair<'a>>,
    runs: Vec<&'a RunSummary>,
}

impl<'a> Session<'a> {
    fn of(session: &[&'a RunSummary]) -> Self {
        let (pairs, _) = pair_up(session);
        let counts = |run: &&RunSummary| {
            run.arm.is_none_or(|arm| arm.side == Side::Baseline && 0 < arm.pair)
        };
        Self { pairs, runs: session.iter().copied().filter(counts).collect() }
    }

    /// A metric's part in it; none where no run has it.
    fn past(&self, metric: Metric) -> Option<Past> {
        let better = metric.card().better;
        if !self.pairs.is_empty() {
            let change = |(baseline, candidate): &Pair<'_>| {
                worsening(better, baseline.metric(metric)?, candidate.metric(metric)?)
            };
            let changes: Vec<f64> = self.pairs.iter().filter_map(change).collect();
            return (!changes.is_empty()).then_some(Past::Pairs(changes));
        }
        let values = self.runs.iter().filter_map(|run| run.metric(metric));
        let logs: Vec<f64> = values.filter(|value| 0.0 < *value).map(f64::ln).collect();
        (!logs.is_empty()).then_some(Past::Runs(logs))
    }
}
