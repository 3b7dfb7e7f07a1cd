//! What samples of the GPUs come to: energy, clocks, time with lowered clocks.
//!
//! Only what happened during the measurement counts. Samples hardly ever fall on its ends, so that
//! values there are interpolated between the samples around them; what the energy counter grew by
//! meanwhile is divided as the power was, because the load begins and ends between two readings.

use std::collections::BTreeMap;

use domain::anomaly::Anomaly;
use domain::facts::Reading;
use domain::metric::{Metric, Stat};
use domain::telemetry::{
    Energy, EnergyDoubt, EnergySource, GpuSample, GpuTelemetry, Limits, Quantities, Sampling,
    Spread, Telemetry, ThrottleReason,
};

use crate::samples::Samples;
use crate::time::{US_PER_MS, US_PER_S};

/// The counter moves ten times a second; in this time its steps are 1 % of the whole.
const LEAST_WINDOW_S: f64 = 10.0;
/// Power can be anything in a longer time that nobody looked.
const LONGEST_GAP_MS: f64 = 1000.0;
/// Counter and integral are of the same sensor; where they differ by more, one of them is wrong.
const MOST_DIFFERENCE: f64 = 0.05;

/// A run as its sampler saw it.
#[derive(Clone, Copy, Debug)]
pub struct Sampled<'a> {
    /// Every sample, in the order of time.
    pub samples: &'a [GpuSample],
    /// When the measurement began, in µs on the clock of the samples.
    pub from_us: u64,
    /// When it ended.
    pub to_us: u64,
    /// Tokens generated in it.
    pub output_tokens: u64,
    /// Requests completed in it.
    pub completed: u32,
    /// How the sampler did.
    pub sampler: Sampler<'a>,
}

/// A sampler's account of itself.
#[derive(Clone, Copy, Debug)]
pub struct Sampler<'a> {
    /// Time from one sample to the next, as asked for, in µs.
    pub every_us: u64,
    /// How late each moment was, in µs.
    pub late_us: &'a [u64],
    /// How long reading all GPUs took at each moment, in µs.
    pub reading_us: &'a [u64],
    /// Moments that were passed over.
    pub missed: u64,
    /// Moments at which the memory of a GPU could not be read.
    pub unreadable: u64,
    /// Lines that the file had no room for.
    pub dropped: u64,
    /// CPU time that it took, in µs.
    pub cpu_us: u64,
    /// How long it lived, in µs.
    pub lived_us: u64,
}

/// What the GPUs did; nothing if there is no sample, or no time was measured.
pub fn telemetry(run: &Sampled<'_>) -> Option<Telemetry> {
    let mut of_gpus: BTreeMap<u32, Vec<&GpuSample>> = BTreeMap::new();
    for sample in run.samples {
        of_gpus.entry(sample.gpu).or_default().push(sample);
    }
    if of_gpus.is_empty() || run.to_us <= run.from_us {
        return None;
    }
    let window = Window { from_us: run.from_us, to_us: run.to_us };
    let looked: Vec<Looked> =
        of_gpus.iter().map(|(gpu, samples)| Looked::at(*gpu, samples, window, run)).collect();
    Some(Telemetry {
        window_s: window.seconds(),
        energy: energy(&looked, window, run),
        gpus: looked.into_iter().map(|looked| looked.told).collect(),
        sampling: sampling(&run.sampler)?,
    })
}

/// The metrics that it gives: those of which nothing speaks against.
pub fn metrics(telemetry: &Telemetry) -> Vec<(Metric, f64)> {
    let Some(energy) = telemetry.energy.known().filter(|energy| energy.is_valid()) else {
        return Vec::new();
    };
    let each = [
        (Metric::EnergyPerOutputToken, energy.per_output_token_j),
        (Metric::EnergyPerRequest, energy.per_request_j),
    ];
    each.into_iter().filter_map(|(metric, joules)| Some((metric, joules?))).collect()
}

/// What of it a reader of the results must know.
pub fn notable(telemetry: &Telemetry, limits: &Limits) -> Vec<Anomaly> {
    let mut anomalies = Vec::new();
    for gpu in &telemetry.gpus {
        // Where a card has no counters the samples tell, less exactly.
        let shares = gpu.throttled.known().or_else(|| gpu.reasons_seen.known());
        let forced = shares
            .into_iter()
            .flatten()
            .filter(|(reason, share)| reason.is_forced() && limits.throttled < **share);
        anomalies.extend(forced.map(|(reason, share)| Anomaly::ClocksLowered {
            gpu: gpu.gpu,
            reason: *reason,
            share: *share,
        }));
        let minutes = telemetry.window_s / 60.0;
        if let Some(count) = gpu.pcie_replays.known() {
            // A run of seconds is no minute: a single replay in it is no rate.
            let allowed = limits.pcie_replays_per_minute as f64 * minutes.max(1.0);
            if allowed < *count as f64 {
                anomalies.push(Anomaly::PcieReplays { gpu: gpu.gpu, count: *count, minutes });
            }
        }
    }
    anomalies
}

