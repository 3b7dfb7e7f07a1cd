//! The load engine against the simulated server: what it says of itself, what it does beyond a
//! server's capacity and with very many streams.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::world::{Ended, RunningSim, World, ended};

/// `load` against a server, with fixed lengths.
fn load(world: &World, sim: &RunningSim, flags: &str) -> Command {
    let usual = "load --backend vllm --tokenizer embedded --dataset-name random-ids \
                 --random-input-len 16 --random-range-ratio 1 --disable-tqdm \
                 --output-file out.jsonl --records records.jsonl.gz --base-url";
    let words = usual.split_whitespace().chain([sim.url.as_str()]).chain(flags.split_whitespace());
    world.command(&words.collect::<Vec<_>>())
}

/// Runs it to its end; the last line that it appended goes with it.
fn loaded(world: &World, sim: &RunningSim, flags: &str, code: i32) -> (Ended, Value) {
    // Records are never overwritten.
    let _none = fs::remove_file(world.path().join("records.jsonl.gz"));
    let ended = ended(world.start(load(world, sim, flags))).expect(code);
    let file = fs::read_to_string(world.path().join("out.jsonl")).unwrap();
    let line = serde_json::from_str(file.lines().last().unwrap()).unwrap();
    (ended, line)
}

/// The value that a row of the block has.
fn printed(ended: &Ended, label: &str) -> f64 {
    let row = format!("\n{label}:");
    let at = ended.stdout.find(&row).unwrap_or_else(|| panic!("{label}\n{}", ended.stdout));
    let value = ended.stdout[at + row.len()..].lines().next().unwrap();
    value.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn a_client_that_moved_a_number_beyond_its_budget_makes_the_run_invalid() {
    let world = World::new();
    let sim = RunningSim::start(&world, &["--fixed-ttft-ms=5", "--fixed-gap-ms=2"]);
    let flags = "--num-prompts 20 --random-output-len 4 --request-rate 200";

    // Nobody sends at the very nanosecond.
    let (over, line) = loaded(&world, &sim, &format!("{flags} --lag-budget 0ms"), 4);
    assert!(
        over.stderr.contains("INVALID: the load client was late in sending"),
        "{}",
        over.stderr
    );
    assert!(over.stdout.contains("\nINVALID: late in sending, moving:"), "{}", over.stdout);
    assert_eq!(line["servegate"]["counts"], false);
    let anomalies = line["servegate"]["anomalies"].as_array().unwrap();
    let late = anomalies.iter().find(|one| one["kind"] == "client-over-budget").unwrap();
    assert!(late["metric"].as_str().unwrap().ends_with("_ms"), "{late}");
    // Whoever reads the tool's keys still finds them.
    assert_eq!(line["completed"], 20);

    let (within, line) = loaded(&world, &sim, &format!("{flags} --lag-budget 100%,1m"), 0);
    assert!(!within.stdout.contains("INVALID"), "{}", within.stdout);
    assert_eq!(line["servegate"]["counts"], true);
    let (unjudged, _) = loaded(&world, &sim, &format!("{flags} --lag-budget none"), 0);
    assert!(!unjudged.stdout.contains("INVALID"), "{}", unjudged.stdout);
}

#[test]
fn without_a_rate_nothing_is_late_however_long_a_request_waits_for_its_place() {
    let world = World::new();
    let sim = RunningSim::start(&world, &["--fixed-ttft-ms=5", "--fixed-gap-ms=2"]);
    let flags = "--num-prompts 40 --random-output-len 4 --max-concurrency 2 --lag-budget 1m";
    let (_, line) = loaded(&world, &sim, flags, 0);
    assert_eq!(line["servegate"]["counts"], true);
}

#[test]
fn the_block_and_the_line_tell_the_steady_part_and_what_rests_on_few_requests() {
    let world = World::new();
    let sim = RunningSim::start(&world, &["--fixed-ttft-ms=10", "--fixed-gap-ms=10"]);
    let flags = "--num-prompts 40 --random-output-len 16 --max-concurrency 4";
    let (ended, line) = loaded(&world, &sim, flags, 0);
    let few = &line["servegate"]["accounting"]["few_samples"];
    let p99 = few.as_array().unwrap().iter().find(|one| one["percentile"] == 99).unwrap();
    assert_eq!((&p99["samples"], &p99["beyond"]), (&Value::from(40), &Value::from(0)));
    assert!(ended.stdout.contains("Requests beyond P99:                     0 of 40: too few"));
    let steady = &line["servegate"]["accounting"]["steady"];
    assert!(steady["from_ms"].as_f64().unwrap() < steady["to_ms"].as_f64().unwrap());
    let sent_in_it = steady["requests"].as_f64().unwrap();
    assert!(0.0 < sent_in_it && sent_in_it <= 40.0);
    assert_eq!(printed(&ended, "Steady requests"), sent_in_it);
    let throughput = steady["metrics"]["output_throughput"].as_f64().unwrap();
    assert!((printed(&ended, "Steady output throughput (tok/s)") - throughput).abs() < 0.01);
}

/// How many requests a record file holds, and how many of them completed.
fn recorded(world: &World) -> (usize, usize) {
    let records = load::records::read(&world.path().join("records.jsonl.gz")).unwrap();
    let completed = records.iter().filter(|record| record.completed()).count();
    (records.len(), completed)
}

#[test]
fn beyond_a_servers_capacity_latency_grows_from_sending_and_from_when_it_was_due() {
    let world = World::new();
    // Two at once, each for 8 steps of 20 ms: some 12 requests a second.
    let slow = ["--max-running=2", "--step-base-ms=20", "--prefix-cache=off"];
    let sim = RunningSim::start(&world, &slow);
    let load = "--num-prompts 40 --random-output-len 8 --lag-budget 1m --request-rate";

    let (_, held) = loaded(&world, &sim, &format!("{load} 4 --num-prompts 10"), 0);
    let (block, beyond) = loaded(&world, &sim, &format!("{load} 100"), 0);

    // The queue is the server's, so that nothing was sent late and both clocks show it.
    let due = |line: &Value, key: &str| {
        line["servegate"]["accounting"]["from_due"][key].as_f64().unwrap()
    };
    let sent = |line: &Value, key: &str| line[key].as_f64().unwrap();
    for key in ["mean_ttft_ms", "p99_ttft_ms", "mean_e2e_latency_ms"] {
        assert!(4.0 * due(&held, key) < due(&beyond, key), "{key}: {held} {beyond}");
        assert!(4.0 * sent(&held, key) < sent(&beyond, key), "{key}: {held} {beyond}");
        assert!(sent(&beyond, key) <= due(&beyond, key), "{key}: {beyond}");
    }
    assert_eq!(recorded(&world), (40, 40));
    assert_eq!(
        (&beyond["completed"], &beyond["servegate"]["requests_asked"]),
        (&40.into(), &40.into())
    );
    assert!((printed(&block, "P99 TTFT from due (ms)") - due(&beyond, "p99_ttft_ms")).abs() < 0.01);
}

#[test]
fn where_requests_wait_for_a_place_only_the_time_from_due_shows_it_and_lateness_is_told() {
    let world = World::new();
    let sim = RunningSim::start(&world, &["--fixed-ttft-ms=40", "--fixed-gap-ms=20"]);
    // Each takes 180 ms and two are let in: some 11 a second of the 100 that are asked for.
    let flags = "--num-prompts 40 --random-output-len 8 --request-rate 100 --max-concurrency 2 \
                 --lag-budget 1m";
    let (block, line) = loaded(&world, &sim, flags, 0);
    let own = &line["servegate"];
    let due = own["accounting"]["from_due"]["mean_ttft_ms"].as_f64().unwrap();
    let sent = line["mean_ttft_ms"].as_f64().unwrap();
    assert!(10.0 * sent < due, "from sending {sent} ms, from due {due} ms");
    let lag = own["client"]["send_lag_p99_ms"].as_f64().unwrap();
    assert!(1_000.0 < lag, "{lag} ms");
    assert!((printed(&block, "P99 send lag (ms)") - lag).abs() < 0.01);
    assert!((printed(&block, "Mean TTFT from due (ms)") - due).abs() < 0.01);
    let kinds = own["anomalies"].as_array().unwrap().iter().map(|one| &one["kind"]);
    assert!(kinds.into_iter().any(|kind| kind == "late-sends"), "{own}");
    assert_eq!(recorded(&world), (40, 40));
    // It is the server that makes them wait, so that the run counts.
    assert_eq!(own["counts"], true);
}

#[test]
fn a_session_beyond_capacity_reports_the_lateness() {
    let world = World::new();
    let sim = ["--request-rate", "200", "--max-concurrency", "1"];
    let short = ["--num-prompts", "12", "--random-input-len", "16", "--random-output-len", "8"];
    let run = [&["bench", "--engine", "native"], &short[..], &sim[..]].concat();
    world.run(&run).expect(0);
    let summary = world.sessions().pop().unwrap().join("summary.md");
    let text = fs::read_to_string(summary).unwrap();
    assert!(text.contains("late-sends"), "{text}");
    assert!(text.contains("TTFT from due"), "{text}");
}

#[test]
fn two_thousand_streams_at_once_are_all_accounted_for() {
    let world = World::new();
    let sim = RunningSim::start(&world, &["--fixed-ttft-ms=2000", "--fixed-gap-ms=100"]);
    let flags = "--num-prompts 2000 --random-output-len 4 --lag-budget none";
    let (ended, line) = loaded(&world, &sim, flags, 0);
    assert_eq!(line["completed"], 2000);
    assert_eq!(recorded(&world), (2000, 2000));
    assert_eq!(line["total_output_tokens"], 8000);
    assert!(ended.stdout.contains("Failed requests:                         0"));
    // The first answer takes longer than connecting all of them.
    assert_eq!(line["max_concurrent_requests"], 2000);
}

#[test]
fn more_streams_than_open_files_are_allowed_is_said_before_anything_is_sent() {
    let world = World::new();
    let sim = RunningSim::start(&world, &["--fixed-ttft-ms=5", "--fixed-gap-ms=2"]);
    let load = load(&world, &sim, "--num-prompts 500 --random-output-len 2");
    let mut limited = Command::new("sh");
    limited.args(["-c", "ulimit -n 300 && exec \"$@\"", "sh"]).arg(load.get_program());
    limited.args(load.get_args()).current_dir(world.path()).stdin(Stdio::null());
    let refused = ended(world.start(limited)).expect(4);
    assert!(
        refused.stderr.contains("756 open files are needed, the limit is 300"),
        "{}",
        refused.transcript()
    );
    assert!(refused.stderr.contains("ulimit -Hn 756"), "{}", refused.transcript());
    assert!(!world.path().join("records.jsonl.gz").exists());
}
