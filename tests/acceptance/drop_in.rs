//! `load` as a drop-in for `python3 -m sglang.benchmark.serving`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use domain::anomaly::Anomaly;
use domain::facts::Capabilities;
use domain::framework::Wire;
use load::sglang::{Asked, Lengths, ToolExit, read};
use serde_json::Value;

use crate::recorder::Recorder;
use crate::world::{Ended, World, ended, part, skip};

fn fixtures() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    root.join("tests/fixtures/bench_serving").canonicalize().expect("fixtures")
}

fn text(path: &Path) -> String {
    path.to_str().expect("a path of plain characters").to_owned()
}

/// One command line, for the tool and for us.
struct Case {
    name: &'static str,
    tokenizer: PathBuf,
    flags: Vec<String>,
}

fn case(name: &'static str, tokenizer: &Path, flags: &str) -> Case {
    let flags = flags.split_whitespace().map(str::to_owned).collect();
    Case { name, tokenizer: tokenizer.to_owned(), flags }
}

/// Conversations in both formats, with some that have to be left out.
fn conversations(world: &World) -> (String, String) {
    let words = ["def", "return", "self", "é", "values", "import", "x = 1", "\\n", "😀"];
    let talk = |i: usize| {
        let prompt: Vec<_> = (0..i % 7 * 3).map(|j| words[(i + j) % words.len()]).collect();
        let answer = words[i % words.len()].repeat(i % 5 + 1);
        (prompt.join(" "), answer)
    };
    let gpt = (0..30).map(talk).map(|(a, b)| {
        serde_json::json!({"conversations": [{"from": "human", "value": a}, {"value": b}]})
    });
    let gpt = Value::Array(gpt.chain([serde_json::json!({"conversations": []})]).collect());
    let custom = (0..30).map(talk).map(|(a, b)| {
        let key = if a.len() % 2 == 0 { "content" } else { "value" };
        serde_json::json!({"conversation": [{key: a}, {key: b}, {key: "more"}]}).to_string() + "\n"
    });
    let custom: String = custom.collect::<String>() + "\n{broken\n{\"conversations\": []}\n";
    let (one, two) = (world.path().join("gpt.json"), world.path().join("custom.jsonl"));
    fs::write(&one, gpt.to_string()).unwrap();
    fs::write(&two, custom).unwrap();
    (text(&one), text(&two))
}

fn cases(world: &World) -> Vec<Case> {
    let (bos, plain) = (fixtures().join("tok_bos"), fixtures().join("tok_nobos"));
    let (gpt, custom) = conversations(world);
    let in_order = "--max-concurrency 1 --output-file out.jsonl --disable-tqdm";
    let with = |flags: &str| format!("{flags} {in_order}");
    vec![
        case(
            "ids",
            &bos,
            &with(
                "--backend sglang --dataset-name random-ids --num-prompt 9 --random-input 40 --random-output 12 --seed 7 --temperature 0.7 --top-p 0.95 --warmup 2",
            ),
        ),
        case(
            "texts",
            &bos,
            &with(&format!(
                "--backend sglang-oai --dataset-name random --dataset-path {gpt} --num-prompts 12 --random-input-len 20 --random-output-len 9 --random-range-ratio 0.3"
            )),
        ),
        case(
            "sharegpt",
            &plain,
            &with(&format!(
                "--backend sglang-oai-chat --dataset-name sharegpt --dataset-path {gpt} --num-prompts 15 --prompt-suffix Go! --sharegpt-context-len 60 --disable-stream --seed 3"
            )),
        ),
        case(
            "custom",
            &bos,
            &with(&format!(
                "--backend vllm --dataset-name custom --dataset-path {custom} --num-prompts 40 --sharegpt-output-len 6 --disable-ignore-eos --extra-request-body {{\"best_of\":2,\"temperature\":1e-5,\"x\":[\"é\",null]}} --header x-a=1 X-B=c=d"
            )),
        ),
        case(
            "groups",
            &plain,
            &with(
                "--backend vllm-chat --dataset-name generated-shared-prefix --gsp-num-groups 3 --gsp-prompts-per-group 4 --gsp-system-prompt-len 30 --gsp-question-len 7 --gsp-output-len 5 --gsp-range-ratio 0.5 --gsp-group-distribution zipf --gsp-zipf-alpha 1.3 --gsp-ordered",
            ),
        ),
        case(
            "token-ids",
            &plain,
            &with(
                "--backend sglang --dataset-name generated-shared-prefix --gsp-num-groups 2 --gsp-prompts-per-group 5 --gsp-system-prompt-len 20 --gsp-question-len 4 --gsp-output-len 3 --tokenize-prompt --return-logprob --top-logprobs-num 2 --token-ids-logprob 5 6 --flush-cache",
            ),
        ),
    ]
}

