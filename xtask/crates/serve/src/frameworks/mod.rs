//! What differs between frameworks: one file each, behind exhaustive matches.
//!
//! Everything here is pure. A framework's command line is built from the launch's description
//! and nothing else, so that the same target always starts the same way.

mod llama_cpp;
mod ollama;
mod openai;
mod sglang;
mod sim;
mod transformers;
mod vllm;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::contract::Term;
use domain::framework::Framework;
use domain::hint::Hinted;
use domain::target::Target;

use crate::process::{Command, ScriptFile, TAG};
use crate::spec::LaunchSpec;

/// Where a server says one term.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Read {
    pub(crate) term: Term,
    /// Path that is asked.
    pub(crate) path: &'static str,
    /// JSON pointer into the answer.
    pub(crate) at: &'static str,
    pub(crate) how: How,
}

/// How what stands there is understood.
#[derive(Clone, Copy, Debug)]
pub(crate) enum How {
    /// A number or text as it is. `auto` says nothing.
    Plain,
    /// The last part of a path; dummies where the text at the other pointer is `dummy`.
    Weights { load_format: &'static str },
    /// A type of numbers: `torch.bfloat16`, `F16`.
    Dtype,
    /// This number times the one at the other pointer.
    Times(&'static str),
    /// `true`: the cache is on.
    On,
    /// `true`: the cache is off.
    Off,
    /// Neutral if it is this text, else the model's own defaults.
    NeutralIf(&'static str),
    /// llama.cpp's samplers: neutral where none of them penalises.
    Penalties,
}

/// Why a target cannot be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CannotLaunch {
    /// It can only be attached to.
    #[error("a server of the kind `{0}` cannot be started, only attached to")]
    OnlyAttached(Framework),
    /// The framework serves nothing unless told what.
    #[error("`{0}` is to be started without a model")]
    NoModel(Framework),
}

impl Hinted for CannotLaunch {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::OnlyAttached(_) => "start it yourself and give its address with `--url`".into(),
            Self::NoModel(_) => "name one with `--model`".into(),
        })
    }
}

/// The command that starts the target.
///
/// # Errors
///
/// [`CannotLaunch`] for what can only be attached to, and for a missing model.
pub fn command(spec: &LaunchSpec) -> Result<Command, CannotLaunch> {
    let mut command = match spec.target.framework {
        Framework::Sim => sim::command(spec),
        Framework::Sglang => sglang::command(spec),
        Framework::Vllm => vllm::command(spec),
        Framework::Ollama => ollama::command(spec),
        Framework::LlamaCpp => llama_cpp::command(spec),
        Framework::Transformers => transformers::command(spec),
        Framework::Openai => Err(CannotLaunch::OnlyAttached(Framework::Openai)),
    }?;
    command.args.extend(spec.target.server_args.iter().cloned());
    command.env.extend(common_env(spec));
    Ok(command)
}

/// The name under which the started server knows its model.
pub(crate) fn model_name(spec: &LaunchSpec) -> Option<String> {
    match spec.target.framework {
        // They give no second name to a model.
        Framework::Ollama | Framework::Transformers => spec.target.model.clone(),
        Framework::Sim
        | Framework::Sglang
        | Framework::Vllm
        | Framework::LlamaCpp
        | Framework::Openai => Some(spec.served_name.clone()),
    }
}

