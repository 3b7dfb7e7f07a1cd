//! The session for people: a summary in Markdown, as a job summary of GitHub shows it.
//!
//! The worst comes first. A job summary beyond 1 MiB is not shown at all, so every table has a
//! number of rows and every cell a length, and a section that would still go beyond is left out
//! and says so.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use domain::event::Judgement;
use domain::exit::Exit;
use domain::facts::{Environment, Severity};
use domain::gate::Side;
use domain::metric::{Latency, Metric, Stat};
use domain::summary::RunSummary;
use domain::verdict::Verdict;
use stats::gate::FileJudgement;

use crate::judgement::{COLUMNS, NUMBERS, rows, rows_of_pairs, weaker, words};
use crate::lines::{LONGEST_IN_TABLE, failure, left_behind, stop};
use crate::number::{mean, readable_or_unknown};
use crate::session::{SessionView, StepState, StepView, WRITES_REPORTS, kind};
use crate::text::{in_tag, markdown as escaped};

/// Rows of a table; the rest is counted.
const MOST_ROWS: usize = 50;

/// Longest cell, in characters of its text.
pub(crate) const LONGEST_CELL: usize = 300;

/// Bytes that the whole may have: below 1 MiB, with room for what a job writes around it.
const MOST_BYTES: usize = 900_000;

/// Bytes of the table of verdicts, of the metrics below it and of the results: many hundred keys.
const VERDICT_BYTES: usize = 250_000;
const DETAIL_BYTES: usize = 350_000;
const RESULT_BYTES: usize = 150_000;

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
    let head = format!("## {} servegate gate: {}\n\n", sign(verdict), words(verdict));
    let reason = cell(&judged.reason);
    let table = table(&judged_columns(), &rows_of_pairs(judged));
    format!("{head}{reason}\n\n{table}{}", notes(&judged.notes))
}

/// A sign for a verdict, since colour is not to be had in Markdown.
pub(crate) const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✅",
        Verdict::Improved => "🚀",
        Verdict::MissingBaseline => "🆕",
        Verdict::Inconclusive => "⚠️",
        Verdict::Regressed => "❌",
        Verdict::Incomparable => "⛔",
        Verdict::Broken => "💥",
    }
}

/// A sign and a few words that stay on one line.
pub(crate) fn signed(verdict: Verdict, word: &str) -> String {
    format!("{} {}", sign(verdict), word.replace('-', " ")).replace(' ', "&nbsp;")
}

/// What happened, in two lines.
fn headline(session: &SessionView) -> String {
    let failed = failed_steps(session).count();
    let id = session.session.as_deref().map(|id| format!("session {}", cell(id)));
    let failed = (0 < failed).then(|| format!("**{}**", counted(failed, "step", "failed")));
    let stopped = session.stop.map(|by| stop(by).to_owned());
    let runs = counted(session.runs.len(), "run", "saved");
    let exit = session.exit.map(|exit| match exit {
        // The title says it all.
        Exit::Done => format!("exit code {}", exit.code()),
        other => format!("exit code {}: {}", other.code(), other.meaning()),
    });
    let judged: Vec<&Judgement> = session.judgements.iter().collect();
    let judged = (1 < judged.len()).then(|| tally(&judged));
    let parts = failed.into_iter().chain(stopped).chain(judged).chain([runs]).chain(exit).chain(id);
    let parts: Vec<String> = parts.collect();
    format!("## {}\n\n{}\n", title(session), parts.join(" · "))
}

/// What became of the session, in a few words. A session that is still being reported has no exit
/// code yet.
fn title(session: &SessionView) -> String {
    let broken = failed_steps(session).next().is_some()
        || !session.left_behind.is_empty()
        || session.steps.iter().any(broke_off)
        || matches!(
            session.exit,
            Some(Exit::NotMeasured | Exit::Bug | Exit::LeftBehind | Exit::Usage)
        );
    let worst = session.judgements.iter().map(|judgement| judgement.verdict).max();
    match (session.stop, worst) {
        (Some(_), _) => "🛑 servegate: cancelled".to_owned(),
        (None, _) if broken => {
            format!("{} servegate: {}", sign(Verdict::Broken), words(Verdict::Broken))
        }
        (None, Some(worst)) => format!("{} servegate: {}", sign(worst), words(worst)),
        (None, None) if session.runs.is_empty() => "servegate: nothing was measured".to_owned(),
        (None, None) => "servegate: measured".to_owned(),
    }
}

