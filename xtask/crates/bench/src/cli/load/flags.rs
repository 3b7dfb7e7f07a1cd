//! Every flag of the Python tool 0.5.23, and what became of it.

use std::fmt::Write as _;

/// What became of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Support {
    /// Same name, default and meaning.
    Same,
    /// Same name and default, and it does more; what.
    Better(&'static str),
    /// Refused; why.
    Refused(&'static str),
}

/// A flag of the tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flag {
    /// Name, without dashes.
    pub name: &'static str,
    /// Default, as the tool's help shows it; nothing for a switch.
    pub default: &'static str,
    /// What became of it.
    pub support: Support,
}

const fn same(name: &'static str, default: &'static str) -> Flag {
    Flag { name, default, support: Support::Same }
}

const fn better(name: &'static str, default: &'static str, how: &'static str) -> Flag {
    Flag { name, default, support: Support::Better(how) }
}

const fn refused(name: &'static str, default: &'static str, why: &'static str) -> Flag {
    Flag { name, default, support: Support::Refused(why) }
}

const IMAGES: &str = "images are not made here: this is a load of text";
const LORA: &str = "adapters are drawn at send time, which cannot be repeated on a fixed schedule";
const PROFILER: &str = "a profiler slows the server down while it is measured; start it by hand";
const MOONCAKE: &str = "recorded traces are not replayed";
const OTHER_DATASET: &str = "its dataset is not supported";

/// The flags in the order of the tool's help.
pub const TOOL: &[Flag] = &[
    better(
        "backend",
        "sglang",
        "also `openai`, `openai-chat` and `ollama`; not the embedding backends, `trt`, `gserver`, `truss`",
    ),
    better("base-url", "None", "a `/v1` or a slash at its end is noticed"),
    same("host", "0.0.0.0"),
    better(
        "port",
        "None",
        "8000 also for `vllm-chat`, 23333 also for `lmdeploy-chat`, where the tool takes 30000",
    ),
    better(
        "ready-check-timeout-sec",
        "60",
        "the server must also generate a few tokens; 0 shortens the wait but does not skip that",
    ),
    better(
        "dataset-name",
        "sharegpt",
        "`sharegpt`, `custom`, `random`, `random-ids`, `generated-shared-prefix`; nothing is downloaded, so that the first three need `--dataset-path`",
    ),
    same("dataset-path", "''"),
    refused("dataset-offset", "0", OTHER_DATASET),
    refused("agentic-max-turns", "None", OTHER_DATASET),
    refused("speed-bench-category", "None", OTHER_DATASET),
    refused("speed-bench-output-len", "512", OTHER_DATASET),
    better(
        "model",
        "None",
        "without it the server must serve exactly one; the tool takes the first that is listed",
    ),
    same("served-model-name", "None"),
    better(
        "tokenizer",
        "None",
        "a folder, a hub id in the local cache, or `embedded`; nothing is downloaded",
    ),
    same("num-prompts", "1000"),
    same("sharegpt-output-len", "None"),
    same("sharegpt-context-len", "None"),
    same("random-input-len", "1024"),
    same("random-output-len", "1024"),
    same("random-range-ratio", "0.0"),
    refused("image-count", "1", IMAGES),
    refused("image-resolution", "1080p", IMAGES),
    refused("random-image-count", "", IMAGES),
    refused("image-format", "jpeg", IMAGES),
    refused("image-content", "random", IMAGES),
    better(
        "request-rate",
        "inf",
        "the schedule is absolute: a late request does not delay the next, and lateness is reported",
    ),
    refused("use-trace-timestamps", "", MOONCAKE),
    same("max-concurrency", "None"),
    better("output-file", "None", "a missing folder is noticed before the run; strict JSON"),
    better(
        "output-details",
        "",
        "a time that is not known is `null`, not zero; texts are not kept",
    ),
    same("goodput", "None"),
    refused("print-requests", "", "use `--records`, which keeps every request's life in a file"),
    same("disable-tqdm", ""),
    same("disable-stream", ""),
    same("return-logprob", ""),
    same("top-logprobs-num", "0"),
    same("token-ids-logprob", "None"),
    same("logprob-start-len", "-1"),
    same("return-routed-experts", ""),
    better(
        "cache-report",
        "",
        "what the server does not tell is `n/a`, not zero; without the split by device",
    ),
    better("seed", "42", "1 with `--compat` before 0.5.14, as there"),
    same("disable-ignore-eos", ""),
    same("temperature", "0.0"),
    same("top-p", "1.0"),
    better(
        "extra-request-body",
        "None",
        "`{\"stream_options\": {\"include_usage\": true}}` works on every backend and makes token counts exact; the tool fails on it",
    ),
    refused(
        "apply-chat-template",
        "",
        "the model's template would have to be run; a chat backend lets the server apply it",
    ),
    refused("profile", "", PROFILER),
    refused("plot-throughput", "", "nothing is drawn; `--records` has the data"),
    refused("profile-activities", "CPU GPU", PROFILER),
    refused("profile-start-step", "None", PROFILER),
    refused("profile-steps", "None", PROFILER),
    refused("profile-num-steps", "None", PROFILER),
    refused("profile-by-stage", "", PROFILER),
    refused("profile-stages", "None", PROFILER),
    refused("profile-output-dir", "None", PROFILER),
    refused("profile-prefix", "None", PROFILER),
    refused("lora-name", "None", LORA),
    refused("lora-request-distribution", "uniform", LORA),
    refused("lora-zipf-alpha", "1.5", LORA),
    same("prompt-suffix", "''"),
    refused("pd-separated", "", PROFILER),
    refused("profile-prefill-url", "None", PROFILER),
    refused("profile-decode-url", "None", PROFILER),
    better("flush-cache", "", "a server that is busy is asked again"),
    same("flush-cache-timeout", "60.0"),
    same("warmup-requests", "1"),
    same("tokenize-prompt", ""),
    same("gsp-num-groups", "64"),
    same("gsp-prompts-per-group", "16"),
    same("gsp-system-prompt-len", "2048"),
    same("gsp-question-len", "128"),
    same("gsp-output-len", "256"),
    same("gsp-range-ratio", "1.0"),
    same("gsp-fast-prepare", ""),
    refused(
        "gsp-send-routing-key",
        "",
        "the keys are new in every run, so that no two runs would send the same",
    ),
    better("gsp-num-turns", "1", "nothing but 1 is taken"),
    same("gsp-ordered", ""),
    same("gsp-group-distribution", "uniform"),
    same("gsp-zipf-alpha", "None"),
    refused("mooncake-slowdown-factor", "1.0", MOONCAKE),
    refused("mooncake-num-rounds", "1", MOONCAKE),
    refused("mooncake-workload", "conversation", MOONCAKE),
    refused("fake-prefill", "", "half a server is not measured here"),
    same("tag", "None"),
    better("header", "None", "an entry without a name or a value is an error; the tool drops it"),
    refused("rust-client", "", "the native engine is always used"),
    refused("rust-worker-threads", "None", "the native engine is always used"),
];

