//! `load`: the flags of `python3 -m sglang.benchmark.serving`, by the same names and defaults.
//!
//! A flag of the tool is in [`flags::TOOL`] with what became of it; those that are taken are also
//! fields of [`LoadArgs`]. A test holds the two together.

mod expand;
pub mod flags;

use std::path::PathBuf;

use clap::Args;
use domain::framework::Backend;
use domain::profile::{Arrivals, Compat, Dataset, GroupDistribution, RequestRate};
use load::workload::Extra;
use stats::Slo;

use crate::lag::Allowed;

pub use expand::expand;

/// `load`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes the command line of `python3 -m sglang.benchmark.serving` 0.5.23, abbreviations included.
A flag of the tool that is not supported is refused with the reason; README.md has them all.")]
pub struct LoadArgs {
    #[command(flatten)]
    pub server: ServerFlags,
    #[command(flatten)]
    pub data: DatasetFlags,
    #[command(flatten)]
    pub gsp: GspFlags,
    #[command(flatten)]
    pub pace: PaceFlags,
    #[command(flatten)]
    pub body: BodyFlags,
    #[command(flatten)]
    pub result: ResultFlags,
}

/// Whom the load goes to.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub struct ServerFlags {
    /// Client to use: sglang, sglang-oai, sglang-oai-chat, vllm, vllm-chat, lmdeploy, lmdeploy-chat, openai, openai-chat, ollama
    #[arg(long, default_value = "sglang", value_parser = backend)]
    pub backend: Backend,
    /// Base URL of the server, without `/v1`
    #[arg(long, value_name = "URL")]
    pub base_url: Option<String>,
    /// Host of the server, where no base URL is given
    #[arg(long, default_value = "0.0.0.0")]
    pub host: String,
    /// Port of the server [default: 30000; 8000 for vllm, 23333 for lmdeploy]
    #[arg(long)]
    pub port: Option<u16>,
    /// How long the server may take to become ready, in seconds
    #[arg(long, value_name = "S", default_value_t = 60)]
    pub ready_check_timeout_sec: u64,
    /// Model to put into requests [default: the one that the server serves]
    #[arg(long)]
    pub model: Option<String>,
    /// Model to put into requests, where MODEL is a path
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Folder with tokenizer.json, a hub id in the local cache, or `embedded` [default: what the server or MODEL names]
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<String>,
    /// Headers of every request, as NAME=VALUE
    #[arg(long, value_name = "NAME=VALUE", num_args = 1..)]
    pub header: Vec<String>,
}

/// What is sent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Prompts")]
pub struct DatasetFlags {
    /// sharegpt, custom, random (all with --dataset-path), random-ids or generated-shared-prefix
    #[arg(long, default_value = "sharegpt", value_parser = dataset)]
    pub dataset_name: Dataset,
    /// File of conversations; nothing is downloaded
    #[arg(long, value_name = "FILE", default_value = "")]
    pub dataset_path: String,
    /// Number of requests
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub num_prompts: u32,
    /// sharegpt, custom: length of every answer [default: as recorded]
    #[arg(long, value_name = "N")]
    pub sharegpt_output_len: Option<u32>,
    /// sharegpt, custom: leave longer conversations out, in tokens
    #[arg(long, value_name = "N")]
    pub sharegpt_context_len: Option<u32>,
    /// random, random-ids: longest prompt, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub random_input_len: u32,
    /// random, random-ids: longest answer, in tokens
    #[arg(long, value_name = "N", default_value_t = 1024)]
    pub random_output_len: u32,
    /// random, random-ids: shortest length as a fraction of the longest; 1 makes all equal
    #[arg(long, value_name = "RATIO", default_value_t = 0.0)]
    pub random_range_ratio: f64,
    /// sharegpt, custom: text put behind every prompt
    #[arg(long, value_name = "TEXT", default_value = "", allow_hyphen_values = true)]
    pub prompt_suffix: String,
    /// Send token ids instead of text; backend sglang only
    #[arg(long)]
    pub tokenize_prompt: bool,
    /// Seed of lengths, prompts and arrivals [default: 42; 1 for releases before 0.5.14]
    #[arg(long)]
    pub seed: Option<u32>,
    /// Release of the tool whose prompts and bodies are sent
    #[arg(long, value_name = "VERSION", default_value_t = Compat::NEWEST)]
    pub compat: Compat,
}

