//! The session for people: a summary in Markdown, as a job summary of GitHub shows it.
//!
//! The worst comes first. A job summary beyond 1 MiB is not shown at all, so every table has a
//! number of rows and every cell a length, and a section that would still go beyond is left out
//! and says so.

use domain::event::Judgement;
use domain::facts::{Environment, Severity};
use domain::gate::Side;
use domain::metric::{Latency, Metric, Stat};
use domain::summary::RunSummary;
use stats::gate::FileJudgement;

use crate::judgement::{COLUMNS, rows, rows_of_pairs, weaker};
use crate::lines::{failure, left_behind, stop};
use crate::number::{mean, readable_or_unknown};
use crate::session::{SessionView, StepState, WRITES_REPORTS, kind};
use crate::text::markdown as escaped;

/// Rows of a table; the rest is counted.
const MOST_ROWS: usize = 50;

/// Longest cell, in characters of its text.
const LONGEST_CELL: usize = 300;

/// Bytes that the whole may have: below 1 MiB, with room for what a job writes around it.
const MOST_BYTES: usize = 900_000;

/// Metrics of the key table: one a concern, so that it fits a screen.
pub(crate) const SHOWN: [Metric; 6] = [
    Metric::RequestThroughput,
    Metric::OutputThroughput,
    Metric::Latency(Latency::Ttft, Stat::Mean),
    Metric::Latency(Latency::Ttft, Stat::P99),
    Metric::Latency(Latency::Tpot, Stat::Mean),
    Metric::Latency(Latency::Itl, Stat::P99),
];

/// Mean wait to be sent, in ms, that is worth a row.
const WAITED_MS: f64 = 1.0;

/// What such a wait is added to.
const MEAN_TTFT: Metric = Metric::Latency(Latency::Ttft, Stat::Mean);

/// The session as GitHub-flavoured Markdown, below 1 MiB.
pub fn markdown(session: &SessionView) -> String {
    let sections = [
        failures(session),
        verdicts(session),
        results(session),
        waits(session),
        gpus(session),
        anomalies(session),
        environments(session),
    ];
    let mut text = headline(session);
    for section in sections {
        if text.len() + section.len() <= MOST_BYTES {
            text.push_str(&section);
        } else {
            text.push_str("\nA section was left out: it is too long for a job summary.\n");
        }
    }
    text
}

/// The judgement on a file of pairs as GitHub-flavoured Markdown, below 1 MiB.
pub fn markdown_of_pairs(judged: &FileJudgement) -> String {
    let verdict = judged.decision.verdict;
    let head = format!("## servegate gate\n\n**{verdict}**: {}\n", cell(&judged.reason));
    format!("{head}\n{}{}", table(&COLUMNS, &rows_of_pairs(judged)), notes(&judged.notes))
}

/// What happened, in two lines.
fn headline(session: &SessionView) -> String {
    let id = session.session.as_deref().unwrap_or("without a first line");
    let failed = failed_steps(session).count();
    let worst = session.judgements.iter().map(|judgement| judgement.verdict).max();
    let verdict = worst.map(|worst| format!("verdict **{worst}**"));
    let failed = (0 < failed).then(|| format!("**{}**", counted(failed, "step", "failed")));
    let exit = session.exit.map(|exit| format!("exit code {}: {}", exit.code(), exit.meaning()));
    let runs = counted(session.runs.len(), "run", "saved");
    let stopped = session.stop.map(|by| stop(by).to_owned());
    let parts = failed.into_iter().chain(verdict).chain(stopped).chain([runs]).chain(exit);
    let parts: Vec<String> = parts.collect();
    format!("## servegate {}\n\n{}\n", cell(id), parts.join(" · "))
}

fn failed_steps(session: &SessionView) -> impl Iterator<Item = (&str, String)> {
    session.steps.iter().filter_map(|step| match &step.state {
        StepState::Failed(why) => Some((step.name.as_str(), failure(why))),
        StepState::Running | StepState::Succeeded(_) | StepState::Skipped(_) => None,
    })
}

/// Failed steps, steps that were not done, and what is left running.
fn failures(session: &SessionView) -> String {
    let failed = failed_steps(session).map(|(name, why)| [name.to_owned(), why]);
    let left = (!session.left_behind.is_empty()).then(|| left_behind(&session.left_behind));
    let left = left.map(|left| ["cleanup".to_owned(), left]);
    let not_done = session.steps.iter().filter_map(|step| match &step.state {
        StepState::Skipped(why) => Some([step.name.clone(), format!("not done: {why}")]),
        StepState::Running if kind(&step.name) != WRITES_REPORTS => {
            Some([step.name.clone(), "the journal ends in this step".to_owned()])
        }
        StepState::Running | StepState::Succeeded(_) | StepState::Failed(_) => None,
    });
    let rows: Vec<_> = left.into_iter().chain(failed).chain(not_done).map(Vec::from).collect();
    section("Failures", &table(&["step", "what happened"], &rows))
}

