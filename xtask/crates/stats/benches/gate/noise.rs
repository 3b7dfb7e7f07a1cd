//! The noise of benchmark runs: what differs from run to run and from session to session.
//!
//! Logarithms; more is worse for every metric. The sizes are those of serving benchmarks on one
//! GPU: a mean TTFT varies 1.5 times as much as a throughput, a p99 four times and with heavier
//! tails, metrics hang together, the machine drifts, some runs are spoiled, and another session
//! is shifted as a whole.

use std::f64::consts::TAU;

/// The metrics, in families of three.
pub(crate) const METRICS: [Kind; 12] = [
    Kind { name: "request_throughput", family: 0, size: 1.0, tail: false },
    Kind { name: "output_throughput", family: 0, size: 1.0, tail: false },
    Kind { name: "input_throughput", family: 0, size: 1.0, tail: false },
    Kind { name: "mean_ttft_ms", family: 1, size: 1.5, tail: false },
    Kind { name: "median_ttft_ms", family: 1, size: 2.5, tail: false },
    Kind { name: "p99_ttft_ms", family: 1, size: 4.0, tail: true },
    Kind { name: "mean_tpot_ms", family: 2, size: 1.0, tail: false },
    Kind { name: "median_tpot_ms", family: 2, size: 1.0, tail: false },
    Kind { name: "p99_tpot_ms", family: 2, size: 4.0, tail: true },
    Kind { name: "mean_itl_ms", family: 3, size: 1.0, tail: false },
    Kind { name: "median_itl_ms", family: 3, size: 1.0, tail: false },
    Kind { name: "p99_itl_ms", family: 3, size: 4.0, tail: true },
];

/// Places of the metrics that decide, in the order of the standard rule.
pub(crate) const GATING: [usize; 4] = [1, 3, 6, 5];

const TTFT: usize = 1;

/// Share of a run's noise that all metrics have in common, and that a family has in common.
const COMMON: f64 = 0.25;
const OF_FAMILY: f64 = 0.25;

/// Drift within a session: autocorrelation from run to run, and size beside the noise of a run.
const DRIFT_STAYS: f64 = 0.8;
const DRIFT: f64 = 0.5;

/// A spoiled run: how often, and by how much at least and at most.
const SPOILED: f64 = 0.03;
const SPOILED_BY: [f64; 2] = [0.03, 0.15];

/// One metric's place in the noise.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) family: usize,
    /// Size of its noise beside the coefficient of variation.
    pub(crate) size: f64,
    pub(crate) tail: bool,
}

/// What a candidate is changed by.
#[derive(Clone, Copy)]
pub(crate) enum Effect {
    /// Nothing.
    None,
    /// Token generation is slower by this much: TTFT suffers half of it.
    Decode(f64),
    /// Prefill is slower by this much: throughput suffers 0.3 of it.
    Prefill(f64),
}

impl Effect {
    fn on(self, kind: &Kind) -> f64 {
        match self {
            Self::None => 0.0,
            Self::Decode(by) => by * if kind.family == TTFT { 0.5 } else { 1.0 },
            Self::Prefill(by) => by * [0.3, 1.0, 0.0, 0.0][kind.family],
        }
    }
}

/// One value a metric.
pub(crate) type Run = [f64; METRICS.len()];

/// Which sizes the noise has.
#[derive(Clone, Copy)]
pub(crate) struct Noise {
    /// Coefficient of variation of a throughput from run to run.
    pub(crate) cv: f64,
    /// Size of the shift of a session beside it.
    pub(crate) tau: f64,
    /// How much noisier these runs are than their history.
    pub(crate) scale: f64,
    /// Share of spoiled runs.
    pub(crate) spoiled: f64,
}

impl Noise {
    /// The usual noise.
    pub(crate) const fn of(cv: f64) -> Self {
        Self { cv, tau: 1.0, scale: 1.0, spoiled: SPOILED }
    }
}

/// One session: its shift and where its drift stands.
pub(crate) struct Session<'a> {
    noise: Noise,
    random: &'a mut Random,
    shift: Run,
    drift: f64,
}

impl<'a> Session<'a> {
    pub(crate) fn new(noise: Noise, random: &'a mut Random) -> Self {
        let common = random.normal();
        let families = [(); 4].map(|()| random.normal());
        let shift = std::array::from_fn(|at| {
            let kind = &METRICS[at];
            let size = noise.tau * noise.cv * if kind.family == TTFT { 2.0 } else { 1.0 };
            size * (common * 0.5_f64.sqrt() + families[kind.family] * 0.5_f64.sqrt())
        });
        let drift = random.normal() * DRIFT * noise.cv;
        Self { noise, random, shift, drift }
    }

    /// The next run. The throw-away run of a session is not made: every rule here has one.
    pub(crate) fn run(&mut self, effect: Effect) -> Run {
        let Noise { cv, scale, spoiled, .. } = self.noise;
        let fresh = (1.0 - DRIFT_STAYS * DRIFT_STAYS).sqrt() * DRIFT * cv;
        self.drift = DRIFT_STAYS * self.drift + fresh * self.random.normal();
        let common = self.random.normal();
        let families = [(); 4].map(|()| self.random.normal());
        let [least, most] = SPOILED_BY;
        let is_spoiled = self.random.uniform() < spoiled;
        let spoiled = if is_spoiled { least + (most - least) * self.random.uniform() } else { 0.0 };
        std::array::from_fn(|at| {
            let kind = &METRICS[at];
            let own = if kind.tail { self.random.heavy() } else { self.random.normal() };
            let noise = COMMON.sqrt() * common
                + OF_FAMILY.sqrt() * families[kind.family]
                + (1.0 - COMMON - OF_FAMILY).sqrt() * own;
            let spoiled = spoiled * if kind.tail { 2.0 } else { 1.0 };
            self.shift[at] + self.drift + cv * scale * kind.size * noise + spoiled + effect.on(kind)
        })
    }
}

/// SplitMix64, and what is made of it.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Above 0 and below 1.
    pub(crate) fn uniform(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Normal with unit variance, by Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.uniform().ln()).sqrt() * (TAU * self.uniform()).cos()
    }

    /// Student's t with three degrees of freedom, scaled to unit variance.
    fn heavy(&mut self) -> f64 {
        let squares: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (squares / 3.0).sqrt() / 3.0_f64.sqrt()
    }
}
