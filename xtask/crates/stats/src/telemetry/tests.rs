use domain::timestamp::Timestamp;
use proptest::prelude::*;

use super::*;

/// A sample each 100 ms from 0 to `seconds`, of a card that draws `watts` at that time in s.
fn card(seconds: u64, watts: impl Fn(f64) -> f64) -> Vec<GpuSample> {
    let mut energy_mj = 5_000_000.0;
    (0..=seconds * 10)
        .map(|step| {
            let now = step as f64 / 10.0;
            if 0 < step {
                energy_mj += (watts(now - 0.1) + watts(now)) / 2.0 * 100.0;
            }
            sample(
                step * 100_000,
                Quantities {
                    used_mib: Reading::Known(70_000),
                    power_mw: Reading::Known(rounded(watts(now) * 1000.0)),
                    energy_mj: Reading::Known(rounded(energy_mj)),
                    sm_clock_mhz: Reading::Known(1_980 - step % 2 * 20),
                    throttle_reasons: Reading::Known(vec![ThrottleReason::SwPowerCap]),
                    throttled_us: Reading::Known(
                        [(ThrottleReason::SwPowerCap, step * 50_000)].into(),
                    ),
                    ..Quantities::NONE
                },
            )
        })
        .collect()
}

fn rounded(value: f64) -> u64 {
    format!("{value:.0}").parse().unwrap()
}

fn sample(at_us: u64, quantities: Quantities) -> GpuSample {
    let at = Timestamp::from_unix_millis(i64::try_from(at_us / 1000).unwrap());
    GpuSample { at, at_us, took_us: 900, gpu: 0, quantities }
}

fn run(samples: &[GpuSample], from_s: f64, to_s: f64) -> Sampled<'_> {
    Sampled {
        samples,
        from_us: rounded(from_s * 1e6),
        to_us: rounded(to_s * 1e6),
        output_tokens: 1_000,
        completed: 10,
        sampler: Sampler {
            every_us: 100_000,
            late_us: &[10, 20, 400],
            reading_us: &[900, 1_000, 5_000],
            missed: 1,
            unreadable: 0,
            dropped: 0,
            cpu_us: 9_000,
            lived_us: 3_000_000,
        },
    }
}

fn of(samples: &[GpuSample], from_s: f64, to_s: f64) -> Telemetry {
    telemetry(&run(samples, from_s, to_s)).unwrap()
}

fn energy_of(telemetry: &Telemetry) -> Energy {
    telemetry.energy.known().unwrap().clone()
}

#[test]
fn energy_is_that_of_the_measurement_and_not_of_the_sampler() {
    // Idle for 5 s, 600 W for 20 s, idle again.
    let samples = card(30, |now| if (5.0..=25.0).contains(&now) { 600.0 } else { 70.0 });
    let told = of(&samples, 6.05, 24.05);
    let energy = energy_of(&told);
    assert!((energy.joules - 600.0 * 18.0).abs() < 0.01, "{energy:?}");
    assert_eq!(energy.source, EnergySource::Counter);
    assert!(energy.integral_differs.unwrap().abs() < 1e-6);
    assert!((energy.per_output_token_j.unwrap() - 10.8).abs() < 1e-4);
    assert!((energy.per_request_j.unwrap() - 1080.0).abs() < 1e-2);
    assert_eq!(energy.doubts, []);
    assert_eq!(metrics(&told).len(), 2);
    let gpu = &told.gpus[0];
    assert_eq!(gpu.power_w.known().unwrap().mean.round(), 600.0);
    let clock = gpu.sm_clock_mhz.known().unwrap();
    assert_eq!((clock.least, clock.most, clock.mean.round()), (1_960.0, 1_980.0, 1_970.0));
    assert_eq!(gpu.memory_clock_mhz, Reading::NotSupported);
}

