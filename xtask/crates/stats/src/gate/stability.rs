//! Whether the session itself held still: a change of regime within it breaks the error rate.

use domain::gate::Rule;

use super::pairs::Pair;

/// Rank correlation with time above which the baseline's own runs have a trend. By chance so much
/// is seen in about one of fifty sessions of six pairs, but rarely with a large change beside it.
const TREND: f64 = 0.8;

/// Pairs below which a rank correlation says nothing: four values are in order by chance too often.
const FEWEST_PAIRS: usize = 5;

/// A line for each metric whose baseline drifted by more than its tolerance while it was measured.
/// It is told and changes no verdict: the pairs share the drift, and the published error rates are
/// those of the rule without it.
pub(super) fn unstable(rule: &Rule, pairs: &[Pair<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for metric in &rule.metrics {
        let values = pairs.iter().map(|(baseline, _)| baseline.metric(*metric));
        let Some(values) = values.collect::<Option<Vec<f64>>>() else { continue };
        let tolerance = rule.limits(domain::gate::Class::of(*metric)).tolerance;
        if let Some(drift) = drift(&values).filter(|drift| tolerance < drift.abs()) {
            found.push(format!(
                "unstable: {metric} of the baseline itself moved by {:+.1} % from the first third of the session to the last",
                drift * 100.0
            ));
        }
    }
    found
}

/// How far values moved from their first third to their last, if they have a trend.
fn drift(values: &[f64]) -> Option<f64> {
    if values.len() < FEWEST_PAIRS || rank_correlation_with_time(values).abs() <= TREND {
        return None;
    }
    let third = values.len() / 3;
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    Some(mean(&values[values.len() - third..]) / mean(&values[..third]) - 1.0)
}

/// Spearman's correlation of values with their position, for values without ties; ties lower it.
fn rank_correlation_with_time(values: &[f64]) -> f64 {
    let rank = |value: f64| values.iter().filter(|other| **other < value).count() as f64;
    let squares: f64 =
        values.iter().enumerate().map(|(at, value)| (rank(*value) - at as f64).powi(2)).sum();
    let count = values.len() as f64;
    1.0 - 6.0 * squares / (count * (count * count - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trend_is_seen_and_noise_is_none() {
        assert_eq!(rank_correlation_with_time(&[1.0, 2.0, 3.0, 4.0]), 1.0);
        assert_eq!(rank_correlation_with_time(&[4.0, 3.0, 2.0, 1.0]), -1.0);
        assert!(
            (drift(&[30.0, 31.0, 32.0, 33.0, 34.0, 36.0]).unwrap() - 35.0 / 30.5 + 1.0).abs()
                < 1e-12
        );
        assert_eq!(drift(&[30.0, 36.0, 31.0, 34.0, 30.5, 33.0]), None);
        assert_eq!(drift(&[30.0, 31.0, 32.0, 33.0]), None);
    }
}
