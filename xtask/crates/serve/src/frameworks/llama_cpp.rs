//! llama.cpp's HTTP server: the program `llama-server`, or the same code from the Python wheel
//! `xllamacpp` where the target names a Python.

use skill::setup::PrefixCache;

use super::{
    About, Activity, CacheCounter, CannotLaunch, Command, Flush, Generation, How, ModelList,
    ScriptFile, Term, Traits, is_python, model, read, words,
};
use crate::spec::LaunchSpec;

pub(super) const TRAITS: Traits = Traits {
    health_path: "/health",
    models: ModelList::Openai,
    generation: Generation::ForcedCompletions,
    flush: Flush::EraseSlots,
    activity: Activity::Gauges(&["llamacpp:requests_processing", "llamacpp:requests_deferred"]),
    about: &[About { path: "/props", version: Some("build_info") }],
    terms: &[
        read(Term::Weights, "/props", "/model_path", How::Weights { load_format: "/none" }),
        read(Term::Dtype, "/props", "/model_ftype", How::Dtype),
        read(Term::Context, "/props", "/default_generation_settings/n_ctx", How::Plain),
        read(
            Term::KvCache,
            "/props",
            "/default_generation_settings/n_ctx",
            How::Times("/total_slots"),
        ),
        read(Term::Concurrency, "/props", "/total_slots", How::Plain),
        read(Term::Sampling, "/props", "/default_generation_settings/params", How::Penalties),
    ],
    // Its metrics count prompt tokens that were computed; those that were not stand in `usage`.
    cache_counter: CacheCounter::Untold,
};

/// Runs the server of the wheel; written into the session's folder.
const WHEEL_SCRIPT: &str = include_str!("llama_cpp_server.py");

pub(super) fn command(spec: &LaunchSpec) -> Result<Command, CannotLaunch> {
    let program = spec.target.executable.clone().unwrap_or_else(|| "llama-server".into());
    if is_python(&program) {
        let path = spec.folder.join("llama_cpp_server.py");
        let mut args = vec![path.display().to_string()];
        args.extend(wheel_args(spec, model(spec)?));
        let files = vec![ScriptFile { path, text: WHEEL_SCRIPT }];
        return Ok(Command { program, args, env: [].into(), files });
    }
    let args = server_args(spec, model(spec)?);
    Ok(Command { program, args, env: [].into(), files: vec![] })
}

/// Arguments of `llama-server`.
fn server_args(spec: &LaunchSpec, model: String) -> Vec<String> {
    let conditions = &spec.conditions;
    let mut args = vec!["-m".to_owned(), model];
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--alias", spec.served_name.clone());
    option("--host", "127.0.0.1".to_owned());
    // Its default port differs between versions.
    option("--port", spec.port.to_string());
    option("-c", cache_tokens(spec).to_string());
    option("-np", conditions.max_running_requests.to_string());
    option("--seed", conditions.seed.to_string());
    // By default it would silently make whatever is not set smaller until it fits.
    option("--fit", "off".to_owned());
    // Slots can be erased only where they could be saved.
    option("--slot-save-path", spec.folder.display().to_string());
    match spec.gpu_uuids.is_empty() {
        true => option("--device", "none".to_owned()),
        false => option("-ngl", "all".to_owned()),
    }
    args.extend(words(&["--metrics", "--slots", "--no-webui"]));
    match conditions.prefix_cache {
        PrefixCache::Enabled => {}
        // There are two: one in the slots and one in the host's memory.
        PrefixCache::Disabled => args.extend(words(&["--no-cache-prompt", "--cache-ram", "0"])),
    }
    args
}

/// Arguments of our own script: the same settings under long names.
fn wheel_args(spec: &LaunchSpec, model: String) -> Vec<String> {
    let conditions = &spec.conditions;
    let mut args = vec!["--model".to_owned(), model];
    let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
    option("--alias", spec.served_name.clone());
    option("--port", spec.port.to_string());
    option("--ctx-size", cache_tokens(spec).to_string());
    option("--parallel", conditions.max_running_requests.to_string());
    option("--seed", conditions.seed.to_string());
    option("--slot-save-path", spec.folder.display().to_string());
    option("--gpu-layers", if spec.gpu_uuids.is_empty() { "0" } else { "999" }.to_owned());
    match conditions.prefix_cache {
        PrefixCache::Enabled => {}
        PrefixCache::Disabled => args.push("--no-cache-prompt".to_owned()),
    }
    args
}

/// The context that llama.cpp divides among its slots, in tokens.
fn cache_tokens(spec: &LaunchSpec) -> u64 {
    let conditions = &spec.conditions;
    let full = u64::from(conditions.context_tokens) * u64::from(conditions.max_running_requests);
    conditions.kv_cache_tokens.unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use domain::framework::Framework;

    use super::super::tests::{shown, spec};
    use super::*;

    #[test]
    fn as_a_program_on_one_gpu() {
        insta::assert_snapshot!(shown(&spec(Framework::LlamaCpp)), @r"
        llama-server
          -m /models/qwen
          --alias bench
          --host 127.0.0.1
          --port 30000
          -c 524288
          -np 64
          --seed 42
          --fit off
          --slot-save-path /results/runs/1
          -ngl all
          --metrics
          --slots
          --no-webui
          --no-cache-prompt
          --cache-ram 0
        ");
    }

    #[test]
    fn as_a_program_on_the_cpu() {
        let mut spec = spec(Framework::LlamaCpp);
        spec.gpu_uuids.clear();
        spec.conditions.kv_cache_tokens = Some(16384);
        spec.conditions.prefix_cache = PrefixCache::Enabled;
        insta::assert_snapshot!(shown(&spec), @r"
        llama-server
          -m /models/qwen
          --alias bench
          --host 127.0.0.1
          --port 30000
          -c 16384
          -np 64
          --seed 42
          --fit off
          --slot-save-path /results/runs/1
          --device none
          --metrics
          --slots
          --no-webui
        ");
    }

    #[test]
    fn from_the_wheel_of_a_python() {
        let mut spec = spec(Framework::LlamaCpp);
        spec.target.executable = Some("/venv/bin/python".into());
        spec.gpu_uuids.clear();
        insta::assert_snapshot!(shown(&spec), @r"
        /venv/bin/python /results/runs/1/llama_cpp_server.py
          --model /models/qwen
          --alias bench
          --port 30000
          --ctx-size 524288
          --parallel 64
          --seed 42
          --slot-save-path /results/runs/1
          --gpu-layers 0
          --no-cache-prompt
        ");
        assert_eq!(command(&spec).unwrap().files[0].text, WHEEL_SCRIPT);
    }
}
