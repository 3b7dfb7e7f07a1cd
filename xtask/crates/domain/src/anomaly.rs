//! Anything unusual that a reader of the result must know. Typed, so that it can be counted,
//! tested and shown the same way everywhere.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::facts::Finding;
use crate::failure::FailureKind;
use crate::metric::Metric;
use crate::names::names;
use crate::telemetry::ThrottleReason;

/// One unusual thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Anomaly {
    /// Requests failed.
    RequestsFailed {
        /// Why.
        failure: FailureKind,
        /// How many.
        count: u32,
        /// The first one's detail.
        example: String,
    },
    /// A health check warned.
    Health {
        /// What it said.
        finding: Finding,
    },
    /// The server's stream has no token counts; chunks were counted, which are not tokens.
    TokensNotReported {
        /// Requests concerned.
        requests: u32,
    },
    /// The client's tokenizer counts other prompt lengths than the server: it may be another
    /// model's.
    InputTokensDisagree {
        /// Prompt tokens by the client's tokenizer.
        client: u64,
        /// Prompt tokens by the server's usage.
        server: u64,
    },
    /// Answers were shorter than asked for, on a server that cannot force the length.
    ShortAnswers {
        /// Requests concerned.
        requests: u32,
    },
    /// Prompt tokens came from the prefix cache, so their prefill was not measured.
    PrefixCacheHits {
        /// Prompt tokens that were cached.
        cached_tokens: u64,
        /// All prompt tokens.
        prompt_tokens: u64,
    },
    /// A repeat was answered from what an earlier run had left in the prefix cache: it is not a
    /// faster run, it did less.
    RepeatFromCache {
        /// Which repeat, from 1.
        repeat: u32,
        /// Prompt tokens that were cached.
        cached_tokens: u64,
        /// All prompt tokens.
        prompt_tokens: u64,
    },
    /// The load shares prefixes and the server says that its prefix cache is on, but nothing came
    /// from it.
    PrefixCacheUnused {
        /// All prompt tokens.
        prompt_tokens: u64,
    },
    /// The stream carried comment lines that only keep the connection open.
    CommentPings {
        /// How many.
        count: u32,
    },
    /// Tokens came several in a chunk, so gaps between single tokens were not seen.
    MergedTokens {
        /// Share of tokens that shared a chunk with another, 0 to 1.
        share: f64,
    },
    /// There were more chunks than tokens.
    SplitTokens {
        /// Chunks received.
        chunks: u64,
        /// Tokens counted by the server.
        tokens: u64,
    },
    /// Requests were sent later than scheduled.
    LateSends {
        /// 99th percentile of the lateness, in milliseconds.
        p99_ms: f64,
        /// Largest lateness, in milliseconds.
        max_ms: f64,
    },
    /// The load client's lag moved a number by more than the run's budget: it says more of the
    /// client than of the server, and the run does not count.
    ClientOverBudget {
        /// In what it lagged.
        lag: Lag,
        /// The number; earlier versions do not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metric: Option<Metric>,
        /// How far it may have been moved, in milliseconds.
        #[serde(alias = "p99_ms")]
        moved_ms: f64,
        /// What was allowed, in milliseconds.
        allowed_ms: f64,
    },
    /// Fewer requests were sent than asked for.
    FewerRequests {
        /// Asked for.
        asked: u32,
        /// Sent.
        sent: u32,
    },
    /// A single gap in the stream was far longer than the others.
    LongGap {
        /// Its length, in milliseconds.
        gap_ms: f64,
        /// Median gap of the run, in milliseconds.
        median_ms: f64,
    },
    /// Nothing was heard from the load for a while; what an investigation found.
    Silence {
        /// How long, in seconds.
        seconds: u64,
        /// Whether the server's health endpoint answered.
        server_healthy: bool,
        /// File with the evidence, relative to the run folder.
        evidence: String,
    },
    /// A line of the server's log points to a known trouble.
    ServerLog {
        /// Class of the trouble: `out-of-memory`, `port-in-use`, …
        class: String,
        /// The line, cut to size.
        line: String,
    },
    /// The server ended by itself.
    ServerDied {
        /// How: an exit code or a signal.
        how: String,
    },
    /// The server had to be killed because it did not leave when asked.
    StopEscalated {
        /// The last means used: `SIGTERM`, `SIGKILL`.
        means: String,
        /// How long it was waited for, in milliseconds.
        waited_ms: u64,
    },
    /// Processes had escaped from the server's process group and were ended by id.
    OrphansEnded {
        /// Their process ids.
        pids: Vec<u32>,
    },
    /// VRAM was not given back.
    VramNotFreed {
        /// Before the server started, in MiB.
        before_mib: u64,
        /// After it ended, in MiB.
        after_mib: u64,
    },
    /// What the GPU did during the run is not wholly known.
    GpuSamplesLost {
        /// Why.
        reason: String,
    },
    /// The prefix cache could not be emptied between runs.
    CacheNotFlushed {
        /// Why.
        reason: String,
    },
    /// SGLang's tool ended with exit code 0 although requests failed.
    ToolHidFailures {
        /// Requests that failed.
        failed: u32,
    },
    /// SGLang's tool wrote no JSONL, so that only its printed block is known.
    ToolWroteNoJsonl {
        /// Its exit code.
        exit: i32,
    },
    /// SGLang's tool reports the length that was asked for, not the one that was generated.
    ToolTokensUnverified {
        /// Tokens that it reports.
        reported: u64,
        /// Tokens that its own re-tokenisation counts, if it printed that.
        retokenized: Option<u64>,
    },
    /// SGLang's tool wrote values that are not JSON.
    ToolWroteNonJson {
        /// The tokens concerned, for example `Infinity`.
        tokens: String,
    },
    /// The tool's printed block and its JSONL disagree.
    ToolDisagrees {
        /// Key concerned.
        key: String,
        /// As printed.
        block: f64,
        /// As written.
        jsonl: f64,
    },
    /// A GPU was warmer before a run than before the first pair of its experiment, and did not
    /// cool down in time.
    StillWarm {
        /// Its temperature, in degrees Celsius.
        temperature_c: u32,
        /// Its temperature before the first pair, in degrees Celsius.
        start_c: u32,
    },
    /// A GPU reported an error while the load ran: the run does not count.
    GpuError {
        /// Index of the GPU, if the driver tells.
        gpu: Option<u32>,
        /// The error, for example `Xid 79`.
        error: String,
    },
    /// Clocks of a GPU were lowered by force for a part of the run.
    ClocksLowered {
        /// Index of the GPU.
        gpu: u32,
        /// Why.
        reason: ThrottleReason,
        /// Share of the run, 0 to 1.
        share: f64,
    },
    /// The hypervisor gave CPU time to other machines that was wanted here.
    CpuStolen {
        /// Share of what was wanted, 0 to 1.
        share: f64,
    },
    /// PCIe packets were sent again more often than a sound link does.
    PcieReplays {
        /// Index of the GPU.
        gpu: u32,
        /// How many.
        count: u64,
        /// In how many minutes.
        minutes: f64,
    },
    /// The session was continued after a crash; the step was done again.
    Resumed {
        /// The step that was running.
        step: String,
    },
    /// A setting differs between frameworks that were to be measured alike.
    NotLikeForLike {
        /// What differs.
        setting: String,
        /// The values, by target.
        values: Vec<(String, String)>,
    },
}

