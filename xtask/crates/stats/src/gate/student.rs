//! Student's t, the only distribution that the gate needs.

use statrs::distribution::{Continuous as _, ContinuousCDF as _, StudentsT};

/// Newton steps that the quantile is polished with: each doubles the digits that hold, and two
/// take the library's nine to all that an `f64` has.
const POLISH: usize = 2;

/// Below this distance from zero three terms of the series are exact, while the library loses up to
/// half of its digits: it computes with the square of `t` beside 1.
const NEAR_ZERO: f64 = 1e-2;

/// Chance of a value above `t` with `df` degrees of freedom; none without any.
pub(super) fn above(t: f64, df: u32) -> Option<f64> {
    below(-t, df)
}

/// Chance of a value below `t`.
pub(super) fn below(t: f64, df: u32) -> Option<f64> {
    let distribution = distribution(df)?;
    if NEAR_ZERO < t.abs() {
        return Some(distribution.cdf(t));
    }
    let df = f64::from(df);
    let third = (df + 1.0) / (6.0 * df) * t.powi(3);
    let fifth = (df + 1.0) * (df + 3.0) / (40.0 * df * df) * t.powi(5);
    Some(0.5 + distribution.pdf(0.0) * (t - third + fifth))
}

/// The value that is exceeded with the chance `1 - p`.
pub(super) fn quantile(p: f64, df: u32) -> Option<f64> {
    let distribution = distribution(df)?;
    let mut t = distribution.inverse_cdf(p);
    for _ in 0..POLISH {
        t -= (distribution.cdf(t) - p) / distribution.pdf(t);
    }
    t.is_finite().then_some(t)
}

fn distribution(df: u32) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, f64::from(df)).ok()
}

#[cfg(test)]
pub(super) mod tests {
    use std::f64::consts::PI;

    use proptest::prelude::*;

    use super::*;

    /// The same by a finite sum of powers of sine and cosine, which exists for whole degrees of
    /// freedom and shares nothing with the incomplete beta function of the library.
    pub(crate) fn below_by_angle(t: f64, df: u32) -> f64 {
        let angle = (t / f64::from(df).sqrt()).atan();
        let (sin, cos) = angle.sin_cos();
        let inside = if df % 2 == 1 {
            let mut term = cos;
            let mut sum = if df == 1 { 0.0 } else { cos };
            for k in (3..df).step_by(2) {
                term *= cos * cos * f64::from(k - 1) / f64::from(k);
                sum += term;
            }
            (angle + sin * sum) * 2.0 / PI
        } else {
            let (mut term, mut sum) = (1.0, 1.0);
            for k in (2..df).step_by(2) {
                term *= cos * cos * f64::from(k - 1) / f64::from(k);
                sum += term;
            }
            sin * sum
        };
        f64::midpoint(1.0, inside)
    }

    proptest! {
        #[test]
        fn two_ways_to_compute_the_chance_agree(
            t in prop_oneof![-60.0..60.0_f64, -2e-2..2e-2_f64, -1e-7..1e-7_f64],
            df in 1..40_u32,
        ) {
            let other = below_by_angle(t, df);
            prop_assert!((below(t, df).unwrap() - other).abs() < 1e-12);
            prop_assert!((above(t, df).unwrap() - (1.0 - other)).abs() < 1e-12);
        }

        #[test]
        fn the_quantile_undoes_the_chance(p in 0.5..0.9999_f64, df in 1..40_u32) {
            let t = quantile(p, df).unwrap();
            prop_assert!((below_by_angle(t, df) - p).abs() < 1e-12, "t = {t}");
        }
    }

    #[test]
    fn tables_agree() {
        // Two-sided 10 % points, as every table of the distribution has them.
        for (df, t) in [(1, 6.314), (2, 2.920), (10, 1.812), (30, 1.697)] {
            assert!((quantile(0.95, df).unwrap() - t).abs() < 5e-4);
        }
        assert_eq!(above(1.0, 0), None);
    }
}
