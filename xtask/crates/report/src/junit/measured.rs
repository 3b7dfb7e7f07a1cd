//! Cases of the numbers: one a metric, with the verdict where runs were judged.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::event::Judgement;
use domain::metric::Metric;
use domain::summary::RunSummary;
use domain::verdict::{Strictness, Verdict};
use stats::gate::FileJudgement;

use super::cases::measured_class;
use super::{Case, CaseResult};
use crate::judgement::{Shown, said as said_of, weaker};
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
        let whole = Whole::of(class, judgement);
        of_keys.extend(whole.cases(strictness));
        for metric in &judgement.metrics {
            let name = metric.metric.key();
            let case = whole.judged(name, metric.verdict, &Shown::from(metric), strictness);
            cases.insert(metric.metric, case);
        }
        for metric in &judgement.reported {
            let said = format!("not gating: {}", Shown::from(metric).message(judgement.pairs));
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

/// Cases of a key: whether it can be judged, and one a metric that decides.
pub(super) fn of_key(class: &str, judgement: &Judgement, strictness: Strictness) -> Vec<Case> {
    let whole = Whole::of(class, judgement);
    let metrics = judgement.metrics.iter().map(|metric| {
        whole.judged(metric.metric.key(), metric.verdict, &Shown::from(metric), strictness)
    });
    whole.cases(strictness).into_iter().chain(metrics).collect()
}

/// Cases of a file of pairs: whether it can be judged, and one a metric.
pub(super) fn of_pairs(judged: &FileJudgement, strictness: Strictness) -> Vec<Case> {
    let whole = Whole {
        class: CLASS_OF_PAIRS,
        key: "pairs",
        verdict: judged.decision.verdict,
        reason: &judged.reason,
        pairs: judged.decision.pairs,
        notes: &judged.notes,
        weaker: "",
    };
    let metrics = judged
        .metrics
        .iter()
        .map(|metric| whole.judged(&metric.name, metric.verdict, &Shown::from(metric), strictness));
    // That there is a baseline goes without saying.
    let [_, comparable] = whole.cases(strictness);
    [comparable].into_iter().chain(metrics).collect()
}

/// The class of a file of pairs, which does not say what they are of.
const CLASS_OF_PAIRS: &str = "perf.pairs";

/// A judgement as a whole, whatever it was made on.
struct Whole<'a> {
    class: &'a str,
    key: &'a str,
    verdict: Verdict,
    reason: &'a str,
    pairs: u32,
    notes: &'a [String],
    weaker: &'static str,
}

impl<'a> Whole<'a> {
    fn of(class: &'a str, judgement: &'a Judgement) -> Self {
        Self {
            class,
            key: &judgement.key,
            verdict: judgement.verdict,
            reason: &judgement.reason,
            pairs: judgement.pairs,
            notes: &judgement.notes,
            weaker: weaker(judgement),
        }
    }

    /// Whether there is a baseline, and whether the two sides are the same experiment: one case
    /// each, so that one cause is not reported once a metric.
    fn cases(&self, strictness: Strictness) -> [Case; 2] {
        let said = format!("{}: {}: {}", self.key, self.verdict, self.reason);
        let notes = self.notes.iter().map(|note| format!("\nnote: {note}")).collect::<String>();
        let all_said = format!("{said}\n{}{notes}", self.weaker).replace("\n\n", "\n");
        let missing = self.verdict == Verdict::MissingBaseline;
        let baseline = match (missing, strictness.baseline_required) {
            (false, _) => CaseResult::Passed,
            (true, false) => CaseResult::Skipped { message: self.no_baseline() },
            (true, true) => CaseResult::Failure {
                kind: "MissingBaseline",
                message: self.no_baseline(),
                details: self.reason.to_owned(),
            },
        };
        let error = |kind| CaseResult::Error {
            kind,
            message: self.reason.to_owned(),
            details: said.replace("; ", "\n"),
        };
        let comparable = match self.verdict {
            Verdict::Incomparable => error("Incomparable"),
            Verdict::Broken => error("BenchmarkError"),
            Verdict::MissingBaseline => CaseResult::Skipped { message: self.no_baseline() },
            Verdict::Pass | Verdict::Improved | Verdict::Inconclusive | Verdict::Regressed => {
                CaseResult::Passed
            }
        };
        [
            case(self.class, "baseline-present", baseline, said),
            case(self.class, "comparable", comparable, all_said.trim_end().to_owned()),
        ]
    }

    fn no_baseline(&self) -> String {
        format!("NO BASELINE for key {}", self.key)
    }

    /// The case of a metric.
    fn judged(
        &self,
        name: &str,
        verdict: Verdict,
        shown: &Shown<'_>,
        strictness: Strictness,
    ) -> Case {
        let message = shown.message(self.pairs);
        let said = format!("{verdict}: {message}");
        let result = match verdict {
            Verdict::Pass | Verdict::Improved => CaseResult::Passed,
            Verdict::Regressed => CaseResult::Failure {
                kind: "PerformanceRegression",
                message,
                details: all_runs(shown),
            },
            Verdict::Inconclusive if strictness.inconclusive_fails => {
                CaseResult::Failure { kind: "Inconclusive", message, details: all_runs(shown) }
            }
            Verdict::Inconclusive => {
                CaseResult::Skipped { message: format!("INCONCLUSIVE: {message}") }
            }
            Verdict::MissingBaseline => CaseResult::Skipped { message: self.no_baseline() },
            Verdict::Incomparable | Verdict::Broken => {
                CaseResult::Skipped { message: format!("{}: {}", said_of(verdict), self.reason) }
            }
        };
        case(self.class, name, result, said)
    }
}

pub(super) fn case(class: &str, name: &str, result: CaseResult, said: String) -> Case {
    // The time of a run is that of its measurement; a number takes none.
    Case { class: class.to_owned(), name: name.to_owned(), time: Duration::ZERO, result, said }
}

/// Every value, one a line.
fn all_runs(shown: &Shown<'_>) -> String {
    let row = |side: &str, values: &[f64]| {
        let rows = values.iter().enumerate();
        rows.map(|(at, value)| format!("{side} run {}: {value}\n", at + 1)).collect::<String>()
    };
    let [baseline, candidate] = shown.sides;
    row("baseline", baseline) + &row("candidate", candidate)
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
