//! Servers that were not started here: the simulated one, spoken to as each framework.

use crate::common::{LONG, target, verify};
use domain::contract::{CacheState, Term};
use domain::facts::{Capabilities, Rung, RungOutcome, ServerFacts};
use domain::framework::Framework;
use serve::Endpoint;
use sim::{Config, FaultSpec, Running};

async fn started(fault: Option<&str>) -> Running {
    let config = Config::steady();
    let fault = fault.map(|fault| fault.parse::<FaultSpec>().unwrap());
    let config = match fault {
        Some(fault) => config.with_fault(fault),
        None => config,
    };
    sim::start(config).await.unwrap()
}

async fn climbed(server: &Running, framework: Framework) -> ServerFacts {
    let endpoint = Endpoint::attach(&target(framework, Some(server.url()), vec![])).unwrap();
    serve::verify(&endpoint, None, &verify()).await
}

fn outcome(facts: &ServerFacts, rung: Rung) -> &RungOutcome {
    &facts.rungs.iter().find(|report| report.rung == rung).unwrap().outcome
}

#[tokio::test]
async fn every_framework_is_verified_in_its_own_words() {
    let server = started(None).await;
    // llama.cpp's slots do not exist here, and transformers lists no model to be found.
    let others = [Framework::LlamaCpp, Framework::Transformers];
    for &framework in Framework::ALL.iter().filter(|one| !others.contains(one)) {
        let facts = climbed(&server, framework).await;
        let judged = sequencer::server::judge(&facts, Rung::ALL);
        assert!(judged.is_ok(), "{framework}: {judged:?}");
        assert!(matches!(outcome(&facts, Rung::Process), RungOutcome::NotAvailable(_)));
        assert_eq!(facts.pid, None);
        assert!(facts.model.starts_with("sim"), "{}", facts.model);
        let told = matches!(framework, Framework::Openai) || facts.version.is_some();
        assert!(told, "{framework} told no version");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn what_a_framework_cannot_do_is_said_and_not_passed() {
    let server = started(None).await;
    let openai = climbed(&server, Framework::Openai).await;
    for rung in [Rung::Flush, Rung::Idle] {
        assert!(matches!(outcome(&openai, rung), RungOutcome::NotAvailable(_)), "{rung}");
    }
    let tried = Capabilities { forces_length: true, reports_usage: true, flushes_cache: false };
    assert_eq!(openai.capabilities, tried);
    let ollama = climbed(&server, Framework::Ollama).await;
    assert!(!ollama.capabilities.forces_length);
    // llama.cpp's slots do not exist on this server.
    let llama_cpp = climbed(&server, Framework::LlamaCpp).await;
    assert!(matches!(outcome(&llama_cpp, Rung::Flush), RungOutcome::NotAvailable(_)));
    server.stop().await.unwrap();
}

#[tokio::test]
async fn where_models_are_not_listed_the_name_is_proved_by_the_generation() {
    let server = started(None).await;
    let nameless = climbed(&server, Framework::Transformers).await;
    assert!(matches!(outcome(&nameless, Rung::Model), RungOutcome::Failed(_)), "{nameless:?}");
    let mut target = target(Framework::Transformers, Some(server.url()), vec![]);
    target.model = Some("sim".to_owned());
    let facts = serve::verify(&Endpoint::attach(&target).unwrap(), None, &verify()).await;
    assert!(sequencer::server::judge(&facts, Rung::ALL).is_ok(), "{:?}", facts.rungs);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_says_what_it_is_held_to_and_why_the_rest_is_not_said() {
    let server = started(None).await;
    let facts = climbed(&server, Framework::Sglang).await;
    let (contract, config) = (&facts.contract, Config::steady());
    assert_eq!(contract.kv_cache_tokens, Some(u64::from(config.kv_tokens)));
    assert_eq!(contract.max_running_requests, Some(u64::from(config.max_running)));
    assert_eq!(contract.prefix_cache, Some(CacheState::On));
    assert_eq!(contract.dtype, None);
    assert_eq!(contract.sources[&Term::Dtype], "`/server_info` did not say it");
    let openai = climbed(&server, Framework::Openai).await.contract;
    assert_eq!(openai.context_tokens, Some(u64::from(config.max_model_len)));
    assert!(openai.sources[&Term::Weights].contains("has no place"), "{openai:?}");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_counts_what_was_looked_for_in_its_cache() {
    let server = started(None).await;
    let endpoint = Endpoint::attach(&target(Framework::Vllm, Some(server.url()), vec![])).unwrap();
    let before = serve::cache_reading(&endpoint, LONG).await.unwrap();
    climbed(&server, Framework::Vllm).await;
    let after = serve::cache_reading(&endpoint, LONG).await.unwrap();
    let count = serve::cache_count(&endpoint, before, after).unwrap();
    // The ladder's prompt is shorter than a block of the cache.
    assert!(count.cached == 0 && Some(0) < count.prompts, "{count:?}");
    assert_eq!(count.source, "vllm:prefix_cache_hits_total");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_generation_that_is_not_right_fails_its_rung() {
    let wrong = ["wrong-usage", "done-only", "error-mid-stream", "malformed-json", "error-500"];
    for fault in wrong {
        let server = started(Some(fault)).await;
        let facts = climbed(&server, Framework::Vllm).await;
        let failed = matches!(outcome(&facts, Rung::Generation), RungOutcome::Failed(_));
        assert!(failed, "{fault}: {:?}", facts.rungs);
        assert_eq!(facts.rungs.last().unwrap().rung, Rung::Generation);
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_generation_that_only_looks_odd_passes() {
    for fault in ["comment-pings", "merged-tokens", "split-tokens", "slow-drip"] {
        let server = started(Some(fault)).await;
        let facts = climbed(&server, Framework::Vllm).await;
        assert!(sequencer::server::judge(&facts, Rung::ALL).is_ok(), "{fault}: {:?}", facts.rungs);
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn another_model_than_the_one_named_is_refused() {
    let server = started(None).await;
    let mut target = target(Framework::Vllm, Some(server.url()), vec![]);
    target.model = Some("llama".to_owned());
    let endpoint = Endpoint::attach(&target).unwrap();
    let facts = serve::verify(&endpoint, None, &verify()).await;
    let RungOutcome::Failed(seen) = outcome(&facts, Rung::Model) else { panic!("{facts:?}") };
    assert_eq!(seen, "serves sim, where `llama` is wanted");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_flush_between_runs_is_reported_as_its_rung() {
    let server = started(None).await;
    for framework in [Framework::Sglang, Framework::Vllm, Framework::Ollama] {
        let target = target(framework, Some(server.url()), vec![]);
        let endpoint = Endpoint::attach(&target).unwrap();
        assert!(serve::healthy(&endpoint, LONG).await.is_ok());
        let report = serve::flush(&endpoint, "sim", LONG).await;
        assert_eq!(report.rung, Rung::Flush);
        assert!(matches!(report.outcome, RungOutcome::Passed(_)), "{framework}: {report:?}");
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_gone_is_not_healthy() {
    let port = serve::free_port().unwrap();
    let url = Some(format!("http://127.0.0.1:{port}"));
    let endpoint = Endpoint::attach(&target(Framework::Vllm, url, vec![])).unwrap();
    let error = serve::healthy(&endpoint, LONG).await.unwrap_err().to_string();
    assert!(error.contains("did not answer"), "{error}");
}
