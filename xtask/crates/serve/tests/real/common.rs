//! What the tests share: a launch of the simulated server, limits, and evidence of a healthy host.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::facts::{DriverState, HealthFacts, HostFacts, Reading, Rung};
use domain::framework::Framework;
use domain::target::{Device, Target};
use domain::units::Span;
use sequencer::health::Wanted;
use sequencer::{Evidence, GpuHealthy};
use serde_json::json;
use serve::{LaunchSpec, StopLimits};
use skill::setup::{Conditions, PrefixCache, RungLimit, Verify};

/// Far more than anything here takes on a busy machine; only a broken test waits for it.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) fn limits() -> StopLimits {
    StopLimits { patience: LONG, gone_within: LONG, port_free_within: LONG }
}

pub(crate) fn verify() -> Verify {
    let limit = |&rung: &Rung| RungLimit { rung, within: Span(LONG) };
    Verify {
        rungs: Rung::ALL.iter().map(limit).collect(),
        poll_every: Span(Duration::from_millis(20)),
        request_within: Span(LONG),
        generation_tokens: 8,
        warm_up_requests: 2,
        quiet_for: Span(Duration::from_millis(50)),
    }
}

pub(crate) fn healthy_host() -> Evidence<GpuHealthy> {
    let checks = json!({"settle": "1s", "unreadable": "warn", "checks": {}});
    let checks = serde_json::from_value(checks).unwrap();
    let facts = HealthFacts {
        source: "none".to_owned(),
        driver: DriverState::Absent { reason: "a test".to_owned() },
        gpus: vec![],
        host: HostFacts {
            name: "here".to_owned(),
            kernel: "6".to_owned(),
            cpu: "any".to_owned(),
            cpus: 1,
            load_1m: Reading::NotSupported,
            governor: Reading::NotSupported,
            memory_total_bytes: Reading::NotSupported,
            memory_available_bytes: Reading::NotSupported,
            swap_used_bytes: Reading::NotSupported,
            shm_free_bytes: Reading::NotSupported,
            disk_free_bytes: Reading::NotSupported,
            harmful_env: [].into(),
            mps: Reading::NotSupported,
            fabric: Reading::NotSupported,
            own_pid_namespace: Reading::NotSupported,
        },
    };
    sequencer::health::judge(&facts, &checks, Wanted::Cpu).unwrap().evidence
}

/// A simulated server in `folder` with these faults.
pub(crate) fn sim(folder: &Path, faults: &[&str]) -> LaunchSpec {
    let faults = faults.iter().flat_map(|fault| ["--fault".to_owned(), (*fault).to_owned()]);
    LaunchSpec {
        target: target(Framework::Sim, None, faults.collect()),
        conditions: Conditions {
            max_running_requests: 8,
            context_tokens: 4096,
            prefill_chunk_tokens: 2048,
            kv_cache_tokens: None,
            memory_share: "85 %".parse().unwrap(),
            seed: 1,
            prefix_cache: PrefixCache::Enabled,
        },
        port: serve::free_port().unwrap(),
        served_name: "bench".to_owned(),
        session_tag: format!("test-{}", folder.display()),
        folder: folder.to_owned(),
        sim_program: sim_program(),
        gpu_uuids: vec![],
    }
}

pub(crate) fn target(
    framework: Framework,
    url: Option<String>,
    server_args: Vec<String>,
) -> Target {
    Target {
        framework,
        model: None,
        served_model_name: None,
        tokenizer: None,
        url,
        port: None,
        device: Device::Cpu,
        executable: None,
        server_args,
    }
}

/// The example of this crate, which Cargo builds beside the tests.
fn sim_program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap();
    folder.join("examples").join("sim_server")
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Whether a process is there and has not ended.
pub(crate) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

/// The folder of a test part; without it the test is skipped, and says so where skips are
/// collected.
pub(crate) fn part(test: &str, name: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SERVEGATE_PARTS").map(|parts| PathBuf::from(parts).join(name));
    let folder = folder.filter(|folder| folder.join(".part").is_file());
    if folder.is_none() {
        let line = format!("SKIPPED {test}: the part `{name}` is not installed");
        eprintln!("{line}");
        if let Some(list) = std::env::var_os("SERVEGATE_SKIPPED") {
            let mut list = OpenOptions::new().append(true).create(true).open(list).unwrap();
            writeln!(list, "{line}").unwrap();
        }
    }
    folder
}