/// What every server is started with, whatever it is.
fn common_env(spec: &LaunchSpec) -> BTreeMap<String, String> {
    let fixed = [
        // The index of a GPU is the same for the driver, NVML and CUDA.
        ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
        // A start never downloads: what is measured must be on the disk before.
        ("HF_HUB_OFFLINE", "1"),
        ("PYTHONUNBUFFERED", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
        ("DO_NOT_TRACK", "1"),
        // Programs that set their title overwrite their environment, and with it the tag by
        // which leftovers are found. This variable makes them leave it alone.
        ("SPT_NOENV", "1"),
    ];
    let fixed = fixed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let device = ("CUDA_VISIBLE_DEVICES".to_owned(), spec.gpu_uuids.join(","));
    let (name, tag) = (TAG.to_owned(), spec.session_tag.clone());
    BTreeMap::from(fixed).into_iter().chain([device, (name, tag)]).collect()
}

/// What a framework answers to, and how.
#[derive(Debug)]
pub(crate) struct Traits {
    /// A path that answers 200 once the server serves, and costs it nothing.
    pub(crate) health_path: &'static str,
    /// How it lists its models.
    pub(crate) models: ModelList,
    /// How a generation is asked for.
    pub(crate) generation: Generation,
    /// How its prefix cache is emptied.
    pub(crate) flush: Flush,
    /// How it tells what it is doing.
    pub(crate) activity: Activity,
    /// Where it tells of itself.
    pub(crate) about: &'static [About],
    /// Where it says the terms of the like-for-like contract; the first that answers counts.
    pub(crate) terms: &'static [Read],
    /// How it counts prompt tokens that came from its prefix cache.
    pub(crate) cache_counter: CacheCounter,
}

/// How a server counts prompt tokens that came from its prefix cache.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CacheCounter {
    /// Two Prometheus counters of `/metrics`: tokens found there, and tokens looked up.
    Hits { cached: &'static str, prompts: &'static str },
    /// It does not; `usage` of its answers may.
    Untold,
}

/// A place in an answer of a path that is in `about`.
const fn read(term: Term, path: &'static str, at: &'static str, how: How) -> Read {
    Read { term, path, at, how }
}

/// How a server lists its models.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ModelList {
    /// `GET /v1/models`.
    Openai,
    /// `GET /api/tags`.
    Ollama,
    /// It does not list them; a request that names another one is refused.
    Untold,
}

/// How a generation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    /// `POST /v1/completions`; the length is forced and counted, or the server is broken.
    ForcedCompletions,
    /// OpenAI's paths; what else the server can do is found out by trying.
    TriedOut,
    /// `POST /api/generate`; the length is only a limit.
    Ollama,
}

/// How a prefix cache is emptied.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flush {
    /// A POST that answers 200 when it is done, and another status while requests run.
    Post(&'static str),
    /// vLLM's POST, which exists only in its development mode.
    ResetPrefixCache,
    /// llama.cpp's slots are erased one by one.
    EraseSlots,
    /// The model is unloaded and loaded again.
    Reload,
    /// It cannot be; why.
    Impossible(&'static str),
}

/// How a server tells what it is doing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Activity {
    /// Prometheus gauges of `/metrics` whose sum is zero when nothing runs and nothing waits.
    Gauges(&'static [&'static str]),
    /// It does not tell.
    Untold,
}

/// A path where a server tells of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About {
    pub(crate) path: &'static str,
    /// Key of the version in the answer.
    pub(crate) version: Option<&'static str>,
}

/// The framework's traits.
pub(crate) const fn traits(framework: Framework) -> &'static Traits {
    match framework {
        Framework::Sim => &sim::TRAITS,
        Framework::Sglang => &sglang::TRAITS,
        Framework::Vllm => &vllm::TRAITS,
        Framework::Ollama => &ollama::TRAITS,
        Framework::LlamaCpp => &llama_cpp::TRAITS,
        Framework::Transformers => &transformers::TRAITS,
        Framework::Openai => &openai::TRAITS,
    }
}

/// The program that starts a Python framework: its own command, or `-m MODULE` of a Python that
/// the target names. The words to begin the arguments with come along.
fn python_program(target: &Target, own: &str, module: &[&str]) -> (PathBuf, Vec<String>) {
    let program = target.executable.clone().unwrap_or_else(|| own.into());
    let first: &[&str] = if is_python(&program) { module } else { &["serve"] };
    (program, words(first))
}

/// Whether a program is a Python interpreter, by its file name.
fn is_python(program: &Path) -> bool {
    program.file_name().is_some_and(|name| name.to_string_lossy().starts_with("python"))
}

