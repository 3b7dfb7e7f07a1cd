//! Every fault of the simulated server ends in a named outcome, and none gives a faster number.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::world::{World, ended, event};

/// Faults of single requests: the server starts and verifies, then every third request meets the
/// fault. The rest of the load must not hide it.
const REQUEST_FAULTS: &[&str] = &[
    "refuse",
    "rate-limit-429",
    "error-500",
    "stall-before-first-token",
    "stall-mid-stream",
    "hang",
    "drop-mid-stream",
    "truncated-chunk",
    "done-only",
    "missing-done",
    "error-mid-stream",
    "malformed-json",
    "comment-pings",
    "merged-tokens",
    "split-tokens",
    "wrong-usage",
    "slow-drip",
    "crash",
];

/// Faults of the process: they show while it starts or when it is to stop.
const PROCESS_FAULTS: &[&str] =
    &["loading-503", "slow-start", "never-ready", "oom-log", "ignore-sigterm", "orphan"];

/// The load, and the least time that a step of the simulated server takes, in ms.
const REQUESTS: u32 = 12;
const TOKENS: u32 = 16;
const AT_ONCE: u32 = 4;
const STEP_MS: f64 = 8.0;

struct Outcome {
    code: i32,
    failures: Vec<String>,
    anomalies: Vec<String>,
    junit: Vec<String>,
    duration_s: Option<f64>,
    mean_ttft_ms: Option<f64>,
}

fn bench(fault: Option<&str>) -> Outcome {
    let world = World::new();
    write_skills(&world, fault);
    let fault = fault.map(|fault| format!("--server-arg=--fault={fault}"));
    let texts = [REQUESTS, TOKENS, AT_ONCE].map(|number| number.to_string());
    let step = format!("--server-arg=--step-base-ms={STEP_MS}");
    let mut args = vec!["bench", "--random-input-len", "32", "--random-range-ratio", "1"];
    args.extend(["--num-prompts", &texts[0], "--random-output-len", &texts[1]]);
    args.extend(["--max-concurrency", &texts[2], "--server-arg=--noise=0", &step]);
    args.extend(["--server-arg=--drift=0", "--server-arg=--speed=1"]);
    args.extend(fault.as_deref());
    let ended = world.run(&args);
    assert_eq!(world.processes(), Vec::<u32>::new(), "{}", ended.transcript());
    let session = world.sessions().pop().unwrap_or_else(|| panic!("{}", ended.transcript()));
    let junit = fs::read_to_string(session.join("junit.xml")).unwrap();
    let journal = world.journal();
    let failed = journal.iter().filter(|entry| event(entry) == "step-failed");
    let failures = failed.map(|entry| entry["failure"]["class"].as_str().unwrap().to_owned());
    let summary = newest_summary(&world);
    let metric = |key: &str| summary.as_ref().and_then(|summary| summary["metrics"][key].as_f64());
    let kinds = summary.iter().flat_map(|summary| {
        let failed = summary["requests"]["failed"].as_object().unwrap();
        failed.keys().cloned().collect::<Vec<_>>()
    });
    Outcome {
        code: ended.code.unwrap(),
        failures: failures.chain(kinds).collect(),
        anomalies: anomalies(&journal, summary.as_ref()),
        junit: junit_elements(&junit),
        duration_s: metric("duration"),
        mean_ttft_ms: metric("mean_ttft_ms"),
    }
}

/// The shipped skills with waits cut to what a test can afford.
fn write_skills(world: &World, fault: Option<&str>) {
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../skills");
    let cuts: BTreeMap<&str, &[(&str, &str)]> = BTreeMap::from([
        ("gpu-health-check", &[][..]),
        (
            "framework-setup",
            &[
                ("rung: port, within: ", "4s"),
                ("rung: health, within: ", "4s"),
                ("rung: generation, within: ", "20s"),
                ("rung: warm-up, within: ", "20s"),
            ][..],
        ),
        (
            "benchmark-runner",
            &[
                ("at_least: ", "1m"),
                ("request_idle: ", "2s"),
                ("investigate_after: ", "1s"),
                ("deadline: ", "60s"),
            ][..],
        ),
    ]);
    for (name, changes) in cuts {
        let mut text = fs::read_to_string(shipped.join(name).join("skill.yaml")).unwrap();
        if fault.is_some_and(|fault| fault.starts_with("split-tokens")) {
            // SGLang's own wire counts tokens and not pieces of text: a split shows on others only.
            text = text.replace("sim: sglang", "sim: vllm");
        }
        for (key, value) in changes {
            let at = text.find(key).unwrap_or_else(|| panic!("{name} has no `{key}`")) + key.len();
            let end = at + text[at..].find(['\n', ' ', '}', ',']).unwrap();
            text.replace_range(at..end, value);
        }
        let folder = world.path().join("skills").join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("skill.yaml"), text).unwrap();
    }
}

fn newest_summary(world: &World) -> Option<Value> {
    let file = world.files("sim", "smoke-", ".json").pop()?;
    Some(serde_json::from_slice(&fs::read(file).unwrap()).unwrap())
}

