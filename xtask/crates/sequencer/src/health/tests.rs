use std::collections::BTreeSet;
use std::fmt::Write as _;

use domain::facts::{GpuFacts, Reading};
use proptest::prelude::*;
use serde_json::{Value, json};
use skill::health::Checks;

use super::*;

/// A card at rest, as a real one answered.
const AT_REST: &str = include_str!("../../../../../tests/fixtures/gpu/h100-idle.json");

/// The facts at rest with some of their fields replaced.
fn facts(gpu: &Value, host: &Value) -> HealthFacts {
    let mut facts: Value = serde_json::from_str(AT_REST).unwrap();
    for (into, with) in [("/gpus/0", gpu), ("/host", host)] {
        let into = facts.pointer_mut(into).unwrap().as_object_mut().unwrap();
        into.extend(with.as_object().unwrap().clone());
    }
    serde_json::from_value(facts).unwrap()
}

fn at_rest() -> HealthFacts {
    facts(&json!({}), &json!({}))
}

fn limits(checks: &Value) -> CheckGpu {
    let limits = json!({ "settle": "5s", "unreadable": "warn", "checks": checks });
    serde_json::from_value(limits).unwrap()
}

/// What is said about one check, or all of it.
fn said(judged: Result<Healthy, Unfit>, about: Option<&str>) -> String {
    let (findings, passed) = match judged {
        Ok(healthy) => (healthy.findings, healthy.passed),
        Err(unfit) => (unfit.findings, unfit.passed),
    };
    let whose = |gpu: Option<u32>| gpu.map_or("host".to_owned(), |index| format!("gpu {index}"));
    let wanted = |check: &str| about.is_none_or(|about| about == check);
    let mut text = String::new();
    for passed in passed.iter().filter(|passed| wanted(passed.check)) {
        let Passed { check, gpu, message } = passed;
        writeln!(text, "pass  {} {check}: {message}", whose(*gpu)).unwrap();
    }
    for finding in findings.iter().filter(|finding| wanted(&finding.check)) {
        let Finding { check, gpu, severity, message, advice } = finding;
        writeln!(text, "{severity:<5} {} {check}: {message} | {advice}", whose(*gpu)).unwrap();
    }
    text
}

fn known(value: impl Into<Value>) -> Value {
    json!({ "known": value.into() })
}

fn process(pid: u32, command: &str, mib: u64) -> Value {
    json!({ "pid": pid, "command": command, "used_bytes": mib << 20, "ours": false })
}

