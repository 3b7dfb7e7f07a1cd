//! Annotations of GitHub Actions: workflow commands on stdout, one a profile.
//!
//! A step shows ten errors, ten warnings and ten notices, and drops the others without a word; so
//! the last of each says how many more there are.

use std::collections::BTreeMap;

use stats::fleet::{Fleet, FleetCell};

use super::Style;
use super::rows::{counts, word};
use crate::github::{self, Level, MOST_OF_A_LEVEL};
use crate::text::one_line;

/// Cells that an annotation names.
const NAMED: usize = 5;

/// Longest message, in characters; a check cuts far behind it.
const LONGEST: usize = 2_000;

/// One line an annotation, the worst profile first.
pub fn annotations(fleet: &Fleet, style: Style<'_>) -> String {
    if fleet.cells.is_empty() {
        let message = "no cell was found: nothing was measured";
        return command(Level::Error, style.suite, message);
    }
    let mut profiles: BTreeMap<&str, Vec<&FleetCell>> = BTreeMap::new();
    for cell in &fleet.cells {
        profiles.entry(&cell.profile).or_default().push(cell);
    }
    // The cells of a profile come the worst first, as those of the fleet do.
    let said = profiles.into_iter().filter_map(|(profile, cells)| {
        let level = Level::of(cells.first()?.verdict(), style.strictness)?;
        Some((level, profile, message(&cells, style)))
    });
    let mut said: Vec<(Level, &str, String)> = said.collect();
    let strangers = strangers(fleet).map(|message| (Level::Warning, "not in the plan", message));
    said.extend(strangers);
    said.sort_by_key(|(level, _, _)| std::cmp::Reverse(*level));
    let levels = said.chunk_by(|(a, _, _), (b, _, _)| a == b);
    levels.map(|level| of_level(level, style)).collect()
}

fn of_level(said: &[(Level, &str, String)], style: Style<'_>) -> String {
    let shown = if said.len() <= MOST_OF_A_LEVEL { said.len() } else { MOST_OF_A_LEVEL - 1 };
    let (first, rest) = said.split_at(shown);
    let commands = first.iter().map(|(level, about, message)| {
        command(*level, &format!("{}: {about}", style.suite), message)
    });
    let more = rest.first().map(|(level, _, _)| {
        let names: Vec<&str> = rest.iter().map(|(_, about, _)| *about).collect();
        let message = format!("{} more profiles: {}", rest.len(), names.join(", "));
        command(*level, style.suite, &message)
    });
    commands.chain(more).collect()
}

/// What is said of a profile: the counts, and its worst cells.
fn message(cells: &[&FleetCell], style: Style<'_>) -> String {
    let telling: Vec<&&FleetCell> =
        cells.iter().filter(|cell| Level::of(cell.verdict(), style.strictness).is_some()).collect();
    let mut lines = vec![counts(cells.iter().copied())];
    lines.extend(telling.iter().take(NAMED).map(|cell| {
        one_line(&format!("{} {}: {}", word(cell), cell.title, cell.reason()), LONGEST / NAMED)
    }));
    if let Some(more) = telling.len().checked_sub(NAMED).filter(|more| 0 < *more) {
        lines.push(format!("… and {more} more"));
    }
    lines.join("\n")
}

fn strangers(fleet: &Fleet) -> Option<String> {
    let first = fleet.strangers.first()?;
    let more = match fleet.strangers.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(one_line(&format!("`{}` {}{more}", first.place, first.why), LONGEST / NAMED))
}

/// A line that the runner obeys.
fn command(level: Level, title: &str, message: &str) -> String {
    github::command(level, &one_line(title, LONGEST / NAMED), message) + "\n"
}
