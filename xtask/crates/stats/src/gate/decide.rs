//! The rule: from pairs of runs to a verdict, look by look.

use domain::gate::{Clamp, Class, Estimate, Look, LookAt, Rule};
use domain::verdict::Verdict;

use super::noise::{Floor, median};
use super::student;

/// The pairs of one metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// How loudly it varies.
    pub class: Class,
    /// Change of each pair in the order in which they were measured, as [`super::worsening`]
    /// gives it.
    pub changes: Vec<f64>,
    /// What is known of the noise.
    pub floor: Option<Floor>,
}

/// What the pairs so far say.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// The verdict, [`Verdict::Inconclusive`] while it is open.
    pub verdict: Verdict,
    /// Pairs that it rests on: those of the last look, or all where no look was reached.
    pub pairs: u32,
    /// The looks that were taken.
    pub looks: Vec<Look>,
    /// How it stands.
    pub state: State,
}

/// How a decision stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// A look decided.
    Decided,
    /// More pairs may decide: so many does the next look take.
    Open {
        /// Pairs of the next look.
        next_look: u32,
    },
    /// The last look decided nothing.
    Exhausted,
    /// A metric did not vary at all and has no history: no chance can be computed from it.
    NoSpread {
        /// The metric.
        metric: String,
    },
}

/// Pairs that cannot be judged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPairs {
    /// There is no metric.
    #[error("there is no metric to judge")]
    NoMetric,
    /// Two metrics have different numbers of pairs.
    #[error("`{metric}` has {pairs} pairs, `{other}` has {others}")]
    Uneven {
        /// A metric.
        metric: String,
        /// Its pairs.
        pairs: usize,
        /// Another.
        other: String,
        /// Its pairs.
        others: usize,
    },
    /// A change is no number.
    #[error("pair {pair} of `{metric}` has no change that could be computed")]
    NotFinite {
        /// The metric.
        metric: String,
        /// The pair, from 1.
        pair: usize,
    },
}

/// Judges pairs as far as they go. Calling it again with more pairs takes the same looks again and
/// goes on, so that an experiment that runs and one that is read from a file agree.
///
/// # Errors
///
/// The metrics have no pairs, not equally many, or pairs without a number.
pub fn decide(rule: &Rule, series: &[Series]) -> Result<Decision, UnfitPairs> {
    let pairs = fit(series)?;
    let mut looks: Vec<Look> = Vec::new();
    for at in &rule.looks {
        if pairs < at.pairs as usize {
            return Ok(open(pairs, looks, at.pairs));
        }
        let budget = spent_at(rule, *at) / series.len() as f64;
        match look(rule, *at, budget, series) {
            Ok(look) => looks.push(look),
            Err(metric) => {
                let state = State::NoSpread { metric };
                return Ok(Decision { verdict: Verdict::Broken, pairs: at.pairs, looks, state });
            }
        }
        if let Some(verdict) = looks.last().and_then(verdict) {
            return Ok(Decision { verdict, pairs: at.pairs, looks, state: State::Decided });
        }
    }
    let (verdict, pairs) = (Verdict::Inconclusive, rule.most_pairs());
    Ok(Decision { verdict, pairs, looks, state: State::Exhausted })
}

/// What a metric's pairs say at one look, with its whole budget; for metrics that are shown and
/// not judged. None where it did not vary or has too few pairs.
pub fn shown(rule: &Rule, pairs: u32, series: &Series) -> Option<Estimate> {
    estimate(rule, pairs as usize, 0.0, series)
}

/// The number of pairs that every metric has.
fn fit(series: &[Series]) -> Result<usize, UnfitPairs> {
    let first = series.first().ok_or(UnfitPairs::NoMetric)?;
    let pairs = first.changes.len();
    for series in series {
        if series.changes.len() != pairs {
            return Err(UnfitPairs::Uneven {
                metric: first.name.clone(),
                pairs,
                other: series.name.clone(),
                others: series.changes.len(),
            });
        }
        if let Some(at) = series.changes.iter().position(|change| !change.is_finite()) {
            return Err(UnfitPairs::NotFinite { metric: series.name.clone(), pair: at + 1 });
        }
    }
    Ok(pairs)
}

