//! Scripted devices, judged by the limits of the real skill.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use domain::facts::{DriverState, Finding, HealthFacts, Severity};
use domain::hint::Hinted as _;
use sequencer::health::{Wanted, judge};
use skill::health::CheckGpu;

use super::{GatherSpec, Probe, Selection, Source, environment};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The limits of skills/gpu-health-check.
fn limits() -> CheckGpu {
    let text = std::fs::read_to_string(repository().join("skills/gpu-health-check/skill.yaml"));
    let skill: serde_yaml::Value = serde_yaml::from_str(&text.unwrap()).unwrap();
    serde_yaml::from_value(skill["steps"][0]["check-gpu"].clone()).unwrap()
}

fn open(name: &str) -> Probe {
    let path = repository().join("tests/fixtures/gpu").join(name);
    Probe::open(&Source::Script(path)).unwrap()
}

fn gather(probe: &Probe) -> HealthFacts {
    let limits = limits();
    let spec = GatherSpec {
        results_dir: Path::new("."),
        ours: &[],
        gpus: &Selection::All,
        variables: limits.variables(),
    };
    probe.gather(&spec).unwrap()
}

fn told(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding { check, gpu, severity, message, .. } in findings {
        let whose = gpu.map_or("host".to_owned(), |index| format!("gpu {index}"));
        writeln!(text, "  {severity:<5} {whose} {check}: {message}").unwrap();
    }
    text
}

#[test]
fn scripted_devices_are_judged_as_a_person_would() {
    let mut names: Vec<_> = std::fs::read_dir(repository().join("tests/fixtures/gpu"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    let mut text = String::new();
    for name in names {
        match judge(&gather(&open(&name)), &limits(), Wanted::Gpu) {
            Ok(healthy) => {
                writeln!(text, "{name}: healthy: {}", healthy.evidence.subject()).unwrap();
                text.push_str(&told(&healthy.findings));
            }
            Err(unfit) => {
                writeln!(text, "{name}: {unfit}").unwrap();
                writeln!(text, "  hint: {}", unfit.hint().unwrap()).unwrap();
                text.push_str(&told(&unfit.findings));
            }
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn an_idle_card_passes_without_a_warning_and_every_check_is_done() {
    let healthy = judge(&gather(&open("h100-idle.json")), &limits(), Wanted::Gpu).unwrap();
    assert!(healthy.findings.iter().all(|finding| finding.severity == Severity::Info));
    assert!(limits().checks.left_out().is_empty());
}

#[test]
fn memory_that_is_given_back_late_is_waited_for() {
    let probe = open("settling.json");
    let unfit = judge(&gather(&probe), &limits(), Wanted::Gpu).unwrap_err();
    assert!(unfit.may_pass());
    for _ in 0..3 {
        assert!(judge(&gather(&probe), &limits(), Wanted::Gpu).is_ok());
    }
}

#[test]
fn a_host_without_a_gpu_is_fit_for_the_cpu() {
    for probe in [Probe::open(&Source::None).unwrap(), open("no-driver.json")] {
        let facts = gather(&probe);
        let cpu_limits = CheckGpu {
            checks: skill::health::Checks { disk_free: None, ..limits().checks },
            ..limits()
        };
        let healthy = judge(&facts, &cpu_limits, Wanted::Cpu).unwrap();
        assert_eq!(healthy.evidence.subject(), format!("host:{}", facts.host.name));
        let driver = healthy.findings.iter().find(|finding| finding.check == "driver").unwrap();
        assert_eq!(driver.message, "no NVIDIA driver found; the target runs on the CPU");
        let made = environment(&facts, &facts.gpus);
        assert_eq!((made.driver, made.gpus), (None, Vec::new()));
    }
}

#[test]
fn processes_of_ours_and_the_selection_are_marked_in_a_script_too() {
    let ours = [4242];
    let gpus = Selection::from("0");
    let spec = GatherSpec { results_dir: Path::new("."), ours: &ours, gpus: &gpus, variables: &[] };
    let facts = open("foreign-process.json").gather(&spec).unwrap();
    let processes = facts.gpus[0].processes.known().unwrap();
    assert_eq!(processes.iter().map(|process| process.ours).collect::<Vec<_>>(), [true, false]);

    let second = Selection::from("GPU-1111");
    let facts = open("two-cards.json").gather(&GatherSpec { gpus: &second, ..spec }).unwrap();
    assert_eq!(facts.gpus.iter().map(|gpu| gpu.index).collect::<Vec<_>>(), [1]);
    let third = Selection::from("2");
    assert!(open("two-cards.json").gather(&GatherSpec { gpus: &third, ..spec }).is_err());
}

#[test]
fn the_real_driver_is_told_as_it_is() {
    let facts = gather(&Probe::open(&Source::Auto).unwrap());
    assert_eq!(facts.source, "nvml");
    match facts.driver {
        DriverState::Absent { reason } | DriverState::Broken { reason } => {
            assert!(!reason.is_empty());
            assert!(facts.gpus.is_empty());
        }
        DriverState::Loaded { version, cuda } => {
            assert!(!version.is_empty() && cuda.contains('.'));
        }
    }
}
