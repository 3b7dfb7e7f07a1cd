//! Why the tool gave no result that counts, told from what it wrote.

use std::fmt;

use domain::hint::Hinted;

/// How the tool's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolExit {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for ToolExit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "signal {number}"),
        }
    }
}

/// The named ways in which the tool fails as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolFailureKind {
    /// It refused its command line.
    BadArguments,
    /// A Python package is missing.
    PackageMissing,
    /// It could not reach the server.
    ServerDown,
    /// No warm-up request succeeded.
    WarmUpFailed,
    /// It could not load the tokenizer.
    TokenizerMissing,
    /// It could not load the data set.
    DatasetMissing,
    /// The server would not empty its cache.
    FlushRefused,
    /// Every request failed, and it stumbled over the empty result.
    AllFailed,
    /// The server went away while it was being asked for its arguments.
    ServerLost,
    /// It printed its block and crashed before it wrote its file.
    CrashedAfterResults,
    /// The folder of its output file does not exist.
    OutputDirMissing,
    /// It was ended by SIGINT or SIGTERM.
    Interrupted,
    /// It was ended by another signal.
    Killed,
    /// It ended with an error that has no name here.
    Crashed,
    /// It ended without an error and without a result.
    NoResult,
    /// Its result is about more requests than were asked for.
    NotThisRun,
}

impl ToolFailureKind {
    /// Stable name, for machines.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadArguments => "bad-arguments",
            Self::PackageMissing => "package-missing",
            Self::ServerDown => "server-down",
            Self::WarmUpFailed => "warm-up-failed",
            Self::TokenizerMissing => "tokenizer-missing",
            Self::DatasetMissing => "dataset-missing",
            Self::FlushRefused => "flush-refused",
            Self::AllFailed => "all-failed",
            Self::ServerLost => "server-lost",
            Self::CrashedAfterResults => "crashed-after-results",
            Self::OutputDirMissing => "output-dir-missing",
            Self::Interrupted => "interrupted",
            Self::Killed => "killed",
            Self::Crashed => "crashed",
            Self::NoResult => "no-result",
            Self::NotThisRun => "not-this-run",
        }
    }

    const fn what(self) -> &'static str {
        match self {
            Self::BadArguments => "the tool refused its command line",
            Self::PackageMissing => "the tool lacks a Python package",
            Self::ServerDown => "the tool could not reach the server",
            Self::WarmUpFailed => "no warm-up request of the tool succeeded",
            Self::TokenizerMissing => "the tool could not load the tokenizer",
            Self::DatasetMissing => "the tool could not load its data set",
            Self::FlushRefused => "the server would not empty its cache for the tool",
            Self::AllFailed => "every request of the tool failed",
            Self::ServerLost => "the server went away before the tool had its result",
            Self::CrashedAfterResults => "the tool crashed after it had printed its result",
            Self::OutputDirMissing => "the folder for the tool's result does not exist",
            Self::Interrupted => "the tool was interrupted",
            Self::Killed => "the tool was killed",
            Self::Crashed => "the tool crashed",
            Self::NoResult => "the tool gave no result",
            Self::NotThisRun => "the tool's result is not about this run",
        }
    }
}

/// The tool gave no result that counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: `{line}`", kind.what())]
pub struct ToolFailure {
    /// Which way.
    pub kind: ToolFailureKind,
    /// The line that proves it, cut to size; or how the tool ended, where it wrote nothing.
    pub line: String,
}

/// Longest line that is quoted, in characters. The tool prints whole tracebacks as one message.
const LINE_CHARS: usize = 400;

impl ToolFailure {
    /// A failure with its proof cut to size.
    pub(super) fn new(kind: ToolFailureKind, line: &str) -> Self {
        Self { kind, line: line.trim().chars().take(LINE_CHARS).collect() }
    }
}

impl Hinted for ToolFailure {
    fn hint(&self) -> Option<String> {
        let hint = match self.kind {
            ToolFailureKind::PackageMissing => {
                Some("install the package into the Python that `--python` names")
            }
            ToolFailureKind::TokenizerMissing => {
                Some("`--tokenizer` must name a folder with `tokenizer.json` and `config.json`")
            }
            ToolFailureKind::DatasetMissing => {
                Some("name a ShareGPT file with `--dataset-path`, or use dataset `random-ids`")
            }
            ToolFailureKind::WarmUpFailed => stumble(&self.line),
            ToolFailureKind::BadArguments
            | ToolFailureKind::ServerDown
            | ToolFailureKind::FlushRefused
            | ToolFailureKind::AllFailed
            | ToolFailureKind::ServerLost
            | ToolFailureKind::CrashedAfterResults
            | ToolFailureKind::OutputDirMissing
            | ToolFailureKind::Interrupted
            | ToolFailureKind::Killed
            | ToolFailureKind::Crashed
            | ToolFailureKind::NoResult
            | ToolFailureKind::NotThisRun => None,
        };
        hint.map(str::to_owned)
    }
}

