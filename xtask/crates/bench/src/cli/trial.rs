//! `ab` and `calibrate`: two sides measured in turns.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use domain::framework::{EngineChoice, Framework};
use domain::target::Device;
use domain::units::Span;

use super::{LoadFlags, OutputArgs, Places, StoreArgs, TargetArgs};

/// `ab`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  servegate ab --candidate-server-arg=--speed=0.95          the simulated server, 5 % slower
  servegate ab --framework vllm --model M --profile random-256-256 \\
    --baseline-executable old/bin/python --candidate-executable new/bin/python
  servegate ab --framework openai --tokenizer DIR --restart never \\
    --baseline-url http://127.0.0.1:8000 --candidate-url http://127.0.0.1:8001")]
pub struct AbArgs {
    #[command(flatten)]
    pub trial: TrialArgs,
    #[command(flatten)]
    pub sides: SideArgs,
    /// An inconclusive verdict ends with exit code 2
    #[arg(long, help_heading = "Judgement")]
    pub strict: bool,
}

/// `calibrate`.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  servegate calibrate                                       the simulated server, decoding 5 % slower
  servegate calibrate --framework llama-cpp --model M --slow-server-arg=--threads --slow-server-arg=1")]
pub struct CalibrateArgs {
    #[command(flatten)]
    pub trial: TrialArgs,
    /// Pairs that are measured without a slowdown, and as many with one
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(4..=200), help_heading = "Calibration")]
    pub pairs: u32,
    /// How much slower `sim` decodes on the slow side; other frameworks need --slow-server-arg
    #[arg(long, value_name = "PERCENT", default_value_t = 5.0, value_parser = slowdown, help_heading = "Calibration")]
    pub slowdown: f64,
    /// Argument that makes the slow side slower; may be given several times
    #[arg(
        long = "slow-server-arg",
        value_name = "ARG",
        allow_hyphen_values = true,
        help_heading = "Calibration"
    )]
    pub slow_server_args: Vec<String>,
    /// Decisions that are replayed from the measured pairs
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(100..=100_000), help_heading = "Calibration")]
    pub replays: u32,
}

/// What both sides share, and how they take turns.
#[derive(Debug, Args)]
pub struct TrialArgs {
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub target: CommonTargetArgs,
    #[command(flatten)]
    pub turns: TurnArgs,
    #[command(flatten)]
    pub load: LoadFlags,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// What is measured, on both sides alike.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target (both sides)")]
pub struct CommonTargetArgs {
    /// Framework to measure
    #[arg(long, value_name = "NAME", default_value = "sim")]
    pub framework: Framework,
    /// Model to serve: a path, a hub id or an Ollama tag
    #[arg(long)]
    pub model: Option<String>,
    /// Name under which a running server lists the model, if it is not MODEL
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Folder with tokenizer.json [default: MODEL if it is such a folder; built in for `sim`]
    #[arg(long, value_name = "DIR")]
    pub tokenizer: Option<PathBuf>,
    /// Program that starts the framework: `llama-server`, or a Python that has the framework
    #[arg(long, value_name = "PROGRAM")]
    pub executable: Option<PathBuf>,
    /// Argument passed to the framework as it is; may be given several times
    #[arg(long = "server-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub server_args: Vec<String>,
    /// Processor that the framework runs on: auto, cpu or gpu
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// GPUs to use, with commas between: index in PCI order or UUID [default: those that
    /// CUDA_VISIBLE_DEVICES leaves]
    #[arg(long, value_name = "LIST")]
    pub gpus: Option<String>,
    /// GPU readings: `auto`, `none`, or a file of scripted readings
    #[arg(long, value_name = "SOURCE", default_value = "auto")]
    pub gpu_source: String,
}

/// In what the two sides differ.
#[derive(Debug, Args)]
#[command(next_help_heading = "Sides")]
pub struct SideArgs {
    /// Program that starts the baseline [default: --executable]
    #[arg(long, value_name = "PROGRAM")]
    pub baseline_executable: Option<PathBuf>,
    /// Program that starts the candidate [default: --executable]
    #[arg(long, value_name = "PROGRAM")]
    pub candidate_executable: Option<PathBuf>,
    /// Argument of the baseline alone, after the common ones; may be given several times
    #[arg(long = "baseline-server-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub baseline_server_args: Vec<String>,
    /// Argument of the candidate alone, after the common ones; may be given several times
    #[arg(long = "candidate-server-arg", value_name = "ARG", allow_hyphen_values = true)]
    pub candidate_server_args: Vec<String>,
    /// Running server that is the baseline; needs --restart never
    #[arg(long, value_name = "URL", requires = "candidate_url")]
    pub baseline_url: Option<String>,
    /// Running server that is the candidate; needs --restart never
    #[arg(long, value_name = "URL", requires = "baseline_url")]
    pub candidate_url: Option<String>,
}

/// How the sides take turns.
#[derive(Debug, Args)]
#[command(next_help_heading = "Runs")]
pub struct TurnArgs {
    /// Load profile of the skills
    #[arg(long, value_name = "NAME", default_value = "smoke")]
    pub profile: String,
    /// Who makes the load: auto, native or sglang
    #[arg(long, default_value = "auto")]
    pub engine: EngineChoice,
    /// Python that has SGLang's load tool [default: python3]
    #[arg(long, value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
    /// When servers are started anew; `never`, for servers that run already, is weaker
    #[arg(long, value_enum, default_value_t = Restart::PerRun)]
    pub restart: Restart,
    /// Decides which side of each pair comes first [default: drawn, and recorded]
    #[arg(long, value_name = "SEED")]
    pub order_seed: Option<u64>,
    /// How long a run may wait for the GPU to be as cool as before the first pair
    #[arg(long, value_name = "SPAN", default_value = "5m")]
    pub cool_down_within: Span,
    /// How long to wait for another session on the same GPU or host
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub lease_wait: Span,
}

/// When servers are started anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Restart {
    /// For every run
    PerRun,
    /// Never: both sides are running servers
    Never,
}