fn anomalies(journal: &[Value], summary: Option<&Value>) -> Vec<String> {
    let noted = journal.iter().filter(|entry| event(entry) == "anomaly-noted");
    let noted = noted.map(|entry| &entry["anomaly"]);
    let of_run = summary.iter().flat_map(|summary| summary["anomalies"].as_array().unwrap());
    let mut kinds: Vec<_> = noted
        .chain(of_run)
        .map(|anomaly| anomaly["kind"].as_str().unwrap().to_owned())
        // What the machine under the test is like is not what the test is about.
        .filter(|kind| {
            !["health", "late-sends", "long-gap", "requests-failed", "silence"]
                .contains(&kind.as_str())
        })
        .collect();
    kinds.sort();
    kinds.dedup();
    kinds
}

fn junit_elements(junit: &str) -> Vec<String> {
    let mut elements = Vec::new();
    for name in ["failure", "error", "skipped"] {
        if junit.contains(&format!("<{name}")) {
            elements.push(name.to_owned());
        }
    }
    if elements.is_empty() { vec!["passed".to_owned()] } else { elements }
}

#[test]
fn every_fault_has_its_named_outcome_and_none_is_faster() {
    let honest = bench(None);
    assert_eq!(honest.code, 0);
    not_faster("no fault", &honest);
    let request_faults = REQUEST_FAULTS.iter().map(|fault| (*fault, request_flag(fault)));
    let process_faults = PROCESS_FAULTS.iter().map(|fault| (*fault, (*fault).to_owned()));
    let mut table = String::new();
    for (fault, outcome) in all(&request_faults.chain(process_faults).collect::<Vec<_>>()) {
        let list = |words: &[String]| if words.is_empty() { "-".into() } else { words.join(", ") };
        writeln!(
            table,
            "{fault:<26} exit {:<3} failure: {:<42} anomaly: {:<30} junit: {}",
            outcome.code,
            list(&outcome.failures),
            list(&outcome.anomalies),
            list(&outcome.junit),
        )
        .unwrap();
        not_faster(fault, &outcome);
    }
    insta::assert_snapshot!(table);
}

#[test]
fn a_port_that_somebody_took_before_the_server_did_ends_the_session_with_exit_code_4() {
    let world = World::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let lingers = world.path().join("lingers.sh");
    fs::write(&lingers, "#!/bin/sh\nexec sleep 300\n").unwrap();
    fs::set_permissions(&lingers, fs::Permissions::from_mode(0o755)).unwrap();
    let port = free.port().to_string();
    let executable = lingers.to_str().unwrap();
    let args = ["bench", "--framework", "sim", "--executable", executable, "--port", &port];
    let session = world.start(world.command(&args));
    world.wait_for("the start", |journal| journal.iter().any(|one| event(one) == "server-started"));
    let _stranger = TcpListener::bind(free).unwrap();
    let ended = ended(session).expect(4);
    let own = std::process::id();
    for said in [
        format!("port {port} is held by process {own} (`"),
        "(hint: start again without `--port`, so that a free one is chosen)".to_owned(),
        "sim/stop: nothing of the server is left".to_owned(),
    ] {
        assert!(ended.stderr.contains(&said), "{said}: {}", ended.transcript());
    }
}

/// The readiness ladder and the warm-up send fewer requests than are let through at first.
fn request_flag(fault: &str) -> String {
    match fault {
        // The port closes for good, and a process dies only once.
        "refuse" | "crash" => format!("{fault}:after=8"),
        _ => format!("{fault}:after=8:every=3"),
    }
}

/// Benches every fault, a few at a time: each waits far more than it works.
fn all(faults: &[(&'static str, String)]) -> Vec<(&'static str, Outcome)> {
    const AT_A_TIME: usize = 4;
    let mut outcomes = Vec::new();
    for some in faults.chunks(AT_A_TIME) {
        std::thread::scope(|scope| {
            let started: Vec<_> =
                some.iter().map(|(_, flag)| scope.spawn(move || bench(Some(flag)))).collect();
            let ended = started.into_iter().map(|bench| bench.join().unwrap());
            outcomes.extend(some.iter().map(|(fault, _)| *fault).zip(ended));
        });
    }
    outcomes
}

/// A run that counts has done the same work, and cannot have been faster than the simulated
/// server's own cost model allows; one that does not count enters no comparison at all.
fn not_faster(fault: &str, outcome: &Outcome) {
    if outcome.code != 0 {
        return;
    }
    let waves = f64::from(REQUESTS / AT_ONCE);
    let shortest_s = waves * f64::from(TOKENS) * STEP_MS / 1000.0;
    let (duration_s, ttft_ms) = (outcome.duration_s.unwrap(), outcome.mean_ttft_ms.unwrap());
    assert!(shortest_s <= duration_s, "{fault}: {duration_s} s where {shortest_s} s is the least");
    assert!(STEP_MS <= ttft_ms, "{fault}: {ttft_ms} ms to the first token, a step takes {STEP_MS}");
}