/// The measurement on the clock of the samples.
#[derive(Clone, Copy)]
struct Window {
    from_us: u64,
    to_us: u64,
}

impl Window {
    fn seconds(self) -> f64 {
        (self.to_us - self.from_us) as f64 / US_PER_S
    }

    /// The part of it that was looked at; all of it if none was, which is found elsewhere.
    fn covered_by(self, samples: &[&GpuSample]) -> Self {
        let (Some(first), Some(last)) = (samples.first(), samples.last()) else { return self };
        let (from_us, to_us) = (self.from_us.max(first.at_us), self.to_us.min(last.at_us));
        if from_us < to_us { Self { from_us, to_us } } else { self }
    }
}

/// One GPU, and why its energy may be wrong.
struct Looked {
    told: GpuTelemetry,
    doubts: Vec<EnergyDoubt>,
}

impl Looked {
    fn at(gpu: u32, samples: &[&GpuSample], window: Window, run: &Sampled<'_>) -> Self {
        let mut doubts = coverage(gpu, samples, window, run.sampler.every_us);
        let window = window.covered_by(samples);
        let of = |pick: fn(&Quantities) -> &Reading<u64>| series(samples, pick);
        let spread = |pick| then(of(pick), |series| Reading::Known(spread(&series, window)));
        let power = match of(|read| &read.power_mw) {
            Reading::NotSupported => of(|read| &read.power_average_mw),
            told => told,
        };
        let counter_j = then(of(|read| &read.energy_mj), |counter| {
            match counted(gpu, &counter, power.known().map(Vec::as_slice), window) {
                Ok(mj) => Reading::Known(mj / 1e3),
                Err(doubt) => {
                    let reason = doubt.to_string();
                    doubts.push(doubt);
                    Reading::Unreadable(reason)
                }
            }
        });
        let watts =
            |of: Spread| Spread { mean: of.mean / 1e3, least: of.least / 1e3, most: of.most / 1e3 };
        let told = GpuTelemetry {
            gpu,
            counter_j,
            integral_j: then(power.clone(), |series| {
                Reading::Known(integral(&clipped(&series, window)) / 1e3)
            }),
            power_w: then(power, |series| Reading::Known(watts(self::spread(&series, window)))),
            sm_clock_mhz: spread(|read| &read.sm_clock_mhz),
            memory_clock_mhz: spread(|read| &read.memory_clock_mhz),
            busy_percent: spread(|read| &read.busy_percent),
            temperature_c: spread(|read| &read.temperature_c),
            memory_temperature_c: spread(|read| &read.memory_temperature_c),
            throttled: throttled(samples, window),
            reasons_seen: reasons_seen(samples, window),
            pcie_replays: then(of(|read| &read.pcie_replays), |series| grown(&series)),
        };
        Self { told, doubts }
    }
}

/// A quantity over time: `(µs, value)`, at least one.
type Series = Vec<(u64, u64)>;

/// The values that could be read; if there is none, why.
fn series(samples: &[&GpuSample], pick: fn(&Quantities) -> &Reading<u64>) -> Reading<Series> {
    let mut series = Vec::new();
    let mut refused = None;
    for sample in samples {
        match pick(&sample.quantities) {
            Reading::Known(value) => series.push((sample.at_us, *value)),
            Reading::NotSupported => {}
            Reading::Unreadable(reason) => refused = Some(reason),
        }
    }
    match (series.is_empty(), refused) {
        (false, _) => Reading::Known(series),
        (true, Some(reason)) => Reading::Unreadable(reason.clone()),
        (true, None) => Reading::NotSupported,
    }
}

fn then<T, U>(reading: Reading<T>, next: impl FnOnce(T) -> Reading<U>) -> Reading<U> {
    match reading {
        Reading::Known(value) => next(value),
        Reading::NotSupported => Reading::NotSupported,
        Reading::Unreadable(reason) => Reading::Unreadable(reason),
    }
}

/// The value at a moment, between the samples around it; beyond the ends, that of the end.
fn value_at(series: &[(u64, u64)], at_us: u64) -> f64 {
    let after = series.partition_point(|(us, _)| *us < at_us);
    match (after.checked_sub(1).and_then(|before| series.get(before)), series.get(after)) {
        (Some((from, a)), Some((to, b))) => {
            let share = (at_us - from) as f64 / (to - from) as f64;
            *a as f64 + (*b as f64 - *a as f64) * share
        }
        (Some((_, only)), None) | (None, Some((_, only))) => *only as f64,
        (None, None) => 0.0,
    }
}

