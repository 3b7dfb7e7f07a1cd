//! The life of one request: `due` → `sent` → first token → tokens → done.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::failure::RequestFailure;

/// What is known of one request. A time that is not known is absent, never zero.
///
/// One JSON object a line in `requests.jsonl.gz`. `due_ns` and `sent_ns` count from the run's
/// start; every other time counts from the moment the request was sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RequestRecord {
    /// Position in the request set.
    pub index: u32,
    /// When the schedule wanted it sent, in ns from the run's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_ns: Option<u64>,
    /// When its first byte was handed to the kernel, in ns from the run's start; the Python tool
    /// does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_ns: Option<u64>,
    /// How long the kernel took for the first write, in ns. If the client lost its core between
    /// reading the clock and the write, the request left up to this much after `sent_ns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write_ns: Option<u64>,
    /// How long the TCP connection took, in ns, ended before `sent_ns`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_ns: Option<u64>,
    /// Chunks that carried tokens, in order of arrival.
    pub chunks: Vec<Chunk>,
    /// When the answer was complete, in ns from sending; absent if it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_ns: Option<u64>,
    /// Prompt length by the client's tokenizer, in tokens.
    pub prompt_tokens: u32,
    /// Prompt length by the server's usage, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_prompt_tokens: Option<u32>,
    /// Prompt tokens that the server found in its prefix cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_tokens: Option<u32>,
    /// Output length asked for, in tokens.
    pub asked_tokens: u32,
    /// Output length by the server's usage, in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_output_tokens: Option<u32>,
    /// Output length that the load tool reports, where it is not the server's count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported_output_tokens: Option<u32>,
    /// Whether the server named the length as its reason to stop (`finish_reason` is `length`).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reached_length: bool,
    /// How long the work took by the server's own clock, where its answer says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_times: Option<ServerTimes>,
    /// HTTP status, if an answer began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// SSE comments and empty events seen.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pings: u32,
    /// Why it failed; absent for a completed request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RequestFailure>,
}

/// What a server says of how long its work took: Ollama and llama.cpp do.
///
/// It knows neither the network nor the wait before its own clock started, so that the client's
/// times may be longer, and never much shorter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServerTimes {
    /// Reading the prompt, in ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_ns: Option<u64>,
    /// Generating the answer, in ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation_ns: Option<u64>,
    /// Everything, loading the model included, in ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_ns: Option<u64>,
}

/// One piece of the stream that carried text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Chunk {
    /// When it arrived, in ns from sending: by the kernel's clock where `late_ns` is there, else
    /// by the reader's own. Chunks of equal time came in one read; of those before the last only
    /// the read before bounds the time.
    pub at_ns: u64,
    /// How long after its arrival the client came to read it, in ns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub late_ns: Option<u32>,
    /// Tokens in it where the stream says so, else absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u32>,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that serde asks for
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl RequestRecord {
    /// Whether it completed.
    pub const fn completed(&self) -> bool {
        self.failure.is_none() && self.done_ns.is_some()
    }

    /// Output length, in tokens: as it was counted, else in chunks.
    ///
    /// A chunk is not a token, so the last resort is a lower bound on most servers; whoever uses
    /// it says so.
    pub fn output_tokens(&self) -> u32 {
        let chunks = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        self.counted_output_tokens().unwrap_or(chunks)
    }

    /// Output length as somebody counted it: the server, else the tool, else, where the server
    /// stopped for the length, the one asked for.
    pub fn counted_output_tokens(&self) -> Option<u32> {
        let full = self.reached_length.then_some(self.asked_tokens);
        self.server_output_tokens.or(self.reported_output_tokens).or(full)
    }

    /// Time to first token from sending, in ns.
    pub fn ttft_ns(&self) -> Option<u64> {
        self.chunks.first().map(|chunk| chunk.at_ns)
    }

    /// How late it was sent, in ns.
    pub fn send_lag_ns(&self) -> Option<u64> {
        Some(self.sent_ns?.saturating_sub(self.due_ns?))
    }
}
