//! A session as reports see it: the fold of its journal.

use std::path::PathBuf;

use domain::anomaly::Anomaly;
use domain::event::{Entry, Event, Judgement, Outcome, StepFailure, StepIndex, StopRequest};
use domain::exit::Exit;
use domain::facts::{Finding, ServerFacts};
use domain::summary::RunSummary;
use domain::timestamp::Timestamp;

use crate::lines;

/// What a step does that writes reports: it cannot tell in them how it ended itself.
pub(crate) const WRITES_REPORTS: &str = "write-reports";

/// Everything that a report can say of a session.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionView {
    /// The session's id; absent when the journal has no first line.
    pub session: Option<String>,
    /// Version of servegate.
    pub servegate: Option<String>,
    /// When it was opened.
    pub opened: Option<Timestamp>,
    /// When the last line was written.
    pub last: Option<Timestamp>,
    /// How often another process went on with it.
    pub resumed: u32,
    /// Steps that were started or skipped, in the order of the journal.
    pub steps: Vec<StepView>,
    /// Servers that were verified.
    pub servers: Vec<VerifiedServer>,
    /// Runs that were saved.
    pub runs: Vec<SavedRun>,
    /// Findings of health checks that did not forbid measuring, each once.
    pub findings: Vec<Finding>,
    /// Everything unusual: noted by the session, then by its runs, each once.
    pub anomalies: Vec<NotedAnomaly>,
    /// Comparisons with baselines.
    pub judgements: Vec<Judgement>,
    /// Whether a look decided the experiment: what it skips from there on was not needed, and is
    /// no step of the session.
    pub decided: bool,
    /// The comparison across frameworks, relative to the results folder.
    pub comparison: Option<PathBuf>,
    /// Files that were written for people, relative to the results folder.
    pub files: Vec<PathBuf>,
    /// The strongest request to stop.
    pub stop: Option<StopRequest>,
    /// Processes that would not go.
    pub left_behind: Vec<u32>,
    /// How it ended; absent while it runs, and after a crash.
    pub exit: Option<Exit>,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepView {
    /// Position in the plan.
    pub step: StepIndex,
    /// Name, like `sim/smoke#1/measure`; its position where the journal gives none.
    pub name: String,
    /// When it was started last; absent if it was skipped.
    pub started: Option<Timestamp>,
    /// When it ended or was skipped.
    pub ended: Option<Timestamp>,
    /// How it went.
    pub state: StepState,
}

/// How a step went.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    /// It was started, and the journal says no more.
    Running,
    /// It did what it should; what came out of it, in words.
    Succeeded(String),
    /// It failed.
    Failed(StepFailure),
    /// It was not done; why.
    Skipped(String),
}

/// A server that serves.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifiedServer {
    /// The step that verified it.
    pub step: StepIndex,
    /// What it said of itself.
    pub facts: ServerFacts,
}

/// A run whose summary was saved.
#[derive(Clone, Debug, PartialEq)]
pub struct SavedRun {
    /// The step that saved it.
    pub step: StepIndex,
    /// The summary.
    pub summary: RunSummary,
    /// Its file, relative to the results folder.
    pub file: PathBuf,
}

/// A run that was to be made and gave no result that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostRun {
    /// Its place, like `sim/smoke#2`.
    pub place: String,
    /// Why, in words.
    pub why: String,
}

impl LostRun {
    /// What it is a repeat of, like `sim/smoke`.
    pub fn group(&self) -> &str {
        group(&self.place)
    }
}

/// An anomaly and where it was seen.
#[derive(Clone, Debug, PartialEq)]
pub struct NotedAnomaly {
    /// The step, if it belongs to one.
    pub at: Option<String>,
    /// What.
    pub anomaly: Anomaly,
}

impl SessionView {
    /// Reads a journal from its first entry to its last.
    ///
    /// A step that was done again after a crash counts as it ended last.
    pub fn fold(entries: &[Entry]) -> Self {
        let mut view = Self::default();
        for entry in entries {
            view.last = Some(entry.at);
            view.take(entry.at, &entry.event);
        }
        let of_runs = view.runs.iter().flat_map(|run| view.anomalies_of(run));
        let of_runs: Vec<NotedAnomaly> = of_runs.collect();
        of_runs.into_iter().for_each(|noted| view.note(noted));
        view
    }

    /// A step by its position.
    pub fn step(&self, step: StepIndex) -> Option<&StepView> {
        self.steps.iter().find(|known| known.step == step)
    }

    /// Runs that were begun or skipped and gave no result that counts, in the order of the journal.
    pub fn lost_runs(&self) -> Vec<LostRun> {
        let mut lost: Vec<LostRun> = Vec::new();
        for step in &self.steps {
            let here = place(&step.name);
            let of_run = matches!(kind(&step.name), "before-run" | "measure" | "after-run");
            let known = self.runs.iter().any(|run| place(&self.name(run.step)) == here)
                || lost.iter().any(|run| run.place == here);
            let why = match &step.state {
                StepState::Failed(why) => lines::failure(why, lines::LONGEST_IN_TABLE),
                StepState::Skipped(why) => format!("not done: {why}"),
                StepState::Running | StepState::Succeeded(_) => continue,
            };
            if of_run && !known {
                lost.push(LostRun { place: here.to_owned(), why });
            }
        }
        lost
    }

    /// What a saved run is a repeat of, like `sim/smoke`.
    pub fn group_of(&self, run: &SavedRun) -> String {
        group(place(&self.name(run.step))).to_owned()
    }

