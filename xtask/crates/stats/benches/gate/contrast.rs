//! Rules that are in use, for contrast: each says whether any of the twelve metrics is worse.

use std::sync::LazyLock;

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::noise::{Effect, METRICS, Noise, Random, Run, Session};
use super::run::pairs;

/// How the two sides are measured.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sides {
    /// The baseline in an earlier session.
    Stored,
    /// Pair by pair in one session.
    Interleaved,
}

/// A rule on so many runs a side.
pub(crate) struct Contrast {
    pub(crate) title: &'static str,
    pub(crate) runs: usize,
    pub(crate) sides: Sides,
    rule: fn(&[Run], &[Run]) -> bool,
}

/// The rules.
pub(crate) const RULES: [Contrast; 8] = [
    Contrast { title: "fixed 5 % on the mean", runs: 3, sides: Sides::Stored, rule: fixed },
    Contrast {
        title: "benchstat: Mann-Whitney .05",
        runs: 5,
        sides: Sides::Stored,
        rule: benchstat,
    },
    Contrast {
        title: "benchstat: Mann-Whitney .05",
        runs: 10,
        sides: Sides::Stored,
        rule: benchstat,
    },
    Contrast {
        title: "benchstat: Mann-Whitney .05",
        runs: 5,
        sides: Sides::Interleaved,
        rule: benchstat,
    },
    Contrast {
        title: "Welch, one-sided, Holm .01",
        runs: 5,
        sides: Sides::Stored,
        rule: welch_holm,
    },
    Contrast {
        title: "Welch, one-sided, Holm .01",
        runs: 10,
        sides: Sides::Stored,
        rule: welch_holm,
    },
    Contrast {
        title: "Welch, one-sided, Holm .01",
        runs: 5,
        sides: Sides::Interleaved,
        rule: welch_holm,
    },
    Contrast {
        title: "Welch, one-sided, Holm .01",
        runs: 10,
        sides: Sides::Interleaved,
        rule: welch_holm,
    },
];

impl Contrast {
    /// Whether one simulated comparison is called worse.
    pub(crate) fn flags(&self, noise: Noise, effect: Effect, random: &mut Random) -> bool {
        let (baseline, candidate): (Vec<Run>, Vec<Run>) = match self.sides {
            Sides::Stored => {
                let mut session = Session::new(noise, random);
                let baseline = (0..self.runs).map(|_| session.run(Effect::None)).collect();
                let mut session = Session::new(noise, random);
                (baseline, (0..self.runs).map(|_| session.run(effect)).collect())
            }
            Sides::Interleaved => {
                pairs(noise, effect, self.runs, random).into_iter().map(|[a, b]| (a, b)).unzip()
            }
        };
        (self.rule)(&baseline, &candidate)
    }
}

fn column(runs: &[Run], at: usize) -> Vec<f64> {
    runs.iter().map(|run| run[at]).collect()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn variance(values: &[f64]) -> f64 {
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// Worse by more than 5 % in the mean.
fn fixed(baseline: &[Run], candidate: &[Run]) -> bool {
    let level =
        |runs: &[Run], at: usize| mean(&runs.iter().map(|run| run[at].exp()).collect::<Vec<_>>());
    (0..METRICS.len()).any(|at| 1.05 < level(candidate, at) / level(baseline, at))
}

/// Two-sided Mann-Whitney below 0.05 and worse.
fn benchstat(baseline: &[Run], candidate: &[Run]) -> bool {
    static OF_FIVE: LazyLock<Vec<f64>> = LazyLock::new(|| ways_to_win(5, 5));
    static OF_TEN: LazyLock<Vec<f64>> = LazyLock::new(|| ways_to_win(10, 10));
    let ways: &[f64] = if baseline.len() == 5 { &OF_FIVE } else { &OF_TEN };
    let total: f64 = ways.iter().sum();
    (0..METRICS.len()).any(|at| {
        let (old, new) = (column(baseline, at), column(candidate, at));
        let below = |value: &f64| old.iter().filter(|other| *other < value).count();
        let wins: usize = new.iter().map(below).sum();
        let as_extreme = ways[wins..].iter().sum::<f64>() / total;
        ways.len() / 2 < wins && 2.0 * as_extreme < 0.05
    })
}

/// In how many orders `n` values win so many of the comparisons with `m` others, by the number of
/// wins: the largest value is one of the `n` and wins against all `m`, or is one of the `m`.
fn ways_to_win(m: usize, n: usize) -> Vec<f64> {
    if m == 0 || n == 0 {
        return vec![1.0];
    }
    let (of_new, of_old) = (ways_to_win(m, n - 1), ways_to_win(m - 1, n));
    let at = |ways: &[f64], wins: Option<usize>| {
        wins.and_then(|wins| ways.get(wins)).copied().unwrap_or(0.0)
    };
    (0..=m * n).map(|wins| at(&of_new, wins.checked_sub(m)) + at(&of_old, Some(wins))).collect()
}

/// One-sided Welch tests, Holm over the metrics at 0.01: any metric is named if the smallest
/// chance is below 0.01 / 12.
fn welch_holm(baseline: &[Run], candidate: &[Run]) -> bool {
    (0..METRICS.len()).any(|at| {
        let (old, new) = (column(baseline, at), column(candidate, at));
        welch(&old, &new).is_some_and(|p| p <= 0.01 / METRICS.len() as f64)
    })
}

/// Chance of such a difference or a worse one.
fn welch(old: &[f64], new: &[f64]) -> Option<f64> {
    let (a, b) = (variance(old) / old.len() as f64, variance(new) / new.len() as f64);
    let df = (a + b).powi(2) / (a * a / (old.len() - 1) as f64 + b * b / (new.len() - 1) as f64);
    let t = (mean(new) - mean(old)) / (a + b).sqrt();
    Some(StudentsT::new(0.0, 1.0, df).ok()?.sf(t))
}
