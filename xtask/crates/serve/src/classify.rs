//! The root cause of a failed start, found in the server's log.
//!
//! A log line is evidence, not a verdict: nothing fails because of a line, but what has failed is
//! explained by one.

use domain::anomaly::Anomaly;

use crate::log::cut;
use crate::port;

/// A line of the log that explains a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCause {
    /// The class of the trouble.
    pub class: LogClass,
    /// The line, cut to size.
    pub line: String,
}

impl LogCause {
    fn of(class: LogClass, line: &str) -> Self {
        // Typer frames what it says.
        let line = line.trim_matches(|next: char| next == '│' || next.is_whitespace());
        Self { class, line: cut(line) }
    }

    /// What to do, in one sentence.
    pub const fn advice(&self) -> &'static str {
        self.class.advice()
    }

    /// Whether the trouble is one of memory, for which somebody else on the GPU may be to blame.
    pub const fn is_of_memory(&self) -> bool {
        matches!(self.class, LogClass::OutOfMemory | LogClass::VramBusy | LogClass::KvCacheTooSmall)
    }

    /// The same line, with the GPU's other users to blame for it.
    #[must_use]
    pub fn blamed_on_others(self) -> Self {
        Self { class: LogClass::VramBusy, ..self }
    }

    /// The same as an entry of the record.
    pub fn anomaly(&self) -> Anomaly {
        Anomaly::ServerLog { class: self.class.as_str().to_owned(), line: self.line.clone() }
    }
}

/// Classes of trouble that servers write into their logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogClass {
    /// The device's memory did not suffice.
    OutOfMemory,
    /// Another process has the port.
    PortInUse,
    /// Another process has the device's memory.
    VramBusy,
    /// Nothing is left for the KV cache.
    KvCacheTooSmall,
    /// The context is longer than the model or the KV cache allows.
    ContextTooLong,
    /// The model is not on this host, or is not readable.
    ModelMissing,
    /// The model may not be read without an account.
    HubAccess,
    /// The programs do not know this GPU.
    Architecture,
    /// The driver is too old for the programs.
    Driver,
    /// The installation is not whole.
    Installation,
    /// A disk or the shared memory is full.
    Disk,
    /// GPUs could not talk to each other.
    Nccl,
    /// The model wants to run code of its own.
    RemoteCode,
    /// The framework does not know an argument.
    Arguments,
}

impl LogClass {
    /// Every class.
    pub const ALL: [Self; 14] = [
        Self::OutOfMemory,
        Self::PortInUse,
        Self::VramBusy,
        Self::KvCacheTooSmall,
        Self::ContextTooLong,
        Self::ModelMissing,
        Self::HubAccess,
        Self::Architecture,
        Self::Driver,
        Self::Installation,
        Self::Disk,
        Self::Nccl,
        Self::RemoteCode,
        Self::Arguments,
    ];

