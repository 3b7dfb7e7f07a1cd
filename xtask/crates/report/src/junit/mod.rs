//! JUnit XML, written so that Jenkins, GitLab and GitHub's readers all show the same.
//!
//! - Flat: one suite a class, no nesting. Name and class of a case hold no value, version or
//!   date, so that its history stays one line.
//! - One result a case: never failure and error, nor failure and skipped.
//! - What was measured stands in the case's `system-out`. JUnit also knows `properties`, but
//!   `junit-report` cannot write them, and no reader shows them by default: none are written.
//! - `junit-report` writes no `skipped` count; it is put in afterwards, in `xml`.

mod cases;
mod fleet;
mod measured;
mod xml;

use std::time::Duration;

use domain::timestamp::Timestamp;
use domain::verdict::Strictness;
use stats::fleet::Fleet;
use stats::gate::FileJudgement;

use crate::session::SessionView;

/// The report could not be written as XML.
#[derive(Debug, thiserror::Error)]
#[error("cannot write JUnit XML")]
pub struct JunitError {
    #[source]
    source: junit_report::Error,
}

/// The session as JUnit XML. `strictness` says which verdicts are failures.
///
/// # Errors
///
/// None is known: the text is written to memory and holds only what XML can.
pub fn junit(session: &SessionView, strictness: Strictness) -> Result<String, JunitError> {
    let mut cases = cases::of_steps(session);
    cases.extend(measured::of_runs(session, strictness));
    let host = session.runs.first().map(|run| run.summary.environment.host.as_str());
    xml::write(xml::Stamp { at: session.opened, host }, cases)
        .map_err(|source| JunitError { source })
}

/// A fleet as JUnit XML: for each cell whether it was measured, and the metrics that decide.
/// `at` is when it was put together.
///
/// # Errors
///
/// None is known, as for [`junit`].
pub fn fleet_junit(
    fleet: &Fleet,
    strictness: Strictness,
    at: Timestamp,
) -> Result<String, JunitError> {
    let cases = fleet::of_fleet(fleet, strictness);
    xml::write(xml::Stamp { at: Some(at), host: None }, cases)
        .map_err(|source| JunitError { source })
}

/// The judgement on a file of pairs, made at `at`, as JUnit XML.
///
/// # Errors
///
/// As [`junit`].
pub fn junit_of_pairs(
    judged: &FileJudgement,
    at: Timestamp,
    strictness: Strictness,
) -> Result<String, JunitError> {
    let cases = measured::of_pairs(judged, strictness);
    xml::write(xml::Stamp { at: Some(at), host: None }, cases)
        .map_err(|source| JunitError { source })
}

/// One case.
#[derive(Clone, Debug, PartialEq)]
struct Case {
    class: String,
    name: String,
    time: Duration,
    result: CaseResult,
    /// What was seen, shown whatever the result is.
    said: String,
}

/// How a case ended. A message is one line that is understood alone; details follow it.
#[derive(Clone, Debug, PartialEq)]
enum CaseResult {
    Passed,
    Skipped { message: String },
    Failure { kind: &'static str, message: String, details: String },
    Error { kind: &'static str, message: String, details: String },
}

#[cfg(test)]
mod tests;
