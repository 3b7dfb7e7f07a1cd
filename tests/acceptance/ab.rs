//! Experiments on the simulated server: two targets in turns, and a verdict that is the right one.

use std::fs;
use std::io::BufRead as _;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::world::{Ended, World, ended, event, signal};

/// Experiments are about small differences: no two of them run at the same time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A steady card under the profile `smoke`, whose prompts are long enough that it hardly matters
/// in which step of the engine they arrive.
const STEADY: &[&str] = &["--server-arg=--noise=0", "--server-arg=--drift=0"];

/// Few short requests on a card whose steps are slow, for changes that cannot be missed.
const SHORT: &[&str] = &[
    "--num-prompts=16",
    "--random-input-len=16",
    "--random-output-len=16",
    "--random-range-ratio=1",
    "--server-arg=--noise=0",
    "--server-arg=--drift=0",
    "--server-arg=--step-base-ms=20",
];

struct Experiment {
    ended: Ended,
    journal: Vec<Value>,
}

fn ab(world: &World, load: &[&str], args: &[&str]) -> Experiment {
    let ended = world.run(&[&["ab"], load, args].concat());
    assert_eq!(world.processes(), Vec::<u32>::new(), "{}", ended.transcript());
    Experiment { ended, journal: world.journal() }
}

impl Experiment {
    /// The last look.
    fn look(&self) -> &Value {
        let mut looks = self.journal.iter().filter(|entry| entry["outcome"]["kind"] == "looked");
        &looks.next_back().unwrap_or_else(|| panic!("{}", self.ended.transcript()))["outcome"]
    }

    fn verdict(&self) -> &str {
        self.look()["judgement"]["verdict"].as_str().unwrap()
    }

    /// Which run was measured when, as far as the journal tells.
    fn order(&self) -> Vec<String> {
        order(&self.journal)
    }

    #[track_caller]
    fn expect(&self, verdict: &str, code: i32) {
        let transcript = self.ended.transcript();
        assert_eq!(self.verdict(), verdict, "{transcript}");
        assert_eq!(self.ended.code, Some(code), "{transcript}");
        assert_eq!(self.look()["decided"], true);
        let said = verdict.to_uppercase();
        assert!(self.ended.stdout.contains(&said), "{transcript}");
    }

    /// The gate on what was recorded says what was said while it was measured.
    #[track_caller]
    fn expect_the_same_of_the_record(&self, world: &World) {
        let again = world.run(&["gate", "--json"]);
        assert_eq!(again.code, self.ended.code, "{}", again.transcript());
        let judged: Value = serde_json::from_str(&again.stdout).unwrap();
        let then = &self.look()["judgement"];
        assert_eq!(judged["verdict"], self.verdict().to_uppercase());
        for same in ["reason", "pairs", "basis", "metrics"] {
            assert_eq!(judged[same], then[same], "{same}");
        }
    }
}

fn order(journal: &[Value]) -> Vec<String> {
    let saved = journal.iter().filter(|entry| entry["outcome"]["kind"] == "saved");
    let arm = |entry: &Value| entry["outcome"]["summary"]["arm"].to_string();
    saved.map(arm).collect()
}

/// A candidate whose steps take this many times as long, without its prefills.
fn decoding(times: f64) -> [String; 3] {
    let plain = [("base-ms", 6.0), ("per-seq-ms", 0.1), ("per-1k-kv-ms", 0.05)];
    plain.map(|(name, ms)| format!("--candidate-server-arg=--step-{name}={}", ms * times))
}

/// Accepts the newest session, and makes as many past sessions of it as a history takes.
fn remember(world: &World, pairs: u64) {
    world.run(&["baseline", "accept", "--reason", "a calm day"]).expect(0);
    let file = world.files("baselines", "sim", ".json").pop().unwrap();
    let mut baseline: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    let session = baseline["sessions"][0].clone();
    let past = (0..20_u64.div_ceil(pairs)).map(|day| {
        let mut session = session.clone();
        session["session"] = json!(format!("day-{day}"));
        for run in session["runs"].as_array_mut().unwrap() {
            run["session"] = json!(format!("day-{day}"));
        }
        session
    });
    baseline["sessions"] = past.collect();
    fs::write(&file, serde_json::to_vec(&baseline).unwrap()).unwrap();
}

