//! Annotations of GitHub Actions: workflow commands on stdout, one a profile.
//!
//! A step shows ten errors, ten warnings and ten notices, and drops the others without a word; so
//! the last of each says how many more there are.

use std::collections::BTreeMap;

use domain::exit::Exit;
use domain::verdict::Verdict;
use stats::fleet::{Fleet, FleetCell};

use super::Style;
use super::rows::{counts, word};
use crate::text::one_line;

/// Annotations of one level that a step shows.
const MOST: usize = 10;

/// Cells that an annotation names.
const NAMED: usize = 5;

/// Longest message, in characters; a check cuts far behind it.
const LONGEST: usize = 2_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Notice,
    Warning,
    Error,
}

impl Level {
    const fn command(self) -> &'static str {
        match self {
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }

    /// How loudly a verdict is said; a pass needs no annotation.
    fn of(verdict: Verdict, style: Style<'_>) -> Option<Self> {
        if verdict.exit(style.strictness) != Exit::Done {
            return Some(Self::Error);
        }
        match verdict {
            Verdict::Pass => None,
            Verdict::Improved => Some(Self::Notice),
            Verdict::MissingBaseline
            | Verdict::Inconclusive
            | Verdict::Regressed
            | Verdict::Incomparable
            | Verdict::Broken => Some(Self::Warning),
        }
    }
}

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
        let level = Level::of(cells.first()?.verdict(), style)?;
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
    let shown = if said.len() <= MOST { said.len() } else { MOST - 1 };
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
        cells.iter().filter(|cell| Level::of(cell.verdict(), style).is_some()).collect();
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

/// A workflow command. The runner ends a command at the line's end and a property at a comma or
/// colon, and knows `%` escapes for them.
fn command(level: Level, title: &str, message: &str) -> String {
    let data = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
    let property = |text: &str| data(text).replace(':', "%3A").replace(',', "%2C");
    let title = property(&one_line(title, LONGEST / NAMED));
    format!("::{} title={title}::{}\n", level.command(), data(message))
}
