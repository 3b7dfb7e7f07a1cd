//! Replays: how often the rule decides what, on pairs that were really measured.
//!
//! A replay draws pairs with replacement from the measured ones and takes every look at them. It
//! measures the rule on the noise of this machine; it can know no noise that the pairs did not
//! meet, so its figures are no finer than their number allows.

use domain::gate::Rule;
use domain::metric::Metric;
use domain::summary::RunSummary;
use domain::verdict::Verdict;

use super::decide::{Series, decide};
use super::history::History;
use super::judge::one_series;
use super::pairs::Pair;

/// What is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Replays {
    /// How many decisions.
    pub count: u32,
    /// Decides what is drawn.
    pub seed: u64,
    /// Whether the two sides of a pair may be taken for each other, because nothing but chance
    /// tells them apart.
    pub sides: Sides,
    /// A slowdown that is added to every pair, as a fraction: 0.05 is 5 % slower.
    pub slower_by: f64,
}

/// Whether the sides of a pair may be taken for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sides {
    /// They are the same build: which is which is drawn.
    Alike,
    /// They differ.
    Apart,
}

/// What came of replays.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Replays.
    pub count: u32,
    /// Called regressed.
    pub regressed: u32,
    /// Called equal, or better.
    pub passed: u32,
    /// Called better; a part of `passed`.
    pub improved: u32,
    /// Left open after the last look.
    pub inconclusive: u32,
    /// Could not be judged, because a metric did not vary.
    pub broken: u32,
    /// Runs that the decisions took together, both sides and the throw-away run counted.
    pub runs: u64,
}

impl Tally {
    /// A count as a share of the replays; none without any.
    pub fn share(&self, count: u32) -> Option<f64> {
        (0 < self.count).then(|| f64::from(count) / f64::from(self.count))
    }

    /// Runs of a decision on average; none without replays.
    pub fn mean_runs(&self) -> Option<f64> {
        (0 < self.count).then(|| self.runs as f64 / f64::from(self.count))
    }

    fn add(&mut self, verdict: Verdict, pairs: u32) {
        self.count += 1;
        self.runs += 2 * u64::from(pairs) + 1;
        match verdict {
            Verdict::Regressed => self.regressed += 1,
            Verdict::Pass => self.passed += 1,
            Verdict::Improved => {
                self.passed += 1;
                self.improved += 1;
            }
            Verdict::Inconclusive => self.inconclusive += 1,
            Verdict::Broken | Verdict::Incomparable | Verdict::MissingBaseline => self.broken += 1,
        }
    }
}

