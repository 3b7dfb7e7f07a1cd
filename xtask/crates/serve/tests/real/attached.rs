//! Servers that were not started here: the simulated one, spoken to as each framework.

use crate::common::{LONG, target, verify};
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
    for &framework in Framework::ALL.iter().filter(|one| **one != Framework::LlamaCpp) {
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