#[test]
fn unchanged_is_not_regressed_slower_is_and_faster_is_improved() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::impatient();

    let unchanged = ab(&world, STEADY, &[]);
    assert_eq!(unchanged.ended.code, Some(0), "{}", unchanged.ended.transcript());
    assert!(["pass", "inconclusive"].contains(&unchanged.verdict()), "{}", unchanged.verdict());
    let pairs = unchanged.look()["judgement"]["pairs"].as_u64().unwrap();
    assert!((3..=10).contains(&pairs), "{pairs}");
    let runs = unchanged.order();
    assert_eq!(runs.len() as u64, 1 + 2 * pairs, "one run is thrown away");
    assert!(unchanged.ended.stderr.contains("false alarms"), "{}", unchanged.ended.transcript());

    remember(&world, pairs);
    let slower = ab(&world, STEADY, &decoding(1.05).each_ref().map(String::as_str));
    slower.expect("regressed", 1);
    let junit = fs::read_to_string(world.sessions().pop().unwrap().join("junit.xml")).unwrap();
    assert!(junit.contains("PerformanceRegression"), "{junit}");
    assert!(!junit.contains("is decided"), "what was not needed is no case");
    slower.expect_the_same_of_the_record(&world);
    // What can be resolved is said before anything is measured, from what is known of the key.
    let ahead = &slower.ended.stderr[..slower.ended.stderr.find("opened by").unwrap()];
    for said in ["this profile can resolve", "pairs are expected", "chance of INCONCLUSIVE"] {
        assert!(ahead.contains(said), "{said}: {ahead}");
    }

    let faster = ab(&world, STEADY, &decoding(0.95).each_ref().map(String::as_str));
    faster.expect("improved", 0);
    // The history that a session judged by stays with it.
    assert!(world.sessions().pop().unwrap().join("history.json").is_file());
}

#[test]
fn a_server_that_does_less_is_not_faster_but_incomparable() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::impatient();
    // The readiness ladder and the warm-up come first; then one of a hundred is dropped.
    let drops = "--candidate-server-arg=--fault=done-only:every=100:after=5";
    let many = ["--num-prompts=100", "--max-concurrency=32", "--random-output-len=16"];
    let dropping = ab(&world, &many, &[drops]);
    dropping.expect("incomparable", 3);
    assert!(dropping.ended.stdout.contains("1 of 100 requests failed"));
    dropping.expect_the_same_of_the_record(&world);

    let short = "--candidate-server-arg=--eos-probability=0.2";
    let shorter = ab(&world, SHORT, &["--disable-ignore-eos", short]);
    shorter.expect("incomparable", 3);
    assert!(shorter.ended.stdout.contains("generated tokens"));
    // Both are seen at the first pair: nothing more is spent on them.
    assert_eq!((dropping.order().len(), shorter.order().len()), (2, 3));
}

#[test]
fn killed_half_way_it_resumes_in_the_same_order_to_the_same_verdict() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let args = ["--candidate-server-arg=--step-base-ms=30", "--order-seed=5"];
    let undisturbed = World::impatient();
    let undisturbed = ab(&undisturbed, SHORT, &args);
    undisturbed.expect("regressed", 1);
    let wanted = undisturbed.order();
    let looked = |entry: &Value| entry["outcome"]["kind"] == "looked";
    let first_look = undisturbed.journal.iter().position(looked).unwrap() + 1;
    // In the middle of a measurement, before a look is written, and right after one.
    for line in [first_look - 10, first_look - 1, first_look] {
        let world = World::impatient();
        let mut command = world.command(&[&["ab"], SHORT, &args].concat());
        command.env("SERVEGATE_CRASH_AFTER_ENTRY", line.to_string());
        let killed = ended(world.start(command));
        assert_eq!(killed.code, None, "line {line}: {}", killed.transcript());
        let measured = order(&world.journal());

        let resumed = world.run(&["resume"]);
        let resumed = Experiment { ended: resumed, journal: world.journal() };
        resumed.expect("regressed", 1);
        assert_eq!(world.processes(), Vec::<u32>::new(), "line {line}");
        let order = resumed.order();
        let both = order.len().min(wanted.len());
        assert_eq!(order[..both], wanted[..both], "line {line}");
        assert_eq!(order[..measured.len()], measured, "line {line}: no run is lost");
    }
}

