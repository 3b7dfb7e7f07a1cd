//! Everything that is not generation: health, models, versions, caches, metrics, and the
//! simulator's own endpoints.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use domain::timestamp::Timestamp;
use serde_json::json;

use crate::app::App;
use crate::config::PrefixCache;
use crate::engine::{Busy, Finish, Job};
use crate::gpu;
use crate::http::{Request, Response};

/// How long `/health_generate` waits for its token behind other requests.
const GENERATION_CHECK: Duration = Duration::from_secs(20);

/// Whether a path answers 503 because the model is still being loaded. The simulator's own
/// endpoints always answer.
pub(crate) fn is_held_back(app: &App, path: &str) -> bool {
    app.is_loading() && !path.starts_with("/sim/")
}

/// What there is besides generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Health,
    HealthGenerate,
    Models,
    Version,
    ServerInfo,
    ModelInfo,
    Metrics,
    OllamaTags,
    OllamaPs,
    FlushCache,
    ResetPrefixCache,
    Gpu,
    Truth,
}

impl Endpoint {
    fn at(path: &str) -> Option<Self> {
        match path {
            "/health" => Some(Self::Health),
            "/health_generate" => Some(Self::HealthGenerate),
            "/v1/models" => Some(Self::Models),
            "/version" | "/api/version" => Some(Self::Version),
            "/server_info" | "/get_server_info" => Some(Self::ServerInfo),
            "/model_info" | "/get_model_info" => Some(Self::ModelInfo),
            "/metrics" => Some(Self::Metrics),
            "/api/tags" => Some(Self::OllamaTags),
            "/api/ps" => Some(Self::OllamaPs),
            "/flush_cache" => Some(Self::FlushCache),
            "/reset_prefix_cache" => Some(Self::ResetPrefixCache),
            "/sim/gpu" => Some(Self::Gpu),
            "/sim/truth" => Some(Self::Truth),
            _ => None,
        }
    }

    const fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Health | Self::HealthGenerate | Self::Models | Self::Version => &["GET"],
            Self::ServerInfo | Self::ModelInfo | Self::Metrics => &["GET"],
            Self::OllamaTags | Self::OllamaPs | Self::Gpu => &["GET"],
            Self::FlushCache => &["GET", "POST"],
            Self::ResetPrefixCache => &["POST"],
            Self::Truth => &["GET", "DELETE"],
        }
    }
}

/// Answers a request that is not for generation.
pub(crate) async fn answer(app: &App, request: &Request) -> Response {
    match answer_at_once(app, request) {
        Some(response) => response,
        None => health_generate(app).await,
    }
}

/// The same without waiting: `None` for what takes a token to answer.
pub(crate) fn answer_at_once(app: &App, request: &Request) -> Option<Response> {
    let Some(endpoint) = Endpoint::at(&request.path) else {
        return Some(error(404, &format!("there is nothing at `{}`", request.path)));
    };
    if !endpoint.methods().contains(&request.method.as_str()) {
        let methods = endpoint.methods().join(" and ");
        return Some(error(405, &format!("this path takes {methods}")));
    }
    Some(match endpoint {
        Endpoint::Health => Response::text(200, ""),
        Endpoint::HealthGenerate => return None,
        Endpoint::Models => Response::json(200, &models(app)),
        Endpoint::Version => Response::json(200, &json!({ "version": VERSION })),
        Endpoint::ServerInfo => Response::json(200, &server_info(app)),
        Endpoint::ModelInfo => Response::json(200, &model_info(app)),
        Endpoint::Metrics => Response::text(200, metrics(app)),
        Endpoint::OllamaTags => Response::json(200, &json!({ "models": [ollama_model(app)] })),
        Endpoint::OllamaPs => Response::json(200, &json!({ "models": [ollama_running(app)] })),
        Endpoint::FlushCache => flushed(app.driver.flush(), "the prefix cache is empty\n"),
        Endpoint::ResetPrefixCache => flushed(app.driver.flush(), ""),
        Endpoint::Gpu => Response::json(200, &gpu::facts(app.driver.load())),
        Endpoint::Truth if request.method == "DELETE" => {
            app.truth.clear();
            Response::json(200, &json!({ "cleared": true }))
        }
        Endpoint::Truth => truth(app, &request.query),
    })
}

/// An error in the general shape.
pub(crate) fn error(status: u16, message: &str) -> Response {
    Response::json(status, &json!({ "error": { "message": message, "code": status } }))
}