fn failed_steps(session: &SessionView) -> impl Iterator<Item = (&str, String)> {
    session.steps.iter().filter_map(|step| match &step.state {
        StepState::Failed(why) => Some((step.name.as_str(), failure(why, LONGEST_IN_TABLE))),
        StepState::Running | StepState::Succeeded(_) | StepState::Skipped(_) => None,
    })
}

/// Whether the journal ends in a step; the one that writes the reports is still at it.
fn broke_off(step: &StepView) -> bool {
    step.state == StepState::Running && kind(&step.name) != WRITES_REPORTS
}

/// Failed steps, steps that were not done, and what is left running.
fn failures(session: &SessionView) -> String {
    let failed = failed_steps(session).map(|(name, why)| [name.to_owned(), why]);
    let left = (!session.left_behind.is_empty()).then(|| left_behind(&session.left_behind));
    let left = left.map(|left| ["cleanup".to_owned(), left]);
    let not_done = session.steps.iter().filter_map(|step| match &step.state {
        StepState::Skipped(why) => Some([step.name.clone(), format!("not done: {why}")]),
        StepState::Running if broke_off(step) => {
            Some([step.name.clone(), "the journal ends in this step".to_owned()])
        }
        StepState::Running | StepState::Succeeded(_) | StepState::Failed(_) => None,
    });
    let rows: Vec<_> = left.into_iter().chain(failed).chain(not_done).map(Vec::from).collect();
    section("Failures", &table(&["step", "what happened"].map(Column::Text), &rows))
}

fn verdicts(session: &SessionView) -> String {
    let mut judgements: Vec<&Judgement> = session.judgements.iter().collect();
    // Stable: judgements of the same verdict stay in the order of the session.
    judgements.sort_by_key(|judgement| Reverse(judgement.verdict));
    let row = |judgement: &&Judgement| {
        let verdict = signed(judgement.verdict, judgement.verdict.as_str());
        vec![verdict, cell(&judgement.key), cell(&judgement.reason)]
    };
    let columns = ["verdict", "key", "why"].map(Column::Text);
    let (mut text, left_out) = fitting(head(&columns), judgements.iter().map(row), VERDICT_BYTES);
    if 0 < left_out {
        let rest = &judgements[judgements.len() - left_out..];
        text.push_str(&format!("\n… and {left_out} more: {}\n", tally(rest)));
    }
    let (mut told, mut more) = (String::new(), 0_usize);
    for details in judgements.iter().map(|judged| metrics(judged)) {
        if told.len() + details.len() <= DETAIL_BYTES {
            told.push_str(&details);
        } else {
            more += 1;
        }
    }
    if 0 < more {
        told.push_str(&format!("\n… and the metrics of {more} more\n"));
    }
    section("Verdicts", &(text + &told))
}

/// `1 regressed, 10 pass`, the worst first.
fn tally(judgements: &[&Judgement]) -> String {
    let mut counts: BTreeMap<Reverse<Verdict>, usize> = BTreeMap::new();
    for judgement in judgements {
        *counts.entry(Reverse(judgement.verdict)).or_default() += 1;
    }
    let counts = counts.into_iter().map(|(Reverse(verdict), n)| format!("{n} {}", words(verdict)));
    counts.collect::<Vec<_>>().join(", ")
}

/// The metrics of a key, to be opened by whoever wants to know; deciding ones first.
fn metrics(judgement: &Judgement) -> String {
    let table = table(&judged_columns(), &rows(judgement));
    let weaker = weaker(judgement).trim_end();
    let weaker = if weaker.is_empty() { String::new() } else { format!("\n**{weaker}**\n") };
    let title = format!("{} {}", sign(judgement.verdict), in_tag(&judgement.key, LONGEST_CELL));
    details(&title, &(table + &weaker + &notes(&judgement.notes)))
}

/// Columns of a table of judged metrics.
pub(crate) fn judged_columns() -> Vec<Column<'static>> {
    let column = |(at, title)| {
        if NUMBERS.contains(&at) { Column::Number(title) } else { Column::Text(title) }
    };
    COLUMNS.into_iter().enumerate().map(column).collect()
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
    // A baseline stands above its candidate, whichever was measured first.
    let first_of =
        |(key, _): &(String, Option<Side>)| groups.iter().position(|((known, _), _)| known == key);
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|at| (first_of(&groups[*at].0), groups[*at].0.1));
    let rows = order.into_iter().map(|at| result(&groups[at].1));
    let rows = rows.map(|row| row.iter().map(|text| cell(text)).collect());
    let titles = shown_titles();
    let numbers = ["runs", "failed"].into_iter().chain(titles.iter().map(String::as_str));
    let context = ["framework", "model", "profile"].map(Column::Text);
    let columns: Vec<_> = context.into_iter().chain(numbers.map(Column::Number)).collect();
    let (mut text, left_out) = fitting(head(&columns), rows, RESULT_BYTES);
    if 0 < left_out {
        text.push_str(&format!("\n… and {left_out} more\n"));
    }
    section("Results", &text)
}

