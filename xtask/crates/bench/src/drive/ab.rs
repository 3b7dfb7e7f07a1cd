//! `judge` after a pair of an experiment: what the runs so far say, and whether that is enough.

mod cool_down;
mod recorded;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use domain::event::{FailureClass, Judgement, Outcome, StepFailure};
use domain::gate::{Basis, Rule};
use domain::summary::RunSummary;
use domain::verdict::Verdict;
use skill::Restart;
use stats::gate::{self, History};

use self::recorded::Recorded;
use super::failed;
use crate::baselines::{self, Baseline};
use crate::session::Session;
use crate::store::write_new_json;

pub(super) use cool_down::cool_down;

/// The file in the session's folder that holds the history of its key, as it was at the first
/// look: a baseline that is accepted meanwhile does not change what a resumed experiment decides.
const HISTORY: &str = "history.json";

/// Looks at the pairs up to this one, and says how the experiment stands.
pub(super) fn look(session: &Session, pair: u32, rule: &Rule) -> Result<Outcome, StepFailure> {
    let recorded = Recorded::up_to(&session.plan, &session.recorder.entries(), pair);
    let left_out = sequencer::experiment::left_out(&recorded.failed);
    let counts = |run: &&RunSummary| run.arm.is_some_and(|arm| !left_out.contains(&arm.pair));
    let runs: Vec<&RunSummary> = recorded.runs.iter().filter(counts).collect();
    let history = history(session, &runs);
    let history = history.map_err(|error| failed(FailureClass::Storage, error))?;
    let judged = gate::judge_interleaved(rule, &runs, &history, basis(session));
    let last = session.plan.experiment().is_some_and(|experiment| experiment.pairs <= pair);
    let mut judgement = match sequencer::experiment::refusal(&recorded.failed) {
        Some((verdict, reason)) => refused(judged, &runs, verdict, reason),
        None if last && judged.next_look.is_some() => {
            let reason = format!("too few pairs are left to decide; {}", told(&left_out));
            refused(judged, &runs, Verdict::Broken, reason)
        }
        None => judged,
    };
    judgement.notes.extend((!left_out.is_empty()).then(|| told(&left_out)));
    let standing = gate::standing(rule, &runs, &history);
    let shown = report::experiment::standing(rule, &standing);
    session.recorder.with_ui(|ui| ui.line(&shown));
    let decided = judgement.next_look.is_none();
    Ok(Outcome::Looked { pair, decided, judgement: Box::new(judgement) })
}

/// Which pairs are left out.
fn told(left_out: &BTreeSet<u32>) -> String {
    let pairs: Vec<_> = left_out.iter().map(ToString::to_string).collect();
    format!("left out, because the load client failed in them: pairs {}", pairs.join(", "))
}

/// How the sides were measured.
pub fn basis(session: &Session) -> Basis {
    match session.plan.experiment().map(|experiment| experiment.restart) {
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
        // One that cannot be used costs power and no error rate.
        let stored = baselines::stored(&session.results, &gate::key(run)).unwrap_or_default();
        write_new_json(&file, &stored)?;
    }
    let text = std::fs::read(&file).context("cannot read the session's history")?;
    let stored: Option<Baseline> =
        serde_json::from_slice(&text).context("the session's history is damaged")?;
    Ok(stored.map_or_else(History::none, |baseline| History::of(&baseline.runs(), run)))
}