/// Sends a case with the real tool to a recorder, and gives what arrived.
fn sent_by_tool(world: &World, python: &Path, case: &Case) -> Vec<String> {
    let recorder = Recorder::start(&case.tokenizer);
    // Every run has a home of its own: the tool keeps prompts of earlier runs there.
    let home = world.path().join(format!("home-{}", case.name));
    fs::create_dir(&home).unwrap();
    let mut command = Command::new(python);
    command
        .args(["-c", include_str!("../../xtask/crates/load/src/sglang/runner.py")])
        .args(["--host", "127.0.0.1", "--port", &recorder.port()])
        .args(&case.flags)
        .current_dir(&home)
        .env("HOME", &home)
        .envs([("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1"), ("NO_PROXY", "127.0.0.1")])
        .env_remove("OPENAI_API_KEY")
        .env_remove("API_KEY");
    ended(world.start(command)).expect(0);
    recorder.bodies()
}

/// The same with `load`.
fn sent_by_us(world: &World, case: &Case) -> Vec<String> {
    let recorder = Recorder::start(&case.tokenizer);
    let port = recorder.port();
    let args = ["load", "--host", "127.0.0.1", "--port", &port].map(str::to_owned);
    let args: Vec<_> = args.iter().chain(&case.flags).map(String::as_str).collect();
    world.run(&args).expect(0);
    recorder.bodies()
}

#[test]
fn the_real_tool_and_load_send_the_same_bytes_in_the_same_order() {
    let name = "drop_in::the_real_tool_and_load_send_the_same_bytes_in_the_same_order";
    let Some(tool) = part(name, "sglang-tool") else { return };
    let python = tool.join("bin/python");
    let world = World::new();
    let mut cases = cases(&world);
    match part(name, "llama") {
        Some(llama) => cases.push(case(
            "151k-tokens",
            &llama.join("tiny-qwen2"),
            "--backend sglang-oai --dataset-name random-ids --num-prompts 20 --random-input-len 300 --random-output-len 3 --max-concurrency 1 --output-file out.jsonl --disable-tqdm",
        )),
        None => skip(name, "the real vocabulary of 151,000 tokens is not compared"),
    }
    for case in &cases {
        let (theirs, ours) = (sent_by_tool(&world, &python, case), sent_by_us(&world, case));
        assert!(1 < theirs.len(), "{}", case.name);
        assert_eq!(theirs, ours, "{}", case.name);
    }
}

/// A run against the simulated server, and the line that it appended.
fn loaded(world: &World, extra: &[&str]) -> (Ended, String) {
    let recorder = Recorder::start(&fixtures().join("tok_nobos"));
    let port = recorder.port();
    let args = [
        "load",
        "--backend",
        "sglang-oai-chat",
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--dataset-name",
        "random-ids",
        "--num-prompts",
        "6",
        "--random-input-len",
        "32",
        "--random-output-len",
        "16",
        "--random-range-ratio",
        "1",
        "--output-file",
        "out.jsonl",
    ];
    let ended = world.run(&[&args[..], extra].concat()).expect(0);
    let file = fs::read_to_string(world.path().join("out.jsonl")).unwrap();
    (ended, file)
}

