//! The comparison across frameworks for the terminal.

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};
use stats::Comparison;
use stats::compare::{Cell, ProfileComparison, Row};
use stats::contract::Held;

use crate::number::{UNKNOWN, readable, with_spread};
use crate::text::{one_line, shortened};

/// Width that the table keeps to, in columns, as long as every cell can.
const WIDTH: u16 = 80;

/// A rule below the heading and no other line.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// Longest text in a heading or a finding, in characters.
const LONGEST: usize = 400;

/// One table a profile, each with what makes its columns no comparison.
pub fn table(comparison: &Comparison) -> String {
    let tables: Vec<String> = comparison.profiles.iter().map(profile).collect();
    tables.join("\n")
}

fn profile(comparison: &ProfileComparison) -> String {
    let mut text = format!("Profile {}\n", one_line(&comparison.profile, LONGEST));
    text.push_str(&grid(comparison).trim_fmt());
    text.push('\n');
    if comparison.rows.iter().any(|row| row.best.is_some()) {
        text.push_str("* best: every run is better than every run of the others\n");
    }
    if !comparison.findings.is_empty() {
        text.push_str("Not like for like:\n");
    }
    for finding in &comparison.findings {
        text.push_str(&format!("- {}\n", one_line(&finding.to_string(), LONGEST)));
    }
    if !comparison.contract.is_empty() {
        text.push_str(&format!(
            "Held equal, as the servers say:\n{}\n",
            terms(comparison).trim_fmt()
        ));
    }
    text
}

/// The contract: one term a row, with a mark where it was not held or not said.
fn terms(comparison: &ProfileComparison) -> Table {
    let mut grid = Table::new();
    grid.load_style(STYLE);
    grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    let titles = comparison.columns.iter().map(|column| one_line(&column.title, LONGEST));
    grid.set_header([String::new(), String::new()].into_iter().chain(titles));
    for row in &comparison.contract {
        let values = row.values.iter().map(|value| match value {
            Some(value) => one_line(&shortened(value, TERM_CHARS), LONGEST),
            None => "not said".to_owned(),
        });
        let front = [row.term.title().to_owned(), held(row.held).to_owned()];
        grid.add_row(front.into_iter().chain(values));
    }
    grid
}

/// Longest value of a term in its table, in characters; the JSON has all of it.
const TERM_CHARS: usize = 24;

const fn held(held: Held) -> &'static str {
    match held {
        Held::Equal => "equal",
        Held::EqualInEffect => "in effect",
        Held::Unequal => "NOT EQUAL",
        Held::NotSaid => "?",
    }
}

fn grid(comparison: &ProfileComparison) -> Table {
    let mut grid = Table::new();
    grid.load_style(STYLE);
    grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(WIDTH);
    let titles = comparison.columns.iter().map(|column| one_line(&column.title, LONGEST));
    grid.set_header([String::new()].into_iter().chain(titles));
    grid.add_row(counted("runs", comparison.columns.iter().map(|column| column.runs)));
    let failed = comparison.columns.iter().map(|column| column.failed_requests);
    grid.add_row(counted("failed requests", failed));
    for row in &comparison.rows {
        grid.add_row(metric(row));
    }
    for column in grid.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    grid
}

fn counted(label: &str, counts: impl Iterator<Item = u32>) -> Vec<String> {
    [label.to_owned()].into_iter().chain(counts.map(|count| count.to_string())).collect()
}

fn metric(row: &Row) -> Vec<String> {
    let card = row.metric.card();
    // Blanks of the mark's width keep numbers below one another.
    let mark = |at| if row.best == Some(at) { " *" } else { "  " };
    let cells =
        row.cells.iter().enumerate().map(|(at, cell)| format!("{}{}", shown(*cell), mark(at)));
    [format!("{} ({})", card.title, card.unit)].into_iter().chain(cells).collect()
}

/// Mean and standard deviation over repeats: `12.3 ± 0.4`.
pub(crate) fn shown(cell: Option<Cell>) -> String {
    let Some(cell) = cell else { return UNKNOWN.to_owned() };
    match cell.spread {
        Some(spread) => with_spread(cell.mean, spread),
        None => readable(cell.mean),
    }
}

#[cfg(test)]
pub(crate) mod tests;
