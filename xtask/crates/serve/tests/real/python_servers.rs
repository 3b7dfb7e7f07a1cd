//! Real servers in Python on a CPU: the parts `transformers` and `vllm`, which take minutes to
//! install and to start, with the tiny model of the part `llama`. They climb the same ladder as
//! everybody.

use std::path::Path;
use std::time::Duration;

use domain::facts::{Rung, RungOutcome, ServerFacts};
use domain::framework::Framework;
use domain::units::Span;
use serve::{LaunchSpec, StopLimits};
use skill::setup::{RungLimit, Verify};

use crate::common::{healthy_host, part, sim, target, verify};

/// Imports alone take three minutes on two busy cores.
const STARTS_WITHIN: Duration = Duration::from_secs(900);

fn patient() -> Verify {
    let limit = |&rung: &Rung| RungLimit { rung, within: Span(STARTS_WITHIN) };
    Verify { rungs: Rung::ALL.iter().map(limit).collect(), ..verify() }
}

fn spec(framework: Framework, folder: &Path, python: &Path, model: &Path) -> LaunchSpec {
    let mut spec = LaunchSpec { target: target(framework, None, vec![]), ..sim(folder, &[]) };
    spec.target.executable = Some(python.to_owned());
    spec.target.model = Some(model.display().to_string());
    spec
}

/// Climbs, and ends the server whatever came of it.
async fn climbed(spec: &LaunchSpec) -> ServerFacts {
    let mut server = serve::prepare(spec, &healthy_host()).unwrap().release().await.unwrap();
    let endpoint = server.endpoint().clone();
    let facts = serve::verify(&endpoint, Some(&mut server), &patient()).await;
    let tail = server.log_tail(80).join("\n");
    let minute = Duration::from_secs(60);
    let limits = StopLimits { patience: minute, gone_within: minute, port_free_within: minute };
    let report = server.stop(&limits).await;
    let judged = sequencer::server::judge(&facts, Rung::ALL);
    assert!(judged.is_ok(), "{judged:?}\n{tail}");
    assert!(report.clean(), "{report:?}");
    facts
}

fn outcome(facts: &ServerFacts, rung: Rung) -> &RungOutcome {
    &facts.rungs.iter().find(|report| report.rung == rung).unwrap().outcome
}

#[tokio::test]
async fn transformers_serve_climbs_the_same_ladder() {
    let name = "transformers_serve_climbs_the_same_ladder";
    let Some(llama) = part(name, "llama") else { return };
    let Some(part) = part(name, "transformers") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (python, model) = (part.join("bin/python"), llama.join("tiny-qwen2"));
    let facts = climbed(&spec(Framework::Transformers, folder.path(), &python, &model)).await;
    let can = facts.capabilities;
    assert!(!can.forces_length && can.reports_usage && !can.flushes_cache, "{:?}", facts.rungs);
    for rung in [Rung::Flush, Rung::Idle] {
        assert!(matches!(outcome(&facts, rung), RungOutcome::NotAvailable(_)), "{rung}");
    }
}

#[tokio::test]
async fn vllm_on_the_cpu_climbs_the_same_ladder() {
    let name = "vllm_on_the_cpu_climbs_the_same_ladder";
    let Some(llama) = part(name, "llama") else { return };
    let Some(part) = part(name, "vllm") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (python, model) = (part.join("bin/python"), llama.join("tiny-qwen2"));
    let spec = spec(Framework::Vllm, folder.path(), &python, &model);
    let facts = climbed(&spec).await;
    let can = facts.capabilities;
    assert!(can.forces_length && can.reports_usage && can.flushes_cache, "{:?}", facts.rungs);
    let held = &facts.contract;
    assert_eq!(held.weights.as_deref(), Some("tiny-qwen2"));
    assert_eq!(held.context_tokens, Some(spec.conditions.context_tokens.into()));
    assert_eq!(held.max_running_requests, Some(spec.conditions.max_running_requests.into()));
}
