//! The reader over every recorded run of the real tool.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;

use domain::facts::Capabilities;
use domain::hint::Hinted as _;

use super::*;
use crate::sglang::{Lengths, Version};

/// How a recorded run ended, where that was not exit code 0. The recordings do not say.
const EXITS: [(&str, ToolExit); 18] = [
    ("badbackend", ToolExit::Code(2)),
    ("ctrlc", ToolExit::Signal(15)),
    ("ctrlc2", ToolExit::Signal(2)),
    ("die", ToolExit::Code(1)),
    ("down", ToolExit::Code(1)),
    ("down0", ToolExit::Code(1)),
    ("down1", ToolExit::Code(1)),
    ("fail_all", ToolExit::Code(1)),
    ("fail_all_nowarm", ToolExit::Code(1)),
    ("flush_vllm404", ToolExit::Code(1)),
    ("miderr_cmp", ToolExit::Code(1)),
    ("nodir", ToolExit::Code(1)),
    ("ping_cmp", ToolExit::Code(1)),
    ("random_nosharegpt", ToolExit::Code(1)),
    ("tokmissing", ToolExit::Code(1)),
    ("v0.4.6_failall", ToolExit::Code(1)),
    ("v0.5.6_failall", ToolExit::Code(1)),
    ("vllm_cmp_usage", ToolExit::Code(1)),
];

/// A server that generates what it is asked to.
const EXACT: Capabilities =
    Capabilities { forces_length: true, reports_usage: true, flushes_cache: true };
/// A server that ends an answer when it likes.
const FREE: Capabilities =
    Capabilities { forces_length: false, reports_usage: true, flushes_cache: true };

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/bench_serving")
}

struct Recording {
    name: String,
    stdout: String,
    stderr: String,
    jsonl: Option<String>,
    exit: ToolExit,
}

impl Recording {
    fn open(name: &str) -> Self {
        let file = |kind: &str| fs::read_to_string(folder().join(format!("{name}.{kind}")));
        let known = EXITS.iter().find(|(known, _)| *known == name);
        Self {
            name: name.to_owned(),
            stdout: file("stdout.txt").unwrap(),
            stderr: file("stderr.txt").unwrap(),
            jsonl: file("jsonl").ok(),
            exit: known.map_or(ToolExit::Code(0), |(_, exit)| *exit),
        }
    }

    fn all() -> Vec<Self> {
        let names = fs::read_dir(folder()).unwrap().filter_map(|entry| {
            let name = entry.unwrap().file_name().into_string().unwrap();
            name.strip_suffix(".stdout.txt").map(str::to_owned)
        });
        let mut names: Vec<_> = names.collect();
        names.sort();
        names.iter().map(|name| Self::open(name)).collect()
    }

    /// An argument that the tool was started with; the Rust client does not print them.
    fn argument(&self, name: &str) -> Option<&str> {
        let (_, arguments) = self.stdout.split_once("Namespace(")?;
        let rest =
            arguments.split(", ").find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        rest.split([',', ')']).next()
    }

    fn number(&self, name: &str, usual: f64) -> f64 {
        self.argument(name).map_or(usual, |text| text.parse().unwrap())
    }

    fn asked(&self, capabilities: Capabilities) -> Asked {
        let whole =
            |name: &str, usual: f64| format!("{}", self.number(name, usual)).parse().unwrap();
        let backend = self.argument("backend").map_or_else(
            || if self.name.contains("native") { "sglang" } else { "sglang-oai" },
            |quoted| quoted.trim_matches('\''),
        );
        let backend: domain::framework::Backend = backend.parse().unwrap_or_else(|_| {
            // The one that the tool refused.
            assert_eq!(self.name, "badbackend");
            domain::framework::Backend::Openai
        });
        let name = self.name.strip_prefix('v').and_then(|rest| rest.split_once('_'));
        let version: Version =
            name.map_or("0.5.23", |(v, _)| v).parse().unwrap_or_else(|_| "0.5.23".parse().unwrap());
        let profile = domain::profile::Profile {
            num_prompts: whole("num_prompts", 6.0),
            random_input_len: whole("random_input_len", 32.0),
            random_output_len: whole("random_output_len", 16.0),
            random_range_ratio: self.number("random_range_ratio", 1.0),
            ..crate::sglang::command::tests::profile()
        };
        let lengths = if self.argument("dataset_name") == Some("'generated-shared-prefix'") {
            Lengths { input: vec![33; 6], output: vec![8; 6] }
        } else {
            Lengths::drawn(&profile, whole("seed", 42.0), &version)
        };
        Asked { lengths, wire: backend.wire(), ignore_eos: true, capabilities, version }
    }