#[test]
fn a_short_run_a_gap_and_a_late_start_are_doubts() {
    let samples = card(30, |_| 300.0);
    assert!(matches!(
        energy_of(&of(&samples, 1.0, 10.0)).doubts[..],
        [EnergyDoubt::ShortWindow { .. }]
    ));
    assert_eq!(metrics(&of(&samples, 1.0, 10.0)), []);
    let gap: Vec<_> = samples
        .iter()
        .filter(|sample| !(10_000_001..12_000_000).contains(&sample.at_us))
        .cloned()
        .collect();
    let doubts = energy_of(&of(&gap, 1.0, 29.0)).doubts;
    assert_eq!(doubts, [EnergyDoubt::Gap { gpu: 0, ms: 2_000.0, most_ms: 1_000.0 }]);
    // Beside the measurement a gap does no harm.
    assert_eq!(energy_of(&of(&gap, 13.0, 29.0)).doubts, []);
    let late = &samples[30..];
    let doubts = energy_of(&of(late, 1.0, 29.0)).doubts;
    assert_eq!(doubts, [EnergyDoubt::NotCovered { gpu: 0, ms: 2_000.0 }]);
}

#[test]
fn a_counter_that_falls_or_stands_still_is_not_used() {
    let mut fallen = card(30, |_| 300.0);
    fallen[100].quantities.energy_mj = Reading::Known(1);
    let told = of(&fallen, 1.0, 29.0);
    let energy = energy_of(&told);
    assert_eq!((energy.source, energy.integral_differs), (EnergySource::Power, None));
    assert!((energy.joules - 300.0 * 28.0).abs() < 0.01);
    assert_eq!(energy.doubts, [EnergyDoubt::CounterFell { gpu: 0 }]);
    assert!(matches!(&told.gpus[0].counter_j, Reading::Unreadable(_)));

    let mut still = card(30, |_| 300.0);
    still.iter_mut().for_each(|sample| sample.quantities.energy_mj = Reading::Known(7));
    let doubts = energy_of(&of(&still, 1.0, 29.0)).doubts;
    assert_eq!(doubts, [EnergyDoubt::CounterStoodStill { gpu: 0 }]);
}

#[test]
fn counter_and_integral_must_agree() {
    let mut samples = card(30, |_| 300.0);
    samples.iter_mut().for_each(|sample| sample.quantities.power_mw = Reading::Known(320_000));
    let energy = energy_of(&of(&samples, 1.0, 29.0));
    assert!(matches!(energy.doubts[..], [EnergyDoubt::IntegralDiffers { .. }]), "{energy:?}");
}

#[test]
fn a_card_without_a_counter_has_its_power_and_one_without_both_has_neither() {
    let mut samples = card(30, |_| 300.0);
    for sample in &mut samples {
        sample.quantities.energy_mj = Reading::NotSupported;
        sample.quantities.power_average_mw = sample.quantities.power_mw.clone();
        sample.quantities.power_mw = Reading::NotSupported;
    }
    let energy = energy_of(&of(&samples, 1.0, 29.0));
    assert_eq!((energy.source, energy.is_valid()), (EnergySource::Power, true));
    for sample in &mut samples {
        sample.quantities.power_average_mw = Reading::NotSupported;
    }
    assert_eq!(of(&samples, 1.0, 29.0).energy, Reading::NotSupported);
    for sample in &mut samples {
        sample.quantities.power_mw = Reading::Unreadable("the GPU is lost".to_owned());
    }
    let lost = Reading::Unreadable("the GPU is lost".to_owned());
    assert_eq!(of(&samples, 1.0, 29.0).energy, lost);
}

#[test]
fn two_cards_take_the_energy_of_both_and_one_that_hides_it_hides_the_sum() {
    let mut samples = card(30, |_| 300.0);
    let second = card(30, |_| 100.0).into_iter().map(|sample| GpuSample { gpu: 1, ..sample });
    samples.extend(second);
    samples.sort_by_key(|sample| sample.at_us);
    let told = of(&samples, 1.0, 29.0);
    assert_eq!(told.gpus.iter().map(|gpu| gpu.gpu).collect::<Vec<_>>(), [0, 1]);
    assert!((energy_of(&told).joules - 400.0 * 28.0).abs() < 0.01);
    for sample in samples.iter_mut().filter(|sample| sample.gpu == 1) {
        sample.quantities.energy_mj = Reading::NotSupported;
        sample.quantities.power_mw = Reading::NotSupported;
    }
    assert_eq!(of(&samples, 1.0, 29.0).energy, Reading::NotSupported);
}

