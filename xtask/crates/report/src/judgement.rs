//! Judgements for the terminal, and the words that every report has for them.

use std::ops::Range;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use domain::event::{Judgement, MetricJudgement};
use domain::gate::{Basis, Estimate};
use domain::metric::Better;
use domain::verdict::Verdict;
use stats::gate::{FileJudgement, JudgedPairs, percent};

use crate::number::{UNKNOWN, change, mean, readable_or_unknown};
use crate::text::one_line;

/// Width that the table keeps to, in columns, as long as every cell can.
const WIDTH: u16 = 100;

/// A rule below the heading and no other line.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Longest reason or note, in characters.
const LONGEST: usize = 600;

/// Longest name of a metric, in characters; files of pairs have names of their own.
const LONGEST_NAME: usize = 60;

/// Headings of the columns of [`row`]. The bounds are one-sided, each at 1 - beta.
pub(crate) const COLUMNS: [&str; 7] =
    ["metric", "baseline", "candidate", "change", "bounds", "p", "verdict"];

/// Which of the columns hold numbers.
pub(crate) const NUMBERS: Range<usize> = 1..6;

/// What stands for the verdict of a metric that does not decide.
const NOT_GATING: &str = "not gating";

/// What stands below the verdict of servers that ran on from run to run.
const WEAKER: &str = "WEAKER: the servers were not started anew for each run\n";

/// A verdict in words.
pub(crate) fn words(verdict: Verdict) -> String {
    verdict.as_str().replace('-', " ")
}

/// A judgement with its metrics, for the terminal.
pub fn text(judgement: &Judgement) -> String {
    let verdict = verdict_line(judgement.verdict, &judgement.reason);
    let key = one_line(&judgement.key, LONGEST);
    let weaker = weaker(judgement);
    format!("{key}\n{verdict}{weaker}{}{}", grid(rows(judgement)), notes(&judgement.notes))
}

/// The judgement on a file of pairs with its metrics, for the terminal.
pub fn text_of_pairs(judged: &FileJudgement) -> String {
    let verdict = verdict_line(judged.decision.verdict, &judged.reason);
    format!("{verdict}{}{}", grid(rows_of_pairs(judged)), notes(&judged.notes))
}

/// The mark of a judgement that rests on one server start a side; else nothing.
pub(crate) fn weaker(judgement: &Judgement) -> &'static str {
    match judgement.basis {
        Some(Basis::InterleavedOneStart) => WEAKER,
        Some(Basis::Interleaved | Basis::Pairs | Basis::Stored | Basis::StoredAllowed) | None => "",
    }
}

fn grid(rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut grid = Table::new();
    grid.load_style(STYLE);
    grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    grid.set_header(COLUMNS);
    rows.into_iter().for_each(|row| {
        grid.add_row(row);
    });
    for column in grid.column_iter_mut().skip(NUMBERS.start).take(NUMBERS.len()) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    grid.trim_fmt() + "\n"
}

/// `REGRESSED: worse, 4 pairs: …`.
fn verdict_line(verdict: Verdict, reason: &str) -> String {
    format!("{}: {}\n", said(verdict), one_line(reason, LONGEST))
}

/// A verdict in capitals.
pub(crate) fn said(verdict: Verdict) -> String {
    words(verdict).to_uppercase()
}

fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("note: {}\n", one_line(note, LONGEST))).collect()
}

/// A judged metric as every report shows it, whatever it was judged from.
pub(crate) struct Shown<'a> {
    pub(crate) name: &'a str,
    unit: Option<&'static str>,
    better: Better,
    change: Option<f64>,
    pub(crate) sides: [&'a [f64]; 2],
    estimate: Option<&'a Estimate>,
}

impl<'a> From<&'a MetricJudgement> for Shown<'a> {
    fn from(judged: &'a MetricJudgement) -> Self {
        let card = judged.metric.card();
        Self {
            name: card.title,
            unit: Some(card.unit),
            better: card.better,
            change: judged.change,
            sides: [&judged.baseline, &judged.candidate],
            estimate: judged.estimate.as_ref(),
        }
    }
}

impl<'a> From<&'a JudgedPairs> for Shown<'a> {
    fn from(judged: &'a JudgedPairs) -> Self {
        let estimate = judged.estimate.as_ref();
        let [baseline, candidate] = &judged.used;
        Self {
            name: &judged.name,
            unit: None,
            better: judged.better,
            change: estimate
                .and_then(|found| percent(judged.better, found))
                .map(|percent| percent.change / 100.0),
            sides: [baseline, candidate],
            estimate,
        }
    }
}

/// One row a metric, the deciding ones first.
pub(crate) fn rows(judgement: &Judgement) -> Vec<Vec<String>> {
    let judged = judgement.metrics.iter();
    let judged = judged.map(|judged| Shown::from(judged).row(judged.verdict.as_str()));
    let reported = judgement.reported.iter().map(|judged| Shown::from(judged).row(NOT_GATING));
    judged.chain(reported).collect()
}

/// One row a metric of a file of pairs.
pub(crate) fn rows_of_pairs(judged: &FileJudgement) -> Vec<Vec<String>> {
    judged.metrics.iter().map(|pairs| Shown::from(pairs).row(pairs.verdict.as_str())).collect()
}

impl Shown<'_> {
    fn row(&self, verdict: &str) -> Vec<String> {
        let unit = self.unit.map_or_else(String::new, |unit| format!(" ({unit})"));
        let [baseline, candidate] = self.sides.map(|values| readable_or_unknown(mean(values)));
        vec![
            one_line(&format!("{}{unit}", self.name), LONGEST_NAME),
            baseline,
            candidate,
            change(self.change),
            self.bounds(),
            self.estimate
                .map_or_else(|| UNKNOWN.to_owned(), |found| format!("{:.1e}", found.p_told())),
            verdict.to_owned(),
        ]
    }

    /// `+2.6, +5.8`, in percent.
    fn bounds(&self) -> String {
        let percent = self.estimate.and_then(|found| percent(self.better, found));
        percent.map_or_else(
            || UNKNOWN.to_owned(),
            |percent| format!("{:+.1}, {:+.1}", percent.low, percent.high),
        )
    }

    /// The change so that it is understood alone, in at most 200 characters where the name is
    /// short: `Mean TPOT +4.2 % [95 % bounds +2.6, +5.8], 6 pairs, p = 2.0e-5 <= 4.8e-4`.
    pub(crate) fn message(&self, pairs: u32) -> String {
        let (name, change) = (one_line(self.name, LONGEST_NAME), change(self.change));
        let Some(estimate) = self.estimate else {
            let unit = self.unit.map_or_else(String::new, |unit| format!(" {unit}"));
            let side = |values: &[f64]| format!("{}{unit}", readable_or_unknown(mean(values)));
            let [before, now] = self.sides.map(side);
            let [old, new] = self.sides.map(<[f64]>::len);
            return format!(
                "{name} {change}: {before} before (runs: {old}), {now} now (runs: {new})"
            );
        };
        let spent = if estimate.alpha <= 0.0 {
            String::new()
        } else {
            let relation = if estimate.p <= estimate.alpha { "<=" } else { ">" };
            format!(", p = {:.1e} {relation} {:.1e}", estimate.p, estimate.alpha)
        };
        let from =
            if pairs == 0 { String::new() } else { format!(", {}", stats::gate::counted(pairs)) };
        format!("{name} {change} [95 % bounds {}]{from}{spent}", self.bounds())
    }
}

#[cfg(test)]
mod tests;
