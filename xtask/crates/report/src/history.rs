//! A key's sessions in time, drawn with characters.

use stats::gate::ChangePoint;

use crate::number::change;
use crate::text::one_line;

/// Rows of a drawing.
const HEIGHT: usize = 9;

/// Sessions that are drawn, the newest ones: what a terminal is wide, less the labels.
const MOST: usize = 66;

/// The least range of a drawing, as a fraction, so that noise does not look like an earthquake.
const LEAST_RANGE: f64 = 0.02;

/// One metric's ratio to its reference, session by session.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn<'a> {
    /// What is drawn.
    pub title: &'a str,
    /// The sessions' names.
    pub sessions: &'a [String],
    /// Their ratios.
    pub ratios: &'a [f64],
    /// Where the series changed.
    pub changes: &'a [ChangePoint],
}

/// The drawing: a point a session, a bar before the first session after a change, and a line for
/// each change.
pub fn draw(drawn: &Drawn<'_>) -> String {
    let mut text = format!("{}, change to the reference\n", one_line(drawn.title, MOST));
    let skipped = drawn.ratios.len().saturating_sub(MOST);
    let ratios = &drawn.ratios[skipped..];
    if ratios.is_empty() {
        return text + "  no session has it\n";
    }
    let changes = drawn.changes.iter().filter(|change| skipped <= change.at);
    let bars: Vec<usize> = changes.map(|change| change.at - skipped).collect();
    let (low, high) = range(ratios);
    let step = (high - low) / (HEIGHT - 1) as f64;
    for row in (0..HEIGHT).rev() {
        let level = low + step * row as f64;
        text.push_str(&format!("{:>8} ┤", change(Some(level - 1.0))));
        for (at, ratio) in ratios.iter().enumerate() {
            if bars.contains(&at) {
                text.push('│');
            }
            text.push(if nearest(*ratio, low, step) == row { '●' } else { ' ' });
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    for found in drawn.changes {
        let unknown = "a session without a name".to_owned();
        let session = drawn.sessions.get(found.at).unwrap_or(&unknown);
        let moved = change(Some(found.after / found.before - 1.0));
        text.push_str(&format!("  │ {moved} from {session} on, p = {:.3}\n", found.p));
    }
    text
}

/// The lowest and the highest level that are drawn.
fn range(ratios: &[f64]) -> (f64, f64) {
    let low = ratios.iter().copied().fold(f64::INFINITY, f64::min);
    let high = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let missing = (LEAST_RANGE - (high - low)).max(0.0) / 2.0;
    (low - missing, high + missing)
}

/// The row of a ratio.
fn nearest(ratio: f64, low: f64, step: f64) -> usize {
    // The ratio lies within the range, so the row is below `HEIGHT`.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let row = ((ratio - low) / step).round() as usize;
    row.min(HEIGHT - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_seen_with_its_place_and_its_size() {
        let ratios = [1.0, 1.004, 0.998, 1.001, 1.05, 1.048, 1.052, 1.05];
        let changes = [ChangePoint { at: 4, before: 1.0, after: 1.05, p: 0.005 }];
        let sessions: Vec<String> = (1..=8).map(|night| format!("night-{night}")).collect();
        let drawn =
            Drawn { title: "Mean TPOT", sessions: &sessions, ratios: &ratios, changes: &changes };
        insta::assert_snapshot!(draw(&drawn), @r"
        Mean TPOT, change to the reference
          +5.2 % ┤    │● ●●
          +4.5 % ┤    │ ●
          +3.8 % ┤    │
          +3.2 % ┤    │
          +2.5 % ┤    │
          +1.8 % ┤    │
          +1.2 % ┤    │
          +0.5 % ┤ ●  │
          -0.2 % ┤● ●●│
          │ +5.0 % from night-5 on, p = 0.005
        ");
        let nothing = Drawn { title: "x", sessions: &[], ratios: &[], changes: &[] };
        insta::assert_snapshot!(draw(&nothing), @r"
        x, change to the reference
          no session has it
        ");
    }
}
