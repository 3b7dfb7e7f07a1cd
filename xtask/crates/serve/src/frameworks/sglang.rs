//! SGLang: `sglang serve`, or `-m sglang.launch_server` of a Python that the target names.

use skill::setup::PrefixCache;

use super::{
    About, Activity, CacheCounter, CannotLaunch, Command, Flush, Generation, How, ModelList, Term,
    Traits, model, python_program, read, words,
};
use crate::spec::LaunchSpec;

pub(super) const TRAITS: Traits = Traits {
    // Cheap only because the launch switches its generation off. On a server that was attached
    // to, it may run a generation of one token and take a second.
    health_path: "/health",
    models: ModelList::Openai,
    generation: Generation::ForcedCompletions,
    flush: Flush::Post("/flush_cache"),
    activity: Activity::Gauges(&["sglang:num_running_reqs", "sglang:num_queue_reqs"]),
    about: &[
        About { path: "/server_info", version: Some("version") },
        // Its older name.
        About { path: "/get_server_info", version: Some("version") },
        About { path: "/v1/models", version: None },
    ],
    terms: &[
        read(Term::Weights, "/server_info", "/model_path", WEIGHTS),
        read(Term::Weights, "/get_server_info", "/model_path", WEIGHTS),
        read(Term::Dtype, "/server_info", "/dtype", How::Dtype),
        read(Term::Context, "/server_info", "/context_length", How::Plain),
        read(Term::Context, "/v1/models", "/data/0/max_model_len", How::Plain),
        read(Term::KvCache, "/server_info", "/max_total_num_tokens", How::Plain),
        read(
            Term::KvCache,
            "/server_info",
            "/internal_states/0/memory_usage/token_capacity",
            How::Plain,
        ),
        // It may run fewer than it was told to.
        read(
            Term::Concurrency,
            "/server_info",
            "/internal_states/0/effective_max_running_requests_per_dp",
            How::Plain,
        ),
        read(Term::Concurrency, "/server_info", "/max_running_requests", How::Plain),
        read(Term::PrefixCache, "/server_info", "/disable_radix_cache", How::Off),
        read(Term::Sampling, "/server_info", "/sampling_defaults", How::NeutralIf("openai")),
    ],
    cache_counter: CacheCounter::Hits {
        cached: "sglang:cached_tokens_total",
        prompts: "sglang:prompt_tokens_total",
    },
};

const WEIGHTS: How = How::Weights { load_format: "/load_format" };

pub(super) fn command(spec: &LaunchSpec) -> Result<Command, CannotLaunch> {
    let conditions = &spec.conditions;
    let (program, mut args) =
        python_program(&spec.target, "sglang", &["-m", "sglang.launch_server"]);
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--model-path", model(spec)?);
    option("--served-model-name", spec.served_name.clone());
    option("--host", "127.0.0.1".to_owned());
    option("--port", spec.port.to_string());
    option("--context-length", conditions.context_tokens.to_string());
    option("--max-running-requests", conditions.max_running_requests.to_string());
    option("--chunked-prefill-size", conditions.prefill_chunk_tokens.to_string());
    // Its own default is another seed at every start.
    option("--random-seed", conditions.seed.to_string());
    // The model's own sampling defaults would differ from what other frameworks do.
    option("--sampling-defaults", "openai".to_owned());
    if let Some(tokens) = conditions.kv_cache_tokens {
        option("--max-total-tokens", tokens.to_string());
    }
    if spec.gpu_uuids.is_empty() {
        option("--device", "cpu".to_owned());
    } else {
        option("--tp-size", spec.gpu_uuids.len().to_string());
        option("--mem-fraction-static", conditions.memory_share.fraction().to_string());
    }
    match conditions.prefix_cache {
        PrefixCache::Enabled => {}
        PrefixCache::Disabled => args.push("--disable-radix-cache".to_owned()),
    }
    // Whether it is idle, and whether a prompt came from the cache, can be seen only with these.
    args.extend(words(&["--enable-metrics", "--enable-cache-report"]));
    let health = ("SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION".to_owned(), "0".to_owned());
    Ok(Command { program, args, env: [health].into(), files: vec![] })
}

#[cfg(test)]
mod tests {
    use domain::framework::Framework;
    use skill::setup::PrefixCache;

    use super::super::tests::{shown, spec};

    #[test]
    fn on_one_gpu() {
        insta::assert_snapshot!(shown(&spec(Framework::Sglang)), @r"
        SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION=0
        sglang serve
          --model-path /models/qwen
          --served-model-name bench
          --host 127.0.0.1
          --port 30000
          --context-length 8192
          --max-running-requests 64
          --chunked-prefill-size 4096
          --random-seed 42
          --sampling-defaults openai
          --tp-size 1
          --mem-fraction-static 0.85
          --disable-radix-cache
          --enable-metrics
          --enable-cache-report
        ");
    }

    #[test]
    fn through_python_on_two_gpus_with_a_fixed_cache() {
        let mut spec = spec(Framework::Sglang);
        spec.target.executable = Some("/venv/bin/python3.12".into());
        spec.gpu_uuids.push("GPU-2".to_owned());
        spec.conditions.kv_cache_tokens = Some(100_000);
        spec.conditions.prefix_cache = PrefixCache::Enabled;
        insta::assert_snapshot!(shown(&spec), @r"
        SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION=0
        /venv/bin/python3.12
          -m sglang.launch_server
          --model-path /models/qwen
          --served-model-name bench
          --host 127.0.0.1
          --port 30000
          --context-length 8192
          --max-running-requests 64
          --chunked-prefill-size 4096
          --random-seed 42
          --sampling-defaults openai
          --max-total-tokens 100000
          --tp-size 2
          --mem-fraction-static 0.85
          --enable-metrics
          --enable-cache-report
        ");
    }

    #[test]
    fn on_the_cpu() {
        let mut spec = spec(Framework::Sglang);
        spec.gpu_uuids.clear();
        insta::assert_snapshot!(shown(&spec), @r"
        SGLANG_ENABLE_HEALTH_ENDPOINT_GENERATION=0
        sglang serve
          --model-path /models/qwen
          --served-model-name bench
          --host 127.0.0.1
          --port 30000
          --context-length 8192
          --max-running-requests 64
          --chunked-prefill-size 4096
          --random-seed 42
          --sampling-defaults openai
          --device cpu
          --disable-radix-cache
          --enable-metrics
          --enable-cache-report
        ");
    }
}
