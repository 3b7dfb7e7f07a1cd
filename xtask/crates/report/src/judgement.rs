//! Judgements for the terminal, and the words that every report has for them.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use domain::event::{Judgement, MetricJudgement};
use domain::gate::Estimate;
use domain::metric::Better;
use domain::verdict::Verdict;
use stats::gate::percent;

use crate::number::{UNKNOWN, change, mean, readable_or_unknown};
use crate::text::one_line;

/// Width that the table keeps to, in columns, as long as every cell can.
const WIDTH: u16 = 100;

/// A rule below the heading and no other line.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Longest reason or note, in characters.
const LONGEST: usize = 600;

/// Headings of the columns of [`row`]. The bounds are one-sided, each at 1 - beta.
pub(crate) const COLUMNS: [&str; 7] =
    ["metric", "baseline", "candidate", "change", "bounds", "p", "verdict"];

/// What stands for the verdict of a metric that does not decide.
const NOT_GATING: &str = "not gating";

/// A judgement with its metrics, for the terminal.
pub fn text(judgement: &Judgement) -> String {
    let verdict = verdict_line(judgement.verdict, &judgement.reason, &[]);
    let mut text = format!("{}\n{verdict}", one_line(&judgement.key, LONGEST));
    let rows = rows(judgement);
    if !rows.is_empty() {
        let mut grid = Table::new();
        grid.load_style(STYLE);
        grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
        grid.set_header(COLUMNS);
        rows.into_iter().for_each(|row| {
            grid.add_row(row);
        });
        for column in grid.column_iter_mut().skip(1).take(COLUMNS.len() - 2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        text.push_str(&grid.trim_fmt());
        text.push('\n');
    }
    text + &notes(&judgement.notes)
}

/// `REGRESSED: worse, 4 pairs: …`, and each note on a line of its own.
pub fn verdict_line(verdict: Verdict, reason: &str, also: &[String]) -> String {
    let verdict = verdict.as_str().replace('-', " ").to_uppercase();
    format!("{verdict}: {}\n{}", one_line(reason, LONGEST), notes(also))
}

fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("note: {}\n", one_line(note, LONGEST))).collect()
}

/// One row a metric, the deciding ones first.
pub(crate) fn rows(judgement: &Judgement) -> Vec<Vec<String>> {
    let judged = judgement.metrics.iter().map(|judged| row(judged, judged.verdict.as_str()));
    judged.chain(judgement.reported.iter().map(|judged| row(judged, NOT_GATING))).collect()
}

fn row(judged: &MetricJudgement, verdict: &str) -> Vec<String> {
    let card = judged.metric.card();
    let estimate = judged.estimate.as_ref();
    vec![
        format!("{} ({})", card.title, card.unit),
        readable_or_unknown(mean(&judged.baseline)),
        readable_or_unknown(mean(&judged.candidate)),
        change(judged.change),
        estimate.and_then(|found| bounds(card.better, found)).unwrap_or_else(|| UNKNOWN.to_owned()),
        estimate.map_or_else(|| UNKNOWN.to_owned(), |found| format!("{:.1e}", found.p)),
        verdict.to_owned(),
    ]
}

/// `+2.6, +5.8`, in percent.
fn bounds(better: Better, estimate: &Estimate) -> Option<String> {
    percent(better, estimate).map(|percent| format!("{:+.1}, {:+.1}", percent.low, percent.high))
}

/// A metric's change so that it is understood alone, in at most 200 characters:
/// `Mean TPOT +4.2 % [95 % bounds +2.6, +5.8], 6 pairs, p = 2.0e-5 <= 4.8e-4`.
pub(crate) fn message(judged: &MetricJudgement, pairs: u32) -> String {
    let card = judged.metric.card();
    let change = change(judged.change);
    let Some(estimate) = &judged.estimate else {
        let side = |values: &[f64]| readable_or_unknown(mean(values));
        let (before, now) = (side(&judged.baseline), side(&judged.candidate));
        let (old, new) = (judged.baseline.len(), judged.candidate.len());
        return format!(
            "{} {change}: {before} {unit} before (runs: {old}), {now} {unit} now (runs: {new})",
            card.title,
            unit = card.unit,
        );
    };
    let bounds = bounds(card.better, estimate).unwrap_or_else(|| UNKNOWN.to_owned());
    let spent = if estimate.alpha <= 0.0 {
        String::new()
    } else {
        let relation = if estimate.p <= estimate.alpha { "<=" } else { ">" };
        format!(", p = {:.1e} {relation} {:.1e}", estimate.p, estimate.alpha)
    };
    let from =
        if pairs == 0 { String::new() } else { format!(", {}", stats::gate::counted(pairs)) };
    format!("{} {change} [95 % bounds {bounds}]{from}{spent}", card.title)
}

#[cfg(test)]
mod tests;