#[test]
fn lowered_clocks_are_told_by_counter_and_noted_when_forced() {
    let limits = Limits { throttled: 0.001, pcie_replays_per_minute: 31 };
    let mut samples = card(30, |_| 300.0);
    let told = of(&samples, 1.0, 29.0);
    let shares = told.gpus[0].throttled.known().unwrap();
    assert!((shares[&ThrottleReason::SwPowerCap] - 0.5).abs() < 1e-9);
    assert_eq!(told.gpus[0].reasons_seen.known().unwrap()[&ThrottleReason::SwPowerCap], 1.0);
    assert_eq!(notable(&told, &limits), [], "a card at its power limit works as it is meant to");

    for (step, sample) in (0..).zip(&mut samples) {
        let counters = [(ThrottleReason::HwThermalSlowdown, step * 1_000)].into();
        sample.quantities.throttled_us = Reading::Known(counters);
        sample.quantities.pcie_replays = Reading::Known(step);
    }
    let noted: Vec<_> =
        notable(&of(&samples, 1.0, 29.0), &limits).iter().map(ToString::to_string).collect();
    assert_eq!(
        noted,
        [
            "clocks of GPU 0 were lowered for 1.00 % of the run: hw-thermal-slowdown",
            "GPU 0 sent 300 PCIe packets again in 0.5 minutes",
        ]
    );
}

#[test]
fn the_sampler_accounts_for_itself() {
    let sampling = of(&card(30, |_| 300.0), 1.0, 29.0).sampling;
    assert_eq!((sampling.samples, sampling.missed), (3, 1));
    assert_eq!((sampling.late_median_ms, sampling.late_max_ms), (0.02, 0.4));
    assert_eq!((sampling.reading_median_ms, sampling.cpu_share), (1.0, 0.003));
}

#[test]
fn without_samples_or_time_there_is_nothing_to_tell() {
    assert_eq!(telemetry(&run(&[], 0.0, 1.0)), None);
    assert_eq!(telemetry(&run(&card(1, |_| 1.0), 1.0, 1.0)), None);
}

proptest! {
    /// The parts of a time take together what the whole takes.
    #[test]
    fn energy_adds_up(cut in 1_u32..290, watts in 50.0_f64..700.0) {
        let samples = card(30, |now| watts * (1.0 + (now / 3.0).sin() / 2.0));
        let cut = f64::from(cut) / 10.0;
        let joules = |from: f64, to: f64| energy_of(&of(&samples, from, to)).joules;
        let parts = joules(0.05, cut + 0.05) + joules(cut + 0.05, 29.95);
        prop_assert!((parts - joules(0.05, 29.95)).abs() < 1e-6 * parts);
    }
}

/// The load begins and ends between two readings of the counter, and what the card draws jumps
/// sixfold there.
#[test]
fn of_a_recorded_run_the_energy_hangs_little_on_how_often_the_counter_was_read() {
    let text = include_str!("../../../../../tests/fixtures/gpu/h100-vllm-run.jsonl");
    let each_second: Vec<GpuSample> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = each_second.len() - 1;
    let mut at_the_ends = each_second.clone();
    at_the_ends[1..last]
        .iter_mut()
        .for_each(|sample| sample.quantities.energy_mj = Reading::NotSupported);
    let joules = |samples: &[GpuSample]| energy_of(&of(samples, 0.305, 13.743)).joules;
    let (often, seldom) = (joules(&each_second), joules(&at_the_ends));
    assert!((6_790.0..6_820.0).contains(&often), "{often}");
    assert!((seldom / often - 1.0).abs() < 0.002, "{often} {seldom}");
}
