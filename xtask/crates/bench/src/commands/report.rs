//! `report`: any report of a recorded session, remade from its journal.

use anyhow::{Context as _, Result};
use domain::event::Entry;
use domain::exit::Exit;
use report::SessionView;
use report::lines::Narrator;

use crate::cli::{Format, ReportArgs};
use crate::failure::Failure;
use crate::output::print;
use crate::recorded;
use crate::session::{recorded_order, report_template};
use crate::store::Results;

/// Carries it out.
pub fn run(args: &ReportArgs) -> Result<Exit, Failure> {
    let results = Results::at(&args.results);
    let (_, entries) = recorded::session(&results, args.session.as_deref())?;
    let view = SessionView::fold(&entries);
    let text = match args.format {
        Format::Text => text(&view, &entries)?,
        Format::Lines => lines(&entries),
        Format::Junit => junit(&view, &entries)?,
        Format::Markdown => report::markdown::markdown(&view),
        Format::Json => json(&view)?,
        Format::Annotations => annotations(&view, &entries)?,
        Format::Outputs => report::github::outputs(&view),
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// The session's result as `--json` prints it.
pub(crate) fn json(view: &SessionView) -> Result<String> {
    let runs: Vec<_> = view.runs.iter().map(|run| &run.summary).collect();
    let anomalies: Vec<_> = view.anomalies.iter().map(|noted| &noted.anomaly).collect();
    let result = serde_json::json!({
        "session": view.session,
        "exit": view.exit.map(|exit| exit.code()),
        "runs": runs,
        "judgements": view.judgements,
        "anomalies": anomalies,
        "comparison": view.comparison,
    });
    let text =
        serde_json::to_string_pretty(&result).context("cannot express the result as JSON")?;
    Ok(text + "\n")
}

/// The report block of each run, by the template of the session's own skills.
fn text(view: &SessionView, entries: &[Entry]) -> Result<String, Failure> {
    if view.runs.is_empty() {
        return Ok(
            "no run of this session counts; `--format lines` tells what happened\n".to_owned()
        );
    }
    let (order, _) = recorded_order(entries)?;
    let template = report_template(&order)?;
    let blocks = view.runs.iter().map(|run| report::run_report::render(&template, &run.summary));
    let blocks = blocks.collect::<Result<Vec<_>, _>>().map_err(Failure::not_measured)?;
    Ok(blocks.join("\n"))
}

/// JUnit, with verdicts turned into failures as the session itself did.
fn junit(view: &SessionView, entries: &[Entry]) -> Result<String, Failure> {
    let (order, _) = recorded_order(entries)?;
    report::junit::junit(view, order.options.strictness).map_err(Failure::not_measured)
}

/// Annotations, loud where the session's own strictness makes the verdict a failure.
fn annotations(view: &SessionView, entries: &[Entry]) -> Result<String, Failure> {
    let (order, _) = recorded_order(entries)?;
    Ok(report::github::annotations(view, order.options.strictness))
}

fn lines(entries: &[Entry]) -> String {
    let mut narrator = Narrator::default();
    let lines = entries.iter().map(|entry| (entry.at, narrator.line(&entry.event)));
    lines.filter(|(_, line)| !line.is_empty()).map(|(at, line)| format!("{at}  {line}\n")).collect()
}
