//! `serve`: framework-setup alone. Start, verify, hold until Ctrl-C, stop.

use anyhow::{Context as _, anyhow};
use domain::exit::Exit;
use domain::framework::EngineChoice;
use domain::profile::LoadOverrides;
use domain::verdict::Strictness;
use skill::{Request, Source, Step};

use crate::cli::ServeArgs;
use crate::drive::{self, Live};
use crate::failure::Failure;
use crate::inputs;
use crate::session::{Options, Order, Session};
use crate::signals;
use crate::store::Results;

/// Carries it out.
pub async fn run(args: &ServeArgs) -> Result<Exit, Failure> {
    if 1 < args.target.frameworks.len() {
        let error =
            anyhow!("`serve` holds one framework, but {} were given", args.target.frameworks.len());
        return Err(Failure::usage(error));
    }
    let request = Request {
        skills: setup_skills(inputs::skills(args.places.skills.as_deref())?)?,
        targets: inputs::targets(&args.target, inputs::Prompts::None)?,
        profiles: Vec::new(),
        runs: 1,
        engine: EngineChoice::Native,
        overrides: LoadOverrides::default(),
        experiment: None,
    };
    let plan = ::skill::resolve(&request).map_err(Failure::usage)?;
    let order = Order { request, options: options(args) };
    let stops = signals::listen().context("cannot listen for signals")?;
    let results = Results::at(&args.places.results);
    let session = Session::open(order, plan, results, args.lease_wait, stops).await?;
    drive::hold(&session, &mut Live::new(Vec::new())).await
}

/// The skills that check and set up, without those that measure.
fn setup_skills(sources: Vec<Source>) -> Result<Vec<Source>, Failure> {
    let skills = ::skill::skills(&sources).map_err(Failure::usage)?;
    let measures =
        |skill: &::skill::Skill| skill.steps.iter().any(|step| matches!(step, Step::Measure(_)));
    let kept = sources.into_iter().zip(skills).filter(|(_, skill)| !measures(skill));
    Ok(kept.map(|(source, _)| source).collect())
}

fn options(args: &ServeArgs) -> Options {
    Options {
        gpu_source: args.target.gpu_source.clone(),
        gpus: args.target.gpus.clone(),
        python: None,
        gate: false,
        baseline: None,
        store: None,
        allow_stored: false,
        strictness: Strictness { inconclusive_fails: false, baseline_required: false },
        junit: None,
        json: false,
        cell: None,
    }
}