/// What a refused request is told.
pub(crate) const fn reason(status: u16) -> &'static str {
    match status {
        429 => "too many requests",
        503 => "the model is still being loaded",
        _ => "the engine failed",
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A request of one token through the real queue.
async fn health_generate(app: &App) -> Response {
    let job = Job { prompt: vec![0], output_tokens: 1, finish: Finish::Length };
    let token = async {
        let mut ticket = app.driver.submit(job).ok()?;
        ticket.next().await
    };
    match tokio::time::timeout(GENERATION_CHECK, token).await {
        Ok(Some(_)) => Response::text(200, ""),
        Ok(None) | Err(_) => error(503, "no token within the limit"),
    }
}

fn truth(app: &App, query: &str) -> Response {
    let since = query.split('&').find_map(|pair| pair.strip_prefix("since="));
    match since.unwrap_or("0").parse() {
        Ok(since) => Response::json(200, &app.truth.report(since)),
        Err(_) => error(400, "`since` must be a request's number"),
    }
}

fn flushed(result: Result<(), Busy>, text: &str) -> Response {
    match result {
        Ok(()) => Response::text(200, text),
        Err(busy) => Response::text(400, format!("the prefix cache was not emptied: {busy}\n")),
    }
}

fn models(app: &App) -> serde_json::Value {
    let Ok(since) = SystemTime::now().duration_since(UNIX_EPOCH) else { return json!({}) };
    json!({
        "object": "list",
        "data": [{
            "id": app.config.model,
            "object": "model",
            "created": since.as_secs(),
            "owned_by": "servegate-sim",
            "root": app.config.model,
            "parent": null,
            "max_model_len": app.config.max_model_len,
        }],
    })
}

fn server_info(app: &App) -> serde_json::Value {
    let (config, load) = (&app.config, app.driver.load());
    let faults: Vec<String> = config.faults.iter().map(ToString::to_string).collect();
    json!({
        "version": VERSION,
        "model_path": config.model,
        "served_model_name": config.model,
        "tokenizer_path": config.model,
        "context_length": config.max_model_len,
        "max_total_num_tokens": config.kv_tokens,
        "max_running_requests": config.max_running,
        "chunked_prefill_size": config.prefill_chunk_tokens,
        "disable_radix_cache": config.prefix_cache == PrefixCache::Off,
        "prefill_tokens_per_s": config.prefill_tokens_per_s,
        "step_base_ms": config.step_base_ms,
        "step_per_seq_ms": config.step_per_seq_ms,
        "step_per_1k_kv_ms": config.step_per_1k_kv_ms,
        "speed": config.speed,
        "noise": config.noise,
        "drift": config.drift,
        "drift_period_s": config.drift_period_s,
        "trend_per_min": config.trend_per_min,
        "eos_probability": config.eos_probability,
        "random_seed": config.seed,
        "faults": faults,
        "internal_states": [{
            "running": load.running,
            "waiting": load.waiting,
            "kv_used_tokens": load.kv_used,
        }],
    })
}

fn model_info(app: &App) -> serde_json::Value {
    json!({
        "model_path": app.config.model,
        "tokenizer_path": app.config.model,
        "is_generation": true,
        "weight_version": "default",
    })
}

fn ollama_model(app: &App) -> serde_json::Value {
    json!({
        "name": app.config.model,
        "model": app.config.model,
        "modified_at": Timestamp::from(SystemTime::now()).to_string(),
        "size": gpu::WEIGHTS_BYTES,
        "digest": "0".repeat(64),
        "details": { "format": "simulated", "family": "sim", "parameter_size": "2B" },
    })
}

fn ollama_running(app: &App) -> serde_json::Value {
    let mut model = ollama_model(app);
    // Both count the weights and the cache; equal means that all of it is on the GPU.
    model["size"] = json!(gpu::used_bytes(app.driver.load()));
    model["size_vram"] = model["size"].clone();
    model["context_length"] = json!(app.config.max_model_len);
    model
}

/// Prometheus text under the names of both vLLM and SGLang, so that readers of either can be
/// tested.
fn metrics(app: &App) -> String {
    let (load, totals) = (app.driver.load(), app.driver.totals());
    #[expect(clippy::cast_precision_loss, reason = "token counts are far below 2^53")]
    let kv_share = load.kv_used as f64 / load.kv_limit as f64;
    let rows: [(&str, &str, &str, f64); 9] = [
        ("vllm:num_requests_running", "sglang:num_running_reqs", "gauge", number(load.running)),
        ("vllm:num_requests_waiting", "sglang:num_queue_reqs", "gauge", number(load.waiting)),
        ("vllm:kv_cache_usage_perc", "sglang:token_usage", "gauge", kv_share),
        ("", "sglang:num_used_tokens", "gauge", number(load.kv_used)),
        (
            "vllm:prefix_cache_queries_total",
            "sglang:prompt_tokens_total",
            "counter",
            number(totals.prompt_tokens),
        ),
        (
            "vllm:prefix_cache_hits_total",
            "sglang:cached_tokens_total",
            "counter",
            number(totals.cached_tokens),
        ),
        ("vllm:prompt_tokens_total", "", "counter", number(totals.prompt_tokens)),
        (
            "vllm:generation_tokens_total",
            "sglang:generation_tokens_total",
            "counter",
            number(totals.generated_tokens),
        ),
        (
            "vllm:request_success_total",
            "sglang:num_requests_total",
            "counter",
            number(totals.finished_requests),
        ),
    ];
    let mut text = String::new();
    for (vllm, sglang, kind, value) in rows {
        for name in [vllm, sglang].into_iter().filter(|name| !name.is_empty()) {
            let model = &app.config.model;
            // Writing to a string cannot fail.
            let _infallible =
                writeln!(text, "# TYPE {name} {kind}\n{name}{{model_name={model:?}}} {value}");
        }
    }
    text
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
fn number<N: TryInto<u64>>(count: N) -> f64 {
    count.try_into().unwrap_or(u64::MAX) as f64
}
