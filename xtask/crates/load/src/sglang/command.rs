//! The tool's command line: pure, from what is wanted and the version that is there.
//!
//! Flags are always written out in full and never left to defaults: the tool's defaults changed
//! between versions (the seed from 1 to 42), and its abbreviations are an accident of `argparse`.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use domain::facts::Capabilities;
use domain::framework::{Backend, Wire};
use domain::hint::Hinted;
use domain::profile::{Arrivals, Dataset, Profile};

use super::find::Tool;
use super::version::Version;
use crate::endpoint;

/// How long the tool polls the server before it gives up, in seconds. The server has been
/// verified already; this only covers a short pause.
const READY_CHECK_S: &str = "60";

/// One run of the tool.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// Base URL of the server, without `/v1` and without a slash at the end.
    pub base_url: &'a str,
    /// Model id to put into requests.
    pub model: &'a str,
    /// Which of the tool's clients is used.
    pub backend: Backend,
    /// The load.
    pub profile: &'a Profile,
    /// Seed of this run; the profile's own is not used.
    pub seed: u32,
    /// Folder with `tokenizer.json`.
    pub tokenizer: &'a Path,
    /// What the server can do.
    pub capabilities: Capabilities,
    /// The run is ended after this long.
    pub deadline: Duration,
    /// Further environment of the tool, for the mark by which a later process finds what this one
    /// left behind.
    pub env: &'a [(String, String)],
}

/// A command line with its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Arguments of the interpreter, without the interpreter itself.
    pub arguments: Vec<OsString>,
    /// Variables that are set over the inherited environment.
    pub env: Vec<(OsString, OsString)>,
}

/// What the tool cannot do. Nothing was started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The tool has no client for this backend.
    #[error("SGLang's load tool has no backend for `{backend}`")]
    Backend {
        /// The backend.
        backend: Backend,
    },
    /// The tool got this backend later.
    #[error("SGLang's load tool has backend `{backend}` from {since} on, and here is {version}")]
    BackendTooNew {
        /// The backend, as the tool calls it.
        backend: &'static str,
        /// The release that brought it.
        since: &'static str,
        /// The release that is there.
        version: String,
    },
    /// The tool draws exponential gaps only.
    #[error("SGLang's load tool cannot send at equal gaps")]
    ConstantArrivals,
    /// The tool would download a data set.
    #[error("dataset `random` of SGLang's load tool needs a file, else it downloads one")]
    NoDatasetFile,
    /// The lengths of these requests cannot be known beforehand, and without them the tool's
    /// answers cannot be judged.
    #[error("the load of dataset `{dataset}` is not made by SGLang's load tool here")]
    Dataset {
        /// The dataset.
        dataset: Dataset,
    },
    /// The tool sends one warm-up request, whatever it is told.
    #[error("SGLang's load tool {version} sends 1 warm-up request and not {asked}")]
    WarmUp {
        /// How many were asked for.
        asked: u32,
        /// The release that is there.
        version: String,
    },
    /// The base URL has no host that can be named to the tool.
    #[error("`{0}` is not a base URL like `http://127.0.0.1:8000`")]
    BaseUrl(String),
}

impl Hinted for Refusal {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Backend { .. }
            | Self::ConstantArrivals
            | Self::Dataset { .. }
            | Self::WarmUp { .. } => Some("use `--engine native`".to_owned()),
            Self::BackendTooNew { .. } => Some("install a newer SGLang".to_owned()),
            Self::NoDatasetFile => {
                Some("set `dataset_path`, or use dataset `random-ids`".to_owned())
            }
            Self::BaseUrl(_) => None,
        }
    }
}

/// The command line for an order. `jsonl` and `home` are absolute paths of this run alone.
///
/// # Errors
///
/// When the tool of this version cannot do what is wanted.
pub fn invocation(
    tool: &Tool,
    order: &Order<'_>,
    jsonl: &Path,
    home: &Path,
) -> Result<Invocation, Refusal> {
    let backend = tool_backend(order.backend, &tool.version)?;
    check(order.profile, &tool.version)?;
    let (host, port) = host_and_port(order.base_url)?;

    let mut arguments = tool.launcher.arguments();
    let mut flag = |name: &str, value: OsString| arguments.extend([name.into(), value]);
    flag("--backend", backend.into());
    flag("--base-url", order.base_url.trim_end_matches('/').into());
    // Not read where a base URL is given, but the defaults point to other servers.
    flag("--host", host.into());
    flag("--port", port.to_string().into());
    model_flags(&mut flag, order, &tool.version);
    profile_flags(&mut flag, order.profile, &tool.version);
    flag("--seed", order.seed.to_string().into());
    flag("--output-file", jsonl.into());
    if tool.version.at_least([0, 5, 10]) {
        flag("--ready-check-timeout-sec", READY_CHECK_S.into());
    }
    if let Some(body) = extra_body(order, &tool.version) {
        flag("--extra-request-body", body.into());
    }
    if !order.profile.ignore_eos {
        arguments.push("--disable-ignore-eos".into());
    }
    if tool.version.at_least([0, 4, 9]) {
        arguments.push("--output-details".into());
    }
    Ok(Invocation { arguments, env: environment(tool, order, host, home) })
}

