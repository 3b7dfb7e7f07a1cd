//! Serving frameworks, the wire formats they speak and the engines that load them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::names;

/// A serving framework that servegate can start, or attach to.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Framework {
    /// The embedded simulated server.
    Sim,
    /// SGLang.
    Sglang,
    /// vLLM.
    Vllm,
    /// Ollama.
    Ollama,
    /// llama.cpp's HTTP server.
    LlamaCpp,
    /// `transformers serve`.
    Transformers,
    /// Any other OpenAI-compatible server; can only be attached to.
    Openai,
}

names!(Framework, "framework", {
    Sim => "sim",
    Sglang => "sglang",
    Vllm => "vllm",
    Ollama => "ollama",
    LlamaCpp => "llama-cpp",
    Transformers => "transformers",
    Openai => "openai",
});

impl Framework {
    /// The name as its makers write it.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Sim => "Simulated server",
            Self::Sglang => "SGLang",
            Self::Vllm => "vLLM",
            Self::Ollama => "Ollama",
            Self::LlamaCpp => "llama.cpp",
            Self::Transformers => "transformers serve",
            Self::Openai => "OpenAI-compatible server",
        }
    }
}

/// What `--backend` may say: the values of SGLang's tool, plus the two that only servegate knows
/// (`openai`, `ollama`). `skills/benchmark-runner` maps frameworks to these.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// SGLang's native `/generate`.
    Sglang,
    /// Another name of `sglang`.
    SglangNative,
    /// SGLang's `/v1/completions`.
    SglangOai,
    /// SGLang's `/v1/chat/completions`.
    SglangOaiChat,
    /// vLLM's `/v1/completions`.
    Vllm,
    /// vLLM's `/v1/chat/completions`.
    VllmChat,
    /// LMDeploy's `/v1/completions`.
    Lmdeploy,
    /// LMDeploy's `/v1/chat/completions`.
    LmdeployChat,
    /// Any server's `/v1/completions`.
    Openai,
    /// Any server's `/v1/chat/completions`.
    OpenaiChat,
    /// Ollama's `/api/generate`.
    Ollama,
}

names!(Backend, "backend", {
    Sglang => "sglang",
    SglangNative => "sglang-native",
    SglangOai => "sglang-oai",
    SglangOaiChat => "sglang-oai-chat",
    Vllm => "vllm",
    VllmChat => "vllm-chat",
    Lmdeploy => "lmdeploy",
    LmdeployChat => "lmdeploy-chat",
    Openai => "openai",
    OpenaiChat => "openai-chat",
    Ollama => "ollama",
});

impl Backend {
    /// The wire format that the backend speaks.
    pub const fn wire(self) -> Wire {
        match self {
            Self::Sglang | Self::SglangNative => Wire::SglangGenerate,
            Self::SglangOai | Self::Vllm | Self::Lmdeploy | Self::Openai => Wire::OpenaiCompletions,
            Self::SglangOaiChat | Self::VllmChat | Self::LmdeployChat | Self::OpenaiChat => {
                Wire::OpenaiChat
            }
            Self::Ollama => Wire::OllamaGenerate,
        }
    }

    /// The value that SGLang's Python tool accepts for the same thing, if it has one.
    ///
    /// The tool has no `openai`: its generic OpenAI clients are called `vllm` and `vllm-chat`.
    pub const fn in_sglang_tool(self) -> Option<&'static str> {
        match self {
            Self::Openai => Some("vllm"),
            Self::OpenaiChat => Some("vllm-chat"),
            Self::Ollama => None,
            other => Some(other.as_str()),
        }
    }
}

/// A request and stream format.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// `POST /generate`: SSE, every event repeats the whole text so far.
    SglangGenerate,
    /// `POST /v1/completions`: SSE, one piece of text an event.
    OpenaiCompletions,
    /// `POST /v1/chat/completions`: SSE, one delta an event.
    OpenaiChat,
    /// `POST /api/generate`: NDJSON, one piece of text a line.
    OllamaGenerate,
}

names!(Wire, "wire format", {
    SglangGenerate => "sglang-generate",
    OpenaiCompletions => "openai-completions",
    OpenaiChat => "openai-chat",
    OllamaGenerate => "ollama-generate",
});

impl Wire {
    /// The path that requests are posted to.
    pub const fn path(self) -> &'static str {
        match self {
            Self::SglangGenerate => "/generate",
            Self::OpenaiCompletions => "/v1/completions",
            Self::OpenaiChat => "/v1/chat/completions",
            Self::OllamaGenerate => "/api/generate",
        }
    }
}

/// Who makes the load, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EngineChoice {
    /// SGLang's tool where it can be imported and the framework is a real one, else native.
    Auto,
    /// The engine built into servegate.
    Native,
    /// SGLang's Python tool.
    Sglang,
}

names!(EngineChoice, "engine", { Auto => "auto", Native => "native", Sglang => "sglang" });

/// Who made the load.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// The engine built into servegate.
    Native,
    /// SGLang's Python tool.
    Sglang,
}

names!(Engine, "engine", { Native => "native", Sglang => "sglang" });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_and_serde_names_agree() {
        for framework in Framework::ALL {
            assert_eq!(serde_json::to_value(framework).unwrap(), framework.as_str());
        }
        for backend in Backend::ALL {
            assert_eq!(serde_json::to_value(backend).unwrap(), backend.as_str());
        }
        for wire in Wire::ALL {
            assert_eq!(serde_json::to_value(wire).unwrap(), wire.as_str());
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = "tgi".parse::<Engine>().unwrap_err().to_string();
        assert_eq!(error, "`tgi` is no engine; known are native, sglang");
    }
}