/// A simulated server that runs on; ended when it is dropped.
struct Running {
    child: Child,
    url: String,
}

impl Running {
    fn start(world: &World) -> Self {
        let slow = ["--noise=0", "--drift=0", "--step-base-ms=20"];
        let mut command = world.command(&[&["sim"], &slow[..]].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = std::io::BufReader::new(child.stdout.take().unwrap());
        let line = stdout.lines().next().unwrap().unwrap();
        let url = line.strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        signal(&self.child, Signal::SIGKILL);
        let _ = self.child.wait();
    }
}

#[test]
fn running_servers_can_take_turns_and_the_verdict_is_marked_as_weaker() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::impatient();
    let (baseline, candidate) = (Running::start(&world), Running::start(&world));
    let urls = ["--baseline-url", &baseline.url, "--candidate-url", &candidate.url];
    let load = &SHORT[..4];
    let refused = world.run(&[&["ab"], load, &urls[..]].concat()).expect(64);
    assert!(refused.stderr.contains("--restart never"), "{}", refused.transcript());
    let experiment =
        world.run(&[&["ab", "--restart", "never"], load, &urls[..]].concat()).expect(0);
    assert!(experiment.stdout.contains("WEAKER"), "{}", experiment.transcript());
    let again = world.run(&["gate"]).expect(0);
    assert!(again.stdout.contains("WEAKER"), "{}", again.transcript());
    let journal = world.journal();
    assert!(!journal.iter().any(|entry| event(entry) == "server-started"));
    let seeds = journal.iter().filter(|entry| entry["outcome"]["kind"] == "saved");
    let seeds: Vec<_> = seeds.map(|entry| entry["outcome"]["summary"]["seed"].clone()).collect();
    assert_eq!(seeds[1], seeds[2], "both sides of a pair are sent the same");
    assert_ne!(seeds[2], seeds[3], "the next pair is sent something else");
}

#[test]
fn what_cannot_be_an_experiment_is_refused_before_anything_is_touched() {
    let world = World::new();
    let wrong: [&[&str]; 4] = [
        &["ab", "--restart", "never"],
        &["ab", "--baseline-url", "http://127.0.0.1:1"],
        &["ab", "--profile", "smok"],
        &["calibrate", "--framework", "llama-cpp", "--model", "m", "--tokenizer", "."],
    ];
    let transcripts = wrong.map(|args| {
        format!("$ servegate {}\n{}", args.join(" "), world.run(args).expect(64).transcript())
    });
    insta::assert_snapshot!(transcripts.join("\n"));
    assert!(!world.results().exists() && !world.path().join("lease").exists());
}

#[test]
fn a_calibration_publishes_how_often_the_gate_is_wrong() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let world = World::impatient();
    let calibrate = [&["calibrate", "--pairs", "4", "--replays", "200", "--json"], SHORT].concat();
    let calibrated = world.run(&calibrate).expect(0);
    let table: Value = serde_json::from_str(&calibrated.stdout).unwrap();
    let rows = table["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 7);
    for row in rows {
        assert_eq!(row["cold"]["replays"], 200);
    }
    assert_eq!(world.files("published", "calibration-sim", ".json").len(), 1);
    let text = world.files("published", "calibration-sim", ".md").pop().unwrap();
    assert!(fs::read_to_string(text).unwrap().contains("| unchanged |"));
    let looked = world.journal().iter().any(|entry| entry["outcome"]["kind"] == "looked");
    assert!(!looked, "nobody looks at pairs that are only collected");
}