/// What the tool calls the backend.
fn tool_backend(backend: Backend, version: &Version) -> Result<&'static str, Refusal> {
    let name = backend.in_sglang_tool().ok_or(Refusal::Backend { backend })?;
    if backend.wire() == Wire::OpenaiChat && !version.at_least([0, 4, 9]) {
        let version = version.to_string();
        return Err(Refusal::BackendTooNew { backend: name, since: "0.4.9", version });
    }
    Ok(name)
}

/// What of a profile the tool cannot do.
fn check(profile: &Profile, version: &Version) -> Result<(), Refusal> {
    if profile.request_rate.per_second().is_some() && profile.arrivals == Arrivals::Constant {
        return Err(Refusal::ConstantArrivals);
    }
    match profile.dataset_name {
        Dataset::Random if profile.dataset_path.is_none() => return Err(Refusal::NoDatasetFile),
        Dataset::Random | Dataset::RandomIds => {}
        dataset @ (Dataset::GeneratedSharedPrefix | Dataset::Sharegpt | Dataset::Custom) => {
            return Err(Refusal::Dataset { dataset });
        }
    }
    // 0.4.6 takes the flag and does not pass it on.
    if profile.warmup_requests != 1 && !version.at_least([0, 4, 9]) {
        let version = version.to_string();
        return Err(Refusal::WarmUp { asked: profile.warmup_requests, version });
    }
    Ok(())
}

/// The tool loads a tokenizer by the model's name even where it is given one, from the network
/// if need be. So the model is the tokenizer's folder, where the served name can be told apart.
fn model_flags(flag: &mut impl FnMut(&str, OsString), order: &Order<'_>, version: &Version) {
    if version.at_least([0, 5, 6]) {
        flag("--model", order.tokenizer.into());
        flag("--served-model-name", order.model.into());
    } else {
        flag("--model", order.model.into());
    }
    flag("--tokenizer", order.tokenizer.into());
}

fn profile_flags(flag: &mut impl FnMut(&str, OsString), profile: &Profile, version: &Version) {
    flag("--dataset-name", profile.dataset_name.as_str().into());
    if let Some(path) = &profile.dataset_path {
        flag("--dataset-path", path.into());
    }
    flag("--num-prompts", profile.num_prompts.to_string().into());
    flag("--random-input-len", profile.random_input_len.to_string().into());
    flag("--random-output-len", profile.random_output_len.to_string().into());
    flag("--random-range-ratio", profile.random_range_ratio.to_string().into());
    flag("--request-rate", profile.request_rate.to_string().into());
    if let Some(limit) = profile.max_concurrency {
        flag("--max-concurrency", limit.to_string().into());
    }
    if version.at_least([0, 4, 6]) {
        flag("--warmup-requests", profile.warmup_requests.to_string().into());
    }
}

/// What is added to each request's body.
///
/// A chat server is asked for its own token count. On completions that would fail every request:
/// the tool stumbles over the chunk that carries it, up to 0.5.23; on chat it did up to 0.5.10.
fn extra_body(order: &Order<'_>, version: &Version) -> Option<String> {
    let mut body = serde_json::Map::new();
    match order.backend.wire() {
        Wire::OpenaiChat => {
            if version.at_least([0, 5, 11]) {
                body.insert(
                    "stream_options".to_owned(),
                    serde_json::json!({ "include_usage": true }),
                );
            }
            // Without this those versions let the model end when it likes.
            if order.profile.ignore_eos && !version.at_least([0, 5, 4]) {
                body.insert("ignore_eos".to_owned(), true.into());
            }
        }
        Wire::SglangGenerate | Wire::OpenaiCompletions | Wire::OllamaGenerate => {}
    }
    (!body.is_empty()).then(|| serde_json::Value::Object(body).to_string())
}

