//! Every request that the real Python tool was seen to send, against ours: equal to the byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use domain::framework::Backend;
use domain::profile::{Arrivals, Compat, Workload};
use serde_json::Value;

use super::tests::{share_gpt, twenty_questions};
use super::*;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../tests/fixtures/bench_serving")
}

/// One run of the tool: its arguments, and the bodies that came, in order.
struct Capture {
    name: String,
    arguments: BTreeMap<String, String>,
    sent: Vec<(u64, String)>,
}

impl Capture {
    fn read(file: &Path) -> Option<Self> {
        let name = file.file_name()?.to_str()?.strip_suffix(".req.jsonl")?.to_owned();
        let printed = fs::read_to_string(file.with_file_name(format!("{name}.stdout.txt"))).ok()?;
        // The last of them has the model that the server named.
        let arguments = printed.lines().filter_map(arguments).next_back()?;
        let requests = fs::read_to_string(file).unwrap();
        let sent = requests.lines().filter_map(body).collect();
        Some(Self { name, arguments, sent })
    }

    fn text(&self, name: &str) -> Option<&str> {
        let value = self.arguments.get(name)?.as_str();
        (value != "None").then(|| value.trim_matches('\''))
    }

    fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(&self, name: &str) -> T {
        self.text(name).unwrap_or_else(|| panic!("{name} of {}", self.name)).parse().unwrap()
    }

    fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("True")
    }

    fn compat(&self) -> Compat {
        let version = self.name.strip_prefix('v').and_then(|rest| rest.split_once('_'));
        let version = version.and_then(|(version, _)| version.parse().ok());
        version.unwrap_or(Compat::NEWEST)
    }

    fn profile(&self, conversations: &Path) -> Profile {
        let mut workload = Workload { compat: self.compat(), ..Workload::USUAL };
        if self.flag("tokenize_prompt") {
            workload.prompts = PromptForm::Ids;
        }
        let dataset_name = self.number("dataset_name");
        if dataset_name == Dataset::GeneratedSharedPrefix {
            workload.gsp.num_groups = self.number("gsp_num_groups");
            workload.gsp.prompts_per_group = self.number("gsp_prompts_per_group");
            workload.gsp.system_prompt_len = self.number("gsp_system_prompt_len");
            workload.gsp.question_len = self.number("gsp_question_len");
            workload.gsp.output_len = self.number("gsp_output_len");
        }
        Profile {
            name: self.name.clone(),
            dataset_name,
            dataset_path: Some(conversations.to_owned()),
            num_prompts: self.number("num_prompts"),
            random_input_len: self.number("random_input_len"),
            random_output_len: self.number("random_output_len"),
            random_range_ratio: self.number("random_range_ratio"),
            request_rate: self.number("request_rate"),
            arrivals: Arrivals::Poisson,
            max_concurrency: None,
            warmup_requests: self.number("warmup_requests"),
            seed: self.number("seed"),
            ignore_eos: !self.flag("disable_ignore_eos"),
            workload,
        }
    }

    fn bodies(&self) -> ToolBodies {
        let extra = self.text("extra_request_body").map(|text| text.parse().unwrap());
        ToolBodies {
            compat: self.compat(),
            stream: !self.flag("disable_stream"),
            extra: extra.unwrap_or(Extra::NONE),
            ..ToolBodies::PLAIN
        }
    }

    /// What we send: the body of one warm-up request, and those of the load.
    fn ours(&self, conversations: &Path) -> (String, Vec<String>) {
        let profile = self.profile(conversations);
        let folder = if self.name == "bos" { "tok_bos" } else { "tok_nobos" };
        let tokenizer = Tokenizer::from_folder(&fixtures().join(folder)).unwrap();
        let set = prepare(&profile, profile.seed, &tokenizer).unwrap().with_bodies(self.bodies());
        let (backend, model): (Backend, &str) = (
            self.number("backend"),
            self.text("served_model_name").or(self.text("model")).unwrap(),
        );
        let body = |request: &Request| {
            let bytes = set.body(backend.wire(), model, request, profile.ignore_eos);
            String::from_utf8(bytes).unwrap()
        };
        let first = set.requests()[0].clone();
        let warm_up = body(&Request { output_len: first.output_len.min(32), ..first });
        (warm_up, set.requests().iter().map(body).collect())
    }
}

/// `benchmark_args=Namespace(a=1, b='x')` as names and values.
fn arguments(line: &str) -> Option<BTreeMap<String, String>> {
    let inner = line.split_once("Namespace(")?.1.strip_suffix(')')?;
    let mut arguments = BTreeMap::new();
    let mut rest = inner;
    while let Some((name, after)) = rest.split_once('=') {
        let end = match after.chars().next()? {
            '\'' => after[1..].find('\'')? + 2,
            '[' => after.find(']')? + 1,
            _ => after.find(", ").unwrap_or(after.len()),
        };
        arguments.insert(name.trim_start_matches(", ").to_owned(), after[..end].to_owned());
        rest = &after[end..];
    }
    Some(arguments)
}

/// Length on the wire and text of a generation request's body.
fn body(line: &str) -> Option<(u64, String)> {
    let request: Value = serde_json::from_str(line).unwrap();
    let path = request["path"].as_str().unwrap();
    if !["/generate", "/v1/completions", "/v1/chat/completions"].contains(&path) {
        return None;
    }
    let (_, body) = line.split_once("\"body\": ").unwrap();
    let length = request["headers"]["Content-Length"].as_str().unwrap().parse().unwrap();
    Some((length, body.strip_suffix('}').unwrap().to_owned()))
}

fn captures() -> Vec<Capture> {
    let mut files: Vec<_> =
        fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let made_by_python =
        |file: &PathBuf| !file.file_name().unwrap().to_string_lossy().starts_with("rust_");
    files
        .iter()
        .filter(|file| made_by_python(file))
        .filter_map(|file| Capture::read(file))
        .collect()
}

#[test]
fn every_captured_request_is_sent_again_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let conversations = share_gpt(folder.path(), &twenty_questions());
    let captures: Vec<_> =
        captures().into_iter().filter(|capture| !capture.sent.is_empty()).collect();
    let mut compared = 0;
    for capture in &captures {
        let name = &capture.name;
        let (warm_up, mut ours) = capture.ours(&conversations);
        let mut theirs: Vec<_> = capture
            .sent
            .iter()
            .map(|(length, body)| {
                assert_eq!(*length, body.len() as u64, "{name}: spaces as on the wire");
                body.clone()
            })
            .collect();
        // 0.4.6 sends one warm-up request whatever it is told.
        let warms_up = name.starts_with("v0.4.6") || 0 < capture.number::<u32>("warmup_requests");
        if warms_up {
            assert_eq!(theirs.remove(0), warm_up, "{name}");
        }
        compared += usize::from(warms_up) + theirs.len();
        if theirs.is_empty() {
            continue;
        }
        if capture.text("request_rate") == Some("inf") {
            // A burst reaches the server in any order.
            theirs.sort();
            ours.sort();
        }
        assert_eq!(theirs, ours, "{name}");
    }
    // So that no file is passed over silently.
    assert_eq!((captures.len(), compared), (42, 293));
}
