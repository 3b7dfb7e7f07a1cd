//! How far the load client's own lag may move the numbers of a run.

use std::str::FromStr;

use domain::anomaly::Anomaly;
use domain::profile::Profile;
use domain::summary::Measurement;
use domain::units::{Percent, Span};
use skill::runner::LagBudget;
use stats::certificate::{Budget, Rated, over_budget};

/// What is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Allowed {
    /// Any lag: it is reported and not judged.
    Any,
    /// A share of each number, or a time, whichever is larger.
    Within(LagBudget),
}

/// A text that is no lag budget.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a share, a time, or both, like `1%`, `1ms` or `1%,1ms`, nor `none`")]
pub struct NotABudget {
    text: String,
}

impl Allowed {
    /// Where the numbers of a run are off by more.
    pub fn exceeded(self, measured: &Measurement, profile: &Profile) -> Vec<Anomaly> {
        let Self::Within(LagBudget { share, at_least }) = self else { return Vec::new() };
        let at_least_ms = at_least.0.as_secs_f64() * 1000.0;
        let budget = Budget { share: share.fraction(), at_least_ms };
        over_budget(measured, budget, Rated::of(profile))
    }
}

impl FromStr for Allowed {
    type Err = NotABudget;

    fn from_str(text: &str) -> Result<Self, NotABudget> {
        let refused = || NotABudget { text: text.to_owned() };
        if text == "none" {
            return Ok(Self::Any);
        }
        let (mut share, mut at_least) = (None, None);
        for part in text.split(',').map(str::trim) {
            // Each once, in any order.
            match (part.parse::<Percent>(), part.parse::<Span>()) {
                (Ok(percent), _) if share.is_none() => share = Some(percent),
                (_, Ok(span)) if at_least.is_none() => at_least = Some(span),
                _ => return Err(refused()),
            }
        }
        // What is not said allows nothing, so that the other alone counts.
        let share = share.unwrap_or(Percent::ZERO);
        let at_least = at_least.unwrap_or(Span(std::time::Duration::ZERO));
        Ok(Self::Within(LagBudget { share, at_least }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_budget_is_a_share_or_a_time_or_both() {
        let both = |share: &str, ms| {
            let (share, at_least) = (share.parse().unwrap(), Span(Duration::from_millis(ms)));
            Ok(Allowed::Within(LagBudget { share, at_least }))
        };
        assert_eq!("1%,1ms".parse(), both("1 %", 1));
        assert_eq!("2ms, 0.5 %".parse(), both("0.5 %", 2));
        assert_eq!("3%".parse(), both("3 %", 0));
        assert_eq!("5ms".parse(), both("0 %", 5));
        assert_eq!("none".parse(), Ok(Allowed::Any));
        for wrong in ["", "1", "1%,2%", "1ms,2ms", "1%,1ms,1ms", "never", "1%,"] {
            assert!(wrong.parse::<Allowed>().is_err(), "{wrong}");
        }
    }
}
