//! The engine with real processes: small shell scripts in the place of Python where the tool's
//! own behaviour does not matter, and the real tool where it is installed.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use domain::facts::{Capabilities, ServerFacts};
use domain::failure::FailureKind;
use domain::framework::{Backend, Framework};
use domain::metric::Metric;

use super::*;
use crate::sglang::command::tests::profile;
use crate::sglang::failure::ToolFailureKind;
use crate::sglang::find::{Launcher, find};

const URL: &str = "http://127.0.0.1:1";

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/bench_serving")
}

fn verified(url: &str) -> Evidence<ServerVerified> {
    let facts = ServerFacts {
        framework: Framework::Sim,
        url: url.to_owned(),
        model: "sim".to_owned(),
        version: None,
        pid: None,
        rungs: Vec::new(),
        capabilities: EXACT,
        resolved: std::collections::BTreeMap::new(),
        contract: domain::contract::Contract::unsaid(),
    };
    sequencer::server::judge(&facts, &[]).unwrap()
}

const EXACT: Capabilities =
    Capabilities { forces_length: true, reports_usage: true, flushes_cache: true };

/// A folder for one run, and what is needed to start it.
struct Bench {
    folder: tempfile::TempDir,
    profile: Profile,
    tokenizer: PathBuf,
    progress: Progress,
}

impl Bench {
    /// A run of 6 requests of 32 tokens in and 16 out, as in most recordings.
    fn new() -> Self {
        let profile =
            Profile { num_prompts: 6, random_input_len: 32, random_output_len: 16, ..profile() };
        Self {
            folder: tempfile::tempdir().unwrap(),
            profile,
            tokenizer: fixtures().join("tok_nobos"),
            progress: Progress::new(6),
        }
    }

    fn files(&self) -> Files {
        let at = |name: &str| self.folder.path().join(name);
        Files { raw: at("raw/run.txt"), jsonl: at("run.jsonl"), home: at("home") }
    }

    /// A tool that is a shell script.
    fn script(&self, text: &str) -> Tool {
        let python = self.folder.path().join("python");
        fs::write(&python, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&python, fs::Permissions::from_mode(0o755)).unwrap();
        let version = "0.5.23".parse().unwrap();
        Tool { python, launcher: Launcher::SERVING, version, user_base: None }
    }

    fn order<'a>(&'a self, url: &'a str, backend: Backend) -> Order<'a> {
        Order {
            base_url: url,
            model: "sim",
            backend,
            profile: &self.profile,
            seed: 42,
            tokenizer: &self.tokenizer,
            capabilities: EXACT,
            deadline: Duration::from_secs(120),
            env: &[],
        }
    }

    async fn drive(&self, tool: &Tool, order: &Order<'_>) -> Result<Driven, ToolError> {
        let (_sender, stop) = watch::channel(false);
        drive(tool, order, &self.files(), &verified(order.base_url), &self.progress, stop).await
    }

    fn raw(&self) -> String {
        fs::read_to_string(self.files().raw).unwrap()
    }
}

/// Plays a recording: its output, its file, its exit code.
fn play(name: &str, exit: u8) -> String {
    let file = |kind: &str| fixtures().join(format!("{name}.{kind}")).display().to_string();
    format!(
        "while [ \"$1\" != --output-file ]; do shift; done\n\
         cat '{}'; cat '{}' >&2; cp '{}' \"$2\" 2>/dev/null; exit {exit}",
        file("stdout.txt"),
        file("stderr.txt"),
        file("jsonl"),
    )
}

#[tokio::test]
async fn output_is_kept_to_the_byte_and_read() {
    let bench = Bench::new();
    let tool = bench.script(&play("sglang_native", 0));
    let uneven = Profile { random_range_ratio: 0.5, ..bench.profile.clone() };
    let order = Order { profile: &uneven, ..bench.order(URL, Backend::Sglang) };
    let driven = bench.drive(&tool, &order).await.unwrap();
    let at = |kind: &str| fs::read(fixtures().join(format!("sglang_native.{kind}.txt"))).unwrap();
    assert_eq!(bench.raw().into_bytes(), at("stdout"));
    assert_eq!(fs::read(bench.files().stderr()).unwrap(), at("stderr"));
    assert_eq!(driven.report.measurement.requests.completed, 6);
    assert_eq!(driven.report.measurement.tokens.output, 78);
    assert!(driven.started <= driven.finished);
    assert!(!bench.files().home.exists(), "its home is removed");
}

#[tokio::test]
async fn a_failed_run_says_why_and_keeps_its_output() {
    let bench = Bench::new();
    let tool = bench.script(&play("die", 1));
    let error = bench.drive(&tool, &bench.order(URL, Backend::Vllm)).await.unwrap_err();
    let ToolError::Failed(failure) = &error else { panic!("{error}") };
    assert_eq!(failure.kind, ToolFailureKind::CrashedAfterResults);
    assert!(bench.raw().contains("Serving Benchmark Result"));
}