    fn read(&self, capabilities: Capabilities) -> Result<ToolReport, ToolFailure> {
        let asked = self.asked(capabilities);
        read(&self.stdout, &self.stderr, self.jsonl.as_deref(), self.exit, &asked)
    }

    /// One line with the numbers, or the named failure; below it the anomalies.
    fn told(&self, capabilities: Capabilities) -> String {
        match self.read(capabilities) {
            Err(failure) => {
                let hint =
                    failure.hint().map_or(String::new(), |hint| format!("\n    hint: {hint}"));
                let short: String = failure.line.chars().take(100).collect();
                format!("{}: {} `{short}`{hint}", self.name, failure.kind.as_str())
            }
            Ok(report) => {
                let of = &report.measurement;
                let metric = |metric: Metric| {
                    of.metrics.get(&metric).map_or("-".to_owned(), |value| format!("{value:.2}"))
                };
                let latency = |of| metric(Metric::Latency(of, Stat::Mean));
                let requests = &of.requests;
                let tokens = &of.tokens;
                let anomalies = of.anomalies.iter().map(|anomaly| format!("\n    {anomaly}"));
                format!(
                    "{}: {} of {} completed, {} failed, {} records; {} in, {} of {} out by {:?}; \
                     {} metrics, {} tok/s, ttft {}, tpot {}, itl {}{}",
                    self.name,
                    requests.completed,
                    requests.asked,
                    requests.failed_total(),
                    report.records.len(),
                    tokens.input,
                    tokens.output,
                    tokens.output_asked,
                    tokens.output_source,
                    of.metrics.len(),
                    metric(Metric::OutputThroughput),
                    latency(Latency::Ttft),
                    latency(Latency::Tpot),
                    latency(Latency::Itl),
                    anomalies.collect::<String>(),
                )
            }
        }
    }
}

#[test]
fn every_recorded_run_is_read_as_what_it_is() {
    let all: Vec<_> = Recording::all().iter().map(|run| run.told(EXACT)).collect();
    insta::assert_snapshot!("every_recording", all.join("\n"));
}

