//! `matrix`, and the part of `compare` that puts the runs of many runners together.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use domain::fleet::is_cell_id;

/// `matrix`.
#[derive(Debug, Args)]
#[command(after_help = "\
A plan:
  version: 1
  frameworks: [sglang, {name: vllm-eager, framework: vllm, server_args: [--enforce-eager]}]
  models: [{name: qwen, model: Qwen/Qwen2.5-7B-Instruct, tokenizer: ./tokenizer}]
  profiles: [random-256-256, {name: random-1024-1024, cost: 8}]
  runners: [{name: h100, labels: [self-hosted, gpu-h100]}, {name: a10g, cost: 0.5}]
  exclude: [{framework: vllm-eager, runner: a10g}]
  runs: 3

A cell's `args` has the arguments of `servegate bench`, one a line:
  mapfile -t args <<< \"$ARGS\"; exec servegate bench \"${args[@]}\" --cell \"$ID\"")]
pub struct MatrixArgs {
    /// The plan of the fleet
    #[arg(long, value_name = "FILE")]
    pub plan: PathBuf,
    /// Folder of skills, which have the profiles [default: `skills` here, else the ones built in]
    #[arg(long, value_name = "DIR")]
    pub skills: Option<PathBuf>,
    /// Only this batch, from 1; a plan of more than 256 cells has several
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: Option<u32>,
    /// Where the matrix goes: `json` prints it; `github` appends `matrix`, `batches` and `cells` to
    /// the file $GITHUB_OUTPUT and prints the list
    #[arg(long, value_enum, default_value_t = MatrixOutput::Json)]
    pub output: MatrixOutput,
    /// Print the cells as a list for people
    #[arg(long, conflicts_with = "output")]
    pub list: bool,
}

/// Where a matrix goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MatrixOutput {
    /// To stdout.
    Json,
    /// To the step's outputs.
    Github,
}

/// The part of `compare` that puts the runs of many runners together.
#[derive(Debug, Args)]
#[command(next_help_heading = "Runs of many runners")]
pub struct FanInArgs {
    /// Folder with the artifacts of many runners, each a results folder or the folder of a session
    #[arg(long, value_name = "DIR", conflicts_with_all = ["inputs", "save", "html"])]
    pub from: Option<PathBuf>,
    /// The plan that they are of: names what is missing, and what it does not have
    #[arg(long, value_name = "FILE", requires = "from")]
    pub plan: Option<PathBuf>,
    /// Folder of skills, which have the gate's rule [default: `skills` here, else the ones built in]
    #[arg(long, value_name = "DIR", requires = "from")]
    pub skills: Option<PathBuf>,
    /// Name of the suite: heads the reports, and tells its comment from those of others
    #[arg(long, value_name = "NAME", default_value = "servegate", value_parser = suite, requires = "from")]
    pub suite: String,
    /// Write the job summary, Markdown below 1 MiB, to this file
    #[arg(long, value_name = "FILE", requires = "from")]
    pub summary: Option<PathBuf>,
    /// Write the pull request's comment, Markdown below 64 KiB, to this file
    #[arg(long, value_name = "FILE", requires = "from")]
    pub comment: Option<PathBuf>,
    /// Write one JUnit report to this file
    #[arg(long, value_name = "FILE", requires = "from")]
    pub junit: Option<PathBuf>,
    /// Print annotations for GitHub Actions, one a profile [default: where GITHUB_ACTIONS is true]
    #[arg(long, requires = "from")]
    pub annotations: bool,
    /// Let a stored baseline fail a change too; such gates cry wolf
    #[arg(long, requires = "from")]
    pub allow_stored: bool,
    /// An inconclusive verdict ends with exit code 2
    #[arg(long, requires = "from")]
    pub strict: bool,
    /// A missing baseline ends with exit code 3
    #[arg(long, requires = "from")]
    pub require_baseline: bool,
    /// Judge by the baselines in this store, not by those in the results tree: a URL as `baseline`
    /// takes it [default: $SERVEGATE_STORE]
    #[arg(long, value_name = "URL", requires = "from")]
    pub store: Option<String>,
}

/// Reads the id of a cell; an empty one, as an unset variable of a workflow gives, is none.
pub fn cell_id(text: &str) -> Result<String, String> {
    if text.is_empty() || is_cell_id(text) {
        return Ok(text.to_owned());
    }
    Err("an id has letters, digits, `-`, `_` and `.`, a letter or digit first".to_owned())
}

fn suite(text: &str) -> Result<String, String> {
    // Within a hidden comment of Markdown, `--` would end it.
    if is_cell_id(text) && !text.contains("--") && !text.ends_with('-') {
        return Ok(text.to_owned());
    }
    Err("a suite has letters, digits, `_`, `.` and single `-`, a letter or digit first".to_owned())
}
