//! `judge` after a pair of an experiment: what the runs so far say, and whether that is enough.

mod cool_down;
mod recorded;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, anyhow};
use domain::event::{Entry, FailureClass, Judgement, Outcome, StepFailure};
use domain::gate::{Basis, Rule};
use domain::summary::RunSummary;
use domain::verdict::Verdict;
use skill::{Plan, Restart};
use stats::gate::{self, History};

use self::recorded::Recorded;
use super::failed;
use crate::baselines::{BadBaseline, Baseline, not_used};
use crate::session::Session;
use crate::store::{SessionFolder, write_new_json};

pub(super) use cool_down::cool_down;

/// The file in the session's folder that holds the history of its key, as it was at the first
/// look: a baseline that is accepted meanwhile does not change what a resumed experiment decides.
const HISTORY: &str = "history.json";

/// Looks at the pairs up to this one, and says how the experiment stands.
pub(super) fn look(session: &Session, pair: u32, rule: &Rule) -> Result<Outcome, StepFailure> {
    let measured = Measured::up_to(&session.plan, &session.recorder.entries(), pair);
    let history = history(session, &measured.runs());
    let history = history.map_err(|error| failed(FailureClass::Storage, error))?;
    let judgement = measured.judge(rule, &history);
    let standing = gate::standing(rule, &measured.runs(), &history);
    let shown = report::experiment::standing(rule, &standing);
    session.recorder.with_ui(|ui| ui.line(&shown));
    let decided = judgement.next_look.is_none();
    Ok(Outcome::Looked { pair, decided, judgement: Box::new(judgement) })
}

/// What was measured of an experiment, as its journal has it: the same whether the experiment
/// still runs or is looked at again later.
#[derive(Debug)]
pub struct Measured {
    recorded: Recorded,
    left_out: BTreeSet<u32>,
    basis: Basis,
    /// No further pair is planned.
    is_all: bool,
}

impl Measured {
    /// The pairs up to one.
    pub fn up_to(plan: &Plan, entries: &[Entry], pair: u32) -> Self {
        let recorded = Recorded::up_to(plan, entries, pair);
        let left_out = sequencer::experiment::left_out(&recorded.failed);
        let basis = basis(plan.experiment().map(|experiment| experiment.restart));
        let is_all = plan.experiment().is_some_and(|experiment| experiment.pairs <= pair);
        Self { recorded, left_out, basis, is_all }
    }

    /// All pairs of a journal, up to the last one of which anything is known.
    pub fn all(plan: &Plan, entries: &[Entry]) -> Self {
        let planned = plan.experiment().map_or(0, |experiment| experiment.pairs);
        let recorded = Recorded::up_to(plan, entries, planned);
        let saved = recorded.runs.iter().filter_map(|run| Some(run.arm?.pair));
        let failed = recorded.failed.iter().map(|run| run.pair);
        let last = saved.chain(failed).max().unwrap_or(0);
        Self::up_to(plan, entries, last)
    }

    /// The runs that count.
    pub fn runs(&self) -> Vec<&RunSummary> {
        let counts = |run: &&RunSummary| run.arm.is_some_and(|a| !self.left_out.contains(&a.pair));
        self.recorded.runs.iter().filter(counts).collect()
    }

    /// What they say.
    pub fn judge(&self, rule: &Rule, history: &History) -> Judgement {
        let runs = self.runs();
        let judged = gate::judge_interleaved(rule, &runs, history, self.basis);
        let mut judgement = match sequencer::experiment::refusal(&self.recorded.failed) {
            Some((verdict, reason)) => refused(judged, &runs, verdict, reason),
            None if self.is_all && judged.next_look.is_some() => {
                let reason = format!("too few pairs are left to decide; {}", told(&self.left_out));
                refused(judged, &runs, Verdict::Broken, reason)
            }
            None => judged,
        };
        judgement.notes.extend((!self.left_out.is_empty()).then(|| told(&self.left_out)));
        judgement
    }
}

/// Which pairs are left out.
fn told(left_out: &BTreeSet<u32>) -> String {
    let pairs: Vec<_> = left_out.iter().map(ToString::to_string).collect();
    format!("left out, because the load client failed in them: pairs {}", pairs.join(", "))
}

/// How the sides of an experiment were measured.
pub const fn basis(restart: Option<Restart>) -> Basis {
    match restart {
        Some(Restart::Never) => Basis::InterleavedOneStart,
        Some(Restart::PerRun) | None => Basis::Interleaved,
    }
}

/// The judgement of an experiment that a failed run ends. The numbers so far are kept.
fn refused(judged: Judgement, runs: &[&RunSummary], verdict: Verdict, reason: String) -> Judgement {
    let key = runs.last().map_or(judged.key, |run| gate::key(run));
    let mut metrics = judged.metrics;
    metrics.iter_mut().for_each(|metric| metric.verdict = verdict);
    Judgement { key, verdict, reason, metrics, next_look: None, ..judged }
}

/// What earlier sessions of the key say of its noise.
fn history(session: &Session, runs: &[&RunSummary]) -> Result<History> {
    let Some(run) = runs.first() else { return Ok(History::none()) };
    let file = session.folder.path().join(HISTORY);
    if !file.exists() {
        let stored = session.shelf().and_then(|shelf| match shelf.stored(&gate::key(run)) {
            Err(bad @ BadBaseline::Store(_)) => Err(not_used(bad)),
            // One that cannot be used costs power and no error rate.
            stored => Ok(stored.unwrap_or_default()),
        });
        write_new_json(&file, &stored.map_err(|failure| anyhow!(failure.one_line()))?)?;
    }
    Ok(recorded_history(&session.folder, run)?.unwrap_or_default())
}

/// The history that an experiment was judged by; none if it was never looked at.
pub fn recorded_history(folder: &SessionFolder, run: &RunSummary) -> Result<Option<History>> {
    let text = match std::fs::read(folder.path().join(HISTORY)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).context("cannot read the session's history"),
    };
    let stored: Option<Baseline> =
        serde_json::from_slice(&text).context("the session's history is damaged")?;
    let history = |baseline: &Baseline| History::of(&baseline.runs(), run);
    Ok(Some(stored.as_ref().map_or_else(History::none, history)))
}
