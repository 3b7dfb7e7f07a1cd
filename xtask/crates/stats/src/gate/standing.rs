//! How an experiment stands between its looks. It is shown and decides nothing.

use domain::gate::{Estimate, Rule};
use domain::summary::RunSummary;

use super::decide::shown;
use super::history::History;
use super::judge::one_series;
use super::pairs::pair_up;

/// How an experiment stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Complete pairs.
    pub pairs: u32,
    /// Estimates of the metrics that decide, over all complete pairs; a metric without enough
    /// pairs, or without spread, has none.
    pub estimates: Vec<Estimate>,
    /// Part of alpha that looks have spent.
    pub spent: f64,
    /// Part of alpha that is left.
    pub left: f64,
    /// Pairs of the looks that are still to come.
    pub looks_left: Vec<u32>,
}

/// How the runs so far stand.
pub fn standing(rule: &Rule, runs: &[&RunSummary], history: &History) -> Standing {
    let (pairs, _) = pair_up(runs);
    let count = u32::try_from(pairs.len()).unwrap_or(u32::MAX);
    let estimate = |metric: &domain::metric::Metric| {
        shown(rule, count, &one_series(rule, *metric, &pairs, history).ok()?)
    };
    let weight = |taken: bool| -> u32 {
        let looks = rule.looks.iter().filter(|look| (look.pairs <= count) == taken);
        looks.map(|look| look.weight).sum()
    };
    let (spent, left) = (f64::from(weight(true)), f64::from(weight(false)));
    let share =
        |part: f64| if 0.0 < spent + left { rule.alpha * part / (spent + left) } else { 0.0 };
    Standing {
        pairs: count,
        estimates: rule.metrics.iter().filter_map(estimate).collect(),
        spent: share(spent),
        left: share(left),
        looks_left: rule.looks.iter().map(|look| look.pairs).filter(|at| count < *at).collect(),
    }
}

#[cfg(test)]
mod tests {
    use domain::gate::{Arm, Side};

    use super::*;
    use crate::testing::run;

    fn pairs(count: u32) -> Vec<RunSummary> {
        let rule = Rule::standard();
        let one = |pair: u32, side: Side| {
            let value = 100.0 + f64::from(pair);
            let values: Vec<_> = rule.metrics.iter().map(|metric| (*metric, value)).collect();
            RunSummary { arm: Some(Arm { side, pair }), ..run(&values) }
        };
        (1..=count)
            .flat_map(|pair| [one(pair, Side::Baseline), one(pair, Side::Candidate)])
            .collect()
    }

    #[test]
    fn what_is_spent_and_what_is_left_add_up_to_alpha() {
        let rule = Rule::standard();
        for count in 0..=12 {
            let runs = pairs(count);
            let runs: Vec<_> = runs.iter().collect();
            let standing = standing(&rule, &runs, &History::none());
            assert_eq!(standing.pairs, count);
            assert!((standing.spent + standing.left - rule.alpha).abs() < 1e-15);
            assert_eq!(standing.looks_left.is_empty(), standing.left == 0.0);
        }
        let runs = pairs(4);
        let runs: Vec<_> = runs.iter().collect();
        let standing = standing(&rule, &runs, &History::none());
        assert!((standing.spent - 0.01 * 3.0 / 21.0).abs() < 1e-15);
        assert_eq!(standing.looks_left, [5, 6, 8, 10]);
    }
}