/// `generated-shared-prefix`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Prompts of generated-shared-prefix")]
pub struct GspFlags {
    /// Groups, each with a system prompt of its own
    #[arg(long = "gsp-num-groups", value_name = "N", default_value_t = 64)]
    pub num_groups: u32,
    /// Requests of a group
    #[arg(long = "gsp-prompts-per-group", value_name = "N", default_value_t = 16)]
    pub prompts_per_group: u32,
    /// Length of a system prompt, in tokens
    #[arg(long = "gsp-system-prompt-len", value_name = "N", default_value_t = 2048)]
    pub system_prompt_len: u32,
    /// Length of a question, in tokens
    #[arg(long = "gsp-question-len", value_name = "N", default_value_t = 128)]
    pub question_len: u32,
    /// Longest answer, in tokens
    #[arg(long = "gsp-output-len", value_name = "N", default_value_t = 256)]
    pub output_len: u32,
    /// Shortest of each length as a fraction of the longest
    #[arg(long = "gsp-range-ratio", value_name = "RATIO", default_value_t = 1.0)]
    pub range_ratio: f64,
    /// Report every prompt as one token long, which saves tokenising it
    #[arg(long = "gsp-fast-prepare")]
    pub fast_prepare: bool,
    /// Turns of a conversation; only 1 is supported
    #[arg(long = "gsp-num-turns", value_name = "N", default_value_t = 1, value_parser = one_turn)]
    pub num_turns: u32,
    /// Keep the requests of a group together
    #[arg(long = "gsp-ordered")]
    pub ordered: bool,
    /// How requests are spread over groups: uniform or zipf
    #[arg(long = "gsp-group-distribution", value_name = "NAME", default_value = "uniform")]
    pub group_distribution: GroupDistribution,
    /// Exponent of zipf
    #[arg(long = "gsp-zipf-alpha", value_name = "ALPHA", value_parser = positive)]
    pub zipf_alpha: Option<f64>,
}

/// When it is sent.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pace")]
pub struct PaceFlags {
    /// Requests per second, or `inf` for all at once
    #[arg(long, value_name = "RATE", default_value_t = RequestRate::INFINITE)]
    pub request_rate: RequestRate,
    /// Gaps between requests at a rate: poisson or constant
    #[arg(long, default_value = "poisson")]
    pub arrivals: Arrivals,
    /// Most requests in flight at once [default: no limit]
    #[arg(long, value_name = "N")]
    pub max_concurrency: Option<u32>,
    /// Requests sent and thrown away before the measurement
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub warmup_requests: u32,
    /// Empty the server's prefix cache after the warm-up
    #[arg(long)]
    pub flush_cache: bool,
    /// How long emptying it may take, in seconds
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = positive)]
    pub flush_cache_timeout: f64,
}

/// What bodies say.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request bodies")]
pub struct BodyFlags {
    /// Ask for whole answers instead of streams
    #[arg(long)]
    pub disable_stream: bool,
    /// Let the server stop at an end-of-sequence token
    #[arg(long)]
    pub disable_ignore_eos: bool,
    /// Sampling temperature of backend sglang
    #[arg(long, default_value_t = 0.0)]
    pub temperature: f64,
    /// Nucleus sampling of backend sglang
    #[arg(long, default_value_t = 1.0)]
    pub top_p: f64,
    /// Ask for probabilities
    #[arg(long)]
    pub return_logprob: bool,
    /// Ask for so many likely tokens at each place
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub top_logprobs_num: u32,
    /// Ask for the probabilities of these tokens
    #[arg(long, value_name = "ID", num_args = 1.., allow_negative_numbers = true)]
    pub token_ids_logprob: Option<Vec<i64>>,
    /// Ask for probabilities from this place of the prompt on
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub logprob_start_len: i64,
    /// Ask for the experts that tokens were routed to
    #[arg(long)]
    pub return_routed_experts: bool,
    /// JSON object whose fields are put over those of every body
    #[arg(long, value_name = "JSON", value_parser = extra)]
    pub extra_request_body: Option<Extra>,
}

/// What is made of the result.
#[derive(Debug, Args)]
#[command(next_help_heading = "Result")]
pub struct ResultFlags {
    /// File that a line of JSON is appended to [default: BACKEND_MMDD_N_DATASET.jsonl here]
    #[arg(long, value_name = "FILE")]
    pub output_file: Option<PathBuf>,
    /// Put every request into that line
    #[arg(long)]
    pub output_details: bool,
    /// Count requests that meet limits in ms: ttft:MS tpot:MS e2el:MS
    #[arg(long, value_name = "NAME:MS", num_args = 1..)]
    pub goodput: Vec<Slo>,
    /// Report the hits of the prefix cache; sglang backends only
    #[arg(long)]
    pub cache_report: bool,
    /// Name of the run in the line
    #[arg(long)]
    pub tag: Option<String>,
    /// Has no effect: nothing is drawn
    #[arg(long)]
    pub disable_tqdm: bool,
    /// Also write per-request records to this file (gzipped JSON lines)
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// How far the client's own lag may move a number: SHARE,TIME, the larger counts, or `none` [default: that of the skills, 1%,1ms]
    #[arg(long, value_name = "BUDGET")]
    pub lag_budget: Option<Allowed>,
    /// Print the line of JSON on stdout instead of the block
    #[arg(long)]
    pub json: bool,
}

fn backend(name: &str) -> Result<Backend, String> {
    let reason = flags::reason(flags::BACKENDS, name);
    reason.map_or_else(|| name.parse().map_err(|error| format!("{error}")), Err)
}

fn dataset(name: &str) -> Result<Dataset, String> {
    let reason = flags::reason(flags::DATASETS, name);
    reason.map_or_else(|| name.parse().map_err(|error| format!("{error}")), Err)
}

fn one_turn(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(1) => Ok(1),
        Ok(_) => Err("conversations of several turns are not supported".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && 0.0 < *number);
    number.ok_or_else(|| "it must be a finite number above 0".to_owned())
}

/// An error with its cause, which clap would not print.
fn extra(text: &str) -> Result<Extra, String> {
    text.parse().map_err(|error: load::workload::NotAnObject| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        format!("{error}{}", cause.unwrap_or_default())
    })
}

#[cfg(test)]
mod tests;