fn model(spec: &LaunchSpec) -> Result<String, CannotLaunch> {
    spec.target.model.clone().ok_or(CannotLaunch::NoModel(spec.target.framework))
}

fn words<T: ToString>(items: &[T]) -> Vec<String> {
    items.iter().map(T::to_string).collect()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use domain::target::Device;
    use skill::setup::{Conditions, PrefixCache};

    use super::*;

    /// A launch on one GPU with nothing out of the ordinary.
    pub(super) fn spec(framework: Framework) -> LaunchSpec {
        LaunchSpec {
            target: Target {
                framework,
                model: Some("/models/qwen".to_owned()),
                served_model_name: None,
                tokenizer: None,
                url: None,
                port: None,
                device: Device::Auto,
                executable: None,
                server_args: vec![],
            },
            conditions: Conditions {
                max_running_requests: 64,
                context_tokens: 8192,
                prefill_chunk_tokens: 4096,
                kv_cache_tokens: None,
                memory_share: "85 %".parse().unwrap(),
                seed: 42,
                prefix_cache: PrefixCache::Disabled,
            },
            port: 30000,
            served_name: "bench".to_owned(),
            session_tag: "20261124T031500Z-1".to_owned(),
            folder: "/results/runs/1".into(),
            sim_program: "/opt/servegate".into(),
            gpu_uuids: vec!["GPU-1".to_owned()],
        }
    }

    /// The command line and the variables that are this framework's own.
    pub(super) fn shown(spec: &LaunchSpec) -> String {
        let command = command(spec).unwrap();
        let common = common_env(spec);
        let mut text = String::new();
        for (name, value) in command.env.iter().filter(|(name, _)| !common.contains_key(*name)) {
            writeln!(text, "{name}={value}").unwrap();
        }
        write!(text, "{}", command.program.display()).unwrap();
        for arg in &command.args {
            let gap = if arg.starts_with('-') { "\n  " } else { " " };
            write!(text, "{gap}{arg}").unwrap();
        }
        text
    }

    #[test]
    fn every_child_is_offline_tagged_and_sees_only_its_gpu() {
        let env: Vec<_> = common_env(&spec(Framework::Vllm)).into_iter().collect();
        let text: Vec<_> = env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        insta::assert_snapshot!(text.join("\n"), @r"
        CUDA_DEVICE_ORDER=PCI_BUS_ID
        CUDA_VISIBLE_DEVICES=GPU-1
        DO_NOT_TRACK=1
        HF_HUB_OFFLINE=1
        PYTHONUNBUFFERED=1
        SERVEGATE_SESSION=20261124T031500Z-1
        SPT_NOENV=1
        TOKENIZERS_PARALLELISM=false
        ");
    }

    #[test]
    fn a_target_on_the_cpu_sees_no_gpu() {
        let spec = LaunchSpec { gpu_uuids: vec![], ..spec(Framework::Vllm) };
        assert_eq!(common_env(&spec)["CUDA_VISIBLE_DEVICES"], "");
    }

    #[test]
    fn the_users_arguments_come_last_so_that_they_win() {
        for &framework in Framework::ALL.iter().filter(|one| **one != Framework::Openai) {
            let mut spec = spec(framework);
            spec.target.server_args = words(&["--dtype", "bfloat16"]);
            let args = command(&spec).unwrap().args;
            assert!(args.ends_with(&spec.target.server_args), "{framework}");
        }
    }

    #[test]
    fn what_needs_a_model_is_not_started_without_one() {
        let served =
            [Framework::Sglang, Framework::Vllm, Framework::LlamaCpp, Framework::Transformers];
        for framework in served {
            let mut spec = spec(framework);
            spec.target.model = None;
            assert_eq!(command(&spec), Err(CannotLaunch::NoModel(framework)));
        }
    }

    #[test]
    fn an_openai_compatible_server_is_only_attached_to() {
        let refusal = command(&spec(Framework::Openai)).unwrap_err();
        insta::assert_snapshot!(refusal, @"a server of the kind `openai` cannot be started, only attached to");
    }
}