    /// Stable name, as in files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OutOfMemory => "out-of-memory",
            Self::PortInUse => "port-in-use",
            Self::VramBusy => "vram-busy",
            Self::KvCacheTooSmall => "kv-cache-too-small",
            Self::ContextTooLong => "context-too-long",
            Self::ModelMissing => "model-missing",
            Self::HubAccess => "hub-access",
            Self::Architecture => "architecture",
            Self::Driver => "driver",
            Self::Installation => "installation",
            Self::Disk => "disk",
            Self::Nccl => "nccl",
            Self::RemoteCode => "remote-code",
            Self::Arguments => "arguments",
        }
    }

    /// What to do, in one sentence.
    pub const fn advice(self) -> &'static str {
        match self {
            Self::OutOfMemory => "lower `memory_share` or `context_tokens`, or use a smaller model",
            Self::PortInUse => port::ADVICE,
            Self::VramBusy => "end what else uses the GPU, or lower `memory_share`",
            Self::KvCacheTooSmall => {
                "raise `memory_share` or `kv_cache_tokens`, or lower `context_tokens`"
            }
            Self::ContextTooLong => "lower `context_tokens` to what the model allows",
            Self::ModelMissing => {
                "name a folder or a file that is there with `--model`, or download the model first: servers are started offline"
            }
            Self::HubAccess => "accept the model's licence and download it with your account first",
            Self::Architecture => "install a build of the framework for this GPU",
            Self::Driver => "update the NVIDIA driver, or install a build for an older CUDA",
            Self::Installation => "install the framework anew, into an environment of its own",
            Self::Disk => "free space on the disk, or enlarge the shared memory (`/dev/shm`)",
            Self::Nccl => "start with one GPU, or set `NCCL_DEBUG=INFO` and read the log",
            Self::RemoteCode => "read the model's code and allow it in the target's `server_args`",
            Self::Arguments => "correct the target's `server_args` for this version",
        }
    }

    /// Texts that point to the class, in lower case.
    const fn texts(self) -> &'static [&'static str] {
        match self {
            Self::OutOfMemory => &OUT_OF_MEMORY,
            Self::PortInUse => &[
                "address already in use",
                "[errno 98]",
                "port is already in use",
                "failed to bind socket",
                "couldn't bind http server socket",
                "is used by a process already",
            ],
            Self::VramBusy => {
                &["less than desired gpu memory util", "memory capacity is unbalanced"]
            }
            Self::KvCacheTooSmall => &[
                "no available memory for the cache blocks",
                "no gpu memory for the kv cache",
                "increase --mem-fraction-static",
                // One request of the full context finds no room in it.
                "to serve at least one request with the model",
                "larger than the available kv cache memory",
            ],
            Self::ContextTooLong => &[
                "greater than the derived max_model_len",
                "greater than the derived context_length",
                "longer than the model's context length",
            ],
            Self::ModelMissing => &MODEL_MISSING,
            Self::HubAccess => &["gatedrepoerror", "gated repo", "401 client error"],
            Self::Architecture => {
                &["no kernel image", "unsupported ptx", "provided ptx was compiled"]
            }
            Self::Driver => &[
                "cuda driver version is insufficient",
                "forward compatibility was attempted",
                "nvidia driver on your system is too old",
            ],
            Self::Installation => &[
                "importerror:",
                "modulenotfounderror:",
                "undefined symbol",
                "cannot open shared object file",
                "exec: ",
            ],
            Self::Disk => &["no space left on device", "insufficient shared memory"],
            Self::Nccl => &["nccl error", "nccl warn", "ncclsystemerror", "ncclunhandledcudaerror"],
            Self::RemoteCode => &["trust_remote_code=true", "--trust-remote-code"],
            Self::Arguments => &ARGUMENTS,
        }
    }

    /// Whether the line, in lower case, points to the class.
    fn is_told_by(self, line: &str) -> bool {
        let told = self.texts().iter().any(|text| line.contains(text));
        told || matches!(self, Self::Architecture) && names_unknown_architecture(line)
    }
}

/// Texts that say that the memory of the device did not suffice.
const OUT_OF_MEMORY: [&str; 7] = [
    "cuda out of memory",
    "cuda error: out of memory",
    "outofmemoryerror",
    "cudamalloc failed",
    "prefill out of memory",
    "decode out of memory",
    "failed to allocate buffer for kv cache",
];

/// Texts that say that the model is not on this host.
const MODEL_MISSING: [&str; 14] = [
    "is not a valid model identifier",
    "is not a local folder",
    "invalid repository id or local directory",
    "repo id must be in the form",
    "hfvalidationerror",
    "repositorynotfounderror",
    "can't load the configuration of",
    "couldn't connect to 'https://huggingface.co'",
    "cannot find any model weights",
    "localentrynotfounderror",
    "offlinemodeisenabled",
    "error loading model",
    "failed to load model",
    "failed to open gguf file",
];

/// Texts that say that the framework does not know an argument, of parsers that print no usage
/// before them: of llama.cpp, Typer, Cobra (Ollama) and clap (the simulated server).
const ARGUMENTS: [&str; 8] = [
    "unrecognized arguments",
    "error: invalid argument",
    "error while handling argument",
    "no such option",
    "invalid value for '-",
    "unknown flag: ",
    "error: unexpected argument",
    "error: invalid value '",
];

