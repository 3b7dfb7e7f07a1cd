//! Where a series of sessions changed for good: E-divisive, on the ratio to a reference.
//!
//! Slow steps of less than a percent pass every comparison of two builds; a series shows them.
//! It says where, some sessions later. It is no gate.

use domain::metric::Metric;
use domain::summary::RunSummary;

use super::noise::median;
use super::pairs::pair_up;
use super::random::Random;

/// Sessions on each side of a change: fewer are an odd night.
const FEWEST: usize = 4;

/// Shuffles that say how large a difference chance gives. The smallest chance that they can show
/// is one in two hundred.
const SHUFFLES: usize = 199;

/// Chance below which a difference is a change.
const SIGNIFICANT: f64 = 0.01;

/// Sessions that are looked at, the newest ones: a year of nights. The work grows with the square.
const MOST: usize = 400;

/// A place where a series changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChangePoint {
    /// The first value after it.
    pub at: usize,
    /// Median before it, since the change before.
    pub before: f64,
    /// Median after it, until the next change.
    pub after: f64,
    /// Chance of such a difference if there is none.
    pub p: f64,
}

/// Of each session, how a metric stood to the reference. In an experiment the reference is its
/// own baseline, measured beside it; other sessions have the first such one of the series.
pub fn ratios(metric: Metric, sessions: &[&[&RunSummary]]) -> Vec<Option<f64>> {
    let level = |runs: &[&RunSummary]| {
        let values: Option<Vec<f64>> =
            runs.iter().map(|run| run.metric(metric).filter(|value| 0.0 < *value)).collect();
        median(&values?)
    };
    let first = sessions.iter().find(|session| session.iter().all(|run| run.arm.is_none()));
    let reference = first.and_then(|session| level(session));
    let ratio = |session: &&[&RunSummary]| {
        let (pairs, _) = pair_up(session);
        if pairs.is_empty() {
            return Some(level(session)? / reference?);
        }
        let of_pair = |(baseline, candidate): &(&RunSummary, &RunSummary)| {
            Some(candidate.metric(metric)? / baseline.metric(metric).filter(|old| 0.0 < *old)?)
        };
        median(&pairs.iter().map(of_pair).collect::<Option<Vec<f64>>>()?)
    };
    sessions.iter().map(ratio).collect()
}

/// The changes of a series, the earliest first.
pub fn change_points(series: &[f64]) -> Vec<ChangePoint> {
    let skipped = series.len().saturating_sub(MOST);
    let series = &series[skipped..];
    let mut random = Random::new(5);
    let mut found: Vec<(usize, f64)> = Vec::new();
    let mut open = vec![(0, series.len())];
    while let Some((from, to)) = open.pop() {
        let Some((at, p)) = split(&series[from..to], &mut random) else { continue };
        found.push((from + at, p));
        open.extend([(from, from + at), (from + at, to)]);
    }
    found.sort_by_key(|(at, _)| *at);
    let ends = |at: usize| found.get(at).map_or(series.len(), |(at, _)| *at);
    let told = found.iter().enumerate().filter_map(|(number, (at, p))| {
        let start = number.checked_sub(1).map_or(0, ends);
        let before = median(&series[start..*at])?;
        let after = median(&series[*at..ends(number + 1)])?;
        Some(ChangePoint { at: skipped + at, before, after, p: *p })
    });
    told.collect()
}

/// Where a series is best split in two, if that is more than chance.
fn split(series: &[f64], random: &mut Random) -> Option<(usize, f64)> {
    let (at, statistic) = best_split(series)?;
    let mut shuffled = series.to_vec();
    let mut as_large = 0_usize;
    for _ in 0..SHUFFLES {
        random.shuffle(&mut shuffled);
        let by_chance = best_split(&shuffled).is_some_and(|(_, other)| statistic <= other);
        as_large += usize::from(by_chance);
    }
    let p = (1 + as_large) as f64 / (1 + SHUFFLES) as f64;
    (p <= SIGNIFICANT).then_some((at, p))
}

/// The split with the largest energy distance between its parts, and that distance.
///
/// The sums of distances within and between the parts are carried from split to split.
fn best_split(series: &[f64]) -> Option<(usize, f64)> {
    let count = series.len();
    let (mut left, mut between) = (0.0, 0.0);
    let distances =
        |at: usize, to: &[f64]| -> f64 { to.iter().map(|other| (series[at] - other).abs()).sum() };
    let mut right: f64 = (0..count).map(|at| distances(at, &series[at + 1..])).sum();
    let mut best: Option<(usize, f64)> = None;
    for at in 1..count {
        let (to_left, to_right) =
            (distances(at - 1, &series[..at - 1]), distances(at - 1, &series[at..]));
        left += to_left;
        right -= to_right;
        between += to_right - to_left;
        if at < FEWEST || count - at < FEWEST {
            continue;
        }
        let (n, m) = (at as f64, (count - at) as f64);
        let energy =
            2.0 * between / (n * m) - 2.0 * left / (n * (n - 1.0)) - 2.0 * right / (m * (m - 1.0));
        let statistic = energy * n * m / (n + m);
        if best.is_none_or(|(_, largest)| largest < statistic) {
            best = Some((at, statistic));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(seed: u64, count: usize, level: f64) -> Vec<f64> {
        let mut random = Random::new(seed);
        (0..count).map(|_| level + random.normal() * 0.005).collect()
    }

    #[test]
    fn a_step_is_found_where_it_is() {
        let series = [noise(1, 12, 1.0), noise(2, 10, 1.03), noise(3, 15, 0.97)].concat();
        let found = change_points(&series);
        let places: Vec<_> = found.iter().map(|change| change.at).collect();
        assert_eq!(places, [12, 22]);
        assert!(found[0].before < found[0].after && found[1].after < found[1].before);
    }

    #[test]
    fn noise_and_short_series_have_no_change() {
        assert_eq!(change_points(&noise(4, 40, 1.0)), []);
        assert_eq!(change_points(&[1.0, 1.0, 1.0, 2.0, 2.0, 2.0]), []);
        assert_eq!(change_points(&[]), []);
    }

    #[test]
    fn one_odd_night_is_no_change() {
        let mut series = noise(5, 30, 1.0);
        series[20] = 2.0;
        assert_eq!(change_points(&series), []);
    }
}