fn open(pairs: usize, looks: Vec<Look>, next_look: u32) -> Decision {
    // Fewer than a look takes, which is a `u32`.
    let all = u32::try_from(pairs).unwrap_or(next_look);
    let pairs = looks.last().map_or(all, |look| look.pairs);
    Decision { verdict: Verdict::Inconclusive, pairs, looks, state: State::Open { next_look } }
}

/// The part of alpha that a look may spend, over all metrics. Later looks get more: a change that
/// matters but is small needs many pairs, and a large one is found at any look.
fn spent_at(rule: &Rule, at: LookAt) -> f64 {
    let weights: u32 = rule.looks.iter().map(|look| look.weight).sum();
    rule.alpha * (f64::from(at.weight) / f64::from(weights))
}

/// One look at all metrics, or the metric that did not vary.
fn look(rule: &Rule, at: LookAt, budget: f64, series: &[Series]) -> Result<Look, String> {
    let one = |series: &Series| {
        estimate(rule, at.pairs as usize, budget, series).ok_or_else(|| series.name.clone())
    };
    let metrics = series.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    Ok(Look { pairs: at.pairs, metrics })
}

/// A regression of one metric decides; passing takes all of them.
fn verdict(look: &Look) -> Option<Verdict> {
    if look.metrics.iter().any(|metric| metric.regressed) {
        Some(Verdict::Regressed)
    } else if !look.metrics.iter().all(|metric| metric.equivalent) {
        None
    } else if look.metrics.iter().any(|metric| metric.improved) {
        Some(Verdict::Improved)
    } else {
        Some(Verdict::Pass)
    }
}

/// A one-sided t-test in both directions, with the history as a floor under the variance.
fn estimate(rule: &Rule, pairs: usize, alpha: f64, series: &Series) -> Option<Estimate> {
    let (used, clamped) = drawn_in(rule, series.changes.get(..pairs)?, series.floor)?;
    let count = used.len() as f64;
    let mean = used.iter().sum::<f64>() / count;
    let own_df = u32::try_from(used.len()).ok()?.checked_sub(1).filter(|df| 0 < *df)?;
    let own = used.iter().map(|change| (change - mean).powi(2)).sum::<f64>() / f64::from(own_df);
    let (variance, df) = match series.floor {
        Some(floor) => (own.max(floor.sd * floor.sd), own_df + floor.df),
        None => (own, own_df),
    };
    let se = (variance / count).sqrt();
    if se <= 0.0 {
        return None;
    }
    let (p, p_better) = (student::above(mean / se, df)?, student::below(mean / se, df)?);
    let reach = student::quantile(1.0 - rule.beta, df)? * se;
    let limits = rule.limits(series.class);
    Some(Estimate {
        metric: series.name.clone(),
        class: series.class,
        estimate: mean,
        se,
        df,
        p,
        p_better,
        alpha,
        lower: mean - reach,
        upper: mean + reach,
        history_sd: series.floor.map(|floor| floor.sd),
        clamped,
        regressed: p <= alpha && limits.min_effect <= mean,
        improved: p_better <= alpha && mean <= -limits.min_effect,
        equivalent: mean + reach < limits.tolerance,
    })
}

/// The pairs with those that lie too far from the median one drawn in, on both sides alike. How
/// far is too far only the history can say: the same few pairs cannot judge themselves.
fn drawn_in(rule: &Rule, changes: &[f64], floor: Option<Floor>) -> Option<(Vec<f64>, Vec<Clamp>)> {
    let Some(floor) = floor else { return Some((changes.to_vec(), Vec::new())) };
    let median = median(changes)?;
    let reach = rule.clamp_at * floor.sd;
    let used: Vec<f64> =
        changes.iter().map(|change| change.clamp(median - reach, median + reach)).collect();
    let both = (1..).zip(changes.iter().zip(&used));
    let moved = both.filter(|(_, (from, to))| from != to);
    let clamped = moved.map(|(pair, (from, to))| Clamp { pair, from: *from, to: *to }).collect();
    Some((used, clamped))
}

#[cfg(test)]
mod tests;