#[test]
fn the_reader_of_the_tool_reads_our_block_and_our_line() {
    let world = World::new();
    for extra in [&[][..], &["--output-details", "--goodput", "ttft:500", "--cache-report"]] {
        let (ended, file) = loaded(&world, extra);
        let asked = Asked {
            lengths: Lengths { input: vec![32; 6], output: vec![16; 6] },
            wire: Wire::OpenaiChat,
            ignore_eos: true,
            capabilities: Capabilities {
                forces_length: true,
                reports_usage: true,
                flushes_cache: true,
            },
            version: "0.5.23".parse().unwrap(),
        };
        let both = read(&ended.stdout, &ended.stderr, Some(&file), ToolExit::Code(0), &asked);
        let both = both.expect("the reader understands").measurement;
        assert_eq!((both.requests.completed, both.requests.failed_total()), (6, 0));
        assert_eq!((both.tokens.input, both.tokens.output), (192, 96));
        let odd = |anomaly: &&Anomaly| {
            matches!(anomaly, Anomaly::ToolDisagrees { .. } | Anomaly::ToolWroteNonJson { .. })
        };
        assert_eq!(both.anomalies.iter().find(odd), None);
        let block = read(&ended.stdout, "", None, ToolExit::Code(0), &asked).unwrap().measurement;
        let line: Value = serde_json::from_str(file.lines().last().unwrap()).unwrap();
        for (metric, value) in &both.metrics {
            assert_eq!(line[metric.key()].as_f64(), Some(*value), "{metric:?}");
            if let Some(printed) = block.metrics.get(metric) {
                assert!((printed - value).abs() <= 0.005 + 1e-9, "{metric:?}");
            }
        }
    }
    assert_eq!(fs::read_to_string(world.path().join("out.jsonl")).unwrap().lines().count(), 2);
}

#[test]
fn one_failed_request_ends_with_exit_code_4_and_is_told() {
    let world = World::new();
    // The warm-up and three of the load are answered.
    let recorder = Recorder::refusing(&fixtures().join("tok_nobos"), 4);
    let port = recorder.port();
    let args = [
        "load",
        "--backend",
        "vllm",
        "--port",
        &port,
        "--dataset-name",
        "random-ids",
        "--num-prompts",
        "5",
        "--random-input-len",
        "8",
        "--random-output-len",
        "4",
        "--max-concurrency",
        "1",
        "--output-file",
        "out.jsonl",
        "--output-details",
        "--header",
        "x-key=v",
    ];
    let args = [&args[..], &["--tokenizer", "embedded", "--seed", "9"]].concat();
    let ended = world.run(&args).expect(4);
    assert!(
        ended.stdout.contains("Successful requests:                     3"),
        "{}",
        ended.stdout
    );
    assert!(
        ended.stdout.contains("Failed requests:                         2"),
        "{}",
        ended.stdout
    );
    let file = fs::read_to_string(world.path().join("out.jsonl")).unwrap();
    let line: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(line["servegate"]["requests_failed"], serde_json::json!({"server-error": 2}));
    let errors = line["errors"].as_array().unwrap();
    assert_eq!(errors.iter().filter(|error| *error == "").count(), 3);
    assert!(recorder.heads().iter().all(|head| head.contains("x-key: v\r\n")));
}

#[test]
fn what_cannot_be_done_is_refused_before_anything_is_sent() {
    let world = World::new();
    let wrong: [&[&str]; 6] = [
        &["--lora-name", "a"],
        &["--random-i", "3"],
        &["--dataset-name", "random", "--tokenizer", "embedded"],
        &["--dataset-name", "random-ids", "--output-file", "no/such/folder/x.jsonl"],
        &["--dataset-name", "random-ids", "--tokenizer", "org/unknown"],
        &["--dataset-name", "random-ids", "--tokenize-prompt", "--backend", "vllm"],
    ];
    let told = wrong.map(|flags| {
        let ended = world.run(&[&["load"], flags].concat()).expect(64);
        format!("$ servegate load {}\n{}", flags.join(" "), ended.stderr)
    });
    insta::assert_snapshot!(told.join("\n"));
}
