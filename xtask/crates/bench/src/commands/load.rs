//! `load`: the native engine alone, against a server that runs already.

use std::time::Duration;

use anyhow::{Context as _, anyhow};
use domain::exit::Exit;
use domain::facts::{Rung, ServerFacts};
use domain::framework::{Backend, Framework};
use domain::profile::Profile;
use domain::target::{Device, Target};
use load::{Drive, Order, Progress, RequestSet, Tokenizer};
use report::block::{BlockInput, block};
use sequencer::{Evidence, ServerVerified};
use serve::Endpoint;
use skill::Step;
use skill::runner::Measure;
use skill::setup::Verify;
use stats::Observation;

use crate::cli::LoadArgs;
use crate::commands::print;
use crate::failure::Failure;
use crate::inputs;
use crate::signals;

/// What the skills say about verifying a server and about the limits of a load.
struct Terms {
    verify: Verify,
    measure: Measure,
}

/// Verifies the server, sends the load, prints the block. Exit code 4 if any request failed.
pub async fn run(args: &LoadArgs) -> Result<Exit, Failure> {
    let terms = terms()?;
    let profile = profile(args)?;
    let requests = prepare(args, &profile)?;
    let stops = signals::listen().context("cannot listen for signals")?;
    let (verified, server, endpoint) = verify(args, &terms.verify).await?;
    let order = Order {
        base_url: endpoint.url(),
        model: &server.model,
        wire: args.backend.wire(),
        profile: &profile,
        requests: &requests,
        capabilities: server.capabilities,
        idle: terms.measure.request_idle.0,
        deadline: terms.measure.deadline.0,
        headers: Vec::new(),
    };
    let (progress, stop) = (Progress::new(requests.asked()), stops.insisted());
    load::warm_up(&order, profile.warmup_requests, &verified, stop.clone())
        .await
        .map_err(Failure::not_measured)?;
    let drive = load::drive(&order, &verified, &progress, stop).await;
    let drive = drive.map_err(Failure::not_measured)?;
    conclude(args, &profile, &requests, &drive)
}

fn conclude(
    args: &LoadArgs,
    profile: &Profile,
    requests: &RequestSet,
    drive: &Drive,
) -> Result<Exit, Failure> {
    let measurement = stats::summarise(&Observation {
        records: &drive.records,
        asked: requests.asked(),
        duration_ns: drive.duration_ns,
        cpu_ns: drive.cpu_ns,
        threads: drive.threads,
    });
    let request_set = requests.fingerprint();
    if let Some(file) = &args.records {
        load::records::write(file, &drive.records).map_err(Failure::not_measured)?;
    }
    if args.json {
        let result = serde_json::json!({
            "profile": profile,
            "requests": measurement.requests,
            "tokens": measurement.tokens,
            "metrics": measurement.metrics,
            "client": measurement.client,
            "anomalies": measurement.anomalies,
            "request_set": request_set,
        });
        let text = serde_json::to_string_pretty(&result).context("cannot express it as JSON")?;
        print(&(text + "\n"))?;
    } else {
        print(&block(&BlockInput {
            backend: args.backend,
            profile,
            measurement: &measurement,
            request_set: Some(&request_set),
            max_itl_ms: stats::metrics::max_itl_ms(&drive.records),
        }))?;
    }
    let complete = measurement.requests.completed == measurement.requests.asked;
    Ok(if complete { Exit::Done } else { Exit::NotMeasured })
}

/// The profile of the flags; what is not given is as in the Python tool, except that prompts are
/// random ids, which need no download.
fn profile(args: &LoadArgs) -> Result<Profile, Failure> {
    let defaults = serde_json::json!({
        "name": "load",
        "dataset_name": "random-ids",
        "num_prompts": 1000,
        "random_input_len": 1024,
        "random_output_len": 1024,
        "random_range_ratio": 0.0,
    });
    let profile: Profile =
        serde_json::from_value(defaults).context("the built-in profile is wrong")?;
    Ok(profile.with(&args.load.overrides()))
}

fn prepare(args: &LoadArgs, profile: &Profile) -> Result<RequestSet, Failure> {
    let tokenizer = match &args.tokenizer {
        Some(folder) => Tokenizer::from_folder(folder).map_err(|error| {
            let hint = error.hint();
            Failure::usage(error).with_hint(hint)
        })?,
        None => Tokenizer::embedded(),
    };
    load::prepare(profile, profile.seed, &tokenizer).map_err(|error| {
        let hint = error.hint();
        Failure::usage(error).with_hint(hint)
    })
}

/// A load needs proof of a server like any other: the rungs that an attached server has.
async fn verify(
    args: &LoadArgs,
    verify: &Verify,
) -> Result<(Evidence<ServerVerified>, ServerFacts, Endpoint), Failure> {
    let url = args.base_url.clone();
    let url = url.unwrap_or_else(|| format!("http://{}:{}", args.host, args.port));
    let endpoint = Endpoint::attach(&target(args, url)).map_err(|error| {
        let hint = error.hint();
        Failure::usage(error).with_hint(hint)
    })?;
    let wanted = [Rung::Port, Rung::Health, Rung::Model, Rung::Generation];
    let mut verify = verify.clone();
    verify.rungs.retain(|limit| wanted.contains(&limit.rung));
    for limit in &mut verify.rungs {
        // Whoever asks for a load says that the server runs.
        limit.within.0 = limit.within.0.min(Duration::from_secs(60));
    }
    let facts = serve::verify(&endpoint, None, &verify).await;
    let evidence = sequencer::server::judge(&facts, &verify.wanted()).map_err(|error| {
        let hint = error.hint();
        Failure::not_measured(error).with_hint(hint)
    })?;
    Ok((evidence, facts, endpoint))
}

fn target(args: &LoadArgs, url: String) -> Target {
    let framework = match args.backend {
        Backend::Sglang | Backend::SglangNative | Backend::SglangOai | Backend::SglangOaiChat => {
            Framework::Sglang
        }
        Backend::Vllm | Backend::VllmChat => Framework::Vllm,
        Backend::Ollama => Framework::Ollama,
        Backend::Lmdeploy | Backend::LmdeployChat | Backend::Openai | Backend::OpenaiChat => {
            Framework::Openai
        }
    };
    Target {
        framework,
        model: args.model.clone(),
        served_model_name: None,
        tokenizer: args.tokenizer.clone(),
        url: Some(url),
        port: None,
        device: Device::Auto,
        executable: None,
        server_args: Vec::new(),
    }
}

fn terms() -> Result<Terms, Failure> {
    let skills = ::skill::skills(&inputs::skills(None)?).map_err(Failure::usage)?;
    let steps: Vec<Step> = skills.into_iter().flat_map(|skill| skill.steps).collect();
    let verify = steps.iter().find_map(|step| match step {
        Step::Verify(verify) => Some(verify.clone()),
        _ => None,
    });
    let measure = steps.iter().find_map(|step| match step {
        Step::Measure(measure) => Some(measure.clone()),
        _ => None,
    });
    let both = verify.zip(measure);
    let (verify, measure) = both.ok_or_else(|| {
        Failure::usage(anyhow!("the skills have no step `verify` or no step `measure`"))
    })?;
    Ok(Terms { verify, measure })
}
