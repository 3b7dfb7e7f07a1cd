use std::path::{Path, PathBuf};

use domain::profile::{Arrivals, RequestRate};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/bench_serving")
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_folder(&fixtures().join(name)).unwrap()
}

fn profile(n: u32, input: u32, output: u32, ratio: f64) -> Profile {
    Profile {
        name: "test".to_owned(),
        dataset_name: Dataset::RandomIds,
        dataset_path: None,
        num_prompts: n,
        random_input_len: input,
        random_output_len: output,
        random_range_ratio: ratio,
        request_rate: RequestRate::INFINITE,
        arrivals: Arrivals::Poisson,
        max_concurrency: None,
        warmup_requests: 1,
        seed: 42,
        ignore_eos: true,
        workload: domain::profile::Workload::USUAL,
    }
}

/// Prompt and output length of every `/generate` that the real tool sent after its warm-up, in
/// the order in which the server saw them.
fn captured(name: &str) -> Vec<(String, u64)> {
    let text = std::fs::read_to_string(fixtures().join(name)).unwrap();
    let requests = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let sent = requests.filter(|request| request["path"] == "/generate").map(|request| {
        let body = &request["body"];
        let prompt = body["text"].as_str().unwrap().to_owned();
        (prompt, body["sampling_params"]["max_new_tokens"].as_u64().unwrap())
    });
    sent.skip(1).collect()
}

fn made(profile: &Profile, tokenizer: &Tokenizer) -> Vec<(String, u64)> {
    let set = prepare(profile, profile.seed, tokenizer).unwrap();
    let sent = set.requests().iter();
    sent.map(|request| (text(&request.prompt).to_owned(), u64::from(request.output_len))).collect()
}

fn text(prompt: &Prompt) -> &str {
    match prompt {
        Prompt::Text(text) => text,
        Prompt::Ids(ids) => panic!("{ids:?}"),
    }
}

fn sorted(mut rows: Vec<(String, u64)>) -> Vec<(String, u64)> {
    rows.sort();
    rows
}

#[test]
fn random_ids_are_the_prompts_that_the_python_tool_sent() {
    let tokenizer = tokenizer("tok_nobos");
    // A burst reaches the server in any order, so that bursts are compared as sets.
    let burst = made(&profile(6, 32, 16, 0.5), &tokenizer);
    assert_eq!(sorted(burst), sorted(captured("sglang_native.req.jsonl")));
    let equal_lengths = made(&profile(6, 32, 16, 1.0), &tokenizer);
    assert_eq!(sorted(equal_lengths), sorted(captured("deprecated.req.jsonl")));
}

#[test]
fn a_poisson_load_has_the_prompts_and_the_gaps_of_the_python_tool() {
    let spaced = Profile { request_rate: "20".parse().unwrap(), ..profile(40, 32, 8, 0.5) };
    let tokenizer = tokenizer("tok_nobos");
    assert_eq!(made(&spaced, &tokenizer), captured("poisson.req.jsonl"));
    // The server's clock saw these gaps; the tool's sleeps add up to a few milliseconds each.
    let set = prepare(&spaced, 42, &tokenizer).unwrap();
    let due: Vec<f64> = set.requests().iter().map(|request| request.due.as_secs_f64()).collect();
    let gaps = due.windows(2).map(|pair| pair[1] - pair[0]);
    for (gap, seen) in gaps.zip([0.0067, 0.0302, 0.0099, 0.1136, 0.0359, 0.0417]) {
        assert!((gap - seen).abs() < 0.01, "{gap} was seen as {seen}");
    }
}

#[test]
fn a_tokenizer_with_a_first_token_gets_shorter_prompts() {
    let tokenizer = tokenizer("tok_bos");
    let profile = profile(6, 32, 16, 1.0);
    assert_eq!(sorted(made(&profile, &tokenizer)), sorted(captured("bos.req.jsonl")));
    let set = prepare(&profile, 42, &tokenizer).unwrap();
    assert_eq!(set.requests().iter().map(|request| request.prompt_len).sum::<u32>(), 186);
}

pub(super) fn share_gpt(folder: &Path, rows: &Value) -> PathBuf {
    let path = folder.join("sg.json");
    std::fs::write(&path, rows.to_string()).unwrap();
    path
}

/// The file that the captures with `random` were made with.
pub(super) fn twenty_questions() -> Value {
    let question = |i| format!("question {i} about self and return values def foo(x): pass ");
    let rows = (0..20).map(
        |i| serde_json::json!({ "conversations": [{ "value": question(i) }, { "value": "yes" }] }),
    );
    Value::Array(rows.collect())
}

#[test]
fn random_texts_are_the_prompts_that_the_python_tool_sent() {
    let folder = tempfile::tempdir().unwrap();
    let texts = |n| Profile {
        dataset_name: Dataset::Random,
        dataset_path: Some(share_gpt(folder.path(), &twenty_questions())),
        ..profile(n, 32, 16, 0.0)
    };
    let tokenizer = tokenizer("tok_nobos");
    assert_eq!(sorted(made(&texts(6), &tokenizer)), sorted(captured("random_local.req.jsonl")));
    let short = made(&texts(30), &tokenizer);
    assert_eq!(sorted(short), sorted(captured("random_local_short.req.jsonl")));
    let set = prepare(&texts(30), 42, &tokenizer).unwrap();
    assert_eq!((set.asked(), set.requests().len()), (30, 20));
}

