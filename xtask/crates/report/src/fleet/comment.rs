//! The comment on a pull request: one, found again by its hidden marker.

use stats::fleet::Fleet;

use super::Style;
use super::summary::{headline, notes, verdicts};
use crate::markdown::section;

/// Bytes of the table: a comment holds 65,536 characters.
const VERDICT_BYTES: usize = 55_000;

/// Bytes of what else was found.
const NOTE_BYTES: usize = 8_000;

/// The fleet as a comment on a pull request, below 64 KiB. Its first line is a hidden marker, by
/// which the next one takes its place.
pub fn comment(fleet: &Fleet, style: Style<'_>) -> String {
    let mut text = format!("<!-- servegate:{} -->\n{}", style.suite, headline(fleet, style));
    let verdicts = verdicts(fleet, VERDICT_BYTES);
    if !verdicts.is_empty() {
        text.push_str(&format!("\n{verdicts}"));
    }
    text.push_str(&section("Found", &notes(fleet, NOTE_BYTES)));
    text.push_str("\n<sub>The job summary has the metrics of each cell.</sub>\n");
    text
}