/// Replays decisions on measured pairs.
///
/// # Errors
///
/// There is no pair, or one lacks a metric that decides: which.
pub fn replay(
    rule: &Rule,
    pairs: &[Pair<'_>],
    history: &History,
    replays: Replays,
) -> Result<Tally, String> {
    let one = |metric: &Metric| {
        one_series(rule, *metric, pairs, history)
            .map_err(|pair| format!("`{}` of pair {pair} is not there", metric.key()))
    };
    let measured = rule.metrics.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    if pairs.is_empty() {
        return Err("there is no pair to replay".to_owned());
    }
    let mut draw = Draw(replays.seed);
    let mut tally = Tally::default();
    for _ in 0..replays.count {
        let series = redrawn(rule, &measured, pairs.len(), replays, &mut draw);
        let decision = decide(rule, &series).map_err(|error| error.to_string())?;
        tally.add(decision.verdict, decision.pairs);
    }
    Ok(tally)
}

/// The past that measured pairs would be for later sessions.
pub fn as_history(session: &[&RunSummary]) -> History {
    session.last().map_or_else(History::none, |now| History::of(session, now))
}

/// Series of as many pairs as the last look takes. All metrics of a drawn pair stay together.
fn redrawn(
    rule: &Rule,
    measured: &[Series],
    pairs: usize,
    replays: Replays,
    draw: &mut Draw,
) -> Vec<Series> {
    let drawn: Vec<(usize, f64)> = (0..rule.most_pairs())
        .map(|_| {
            let at = draw.below(pairs);
            let turned = replays.sides == Sides::Alike && draw.below(2) == 1;
            (at, if turned { -1.0 } else { 1.0 })
        })
        .collect();
    let shift = replays.slower_by.ln_1p();
    let one = |series: &Series| {
        let changes = drawn.iter().map(|(at, sign)| sign * series.changes[*at] + shift);
        Series { changes: changes.collect(), ..series.clone() }
    };
    measured.iter().map(one).collect()
}

/// `SplitMix64`: small, good enough to draw pairs, and the same in every version.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `limit`, which is small beside 2^64, so that the remainder is fair enough.
    fn below(&mut self, limit: usize) -> usize {
        let limit = limit.max(1) as u64;
        usize::try_from(self.next() % limit).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use domain::gate::{Arm, Side};

    use super::*;
    use crate::testing::run;

    /// Twenty pairs with about one percent of noise, the candidate slower by a fraction.
    fn session(slower_by: f64) -> Vec<RunSummary> {
        let rule = Rule::standard();
        let mut draw = Draw(7);
        let mut one = |pair: u32, side: Side| {
            let metrics = rule.metrics.iter().map(|metric| {
                let noise = 0.01 * (draw.below(2001) as f64 / 1000.0 - 1.0);
                let slower = if side == Side::Candidate { slower_by.ln_1p() } else { 0.0 };
                let worse = noise + slower;
                let higher_is_better = metric.card().better == domain::metric::Better::Higher;
                let sign = if higher_is_better { -1.0 } else { 1.0 };
                (*metric, 100.0 * (sign * worse).exp())
            });
            let metrics: Vec<_> = metrics.collect();
            RunSummary { arm: Some(Arm { side, pair }), ..run(&metrics) }
        };
        (1..=20).flat_map(|pair| [one(pair, Side::Baseline), one(pair, Side::Candidate)]).collect()
    }

    fn replayed(measured_slower: f64, sides: Sides, slower_by: f64) -> Tally {
        let runs = session(measured_slower);
        let runs: Vec<_> = runs.iter().collect();
        let (pairs, _) = super::super::pair_up(&runs);
        let replays = Replays { count: 400, seed: 1, sides, slower_by };
        replay(&Rule::standard(), &pairs, &as_history(&runs), replays).unwrap()
    }

    #[test]
    fn unchanged_pairs_are_hardly_ever_called_regressed_and_slow_ones_nearly_always() {
        let alike = replayed(0.0, Sides::Alike, 0.0);
        assert!(alike.share(alike.regressed).unwrap() <= 0.01, "{alike:?}");
        let injected = replayed(0.0, Sides::Alike, 0.05);
        assert!(0.95 <= injected.share(injected.regressed).unwrap(), "{injected:?}");
        let real = replayed(0.05, Sides::Apart, 0.0);
        assert!(0.95 <= real.share(real.regressed).unwrap(), "{real:?}");
        assert!((7.0..=21.0).contains(&real.mean_runs().unwrap()));
    }

    #[test]
    fn every_replay_is_counted_once() {
        let tally = replayed(0.0, Sides::Alike, 0.02);
        let all = tally.regressed + tally.passed + tally.inconclusive + tally.broken;
        assert_eq!((all, tally.count), (400, 400));
        assert_eq!(replayed(0.0, Sides::Alike, 0.02), tally, "the same seed draws the same");
    }

    #[test]
    fn without_pairs_nothing_is_replayed() {
        let replays = Replays { count: 1, seed: 1, sides: Sides::Alike, slower_by: 0.0 };
        assert!(replay(&Rule::standard(), &[], &History::none(), replays).is_err());
        assert_eq!(Tally::default().mean_runs(), None);
    }
}
