//! Cases of the steps: is the machine fit, does the server serve, was the load sent to its end.

use std::time::Duration;

use domain::event::{FailureClass, StepFailure};

use super::xml::{LONGEST_DETAILS, LONGEST_SAID};
use super::{Case, CaseResult};
use crate::lines::{failure, left_behind};
use crate::session::{SessionView, StepState, StepView, WRITES_REPORTS, kind, place};

/// A run's case for everything that it takes to measure.
const MEASUREMENT: &str = "measurement";

/// Class of what concerns no target.
const SESSION: &str = "session";

/// Cases of all steps, in the order of the journal; steps that serve the same end are one case.
pub(super) fn of_steps(session: &SessionView) -> Vec<Case> {
    let mut cases: Vec<Case> = Vec::new();
    for step in &session.steps {
        let Some((class, name)) = names(session, step) else { continue };
        let case = cases.iter_mut().find(|case| case.class == class && case.name == name);
        match case {
            Some(case) => add(case, step),
            None => cases.push(case_of(class, name, step)),
        }
    }
    cases.extend(cleanup(session));
    cases
}

/// The class of what was measured.
pub(super) fn measured_class(framework: &str, model: &str, profile: &str) -> String {
    format!("perf.{framework}.{model}.{profile}")
}

/// Class and name of the case that a step belongs to. Writing reports has none: a report cannot
/// tell how its own writing went.
fn names(session: &SessionView, step: &StepView) -> Option<(String, String)> {
    let place = place(&step.name);
    let setup = || format!("setup.{}", target(place));
    match kind(&step.name) {
        "check-gpu" => Some((setup(), "gpu-health-check".to_owned())),
        // There was nothing to stop.
        "stop" if matches!(step.state, StepState::Skipped(_)) => None,
        "launch" | "verify" | "stop" => Some((setup(), "framework-setup".to_owned())),
        "before-run" | "measure" | "after-run" => {
            Some((run_class(session, place), MEASUREMENT.to_owned()))
        }
        WRITES_REPORTS => None,
        other => Some((SESSION.to_owned(), other.to_owned())),
    }
}

/// The target's name in a place like `sim/smoke#1`.
fn target(place: &str) -> &str {
    place.split_once('/').map_or(place, |(target, _)| target)
}

/// The class of a run by its place; the same for every repeat, and whether or not it was saved.
fn run_class(session: &SessionView, at: &str) -> String {
    let here = |step| session.step(step).map(|step| place(&step.name));
    let saved = session.runs.iter().find(|run| here(run.step) == Some(at));
    if let Some(run) = saved {
        let run = &run.summary;
        return measured_class(run.framework.as_str(), &run.model, &run.profile.name);
    }
    let run = at.split_once('/').map_or(at, |(_, run)| run);
    let profile = run.rsplit_once('#').map_or(run, |(profile, _)| profile);
    let target = target(at);
    let server = session.servers.iter().rev().find(|server| here(server.step) == Some(target));
    match server {
        Some(server) => {
            let facts = &server.facts;
            measured_class(facts.framework.as_str(), &facts.model, profile)
        }
        None => measured_class(target, "unknown", profile),
    }
}

fn case_of(class: String, name: String, step: &StepView) -> Case {
    let time = step.duration().unwrap_or(Duration::ZERO);
    Case { class, name, time, result: result(step), said: said(step, LONGEST_SAID) }
}

/// Adds a step to its case. The gravest result stands, the first of equals; a case of which a part
/// was skipped is not passed.
fn add(case: &mut Case, step: &StepView) {
    case.time += step.duration().unwrap_or(Duration::ZERO);
    case.said.push('\n');
    case.said.push_str(&said(step, LONGEST_SAID));
    let result = result(step);
    if weight(&case.result) < weight(&result) {
        case.result = result;
    }
}

const fn weight(result: &CaseResult) -> u8 {
    match result {
        CaseResult::Passed => 0,
        CaseResult::Skipped { .. } => 1,
        CaseResult::Failure { .. } => 2,
        CaseResult::Error { .. } => 3,
    }
}

fn result(step: &StepView) -> CaseResult {
    match &step.state {
        StepState::Succeeded(_) => CaseResult::Passed,
        StepState::Skipped(reason) => CaseResult::Skipped { message: reason.clone() },
        StepState::Failed(why) => CaseResult::Error {
            kind: error_kind(why),
            message: why.message.clone(),
            details: said(step, LONGEST_DETAILS),
        },
        StepState::Running => CaseResult::Error {
            kind: "BenchmarkError",
            message: format!("the journal ends in `{}`", step.name),
            details: String::new(),
        },
    }
}

const fn error_kind(failure: &StepFailure) -> &'static str {
    match failure.class {
        FailureClass::Unhealthy
        | FailureClass::Server
        | FailureClass::Requests
        | FailureClass::Client => "BenchmarkError",
        FailureClass::Interrupted => "Interrupted",
        FailureClass::Storage => "StorageError",
        FailureClass::LeftBehind => "LeftBehind",
    }
}

/// What became of a step, in about `longest` characters at most.
fn said(step: &StepView, longest: usize) -> String {
    let how = match &step.state {
        StepState::Succeeded(said) => said.clone(),
        StepState::Skipped(reason) => format!("skipped: {reason}"),
        StepState::Failed(why) => {
            failure(why, longest.saturating_sub(step.name.chars().count() + ": ".len()))
        }
        StepState::Running => "did not end".to_owned(),
    };
    format!("{}: {how}", step.name)
}

/// What would not go is a case of its own, since no step may have noticed.
fn cleanup(session: &SessionView) -> Option<Case> {
    if session.left_behind.is_empty() {
        return None;
    }
    let message = left_behind(&session.left_behind);
    Some(Case {
        class: SESSION.to_owned(),
        name: "cleanup".to_owned(),
        time: Duration::ZERO,
        said: message.clone(),
        result: CaseResult::Error { kind: "LeftBehind", message, details: String::new() },
    })
}