#[tokio::test]
async fn a_stop_ends_the_tool() {
    let bench = Bench::new();
    let tool = bench.script("echo here; exec sleep 1000");
    let (sender, stop) = watch::channel(false);
    let order = bench.order(URL, Backend::Vllm);
    let (files, verified) = (bench.files(), verified(URL));
    let driving = drive(&tool, &order, &files, &verified, &bench.progress, stop);
    let stopping = async {
        // The stop comes once the tool has said something.
        while fs::read_to_string(&files.raw).map_or(true, |text| text.is_empty()) {
            tokio::task::yield_now().await;
        }
        sender.send(true).unwrap();
    };
    let (driven, ()) = tokio::join!(driving, stopping);
    let error = driven.unwrap_err();
    assert!(matches!(error, ToolError::Stopped { means: Signal::SIGINT }), "{error}");
    assert_eq!(bench.raw(), "here\n");
}

#[tokio::test]
async fn the_deadline_ends_the_tool() {
    let bench = Bench::new();
    let tool = bench.script("exec sleep 1000");
    let short = Duration::from_millis(20);
    let order = Order { deadline: short, ..bench.order(URL, Backend::Vllm) };
    let error = bench.drive(&tool, &order).await.unwrap_err();
    assert!(matches!(error, ToolError::Late { limit, .. } if limit == short), "{error}");
}

#[tokio::test]
async fn a_tool_that_will_not_leave_is_killed() {
    let bench = Bench::new();
    let tool = bench.script("trap '' INT TERM\necho deaf; while :; do sleep 0.05; done");
    let files = bench.files();
    let outputs = Outputs::create(&files).await.unwrap();
    let made = Invocation { arguments: Vec::new(), env: Vec::new() };
    let mut running = Running::spawn(&tool, &made, &files, outputs, &bench.progress).unwrap();
    while bench.raw().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(running.ask_to_leave(Duration::from_millis(100)).await, Signal::SIGKILL);
}

#[tokio::test]
async fn what_the_tool_leaves_behind_is_ended() {
    let bench = Bench::new();
    let tool = bench.script("sleep 1000 & echo $!");
    let error = bench.drive(&tool, &bench.order(URL, Backend::Vllm)).await.unwrap_err();
    let ToolError::Failed(failure) = &error else { panic!("{error}") };
    assert_eq!(failure.kind, ToolFailureKind::NoResult);
    let pid: u32 = bench.raw().trim().parse().unwrap();
    // Where nobody collects orphans it stays as a zombie, which runs nothing.
    let gone = || match fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => stat.contains(") Z "),
        Err(_) => true,
    };
    while !gone() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nothing_is_started_where_something_is_amiss() {
    let bench = Bench::new();
    let tool = bench.script("echo must not run");
    let elsewhere = Order { base_url: "http://127.0.0.1:2", ..bench.order(URL, Backend::Vllm) };
    let (_sender, stop) = watch::channel(false);
    let (files, verified) = (bench.files(), verified(URL));
    let other = drive(&tool, &elsewhere, &files, &verified, &bench.progress, stop);
    let none = Order { tokenizer: Path::new("/nonexistent"), ..bench.order(URL, Backend::Vllm) };
    let ollama = bench.order(URL, Backend::Ollama);
    let told = [
        other.await.unwrap_err(),
        bench.drive(&tool, &none).await.unwrap_err(),
        bench.drive(&tool, &ollama).await.unwrap_err(),
    ];
    let told = told.map(|error| match std::error::Error::source(&error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    });
    insta::assert_snapshot!(told.join("\n"), @"
    `http://127.0.0.1:1` was verified, but the load is for `http://127.0.0.1:2`
    tokenizer `/nonexistent/tokenizer.json` does not exist
    the load cannot be made with SGLang's tool: SGLang's load tool has no backend for `ollama`
    ");
    assert!(!bench.files().raw.exists());
}

#[tokio::test]
async fn files_are_never_overwritten() {
    let bench = Bench::new();
    let tool = bench.script("echo must not run");
    fs::write(bench.files().jsonl, "kept").unwrap();
    let error = bench.drive(&tool, &bench.order(URL, Backend::Vllm)).await.unwrap_err();
    assert!(matches!(error, ToolError::File { .. }), "{error}");
    assert_eq!(fs::read_to_string(bench.files().jsonl).unwrap(), "kept");
}

/// The real tool, or none with a line that says so.
async fn real_tool(test: &str) -> Option<Tool> {
    let parts = std::env::var_os("SERVEGATE_PARTS").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../target/parts"),
        PathBuf::from,
    );
    let python = parts.join("sglang-tool/bin/python");
    match find(&[python]).await {
        Ok(tool) => Some(tool),
        Err(error) => {
            let line = format!("SKIPPED {test}: {error}\n");
            eprint!("{line}");
            if let Some(list) = std::env::var_os("SERVEGATE_SKIPPED") {
                let list = fs::OpenOptions::new().create(true).append(true).open(list);
                list.and_then(|mut list| list.write_all(line.as_bytes())).unwrap();
            }
            None
        }
    }
}

