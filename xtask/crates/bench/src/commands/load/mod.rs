//! `load`: the native engine alone, against a server that runs already; a drop-in for
//! `python3 -m sglang.benchmark.serving`.

mod asked;
mod result;
mod server;
mod tokenizer;

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use domain::exit::Exit;
use domain::profile::Profile;
use load::{Order, Progress, RequestSet, Tokenizer};
use serve::Endpoint;
use skill::Step;
use skill::runner::Measure;
use skill::setup::Verify;

use crate::cli::LoadArgs;
use crate::failure::Failure;
use crate::inputs;
use crate::lag::Allowed;
use crate::signals;
use result::{Made, Output};

/// What the skills say about verifying a server and about the limits of a load.
struct Terms {
    verify: Verify,
    measure: Measure,
}

/// Verifies the server, sends the load, prints the block, appends the line. Exit code 4 if any
/// request failed, or if the client's own lag moved a number by more than is allowed.
pub async fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    let terms = terms()?;
    let profile = asked::profile(args)?;
    let headers = asked::headers(args)?;
    let output = Output::plan(args)?;
    // Prompts that need no server are made before one is touched: a wrong file costs nothing.
    let local = tokenizer::local(args)?;
    let early = local.map(|tokenizer| prepare(args, &profile, &tokenizer)).transpose()?;
    let stops = signals::listen().context("cannot listen for signals")?;
    let (verified, server, endpoint) = server::verify(args, &terms.verify, &headers).await?;
    let requests = match early {
        Some(requests) => requests,
        None => {
            let tokenizer = tokenizer::named_by(&endpoint, &server.model).await?;
            prepare(args, &profile, &tokenizer)?
        }
    };
    let order = Order {
        base_url: endpoint.url(),
        model: &server.model,
        wire: args.server.backend.wire(),
        profile: &profile,
        requests: &requests,
        capabilities: server.capabilities,
        idle: terms.measure.request_idle.0,
        deadline: terms.measure.deadline.0,
        headers,
    };
    let (progress, stop) = (Progress::new(requests.asked()), stops.insisted());
    load::warm_up(&order, profile.warmup_requests, &verified, stop.clone())
        .await
        .map_err(Failure::not_measured_hinted)?;
    if args.pace.flush_cache {
        let within = Duration::from_secs_f64(args.pace.flush_cache_timeout);
        server::flush(args, &endpoint, &server.model, within).await?;
    }
    if 0 < profile.warmup_requests {
        tokio::time::sleep(SETTLING).await;
    }
    let drive = load::drive(&order, &verified, &progress, stop).await;
    let drive = drive.map_err(Failure::not_measured_hinted)?;
    let told = told(args, &endpoint).await;
    let allowed = args.result.lag_budget.unwrap_or(Allowed::Within(terms.measure.lag_budget));
    let made = Made {
        args,
        profile: &profile,
        requests: &requests,
        drive: &drive,
        told,
        model: &server.model,
        allowed,
    };
    made.give(&output)
}

/// How long a server is left alone between the warm-up and the load. vLLM on an H100 still worked
/// for the last answer, and the first 64 requests went out 10 to 28 ms late, in each of 14 loads;
/// after a round trip for a flush they were late by at most 0.6 ms. The tool waits for a second.
const SETTLING: Duration = Duration::from_millis(200);

/// What the server tells of itself after the run, which the tool puts into its line.
async fn told(args: &LoadArgs, endpoint: &Endpoint) -> Option<serde_json::Value> {
    let compat = args.data.compat;
    let path = if compat.at_least([0, 5, 10]) { "/server_info" } else { "/get_server_info" };
    serve::told(endpoint, path, TOLD_WITHIN).await
}

/// How long a server may take to describe itself. Without an answer the description is absent.
const TOLD_WITHIN: Duration = Duration::from_secs(10);

/// The requests, with the bodies that the tool sends.
fn prepare(
    args: &LoadArgs,
    profile: &Profile,
    tokenizer: &Tokenizer,
) -> Result<RequestSet, Failure> {
    let set = load::prepare(profile, profile.seed, tokenizer).map_err(Failure::usage_hinted)?;
    Ok(set.with_bodies(asked::bodies(args)))
}

fn terms() -> Result<Terms, Failure> {
    let skills = ::skill::skills(&inputs::skills(None)?).map_err(Failure::usage)?;
    let steps = || skills.iter().flat_map(|skill| &skill.steps);
    let verify = steps().find_map(Step::as_verify).cloned();
    let measure = steps().find_map(Step::as_measure).cloned();
    let both = verify.zip(measure);
    let (verify, measure) = both.ok_or_else(|| {
        Failure::usage(anyhow!("the skills have no step `verify` or no step `measure`"))
    })?;
    Ok(Terms { verify, measure })
}
