//! The gate on what lies on disk: recorded sessions, stored baselines and files of pairs, sound
//! and odd ones. Each outcome is one snapshot of exit code, stdout and stderr.
//!
//! The sessions are made from the journal of one real run, so that they are what a session is;
//! their numbers and their machine are made up, so that they are the same everywhere.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::world::{Ended, TINY, World, part};

/// The journal of a real session of one run.
static TEMPLATE: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let world = World::new();
    world.run(&[&["bench"], TINY].concat()).expect(0);
    world.journal()
});

/// A run in a made session.
#[derive(Clone)]
struct Run {
    profile: &'static str,
    /// How many times as slow as the usual.
    slower: f64,
    /// Its side and pair, in an experiment.
    arm: Option<(&'static str, u32)>,
    /// What else is different in its summary.
    with: Value,
}

const USUAL: Run = Run { profile: "smoke", slower: 1.0, arm: None, with: Value::Null };

/// Noise that is no pattern: up to half a percent either way.
fn noise(seed: u64) -> f64 {
    let mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    1.0 + ((mixed.wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) % 1001) as f64 / 100_000.0 - 0.005
}

/// Puts the fields of one value over those of another.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (_, Value::Null) => {}
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                let null = value.is_null();
                merge(into.entry(name.clone()).or_insert(Value::Null), value);
                if null {
                    into.remove(name);
                }
            }
        }
        (into, from) => *into = from.clone(),
    }
}

fn summary(session: &str, seed: u64, run: &Run) -> Value {
    let saved = TEMPLATE.iter().find(|entry| entry["outcome"]["kind"] == "saved").unwrap();
    let mut summary = saved["outcome"]["summary"].clone();
    let value =
        |usual: f64, at: u64, better: f64| usual * noise(seed * 10 + at) * run.slower.powf(-better);
    merge(
        &mut summary,
        &json!({
            "session": session,
            "repeat": seed % 100 + 1,
            "seed": 42,
            "framework_version": "0.1.0",
            "engine_version": "0.1.0",
            "profile": {"name": run.profile, "seed": 42},
            "request_set": "aa11",
            "started": "2026-01-01T00:00:00.000Z",
            "finished": "2026-01-01T00:01:00.000Z",
            "environment": {
                "servegate": "0.1.0", "host": "bench-1", "kernel": "6.1.0", "cpu": "a CPU",
                "cpus": 16, "driver": "560.35", "gpus": ["NVIDIA H100"],
                "gpu_setups": [{
                    "power_limit_mw": 700_000, "vram_total_bytes": 85_899_345_920_u64,
                    "mig_enabled": false
                }],
            },
        }),
    );
    summary["anomalies"] = json!([]);
    summary["metrics"] = json!({
        "output_throughput": value(700.0, 1, 1.0),
        "mean_ttft_ms": value(30.0, 2, -1.0),
        "mean_tpot_ms": value(6.0, 3, -1.0),
        "p99_ttft_ms": value(45.0, 4, -1.0),
    });
    if let Some((side, pair)) = run.arm {
        summary["arm"] = json!({"side": side, "pair": pair});
        summary["seed"] = json!(pair);
    }
    merge(&mut summary, &run.with);
    summary
}

/// Writes a session's journal; `number` is its place in time and the seed of its noise.
fn session(world: &World, number: u64, runs: &[Run]) -> String {
    session_with(world, number, runs, &[])
}

/// The same with further entries before the last.
fn session_with(world: &World, number: u64, runs: &[Run], also: &[Value]) -> String {
    let id = format!("202601{number:02}T000000Z-1");
    let at = "2026-01-01T00:00:00.000Z";
    let mut opened = TEMPLATE[0].clone();
    opened["session"] = json!(id);
    let mut entries = vec![opened];
    for (run, index) in runs.iter().zip(0_u64..) {
        let step = 100 + index;
        let name = format!("sim/{}#{}/after-run", run.profile, index + 1);
        let summary = summary(&id, number * 100 + index, run);
        let outcome = json!({"kind": "saved", "summary": summary, "file": "sim/run.json"});
        entries.push(json!({"at": at, "event": "step-started", "step": step, "name": name}));
        entries
            .push(json!({"at": at, "event": "step-succeeded", "step": step, "outcome": outcome}));
    }
    entries.extend_from_slice(also);
    entries.push(json!({"at": at, "event": "session-closed", "exit": 0}));
    let folder = world.results().join("runs").join(&id);
    fs::create_dir_all(&folder).unwrap();
    let text: String = entries.iter().map(|entry| format!("{entry}\n")).collect();
    fs::write(folder.join("journal.jsonl"), text).unwrap();
    id
}