/// The key of a check, its limits, and facts that pass, warn and fail.
type Row = (&'static str, Value, Vec<Value>);

/// One row for each check.
fn table() -> Vec<Row> {
    let mut table = memory_table();
    table.extend(mode_table());
    table.extend(error_table());
    table.extend(speed_table());
    table.extend(heat_and_link_table());
    table.extend(host_table());
    table
}

fn memory_table() -> Vec<Row> {
    let used = |mib: u64| json!({ "vram_used_bytes": known(mib << 20) });
    let held = |mib: u64, by: Value| json!({ "vram_used_bytes": known(mib << 20), "processes": known(by) });
    let shown =
        |mib: u64| json!({ "vram_used_bytes": known(mib << 20), "display_active": known(true) });
    vec![
        (
            "vram_free",
            json!({ "at_least": "60 GiB", "severity": "fatal" }),
            vec![used(0), used(40_000), used(90_000)],
        ),
        (
            "vram_used",
            json!({ "warn_over": "256 MiB", "fatal_over": "1 GiB", "fatal_over_share": "2 %", "with_display": "2 GiB" }),
            vec![used(256), used(257), used(1_500), used(1_700), shown(1_900), shown(2_049)],
        ),
        (
            "foreign_processes",
            json!({ "allowed": ["Xorg"], "severity": "fatal" }),
            vec![
                held(350, json!([process(9, "/usr/lib/xorg/Xorg :0", 350)])),
                held(7, json!([{ "pid": 5, "command": null, "used_bytes": 7, "ours": true }])),
                held(7, json!([{ "pid": 5, "command": null, "used_bytes": null, "ours": false }])),
                held(7, (1..7).map(|pid| process(pid, &"long name ".repeat(20), 1)).collect()),
            ],
        ),
        (
            "ghost_vram",
            json!({ "most": "512 MiB", "severity": "fatal" }),
            vec![
                used(512),
                used(513),
                held(70_000, json!([process(9, "server", 69_900)])),
                held(
                    70_000,
                    json!([{ "pid": 5, "command": null, "used_bytes": null, "ours": false }]),
                ),
            ],
        ),
    ]
}

fn mode_table() -> Vec<Row> {
    let modes = |now: &str, pending: &str, values: [bool; 2]| json!({ now: known(values[0]), pending: known(values[1]) });
    vec![
        (
            "compute_mode",
            json!({ "prohibited": "fatal", "exclusive_process": "warn" }),
            ["default", "exclusive-process", "prohibited", "other"]
                .map(|mode| json!({ "compute_mode": known(mode) }))
                .to_vec(),
        ),
        (
            "mig",
            json!({ "enabled": "fatal", "pending_change": "warn" }),
            [[false, false], [false, true], [true, false], [true, true]]
                .map(|values| modes("mig_enabled", "mig_pending", values))
                .to_vec(),
        ),
        (
            "ecc_mode",
            json!({ "disabled": "warn", "pending_change": "fatal" }),
            [[true, true], [false, false], [true, false], [false, true]]
                .map(|values| modes("ecc_enabled", "ecc_pending", values))
                .to_vec(),
        ),
    ]
}

fn error_table() -> Vec<Row> {
    let counts = |field: &str, counts: &[u64]| -> Vec<Value> {
        counts.iter().map(|count| json!({ field: known(*count) })).collect()
    };
    let flags = |field: &str| vec![json!({ field: known(false) }), json!({ field: known(true) })];
    let warn = |most: u64| json!({ "most": most, "severity": "warn" });
    vec![
        (
            "ecc_uncorrected_volatile",
            json!({ "most": 0, "severity": "fatal" }),
            counts("ecc_uncorrected_volatile", &[0, 1]),
        ),
        ("ecc_uncorrected_aggregate", warn(0), counts("ecc_uncorrected_aggregate", &[0, 1])),
        (
            "ecc_corrected_volatile",
            warn(10_000),
            counts("ecc_corrected_volatile", &[10_000, 10_001]),
        ),
        (
            "remapped_rows",
            json!({ "warn_over": 0, "fatal_over": 512 }),
            counts("remapped_rows_uncorrected", &[0, 1, 512, 513]),
        ),
        ("remapping_pending", json!({ "severity": "fatal" }), flags("remapping_pending")),
        ("remapping_failed", json!({ "severity": "fatal" }), flags("remapping_failed")),
        (
            "retired_pages",
            json!({ "warn_over": 15, "fatal_over": 63 }),
            counts("retired_pages", &[15, 16, 64]),
        ),
        (
            "recovery_action",
            json!({ "reset": "fatal", "reboot": "fatal", "drain_p2p": "warn", "drain_and_reset": "fatal" }),
            ["none", "drain-p2p", "reset", "reboot", "drain-and-reset", "unknown-5"]
                .map(|action| json!({ "recovery_action": known(action) }))
                .to_vec(),
        ),
        (
            "xids",
            json!({ "fatal": [79], "warn": [31], "recent": "24h" }),
            vec![
                json!({ "past_xids": known(json!([])) }),
                json!({ "past_xids": known(json!([43, 43])) }),
                json!({ "past_xids": known(json!([31, 43, 31])) }),
                json!({ "past_xids": known(json!([31, 79])) }),
                json!({ "past_xids": known(json!([{ "xid": 79, "age_s": 86_400 }])) }),
                json!({ "past_xids": known(json!([{ "xid": 79, "age_s": 86_401 }])) }),
                json!({ "past_xids": { "unreadable": "/dev/kmsg: no rights" } }),
            ],
        ),
        ("pcie_replays", warn(100), counts("pcie_replays", &[100, 101])),
        (
            "answers",
            json!({ "severity": "fatal" }),
            vec![json!({}), json!({ "vram_total_bytes": { "unreadable": "the GPU is lost" } })],
        ),
    ]
}

fn speed_table() -> Vec<Row> {
    let range = |field: &str, now: u64, full: u64| {
        let range = known(json!({ "now": now, "full": full }));
        json!({ field: range, "throttle_reasons": known(json!([])) })
    };
    let idle = |field: &str, now: u64, full: u64| json!({ field: known(json!({ "now": now, "full": full })), "throttle_reasons": known(json!(["gpu-idle"])) });
    let throttled = |reasons: Value| json!({ "throttle_reasons": known(reasons) });
    let share = |at_least: &str| json!({ "at_least": at_least, "severity": "warn" });
    vec![
        ("cuda", json!({ "at_least": "12.0", "severity": "warn" }), vec![json!({})]),
        (
            "pcie_width",
            json!({ "warn_below": "100 %", "fatal_below": "50 %" }),
            [16, 8, 4].map(|lanes| range("pcie_width", lanes, 16)).to_vec(),
        ),
        (
            "pcie_generation",
            share("100 %"),
            vec![
                range("pcie_generation", 5, 5),
                range("pcie_generation", 4, 5),
                idle("pcie_generation", 1, 5),
                range("pcie_generation", 0, 0),
            ],
        ),
        (
            "sm_clock",
            share("85 %"),
            vec![
                range("sm_clock_mhz", 1_700, 1_980),
                range("sm_clock_mhz", 1_600, 1_980),
                idle("sm_clock_mhz", 345, 1_980),
            ],
        ),
        (
            "power_limit",
            share("100 %"),
            [700_000, 500_000].map(|mw| range("power_limit_mw", mw, 700_000)).to_vec(),
        ),
        (
            "throttling",
            json!({ "fatal": ["hw-slowdown"], "warn": ["sw-power-cap"] }),
            vec![
                throttled(json!(["gpu-idle"])),
                throttled(json!(["sw-power-cap", "gpu-idle"])),
                throttled(json!(["sw-power-cap", "hw-slowdown"])),
                throttled(json!(["bit-40"])),
            ],
        ),
        (
            "persistence",
            json!({ "severity": "warn" }),
            [true, false].map(|on| json!({ "persistence": known(on) })).to_vec(),
        ),
    ]
}

fn heat_and_link_table() -> Vec<Row> {
    vec![
        (
            "slowdown_margin",
            json!({ "at_least": "5 C", "severity": "fatal" }),
            [84, 85].map(|now| json!({ "temperature_c": known(now) })).to_vec(),
        ),
        (
            "start_temperature",
            json!({ "most": "65 C", "wait": "3m", "severity": "warn" }),
            [65, 66].map(|now| json!({ "temperature_c": known(now) })).to_vec(),
        ),
        (
            "nvlinks",
            json!({ "severity": "fatal" }),
            vec![json!({ "nvlinks": known(json!({ "now": 0, "full": 18 })) })],
        ),
        (
            "fabric",
            json!({ "severity": "fatal" }),
            vec![
                json!({ "fabric": "not-supported" }),
                json!({ "fabric": known(json!({ "switches": 4, "manager_runs": true })) }),
                json!({ "fabric": known(json!({ "switches": 4, "manager_runs": false })) }),
                json!({ "fabric": { "unreadable": "it cannot be seen from here" } }),
            ],
        ),
        (
            "mps",
            json!({ "severity": "warn" }),
            vec![
                json!({ "mps": "not-supported" }),
                json!({ "mps": known(json!([])) }),
                json!({ "mps": known(json!([
                    process(70, "nvidia-cuda-mps-control -d", 0),
                    process(71, "nvidia-cuda-mps-server", 0),
                ])) }),
            ],
        ),
    ]
}

fn host_table() -> Vec<Row> {
    let mib = |field: &str, mib: &[u64]| -> Vec<Value> {
        mib.iter().map(|mib| json!({ field: known(mib << 20) })).collect()
    };
    vec![
        (
            "load",
            json!({ "most": "50 %", "severity": "warn" }),
            [8.0, 8.01].map(|load| json!({ "load_1m": known(load) })).to_vec(),
        ),
        (
            "governor",
            json!({ "allowed": ["performance", "schedutil"], "severity": "warn" }),
            ["performance", "performance, powersave"]
                .map(|governor| json!({ "governor": known(governor) }))
                .to_vec(),
        ),
        (
            "memory_available",
            json!({ "at_least": "4 GiB", "severity": "warn" }),
            mib("memory_available_bytes", &[4_096, 4_095]),
        ),
        (
            "swap_used",
            json!({ "most": "256 MiB", "severity": "warn" }),
            mib("swap_used_bytes", &[256, 257]),
        ),
        (
            "shm_free",
            json!({ "at_least": "1 GiB", "severity": "warn" }),
            mib("shm_free_bytes", &[1_024, 64]),
        ),
        (
            "disk_free",
            json!({ "warn_below": "5 GiB", "fatal_below": "512 MiB" }),
            mib("disk_free_bytes", &[5_120, 5_119, 511]),
        ),
        (
            "environment",
            json!({ "variables": ["NCCL_DEBUG"], "severity": "warn" }),
            vec![
                json!({ "harmful_env": { "OTHER": "1" } }),
                json!({ "harmful_env": { "NCCL_DEBUG": "INFO" } }),
            ],
        ),
    ]
}

#[test]
fn every_check_passes_warns_and_fails_as_its_limits_say() {
    let mut text = String::new();
    for (key, limit, cases) in table() {
        writeln!(text, "{key}: {limit}").unwrap();
        for case in cases {
            // No fact of a card has the name of one of the host: the other does not know it.
            let facts = facts(&case, &case);
            let judged = judge(&facts, &limits(&json!({ key: limit })), Wanted::Gpu);
            text.extend(said(judged, Some(key)).lines().map(|line| format!("  {line}\n")));
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_table_leaves_no_check_out_and_none_is_silent() {
    let keys: BTreeSet<_> = Checks::catalogue().iter().map(|check| check.key).collect();
    assert_eq!(table().iter().map(|(key, ..)| *key).collect::<BTreeSet<_>>(), keys);
    let all: Value = table().into_iter().map(|(key, limit, _)| (key.to_owned(), limit)).collect();
    let text = said(judge(&at_rest(), &limits(&all), Wanted::Gpu), None);
    for key in keys {
        assert_eq!(text.matches(&format!(" {key}: ")).count(), 1, "{key} in\n{text}");
    }
    assert!(!text.contains("not checked"));
}

#[test]
fn what_a_card_lacks_is_noted_and_what_cannot_be_read_is_never_a_pass() {
    let checks = json!({ "persistence": { "severity": "fatal" } });
    let judged = |reading: Value, unreadable: &str| {
        let mut limits = limits(&checks);
        limits.unreadable = serde_json::from_value(json!(unreadable)).unwrap();
        said(
            judge(&facts(&json!({ "persistence": reading }), &json!({})), &limits, Wanted::Gpu),
            Some("persistence"),
        )
    };
    let text = [
        judged(json!("not-supported"), "fatal"),
        judged(json!({ "unreadable": "no rights" }), "warn"),
        judged(json!({ "unreadable": "no rights" }), "fatal"),
    ];
    insta::assert_snapshot!(text.concat(), @"
    info  gpu 0 persistence: not supported by this card | Leave `persistence` out of the skill if this is expected.
    warn  gpu 0 persistence: could not be read: no rights | Make it readable, or leave `persistence` out of the skill.
    fatal gpu 0 persistence: could not be read: no rights | Make it readable, or leave `persistence` out of the skill.
    ");
}

#[test]
fn a_target_on_a_gpu_needs_a_driver_and_a_card() {
    let drivers = [
        DriverState::Absent { reason: "libnvidia-ml.so.1: no such file".to_owned() },
        DriverState::Broken { reason: "driver/library version mismatch".to_owned() },
        DriverState::Loaded { version: "580.1".to_owned(), cuda: "13.0".to_owned() },
    ];
    let mut text = String::new();
    for driver in drivers {
        let facts = HealthFacts { driver, gpus: Vec::new(), ..at_rest() };
        let unfit = judge(&facts, &limits(&json!({})), Wanted::Gpu).unwrap_err();
        writeln!(text, "{unfit}\nhint: {}", unfit.hint().unwrap()).unwrap();
        assert!(!unfit.may_pass());
    }
    insta::assert_snapshot!(text, @"
    host `gpu-runner` is not fit to measure on: no NVIDIA driver was found: libnvidia-ml.so.1: no such file
    hint: install the NVIDIA driver, or run the target on the CPU
    host `gpu-runner` is not fit to measure on: the NVIDIA driver does not work: driver/library version mismatch
    hint: make `nvidia-smi` work first
    host `gpu-runner` is not fit to measure on: driver 580.1 shows no GPU that the target may use
    hint: select a GPU that `nvidia-smi -L` lists, or run the target on the CPU
    ");
}

#[test]
fn a_target_on_the_cpu_needs_none_but_a_fit_host() {
    let absent = DriverState::Absent { reason: "not looked for".to_owned() };
    let broken = DriverState::Broken { reason: "version mismatch".to_owned() };
    let mut text = String::new();
    for driver in [absent, broken, at_rest().driver] {
        let facts = HealthFacts { driver, ..at_rest() };
        let healthy = judge(&facts, &limits(&json!({})), Wanted::Cpu).unwrap();
        assert_eq!(healthy.evidence.subject(), "host:gpu-runner");
        text.push_str(&said(Ok(healthy), Some("driver")));
    }
    let full = facts(&json!({}), &json!({ "disk_free_bytes": known(0) }));
    let disk = json!({ "disk_free": { "warn_below": "5 GiB", "fatal_below": "1 GiB" } });
    let unfit = judge(&full, &limits(&disk), Wanted::Cpu).unwrap_err();
    writeln!(text, "{unfit}").unwrap();
    insta::assert_snapshot!(text, @"
    info  host driver: no NVIDIA driver found; the target runs on the CPU | Install the NVIDIA driver to measure on a GPU.
    warn  host driver: the NVIDIA driver does not work: version mismatch; the target runs on the CPU | Make `nvidia-smi` work to measure on a GPU.
    info  host driver: the target runs on the CPU; the GPUs are not looked at | Choose the device `gpu` to measure on a GPU.
    host `gpu-runner` is not fit to measure on: 0 MiB free where results go, at least 1 GiB wanted
    ");
}

#[test]
fn checks_that_are_left_out_are_listed_once_and_only_where_they_concern() {
    let two = HealthFacts { gpus: [at_rest().gpus, at_rest().gpus].concat(), ..at_rest() };
    let not_checked = |device| {
        let text = said(judge(&two, &limits(&json!({})), device), None);
        text.matches("not checked").count()
    };
    let host = Checks::catalogue().iter().filter(|check| check.looks_at == LooksAt::Host).count();
    assert_eq!(not_checked(Wanted::Gpu), Checks::catalogue().len());
    assert_eq!(not_checked(Wanted::Cpu), host);
}

#[test]
fn evidence_is_about_the_gpus_in_the_order_of_their_uuids() {
    let mut facts = at_rest();
    facts.gpus.push(GpuFacts { index: 1, uuid: "GPU-0000".to_owned(), ..facts.gpus[0].clone() });
    let healthy = judge(&facts, &limits(&json!({})), Wanted::Gpu).unwrap();
    insta::assert_snapshot!(healthy.evidence.subject(), @"GPU-0000,GPU-69513129-6439-df2f-bc24-103956b71549");
    assert_eq!(subjects(&facts, Wanted::Gpu).join(","), healthy.evidence.subject());
}

#[test]
fn an_old_driver_is_told_and_a_strange_version_is_never_a_pass() {
    let limits = limits(&json!({ "cuda": { "at_least": "12.4", "severity": "fatal" } }));
    let judged = |cuda: &str| {
        let driver = DriverState::Loaded { version: "550.1".to_owned(), cuda: cuda.to_owned() };
        said(judge(&HealthFacts { driver, ..at_rest() }, &limits, Wanted::Gpu), Some("cuda"))
    };
    insta::assert_snapshot!(["12.10", "12.3", "twelve"].map(judged).concat(), @"
    pass  host cuda: the driver serves CUDA 12.10, at least 12.4
    fatal host cuda: the driver serves CUDA 12.3, at least 12.4 | Update the NVIDIA driver.
    warn  host cuda: could not be read: strange CUDA version `twelve` | Make it readable, or leave `cuda` out of the skill.
    ");
}

#[test]
fn links_matter_only_between_several_cards() {
    let down = json!({ "nvlinks": known(json!({ "now": 17, "full": 18 })) });
    let mut facts = facts(&down, &json!({}));
    let limits = limits(&json!({ "nvlinks": { "severity": "fatal" } }));
    assert!(judge(&facts, &limits, Wanted::Gpu).is_ok());
    facts.gpus.push(GpuFacts { index: 1, uuid: "GPU-1".to_owned(), ..facts.gpus[0].clone() });
    let unfit = judge(&facts, &limits, Wanted::Gpu).unwrap_err();
    insta::assert_snapshot!(unfit, @"GPU 0 is not fit to measure on: 17 of 18 NVLinks are up, all wanted between 2 GPUs (1 more check failed)");
}

#[test]
fn only_what_may_pass_by_itself_is_worth_waiting_for() {
    let checks = json!({
        "ghost_vram": { "most": "512 MiB", "severity": "fatal" },
        "remapping_pending": { "severity": "fatal" },
    });
    let unfit = |gpu| judge(&facts(&gpu, &json!({})), &limits(&checks), Wanted::Gpu).unwrap_err();
    let held = json!({ "vram_used_bytes": known(9_u64 << 30) });
    let broken = json!({ "vram_used_bytes": known(9_u64 << 30), "remapping_pending": known(true) });
    assert!(unfit(held).may_pass());
    assert!(!unfit(broken).may_pass());
}

#[test]
fn checks_whose_trouble_may_pass_are_checks() {
    for key in PASSING {
        assert!(Checks::catalogue().iter().any(|check| check.key == key), "{key}");
    }
}

#[test]
fn a_target_runs_where_it_wants_or_else_where_it_can() {
    let target = |framework: &str, device: &str| -> Target {
        serde_json::from_value(json!({ "framework": framework, "device": device })).unwrap()
    };
    let (with, without) = (at_rest(), HealthFacts { gpus: Vec::new(), ..at_rest() });
    assert_eq!(Wanted::of(&target("ollama", "auto"), &with), Wanted::Gpu);
    assert_eq!(Wanted::of(&target("ollama", "auto"), &without), Wanted::Cpu);
    assert_eq!(Wanted::of(&target("vllm", "auto"), &without), Wanted::Gpu);
    assert_eq!(Wanted::of(&target("sim", "auto"), &with), Wanted::Cpu);
}

proptest! {
    /// More memory in use is never judged more leniently.
    #[test]
    fn more_memory_in_use_is_never_better(a in 0_u64..100_000, b in 0_u64..100_000) {
        let limits = limits(&json!({ "vram_used": {
            "warn_over": "256 MiB", "fatal_over": "1 GiB", "fatal_over_share": "2 %", "with_display": "2 GiB"
        } }));
        let worst = |mib: u64| {
            let mut facts = at_rest();
            facts.gpus[0].vram_used_bytes = Reading::Known(mib << 20);
            match judge(&facts, &limits, Wanted::Gpu) {
                Ok(healthy) => healthy.findings.iter().map(|finding| finding.severity).max(),
                Err(_) => Some(Severity::Fatal),
            }
        };
        prop_assert!(worst(a.min(b)) <= worst(a.max(b)));
    }
}
