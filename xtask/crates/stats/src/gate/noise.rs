//! How large the noise of a key is, from its earlier sessions.
//!
//! The history serves as a floor under the variance that a session shows of itself, never as the
//! mean to compare with. The median of absolute deviations is used, because one odd run would
//! raise a pooled standard deviation so far that the gate sees nothing.

use domain::gate::HistoryRule;

use crate::samples::Samples;

/// Turns a median absolute deviation into a standard deviation, for normal noise.
const MAD_TO_SD: f64 = 1.4826;

/// What the noise of a pair is known to be at least.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Floor {
    /// Standard deviation of one pair.
    pub sd: f64,
    /// Degrees of freedom that it is worth.
    pub df: u32,
}

/// One earlier session of a metric.
#[derive(Clone, Debug, PartialEq)]
pub enum Past {
    /// Log-ratios of its pairs. Whether they show a change does not matter: it is taken out.
    Pairs(Vec<f64>),
    /// Logarithms of the values of runs of one side. The difference of two such runs varies by the
    /// root of two more than one run; two runs are worth a pair.
    Runs(Vec<f64>),
}

impl Past {
    /// Pairs that it is worth.
    pub fn pairs(&self) -> usize {
        match self {
            Self::Pairs(values) => values.len(),
            Self::Runs(values) => values.len() / 2,
        }
    }

    /// Deviations from the session's median, on the scale of a pair, corrected for the median
    /// having been estimated from the same values. A single value deviates from nothing.
    fn deviations(&self) -> Vec<f64> {
        let (values, scale) = match self {
            Self::Pairs(values) => (values, 1.0),
            Self::Runs(values) => (values, std::f64::consts::SQRT_2),
        };
        let count = values.len() as f64;
        let Some(median) = median(values).filter(|_| 1.0 < count) else { return Vec::new() };
        let scale = scale * (count / (count - 1.0)).sqrt();
        values.iter().map(|value| (value - median).abs() * scale).collect()
    }
}

/// The floor that earlier sessions give, the newest last; none while they are too few.
pub fn floor(rule: &HistoryRule, sessions: &[Past]) -> Option<Floor> {
    let kept = sessions.len().saturating_sub(rule.sessions as usize);
    let sessions = &sessions[kept..];
    let pairs: usize = sessions.iter().map(Past::pairs).sum();
    let df = trust(rule, pairs)?;
    let deviations: Vec<f64> = sessions.iter().flat_map(Past::deviations).collect();
    Some(believed(rule, MAD_TO_SD * median(&deviations)?, df))
}

/// A floor of a known standard deviation.
pub fn believed(rule: &HistoryRule, sd: f64, df: u32) -> Floor {
    Floor { sd: sd.max(rule.least_sd), df }
}

/// Degrees of freedom that a number of earlier pairs is worth.
pub fn trust(rule: &HistoryRule, pairs: usize) -> Option<u32> {
    [rule.long, rule.short]
        .into_iter()
        .find(|trust| trust.pairs as usize <= pairs)
        .map(|trust| trust.df)
}

/// The middle value, or the mean of the two in the middle.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    Samples::new(values.to_vec()).percentile(50.0)
}

#[cfg(test)]
mod tests {
    use domain::gate::Rule;

    use super::*;

    fn rule() -> HistoryRule {
        Rule::standard().history
    }

    fn session(effect: f64) -> Past {
        Past::Pairs([-0.02, -0.01, 0.0, 0.01, 0.02].map(|noise| effect + noise).into())
    }

    #[test]
    fn trust_grows_with_the_history() {
        let trusts: Vec<_> = [0, 11, 12, 19, 20, 500].map(|pairs| trust(&rule(), pairs)).into();
        assert_eq!(trusts, [None, None, Some(4), Some(4), Some(8), Some(8)]);
        assert_eq!(floor(&rule(), &[session(0.0), session(0.0)]), None);
        assert_eq!(floor(&rule(), &[session(0.0), session(0.0), session(0.0)]).unwrap().df, 4);
    }

    #[test]
    fn a_change_between_sessions_is_no_noise() {
        let floor = floor(&rule(), &[0.0, 0.3, -0.5, 0.1].map(session)).unwrap();
        let expected = 1.4826 * 0.01 * (5.0_f64 / 4.0).sqrt();
        assert!((floor.sd - expected).abs() < 1e-12);
        assert_eq!(floor.df, 8);
    }

    #[test]
    fn one_odd_pair_changes_little() {
        let mut sessions = vec![session(0.0); 4];
        let quiet = floor(&rule(), &sessions).unwrap().sd;
        let Past::Pairs(pairs) = &mut sessions[0] else { panic!("pairs") };
        pairs[4] = 5.0;
        assert!((floor(&rule(), &sessions).unwrap().sd - quiet).abs() < 0.2 * quiet);
    }

    #[test]
    fn runs_of_one_side_are_worth_half_as_many_pairs() {
        let runs = |count: usize| Past::Runs((0..count).map(|run| (run % 2) as f64).collect());
        assert_eq!(floor(&rule(), &[runs(23)]), None);
        let sd = floor(&rule(), &[runs(24)]).unwrap().sd;
        assert!((sd - 1.4826 * 0.5 * (2.0 * 24.0_f64 / 23.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn the_floor_has_a_floor_and_the_old_is_forgotten() {
        let constant = Past::Pairs(vec![0.1; 20]);
        assert_eq!(floor(&rule(), &[constant]).unwrap().sd, 0.002);
        let mut sessions = vec![Past::Pairs(vec![-1.0, 1.0, -1.0, 1.0]); 5];
        sessions.extend(vec![session(0.0); 10]);
        assert!(floor(&rule(), &sessions).unwrap().sd < 0.02);
    }
}