/// A home of its own keeps the tool from caches of other runs: its cache of prompts is keyed by
/// the class of the tokenizer, not by the tokenizer.
fn environment(
    tool: &Tool,
    order: &Order<'_>,
    host: &str,
    home: &Path,
) -> Vec<(OsString, OsString)> {
    let mut env: Vec<(OsString, OsString)> = vec![
        ("HOME".into(), home.into()),
        ("XDG_CACHE_HOME".into(), home.join(".cache").into()),
        ("HF_HOME".into(), home.join(".cache/huggingface").into()),
        ("HF_HUB_OFFLINE".into(), "1".into()),
        ("TRANSFORMERS_OFFLINE".into(), "1".into()),
        // Else the result block waits in a buffer, and is lost where the tool is killed.
        ("PYTHONUNBUFFERED".into(), "1".into()),
        ("PYTHONIOENCODING".into(), "utf-8".into()),
        ("NO_PROXY".into(), host.into()),
        ("no_proxy".into(), host.into()),
        // Keeps a process title, where one is set, from overwriting the environment in memory.
        ("SPT_NOENV".into(), "1".into()),
    ];
    if let Some(user_base) = &tool.user_base {
        env.push(("PYTHONUSERBASE".into(), user_base.into()));
    }
    env.extend(order.env.iter().map(|(key, value)| (key.into(), value.into())));
    env
}

/// Host and port of a base URL.
fn host_and_port(url: &str) -> Result<(&str, u16), Refusal> {
    let refused = || Refusal::BaseUrl(url.to_owned());
    let (rest, usual) = match (url.strip_prefix("http://"), url.strip_prefix("https://")) {
        (Some(rest), _) => (rest, 80),
        (None, Some(rest)) => (rest, 443),
        (None, None) => return Err(refused()),
    };
    let authority = rest.trim_end_matches('/');
    // The tool appends `/v1/...` itself; a path in the base URL would be sent as it is.
    if authority.is_empty() || authority.contains(['/', '?', '#', '@']) {
        return Err(refused());
    }
    endpoint::host_and_port(authority, usual)
        .filter(|(host, _)| !host.is_empty())
        .ok_or_else(refused)
}

#[cfg(test)]
pub(super) mod tests {
    use domain::profile::RequestRate;

    use super::super::find::Launcher;
    use super::*;

    pub(in crate::sglang) fn profile() -> Profile {
        Profile {
            name: "smoke".to_owned(),
            dataset_name: Dataset::RandomIds,
            dataset_path: None,
            num_prompts: 32,
            random_input_len: 128,
            random_output_len: 64,
            random_range_ratio: 1.0,
            request_rate: RequestRate::INFINITE,
            arrivals: Arrivals::Poisson,
            max_concurrency: Some(8),
            warmup_requests: 1,
            seed: 42,
            ignore_eos: true,
            workload: domain::profile::Workload::USUAL,
        }
    }

    fn line(version: &str, backend: Backend, profile: &Profile) -> Result<String, Refusal> {
        let tool = Tool {
            python: "python3".into(),
            launcher: Launcher::SERVING,
            version: version.parse().unwrap(),
            user_base: Some("/home/me/.local".into()),
        };
        let order = Order {
            base_url: "http://127.0.0.1:30000/",
            model: "tiny",
            backend,
            profile,
            seed: 7,
            tokenizer: Path::new("/models/tiny"),
            capabilities: Capabilities {
                forces_length: true,
                reports_usage: true,
                flushes_cache: true,
            },
            deadline: Duration::from_secs(600),
            env: &[("MARK".to_owned(), "1".to_owned())],
        };
        let made = invocation(&tool, &order, Path::new("/run/out.jsonl"), Path::new("/run/home"))?;
        let words = made.arguments.iter().map(|word| word.to_string_lossy().into_owned());
        let env = made
            .env
            .iter()
            .map(|(key, value)| format!("{}={}", key.to_string_lossy(), value.to_string_lossy()));
        let line = words.collect::<Vec<_>>().join(" ").replace(" --", "\n--");
        Ok(format!("{line}\n\n{}", env.collect::<Vec<_>>().join("\n")))
    }

