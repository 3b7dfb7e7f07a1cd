//! The shape of every answer.

use std::net::SocketAddr;

use insta::assert_snapshot;
use sim::Config;

use crate::client::{ask, get, post};
use crate::fast;

/// Replaces what differs from run to run.
fn scrubbed(check: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r#""created":\d+"#, r#""created":"[s]""#);
    settings.add_filter(r#""(created_at|modified_at)":"[^"]+""#, r#""$1":"[time]""#);
    settings.add_filter(r#""e2e_latency":[0-9.e-]+"#, r#""e2e_latency":"[s]""#);
    settings.add_filter(r#"(total|eval)_duration":\d+"#, r#"${1}_duration":"[ns]""#);
    settings.add_filter(r"content-length: \d+", "content-length: [n]");
    settings.add_filter(r#""pid":\d+"#, r#""pid":"[pid]""#);
    settings.bind(check);
}

async fn streamed(path: &str, body: &str) -> String {
    let server = sim::start(fast()).await.unwrap();
    let answer = post(server.addr, path, body).await;
    format!("{}{}", answer.head.replace("\r\n", "\n"), answer.body)
}

macro_rules! wire_test {
    ($name:ident, $path:literal, $body:literal) => {
        #[tokio::test]
        async fn $name() {
            let answer = streamed($path, $body).await;
            scrubbed(|| assert_snapshot!(stringify!($name), answer));
        }
    };
}

wire_test!(
    completions_stream,
    "/v1/completions",
    r#"{"model":"sim","prompt":"a b c","max_tokens":3,"stream":true,"ignore_eos":true}"#
);
wire_test!(
    completions_stream_with_usage_at_the_end,
    "/v1/completions",
    r#"{"prompt":[1,2,3,4],"max_tokens":2,"stream":true,"ignore_eos":true,"best_of":1,
        "stream_options":{"include_usage":true}}"#
);
wire_test!(
    completions_stream_with_usage_everywhere,
    "/v1/completions",
    r#"{"prompt":["a b"],"max_tokens":2,"stream":true,"ignore_eos":true,
        "stream_options":{"include_usage":true,"continuous_usage_stats":true}}"#
);
wire_test!(
    completions_whole,
    "/v1/completions",
    r#"{"prompt":[[1,2,3]],"max_tokens":3,"ignore_eos":true}"#
);
wire_test!(
    chat_stream,
    "/v1/chat/completions",
    r#"{"messages":[{"role":"user","content":"a b"}],"max_completion_tokens":2,"stream":true,
        "ignore_eos":true,"stream_options":{"include_usage":true}}"#
);
wire_test!(
    chat_whole,
    "/v1/chat/completions",
    r#"{"messages":[{"role":"system","content":"a"},
        {"role":"user","content":[{"type":"text","text":"b c"}]}],"max_tokens":2,
        "ignore_eos":true}"#
);
wire_test!(
    sglang_stream,
    "/generate",
    r#"{"text":"a b c","sampling_params":{"temperature":0.0,"max_new_tokens":3,
        "ignore_eos":true},"stream":true,"lora_path":null,"return_logprob":false}"#
);
wire_test!(
    sglang_whole,
    "/generate",
    r#"{"input_ids":[5,6],"sampling_params":{"max_new_tokens":2,"ignore_eos":true}}"#
);
wire_test!(
    ollama_generate_stream,
    "/api/generate",
    r#"{"model":"sim","prompt":"a b","raw":true,"options":{"num_predict":2}}"#
);
wire_test!(
    ollama_generate_whole,
    "/api/generate",
    r#"{"model":"sim","prompt":"a b","stream":false,"options":{"num_predict":2}}"#
);
wire_test!(
    ollama_chat_stream,
    "/api/chat",
    r#"{"model":"sim","messages":[{"role":"user","content":"a b"}],
        "options":{"num_predict":2}}"#
);
wire_test!(
    ollama_chat_whole,
    "/api/chat",
    r#"{"model":"sim","messages":[{"role":"user","content":"a b"}],"stream":false,
        "options":{"num_predict":2}}"#
);

#[tokio::test]
async fn control_endpoints() {
    let server = sim::start(fast()).await.unwrap();
    post(server.addr, "/v1/completions", r#"{"prompt":"a b","max_tokens":4,"ignore_eos":true}"#)
        .await;
    let mut text = String::new();
    for line in [
        "GET /health",
        "GET /health_generate",
        "GET /v1/models",
        "GET /version",
        "GET /model_info",
        "GET /server_info",
        "GET /metrics",
        "GET /api/version",
        "GET /api/tags",
        "GET /api/ps",
        "GET /sim/gpu",
        "POST /flush_cache",
        "GET /flush_cache",
        "POST /reset_prefix_cache",
        "DELETE /sim/truth",
    ] {
        let answer = ask(server.addr, line, &[], "").await.unwrap();
        text.push_str(&format!("{line}\n{} {}\n\n", answer.status, answer.body.trim_end()));
    }
    scrubbed(|| assert_snapshot!("control_endpoints", text));
}

#[tokio::test]
async fn refusals() {
    let config = Config { max_model_len: 10, kv_tokens: 8, ..fast() };
    let server = sim::start(config).await.unwrap();
    let mut text = String::new();
    for (line, body) in [
        ("GET /nothing", ""),
        ("GET /v1/completions", ""),
        ("POST /health", ""),
        ("POST /v1/completions", "{"),
        ("POST /v1/completions", r#"{"max_tokens":3}"#),
        ("POST /v1/completions", r#"{"prompt":["a","b"]}"#),
        ("POST /v1/completions", r#"{"prompt":[]}"#),
        ("POST /v1/completions", r#"{"prompt":"a","max_tokens":0}"#),
        ("POST /v1/completions", r#"{"prompt":"a","n":2}"#),
        ("POST /v1/completions", r#"{"prompt":"a b c","max_tokens":8}"#),
        ("POST /v1/completions", r#"{"prompt":"a b c","max_tokens":6}"#),
        ("POST /v1/chat/completions", r#"{"messages":[]}"#),
        ("POST /generate", r#"{"sampling_params":{}}"#),
        ("POST /api/generate", r#"{"prompt":7}"#),
        ("GET /sim/truth?since=x", ""),
    ] {
        let answer = ask(server.addr, line, &[], body).await.unwrap();
        text.push_str(&format!("{line} {body}\n{} {}\n\n", answer.status, answer.body));
    }
    assert_snapshot!("refusals", text);
}

#[tokio::test]
async fn a_virtual_gpu_reads_as_the_facts_that_the_health_check_gathers() {
    let server = sim::start(fast()).await.unwrap();
    let vram = async |addr: SocketAddr| {
        let gpu = get(addr, "/sim/gpu").await;
        let facts: domain::facts::GpuFacts = serde_json::from_str(&gpu.body).unwrap();
        *facts.vram_used_bytes.known().unwrap()
    };
    let before = vram(server.addr).await;
    let prompt = "w ".repeat(160);
    post(server.addr, "/v1/completions", &format!(r#"{{"prompt":"{prompt}","max_tokens":1}}"#))
        .await;
    assert_eq!(vram(server.addr).await - before, 160 * 64 * 1024, "the prompt stays in the cache");
}
