//! What is measured: a framework, its model, its arguments and where it runs.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::framework::Framework;
use crate::names::names;

/// Which processor the framework is to run on, as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Device {
    /// A GPU where the framework needs one or the host has one, else the CPU.
    Auto,
    /// The CPU: no GPU is looked for.
    Cpu,
    /// A GPU: without one nothing is measured.
    Gpu,
}

names!(Device, "device", { Auto => "auto", Cpu => "cpu", Gpu => "gpu" });

/// One framework to measure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The framework.
    pub framework: Framework,
    /// Model to serve: a path, a hub id, or for Ollama a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Name that the server gives the model, where it differs from `model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served_model_name: Option<String>,
    /// Folder with `tokenizer.json`; without one the embedded tokenizer is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<PathBuf>,
    /// Base URL of a running server to attach to, instead of starting one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Port for a server that servegate starts; a free one is chosen if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Which processor it is to run on.
    pub device: Device,
    /// Program that starts the framework, where it is not the one on the search path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executable: Option<PathBuf>,
    /// Further arguments for the framework, passed through as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub server_args: Vec<String>,
}

impl Target {
    /// Whether it must have a healthy GPU here, given whether the host has one.
    pub fn wants_gpu(&self, host_has_gpu: bool) -> bool {
        match (self.device, self.framework) {
            (Device::Cpu, _) | (Device::Auto, Framework::Sim) => false,
            (Device::Gpu, _) => true,
            // A server that runs already holds its GPU, which may be another host's.
            (Device::Auto, _) if self.url.is_some() => false,
            (Device::Auto, Framework::Sglang | Framework::Vllm) => true,
            (
                Device::Auto,
                Framework::Ollama
                | Framework::LlamaCpp
                | Framework::Transformers
                | Framework::Openai,
            ) => host_has_gpu,
        }
    }
}