#[test]
fn a_server_that_ends_answers_when_it_likes_gets_no_number_from_made_up_lengths() {
    let names = ["early_cmp", "early_chat_usage", "early_native", "miderr_chat", "oai", "oai_spec"];
    let all: Vec<_> = names.iter().map(|name| Recording::open(name).told(FREE)).collect();
    insta::assert_snapshot!(all.join("\n"), @r"
    early_cmp: 6 of 6 completed, 0 failed, 6 records; 192 in, 96 of 96 out by Tool; 24 metrics, - tok/s, ttft 65.78, tpot -, itl 12.51
        the tool's JSONL is not strict JSON: request_rate: Infinity
        the tool reports 96 generated tokens, its own recount gives 96
    early_chat_usage: 6 of 6 completed, 0 failed, 6 records; 192 in, 48 of 96 out by ServerUsage; 32 metrics, 234.92 tok/s, ttft 63.79, tpot 14.54, itl 11.95
        the tool's JSONL is not strict JSON: request_rate: Infinity
        6 answers ended before the length asked for
    early_native: 6 of 6 completed, 0 failed, 6 records; 192 in, 48 of 96 out by ServerUsage; 32 metrics, 354.80 tok/s, ttft 56.39, tpot 8.99, itl 8.13
        the tool's JSONL is not strict JSON: request_rate: Infinity
        6 answers ended before the length asked for
    miderr_chat: 0 of 6 completed, 6 failed, 6 records; 0 in, 0 of 0 out by Tool; 1 metrics, - tok/s, ttft -, tpot -, itl -
        the tool's JSONL is not strict JSON: request_rate: Infinity
        6 requests failed with wrong-token-count; the first: the stream carried 8 texts for 16 tokens, and no token count of the server
        the tool ended with exit code 0 although 6 requests failed
    oai: 6 of 6 completed, 0 failed, 6 records; 192 in, 96 of 96 out by Tool; 32 metrics, 689.95 tok/s, ttft 34.31, tpot 6.20, itl 5.79
        the tool's JSONL is not strict JSON: request_rate: Infinity
    oai_spec: 6 of 6 completed, 0 failed, 6 records; 192 in, 96 of 96 out by Tool; 24 metrics, - tok/s, ttft 29.80, tpot -, itl 3.50
        the tool's JSONL is not strict JSON: request_rate: Infinity
        the tool reports 96 generated tokens, its own recount gives 192
    ");
}

#[test]
fn a_record_holds_what_the_tool_tells_of_a_request() {
    let report = Recording::open("sglang_native").read(EXACT).unwrap();
    let shown = serde_json::to_string(&report.records[2]).unwrap();
    insta::assert_snapshot!(shown, @r#"{"index":2,"chunks":[{"at_ns":60474559,"tokens":1},{"at_ns":71901974,"tokens":1},{"at_ns":78148873,"tokens":1},{"at_ns":94198547,"tokens":1},{"at_ns":106229196,"tokens":1},{"at_ns":126695608,"tokens":1},{"at_ns":142068664,"tokens":1},{"at_ns":150783595,"tokens":1},{"at_ns":164518781,"tokens":1},{"at_ns":170191392,"tokens":1},{"at_ns":178751963,"tokens":1}],"done_ns":178751963,"prompt_tokens":26,"server_prompt_tokens":7,"asked_tokens":11,"server_output_tokens":11}"#);
    let some = Recording::open("fail_some").read(EXACT).unwrap();
    insta::assert_snapshot!(serde_json::to_string(&some.records[1]).unwrap(), @r#"{"index":1,"chunks":[],"prompt_tokens":32,"asked_tokens":16,"failure":{"kind":"server-error","detail":"Internal Server Error: boom"}}"#);
}

#[test]
fn numbers_from_the_block_alone_are_those_of_the_file_to_two_decimals() {
    for run in Recording::all() {
        let Ok(exact) = run.read(EXACT) else { continue };
        let asked = run.asked(EXACT);
        let printed = read(&run.stdout, &run.stderr, None, run.exit, &asked).unwrap().measurement;
        assert!(
            printed.anomalies.contains(&Anomaly::ToolWroteNoJsonl { exit: 0 }),
            "{}: the file is missed",
            run.name
        );
        for (metric, value) in &printed.metrics {
            let Some(known) = exact.measurement.metrics.get(metric) else { continue };
            assert!((value - known).abs() <= PRINTED_WITHIN, "{}: {metric}", run.name);
        }
    }
}

#[test]
fn a_block_that_says_something_else_than_the_file_is_noted() {
    let run = Recording::open("oai");
    let lying =
        run.stdout.replace("Mean TTFT (ms):                          34.31", "Mean TTFT (ms): 9");
    let asked = run.asked(EXACT);
    let report = read(&lying, "", run.jsonl.as_deref(), run.exit, &asked).unwrap();
    let lie = report.measurement.anomalies.iter().find(|odd| odd.kind() == "tool-disagrees");
    insta::assert_snapshot!(lie.unwrap(), @"the tool printed mean_ttft_ms = 9 and wrote 34.31437766668447");
}

#[test]
fn the_last_line_of_a_file_with_earlier_runs_counts() {
    let (run, other) = (Recording::open("oai"), Recording::open("fail_some"));
    let both = other.jsonl.unwrap() + run.jsonl.as_deref().unwrap();
    let asked = run.asked(EXACT);
    let report = read(&run.stdout, "", Some(&both), run.exit, &asked).unwrap();
    assert_eq!(report, run.read(EXACT).unwrap());
}

#[test]
fn more_requests_than_were_asked_for_are_another_run() {
    let run = Recording::open("poisson");
    let asked = Recording::open("oai").asked(EXACT);
    let failure = read(&run.stdout, "", run.jsonl.as_deref(), run.exit, &asked).unwrap_err();
    assert_eq!(failure.kind, ToolFailureKind::NotThisRun);
}

#[test]
fn one_stream_that_was_cut_among_whole_ones_is_a_failure() {
    let run = Recording::open("oai_chat");
    let mut line: serde_json::Value =
        serde_json::from_str(&run.jsonl.as_ref().unwrap().replace("Infinity", "null")).unwrap();
    line["itls"][3].as_array_mut().unwrap().truncate(7);
    let asked = run.asked(EXACT);
    let report = read(&run.stdout, "", Some(&line.to_string()), run.exit, &asked).unwrap();
    let failure = report.records[3].failure.as_ref().unwrap();
    insta::assert_snapshot!(failure, @"wrong-token-count: the stream carried 8 texts for 16 tokens, where most requests have one a token");
    assert_eq!(report.measurement.metrics.len(), 1, "only the duration did not count it");
}

#[test]
fn a_run_cut_at_any_byte_is_a_failure_or_the_whole_truth() {
    let run = Recording::open("empty_some");
    let asked = run.asked(EXACT);
    let whole = run.read(EXACT).unwrap();
    let jsonl = run.jsonl.as_deref().unwrap();
    for cut in (0..run.stdout.len()).filter(|cut| run.stdout.is_char_boundary(*cut)) {
        let read = read(&run.stdout[..cut], &run.stderr, None, ToolExit::Code(0), &asked);
        assert_eq!(read.unwrap_err().kind, ToolFailureKind::NoResult, "stdout cut at {cut}");
    }
    for cut in (0..jsonl.len()).filter(|cut| jsonl.is_char_boundary(*cut)) {
        match read("", &run.stderr, Some(&jsonl[..cut]), ToolExit::Code(0), &asked) {
            Err(failure) => assert_eq!(failure.kind, ToolFailureKind::NoResult, "{cut}"),
            // Only the end of the line is gone.
            Ok(report) => assert_eq!(report.records, whole.records, "jsonl cut at {cut}"),
        }
    }
}

proptest! {
    #[test]
    fn the_reader_never_panics(stdout: String, stderr: String, jsonl: Option<String>, code: i32) {
        let asked = Recording::open("oai").asked(EXACT);
        let _ = read(&stdout, &stderr, jsonl.as_deref(), ToolExit::Code(code), &asked);
        let _ = read(&stdout, &stderr, jsonl.as_deref(), ToolExit::Signal(code), &asked);
    }

    /// Garbage in the places where numbers stand.
    #[test]
    fn a_file_with_any_values_is_read_or_refused(
        completed in prop_oneof![Just("6".to_owned()), "[-0-9eE.]{1,12}", Just("null".to_owned())],
        ttft in prop_oneof![any::<f64>().prop_map(|v| format!("{v:?}")), Just("NaN".to_owned())],
        itl in any::<f64>(),
        output in any::<u32>(),
        error in ".{0,40}",
    ) {
        let error = serde_json::to_string(&error).unwrap();
        let jsonl = format!(
            "{{\"completed\": {completed}, \"duration\": {itl:?}, \"input_lens\": [32], \
             \"output_lens\": [{output}], \"ttfts\": [{ttft}], \"itls\": [[{itl:?}, 0.5]], \
             \"errors\": [{error}]}}"
        );
        let asked = Recording::open("oai").asked(EXACT);
        if let Ok(report) = read("", "", Some(&jsonl), ToolExit::Code(0), &asked) {
            prop_assert!(report.measurement.metrics.values().all(|value| value.is_finite()));
        }
    }
}
