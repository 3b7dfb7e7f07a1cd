//! What stands in the rows of every report of a fleet.

use std::collections::BTreeMap;

use domain::verdict::Verdict;
use stats::fleet::{CellState, Fleet, FleetCell, Measured};

use crate::markdown::{SHOWN, cell};
use crate::number::{change, readable_or_unknown};

/// What became of a cell, in one word, with the sign that people find it by.
pub(super) fn word(of: &FleetCell) -> &'static str {
    match &of.state {
        CellState::Missing => "missing",
        CellState::Failed(_) => "failed",
        CellState::Invalid(_) => "invalid",
        CellState::Incomparable(_) => Verdict::Incomparable.as_str(),
        CellState::Judged => of.verdict().as_str(),
    }
}

/// A sign for a verdict, since colour is not to be had in Markdown.
pub(super) const fn sign(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✅",
        Verdict::Improved => "🚀",
        Verdict::MissingBaseline => "🆕",
        Verdict::Inconclusive => "❔",
        Verdict::Regressed => "❌",
        Verdict::Incomparable => "⛔",
        Verdict::Broken => "💥",
    }
}

/// `1 regressed, 1 missing, 10 pass`, the worst first.
pub(super) fn counts<'a>(cells: impl Iterator<Item = &'a FleetCell>) -> String {
    let mut counts: BTreeMap<(std::cmp::Reverse<Verdict>, &str), usize> = BTreeMap::new();
    for cell in cells {
        *counts.entry((std::cmp::Reverse(cell.verdict()), word(cell))).or_default() += 1;
    }
    let counts = counts.into_iter().map(|((_, word), count)| format!("{count} {word}"));
    counts.collect::<Vec<_>>().join(", ")
}

/// `12 cells` or `12 of 14 planned cells measured`.
pub(super) fn extent(fleet: &Fleet) -> String {
    let judged = fleet.cells.iter().filter(|cell| cell.state == CellState::Judged).count();
    let all = fleet.planned.unwrap_or(fleet.cells.len());
    let noun = if all == 1 { "cell" } else { "cells" };
    if fleet.planned.is_some() {
        format!("{judged} of {all} planned {noun} measured")
    } else {
        format!("{judged} of {all} {noun} measured")
    }
}

/// Headings of [`verdict_row`].
pub(super) const VERDICTS: [&str; 4] = ["", "cell", "worst change", "why"];

/// The row of a cell in the table of verdicts.
pub(super) fn verdict_row(of: &FleetCell) -> Vec<String> {
    let verdict = of.verdict();
    vec![
        format!("{}&nbsp;{}", sign(verdict), word(of)),
        cell(&of.title),
        worst_change(of).unwrap_or_default(),
        cell(&of.reason()),
    ]
}

/// The change of the gating metric that is worst, by its verdict and then by its size.
fn worst_change(of: &FleetCell) -> Option<String> {
    let metrics = of.judgements.iter().flat_map(|judged| &judged.metrics);
    let changed = metrics.filter_map(|judged| {
        let worsening = judged.estimate.as_ref()?.estimate;
        Some((judged, worsening))
    });
    let worst =
        changed.max_by(|(a, by), (b, other)| a.verdict.cmp(&b.verdict).then(by.total_cmp(other)));
    worst.map(|(judged, _)| {
        let text = format!("{} {}", judged.metric.card().title, change(judged.change));
        // A number that breaks over lines is not read at a glance.
        cell(&text).replace(' ', "&nbsp;")
    })
}

/// Headings of [`result_row`].
pub(super) fn results() -> Vec<String> {
    let context = ["cell", "version", "runs"].map(str::to_owned);
    let metrics = SHOWN.map(|metric| format!("{} ({})", metric.card().title, metric.card().unit));
    context.into_iter().chain(metrics).collect()
}

/// The row of what was measured of a key.
pub(super) fn result_row(of: &FleetCell, measured: &Measured) -> Vec<String> {
    let title = if of.measured.len() == 1 {
        of.title.clone()
    } else {
        format!("{} ({}/{})", of.title, measured.framework, measured.profile)
    };
    let context = [
        cell(&title),
        cell(measured.framework_version.as_deref().unwrap_or("unknown")),
        measured.runs.to_string(),
    ];
    let values = SHOWN.map(|metric| readable_or_unknown(measured.means.get(&metric).copied()));
    context.into_iter().chain(values).collect()
}

/// A table of whole rows within a number of bytes, and how many rows did not fit. Cells are given
/// as Markdown.
pub(super) fn table(
    header: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
    most_bytes: usize,
) -> (String, usize) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let titles: Vec<String> = header.iter().map(|title| (*title).to_owned()).collect();
    let mut text = line(&titles);
    text.push_str(&line(&vec!["---".to_owned(); header.len()]));
    let (mut shown, mut left_out) = (0, 0);
    for row in rows {
        let row = line(&row);
        // Once a row does not fit none after it is shown: they are in order of importance.
        if 0 < left_out || most_bytes < text.len() + row.len() {
            left_out += 1;
        } else {
            text.push_str(&row);
            shown += 1;
        }
    }
    if shown == 0 { (String::new(), left_out) } else { (text, left_out) }
}