/// A simulated server that is quick and honest but for what `faults` names.
async fn server(faults: &[&str]) -> sim::Running {
    let faults = faults.iter().map(|fault| fault.parse().unwrap()).collect();
    sim::start(sim::Config { faults, ..sim::Config::steady() }).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_tool_measures_every_backend() {
    let Some(tool) = real_tool("the_real_tool_measures_every_backend").await else { return };
    let server = server(&[]).await;
    for backend in [Backend::Sglang, Backend::Openai, Backend::OpenaiChat] {
        let bench = Bench::new();
        let url = server.url();
        let driven = bench.drive(&tool, &bench.order(&url, backend)).await.unwrap();
        let measured = &driven.report.measurement;
        assert_eq!(measured.requests.completed, 6, "{backend}: {measured:?}");
        assert_eq!(measured.requests.failed_total(), 0, "{backend}");
        assert_eq!((measured.tokens.input, measured.tokens.output), (192, 96), "{backend}");
        assert!(Metric::KEY.iter().all(|key| measured.metrics.contains_key(key)), "{backend}");
        let odd: Vec<_> = measured.anomalies.iter().map(domain::anomaly::Anomaly::kind).collect();
        assert_eq!(odd, ["tool-wrote-non-json"], "{backend}");
        assert!(driven.report.records.iter().all(|record| record.chunks.len() == 16));
        assert_eq!(bench.progress.snapshot().completed, 6, "{backend}: the bar was read");
        assert!(driven.started < driven.finished, "{backend}");
    }
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_tool_takes_its_prompts_from_a_file_at_a_pace() {
    let test = "the_real_tool_takes_its_prompts_from_a_file_at_a_pace";
    let Some(tool) = real_tool(test).await else { return };
    let mut bench = Bench::new();
    let texts = bench.folder.path().join("texts.json");
    let turns = [("value", "alpha beta gamma delta"), ("value", "the self return")]
        .map(|turn| serde_json::Map::from_iter([(turn.0.to_owned(), turn.1.into())]));
    let conversations = vec![serde_json::json!({ "conversations": turns }); 4];
    fs::write(&texts, serde_json::to_string(&conversations).unwrap()).unwrap();
    bench.profile.dataset_name = Dataset::Random;
    bench.profile.dataset_path = Some(texts);
    bench.profile.request_rate = "50".parse().unwrap();
    bench.profile.random_range_ratio = 0.0;
    let server = server(&[]).await;
    let url = server.url();
    let driven = bench.drive(&tool, &bench.order(&url, Backend::Sglang)).await.unwrap();
    // The file has 4 texts for 6 requests, which the tool passes over in silence.
    let measured = &driven.report.measurement;
    assert_eq!((measured.requests.completed, measured.requests.failed_total()), (4, 0));
    let odd: Vec<_> = measured.anomalies.iter().map(domain::anomaly::Anomaly::kind).collect();
    assert_eq!(odd, ["fewer-requests"], "a finite rate is strict JSON");
    server.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_that_the_real_tool_hides_are_found() {
    let Some(tool) = real_tool("failures_that_the_real_tool_hides_are_found").await else { return };
    let cases = [
        ("done-only:every=3", Backend::Openai, FailureKind::NoTokens),
        ("error-500:every=3", Backend::Openai, FailureKind::ServerError),
        ("drop-mid-stream:every=3", Backend::OpenaiChat, FailureKind::ConnectionLost),
        ("error-mid-stream:every=3", Backend::OpenaiChat, FailureKind::WrongTokenCount),
        ("error-mid-stream:every=3", Backend::Sglang, FailureKind::WrongTokenCount),
    ];
    for (fault, backend, kind) in cases {
        let bench = Bench::new();
        let server = server(&[fault]).await;
        let url = server.url();
        let driven = bench.drive(&tool, &bench.order(&url, backend)).await.unwrap();
        let requests = &driven.report.measurement.requests;
        assert_eq!(requests.failed.get(&kind), Some(&2), "{fault} on {backend}: {requests:?}");
        assert_eq!(requests.completed, 4, "{fault} on {backend}");
        server.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_tool_names_a_server_that_answers_nothing() {
    let Some(tool) = real_tool("the_real_tool_names_a_server_that_answers_nothing").await else {
        return;
    };
    let bench = Bench::new();
    let server = server(&["error-500"]).await;
    let url = server.url();
    let error = bench.drive(&tool, &bench.order(&url, Backend::Openai)).await.unwrap_err();
    let ToolError::Failed(failure) = &error else { panic!("{error}") };
    assert_eq!(failure.kind, ToolFailureKind::WarmUpFailed, "{failure}");
    server.stop().await.unwrap();
}
