use domain::telemetry::{EnergyDoubt, EnergySource};

use super::*;
use crate::testing::run;

fn telemetry() -> Telemetry {
    let spread = |mean| Reading::Known(Spread { mean, least: mean - 10.0, most: mean + 10.0 });
    Telemetry {
        window_s: 30.0,
        energy: Reading::Known(Energy {
            joules: 18_000.0,
            source: EnergySource::Counter,
            per_output_token_j: Some(0.1875),
            per_request_j: Some(45.0),
            integral_differs: Some(-0.012),
            doubts: Vec::new(),
        }),
        gpus: vec![GpuTelemetry {
            gpu: 0,
            counter_j: Reading::Known(18_000.0),
            integral_j: Reading::Known(17_784.0),
            power_w: spread(600.0),
            sm_clock_mhz: spread(1_755.0),
            memory_clock_mhz: Reading::NotSupported,
            busy_percent: spread(90.0),
            temperature_c: Reading::Unreadable("no rights".to_owned()),
            memory_temperature_c: Reading::NotSupported,
            throttled: Reading::Known([(ThrottleReason::SwPowerCap, 0.25)].into()),
            reasons_seen: Reading::NotSupported,
            pcie_replays: Reading::Known(0),
        }],
        sampling: Sampling {
            every_ms: 100.0,
            samples: 300,
            missed: 2,
            unreadable: 0,
            dropped: 0,
            late_median_ms: 0.06,
            late_p99_ms: 0.2,
            late_max_ms: 1.5,
            reading_median_ms: 2.25,
            reading_max_ms: 9.0,
            cpu_share: 0.0042,
        },
    }
}

#[test]
fn the_hosts_cpus_are_told_without_any_gpu() {
    let used = CpuUse { window_s: 12.0, busy: 0.125, stolen: 0.034, waiting: None };
    let run = RunSummary { vram: None, telemetry: None, cpu_use: Some(used.clone()), ..run() };
    insta::assert_snapshot!(of_run(&run), @"- Host CPUs: 12.5 % busy, 3.4 % of the wanted time went to other machines");
    let used = CpuUse { waiting: Some(0.5), ..used };
    insta::assert_snapshot!(cpus(&used), @"- Host CPUs: 12.5 % busy, 3.4 % of the wanted time went to other machines; some task waited for one 50.0 % of the time");
    let short = CpuUse { window_s: 9.0, ..used };
    assert_eq!(
        [used.is_stolen(0.01), used.is_stolen(0.04), short.is_stolen(0.01)],
        [true, false, false]
    );
}

#[test]
fn what_is_missing_says_why_and_nothing_is_zero_by_silence() {
    insta::assert_snapshot!(lines(&telemetry()), @"
    - Energy: 18000 J (by counter; sampled power gives -1.2 %)
    - Energy per Output Token: 0.188 J
    - Energy per Request: 45.00 J
    - GPU 0: power 600 W (590 to 610), SM clock 1755 MHz (1745 to 1765), memory clock not supported by this card, busy 90 % (80 to 100), temperature could not be read: no rights
    - GPU 0 Lowered Clocks: sw-power-cap 25.0 % by the card's counters
    - GPU Sampler: 300 samples, one in 100 ms, 2 missed; late 0.20 ms (p99), 1.50 ms (max); reading 2.25 ms (median), 9.00 ms (max); CPU 0.42 % of a core
    ");
}

#[test]
fn energy_that_may_be_wrong_is_never_shown_without_the_reason() {
    let mut told = telemetry();
    let Reading::Known(energy) = &mut told.energy else { panic!("known above") };
    energy.doubts.push(EnergyDoubt::ShortWindow { seconds: 2.0, least_s: 10.0 });
    assert_eq!(short(&told).unwrap(), "0.188 J for each output token (not valid)");
    let text = lines(&told);
    assert!(text.contains("- Energy not valid: the run took 2.0 s, at least 10 s are needed\n"));
    told.energy = Reading::NotSupported;
    assert!(lines(&told).starts_with("- Energy: not supported by this card\n"));
    assert_eq!(short(&told), None);
}

#[test]
fn a_peak_of_memory_that_was_taken_at_the_start_says_so() {
    let vllm = RunSummary { framework: Framework::Vllm, kv_cache_tokens: Some(452_144), ..run() };
    insta::assert_snapshot!(of_run(&vllm), @"
    - VRAM: 10 MiB before, 2048 MiB at most, 12 MiB after
    - VRAM Note: vLLM takes its memory at the start, needed or not; its KV cache holds 452144 tokens
    ");
    assert!(!of_run(&run()).contains("Note"));
    assert_eq!(of_run(&RunSummary { vram: None, ..run() }), "");
}