    fn take(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::SessionOpened { session, servegate, .. } => {
                self.session = Some(session.clone());
                self.servegate = Some(servegate.clone());
                self.opened = Some(at);
            }
            Event::SessionResumed { .. } => self.resumed += 1,
            Event::StepStarted { step, name } => self.start(*step, name, at),
            Event::ServerStarted { .. } | Event::ServerStopped { .. } => {}
            Event::StepSucceeded { step, outcome } => {
                self.end(*step, at, StepState::Succeeded(lines::outcome(outcome)));
                self.keep(*step, outcome);
            }
            Event::StepFailed { step, failure } => {
                self.end(*step, at, StepState::Failed(failure.clone()));
            }
            Event::StepSkipped { .. } if self.decided => {}
            Event::StepSkipped { step, name, reason } => {
                name.clone_into(&mut self.entry(*step).name);
                self.end(*step, at, StepState::Skipped(reason.clone()));
            }
            Event::AnomalyNoted { step, anomaly } => {
                let name = step.map(|step| self.name(step));
                self.note(NotedAnomaly { at: name, anomaly: anomaly.clone() });
            }
            Event::StopRequested { by } => self.stop = self.stop.max(Some(*by)),
            Event::CleanupStarted => {}
            Event::CleanupFinished => self.left_behind.clear(),
            Event::CleanupFailed { pids } => self.left_behind.clone_from(pids),
            Event::SessionClosed { exit } => self.exit = Exit::from_code(*exit),
        }
    }

    fn keep(&mut self, step: StepIndex, outcome: &Outcome) {
        match outcome {
            Outcome::GpuHealthy { findings, .. } => {
                let new = |finding: &&Finding| !self.findings.contains(finding);
                let new: Vec<_> = findings.iter().filter(new).cloned().collect();
                self.findings.extend(new);
            }
            Outcome::ServerVerified { server } => {
                self.servers.retain(|known| known.step != step);
                self.servers.push(VerifiedServer { step, facts: (**server).clone() });
            }
            Outcome::Saved { summary, file } => {
                self.runs.retain(|known| known.step != step);
                self.runs.push(SavedRun { step, summary: (**summary).clone(), file: file.clone() });
            }
            Outcome::Compared { file } => self.comparison = Some(file.clone()),
            Outcome::Judged { judgements } => self.judgements.clone_from(judgements),
            // Each look holds all that the ones before it saw.
            Outcome::Looked { judgement, decided, .. } => {
                self.judgements = vec![(**judgement).clone()];
                self.decided |= *decided;
            }
            Outcome::Reported { files } => self.files.clone_from(files),
            Outcome::Launched { .. }
            | Outcome::Prepared { .. }
            | Outcome::Measured { .. }
            | Outcome::Stopped => {}
        }
    }

    fn start(&mut self, step: StepIndex, name: &str, at: Timestamp) {
        let view = self.entry(step);
        name.clone_into(&mut view.name);
        (view.started, view.ended, view.state) = (Some(at), None, StepState::Running);
    }

    fn end(&mut self, step: StepIndex, at: Timestamp, state: StepState) {
        let view = self.entry(step);
        (view.ended, view.state) = (Some(at), state);
    }

    /// The step's view, made where the journal did not tell of its start.
    fn entry(&mut self, step: StepIndex) -> &mut StepView {
        let known = self.steps.iter().position(|known| known.step == step);
        let at = known.unwrap_or(self.steps.len());
        if known.is_none() {
            let name = lines::unnamed(step);
            let state = StepState::Running;
            self.steps.push(StepView { step, name, started: None, ended: None, state });
        }
        &mut self.steps[at]
    }

    fn name(&self, step: StepIndex) -> String {
        self.step(step).map_or_else(|| lines::unnamed(step), |known| known.name.clone())
    }

    fn anomalies_of(&self, run: &SavedRun) -> Vec<NotedAnomaly> {
        let at = self.name(run.step);
        let noted =
            |anomaly: &Anomaly| NotedAnomaly { at: Some(at.clone()), anomaly: anomaly.clone() };
        run.summary.anomalies.iter().map(noted).collect()
    }

    /// A session notes what its runs note too; whoever says it first, in one place, stands.
    fn note(&mut self, noted: NotedAnomaly) {
        let place = |noted: &NotedAnomaly| noted.at.as_deref().map(place).map(str::to_owned);
        let known =
            |known: &NotedAnomaly| known.anomaly == noted.anomaly && place(known) == place(&noted);
        if !self.anomalies.iter().any(known) {
            self.anomalies.push(noted);
        }
    }
}

/// Where a step is done: its name without what it does, like `sim/smoke#1`.
pub(crate) fn place(step_name: &str) -> &str {
    step_name.rsplit_once('/').map_or(step_name, |(place, _)| place)
}

/// The place of a run without the number of its repeat.
fn group(place: &str) -> &str {
    place.rsplit_once('#').map_or(place, |(group, _)| group)
}

/// What a step does, like `measure`.
pub(crate) fn kind(step_name: &str) -> &str {
    step_name.rsplit_once('/').map_or(step_name, |(_, kind)| kind)
}

impl StepView {
    /// How long it took, if it was started and ended.
    pub fn duration(&self) -> Option<std::time::Duration> {
        Some(self.ended?.since(self.started?))
    }
}

#[cfg(test)]
mod tests;
