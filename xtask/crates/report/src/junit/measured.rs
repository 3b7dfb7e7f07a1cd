//! Cases of the numbers: one a metric, with the verdict where runs were judged.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::event::{Judgement, MetricJudgement};
use domain::metric::Metric;
use domain::summary::RunSummary;
use domain::verdict::{Strictness, Verdict};

use super::cases::measured_class;
use super::{Case, CaseResult};
use crate::judgement::message;
use crate::number::{UNKNOWN, mean, readable, readable_or_unknown};
use crate::session::SessionView;

/// Cases of all classes, in the order in which they were first run.
pub(super) fn of_runs(session: &SessionView, strictness: Strictness) -> Vec<Case> {
    let mut classes: Vec<String> = Vec::new();
    let of_runs = session.runs.iter().map(|run| class_of_run(&run.summary));
    for class in of_runs.chain(session.judgements.iter().map(class_of_key)) {
        if !classes.contains(&class) {
            classes.push(class);
        }
    }
    let of_class = |class: &String| of_class(session, class, strictness);
    classes.iter().flat_map(of_class).collect()
}

fn class_of_run(run: &RunSummary) -> String {
    measured_class(run.framework.as_str(), &run.model, &run.profile.name)
}

/// The class of a key `framework/model/profile/engine`; a model may have slashes of its own.
fn class_of_key(judgement: &Judgement) -> String {
    let parts = judgement.key.split_once('/').and_then(|(framework, rest)| {
        let (rest, _engine) = rest.rsplit_once('/')?;
        let (model, profile) = rest.rsplit_once('/')?;
        Some(measured_class(framework, model, profile))
    });
    parts.unwrap_or_else(|| format!("perf.{}", judgement.key))
}

fn of_class(session: &SessionView, class: &str, strictness: Strictness) -> Vec<Case> {
    let runs = session.runs.iter().map(|run| &run.summary);
    let runs: Vec<&RunSummary> = runs.filter(|run| class_of_run(run) == class).collect();
    let judgements = session.judgements.iter().filter(|judgement| class_of_key(judgement) == class);
    let mut cases: BTreeMap<Metric, Case> = Metric::KEY
        .iter()
        .filter_map(|metric| Some((*metric, recorded(class, *metric, &runs)?)))
        .collect();
    let mut of_keys = Vec::new();
    for judgement in judgements {
        of_keys.extend(of_key(class, judgement, strictness));
        for metric in &judgement.metrics {
            cases.insert(metric.metric, judged(class, judgement, metric, strictness));
        }
        for metric in &judgement.reported {
            let said = format!("not gating: {}", message(metric, judgement.pairs));
            let case = case(class, metric.metric.key(), CaseResult::Passed, said);
            cases.insert(metric.metric, case);
        }
    }
    of_keys.into_iter().chain(cases.into_values()).collect()
}

/// A metric that nobody judged: it is there, and that is all.
fn recorded(class: &str, metric: Metric, runs: &[&RunSummary]) -> Option<Case> {
    let values: Vec<f64> = runs.iter().filter_map(|run| run.metric(metric)).collect();
    (!values.is_empty()).then(|| {
        let said = format!("{metric} {}", shown(metric, &values));
        case(class, metric.key(), CaseResult::Passed, said)
    })
}

/// Whether a key has a baseline, and whether the two are the same experiment: one case each, so
/// that one cause is not reported once a metric.
fn of_key(class: &str, judgement: &Judgement, strictness: Strictness) -> [Case; 2] {
    let said = format!("{}: {}: {}", judgement.key, judgement.verdict, judgement.reason);
    let missing = judgement.verdict == Verdict::MissingBaseline;
    let baseline = match (missing, strictness.baseline_required) {
        (false, _) => CaseResult::Passed,
        (true, false) => CaseResult::Skipped { message: no_baseline(judgement) },
        (true, true) => CaseResult::Failure {
            kind: "MissingBaseline",
            message: no_baseline(judgement),
            details: judgement.reason.clone(),
        },
    };
    let error = |kind| CaseResult::Error {
        kind,
        message: judgement.reason.clone(),
        details: said.replace("; ", "\n"),
    };
    let comparable = match judgement.verdict {
        Verdict::Incomparable => error("Incomparable"),
        Verdict::Broken => error("BenchmarkError"),
        Verdict::MissingBaseline => CaseResult::Skipped { message: no_baseline(judgement) },
        Verdict::Pass | Verdict::Improved | Verdict::Inconclusive | Verdict::Regressed => {
            CaseResult::Passed
        }
    };
    [
        case(class, "baseline-present", baseline, said.clone()),
        case(class, "comparable", comparable, said.clone()),
    ]
}

fn no_baseline(judgement: &Judgement) -> String {
    format!("NO BASELINE for key {}", judgement.key)
}

fn judged(
    class: &str,
    judgement: &Judgement,
    metric: &MetricJudgement,
    strictness: Strictness,
) -> Case {
    let said = format!("{}: {}", metric.verdict, message(metric, judgement.pairs));
    let result = match metric.verdict {
        Verdict::Pass | Verdict::Improved => CaseResult::Passed,
        Verdict::Regressed => CaseResult::Failure {
            kind: "PerformanceRegression",
            message: message(metric, judgement.pairs),
            details: all_runs(metric),
        },
        Verdict::Inconclusive if strictness.inconclusive_fails => CaseResult::Failure {
            kind: "Inconclusive",
            message: message(metric, judgement.pairs),
            details: all_runs(metric),
        },
        Verdict::Inconclusive => CaseResult::Skipped {
            message: format!("INCONCLUSIVE: {}", message(metric, judgement.pairs)),
        },
        Verdict::MissingBaseline => CaseResult::Skipped { message: no_baseline(judgement) },
        Verdict::Incomparable => {
            CaseResult::Skipped { message: format!("INCOMPARABLE: {}", judgement.reason) }
        }
        Verdict::Broken => CaseResult::Skipped { message: format!("BROKEN: {}", judgement.reason) },
    };
    case(class, metric.metric.key(), result, said)
}

fn case(class: &str, name: &str, result: CaseResult, said: String) -> Case {
    // The time of a run is that of its measurement; a number takes none.
    Case { class: class.to_owned(), name: name.to_owned(), time: Duration::ZERO, result, said }
}

/// Every value, one a line.
fn all_runs(judged: &MetricJudgement) -> String {
    let row = |side: &str, values: &[f64]| {
        let rows = values.iter().enumerate();
        rows.map(|(at, value)| format!("{side} run {}: {value}\n", at + 1)).collect::<String>()
    };
    row("baseline", &judged.baseline) + &row("candidate", &judged.candidate)
}

/// The mean and what it is made of: `12.3 ms (runs: 12.1 12.5)`.
fn shown(metric: Metric, values: &[f64]) -> String {
    let unit = metric.card().unit;
    let mean = readable_or_unknown(mean(values));
    match values {
        [] => UNKNOWN.to_owned(),
        [_] => format!("{mean} {unit}"),
        values => {
            let runs: Vec<_> = values.iter().map(|value| readable(*value)).collect();
            format!("{mean} {unit} (runs: {})", runs.join(" "))
        }
    }
}