/// What in a stream the tool cannot read, told from how it stumbled.
fn stumble(line: &str) -> Option<&'static str> {
    if line.contains("JSONDecodeError") {
        Some(
            "the stream has lines other than `data:`, which the tool cannot read; use `--engine native`",
        )
    } else if line.contains("IndexError: list index out of range") {
        Some(
            "the stream has a chunk without choices, which the tool cannot read; use `--engine native`",
        )
    } else {
        None
    }
}

/// What is known when the tool has ended.
pub(super) struct Ended<'a> {
    pub(super) stdout: &'a str,
    pub(super) stderr: &'a str,
    pub(super) exit: ToolExit,
    /// It printed a whole result block.
    pub(super) has_block: bool,
}

/// Names the failure of a tool that did not end well.
pub(super) fn diagnose(ended: &Ended<'_>) -> ToolFailure {
    use ToolFailureKind as Kind;
    let last = last_line(ended.stderr).or_else(|| last_line(ended.stdout));
    let how = ended.exit.to_string();
    let last = last.unwrap_or(&how);
    let said = |text: &'static str| find_line(ended.stdout, text);
    let raised = |text: &'static str| find_line(ended.stderr, text);

    if let Some(kind) = by_signal(ended) {
        return ToolFailure::new(kind, &how);
    }
    if ended.has_block {
        let folder = last.starts_with("FileNotFoundError");
        let kind = if folder { Kind::OutputDirMissing } else { Kind::CrashedAfterResults };
        return ToolFailure::new(kind, last);
    }
    if let Some(line) = raised(": error: ").filter(|_| ended.exit == ToolExit::Code(2)) {
        return ToolFailure::new(Kind::BadArguments, line);
    }
    if let Some(line) = raised("No module named").or_else(|| raised("ImportError: ")) {
        return ToolFailure::new(Kind::PackageMissing, line);
    }
    if let Some(line) = said("did not become ready").or_else(|| said("Failed to fetch model from"))
    {
        return ToolFailure::new(Kind::ServerDown, line);
    }
    if let Some(line) = raised("Warmup failed") {
        return warm_up_failure(ended.stderr, line);
    }
    // Where the traceback passed through says what was being done.
    let places = [
        ("in calculate_metrics", Kind::AllFailed),
        ("in flush_server_cache", Kind::FlushRefused),
        ("in get_tokenizer", Kind::TokenizerMissing),
        ("in get_dataset", Kind::DatasetMissing),
        ("in sample_random_requests", Kind::DatasetMissing),
        ("requests.exceptions.ConnectionError", Kind::ServerLost),
    ];
    let place = places.into_iter().find(|(place, _)| raised(place).is_some());
    let kind = match (place, ended.exit) {
        (Some((_, kind)), _) => kind,
        (None, ToolExit::Code(0)) => Kind::NoResult,
        (None, ToolExit::Code(_) | ToolExit::Signal(_)) => Kind::Crashed,
    };
    ToolFailure::new(kind, exception_line(ended.stderr).unwrap_or(last))
}

/// An end by signal, also where Python or a shell turned it into an exit code.
fn by_signal(ended: &Ended<'_>) -> Option<ToolFailureKind> {
    match ended.exit {
        ToolExit::Signal(2 | 15) | ToolExit::Code(130 | 143) => Some(ToolFailureKind::Interrupted),
        ToolExit::Signal(_) => Some(ToolFailureKind::Killed),
        ToolExit::Code(_) => {
            let interrupted = last_line(ended.stderr) == Some("KeyboardInterrupt");
            interrupted.then_some(ToolFailureKind::Interrupted)
        }
    }
}

/// A failed warm-up carries the first request's error, often a whole traceback.
fn warm_up_failure(stderr: &str, line: &str) -> ToolFailure {
    let cause = line.split_once(" Error: ").map_or(line, |(_, cause)| cause);
    let traceback = cause.starts_with("Traceback");
    let proof = last_line(stderr).filter(|_| traceback).unwrap_or(cause);
    let unreachable = stderr.contains("Cannot connect to host");
    let kind =
        if unreachable { ToolFailureKind::ServerDown } else { ToolFailureKind::WarmUpFailed };
    ToolFailure::new(kind, proof)
}

/// The line in which a traceback names the exception; further lines of its message may follow.
fn exception_line(stderr: &str) -> Option<&str> {
    let traceback = &stderr[stderr.rfind("Traceback (most recent call last)")?..];
    traceback.lines().skip(1).find(|line| !line.is_empty() && !line.starts_with(' '))
}

fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}

fn find_line<'a>(text: &'a str, part: &str) -> Option<&'a str> {
    text.lines().find(|line| line.contains(part))
}