/// What a load client can be late in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Lag {
    /// Sending requests when they are due.
    Sending,
    /// Handing a request to the kernel, once the clock was read.
    Writing,
    /// Reading answers when they come.
    Reading,
}

names!(Lag, "lag", { Sending => "sending", Writing => "writing", Reading => "reading" });

impl Anomaly {
    /// Whether the run's numbers say more of the load client than of the server.
    pub const fn is_of_the_client(&self) -> bool {
        matches!(self, Self::ClientOverBudget { .. })
    }

    /// Stable name of the kind, as in files.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::RequestsFailed { .. } => "requests-failed",
            Self::Health { .. } => "health",
            Self::TokensNotReported { .. } => "tokens-not-reported",
            Self::InputTokensDisagree { .. } => "input-tokens-disagree",
            Self::ShortAnswers { .. } => "short-answers",
            Self::PrefixCacheHits { .. } => "prefix-cache-hits",
            Self::RepeatFromCache { .. } => "repeat-from-cache",
            Self::PrefixCacheUnused { .. } => "prefix-cache-unused",
            Self::CommentPings { .. } => "comment-pings",
            Self::MergedTokens { .. } => "merged-tokens",
            Self::SplitTokens { .. } => "split-tokens",
            Self::LateSends { .. } => "late-sends",
            Self::ClientOverBudget { .. } => "client-over-budget",
            Self::FewerRequests { .. } => "fewer-requests",
            Self::LongGap { .. } => "long-gap",
            Self::Silence { .. } => "silence",
            Self::ServerLog { .. } => "server-log",
            Self::ServerDied { .. } => "server-died",
            Self::StopEscalated { .. } => "stop-escalated",
            Self::OrphansEnded { .. } => "orphans-ended",
            Self::VramNotFreed { .. } => "vram-not-freed",
            Self::GpuSamplesLost { .. } => "gpu-samples-lost",
            Self::CacheNotFlushed { .. } => "cache-not-flushed",
            Self::ToolHidFailures { .. } => "tool-hid-failures",
            Self::ToolWroteNoJsonl { .. } => "tool-wrote-no-jsonl",
            Self::ToolTokensUnverified { .. } => "tool-tokens-unverified",
            Self::ToolWroteNonJson { .. } => "tool-wrote-non-json",
            Self::ToolDisagrees { .. } => "tool-disagrees",
            Self::StillWarm { .. } => "still-warm",
            Self::GpuError { .. } => "gpu-error",
            Self::ClocksLowered { .. } => "clocks-lowered",
            Self::CpuStolen { .. } => "cpu-stolen",
            Self::PcieReplays { .. } => "pcie-replays",
            Self::Resumed { .. } => "resumed",
            Self::NotLikeForLike { .. } => "not-like-for-like",
        }
    }
}

