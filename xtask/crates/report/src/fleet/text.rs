//! The fleet for the terminal.

use domain::verdict::Verdict;
use stats::fleet::Fleet;

use super::Style;
use super::rows::{counts, extent, word};
use crate::text::one_line;

/// Cells that are listed; the rest is counted.
const MOST_LISTED: usize = 100;

/// Longest line, in characters.
const LONGEST: usize = 600;

/// What became of the fleet, and a line for each cell that did not plainly pass.
pub fn text(fleet: &Fleet, style: Style<'_>) -> String {
    if fleet.cells.is_empty() {
        return format!("{}: no cell was found: nothing was measured\n", style.suite);
    }
    let mut lines =
        vec![format!("{}: {} ({})", style.suite, counts(fleet.cells.iter()), extent(fleet))];
    let telling: Vec<_> =
        fleet.cells.iter().filter(|cell| cell.verdict() != Verdict::Pass).collect();
    lines.extend(telling.iter().take(MOST_LISTED).map(|cell| {
        let word = word(cell).to_uppercase();
        format!("{word} {}: {}", cell.title, cell.reason())
    }));
    if let Some(more) = telling.len().checked_sub(MOST_LISTED).filter(|more| 0 < *more) {
        let rest = telling.iter().skip(MOST_LISTED).copied();
        lines.push(format!("… and {more} more: {}", counts(rest)));
    }
    let notes = fleet.cells.iter().flat_map(|cell| {
        cell.notes.iter().map(move |note| format!("note: {}: {note}", cell.title))
    });
    lines.extend(notes.take(MOST_LISTED));
    let strangers = fleet.strangers.iter();
    let strangers =
        strangers.map(|stranger| format!("note: `{}` {}", stranger.place, stranger.why));
    lines.extend(strangers.take(MOST_LISTED));
    lines.iter().map(|line| one_line(line, LONGEST) + "\n").collect()
}

/// A text that a runner of GitHub Actions takes for no command of its own: it looks for `::` at
/// the beginning of a line and for `##[` anywhere in it.
pub fn without_commands(text: &str) -> String {
    let line = |line: &str| {
        let line = line.replace("##[", "# #[");
        if line.trim_start().starts_with("::") { format!("· {line}") } else { line }
    };
    text.split_inclusive('\n').map(line).collect()
}
