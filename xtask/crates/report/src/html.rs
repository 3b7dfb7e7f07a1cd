//! The comparison across frameworks as one HTML page, light or dark as the reader's system is.

use domain::anomaly::Anomaly;
use stats::Comparison;
use stats::compare::{Column, ProfileComparison, Row};
use stats::contract::{Held, TermRow};

use crate::table::shown;
use crate::text::{html as escaped, shortened};

/// Longest text from elsewhere, in characters.
const LONGEST: usize = 400;

const STYLE: &str = "\
:root { color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif }
body { max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem; border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent); text-align: right; vertical-align: bottom }
th:first-child { text-align: left; font-weight: normal }
thead th { font-weight: bold }
thead small { display: block; font-weight: normal; opacity: .7 }
.best { font-weight: bold }
.warning { border-left: .3rem solid #d29922; padding: .3rem 1rem }
footer { margin-top: 2rem; opacity: .7 }";

/// A page that needs nothing beside itself.
pub fn html(comparison: &Comparison) -> String {
    let sections: String = comparison.profiles.iter().map(section).collect();
    let created = comparison.created;
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Comparison of serving frameworks</title>\n<style>\n{STYLE}\n</style>\n</head>\n\
         <body>\n<h1>Comparison of serving frameworks</h1>\n{sections}\
         <footer>Made by servegate at {created}. Each number is the mean over the runs and, from \
         two runs on, their standard deviation; in bold where every run is better than every run \
         of the others.</footer>\n</body>\n</html>\n"
    )
}

fn section(comparison: &ProfileComparison) -> String {
    let headings: String = comparison.columns.iter().map(heading).collect();
    let rows: String = comparison.rows.iter().map(row).collect();
    format!(
        "<section>\n<h2>Profile {}</h2>\n{}<div class=\"wide\">\n<table>\n\
         <thead><tr><th></th>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n\
         </div>\n{}</section>\n",
        text(&comparison.profile),
        warning(comparison),
        contract(comparison),
    )
}

/// What the columns were held to, where that is on record.
fn contract(comparison: &ProfileComparison) -> String {
    if comparison.contract.is_empty() {
        return String::new();
    }
    let titles = comparison.columns.iter().map(|column| text(&column.title));
    let headings: String = titles.map(|title| format!("<th scope=\"col\">{title}</th>")).collect();
    let row = |row: &TermRow| {
        let class = if row.held == Held::Unequal { " class=\"warning\"" } else { "" };
        let values = row.values.iter().map(|value| value.as_deref().unwrap_or("not said"));
        let cells: String = values.map(|value| format!("<td>{}</td>", text(value))).collect();
        format!("<tr{class}><th scope=\"row\">{}</th>{cells}</tr>\n", row.term.title())
    };
    let rows: String = comparison.contract.iter().map(row).collect();
    format!(
        "<h3>Held equal, as the servers say</h3>\n<div class=\"wide\">\n<table>\n\
         <thead><tr><th></th>{headings}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n"
    )
}

fn warning(comparison: &ProfileComparison) -> String {
    if comparison.findings.is_empty() {
        return String::new();
    }
    let item = |finding: &Anomaly| format!("<li>{}</li>\n", text(&finding.to_string()));
    let items: String = comparison.findings.iter().map(item).collect();
    format!(
        "<div class=\"warning\">\n<strong>Not like for like</strong>\n<ul>\n{items}</ul>\n</div>\n"
    )
}

fn heading(column: &Column) -> String {
    let version = column.framework_version.as_deref().unwrap_or("of unknown version");
    format!(
        "<th scope=\"col\">{}<small>{} {}</small><small>{}</small><small>engine {}, {}</small>\
         <small>runs: {}, failed requests: {}</small></th>",
        text(&column.title),
        text(column.framework.title()),
        text(version),
        text(&column.model),
        column.engine,
        column.backend,
        column.runs,
        column.failed_requests,
    )
}

fn row(row: &Row) -> String {
    let card = row.metric.card();
    let cells = row.cells.iter().enumerate().map(|(at, cell)| {
        let class = if row.best == Some(at) { " class=\"best\"" } else { "" };
        format!("<td{class}>{}</td>", shown(*cell))
    });
    let cells: String = cells.collect();
    let (title, unit, meaning) = (text(card.title), text(card.unit), text(card.meaning));
    format!("<tr><th scope=\"row\" title=\"{meaning}\">{title} ({unit})</th>{cells}</tr>\n")
}

fn text(of: &str) -> String {
    escaped(&shortened(of, LONGEST))
}

#[cfg(test)]
mod tests;
