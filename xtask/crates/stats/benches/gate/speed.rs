//! How long a judgement takes with a history that nobody has.

use std::time::Instant;

use domain::gate::{Class, Rule};
use stats::gate::{Past, Series, decide, noise};

use super::noise::Random;

/// Earlier pairs.
const ENTRIES: usize = 10_000;

/// One line with the time.
pub(crate) fn report() -> String {
    let mut random = Random::new(4);
    let rule = Rule::standard();
    let mut pairs =
        |count: usize| -> Vec<f64> { (0..count).map(|_| random.normal() * 0.015).collect() };
    let past: Vec<Past> = (0..10).map(|_| Past::Pairs(pairs(ENTRIES / 10))).collect();
    let changes: Vec<Vec<f64>> = (0..4).map(|_| pairs(10)).collect();
    let started = Instant::now();
    let series: Vec<Series> = changes
        .into_iter()
        .enumerate()
        .map(|(at, changes)| Series {
            name: at.to_string(),
            class: Class::Mean,
            changes,
            floor: noise::floor(&rule.history, &past),
        })
        .collect();
    let decision = decide(&rule, &series);
    let took = started.elapsed();
    let verdict =
        decision.map_or_else(|error| error.to_string(), |found| found.verdict.to_string());
    format!("{ENTRIES} history entries a metric, 4 metrics: {verdict} in {took:.1?}")
}
