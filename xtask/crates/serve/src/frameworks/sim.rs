//! The embedded simulated server: this program once more, as `servegate sim`.

use skill::setup::PrefixCache;

use super::{
    About, Activity, CacheCounter, CannotLaunch, Command, Flush, Generation, How, ModelList, Term,
    Traits, read, words,
};
use crate::spec::LaunchSpec;

pub(super) const TRAITS: Traits = Traits {
    health_path: "/health",
    models: ModelList::Openai,
    generation: Generation::ForcedCompletions,
    flush: Flush::Post("/flush_cache"),
    activity: Activity::Gauges(&["vllm:num_requests_running", "vllm:num_requests_waiting"]),
    about: &[About { path: "/server_info", version: Some("version") }],
    terms: &[
        read(Term::Weights, "/server_info", "/model_path", How::Weights { load_format: "/none" }),
        read(Term::Context, "/server_info", "/context_length", How::Plain),
        read(Term::KvCache, "/server_info", "/max_total_num_tokens", How::Plain),
        read(Term::Concurrency, "/server_info", "/max_running_requests", How::Plain),
        read(Term::PrefixCache, "/server_info", "/disable_radix_cache", How::Off),
    ],
    cache_counter: CacheCounter::Hits {
        cached: "vllm:prefix_cache_hits_total",
        prompts: "vllm:prefix_cache_queries_total",
    },
};

pub(super) fn command(spec: &LaunchSpec) -> Result<Command, CannotLaunch> {
    let conditions = &spec.conditions;
    let mut args = words(&["sim"]);
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--host", "127.0.0.1".to_owned());
    option("--port", spec.port.to_string());
    option("--model", spec.served_name.clone());
    option("--max-running", conditions.max_running_requests.to_string());
    option("--max-model-len", conditions.context_tokens.to_string());
    option("--prefill-chunk-tokens", conditions.prefill_chunk_tokens.to_string());
    option("--seed", conditions.seed.to_string());
    if let Some(tokens) = conditions.kv_cache_tokens {
        option("--kv-tokens", tokens.to_string());
    }
    let cache = match conditions.prefix_cache {
        PrefixCache::Enabled => "on",
        PrefixCache::Disabled => "off",
    };
    option("--prefix-cache", cache.to_owned());
    let program = spec.target.executable.clone().unwrap_or_else(|| spec.sim_program.clone());
    Ok(Command { program, args, env: [].into(), files: vec![] })
}

#[cfg(test)]
mod tests {
    use domain::framework::Framework;

    use super::super::tests::{shown, spec};

    #[test]
    fn started_through_this_very_program() {
        insta::assert_snapshot!(shown(&spec(Framework::Sim)), @r"
        /opt/servegate sim
          --host 127.0.0.1
          --port 30000
          --model bench
          --max-running 64
          --max-model-len 8192
          --prefill-chunk-tokens 4096
          --seed 42
          --prefix-cache off
        ");
    }
}