/// Titles of [`SHOWN`], short enough for a table that has all of them.
pub(crate) fn shown_titles() -> [String; SHOWN.len()] {
    SHOWN.map(|metric| {
        let card = metric.card();
        let title = card.title.replace("Request throughput", "Requests");
        format!("{} ({})", title.replace("Output token throughput", "Output"), card.unit)
    })
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
        format!("{}, {}", run.profile.name, run.engine),
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
    let numbers = [
        "Mean TTFT (ms)",
        "Mean TTFT from due (ms)",
        "P99 TTFT from due (ms)",
        "Mean E2E Latency from due (ms)",
        "P99 send lag (ms)",
        "Max send lag (ms)",
    ];
    let context = ["framework", "run"].map(Column::Text);
    let columns: Vec<_> = context.into_iter().chain(numbers.map(Column::Number)).collect();
    section("Sent later than due", &table(&columns, &rows))
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
    findings.sort_by_key(|finding| Reverse(finding.severity));
    let found = findings.into_iter().filter(|finding| Severity::Info < finding.severity);
    let found = found.map(|finding| {
        let at = finding.gpu.map_or_else(|| "host".to_owned(), |gpu| format!("GPU {gpu}"));
        let ends = finding.message.ends_with(['.', '!', '?']);
        let stop = if ends || finding.advice.is_empty() { "" } else { "." };
        let message = format!("{}{stop} {}", finding.message, finding.advice);
        vec![at, format!("{} ({})", finding.check, finding.severity), message]
    });
    let rows: Vec<_> = noted.chain(found).collect();
    section("Anomalies", &table(&["where", "kind", "what"].map(Column::Text), &rows))
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
    let table = table(&header.map(Column::Text), &rows);
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

/// A section to be opened. The title is HTML: Markdown is not read within it.
pub(crate) fn details(title: &str, body: &str) -> String {
    format!("\n<details><summary>{title}</summary>\n\n{body}\n</details>\n")
}

/// A column of a table, by its heading.
#[derive(Clone, Copy)]
pub(crate) enum Column<'a> {
    /// Of text.
    Text(&'a str),
    /// Of numbers, which stand below one another.
    Number(&'a str),
}

/// The head of a table: its headings and the line below them.
pub(crate) fn head(columns: &[Column<'_>]) -> String {
    let title = |column: &Column<'_>| match column {
        Column::Text(title) | Column::Number(title) => cell(title),
    };
    let rule = |column: &Column<'_>| match column {
        Column::Text(_) => "---".to_owned(),
        Column::Number(_) => "---:".to_owned(),
    };
    let titles: Vec<String> = columns.iter().map(title).collect();
    let rules: Vec<String> = columns.iter().map(rule).collect();
    line(&titles) + &line(&rules)
}

/// A row of a table; its cells are Markdown.
fn line(cells: &[String]) -> String {
    format!("| {} |\n", cells.join(" | "))
}

/// A table of whole rows within a number of bytes, and how many rows did not fit. Cells are given
/// as Markdown.
pub(crate) fn fitting(
    head: String,
    mut rows: impl ExactSizeIterator<Item = Vec<String>>,
    most_bytes: usize,
) -> (String, usize) {
    let (mut text, mut shown) = (head, 0);
    while let Some(row) = rows.next() {
        let row = line(&row);
        // Once a row does not fit none after it is shown: they are in order of importance.
        if most_bytes < text.len() + row.len() {
            let left_out = 1 + rows.len();
            return if shown == 0 { (String::new(), left_out) } else { (text, left_out) };
        }
        text.push_str(&row);
        shown += 1;
    }
    if shown == 0 { (String::new(), 0) } else { (text, 0) }
}

/// A table of a bounded number of rows; nothing if it has none.
fn table(columns: &[Column<'_>], rows: &[Vec<String>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut text = head(columns);
    for row in rows.iter().take(MOST_ROWS) {
        text.push_str(&line(&row.iter().map(|text| cell(text)).collect::<Vec<_>>()));
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
    format!("{} {how}", stats::gate::count(count, noun))
}

#[cfg(test)]
mod tests;