    #[test]
    fn the_newest_version_gets_every_flag_in_full() {
        insta::assert_snapshot!(line("0.5.23", Backend::Openai, &profile()).unwrap(), @"
        -m sglang.benchmark.serving
        --backend vllm
        --base-url http://127.0.0.1:30000
        --host 127.0.0.1
        --port 30000
        --model /models/tiny
        --served-model-name tiny
        --tokenizer /models/tiny
        --dataset-name random-ids
        --num-prompts 32
        --random-input-len 128
        --random-output-len 64
        --random-range-ratio 1
        --request-rate inf
        --max-concurrency 8
        --warmup-requests 1
        --seed 7
        --output-file /run/out.jsonl
        --ready-check-timeout-sec 60
        --output-details

        HOME=/run/home
        XDG_CACHE_HOME=/run/home/.cache
        HF_HOME=/run/home/.cache/huggingface
        HF_HUB_OFFLINE=1
        TRANSFORMERS_OFFLINE=1
        PYTHONUNBUFFERED=1
        PYTHONIOENCODING=utf-8
        NO_PROXY=127.0.0.1
        no_proxy=127.0.0.1
        SPT_NOENV=1
        PYTHONUSERBASE=/home/me/.local
        MARK=1
        ");
    }

    #[test]
    fn each_version_gets_the_flags_that_it_knows() {
        let flags = |version, backend| {
            let text = line(version, backend, &profile()).unwrap();
            let flags = text.lines().filter(|line| {
                ["--output-d", "--warm", "--ready", "--served", "--extra", "--model", "--backend"]
                    .iter()
                    .any(|start| line.starts_with(start))
            });
            format!("{version}: {}", flags.collect::<Vec<_>>().join(" "))
        };
        let all = [
            flags("0.4.3", Backend::Sglang),
            flags("0.4.6", Backend::SglangOai),
            flags("0.4.9", Backend::VllmChat),
            flags("0.5.6", Backend::SglangOaiChat),
            flags("0.5.10.post1", Backend::OpenaiChat),
            flags("0.5.23", Backend::OpenaiChat),
        ];
        insta::assert_snapshot!(all.join("\n"), @r#"
        0.4.3: --backend sglang --model tiny
        0.4.6: --backend sglang-oai --model tiny --warmup-requests 1
        0.4.9: --backend vllm-chat --model tiny --warmup-requests 1 --extra-request-body {"ignore_eos":true} --output-details
        0.5.6: --backend sglang-oai-chat --model /models/tiny --served-model-name tiny --warmup-requests 1 --output-details
        0.5.10.post1: --backend vllm-chat --model /models/tiny --served-model-name tiny --warmup-requests 1 --ready-check-timeout-sec 60 --output-details
        0.5.23: --backend vllm-chat --model /models/tiny --served-model-name tiny --warmup-requests 1 --ready-check-timeout-sec 60 --extra-request-body {"stream_options":{"include_usage":true}} --output-details
        "#);
    }

    #[test]
    fn what_the_tool_cannot_do_is_refused() {
        let paced = "4".parse::<RequestRate>().unwrap();
        let constant = Profile { arrivals: Arrivals::Constant, request_rate: paced, ..profile() };
        let download = Profile { dataset_name: Dataset::Random, ..profile() };
        let warm = Profile { warmup_requests: 4, ..profile() };
        let refusals = [
            line("0.5.23", Backend::Ollama, &profile()),
            line("0.4.6", Backend::VllmChat, &profile()),
            line("0.5.23", Backend::Vllm, &constant),
            line("0.5.23", Backend::Vllm, &download),
            line("0.4.6", Backend::Vllm, &warm),
        ];
        let told = refusals.map(|refused| {
            let refusal = refused.unwrap_err();
            format!("{refusal}; hint: {}", refusal.hint().unwrap_or_default())
        });
        insta::assert_snapshot!(told.join("\n"), @"
        SGLang's load tool has no backend for `ollama`; hint: use `--engine native`
        SGLang's load tool has backend `vllm-chat` from 0.4.9 on, and here is 0.4.6; hint: install a newer SGLang
        SGLang's load tool cannot send at equal gaps; hint: use `--engine native`
        dataset `random` of SGLang's load tool needs a file, else it downloads one; hint: set `dataset_path`, or use dataset `random-ids`
        SGLang's load tool 0.4.6 sends 1 warm-up request and not 4; hint: use `--engine native`
        ");
    }

    #[test]
    fn equal_gaps_without_a_rate_are_no_gaps() {
        let burst = Profile { arrivals: Arrivals::Constant, ..profile() };
        assert!(line("0.5.23", Backend::Vllm, &burst).is_ok());
    }

    #[test]
    fn host_and_port_are_read_from_the_base_url() {
        assert_eq!(host_and_port("http://127.0.0.1:8000/"), Ok(("127.0.0.1", 8000)));
        assert_eq!(host_and_port("http://[::1]:8000"), Ok(("::1", 8000)));
        assert_eq!(host_and_port("https://gpu.example"), Ok(("gpu.example", 443)));
        for wrong in ["127.0.0.1:8000", "http://", "http://h:x", "http://h/v1", "http://[::1"] {
            assert!(host_and_port(wrong).is_err(), "{wrong}");
        }
    }
}