/// `… sm_120 is not compatible …`: torch's word for a GPU that it was not built for.
fn names_unknown_architecture(line: &str) -> bool {
    line.split("sm_").skip(1).any(|after| {
        let rest = after.trim_start_matches(|next: char| next.is_ascii_digit());
        rest.len() < after.len() && rest.starts_with(" is not")
    })
}

/// After this vLLM's front end repeats the failure of its engine without the reason, which stands
/// above.
const SEE_ABOVE: &str = "see root cause above";

/// The line that explains a failure.
///
/// It is the first one that is known; where vLLM points up, the nearest one above. If a Python
/// exception made others, it is the last one of them, which the program ended with. A line that
/// its writer calls a warning explains a failure only where no other does.
pub(crate) fn classify(log: &str) -> Option<LogCause> {
    let told = refused_arguments(log).map(|line| LogCause::of(LogClass::Arguments, line));
    told.or_else(|| explained(&log.lines().filter(|line| !is_detail(line)).collect::<Vec<_>>()))
}

fn explained(lines: &[&str]) -> Option<LogCause> {
    let pointer = lines.iter().position(|line| line.to_ascii_lowercase().contains(SEE_ABOVE));
    let grave = |line: &&&str| !is_warning(line);
    let above =
        pointer.and_then(|at| lines[..at].iter().rev().filter(grave).find_map(|line| cause(line)));
    let first = || {
        let mut known = lines.iter().enumerate().filter(|(_, line)| grave(line));
        let (at, first) = known.find_map(|(at, line)| Some((at, cause(line)?)))?;
        Some(last_of_chain(&lines[at..]).unwrap_or(first))
    };
    above.or_else(first).or_else(|| lines.iter().find_map(|line| cause(line)))
}

/// What Python writes between an exception and one that was raised because of it, in lower case.
const LINKS: [&str; 2] = [
    "the above exception was the direct cause of the following exception",
    "during handling of the above exception, another exception occurred",
];

/// The last exception that is known among those that came of the one at the start of `lines`.
fn last_of_chain(lines: &[&str]) -> Option<LogCause> {
    let begins = |line: &&str| line.contains("Traceback (most recent call last)");
    let links = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        LINKS.iter().any(|text| lower.contains(text))
    };
    let mut parts = lines.split(begins);
    let (mut part, mut last) = (parts.next()?, None);
    while part.iter().any(links)
        && let Some(next) = parts.next()
    {
        part = next;
        last = part.iter().find_map(|line| cause(line)).or(last);
    }
    last
}

/// The last word of Python's argument parser: the line behind its usage text, which names every
/// argument there is and so nearly every trouble.
fn refused_arguments(log: &str) -> Option<&str> {
    let mut lines = log.lines().skip_while(|line| !is_usage(line)).skip(1);
    lines.find(|line| !is_detail(line)).filter(|line| line.contains(": error: "))
}

fn is_usage(line: &str) -> bool {
    said(line).get(..6).is_some_and(|word| word.eq_ignore_ascii_case("usage:"))
}

/// Whether a line is no word of its own: source code in a traceback, and a usage text.
fn is_detail(line: &str) -> bool {
    let said = said(line);
    let text = said.trim_start();
    let is_source = SOURCE_INDENT <= said.len() - text.len() || text.starts_with("File \"");
    // Typer frames its tracebacks, and its numbered lines of source once more.
    is_source || is_usage(line) || 2 < line.matches('│').count()
}

/// Columns by which Python indents the source code in a traceback. Its usage texts are indented
/// more; what a message goes on with is less.
const SOURCE_INDENT: usize = 4;

/// What stands in a line behind what its logger put first (process, level, time, place), with the
/// indentation that it has there.
fn said(line: &str) -> &str {
    let mut rest = line;
    while let Some(behind) = behind_mark(rest) {
        rest = behind;
    }
    rest
}

