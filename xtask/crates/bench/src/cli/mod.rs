//! The command line: exactly what was typed, checked for spelling and nothing else.
//!
//! What it means is decided in `commands`, once everything is known.

mod certify;
mod fleet;
pub mod load;
mod load_flags;
mod store;
mod trial;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use domain::framework::{EngineChoice, Framework};
use domain::target::Device;
use domain::units::Span;
use skill::runner::SamplingSpan;

pub use certify::{CertifyArgs, Cores, PeersArgs};
pub use fleet::{FanInArgs, MatrixArgs, MatrixOutput};
pub use load::LoadArgs;
pub use load_flags::LoadFlags;
pub use store::{STORE_VARIABLE, StoreArgs, WritableStoreArgs};
pub use trial::{AbArgs, CalibrateArgs, Own, TrialArgs};

/// Benchmarks LLM serving frameworks under identical conditions, and says whether the numbers
/// can be believed.
#[derive(Debug, Parser)]
#[command(name = "servegate", version, propagate_version = true)]
#[command(after_help = "\
Examples:
  servegate bench                                        the embedded simulated server, profile smoke
  servegate bench --framework llama-cpp --model m.gguf --tokenizer DIR
  servegate bench --framework vllm --url http://127.0.0.1:8000 --profile random-1024-1024
  servegate compare                                      the last session's table
  servegate resume                                       go on with an interrupted session")]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// One task.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the GPU, set a framework up, run the benchmark, save and judge the result
    Bench(Box<BenchArgs>),
    /// Load a running server; a drop-in for `python3 -m sglang.benchmark.serving`
    // The last of a repeated flag counts, as with argparse.
    #[command(args_override_self = true)]
    Load(Box<LoadArgs>),
    /// Check whether the GPU and the host are fit to measure on
    Health(HealthArgs),
    /// Watch power, energy, clocks and temperature of the GPUs for a while
    Telemetry(TelemetryArgs),
    /// Start a framework, verify it, and hold it until Ctrl-C
    Serve(Box<ServeArgs>),
    /// Show what `bench` would run, in which order and why; touches nothing
    Plan(Box<BenchArgs>),
    /// Judge recorded runs, or a file of pairs
    Gate(GateArgs),
    /// Measure a baseline and a candidate in turns until the gate can decide
    Ab(Box<AbArgs>),
    /// Measure how often the gate is wrong on this machine, and what it finds
    Calibrate(Box<CalibrateArgs>),
    /// Compare frameworks from recorded runs, or put the runs of many runners together
    Compare(Box<CompareArgs>),
    /// Make the matrix of GitHub Actions for a fleet of runners
    Matrix(MatrixArgs),
    /// List, show, accept or draw stored baselines
    Baseline(BaselineArgs),
    /// Remake a report of a recorded session
    Report(ReportArgs),
    /// Continue an interrupted session, or clear away what it left
    Resume(ResumeArgs),
    /// Check skills, print their schema, draw the state machine
    Skill(SkillArgs),
    /// Measure how wrong the load client is on this machine, against a server that knows
    Certify(CertifyArgs),
    /// Compare load clients on the same truth server and cores
    #[command(hide = true)]
    Peers(PeersArgs),
    /// Run the simulated server alone
    // What a target passes through comes last and wins, as it does with real frameworks.
    #[command(args_override_self = true)]
    Sim(Box<sim::SimArgs>),
    /// Print shell completions
    Completions(CompletionArgs),
    /// Print a generated part of the documentation
    #[command(hide = true)]
    Dump(DumpArgs),
}

/// Where skills and results are.
#[derive(Debug, Args)]
pub struct Places {
    /// Folder of skills [default: `skills` here, else the ones built in]
    #[arg(long, value_name = "DIR")]
    pub skills: Option<PathBuf>,
    /// Folder of the results tree
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
}

/// What is measured.
#[derive(Debug, Args)]
#[command(next_help_heading = "Target")]
pub struct TargetArgs {
    /// Framework to measure: sim, sglang, vllm, ollama, llama-cpp, transformers or openai; may be given several
    /// times, they run one after the other
    #[arg(long = "framework", value_name = "NAME", default_value = "sim")]
    pub frameworks: Vec<Framework>,
    /// Model to serve: a path, a hub id or an Ollama tag; FRAMEWORK=MODEL gives it to one only
    #[arg(long = "model", value_name = "[FRAMEWORK=]MODEL")]
    pub models: Vec<String>,
    /// Name under which a running server lists the model, if it is not MODEL
    #[arg(long, value_name = "NAME")]
    pub served_model_name: Option<String>,
    /// Folder with tokenizer.json [default: MODEL if it is such a folder; built in for `sim`]
    #[arg(long = "tokenizer", value_name = "[FRAMEWORK=]DIR")]
    pub tokenizers: Vec<String>,
    /// Attach to a running server instead of starting one
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Port for the server that is started [default: a free one]
    #[arg(long, conflicts_with = "url")]
    pub port: Option<u16>,
    /// Program that starts the framework: `llama-server`, or a Python that has the framework
    #[arg(long = "executable", value_name = "[FRAMEWORK=]PROGRAM", conflicts_with = "url")]
    pub executables: Vec<String>,
    /// Argument passed to the framework as it is; may be given several times
    #[arg(
        long = "server-arg",
        value_name = "[FRAMEWORK=]ARG",
        allow_hyphen_values = true,
        conflicts_with = "url"
    )]
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

