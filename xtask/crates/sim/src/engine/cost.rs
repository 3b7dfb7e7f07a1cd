//! What a step of the engine costs.

use std::time::Duration;

use super::rng::Rng;
use crate::config::Config;

/// The work of one step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Sequences that get a token from decoding.
    pub decoding: u32,
    /// Tokens of context that decoding reads, over all sequences.
    pub context_tokens: u64,
    /// Prompt tokens that are computed.
    pub prefill_tokens: u32,
}

/// Turns work into time.
#[derive(Clone, Debug)]
pub struct CostModel {
    base_ms: f64,
    per_seq_ms: f64,
    per_1k_context_ms: f64,
    prefill_tokens_per_s: f64,
    speed: f64,
    noise: f64,
    drift: f64,
    drift_period_s: f64,
    trend_per_min: f64,
    rng: Rng,
}

/// However noise and drift fall, a step costs at least this share of its plain cost: a simulated
/// card does not become many times faster by luck.
const LEAST_FACTOR: f64 = 0.1;

impl CostModel {
    /// The model that the configuration describes.
    pub fn new(config: &Config) -> Self {
        Self {
            base_ms: config.step_base_ms,
            per_seq_ms: config.step_per_seq_ms,
            per_1k_context_ms: config.step_per_1k_kv_ms,
            prefill_tokens_per_s: config.prefill_tokens_per_s,
            speed: config.speed,
            noise: config.noise,
            drift: config.drift,
            drift_period_s: config.drift_period_s,
            trend_per_min: config.trend_per_min,
            rng: Rng::new(config.seed),
        }
    }

    /// Cost of a step in ms, without noise, drift and speed. More work never costs less.
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
    pub fn plain_ms(&self, work: Work) -> f64 {
        self.base_ms
            + self.per_seq_ms * f64::from(work.decoding)
            + self.per_1k_context_ms * work.context_tokens as f64 / 1000.0
            + 1000.0 * f64::from(work.prefill_tokens) / self.prefill_tokens_per_s
    }

    /// Cost of a step that begins `since_start` after the server did. Draws one number of noise.
    pub fn step(&mut self, work: Work, since_start: Duration) -> Duration {
        let at_s = since_start.as_secs_f64();
        let noise = self.noise * self.rng.normal();
        let wave = self.drift * (std::f64::consts::TAU * at_s / self.drift_period_s).sin();
        let trend = self.trend_per_min * at_s / 60.0;
        let factor = (1.0 + noise + wave + trend).max(LEAST_FACTOR);
        Duration::from_secs_f64(self.plain_ms(work) * factor / self.speed / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn work() -> impl Strategy<Value = Work> {
        (0_u32..300, 0_u64..1_000_000, 0_u32..8192).prop_map(|(decoding, context, prefill)| Work {
            decoding,
            context_tokens: context,
            prefill_tokens: prefill,
        })
    }

    proptest! {
        #[test]
        fn more_work_never_makes_a_step_cheaper(a in work(), b in work()) {
            let both = Work {
                decoding: a.decoding + b.decoding,
                context_tokens: a.context_tokens + b.context_tokens,
                prefill_tokens: a.prefill_tokens + b.prefill_tokens,
            };
            let mut cost = CostModel::new(&Config::steady());
            let now = Duration::from_secs(7);
            prop_assert!(cost.step(a, now) <= cost.step(both, now));
        }

        #[test]
        fn twice_the_speed_is_half_the_time(work in work()) {
            let mut slow = CostModel::new(&Config::steady());
            let mut fast = CostModel::new(&Config { speed: 2.0, ..Config::steady() });
            let (slow, fast) = (slow.step(work, Duration::ZERO), fast.step(work, Duration::ZERO));
            prop_assert!(slow.abs_diff(2 * fast) <= Duration::from_nanos(2));
        }
    }

    #[test]
    fn noise_is_the_same_for_the_same_seed_and_differs_for_another() {
        let steps = |seed| {
            let mut cost = CostModel::new(&Config { noise: 0.05, seed, ..Config::steady() });
            let work = Work { decoding: 4, ..Work::default() };
            (0..20).map(|_| cost.step(work, Duration::ZERO)).collect::<Vec<_>>()
        };
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
    }

    #[test]
    fn drift_comes_and_goes_and_a_trend_stays() {
        let config = Config { drift: 0.1, drift_period_s: 40.0, ..Config::steady() };
        let mut wave = CostModel::new(&config);
        let at = |cost: &mut CostModel, s| cost.step(Work::default(), Duration::from_secs(s));
        assert!(at(&mut wave, 0) < at(&mut wave, 10));
        assert!(at(&mut wave, 30) < at(&mut wave, 0));
        let mut trend = CostModel::new(&Config { trend_per_min: 0.2, ..Config::steady() });
        assert_eq!(at(&mut trend, 60).as_micros(), 12 * at(&mut trend, 0).as_micros() / 10);
    }
}
