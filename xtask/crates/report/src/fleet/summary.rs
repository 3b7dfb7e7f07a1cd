//! The job summary: every cell, the details of those that need a look, what was measured.

use domain::exit::Exit;
use domain::verdict::Verdict;
use stats::fleet::{Fleet, FleetCell};

use super::Style;
use super::rows::{VERDICTS, counts, extent, result_row, results_head, verdict_row, word};
use crate::judgement::rows;
use crate::markdown::{LONGEST_CELL, cell, details, fitting, head, judged_columns, section, sign};
use crate::text::in_tag;

/// Bytes of the whole: GitHub refuses more than 1 MiB a step, and a job writes around it.
const MOST_BYTES: usize = 900_000;

/// Bytes of each part, so that a long one leaves room for those after it.
const VERDICT_BYTES: usize = 300_000;
const DETAIL_BYTES: usize = 250_000;
const NOTE_BYTES: usize = 50_000;
const RESULT_BYTES: usize = 250_000;

/// The fleet as a job summary of GitHub, below 1 MiB.
pub fn summary(fleet: &Fleet, style: Style<'_>) -> String {
    let mut text = headline(fleet, style);
    text.push_str(&section("Verdicts", &verdicts(fleet, VERDICT_BYTES)));
    text.push_str(&looks(fleet));
    text.push_str(&section("Found", &notes(fleet, NOTE_BYTES)));
    text.push_str(&measured(fleet));
    debug_assert!(text.len() <= MOST_BYTES, "the parts are smaller than the whole");
    text
}

/// What happened, in two lines.
pub(super) fn headline(fleet: &Fleet, style: Style<'_>) -> String {
    let verdict = fleet.verdict();
    let exit = verdict.exit(style.strictness);
    let word = headline_word(fleet).replace('-', " ");
    let title = format!("## {} {}: {word}", sign(verdict), cell(style.suite));
    if fleet.cells.is_empty() {
        let code = exit.code();
        return format!(
            "{title}\n\n**No cell was found: nothing was measured.** Exit code {code}.\n"
        );
    }
    let counts = counts(fleet.cells.iter());
    let extent = extent(fleet);
    let code = match exit {
        // The verdict says it all.
        Exit::Done => exit.code().to_string(),
        other => format!("{}: {}", other.code(), other.meaning()),
    };
    format!("{title}\n\n{counts} · {extent} · exit code {code}\n")
}

/// The word of the worst cell: what is missing says more than that something is broken.
fn headline_word(fleet: &Fleet) -> &'static str {
    fleet.cells.first().map_or("nothing found", word)
}

/// Cells that pass and stand in the table with the others; more are to be opened.
const PASSES_SHOWN: usize = 10;

/// Characters of why a verdict is what it is, the most that let every row fit: a cell that is
/// listed says more than another's reason in full.
const WHY_CHARS: [usize; 4] = [LONGEST_CELL, 120, 50, 0];

/// Characters of it where not every row fits anyhow.
const WHY_CHARS_OF_THE_WORST: usize = 120;

/// The cells, the worst first, within a number of bytes. Many that pass are to be opened: they are
/// no news. What found no room is counted.
pub(super) fn verdicts(fleet: &Fleet, most_bytes: usize) -> String {
    let (passes, telling): (Vec<&FleetCell>, Vec<&FleetCell>) =
        fleet.cells.iter().partition(|cell| cell.verdict() == Verdict::Pass);
    if passes.len() <= PASSES_SHOWN {
        return listed(&fleet.cells.iter().collect::<Vec<_>>(), most_bytes);
    }
    let mut text = listed(&telling, most_bytes);
    let room = most_bytes.saturating_sub(text.len());
    let title = format!("{} {} pass", sign(Verdict::Pass), passes.len());
    text.push_str(&details(&title, &listed(&passes, room)));
    text
}

/// A table of cells, and a line for those that found no room.
fn listed(cells: &[&FleetCell], most_bytes: usize) -> String {
    let of = |why: usize| {
        let columns = if why == 0 { &VERDICTS[..VERDICTS.len() - 1] } else { &VERDICTS[..] };
        fitting(head(columns), cells.iter().map(|cell| verdict_row(cell, why)), most_bytes)
    };
    let whole = WHY_CHARS.into_iter().map(of).find(|(_, left_out)| *left_out == 0);
    let (mut text, left_out) = whole.unwrap_or_else(|| of(WHY_CHARS_OF_THE_WORST));
    if 0 < left_out {
        let rest = cells[cells.len() - left_out..].iter().copied();
        text.push_str(&format!("\n… and {left_out} more: {}\n", counts(rest)));
    }
    text
}

/// The metrics of each cell that somebody should look at, to be opened.
fn looks(fleet: &Fleet) -> String {
    let (mut text, mut left_out) = (String::new(), 0_usize);
    let telling = fleet.cells.iter().filter(|cell| cell.verdict() != Verdict::Pass);
    for cell in telling.filter(|cell| !cell.judgements.is_empty()) {
        let details = look(cell);
        if DETAIL_BYTES < text.len() + details.len() {
            left_out += 1;
        } else {
            text.push_str(&details);
        }
    }
    if 0 < left_out {
        text.push_str(&format!("\n… and the details of {left_out} more cells\n"));
    }
    text
}

fn look(of: &FleetCell) -> String {
    let mut body = String::new();
    for judgement in &of.judgements {
        let rows = rows(judgement).into_iter();
        let rows = rows.map(|row| row.iter().map(|text| cell(text)).collect());
        let (table, _) = fitting(head(&judged_columns()), rows, DETAIL_BYTES);
        body.push_str(&format!("{}\n\n{table}\n", cell(&judgement.key)));
        let notes = judgement.notes.iter().map(|note| format!("- {}\n", cell(note)));
        body.push_str(&notes.collect::<String>());
    }
    let title = in_tag(&of.title, LONGEST_CELL);
    let title = format!("{} {}: {title}", sign(of.verdict()), word(of).replace('-', " "));
    details(&title, &body)
}

/// Copies, replaced sessions, and what stands for no cell.
pub(super) fn notes(fleet: &Fleet, most_bytes: usize) -> String {
    let of_cells = fleet.cells.iter().flat_map(|of| {
        of.notes.iter().map(move |note| format!("- {}: {}\n", cell(&of.title), cell(note)))
    });
    let strangers = fleet.strangers.iter().map(|stranger| {
        format!("- {} {}: it was not judged\n", cell(&stranger.place), cell(&stranger.why))
    });
    let (mut text, mut left_out) = (String::new(), 0_usize);
    for line in of_cells.chain(strangers) {
        if most_bytes < text.len() + line.len() {
            left_out += 1;
        } else {
            text.push_str(&line);
        }
    }
    if 0 < left_out {
        text.push_str(&format!("- … and {left_out} more\n"));
    }
    text
}

/// What was measured, to be opened.
fn measured(fleet: &Fleet) -> String {
    let measured: Vec<_> = fleet
        .cells
        .iter()
        .flat_map(|cell| cell.measured.iter().map(move |measured| (cell, measured)))
        .collect();
    let rows = measured.iter().map(|(cell, measured)| result_row(cell, measured));
    let (mut text, left_out) = fitting(results_head(), rows, RESULT_BYTES);
    if text.is_empty() {
        return text;
    }
    if 0 < left_out {
        text.push_str(&format!("\n… and {left_out} more\n"));
    }
    details("Measured", &text)
}