impl fmt::Display for Anomaly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RequestsFailed { failure, count, example } => {
                let requests = if *count == 1 { "request" } else { "requests" };
                write!(f, "{count} {requests} failed with {failure}; the first: {example}")
            }
            Self::Health { finding } => write!(f, "{}: {}", finding.check, finding.message),
            Self::TokensNotReported { requests } => {
                write!(
                    f,
                    "the server gave no token count for {requests} requests; chunks were counted"
                )
            }
            Self::InputTokensDisagree { client, server } => write!(
                f,
                "the client counts {client} prompt tokens where the server counts {server}: is it \
                 the model's tokenizer?"
            ),
            Self::ShortAnswers { requests } => {
                write!(f, "{requests} answers ended before the length asked for")
            }
            Self::PrefixCacheHits { cached_tokens, prompt_tokens } => {
                write!(
                    f,
                    "{cached_tokens} of {prompt_tokens} prompt tokens came from the prefix cache"
                )
            }
            Self::RepeatFromCache { repeat, cached_tokens, prompt_tokens } => write!(
                f,
                "repeat {repeat} was answered from the prefix cache: {cached_tokens} of \
                 {prompt_tokens} prompt tokens were left there by an earlier run"
            ),
            Self::PrefixCacheUnused { prompt_tokens } => write!(
                f,
                "the load shares prefixes and the server's prefix cache is on, but none of \
                 {prompt_tokens} prompt tokens came from it"
            ),
            Self::CommentPings { count } => {
                write!(f, "the stream carried {count} keep-alive comments")
            }
            Self::MergedTokens { share } => {
                write!(f, "{:.0} % of the tokens shared a chunk with another", share * 100.0)
            }
            Self::SplitTokens { chunks, tokens } => {
                write!(f, "{chunks} chunks carried {tokens} tokens")
            }
            Self::LateSends { p99_ms, max_ms } => {
                write!(f, "requests were sent late: p99 {p99_ms:.1} ms, at most {max_ms:.1} ms")
            }
            Self::ClientOverBudget { lag, metric, moved_ms, allowed_ms } => {
                let what = metric.map_or("a number", Metric::key);
                write!(
                    f,
                    "the load client was late in {lag}: it may have moved {what} by {moved_ms:.2} ms, where {allowed_ms:.2} ms are allowed"
                )
            }
            Self::FewerRequests { asked, sent } => {
                write!(f, "{sent} of {asked} requests were sent")
            }
            Self::LongGap { gap_ms, median_ms } => {
                write!(
                    f,
                    "a stream paused for {gap_ms:.0} ms, where the median gap is {median_ms:.1} ms"
                )
            }
            Self::Silence { seconds, server_healthy, evidence } => {
                let health = if *server_healthy { "answered" } else { "did not answer" };
                write!(
                    f,
                    "nothing was heard for {seconds} s; the server's health check {health}; see {evidence}"
                )
            }
            Self::ServerLog { class, line } => write!(f, "the server's log says {class}: {line}"),
            Self::ServerDied { how } => write!(f, "the server ended by itself: {how}"),
            Self::StopEscalated { means, waited_ms } => {
                write!(
                    f,
                    "the server left only after {means}, {waited_ms} ms after it was asked to"
                )
            }
            Self::OrphansEnded { pids } => {
                write!(f, "{} processes had left the server's group and were ended", pids.len())
            }
            Self::VramNotFreed { before_mib, after_mib } => {
                write!(
                    f,
                    "VRAM was {before_mib} MiB before the server started and is {after_mib} MiB after it ended"
                )
            }
            Self::GpuSamplesLost { reason } => write!(f, "GPU samples were lost: {reason}"),
            Self::CacheNotFlushed { reason } => {
                write!(f, "the prefix cache was not emptied: {reason}")
            }
            Self::ToolHidFailures { failed } => {
                write!(f, "the tool ended with exit code 0 although {failed} requests failed")
            }
            Self::ToolWroteNoJsonl { exit } => {
                write!(f, "the tool wrote no JSONL and ended with exit code {exit}")
            }
            Self::ToolTokensUnverified { reported, retokenized: Some(seen) } => {
                write!(
                    f,
                    "the tool reports {reported} generated tokens, its own recount gives {seen}"
                )
            }
            Self::ToolTokensUnverified { reported, retokenized: None } => {
                write!(f, "the tool reports {reported} generated tokens, which nothing confirms")
            }
            Self::ToolWroteNonJson { tokens } => {
                write!(f, "the tool's JSONL is not strict JSON: {tokens}")
            }
            Self::ToolDisagrees { key, block, jsonl } => {
                write!(f, "the tool printed {key} = {block} and wrote {jsonl}")
            }
            Self::StillWarm { temperature_c, start_c } => {
                write!(
                    f,
                    "the GPU was at {temperature_c} C, where the first pair began at {start_c} C"
                )
            }
            Self::GpuError { gpu, error } => {
                let which = gpu.map_or_else(|| "a GPU".to_owned(), |gpu| format!("GPU {gpu}"));
                write!(f, "{which} reported {error} during the run")
            }
            Self::ClocksLowered { gpu, reason, share } => {
                write!(
                    f,
                    "clocks of GPU {gpu} were lowered for {:.2} % of the run: {reason}",
                    share * 100.0
                )
            }
            Self::CpuStolen { share } => write!(
                f,
                "other machines on this host took {:.1} % of the CPU time that was wanted here",
                share * 100.0
            ),
            Self::PcieReplays { gpu, count, minutes } => {
                write!(f, "GPU {gpu} sent {count} PCIe packets again in {minutes:.1} minutes")
            }
            Self::Resumed { step } => {
                write!(f, "the session was continued after a crash in `{step}`")
            }
            Self::NotLikeForLike { setting, values } => {
                let values: Vec<_> =
                    values.iter().map(|(target, value)| format!("{target}: {value}")).collect();
                write!(f, "{setting} differs: {}", values.join(", "))
            }
        }
    }
}