/// `bench` and `plan`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub target: TargetArgs,
    #[command(flatten)]
    pub run: RunArgs,
    #[command(flatten)]
    pub load: LoadFlags,
    #[command(flatten)]
    pub judge: JudgeArgs,
    #[command(flatten)]
    pub store: StoreArgs,
    #[command(flatten)]
    pub output: OutputArgs,
}

/// How often, by whom.
#[derive(Debug, Args)]
#[command(next_help_heading = "Runs")]
pub struct RunArgs {
    /// Load profile of the skills; may be given several times
    #[arg(long = "profile", value_name = "NAME", default_value = "smoke")]
    pub profiles: Vec<String>,
    /// Repeats of each profile
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: u32,
    /// Who makes the load: auto, native or sglang
    #[arg(long, default_value = "auto")]
    pub engine: EngineChoice,
    /// Python that has SGLang's load tool [default: python3]
    #[arg(long, value_name = "PROGRAM")]
    pub python: Option<PathBuf>,
    /// How long to wait for another session on the same GPU or host
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub lease_wait: Span,
}

/// What is made of the result.
#[derive(Debug, Args)]
#[command(next_help_heading = "Judgement")]
pub struct JudgeArgs {
    /// Compare with this baseline: a summary or baseline file [default with --gate: the stored one]
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Compare with the baseline, and let the verdict decide the exit code
    #[arg(long)]
    pub gate: bool,
    /// With --gate: let a stored baseline fail a change too; such gates cry wolf
    #[arg(long, requires = "gate")]
    pub allow_stored: bool,
    /// With --gate: an inconclusive verdict ends with exit code 2
    #[arg(long, requires = "gate")]
    pub strict: bool,
    /// With --gate: a missing baseline ends with exit code 3
    #[arg(long, requires = "gate")]
    pub require_baseline: bool,
}

/// Where the result goes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct OutputArgs {
    /// Also write the JUnit report to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Cell of a fleet's plan that this session is for, recorded for `compare --from`
    #[arg(long, value_name = "ID", env = "SERVEGATE_CELL", value_parser = fleet::cell_id)]
    pub cell: Option<String>,
}

impl OutputArgs {
    /// The cell, if one is named.
    pub fn cell(&self) -> Option<String> {
        self.cell.clone().filter(|cell| !cell.is_empty())
    }
}

