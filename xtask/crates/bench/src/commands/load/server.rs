//! The server that is loaded: which one, whether it serves, and its prefix cache.

use std::time::Duration;

use anyhow::anyhow;
use domain::facts::{Rung, RungOutcome, ServerFacts};
use domain::framework::{Backend, Framework};
use domain::target::{Device, Target};
use domain::units::Span;
use sequencer::{Evidence, ServerVerified};
use serve::Endpoint;
use skill::setup::Verify;

use super::asked::AUTHORISATION;
use crate::cli::LoadArgs;
use crate::failure::Failure;

/// The shortest time that a rung gets, for a server that is up but busy.
const SHORTEST_WAIT: Duration = Duration::from_secs(5);

/// A load needs proof of a server like any other: the rungs that an attached server has.
pub(super) async fn verify(
    args: &LoadArgs,
    verify: &Verify,
    headers: &[(String, String)],
) -> Result<(Evidence<ServerVerified>, ServerFacts, Endpoint), Failure> {
    let endpoint = endpoint(args, ladder(args.server.backend))?;
    let key = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(AUTHORISATION));
    let endpoint = match key {
        Some((_, value)) => endpoint.authorised(value),
        None => endpoint,
    };
    let wanted = [Rung::Port, Rung::Health, Rung::Model, Rung::Generation];
    let mut verify = verify.clone();
    verify.rungs.retain(|limit| wanted.contains(&limit.rung));
    let within = Duration::from_secs(args.server.ready_check_timeout_sec).max(SHORTEST_WAIT);
    for limit in &mut verify.rungs {
        limit.within = Span(within);
    }
    let facts = serve::verify(&endpoint, None, &verify).await;
    let evidence =
        sequencer::server::judge(&facts, &verify.wanted()).map_err(Failure::not_measured_hinted)?;
    Ok((evidence, facts, endpoint))
}

/// Empties the prefix cache, or says why that is not possible.
pub(super) async fn flush(
    args: &LoadArgs,
    verified: &Endpoint,
    model: &str,
    within: Duration,
) -> Result<(), Failure> {
    let endpoint = verified.clone().speaking(flushed_as(args.server.backend));
    match serve::flush(&endpoint, model, within).await.outcome {
        RungOutcome::Passed(_) => Ok(()),
        RungOutcome::Failed(why) | RungOutcome::NotAvailable(why) => {
            let error = anyhow!("the prefix cache was not emptied: {why}");
            let hint = "without `--flush-cache` the first request may find its prompt there";
            Err(Failure::not_measured(error).with_hint(hint.to_owned()))
        }
    }
}

/// What climbs the ladder. `vllm` is what people call any OpenAI-compatible server on this command
/// line, so that nothing of vLLM's own is expected.
const fn ladder(backend: Backend) -> Framework {
    match backend {
        Backend::Sglang | Backend::SglangNative | Backend::SglangOai | Backend::SglangOaiChat => {
            Framework::Sglang
        }
        Backend::Ollama => Framework::Ollama,
        Backend::Vllm
        | Backend::VllmChat
        | Backend::Lmdeploy
        | Backend::LmdeployChat
        | Backend::Openai
        | Backend::OpenaiChat => Framework::Openai,
    }
}

/// Whose way of emptying a cache is tried, as in the tool.
const fn flushed_as(backend: Backend) -> Framework {
    match backend {
        Backend::Vllm | Backend::VllmChat => Framework::Vllm,
        Backend::Ollama => Framework::Ollama,
        Backend::Sglang
        | Backend::SglangNative
        | Backend::SglangOai
        | Backend::SglangOaiChat
        | Backend::Lmdeploy
        | Backend::LmdeployChat
        | Backend::Openai
        | Backend::OpenaiChat => Framework::Sglang,
    }
}

fn endpoint(args: &LoadArgs, framework: Framework) -> Result<Endpoint, Failure> {
    let server = &args.server;
    let target = Target {
        framework,
        model: server.model.clone(),
        served_model_name: server.served_model_name.clone(),
        tokenizer: None,
        url: Some(url(args)),
        port: None,
        device: Device::Auto,
        executable: None,
        server_args: Vec::new(),
    };
    Endpoint::attach(&target).map_err(Failure::usage_hinted)
}

fn url(args: &LoadArgs) -> String {
    let server = &args.server;
    let host = match server.host.as_str() {
        host if host.contains(':') => format!("[{host}]"),
        host => host.to_owned(),
    };
    let port = server.port.unwrap_or_else(|| usual_port(server.backend));
    server.base_url.clone().unwrap_or_else(|| format!("http://{host}:{port}"))
}

const fn usual_port(backend: Backend) -> u16 {
    match backend {
        Backend::Sglang | Backend::SglangNative | Backend::SglangOai | Backend::SglangOaiChat => {
            30000
        }
        Backend::Vllm | Backend::VllmChat | Backend::Openai | Backend::OpenaiChat => 8000,
        Backend::Lmdeploy | Backend::LmdeployChat => 23333,
        Backend::Ollama => 11434,
    }
}