impl From<Restart> for skill::Restart {
    fn from(restart: Restart) -> Self {
        match restart {
            Restart::PerRun => Self::PerRun,
            Restart::Never => Self::Never,
        }
    }
}

/// What one side has of its own.
#[derive(Clone, Debug, Default)]
pub struct Own<'a> {
    /// Program that starts it.
    pub executable: Option<&'a PathBuf>,
    /// Arguments after the common ones.
    pub server_args: &'a [String],
    /// Base URL, if it runs already.
    pub url: Option<&'a String>,
}

impl SideArgs {
    /// The baseline's part and the candidate's.
    pub fn both(&self) -> [Own<'_>; 2] {
        let baseline = Own {
            executable: self.baseline_executable.as_ref(),
            server_args: &self.baseline_server_args,
            url: self.baseline_url.as_ref(),
        };
        let candidate = Own {
            executable: self.candidate_executable.as_ref(),
            server_args: &self.candidate_server_args,
            url: self.candidate_url.as_ref(),
        };
        [baseline, candidate]
    }
}

/// A path as it would be typed.
fn shown(path: impl AsRef<Path>) -> String {
    path.as_ref().display().to_string()
}

impl CommonTargetArgs {
    /// The target of one side, as `bench` would be told it.
    pub fn side(&self, own: &Own<'_>) -> TargetArgs {
        TargetArgs {
            frameworks: vec![self.framework],
            models: self.model.iter().cloned().collect(),
            served_model_name: self.served_model_name.clone(),
            tokenizers: self.tokenizer.iter().map(shown).collect(),
            url: own.url.cloned(),
            port: None,
            executables: own
                .executable
                .or(self.executable.as_ref())
                .into_iter()
                .map(shown)
                .collect(),
            server_args: [&self.server_args, own.server_args].concat(),
            device: self.device,
            gpus: self.gpus.clone(),
            gpu_source: self.gpu_source.clone(),
        }
    }
}

fn slowdown(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|percent: &f64| (0.1..=100.0).contains(percent));
    number.ok_or_else(|| format!("`{text}` is not a percentage from 0.1 to 100"))
}
