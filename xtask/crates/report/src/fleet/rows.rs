//! What stands in the rows of every report of a fleet.

use std::collections::BTreeMap;

use domain::verdict::Verdict;
use stats::fleet::{CellState, Fleet, FleetCell, Measured};

use crate::markdown::{Column, SHOWN, cell, head, shown_titles, signed};
use crate::number::{change, readable_or_unknown};
use crate::text::markdown;

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

/// Columns of [`verdict_row`]; the last one, why, is left out where there is no room for it.
pub(super) const VERDICTS: [Column<'static>; 4] = [
    Column::Text("verdict"),
    Column::Text("cell"),
    Column::Text("worst change"),
    Column::Text("why"),
];

/// The row of a cell in the table of verdicts, with so many characters of why it is so.
pub(super) fn verdict_row(of: &FleetCell, why: usize) -> Vec<String> {
    let mut row =
        vec![signed(of.verdict(), word(of)), cell(&of.title), worst_change(of).unwrap_or_default()];
    if 0 < why {
        row.push(markdown(&of.reason(), why));
    }
    row
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
        // A number that breaks over lines is not read at a glance.
        let change = cell(&change(judged.change)).replace(' ', "&nbsp;");
        format!("{} {change}", cell(judged.metric.card().title))
    })
}

/// The head of a table of [`result_row`]s.
pub(super) fn results_head() -> String {
    let titles = shown_titles();
    let numbers = ["runs"].into_iter().chain(titles.iter().map(String::as_str));
    let context = ["cell", "version"].map(Column::Text);
    head(&context.into_iter().chain(numbers.map(Column::Number)).collect::<Vec<_>>())
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