/// The part inside of the window, with values at its ends: at least two points.
fn clipped(series: &[(u64, u64)], window: Window) -> Vec<(u64, f64)> {
    let Window { from_us, to_us } = window;
    let inside = series.iter().filter(|(us, _)| from_us < *us && *us < to_us);
    let inside = inside.map(|(us, value)| (*us, *value as f64));
    let (first, last) = (value_at(series, from_us), value_at(series, to_us));
    [(from_us, first)].into_iter().chain(inside).chain([(to_us, last)]).collect()
}

/// The area below, by trapezoids, in value × s.
fn integral(points: &[(u64, f64)]) -> f64 {
    let area = |pair: &[(u64, f64)]| match pair {
        [(from, a), (to, b)] => (a + b) / 2.0 * (to - from) as f64 / US_PER_S,
        _ => 0.0,
    };
    points.windows(2).map(area).sum()
}

fn spread(series: &[(u64, u64)], window: Window) -> Spread {
    let points = clipped(series, window);
    let values = || points.iter().map(|(_, value)| *value);
    Spread {
        mean: integral(&points) / window.seconds(),
        least: values().fold(f64::INFINITY, f64::min),
        most: values().fold(f64::NEG_INFINITY, f64::max),
    }
}

/// What the counter of energy grew by in the window.
fn counted(
    gpu: u32,
    counter: &[(u64, u64)],
    power: Option<&[(u64, u64)]>,
    window: Window,
) -> Result<f64, EnergyDoubt> {
    if !counter.is_sorted_by_key(|(_, value)| *value) {
        return Err(EnergyDoubt::CounterFell { gpu });
    }
    let at = |us| energy_at(counter, power, us);
    let grown = at(window.to_us) - at(window.from_us);
    if grown <= 0.0 { Err(EnergyDoubt::CounterStoodStill { gpu }) } else { Ok(grown) }
}

/// The counter of energy at a moment: between two readings it grew as the power was.
fn energy_at(counter: &[(u64, u64)], power: Option<&[(u64, u64)]>, at_us: u64) -> f64 {
    let after = counter.partition_point(|(us, _)| *us < at_us);
    let around = after.checked_sub(1).map(|before| &counter[before]).zip(counter.get(after));
    let (Some(((from_us, from), (to_us, to))), Some(power)) = (around, power) else {
        return value_at(counter, at_us);
    };
    let taken = |to_us| integral(&clipped(power, Window { from_us: *from_us, to_us }));
    let all = taken(*to_us);
    if all <= 0.0 {
        return value_at(counter, at_us);
    }
    *from as f64 + (*to - *from) as f64 * taken(at_us) / all
}

/// What a counter grew by from the first to the last sample.
fn grown(series: &[(u64, u64)]) -> Reading<u64> {
    match (series.first(), series.last()) {
        (Some((_, first)), Some((_, last))) => match last.checked_sub(*first) {
            Some(grown) => Reading::Known(grown),
            None => Reading::Unreadable("the counter went back".to_owned()),
        },
        (None, _) | (_, None) => Reading::NotSupported,
    }
}

/// Whether the window was looked at from end to end.
fn coverage(gpu: u32, samples: &[&GpuSample], window: Window, every_us: u64) -> Vec<EnergyDoubt> {
    let mut doubts = Vec::new();
    let times: Vec<u64> = samples.iter().map(|sample| sample.at_us).collect();
    let before = times.first().map_or(0, |first| first.saturating_sub(window.from_us));
    let after = times.last().map_or(0, |last| window.to_us.saturating_sub(*last));
    if every_us < before.max(after) {
        doubts.push(EnergyDoubt::NotCovered { gpu, ms: before.max(after) as f64 / US_PER_MS });
    }
    let inside = |pair: &&[u64]| pair.iter().any(|us| (window.from_us..window.to_us).contains(us));
    let gap = times.windows(2).filter(inside).map(|pair| pair[1] - pair[0]).max();
    let most_ms = LONGEST_GAP_MS.max(2.0 * every_us as f64 / US_PER_MS);
    let gap = gap.map(|us| us as f64 / US_PER_MS).filter(|ms| most_ms < *ms);
    doubts.extend(gap.map(|ms| EnergyDoubt::Gap { gpu, ms, most_ms }));
    doubts
}