fn behind_mark(line: &str) -> Option<&str> {
    let end = match line.chars().next()? {
        '(' => line.find(')')? + 1,
        '[' => line.find(']')? + 1,
        _ => line.find(' ')?,
    };
    let (mark, behind) = line.split_at(end);
    let is_time = !mark.is_empty()
        && mark.chars().all(|next| next.is_ascii_digit() || matches!(next, '-' | ':' | '.'));
    let is_mark = is_time || mark.ends_with([')', ']']) || LEVELS.contains(&mark);
    // `[rank0]: ` is torch's.
    let behind = behind.strip_prefix(':').unwrap_or(behind);
    behind.strip_prefix(' ').filter(|_| is_mark)
}

/// Levels as the frameworks write them.
const LEVELS: [&str; 6] = ["DEBUG", "INFO", "WARNING", "WARN", "ERROR", "CRITICAL"];

/// Texts, in lower case, with which an engine says that it has failed, while the front end that
/// started it may live on for a while, or for ever.
const DOOMED: [&str; 6] = [
    "enginecore failed to start",
    "engine core initialization failed",
    "enginecore encountered a fatal error",
    "scheduler hit an exception",
    "sigquit received",
    "application startup failed",
];

/// The line by which a log says that the server will never serve, if one does.
pub(crate) fn doom(log: &str) -> Option<String> {
    let is_last = |line: &&str| {
        let lower = line.to_ascii_lowercase();
        !is_argument_dump(&lower) && DOOMED.iter().any(|text| lower.contains(text))
    };
    log.lines().find(is_last).map(|line| cut(line.trim()))
}

/// Whether a line's writer calls it a warning or less. SGLang writes no levels.
fn is_warning(line: &str) -> bool {
    if said(line).starts_with("Ignore import error") {
        return true;
    }
    // Levels stand near the front: behind a time, a process id or the name of a component.
    let front: String = line.chars().take(LEVEL_WITHIN).collect();
    let mut words = front.split(|next: char| !next.is_ascii_alphabetic());
    words.any(|word| matches!(word, "WARNING" | "WARN" | "INFO" | "DEBUG"))
}

/// Characters of a line in which its level is looked for.
const LEVEL_WITHIN: usize = 60;

fn cause(line: &str) -> Option<LogCause> {
    let lower = line.to_ascii_lowercase();
    if is_argument_dump(&lower) {
        return None;
    }
    let class = LogClass::ALL.into_iter().find(|class| class.is_told_by(&lower))?;
    let cause = LogCause::of(class, line);
    Some(if class == LogClass::OutOfMemory && others_hold_more(&lower) {
        cause.blamed_on_others()
    } else {
        cause
    })
}

/// Whether torch says, in lower case here, that others hold more of the GPU than the process that
/// found no room: `process 7 has 68.60 gib memory in use. […] this process has 10.50 gib memory`.
fn others_hold_more(lower: &str) -> bool {
    let held = lower.split("process ").skip(1).filter_map(|said| {
        let (who, what) = said.split_once("has ")?;
        let mut words = what.split_whitespace();
        let number: f64 = words.next()?.parse().ok()?;
        let mib = if words.next()? == "gib" { number * 1024.0 } else { number };
        Some((who.is_empty(), mib))
    });
    let (own, others): (Vec<_>, Vec<_>) = held.partition(|(is_own, _)| *is_own);
    let sum = |held: &[(bool, f64)]| held.iter().map(|(_, mib)| mib).sum::<f64>();
    sum(&own) < sum(&others)
}