/// `health`.
#[derive(Debug, Args)]
pub struct HealthArgs {
    #[command(flatten)]
    pub places: Places,
    /// Processor to check for: auto, cpu or gpu
    #[arg(long, default_value = "auto")]
    pub device: Device,
    /// GPUs to look at, with commas between: index in PCI order or UUID [default: those that
    /// CUDA_VISIBLE_DEVICES leaves]
    #[arg(long, value_name = "LIST")]
    pub gpus: Option<String>,
    /// GPU readings: `auto`, `none`, or a file of scripted readings
    #[arg(long, value_name = "SOURCE", default_value = "auto")]
    pub gpu_source: String,
    /// Print the facts and findings as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// `telemetry`.
#[derive(Debug, Args)]
pub struct TelemetryArgs {
    /// How long to watch
    #[arg(long = "for", value_name = "SPAN", default_value = "10s")]
    pub span: Span,
    /// Time from one sample to the next; counters are read every five seconds
    #[arg(long, value_name = "SPAN", default_value = "100ms")]
    pub every: SamplingSpan,
    /// Write every sample to this file, one line each
    #[arg(long, value_name = "FILE")]
    pub samples: Option<PathBuf>,
    /// GPUs to watch, with commas between: index in PCI order or UUID
    #[arg(long, value_name = "LIST")]
    pub gpus: Option<String>,
    /// GPU readings: `auto` or a file of scripted readings
    #[arg(long, value_name = "SOURCE", default_value = "auto")]
    pub gpu_source: String,
    /// Print the result as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    #[command(flatten)]
    pub places: Places,
    #[command(flatten)]
    pub target: TargetArgs,
    /// How long to wait for another session on the same GPU or host
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub lease_wait: Span,
}

/// `compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Folder of the results tree
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Sessions or summary files to compare [default: the newest session of each framework,
    /// engine and profile]
    #[arg(value_name = "SESSION|FILE")]
    pub inputs: Vec<String>,
    /// Print the comparison as JSON on stdout
    #[arg(long)]
    pub json: bool,
    /// Also save the comparison as summary/comparison-TIMESTAMP.json
    #[arg(long)]
    pub save: bool,
    /// Write the comparison as one HTML page to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    #[command(flatten)]
    pub fan_in: FanInArgs,
}

/// `gate`.
#[derive(Debug, Args)]
#[command(after_help = "\
A file of pairs:
  {\"metrics\": {\"output_throughput\": {\"class\": \"mean\", \"better\": \"higher\",
    \"baseline\": [101.2, 99.8, 100.4], \"candidate\": [95.1, 96.0, 94.4], \"history_sd\": 0.0155}}}
Values stand in the order of the pairs. history_sd is the standard deviation of the log-ratio of a
pair by earlier sessions; history_pairs, how many pairs it is from [20].")]
pub struct GateArgs {
    #[command(flatten)]
    pub places: Places,
    /// The newest session, one session, or the session to compare with and the one to judge
    #[arg(value_name = "SESSION", num_args = 0..=2, conflicts_with = "pairs")]
    pub sessions: Vec<String>,
    /// Judge the pairs in this file instead
    #[arg(long, value_name = "FILE")]
    pub pairs: Option<PathBuf>,
    /// Compare with this baseline: a summary or baseline file [default: the stored one]
    #[arg(long, value_name = "FILE", conflicts_with = "pairs")]
    pub baseline: Option<PathBuf>,
    /// Let a stored baseline fail a change too; such gates cry wolf
    #[arg(long, conflicts_with = "pairs")]
    pub allow_stored: bool,
    /// An inconclusive verdict ends with exit code 2
    #[arg(long)]
    pub strict: bool,
    /// A missing baseline ends with exit code 3
    #[arg(long, conflicts_with = "pairs")]
    pub require_baseline: bool,
    /// Also write the judgement as JUnit to this file
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Also write the judgement as Markdown to this file
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
    #[command(flatten)]
    pub store: StoreArgs,
    /// Print the verdict and every look as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// `baseline`.
#[derive(Debug, Args)]
pub struct BaselineArgs {
    /// Folder of the results tree
    #[arg(long, value_name = "DIR", default_value = "results", global = true)]
    pub results: PathBuf,
    #[command(flatten)]
    pub store: WritableStoreArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: BaselineCommand,
}

/// What to do with baselines.
#[derive(Debug, Subcommand)]
pub enum BaselineCommand {
    /// List the stored baselines
    List,
    /// Show the baseline of a key
    Show {
        /// The key, as `baseline list` prints it
        key: String,
    },
    /// Make a session's runs the newest of their keys' baselines
    Accept {
        /// The session [default: the newest]
        session: Option<String>,
        /// Why, where the gate has not called the session pass or improved
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Copy the baselines of the results tree into a store; what is there already stays as it is
    Copy {
        /// The store [default: the one of --store]
        #[arg(long, value_name = "URL")]
        to: Option<String>,
    },
    /// Show a key's sessions in time, and where they changed for good
    History {
        /// The key, as `baseline list` prints it
        key: String,
    },
}

/// `report`.
#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder of the results tree
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// The session [default: the newest]
    pub session: Option<String>,
    /// Which report
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub format: Format,
}

/// A report that can be remade from a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The report block of each run
    Text,
    /// One line an event
    Lines,
    /// JUnit XML
    Junit,
    /// Markdown
    Markdown,
    /// The summaries as JSON
    Json,
    /// Annotations for GitHub Actions, one a judgement and one a failed step
    Annotations,
    /// Outputs for GitHub Actions: verdict, session and exit code as NAME=VALUE
    Outputs,
}

/// `resume`.
#[derive(Debug, Args)]
pub struct ResumeArgs {
    /// Folder of the results tree
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// The session [default: the newest that is not finished]
    pub session: Option<String>,
    /// Only end what the session left running; measure nothing
    #[arg(long)]
    pub clean_only: bool,
    /// How long to wait for another session on the same GPU or host
    #[arg(long, value_name = "SPAN", default_value = "1h")]
    pub lease_wait: Span,
}

/// `skill`.
#[derive(Debug, Args)]
pub struct SkillArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SkillCommand,
}

/// What to do with skills.
#[derive(Debug, Subcommand)]
pub enum SkillCommand {
    /// Check a folder of skills; prints every fault with file and line
    Check {
        /// The folder [default: `skills` here, else the ones built in]
        folder: Option<PathBuf>,
    },
    /// Print the JSON schema of a skill file
    Schema,
    /// Draw the state machine as a Mermaid diagram
    Graph,
}

/// `completions`.
#[derive(Debug, Args)]
pub struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: clap_complete::Shell,
}

/// `dump`.
#[derive(Debug, Args)]
pub struct DumpArgs {
    /// Which part
    #[arg(value_enum)]
    pub what: Generated,
}

/// A generated part of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Generated {
    /// JSON schema of a skill file
    SkillSchema,
    /// results/README.md
    ResultsReadme,
    /// Table of the metrics
    MetricTable,
    /// State machine as a Mermaid diagram
    StateDiagram,
    /// Table of the exit codes
    ExitCodes,
    /// Table of the flags of `load`
    LoadFlags,
    /// Table of what is known of each framework
    Frameworks,
    /// Names of the tasks, one a line
    Tasks,
}
