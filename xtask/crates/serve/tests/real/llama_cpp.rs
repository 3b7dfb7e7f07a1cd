//! A real server: llama.cpp from the part `llama`, with a tiny model.

use domain::facts::{Rung, RungOutcome};
use domain::framework::Framework;
use serve::{LaunchSpec, Means};
use skill::setup::PrefixCache;

use crate::common::{LONG, healthy_host, limits, part, sim, target, verify};

#[tokio::test]
async fn llama_cpp_is_launched_verified_and_ended() {
    let name = "llama_cpp_is_launched_verified_and_ended";
    let Some(part) = part(name, "llama") else { return };
    let folder = tempfile::tempdir().unwrap();
    // More than one thread would spin on a shared machine.
    let one_thread = ["-t", "1", "-tb", "1"].map(str::to_owned).to_vec();
    let mut spec = LaunchSpec {
        target: target(Framework::LlamaCpp, None, one_thread),
        ..sim(folder.path(), &[])
    };
    spec.target.executable = Some(part.join("venv/bin/python"));
    spec.target.model = Some(part.join("tiny-qwen2.gguf").display().to_string());
    spec.conditions.prefix_cache = PrefixCache::Disabled;

    let held = serve::prepare(&spec, &healthy_host()).unwrap();
    let mut server = held.release().await.unwrap();
    let endpoint = server.endpoint().clone();
    let facts = serve::verify(&endpoint, Some(&mut server), &verify()).await;
    let judged = sequencer::server::judge(&facts, Rung::ALL);
    assert!(judged.is_ok(), "{judged:?}\n{}", server.log_tail(80).join("\n"));
    assert_eq!(facts.model, "bench");
    // The wheel's server was built without its repository and does not know its version; what it
    // calls itself is among the resolved arguments all the same.
    assert!(facts.resolved.contains_key("build_info"), "{:?}", facts.resolved.keys());
    let can = facts.capabilities;
    assert!(can.forces_length && can.reports_usage && can.flushes_cache, "{:?}", facts.rungs);
    assert_eq!(facts.resolved["total_slots"], spec.conditions.max_running_requests);
    let context = &facts.resolved["default_generation_settings.n_ctx"];
    assert_eq!(context, spec.conditions.context_tokens);
    let held = &facts.contract;
    assert_eq!(held.weights.as_deref(), Some("tiny-qwen2.gguf"));
    assert_eq!(held.dtype.as_deref(), Some("float16"));
    assert_eq!(held.max_running_requests, Some(spec.conditions.max_running_requests.into()));
    assert_eq!(held.sampling.as_deref(), Some("greedy, no penalties"));
    assert_eq!(held.kv_cache_tokens, Some(4096 * 8));

    let flushed = serve::flush(&endpoint, &facts.model, LONG).await;
    assert!(matches!(flushed.outcome, RungOutcome::Passed(_)), "{flushed:?}");
    let report = server.stop(&limits()).await;
    assert_eq!(report.means, Means::Terminated);
    assert!(report.clean(), "{report:?}");
}

#[tokio::test]
async fn a_model_that_is_no_model_is_explained_by_the_log() {
    let name = "a_model_that_is_no_model_is_explained_by_the_log";
    let Some(part) = part(name, "llama") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut spec =
        LaunchSpec { target: target(Framework::LlamaCpp, None, vec![]), ..sim(folder.path(), &[]) };
    spec.target.executable = Some(part.join("venv/bin/python"));
    spec.target.model = Some(part.join("no-such.gguf").display().to_string());
    let held = serve::prepare(&spec, &healthy_host()).unwrap();
    let mut server = held.release().await.unwrap();
    let endpoint = server.endpoint().clone();
    let facts = serve::verify(&endpoint, Some(&mut server), &verify()).await;
    assert!(sequencer::server::judge(&facts, Rung::ALL).is_err());
    let log = server.log_tail(80).join("\n");
    let cause = server.log_cause().unwrap_or_else(|| panic!("no cause in:\n{log}"));
    assert_eq!(cause.class.as_str(), "model-missing", "{log}");
    assert!(server.stop(&limits()).await.clean());
}