#[test]
fn a_file_without_usable_conversations_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let rows = serde_json::json!([
        {},
        { "conversations": [{ "value": "alone" }] },
        { "conversation": [{ "value": " " }, { "value": "b" }] },
    ]);
    let path = share_gpt(folder.path(), &rows);
    let texts = Profile {
        dataset_name: Dataset::Random,
        dataset_path: Some(path),
        ..profile(2, 8, 8, 1.0)
    };
    let error = prepare(&texts, 1, &Tokenizer::embedded()).unwrap_err();
    assert!(matches!(error, WorkloadError::NothingUsable { .. }), "{error}");
    let without = Profile { dataset_path: None, ..texts };
    let error = prepare(&without, 1, &Tokenizer::embedded()).unwrap_err();
    assert_eq!(error.to_string(), "dataset `random` needs `dataset_path`");
}

#[test]
fn numbers_out_of_range_are_refused_by_name() {
    let refused = |profile| prepare(&profile, 1, &Tokenizer::embedded()).unwrap_err().to_string();
    insta::assert_snapshot!(refused(profile(0, 8, 8, 1.0)), @"`num_prompts` is 0, it must be at least 1");
    insta::assert_snapshot!(refused(profile(8, 8, 0, 1.0)), @"`random_output_len` is 0, it must be at least 1");
    insta::assert_snapshot!(refused(profile(8, 8, 8, f64::NAN)), @"`random_range_ratio` is NaN, it must be 0 to 1");
}

proptest! {
    #[test]
    fn a_set_is_a_function_of_its_seed_and_keeps_the_lengths_in_range(
        seed in 0..1000u32, n in 1..20u32, input in 1..200u32, output in 1..200u32, ratio in 0.0..=1.0f64,
    ) {
        let profile = profile(n, input, output, ratio);
        let tokenizer = Tokenizer::embedded();
        let set = prepare(&profile, seed, &tokenizer).unwrap();
        prop_assert_eq!(&set, &prepare(&profile, seed, &tokenizer).unwrap());
        prop_assert_eq!(set.requests().len(), n as usize);
        for (request, index) in set.requests().iter().zip(0u32..) {
            prop_assert_eq!(request.index, index);
            prop_assert!((1..=input).contains(&request.prompt_len));
            prop_assert!((1..=output).contains(&request.output_len));
            prop_assert_eq!(text(&request.prompt).split_whitespace().count(), request.prompt_len as usize);
        }
    }
}

/// Every group of `generated-shared-prefix` small enough to draw often.
fn shared_prefix(n: u32, ratio: f64) -> Profile {
    let mut profile = profile(n, 16, 16, ratio);
    profile.dataset_name = Dataset::GeneratedSharedPrefix;
    let gsp = &mut profile.workload.gsp;
    (gsp.num_groups, gsp.prompts_per_group) = (2, n.div_ceil(2));
    (gsp.system_prompt_len, gsp.question_len, gsp.output_len) = (24, 16, 16);
    gsp.range_ratio = ratio;
    profile
}

proptest! {
    #[test]
    fn repeats_have_equal_lengths_and_arrivals_and_no_prompt_in_common(
        seed in 0..10_000u32, repeat in 1..8u32, n in 2..16u32, ratio in 0.0..=1.0f64, rate in 1..100u32,
    ) {
        for mut profile in [profile(n, 256, 64, ratio), shared_prefix(n, ratio)] {
            profile.seed = seed;
            profile.request_rate = rate.to_string().parse().unwrap();
            let tokenizer = Tokenizer::embedded();
            let first = prepare(&profile, seed, &tokenizer).unwrap();
            let again = prepare(&profile, seed + repeat, &tokenizer).unwrap();
            let work = |set: &RequestSet| {
                let of = |request: &Request| {
                    (request.index, request.prompt_len, request.output_len, request.due)
                };
                set.requests().iter().map(of).collect::<Vec<_>>()
            };
            prop_assert_eq!(work(&first), work(&again));
            prop_assert_ne!(first.fingerprint(), again.fingerprint());
            // Prompts of a few words may meet by chance.
            let long = |set: &RequestSet| {
                let prompts = set.requests().iter().filter(|request| 8 <= request.prompt_len);
                prompts.map(|request| text(&request.prompt).to_owned()).collect::<Vec<_>>()
            };
            let known = long(&first);
            let met = long(&again).into_iter().filter(|prompt| known.contains(prompt)).count();
            prop_assert!(met <= known.len() / 4, "{met} of {}", known.len());
        }
    }
}

#[test]
fn a_fingerprint_is_stable_and_tells_seeds_apart() {
    let set = |seed| prepare(&profile(3, 8, 8, 1.0), seed, &Tokenizer::embedded()).unwrap();
    assert_ne!(set(1).fingerprint(), set(2).fingerprint());
    let set = set(42);
    insta::assert_snapshot!(set.fingerprint(), @"261bcd53027cb4e9594264c173cbab90b73c2d37580fabfa025af4a834d53834");
}