/// Our own flags of `load`, with their meaning.
pub const OWN: &[(&str, &str)] = &[
    ("compat", "send what another release of the tool sends, 0.4.6 to 0.5.23"),
    ("arrivals", "`constant`: equal gaps at a rate"),
    ("records", "file for the life of every request"),
    (
        "lag-budget",
        "how far the client's own lag may move a number before the run is INVALID and exits 4: a share of the number or a time, whichever is larger; default `1%,1ms`",
    ),
    ("json", "print the line of JSON instead of the block"),
];

/// Backends of the tool that are refused, and why.
pub const BACKENDS: &[(&str, &str)] = &[
    ("sglang-embedding", "embeddings have no tokens to time"),
    ("vllm-embedding", "embeddings have no tokens to time"),
    (
        "trt",
        "TensorRT-LLM's `generate_stream` is not spoken; use its OpenAI front end and `openai`",
    ),
    ("gserver", "the tool itself does not implement it"),
    ("truss", "Truss is not spoken; use `openai` where it has an OpenAI front end"),
];

/// Datasets of the tool that are refused, and why.
pub const DATASETS: &[(&str, &str)] = &[
    ("agentic-trace", MOONCAKE),
    ("openai", "bodies of a file are not sent; use `custom` for its prompts"),
    ("mmmu", IMAGES),
    ("image", IMAGES),
    ("mooncake", MOONCAKE),
    ("longbench_v2", "it has to be downloaded; make a `custom` file of it"),
    ("speed-bench", "make a `custom` file of it"),
];

/// Why a value is refused, if it is.
pub fn reason(refused: &[(&str, &str)], value: &str) -> Option<String> {
    let (_, why) = refused.iter().find(|(name, _)| *name == value)?;
    Some(format!("not supported: {why}"))
}

/// The table of README.md.
pub fn table() -> String {
    let mut text =
        String::from("| flag of the tool | default | here | |\n| --- | --- | --- | --- |\n");
    for Flag { name, default, support } in TOOL {
        let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
        let (word, remark) = match support {
            Support::Same => ("same", ""),
            Support::Better(how) => ("better", *how),
            Support::Refused(why) => ("refused", *why),
        };
        // Writing into a string cannot fail.
        let _ = writeln!(text, "| `--{name}` | {default} | {word} | {remark} |");
    }
    text.push_str("\n| flag of our own | |\n| --- | --- |\n");
    for (name, meaning) in OWN {
        let _ = writeln!(text, "| `--{name}` | {meaning} |");
    }
    text
}