/// An experiment of so many pairs.
fn experiment(world: &World, number: u64, pairs: u32, candidate: &Run) -> String {
    let pair = |pair| {
        [
            Run { arm: Some(("baseline", pair)), ..USUAL },
            Run { arm: Some(("candidate", pair)), ..candidate.clone() },
        ]
    };
    session(world, number, &(1..=pairs).flat_map(pair).collect::<Vec<_>>())
}

/// A world whose key has a baseline of so many sessions of five runs each.
fn with_baseline(sessions: u64) -> World {
    let world = World::new();
    for number in 1..=sessions {
        let id = session(&world, number, &vec![USUAL; 5]);
        world.run(&["baseline", "accept", &id, "--reason", "a calm day"]).expect(0);
    }
    world
}

/// The one baseline file.
fn file(world: &World) -> PathBuf {
    world.files("baselines", "sim", ".json").pop().expect("a baseline")
}

fn edit(file: &Path, change: impl Fn(&mut Value)) {
    let mut value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut value);
    fs::write(file, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// The digests of keys hold facts of the machine.
fn without_digests(mut text: String) -> String {
    let is_digest = |from: &str| {
        let digest: String = from.chars().take_while(char::is_ascii_hexdigit).collect();
        (digest.len() == 12).then_some(digest)
    };
    let mut digests: Vec<String> = Vec::new();
    for (at, _) in text.match_indices(['@', '-']) {
        digests.extend(is_digest(&text[at + 1..]));
    }
    for digest in digests {
        text = text.replace(&digest, "DIGEST");
    }
    text
}

/// A command line and what came of it, without what differs from machine to machine.
fn told(title: &str, args: &[&str], ended: &Ended) -> String {
    let text = format!("# {title}\n$ servegate {}\n{}", args.join(" "), ended.transcript());
    let text = without_digests(text);
    let clock = |line: &str| match line.split_once(' ') {
        Some(("accepted", rest)) => {
            format!("accepted NOW: {}", rest.split_once(": ").map_or(rest, |(_, rest)| rest))
        }
        _ => line.trim_end().to_owned(),
    };
    text.lines().map(clock).collect::<Vec<_>>().join("\n") + "\n"
}

/// Judges the newest session in each way, and shows what came of it.
fn gated(title: &str, world: &World, args: &[&str]) -> String {
    let args = [&["gate"], args].concat();
    told(title, &args, &world.run(&args))
}

#[test]
fn every_odd_side_has_its_own_outcome() {
    let mut all = Vec::new();
    let new = |world: &World, run: Run| session(world, 20, &vec![run; 3]);

    let world = World::new();
    new(&world, USUAL);
    all.push(gated("no baseline", &world, &[]));
    all.push(gated("no baseline, and one is required", &world, &["--require-baseline"]));
    all.push(gated("a baseline file that is not there", &world, &["--baseline", "none.json"]));

    let world = with_baseline(4);
    new(&world, USUAL);
    all.push(gated("the same", &world, &[]));
    let differing = [
        ("other GPU", json!({"environment": {"gpus": ["NVIDIA H200"]}})),
        (
            "other power limit",
            json!({"environment": {"gpu_setups": [{
            "power_limit_mw": 500_000, "vram_total_bytes": 85_899_345_920_u64,
            "mig_enabled": false}]}}),
        ),
        ("other request set", json!({"request_set": "bb22"})),
        ("fewer tokens", json!({"tokens": {"output": 1}})),
        ("other release of the load tool", json!({"engine_version": "0.2.0"})),
        ("a patch of the load tool", json!({"engine_version": "0.1.9"})),
        (
            "other version of the framework, which is under test",
            json!({"framework_version": "9.9"}),
        ),
        ("other driver", json!({"environment": {"driver": "570.01"}})),
        ("a failed request", json!({"requests": {"completed": 5, "failed": {"server-error": 1}}})),
        ("a metric that is not there", json!({"metrics": {"mean_tpot_ms": null}})),
        ("a metric that is zero", json!({"metrics": {"mean_tpot_ms": 0.0}})),
        ("a metric that is negative", json!({"metrics": {"mean_tpot_ms": -6.0}})),
    ];
    for (title, with) in differing {
        new(&world, Run { with, ..USUAL });
        all.push(gated(title, &world, &[]));
    }
    new(&world, Run { slower: 1.1, ..USUAL });
    all.push(gated("10 % slower", &world, &[]));
    all.push(gated("10 % slower, strictly", &world, &["--strict"]));
    all.push(gated("10 % slower, and stored baselines may fail", &world, &["--allow-stored"]));
    session(&world, 20, &vec![Run { slower: 1.1, ..USUAL }; 5]);
    let five = "10 % slower in five runs, and stored baselines may fail";
    all.push(gated(five, &world, &["--allow-stored"]));
    session(&world, 20, &[USUAL]);
    all.push(gated("one run only", &world, &[]));
    all.push(gated("one run only, and stored baselines may fail", &world, &["--allow-stored"]));

    let world = with_baseline(2);
    new(&world, USUAL);
    all.push(gated("too few sessions to clear", &world, &[]));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn every_odd_baseline_file_has_its_own_outcome() {
    let mut all = Vec::new();
    let mut odd = |title: &str, spoil: &dyn Fn(&Path)| {
        let world = with_baseline(3);
        session(&world, 20, &vec![USUAL; 3]);
        spoil(&file(&world));
        all.push(gated(title, &world, &[]));
        let accept = ["baseline", "accept", "--reason", "anyhow"];
        all.push(told("the same accepted", &accept, &world.run(&accept)));
        all.push(told("the same listed", &["baseline", "list"], &world.run(&["baseline", "list"])));
    };
    odd("truncated", &|file| {
        let text = fs::read(file).unwrap();
        fs::write(file, &text[..1000]).unwrap();
    });
    odd("empty", &|file| fs::write(file, "").unwrap());
    odd("no text", &|file| fs::write(file, [0xFF, 0xFE, 0x00]).unwrap());
    odd("a folder", &|file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    });
    odd("a field of another type", &|file| {
        edit(file, |value| value["sessions"][0]["runs"][0]["metrics"]["mean_ttft_ms"] = json!("x"));
    });
    odd("a later format", &|file| edit(file, |value| value["schema"] = json!(3)));
    odd("the format of a run that is later", &|file| {
        edit(file, |value| {
            *value = value["sessions"][0]["runs"][0].clone();
            value["schema"] = json!(99);
        });
    });
    odd("a run that does not count", &|file| {
        edit(file, |value| value["sessions"][1]["runs"][2]["counts"] = json!(false));
    });
    odd("no session", &|file| edit(file, |value| value["sessions"] = json!([])));
    odd("zero variance", &|file| {
        edit(file, |value| {
            let run = value["sessions"][0]["runs"][0].clone();
            for (session, number) in value["sessions"].as_array_mut().unwrap().iter_mut().zip(1..) {
                let mut run = run.clone();
                run["session"] = json!(format!("constant-{number}"));
                session["runs"] = json!([run, run, run]);
            }
        });
    });
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn ten_thousand_entries_are_judged_like_ten() {
    let world = with_baseline(3);
    session(&world, 20, &vec![USUAL; 3]);
    edit(&file(&world), |value| {
        let sessions = value["sessions"].as_array().unwrap().clone();
        let made = (0..2_000_usize).map(|number| {
            let mut session = sessions[number % sessions.len()].clone();
            for run in session["runs"].as_array_mut().unwrap() {
                run["session"] = json!(format!("old-{number}"));
            }
            session
        });
        value["sessions"] = made.collect();
    });
    insta::assert_snapshot!(gated("10,000 runs of 2,000 sessions", &world, &[]), @"
    # 10,000 runs of 2,000 sessions
    $ servegate gate
    exit: 0
    --- stdout
    sim/sim/smoke/native@DIGEST
    PASS: within what 10 stored sessions lead to expect, 95 % sure
     metric                            baseline   candidate   change       bounds        p   verdict
    ─────────────────────────────────────────────────────────────────────────────────────────────────
     Output token throughput (tok/s)      698.4       699.3   +0.3 %   -0.1, +0.6   8.7e-1   pass
     Mean TTFT (ms)                       29.99       30.07   +0.4 %   +0.0, +0.8   4.4e-2   pass
     Mean TPOT (ms)                        6.00        6.01   +0.1 %   -0.3, +0.4   4.0e-1   pass
     P99 TTFT (ms)                        44.89       44.91   -0.2 %   -0.6, +0.2   8.3e-1   pass
    note: a stored baseline may clear a change and never fails one: sessions differ by more than runs do
    ");
}

#[test]
fn every_odd_file_of_pairs_has_its_own_outcome() {
    let world = World::new();
    let metric = |baseline: &str, candidate: &str, also: &str| {
        format!(
            r#""output_throughput": {{"class": "mean", "better": "higher", "baseline": {baseline}, "candidate": {candidate}{also}}}"#
        )
    };
    let of = |baseline: &str, candidate: &str| {
        format!("{{\"metrics\": {{{}}}}}", metric(baseline, candidate, ""))
    };
    let three = "[100.1, 99.8, 100.3]";
    let twice = metric(three, "[80, 81, 82]", "") + ", " + &metric(three, three, "");
    let known = metric(three, "[99.9, 100.2, 100.0]", ", \"history_sd\": 0.005");
    let boundless = metric(three, three, ", \"history_sd\": 1e180");
    let odd = metric(three, "[99.9, 100.2, 70.0]", ", \"history_sd\": 0.005");
    let cases = [
        ("equal sides", format!("{{\"metrics\": {{{known}}}}}"), 0),
        ("a spoiled pair is drawn in", format!("{{\"metrics\": {{{odd}}}}}"), 0),
        ("a spread that is none", format!("{{\"metrics\": {{{boundless}}}}}"), 4),
        ("worse", of("[100, 101, 102, 100]", "[80, 81, 81.5, 79.7]"), 1),
        ("better", of("[100, 101, 102, 100]", "[120, 121.5, 122, 120.2]"), 0),
        ("NaN as Python writes it", of(three, "[99, NaN, 100]"), 4),
        ("infinite", of(three, "[99, Infinity, 100]"), 4),
        ("a number beyond any", of(three, "[99, 1e999, 100]"), 64),
        ("null", of("[null, 99, 100]", three), 4),
        ("negative", of(three, "[99, -1, 100]"), 4),
        ("zero", of("[0, 99, 100]", three), 4),
        ("text", of(three, "[99, \"100\", 100]"), 64),
        ("empty", of("[]", "[]"), 4),
        ("one pair", of("[100]", "[100]"), 0),
        ("unequal lengths", of(three, "[99, 100]"), 3),
        ("zero variance", of("[100, 100, 100]", "[100, 100, 100]"), 4),
        ("zero variance, worse", of("[100, 100, 100]", "[90, 90, 90]"), 4),
        ("no metric", "{\"metrics\": {}}".to_owned(), 4),
        ("no metrics", "{}".to_owned(), 64),
        ("a key that nobody knows", "{\"metrics\": {}, \"alpha\": 1}".to_owned(), 64),
        ("one metric twice", format!("{{\"metrics\": {{{twice}}}}}"), 64),
        ("no file at all", String::new(), 64),
        ("not JSON", "metrics: {}".to_owned(), 64),
    ];
    let mut all = Vec::new();
    for (title, text, code) in cases {
        fs::write(world.path().join("pairs.json"), text).unwrap();
        let args = ["gate", "--pairs", "pairs.json"];
        let ended = world.run(&args).expect(code);
        // The same in JSON: the same exit code, and never the word of a pass.
        let json = world.run(&["gate", "--pairs", "pairs.json", "--json"]).expect(code);
        let verdict = serde_json::from_str::<Value>(&json.stdout).unwrap_or_default();
        let passed = ["PASS", "IMPROVED"].map(Value::from).contains(&verdict["verdict"]);
        assert!(!passed || code == 0, "{title}: {}", json.stdout);
        all.push(told(title, &args, &ended));
    }
    let useless = ["gate", "--pairs", "pairs.json", "--require-baseline"];
    all.push(told("a flag that would do nothing", &useless, &world.run(&useless)));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn the_worst_of_many_keys_comes_first_and_decides() {
    let world = World::new();
    let three = |profile: &'static str, run: &Run| vec![Run { profile, ..run.clone() }; 3];
    for number in 1..=4 {
        let runs = [three("a", &USUAL), three("b", &USUAL), three("c", &USUAL)].concat();
        let id = session(&world, number, &runs);
        world.run(&["baseline", "accept", &id, "--reason", "a calm day"]).expect(0);
    }
    let other = Run { with: json!({"environment": {"gpus": ["NVIDIA H200"]}}), ..USUAL };
    let runs = [
        three("a", &USUAL),
        three("b", &Run { slower: 1.1, ..USUAL }),
        three("c", &other),
        three("d", &USUAL),
    ];
    session(&world, 20, &runs.concat());
    let mut all = vec![gated("a is the same, b is slower, c elsewhere, d is new", &world, &[])];
    let json = world.run(&["gate", "--json"]).expect(3);
    let json: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(json["verdict"], "INCOMPARABLE");
    let verdicts: Vec<_> =
        json["judgements"].as_array().unwrap().iter().map(|judged| &judged["verdict"]).collect();
    assert_eq!(verdicts, ["INCOMPARABLE", "INCONCLUSIVE", "MISSING_BASELINE", "PASS"]);
    // One session by another: what one of them lacks is said.
    session(&world, 21, &runs[..1].concat());
    let between = ["20260101T000000Z-1", "20260121T000000Z-1"];
    all.push(gated("one session by another that has less", &world, &between));
    all.push(gated("two baselines", &world, &[&between[..], &["--baseline", "x.json"]].concat()));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_was_not_measured_is_no_pass() {
    let world = with_baseline(4);
    let at = "2026-01-01T00:00:00.000Z";
    let name = "sim/smoke#4/measure";
    let started = json!({"at": at, "event": "step-started", "step": 7, "name": name});
    let failure = json!({"class": "requests", "message": "1 of 6 requests failed", "hint": null});
    let failed = json!({"at": at, "event": "step-failed", "step": 7, "failure": failure});
    session_with(&world, 20, &vec![USUAL; 3], &[started, failed]);
    let mut all = vec![gated("a run of the session failed", &world, &[])];
    let id = session(&world, 20, &vec![USUAL; 3]);
    let journal = world.results().join("runs").join(id).join("journal.jsonl");
    let text = fs::read_to_string(&journal).unwrap();
    let cut = text.trim_end().rfind('\n').unwrap();
    fs::write(&journal, &text[..=cut]).unwrap();
    all.push(gated("the session is not finished", &world, &[]));
    fs::write(&journal, text.replacen("step-started", "step-begun", 1)).unwrap();
    all.push(gated("the journal is damaged", &world, &[]));
    session(&world, 20, &[]);
    all.push(gated("no run was saved", &world, &[]));
    all.push(gated("no such session", &world, &["20261231T000000Z-9"]));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn what_is_accepted_takes_a_verdict_or_a_word_and_the_last_ten_stay() {
    let world = World::new();
    let mut all = Vec::new();
    let mut says = |title: &str, args: &[&str], code: i32| {
        all.push(told(title, args, &world.run(args).expect(code)));
    };
    says("nothing is stored", &["baseline", "list"], 0);
    let judged = |number: u64, verdict: &str| {
        let id = session(&world, number, &vec![USUAL; 3]);
        let journal = world.results().join("runs").join(&id).join("journal.jsonl");
        let text = fs::read_to_string(&journal).unwrap();
        let shown = world.run(&["gate", &id, "--json"]);
        let key = serde_json::from_str::<Value>(&shown.stdout).unwrap()["key"].clone();
        let judgement = json!({"key": key, "verdict": verdict, "reason": "so", "metrics": []});
        let outcome = json!({"kind": "judged", "judgements": [judgement]});
        let at = "2026-01-01T00:00:00.000Z";
        let entry = json!({"at": at, "event": "step-succeeded", "step": 900, "outcome": outcome});
        let closed = text.trim_end().rfind('\n').unwrap() + 1;
        fs::write(&journal, format!("{}{entry}\n{}", &text[..closed], &text[closed..])).unwrap();
    };
    judged(1, "missing-baseline");
    says("the first of its key", &["baseline", "accept"], 0);
    for (number, verdict) in [
        (2, "regressed"),
        (3, "inconclusive"),
        (4, "incomparable"),
        (5, "broken"),
        (6, "missing-baseline"),
    ] {
        judged(number, verdict);
        says(verdict, &["baseline", "accept"], 64);
    }
    says("an empty reason is none", &["baseline", "accept", "--reason", " "], 64);
    judged(7, "pass");
    says("pass", &["baseline", "accept"], 0);
    judged(8, "improved");
    says("improved", &["baseline", "accept"], 0);
    judged(9, "regressed");
    says("slower on purpose", &["baseline", "accept", "--reason", "a safer allocator"], 0);
    for number in 10..=19 {
        judged(number, "pass");
        world.run(&["baseline", "accept"]).expect(0);
    }
    says("fourteen were accepted", &["baseline", "list"], 0);
    let list = world.run(&["baseline", "list"]).stdout;
    let key = list.split('\t').next().unwrap();
    says("what is stored", &["baseline", "show", key], 0);
    says("no such key", &["baseline", "show", "sim/x"], 64);
    insta::assert_snapshot!(all.join("\n"));
    let stored: Value = serde_json::from_slice(&fs::read(file(&world)).unwrap()).unwrap();
    assert_eq!(stored["sessions"].as_array().unwrap().len(), 10);
    assert_eq!(stored["log"].as_array().unwrap().len(), 14);
}

#[test]
fn a_series_of_sessions_shows_where_it_changed_for_good() {
    let world = World::new();
    for number in 1..=20 {
        let slower = if number <= 11 { 1.0 } else { 1.04 };
        session(&world, number, &vec![Run { slower, ..USUAL }; 3]);
    }
    let accept = ["baseline", "accept", "20260101T000000Z-1"];
    world.run(&accept).expect(0);
    let list = world.run(&["baseline", "list"]).stdout;
    let args = ["baseline", "history", list.split('\t').next().unwrap()];
    insta::assert_snapshot!(told("4 % slower from the twelfth on", &args, &world.run(&args)));
}

#[test]
fn what_the_gate_can_say_is_told_before_anything_is_measured() {
    let world = with_baseline(8);
    let gate = |text: &str| {
        let at = text.find("\nGate:\n").expect("a section on the gate");
        without_digests(text[at..].trim().to_owned())
    };
    let plan = world.run(&[&["plan"], TINY].concat()).expect(0);
    insta::assert_snapshot!(gate(&plan.stdout), @"
    Gate:
      sim/sim/smoke/native@DIGEST: 8 stored sessions clear unchanged code with a chance of 100 %; they never fail a change
      sim/sim/smoke/native@DIGEST: this profile can resolve 1.0 % of Output token throughput, 1.0 % of Mean TTFT, 1.0 % of Mean TPOT, 3.0 % of P99 TTFT
      sim/sim/smoke/native@DIGEST: if nothing changed, 3.0 pairs are expected, chance of INCONCLUSIVE 0 %
    ");
    let bench = world.run(&[&["bench"], TINY, &["--gate"]].concat());
    let opened = bench.stderr.find("opened by").expect("a session");
    for line in gate(&plan.stdout).lines().skip(1) {
        let said = without_digests(bench.stderr[..opened].to_owned());
        assert!(said.contains(line.trim()), "{line}: {}", bench.transcript());
    }
    let first = World::new().run(&[&["plan"], TINY].concat()).expect(0);
    insta::assert_snapshot!(gate(&first.stdout), @"
    Gate:
      no foresight: 0 earlier pairs of this key, it takes 12; a cold start finds less and takes more pairs
    ");
}

/// A title, the session that is judged, and flags.
type Case = (&'static str, Box<dyn Fn(&World)>, &'static [&'static str]);

/// One judgement of each kind.
fn kinds() -> [Case; 7] {
    let of_pairs = |pairs, run: Run| -> Box<dyn Fn(&World)> {
        Box::new(move |world| drop(experiment(world, 20, pairs, &run)))
    };
    let other = json!({"environment": {"gpus": ["NVIDIA H200"]}});
    let failing = json!({"requests": {"completed": 5, "failed": {"server-error": 1}}});
    let both = move |world: &World| {
        let run = |side| Run { arm: Some((side, 1)), with: failing.clone(), ..USUAL };
        session(world, 20, &[run("baseline"), run("candidate")]);
    };
    [
        ("PASS", of_pairs(10, USUAL), &[]),
        ("IMPROVED", of_pairs(10, Run { slower: 0.9, ..USUAL }), &[]),
        ("REGRESSED", of_pairs(10, Run { slower: 1.1, ..USUAL }), &[]),
        ("INCONCLUSIVE", of_pairs(3, Run { slower: 1.03, ..USUAL }), &[]),
        ("INCOMPARABLE", of_pairs(3, Run { with: other, ..USUAL }), &[]),
        (
            "MISSING_BASELINE",
            Box::new(|world| drop(session(world, 20, &vec![USUAL; 3]))),
            &["--require-baseline"],
        ),
        ("BROKEN", Box::new(both), &[]),
    ]
}

#[test]
fn every_verdict_is_read_by_what_reads_junit() {
    let Some(part) = part("gate::every_verdict_is_read_by_what_reads_junit", "junit") else {
        return;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/parts/check_junit.py");
    let mut told = Vec::new();
    for (verdict, record, flags) in kinds() {
        let world = World::new();
        record(&world);
        let reports = ["gate", "--junit", "gate.xml", "--markdown", "gate.md", "--json"];
        let judged = world.run(&[&reports[..], flags].concat());
        let json: Value = serde_json::from_str(&judged.stdout).unwrap();
        assert_eq!(json["verdict"], verdict, "{}", judged.transcript());
        let checked = Command::new(part.join("bin/python"))
            .arg(&script)
            .arg("gate.xml")
            .current_dir(world.path())
            .output()
            .expect("python starts");
        let said = String::from_utf8_lossy(&checked.stdout).into_owned();
        let errors = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{verdict}: {said}{errors}");
        assert!(world.path().join("gate.md").is_file());
        let junit = fs::read_to_string(world.path().join("gate.xml")).unwrap();
        told.push(format!("{verdict}, exit {:?}: {}", judged.code.unwrap(), said.trim_end()));
        told.extend(messages(&junit));
    }
    insta::assert_snapshot!(without_digests(told.join("\n")));
}

/// The results of cases that did not pass: kind, type and message.
fn messages(junit: &str) -> Vec<String> {
    let tags = ["<failure ", "<error ", "<skipped "];
    let found = junit.split('>').filter_map(|part| {
        let at = tags.iter().find_map(|tag| part.find(tag))?;
        Some(format!("  {}", part[at + 1..].trim_end_matches('/')))
    });
    found.collect()
}
