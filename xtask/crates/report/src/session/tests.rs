use domain::verdict::Verdict;

use super::*;
use crate::testing::{at, bad_session, finding, good_session, journal, opened, run, started};

#[test]
fn a_journal_is_folded_into_what_reports_say() {
    let view = SessionView::fold(&good_session(&[Verdict::Pass]));
    assert_eq!(view.session.as_deref(), Some("20261124T031500Z-1"));
    assert_eq!((view.opened, view.last), (Some(at(0)), Some(at(24))));
    assert_eq!((view.steps.len(), view.runs.len(), view.servers.len()), (10, 1, 1));
    assert_eq!(view.runs[0].summary, run());
    assert_eq!(view.findings, [finding()]);
    assert_eq!(view.judgements.len(), 1);
    assert_eq!(view.exit, Some(Exit::Done));
    let measure = view.step(4).unwrap();
    assert_eq!(measure.duration(), Some(std::time::Duration::from_secs(2)));
}

#[test]
fn what_session_and_run_both_note_is_told_once() {
    let view = SessionView::fold(&good_session(&[]));
    let at: Vec<_> = view.anomalies.iter().map(|noted| noted.at.as_deref()).collect();
    assert_eq!(at, [Some("sim/smoke#1/measure")]);
}

#[test]
fn a_step_that_was_done_again_counts_as_it_ended_last() {
    let view = SessionView::fold(&bad_session());
    assert_eq!(view.resumed, 1);
    assert_eq!(view.steps.len(), 3);
    assert_eq!(view.steps[0].started, Some(at(6)));
    assert!(matches!(view.steps[0].state, StepState::Succeeded(_)));
    assert!(matches!(view.steps[1].state, StepState::Failed(_)));
    assert_eq!(view.left_behind, [4711, 4712]);
    assert_eq!(view.stop, Some(StopRequest::Terminated));
}

#[test]
fn a_journal_that_breaks_off_leaves_a_running_step() {
    let view = SessionView::fold(&journal(vec![opened(), started(0, "sim/launch")]));
    assert_eq!(view.steps[0].state, StepState::Running);
    assert_eq!((view.steps[0].duration(), view.exit), (None, None));
    assert_eq!(SessionView::fold(&[]), SessionView::default());
}

#[test]
fn a_step_that_was_skipped_has_its_name_all_the_same() {
    let (name, reason) = ("sim/verify".to_owned(), "no".to_owned());
    let view = SessionView::fold(&journal(vec![Event::StepSkipped { step: 3, name, reason }]));
    assert_eq!(view.steps[0].name, "sim/verify");
}
