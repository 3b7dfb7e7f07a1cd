//! vLLM: `vllm serve`, or its command module under a Python that the target names.

use skill::setup::PrefixCache;

use super::{
    About, Activity, CacheCounter, CannotLaunch, Command, Flush, Generation, How, ModelList, Term,
    Traits, model, python_program, read, words,
};
use crate::spec::LaunchSpec;

pub(super) const TRAITS: Traits = Traits {
    health_path: "/health",
    models: ModelList::Openai,
    generation: Generation::ForcedCompletions,
    flush: Flush::ResetPrefixCache,
    activity: Activity::Gauges(&["vllm:num_requests_running", "vllm:num_requests_waiting"]),
    about: &[
        About { path: "/version", version: Some("version") },
        // Answers only in development mode.
        About { path: SERVER_INFO, version: None },
        About { path: "/v1/models", version: None },
    ],
    terms: &[
        read(
            Term::Weights,
            SERVER_INFO,
            "/vllm_config/model_config/model",
            How::Weights { load_format: "/vllm_config/load_config/load_format" },
        ),
        read(Term::Dtype, SERVER_INFO, "/vllm_config/model_config/dtype", How::Dtype),
        read(Term::Context, SERVER_INFO, "/vllm_config/model_config/max_model_len", How::Plain),
        read(Term::Context, "/v1/models", "/data/0/max_model_len", How::Plain),
        read(
            Term::KvCache,
            SERVER_INFO,
            "/vllm_config/cache_config/kv_cache_size_tokens",
            How::Plain,
        ),
        read(
            Term::KvCache,
            SERVER_INFO,
            "/vllm_config/cache_config/num_gpu_blocks",
            How::Times("/vllm_config/cache_config/block_size"),
        ),
        read(
            Term::Concurrency,
            SERVER_INFO,
            "/vllm_config/scheduler_config/max_num_seqs",
            How::Plain,
        ),
        read(
            Term::PrefixCache,
            SERVER_INFO,
            "/vllm_config/cache_config/enable_prefix_caching",
            How::On,
        ),
        read(
            Term::Sampling,
            SERVER_INFO,
            "/vllm_config/model_config/generation_config",
            How::NeutralIf("vllm"),
        ),
    ],
    cache_counter: CacheCounter::Hits {
        cached: "vllm:prefix_cache_hits_total",
        prompts: "vllm:prefix_cache_queries_total",
    },
};

/// Its whole configuration.
const SERVER_INFO: &str = "/server_info?config_format=json";

/// Tokens of one KV-cache block. Set, because the default depends on the attention kernel.
const BLOCK_TOKENS: u64 = 16;

pub(super) fn command(spec: &LaunchSpec) -> Result<Command, CannotLaunch> {
    let conditions = &spec.conditions;
    let module = ["-m", "vllm.entrypoints.cli.main", "serve"];
    let (program, mut args) = python_program(&spec.target, "vllm", &module);
    args.push(model(spec)?);
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--served-model-name", spec.served_name.clone());
    option("--host", "127.0.0.1".to_owned());
    option("--port", spec.port.to_string());
    option("--max-model-len", conditions.context_tokens.to_string());
    // Both defaults depend on the card.
    option("--max-num-seqs", conditions.max_running_requests.to_string());
    option("--max-num-batched-tokens", conditions.prefill_chunk_tokens.to_string());
    option("--seed", conditions.seed.to_string());
    // The model's own file may limit the length of every answer, for the whole server.
    option("--generation-config", "vllm".to_owned());
    if let Some(tokens) = conditions.kv_cache_tokens {
        option("--block-size", BLOCK_TOKENS.to_string());
        option("--num-gpu-blocks-override", tokens.div_ceil(BLOCK_TOKENS).to_string());
    }
    if !spec.gpu_uuids.is_empty() {
        option("--tensor-parallel-size", spec.gpu_uuids.len().to_string());
        option("--gpu-memory-utilization", conditions.memory_share.fraction().to_string());
    }
    args.extend(words(match conditions.prefix_cache {
        PrefixCache::Enabled => &["--enable-prefix-caching"],
        PrefixCache::Disabled => &["--no-enable-prefix-caching"],
    }));
    // Whether a prompt came from the cache can be seen only with this.
    args.push("--enable-prompt-tokens-details".to_owned());
    // Development mode is what offers `/reset_prefix_cache`; the server listens on 127.0.0.1.
    let env = [("VLLM_SERVER_DEV_MODE", "1"), ("VLLM_NO_USAGE_STATS", "1")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    Ok(Command { program, args, env, files: vec![] })
}

#[cfg(test)]
mod tests {
    use domain::framework::Framework;
    use skill::setup::PrefixCache;

    use super::super::tests::{shown, spec};

    #[test]
    fn on_one_gpu() {
        insta::assert_snapshot!(shown(&spec(Framework::Vllm)), @r"
        VLLM_NO_USAGE_STATS=1
        VLLM_SERVER_DEV_MODE=1
        vllm serve /models/qwen
          --served-model-name bench
          --host 127.0.0.1
          --port 30000
          --max-model-len 8192
          --max-num-seqs 64
          --max-num-batched-tokens 4096
          --seed 42
          --generation-config vllm
          --tensor-parallel-size 1
          --gpu-memory-utilization 0.85
          --no-enable-prefix-caching
          --enable-prompt-tokens-details
        ");
    }

    #[test]
    fn through_python_on_two_gpus_with_a_fixed_cache() {
        let mut spec = spec(Framework::Vllm);
        spec.target.executable = Some("/venv/bin/python3".into());
        spec.gpu_uuids.push("GPU-2".to_owned());
        spec.conditions.kv_cache_tokens = Some(100_001);
        spec.conditions.prefix_cache = PrefixCache::Enabled;
        insta::assert_snapshot!(shown(&spec), @r"
        VLLM_NO_USAGE_STATS=1
        VLLM_SERVER_DEV_MODE=1
        /venv/bin/python3
          -m vllm.entrypoints.cli.main serve /models/qwen
          --served-model-name bench
          --host 127.0.0.1
          --port 30000
          --max-model-len 8192
          --max-num-seqs 64
          --max-num-batched-tokens 4096
          --seed 42
          --generation-config vllm
          --block-size 16
          --num-gpu-blocks-override 6251
          --tensor-parallel-size 2
          --gpu-memory-utilization 0.85
          --enable-prefix-caching
          --enable-prompt-tokens-details
        ");
    }
}
