//! From runs to pairs.

use std::collections::BTreeMap;

use domain::gate::Side;
use domain::metric::Better;
use domain::summary::RunSummary;

/// A baseline run and the candidate run measured beside it.
pub type Pair<'a> = (&'a RunSummary, &'a RunSummary);

/// The change of a pair: the log-ratio of its values, the sign turned so that more is worse.
///
/// None where a value is not above zero, or the metric has no better direction.
pub fn worsening(better: Better, baseline: f64, candidate: f64) -> Option<f64> {
    let sign = sign(better)?;
    let measured = |value: f64| value.is_finite() && 0.0 < value;
    (measured(baseline) && measured(candidate)).then(|| sign * (candidate / baseline).ln())
}

/// Which way a metric gets worse; none for one that has no better direction.
pub(super) const fn sign(better: Better) -> Option<f64> {
    match better {
        Better::Lower => Some(1.0),
        Better::Higher => Some(-1.0),
        Better::Neutral => None,
    }
}

/// The complete pairs of an experiment in their order, and the numbers of those that lack a side.
/// The throw-away run and runs outside an experiment belong to none. Of a run that was done again
/// the last counts.
pub fn pair_up<'a>(runs: &[&'a RunSummary]) -> (Vec<Pair<'a>>, Vec<u32>) {
    let mut sides: BTreeMap<u32, [Option<&RunSummary>; 2]> = BTreeMap::new();
    for run in runs {
        let Some(arm) = run.arm.filter(|arm| 0 < arm.pair) else { continue };
        let sides = sides.entry(arm.pair).or_default();
        match arm.side {
            Side::Baseline => sides[0] = Some(run),
            Side::Candidate => sides[1] = Some(run),
        }
    }
    let (mut pairs, mut incomplete) = (Vec::new(), Vec::new());
    for (number, sides) in sides {
        match sides {
            [Some(baseline), Some(candidate)] => pairs.push((baseline, candidate)),
            _ => incomplete.push(number),
        }
    }
    (pairs, incomplete)
}
