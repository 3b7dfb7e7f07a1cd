//! The load flags, under the names of the Python tool.

use std::path::PathBuf;

use clap::Args;
use domain::profile::{Arrivals, Dataset, LoadOverrides, RequestRate};

/// What the command line changes in every profile.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Load (changes every profile)")]
pub struct LoadFlags {
    /// Where prompts come from: random (needs --dataset-path) or random-ids
    #[arg(long)]
    pub dataset_name: Option<Dataset>,
    /// ShareGPT-format file for `random`
    #[arg(long, value_name = "FILE")]
    pub dataset_path: Option<PathBuf>,
    /// Number of requests
    #[arg(long, value_name = "N")]
    pub num_prompts: Option<u32>,
    /// Longest prompt, in tokens
    #[arg(long, value_name = "N", alias = "random-input")]
    pub random_input_len: Option<u32>,
    /// Longest answer, in tokens
    #[arg(long, value_name = "N", alias = "random-output")]
    pub random_output_len: Option<u32>,
    /// Shortest length as a fraction of the longest; 1 makes all lengths equal
    #[arg(long, value_name = "RATIO")]
    pub random_range_ratio: Option<f64>,
    /// Requests per second, or `inf` for all at once
    #[arg(long, value_name = "RATE")]
    pub request_rate: Option<RequestRate>,
    /// Gaps between requests at a rate: poisson or constant
    #[arg(long)]
    pub arrivals: Option<Arrivals>,
    /// Most requests in flight at once
    #[arg(long, value_name = "N")]
    pub max_concurrency: Option<u32>,
    /// Requests sent and thrown away before the measurement
    #[arg(long, value_name = "N")]
    pub warmup_requests: Option<u32>,
    /// Seed of lengths, prompts and arrivals
    #[arg(long)]
    pub seed: Option<u32>,
    /// Let the server stop at an end-of-sequence token
    #[arg(long)]
    pub disable_ignore_eos: bool,
}

impl LoadFlags {
    /// The same, as the plan takes it.
    pub fn overrides(&self) -> LoadOverrides {
        LoadOverrides {
            dataset_name: self.dataset_name,
            dataset_path: self.dataset_path.clone(),
            num_prompts: self.num_prompts,
            random_input_len: self.random_input_len,
            random_output_len: self.random_output_len,
            random_range_ratio: self.random_range_ratio,
            request_rate: self.request_rate,
            arrivals: self.arrivals,
            max_concurrency: self.max_concurrency,
            warmup_requests: self.warmup_requests,
            seed: self.seed,
            ignore_eos: self.disable_ignore_eos.then_some(false),
        }
    }
}
