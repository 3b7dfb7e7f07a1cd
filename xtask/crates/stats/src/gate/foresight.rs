//! What the gate will be able to say, before any time is spent on measuring.

use domain::gate::{Class, Rule};
use domain::metric::Metric;
use domain::verdict::Verdict;
use statrs::distribution::{ChiSquared, ContinuousCDF as _};

use super::decide::{Series, decide};
use super::history::History;
use super::noise::Floor;
use super::random::Random;
use super::student;

/// Imagined experiments: a share of inconclusive ones is known to within three percent.
const IMAGINED: u32 = 300;

/// Chance with which a change that can be resolved is found, and a tolerance that can be held is
/// passed.
const SURE: f64 = 0.95;

/// What a key's history lets one expect of an experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Foresight {
    /// What can be said of each metric that decides.
    pub metrics: Vec<MetricForesight>,
    /// Mean pairs until a decision if nothing changed.
    pub pairs: f64,
    /// Chance that nothing is decided although nothing changed.
    pub inconclusive: f64,
}

/// What can be said of one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MetricForesight {
    /// The metric.
    pub metric: Metric,
    /// Smallest change, as a log-ratio, that is found with a chance of 95 %.
    pub resolves: f64,
    /// Tolerance below which unchanged code is often inconclusive.
    pub holds: f64,
    /// Tolerance of the rule.
    pub tolerance: f64,
}

/// Looks ahead; none while the history is too short to say anything.
pub fn foresee(rule: &Rule, history: &History) -> Option<Foresight> {
    let floors = rule.metrics.iter().map(|metric| Some((*metric, history.floor(rule, *metric)?)));
    let floors: Vec<(Metric, Floor)> = floors.collect::<Option<_>>()?;
    let metrics = floors.iter().map(|(metric, floor)| one(rule, *metric, *floor));
    let metrics: Vec<MetricForesight> = metrics.collect::<Option<_>>()?;
    let (pairs, inconclusive) = imagine(rule, &floors);
    Some(Foresight { metrics, pairs, inconclusive })
}

/// From the distribution of the estimate at the last look.
fn one(rule: &Rule, metric: Metric, floor: Floor) -> Option<MetricForesight> {
    let last = rule.looks.last()?;
    let weights: u32 = rule.looks.iter().map(|look| look.weight).sum();
    let alpha =
        rule.alpha * f64::from(last.weight) / f64::from(weights) / rule.metrics.len() as f64;
    let own = last.pairs - 1;
    let df = own + floor.df;
    let se = floor.sd * widened(own)?.sqrt() / f64::from(last.pairs).sqrt();
    let sure = student::quantile(SURE, df)?;
    let limits = rule.limits(Class::of(metric));
    let resolves = (student::quantile(1.0 - alpha, df)? + sure) * se;
    Some(MetricForesight {
        metric,
        resolves: resolves.max(limits.min_effect),
        holds: (student::quantile(1.0 - rule.beta, df)? + sure) * se,
        tolerance: limits.tolerance,
    })
}

/// By how much the floor widens the variance on average: the mean of the larger one of 1 and a
/// sample variance with `df` degrees of freedom.
fn widened(df: u32) -> Option<f64> {
    let df = f64::from(df);
    let beyond = ChiSquared::new(df + 2.0).ok()?.sf(df) - ChiSquared::new(df).ok()?.sf(df);
    Some(1.0 + beyond)
}

/// Mean pairs and the share of inconclusive experiments, of experiments on unchanged code with
/// normal noise of the history's size, each metric for itself.
fn imagine(rule: &Rule, floors: &[(Metric, Floor)]) -> (f64, f64) {
    let mut random = Random::new(11);
    let (mut pairs, mut open) = (0_u32, 0_u32);
    for _ in 0..IMAGINED {
        let series = floors.iter().map(|(metric, floor)| Series {
            name: metric.key().to_owned(),
            class: Class::of(*metric),
            changes: (0..rule.most_pairs()).map(|_| random.normal() * floor.sd).collect(),
            floor: Some(*floor),
        });
        let series: Vec<Series> = series.collect();
        // Series of equal lengths and finite values can always be judged.
        let Ok(decision) = decide(rule, &series) else { continue };
        pairs += decision.pairs;
        open += u32::from(decision.verdict == Verdict::Inconclusive);
    }
    (f64::from(pairs) / f64::from(IMAGINED), f64::from(open) / f64::from(IMAGINED))
}

/// The same in words, one line each.
pub fn foresight_lines(rule: &Rule, history: &History) -> Vec<String> {
    let Some(foresight) = foresee(rule, history) else {
        let known = rule.metrics.iter().map(|metric| history.pairs(rule, *metric)).min();
        return vec![format!(
            "no foresight: {} earlier pairs of this key, it takes {}; a cold start finds less and takes more pairs",
            known.unwrap_or(0),
            rule.history.short.pairs
        )];
    };
    let percent = |change: f64| change.exp_m1() * 100.0;
    let resolved = foresight
        .metrics
        .iter()
        .map(|found| format!("{:.1} % of {}", percent(found.resolves), found.metric));
    let mut lines = vec![
        format!("this profile can resolve {}", resolved.collect::<Vec<_>>().join(", ")),
        format!(
            "if nothing changed, {:.1} pairs are expected, chance of INCONCLUSIVE {:.0} %",
            foresight.pairs,
            foresight.inconclusive * 100.0
        ),
    ];
    for found in foresight.metrics.iter().filter(|found| found.tolerance < found.holds) {
        lines.push(format!(
            "cannot hold {:.0} % of {}: the tolerance that it can hold is {:.1} %",
            found.tolerance * 100.0,
            found.metric,
            percent(found.holds)
        ));
    }
    lines
}