fn verdicts(session: &SessionView) -> String {
    let mut judgements: Vec<&Judgement> = session.judgements.iter().collect();
    // Stable: judgements of the same verdict stay in the order of the session.
    judgements.sort_by_key(|judgement| std::cmp::Reverse(judgement.verdict));
    let row = |judgement: &&Judgement| {
        vec![judgement.key.clone(), judgement.verdict.to_string(), judgement.reason.clone()]
    };
    let rows: Vec<_> = judgements.iter().map(row).collect();
    let details: String = judgements.iter().take(MOST_ROWS).map(|judged| metrics(judged)).collect();
    section("Verdicts", &(table(&["key", "verdict", "why"], &rows) + &details))
}

/// The metrics of a key, to be opened by whoever wants to know; deciding ones first.
fn metrics(judgement: &Judgement) -> String {
    let table = table(&COLUMNS, &rows(judgement));
    let weaker = weaker(judgement).trim_end();
    let weaker = if weaker.is_empty() { String::new() } else { format!("\n**{weaker}**\n") };
    details(&cell(&judgement.key), &(table + &weaker + &notes(&judgement.notes)))
}

/// A list of notes after an empty line; nothing if there is none.
fn notes(notes: &[String]) -> String {
    let notes = notes.iter().take(MOST_ROWS).map(|note| format!("- {}\n", cell(note)));
    let notes: String = notes.collect();
    if notes.is_empty() { notes } else { format!("\n{notes}") }
}

/// Runs of one key and, in an experiment, one side.
type Group<'a> = ((String, Option<Side>), Vec<&'a RunSummary>);

fn results(session: &SessionView) -> String {
    let mut groups: Vec<Group<'_>> = Vec::new();
    let counts = |run: &&RunSummary| run.arm.is_none_or(|arm| 0 < arm.pair);
    for run in session.runs.iter().map(|run| &run.summary).filter(counts) {
        let key = (stats::key(run), run.arm.map(|arm| arm.side));
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, runs)) => runs.push(run),
            None => groups.push((key, vec![run])),
        }
    }
    let rows: Vec<_> = groups.iter().map(|(_, runs)| result(runs)).collect();
    let titles = SHOWN.map(|metric| format!("{} ({})", metric.card().title, metric.card().unit));
    let context = ["framework", "model", "profile", "engine", "runs", "failed requests"];
    let header: Vec<&str> = context.into_iter().chain(titles.iter().map(String::as_str)).collect();
    section("Results", &table(&header, &rows))
}

/// One row over the repeats of a key; there is at least one.
fn result(runs: &[&RunSummary]) -> Vec<String> {
    let run = runs[0];
    let failed: u64 = runs.iter().map(|run| u64::from(run.requests.failed_total())).sum();
    let version = run.framework_version.as_deref().unwrap_or("of unknown version");
    let side = run.arm.map_or_else(String::new, |arm| format!(", {}", arm.side));
    let context = [
        format!("{} {version}{side}", run.framework.title()),
        run.model.clone(),
        run.profile.name.clone(),
        run.engine.to_string(),
        runs.len().to_string(),
        failed.to_string(),
    ];
    let value = |metric: Metric| {
        let values: Vec<f64> = runs.iter().filter_map(|run| run.metric(metric)).collect();
        readable_or_unknown(mean(&values))
    };
    context.into_iter().chain(SHOWN.map(value)).collect()
}

/// Runs whose requests waited to be sent: there the latencies from sending leave out what somebody
/// who came when the schedule says would have waited.
fn waits(session: &SessionView) -> String {
    let row = |run: &RunSummary| {
        let due = run.accounting.as_ref()?.from_due?;
        let client = run.client.as_ref()?;
        let sent_ms = run.metric(MEAN_TTFT)?;
        let waited = WAITED_MS < due.mean_ttft_ms - sent_ms;
        let known = |ms| readable_or_unknown(Some(ms));
        waited.then(|| {
            vec![
                run.framework.title().to_owned(),
                format!("{} {}", run.profile.name, run.repeat),
                known(sent_ms),
                known(due.mean_ttft_ms),
                known(due.p99_ttft_ms),
                known(due.mean_e2e_latency_ms),
                known(client.send_lag_p99_ms),
                known(client.send_lag_max_ms),
            ]
        })
    };
    let rows: Vec<_> = session.runs.iter().filter_map(|run| row(&run.summary)).collect();
    let header = [
        "framework",
        "run",
        "Mean TTFT (ms)",
        "Mean TTFT from due (ms)",
        "P99 TTFT from due (ms)",
        "Mean E2E Latency from due (ms)",
        "P99 send lag (ms)",
        "Max send lag (ms)",
    ];
    section("Sent later than due", &table(&header, &rows))
}

