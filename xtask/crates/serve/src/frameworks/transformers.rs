//! `transformers serve`: the command of that name, or its module under a Python that the target
//! names.
//!
//! It refuses requests with fields that it does not know, `ignore_eos` among them, so that the
//! length of an answer is only a limit. It lists no model that lies in a local folder and tells
//! neither its version nor its settings.

use super::{
    Activity, CacheCounter, CannotLaunch, Command, Flush, Generation, ModelList, Traits, is_python,
    model, words,
};
use crate::spec::LaunchSpec;

pub(super) const TRAITS: Traits = Traits {
    // Says nothing of the model, which the generation proves.
    health_path: "/health",
    models: ModelList::Untold,
    generation: Generation::TriedOut,
    flush: Flush::Impossible("`transformers serve` has no path that empties a cache"),
    activity: Activity::Untold,
    about: &[],
    terms: &[],
    cache_counter: CacheCounter::Untold,
};

/// Tokens of one KV-cache block.
const BLOCK_TOKENS: u64 = 32;

pub(super) fn command(spec: &LaunchSpec) -> Result<Command, CannotLaunch> {
    let conditions = &spec.conditions;
    let program = spec.target.executable.clone().unwrap_or_else(|| "transformers".into());
    let mut args = match is_python(&program) {
        true => words(&["-m", "transformers.cli.transformers", "serve"]),
        false => words(&["serve"]),
    };
    // Named at the start it is loaded at once and stays; it must be named the same by requests.
    args.push(model(spec)?);
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--host", "127.0.0.1".to_owned());
    option("--port", spec.port.to_string());
    option("--default-seed", conditions.seed.to_string());
    option("--device", if spec.gpu_uuids.is_empty() { "cpu" } else { "cuda" }.to_owned());
    option("--cb-max-batch-tokens", conditions.prefill_chunk_tokens.to_string());
    option("--cb-block-size", BLOCK_TOKENS.to_string());
    let full = u64::from(conditions.context_tokens) * u64::from(conditions.max_running_requests);
    match (conditions.kv_cache_tokens, spec.gpu_uuids.is_empty()) {
        (Some(tokens), _) => option("--cb-num-blocks", tokens.div_ceil(BLOCK_TOKENS).to_string()),
        // Left alone it takes half of the host's memory.
        (None, true) => option("--cb-num-blocks", full.div_ceil(BLOCK_TOKENS).to_string()),
        (None, false) => {
            option("--cb-max-memory-percent", conditions.memory_share.fraction().to_string());
        }
    }
    // Without it requests are served one after the other.
    args.push("--continuous-batching".to_owned());
    Ok(Command { program, args, env: [].into(), files: vec![] })
}

#[cfg(test)]
mod tests {
    use domain::framework::Framework;

    use super::super::tests::{shown, spec};

    #[test]
    fn on_one_gpu() {
        insta::assert_snapshot!(shown(&spec(Framework::Transformers)), @r"
        transformers serve /models/qwen
          --host 127.0.0.1
          --port 30000
          --default-seed 42
          --device cuda
          --cb-max-batch-tokens 4096
          --cb-block-size 32
          --cb-max-memory-percent 0.85
          --continuous-batching
        ");
    }

    #[test]
    fn through_python_on_the_cpu() {
        let mut spec = spec(Framework::Transformers);
        spec.target.executable = Some("/venv/bin/python".into());
        spec.gpu_uuids.clear();
        insta::assert_snapshot!(shown(&spec), @r"
        /venv/bin/python
          -m transformers.cli.transformers serve /models/qwen
          --host 127.0.0.1
          --port 30000
          --default-seed 42
          --device cpu
          --cb-max-batch-tokens 4096
          --cb-block-size 32
          --cb-num-blocks 16384
          --continuous-batching
        ");
    }
}
