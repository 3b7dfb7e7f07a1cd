//! What `certify` and `peers` are given.

use std::path::PathBuf;

use clap::Args;

/// `certify`.
#[derive(Debug, Args)]
pub struct CertifyArgs {
    /// Folder of the results tree
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    /// Try three loads instead of all
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub cores: Cores,
    /// Print the certificate as JSON on stdout
    #[arg(long)]
    pub json: bool,
}

/// Which CPUs are used.
#[derive(Clone, Copy, Debug, Args)]
pub struct Cores {
    /// CPU of the truth server [default: the first that may be used]
    #[arg(long, value_name = "CPU")]
    pub server_cpu: Option<usize>,
    /// CPU of the client [default: the second that may be used]
    #[arg(long, value_name = "CPU")]
    pub client_cpu: Option<usize>,
}

/// `peers`.
#[derive(Debug, Args)]
pub struct PeersArgs {
    /// Folder of the results tree
    #[arg(long, value_name = "DIR", default_value = "results")]
    pub results: PathBuf,
    #[command(flatten)]
    pub cores: Cores,
    /// Python that has SGLang's load tool
    #[arg(long, value_name = "PROGRAM")]
    pub sglang_python: Option<PathBuf>,
    /// Python that has vLLM
    #[arg(long, value_name = "PROGRAM")]
    pub vllm_python: Option<PathBuf>,
    /// Python that has GuideLLM
    #[arg(long, value_name = "PROGRAM")]
    pub guidellm_python: Option<PathBuf>,
    /// Python that has AIPerf
    #[arg(long, value_name = "PROGRAM")]
    pub aiperf_python: Option<PathBuf>,
    /// Folder with a Hugging Face tokenizer, which the Python tools need
    #[arg(long, value_name = "DIR")]
    pub tokenizer: PathBuf,
    /// Also write the table as Markdown to this file
    #[arg(long, value_name = "FILE")]
    pub markdown: Option<PathBuf>,
}