/// What the GPUs did in each run, to be opened by whoever wants to know.
fn gpus(session: &SessionView) -> String {
    let told = session.runs.iter().filter_map(|run| {
        let summary = &run.summary;
        let lines = crate::telemetry::of_run(summary);
        let title = format!("{} {} #{}", summary.framework, summary.profile.name, summary.repeat);
        let items = lines.lines().map(|line| line.trim_start_matches("- "));
        let items: String = items.map(|line| format!("  - {}\n", cell(line))).collect();
        (!lines.is_empty()).then(|| format!("- {}\n{items}", cell(&title)))
    });
    let told: Vec<_> = told.collect();
    if told.is_empty() {
        return String::new();
    }
    let mut text: String = told.iter().take(MOST_ROWS).map(String::as_str).collect();
    if let Some(more) = told.len().checked_sub(MOST_ROWS).filter(|more| 0 < *more) {
        text.push_str(&format!("\n… and {more} more\n"));
    }
    details("GPUs", &text)
}

/// Anomalies, and what the health checks said.
fn anomalies(session: &SessionView) -> String {
    let noted = session.anomalies.iter().map(|noted| {
        let at = noted.at.clone().unwrap_or_else(|| "session".to_owned());
        vec![at, noted.anomaly.kind().to_owned(), noted.anomaly.to_string()]
    });
    let mut findings: Vec<_> = session.findings.iter().collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let found = findings.into_iter().filter(|finding| Severity::Info < finding.severity);
    let found = found.map(|finding| {
        let at = finding.gpu.map_or_else(|| "host".to_owned(), |gpu| format!("GPU {gpu}"));
        let message = format!("{} {}", finding.message, finding.advice);
        vec![at, format!("{} ({})", finding.check, finding.severity), message]
    });
    let rows: Vec<_> = noted.chain(found).collect();
    section("Anomalies", &table(&["where", "kind", "what"], &rows))
}

/// The machines that runs were made on, each once.
fn environments(session: &SessionView) -> String {
    let mut known: Vec<&Environment> = Vec::new();
    for environment in session.runs.iter().map(|run| &run.summary.environment) {
        // The load average belongs to a run, not to the machine.
        let same = |other: &&Environment| {
            Environment { load_1m: None, ..(*other).clone() }
                == Environment { load_1m: None, ..environment.clone() }
        };
        if !known.iter().any(same) {
            known.push(environment);
        }
    }
    let rows: Vec<_> = known.into_iter().map(machine).collect();
    let header = ["host", "GPUs", "driver", "CPU", "CPUs", "kernel", "servegate"];
    let table = table(&header, &rows);
    if table.is_empty() { String::new() } else { details("Environment", &table) }
}

fn machine(environment: &Environment) -> Vec<String> {
    let gpus = environment.gpus.join(", ");
    vec![
        environment.host.clone(),
        if gpus.is_empty() { "none".to_owned() } else { gpus },
        environment.driver.clone().unwrap_or_else(|| "none".to_owned()),
        environment.cpu.clone(),
        environment.cpus.to_string(),
        environment.kernel.clone(),
        environment.servegate.clone(),
    ]
}

/// A section with its heading, unless it has nothing to say.
pub(crate) fn section(title: &str, body: &str) -> String {
    if body.is_empty() { String::new() } else { format!("\n### {title}\n\n{body}") }
}

pub(crate) fn details(summary: &str, body: &str) -> String {
    format!("\n<details><summary>{summary}</summary>\n\n{body}\n</details>\n")
}

/// A table of bounded size; nothing if it has no row.
fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut text = line(header.iter().map(|title| cell(title)).collect());
    text.push_str(&line(header.iter().map(|_| "---".to_owned()).collect()));
    for row in rows.iter().take(MOST_ROWS) {
        text.push_str(&line(row.iter().map(|text| cell(text)).collect()));
    }
    if let Some(more) = rows.len().checked_sub(MOST_ROWS).filter(|more| 0 < *more) {
        text.push_str(&format!("\n… and {more} more\n"));
    }
    text
}

pub(crate) fn cell(text: &str) -> String {
    escaped(text, LONGEST_CELL)
}

/// `1 run saved`, `2 runs saved`.
pub(crate) fn counted(count: usize, noun: &str, how: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural} {how}")
}

#[cfg(test)]
mod tests;