/// Servers print their whole configuration, which names nearly every trouble there is.
fn is_argument_dump(lower: &str) -> bool {
    ["serverargs(", "with config:", "non-default args"].iter().any(|mark| lower.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One line for each class, as the frameworks write it.
    const LINES: [(LogClass, &str); 40] = [
        (
            LogClass::OutOfMemory,
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.",
        ),
        (
            LogClass::OutOfMemory,
            "torch.OutOfMemoryError: CUDA out of memory. Process 7 has 512.00 MiB memory in use. Including non-PyTorch memory, this process has 70.10 GiB memory in use.",
        ),
        (
            LogClass::VramBusy,
            "torch.OutOfMemoryError: CUDA out of memory. Process 7 has 36.00 GiB memory in use. Process 8 has 900.00 MiB memory in use. Including non-PyTorch memory, this process has 20.10 GiB memory in use.",
        ),
        (
            LogClass::OutOfMemory,
            "ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed: out of memory",
        ),
        (LogClass::PortInUse, "OSError: [Errno 98] Address already in use"),
        (LogClass::PortInUse, "ValueError: Port is already in use. dist_init_port=30233"),
        (
            LogClass::PortInUse,
            "srv start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 30000",
        ),
        (
            LogClass::VramBusy,
            "ValueError: Free memory on device cuda:0 (10.2/79.1 GiB) on startup is less than desired GPU memory utilization (0.9, 71.2 GiB).",
        ),
        (
            LogClass::VramBusy,
            "ValueError: The memory capacity is unbalanced. Some GPUs may be occupied by other processes.",
        ),
        (LogClass::KvCacheTooSmall, "ValueError: No available memory for the cache blocks."),
        (
            LogClass::KvCacheTooSmall,
            "RuntimeError: Not enough memory. Please try to increase --mem-fraction-static.",
        ),
        (
            LogClass::KvCacheTooSmall,
            "ValueError: To serve at least one request with the models's max seq len (131072), (16.0 GiB KV cache is needed, which is larger than the available KV cache memory (3.2 GiB).",
        ),
        (
            LogClass::ContextTooLong,
            "Value error, User-specified max_model_len (10000000) is greater than the derived max_model_len (max_position_embeddings=32768).",
        ),
        (
            LogClass::ContextTooLong,
            "ValueError: Warning: User-specified context_length (10000000) is greater than the derived context_length (32768).",
        ),
        (
            LogClass::ModelMissing,
            "Value error, Invalid repository ID or local directory specified: '/models/none'.",
        ),
        (
            LogClass::ModelMissing,
            "huggingface_hub.errors.HFValidationError: Repo id must be in the form 'repo_name' or 'namespace/repo_name': '/models/none'.",
        ),
        (LogClass::ModelMissing, "OSError: Can't load the configuration of '/models/none'."),
        (
            LogClass::ModelMissing,
            "OSError: foo/bar is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",
        ),
        (
            LogClass::ModelMissing,
            "gguf_init_from_file: failed to open GGUF file '/models/none.gguf'",
        ),
        (LogClass::HubAccess, "huggingface_hub.errors.GatedRepoError: 401 Client Error."),
        (
            LogClass::Architecture,
            "RuntimeError: CUDA error: no kernel image is available for execution on the device",
        ),
        (
            LogClass::Architecture,
            "NVIDIA RTX 5090 with CUDA capability sm_120 is not compatible with the current PyTorch installation.",
        ),
        (LogClass::Driver, "CUDA driver version is insufficient for CUDA runtime version"),
        (
            LogClass::Installation,
            "ImportError: libcudart.so.13: cannot open shared object file: No such file or directory",
        ),
        (LogClass::Installation, "/usr/bin/sh: 1: exec: vllm: not found"),
        (LogClass::Disk, "OSError: [Errno 28] No space left on device"),
        (
            LogClass::Nccl,
            "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:3690, ncclSystemError",
        ),
        (
            LogClass::RemoteCode,
            "ValueError: Please pass the argument `trust_remote_code=True` to allow custom code to be run.",
        ),
        (LogClass::Arguments, "vllm: error: unrecognized arguments: --mem-fraction-static 0.9"),
        (LogClass::Arguments, "error: invalid argument: --no-such-argument"),
        (LogClass::Arguments, "error while handling argument \"--ctx-size\": stoi"),
        (LogClass::Arguments, "No such option: --no-such-argument"),
        (LogClass::Arguments, "Invalid value for '--port': 'x' is not a valid integer."),
        (LogClass::Arguments, "Error: unknown flag: --no-such-argument"),
        (LogClass::Arguments, "error: unexpected argument '--no-such-argument' found"),
        (LogClass::Arguments, "error: invalid value 'many' for '--slots <SLOTS>': invalid digit"),
        (
            LogClass::PortInUse,
            "ValueError: server_port at 30000 is not available in 30 seconds. port 30000 is used by a process already.",
        ),
        (LogClass::PortInUse, "Error: listen tcp 127.0.0.1:11434: bind: address already in use"),
        (
            LogClass::KvCacheTooSmall,
            "ValueError: Loaded weights leave no GPU memory for the KV cache under --mem-fraction-static=0.1.",
        ),
        (
            LogClass::KvCacheTooSmall,
            "RuntimeError: Not enough GPU memory for hybrid (mamba/linear-attention) state cache. Try: (1) reduce --max-running-requests, (2) increase --mem-fraction-static",
        ),
    ];

    /// What is told about the logs in `tests/fixtures/logs/failed`.
    #[test]
    fn real_failed_starts_are_explained() {
        use std::fmt::Write as _;
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/logs/failed");
        let entries = std::fs::read_dir(folder).unwrap();
        let mut logs: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        logs.sort();
        let mut told = String::new();
        for log in logs {
            let case = log.file_stem().unwrap().to_str().unwrap().replacen('-', " × ", 1);
            let text = std::fs::read_to_string(&log).unwrap();
            let cause = classify(&text).unwrap_or_else(|| panic!("no cause in {}", log.display()));
            let (class, advice) = (cause.class.as_str(), cause.advice());
            writeln!(told, "{case} → {class}\n  {}\n  hint: {advice}", cause.line).unwrap();
        }
        insta::assert_snapshot!(told);
    }

    #[test]
    fn every_class_is_recognised_and_named() {
        for (class, line) in LINES {
            let cause = classify(&format!("INFO starting\n{line}\nTraceback\n")).unwrap();
            assert_eq!((cause.class, cause.line.as_str()), (class, line));
            assert!(!cause.advice().is_empty());
        }
        for class in LogClass::ALL {
            assert!(LINES.iter().any(|(one, _)| *one == class), "no line for {}", class.as_str());
        }
    }

    #[test]
    fn logs_of_servers_that_served_name_no_cause() {
        let vllm = include_str!("../tests/fixtures/logs/vllm-0.24.0.log");
        let sglang = include_str!("../tests/fixtures/logs/sglang-0.5.14.log");
        assert_eq!(classify(vllm), None);
        assert_eq!(classify(sglang), None);
    }

    #[test]
    fn the_first_cause_counts_because_the_others_follow_from_it() {
        let log = "E cudaMalloc failed: out of memory\nE failed to load model\n";
        assert_eq!(classify(log).unwrap().class, LogClass::OutOfMemory);
    }

    #[test]
    fn a_warning_explains_only_what_nothing_else_does() {
        let warning =
            "(APIServer pid=1) WARNING 11-24 02:55:52 [x.py:1] ImportError: no flashinfer";
        let fatal = "(EngineCore pid=2) ERROR 11-24 02:57:57 [core.py:1] ValueError: No available memory for the cache blocks.";
        let both = format!("{warning}\n{fatal}\n");
        assert_eq!(classify(&both).unwrap().class, LogClass::KvCacheTooSmall);
        assert_eq!(classify(warning).unwrap().class, LogClass::Installation);
    }

    #[test]
    fn an_engine_that_failed_is_told_from_one_that_is_starting() {
        let vllm = include_str!("../tests/fixtures/logs/vllm-0.24.0.log");
        let sglang = include_str!("../tests/fixtures/logs/sglang-0.5.14.log");
        assert_eq!((doom(vllm), doom(sglang)), (None, None));
        let failed = "INFO loading\n(EngineCore pid=2) ERROR [core.py:1] EngineCore failed to start.\nTraceback\n";
        insta::assert_snapshot!(doom(failed).unwrap(), @"(EngineCore pid=2) ERROR [core.py:1] EngineCore failed to start.");
    }

    #[test]
    fn where_vllm_points_up_the_nearest_cause_above_counts() {
        let log = "WARNING ImportError: flashinfer is not there, falling back\n\
                   (EngineCore) ValueError: No available memory for the cache blocks.\n\
                   (APIServer) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}\n\
                   (APIServer) OSError: [Errno 98] Address already in use\n";
        assert_eq!(classify(log).unwrap().class, LogClass::KvCacheTooSmall);
    }

    #[test]
    fn of_a_parser_only_its_last_word_counts_and_of_a_traceback_no_source() {
        let usage = "usage: serve [-h]\n             [--trust-remote-code]\n";
        let refused =
            format!("ImportError: x\n{usage}serve: error: argument --a: invalid choice\n");
        let cause = classify(&refused).unwrap();
        assert_eq!(cause.class, LogClass::Arguments);
        insta::assert_snapshot!(cause.line, @"serve: error: argument --a: invalid choice");
        // It ended otherwise.
        assert_eq!(classify(&format!("{usage}\nmain: error: bad luck\n")), None);
        for front in ["", "[rank0]: ", "(Worker_TP0 pid=7) ERROR 11-24 12:08:13 [core.py:1231] "] {
            let lines = [
                "Traceback (most recent call last):",
                "  File \"gated repo.py\", line 1, in <module>",
                "    raise CUDA out of memory",
                "          ^^^^ no space left on device",
                "KeyError: 'x'",
            ];
            let log = lines.map(|line| format!("{front}{line}\n")).concat();
            assert_eq!(classify(&log), None, "{log}");
        }
    }

    #[test]
    fn what_typer_says_in_a_frame_is_taken_out_of_it() {
        let log = "│ ❱ 12 │   raise OSError(\"No space left on device\") │\n\
                   ╭─ Error ───────────────────────╮\n\
                   │ No such option: --no-such     │\n\
                   ╰───────────────────────────────╯\n";
        insta::assert_snapshot!(classify(log).unwrap().line, @"No such option: --no-such");
    }

    #[test]
    fn of_exceptions_that_made_each_other_the_last_known_one_counts() {
        let link = "The above exception was the direct cause of the following exception:";
        let again = "Traceback (most recent call last):\n  File \"x.py\", line 1\n    call()";
        let chain = format!(
            "{again}\nx.LocalEntryNotFoundError: not on the disk\n\n{link}\n\n\
             {again}\nOSError: You are trying to access a gated repo.\n\n{link}\n\n\
             {again}\nRuntimeError: no tokenizer\n"
        );
        let cause = classify(&chain).unwrap();
        insta::assert_snapshot!(cause.line, @"OSError: You are trying to access a gated repo.");
        // What another process meets later is its own trouble.
        let other = format!("CUDA out of memory\n{again}\n[Errno 98]\n{link}\n{again}\n[Errno 98]");
        assert_eq!(classify(&other).unwrap().class, LogClass::OutOfMemory);
    }

    #[test]
    fn a_model_that_sglang_leaves_out_explains_only_what_nothing_else_does() {
        let left_out = "[2026-11-24 12:11:38] Ignore import error when loading sglang.srt.models.x: libx.so: cannot open shared object file";
        let log = format!("{left_out}\nOSError: [Errno 98] Address already in use\n");
        assert_eq!(classify(&log).unwrap().class, LogClass::PortInUse);
    }

    #[test]
    fn a_configuration_that_is_printed_is_no_cause() {
        let log = "server_args=ServerArgs(model_path='x', trust_remote_code=True, nccl_port=None)";
        assert_eq!(classify(log), None);
    }

    #[test]
    fn another_error_number_is_not_the_port() {
        let log = "This can cause fd limit errors like `OSError: [Errno 24] Too many open files`";
        assert_eq!(classify(log), None);
    }
}