fn energy(looked: &[Looked], window: Window, run: &Sampled<'_>) -> Reading<Energy> {
    let counters = total(looked, |gpu| &gpu.counter_j);
    let integrals = total(looked, |gpu| &gpu.integral_j);
    let (joules, source) = match (&counters, &integrals) {
        (Reading::Known(joules), _) => (*joules, EnergySource::Counter),
        (_, Reading::Known(joules)) => (*joules, EnergySource::Power),
        (Reading::NotSupported, other) | (other, _) => {
            return then(other.clone(), |_: f64| Reading::NotSupported);
        }
    };
    let integral_differs = match (&counters, &integrals) {
        (Reading::Known(counter), Reading::Known(integral)) => Some(integral / counter - 1.0),
        _ => None,
    };
    let mut doubts: Vec<EnergyDoubt> =
        looked.iter().flat_map(|looked| looked.doubts.iter().cloned()).collect();
    if window.seconds() < LEAST_WINDOW_S {
        let (seconds, least_s) = (window.seconds(), LEAST_WINDOW_S);
        doubts.insert(0, EnergyDoubt::ShortWindow { seconds, least_s });
    }
    let differs = integral_differs.filter(|by| MOST_DIFFERENCE < by.abs());
    doubts.extend(differs.map(|by| EnergyDoubt::IntegralDiffers { by, most: MOST_DIFFERENCE }));
    Reading::Known(Energy {
        joules,
        source,
        per_output_token_j: (0 < run.output_tokens).then(|| joules / run.output_tokens as f64),
        per_request_j: (0 < run.completed).then(|| joules / f64::from(run.completed)),
        integral_differs,
        doubts,
    })
}

/// The sum over all GPUs; one that is missing makes it missing.
fn total(looked: &[Looked], pick: fn(&GpuTelemetry) -> &Reading<f64>) -> Reading<f64> {
    looked.iter().fold(Reading::Known(0.0), |sum, looked| {
        then(sum, |sum| then(pick(&looked.told).clone(), |value| Reading::Known(sum + value)))
    })
}

/// The share of the window in which clocks were lowered, by the card's counters.
fn throttled(samples: &[&GpuSample], window: Window) -> Reading<BTreeMap<ThrottleReason, f64>> {
    let mut all: BTreeMap<ThrottleReason, Series> = BTreeMap::new();
    let mut refused = None;
    for sample in samples {
        match &sample.quantities.throttled_us {
            Reading::Known(counters) => {
                for (reason, us) in counters {
                    all.entry(*reason).or_default().push((sample.at_us, *us));
                }
            }
            Reading::NotSupported => {}
            Reading::Unreadable(reason) => refused = Some(reason),
        }
    }
    if all.is_empty() {
        return refused.map_or(Reading::NotSupported, |reason| Reading::Unreadable(reason.clone()));
    }
    let length_us = window.seconds() * US_PER_S;
    let share = |series: &Series| {
        let grown = value_at(series, window.to_us) - value_at(series, window.from_us);
        // The counter moves in steps, of which one may belong to the time before.
        (grown / length_us).clamp(0.0, 1.0)
    };
    Reading::Known(all.iter().map(|(reason, series)| (*reason, share(series))).collect())
}

/// The share of the samples in which a reason held.
fn reasons_seen(samples: &[&GpuSample], window: Window) -> Reading<BTreeMap<ThrottleReason, f64>> {
    let mut seen: BTreeMap<ThrottleReason, u64> = BTreeMap::new();
    let mut read = 0_u64;
    let mut missing = Reading::NotSupported;
    for sample in samples {
        match &sample.quantities.throttle_reasons {
            Reading::Known(reasons) if inside(sample, window) => {
                read += 1;
                reasons.iter().for_each(|reason| *seen.entry(*reason).or_default() += 1);
            }
            Reading::Known(_) => {
                missing = Reading::Unreadable("no sample fell into the run".to_owned());
            }
            Reading::NotSupported => {}
            Reading::Unreadable(reason) => missing = Reading::Unreadable(reason.clone()),
        }
    }
    if read == 0 {
        return missing;
    }
    let shares = seen.into_iter().map(|(reason, times)| (reason, times as f64 / read as f64));
    Reading::Known(shares.collect())
}

fn inside(sample: &GpuSample, window: Window) -> bool {
    (window.from_us..=window.to_us).contains(&sample.at_us)
}

fn sampling(sampler: &Sampler<'_>) -> Option<Sampling> {
    let ms = |us: &[u64]| Samples::new(us.iter().map(|us| *us as f64 / US_PER_MS).collect());
    let (late, reading) = (ms(sampler.late_us), ms(sampler.reading_us));
    let stat = |of: &Samples, stat| of.stat(stat);
    Some(Sampling {
        every_ms: sampler.every_us as f64 / US_PER_MS,
        samples: reading.len() as u64,
        missed: sampler.missed,
        unreadable: sampler.unreadable,
        dropped: sampler.dropped,
        late_median_ms: stat(&late, Stat::Median)?,
        late_p99_ms: stat(&late, Stat::P99)?,
        late_max_ms: late.max()?,
        reading_median_ms: stat(&reading, Stat::Median)?,
        reading_max_ms: reading.max()?,
        cpu_share: sampler.cpu_us as f64 / sampler.lived_us.max(1) as f64,
    })
}

#[cfg(test)]
mod tests;
