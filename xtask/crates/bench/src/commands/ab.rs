//! `ab`: a baseline and a candidate measured in turns until the gate can decide.

use anyhow::{Context as _, anyhow};
use domain::exit::Exit;
use domain::target::Target;
use domain::verdict::Strictness;
use skill::{Ends, Experiment, Plan, Request};

use crate::baselines::{Ahead, Shelf, foresight};
use crate::cli::{AbArgs, Own, TrialArgs};
use crate::clock::now;
use crate::commands::bench::conclude;
use crate::drive::{self, Live};
use crate::failure::Failure;
use crate::inputs::{self, Prompts};
use crate::session::{Options, Order, Session};
use crate::signals::{self, Stops};
use crate::store::Results;
use crate::ui::Ui;

/// Pairs that are planned beside those of the last look, in place of pairs that have to be left out
/// because the load client failed in them.
const SPARE_PAIRS: u32 = 5;

/// Carries it out.
pub async fn run(args: &AbArgs) -> Result<Exit, Failure> {
    let [baseline, candidate] = args.sides.both();
    let targets = [target(&args.trial, &baseline)?, target(&args.trial, &candidate)?];
    let strictness = Strictness { inconclusive_fails: args.strict, baseline_required: false };
    let stops = signals::listen().context("cannot listen for signals")?;
    let rule = inputs::rule(args.trial.places.skills.as_deref())?;
    let pairs = rule.most_pairs();
    let order = order(&args.trial, targets, (pairs + SPARE_PAIRS, Ends::WhenDecided), strictness)?;
    let (session, exit) = experiment(&args.trial, order, stops).await?;
    conclude(&session)?;
    Ok(exit)
}

/// Runs the session of an experiment to its end.
pub(super) async fn experiment(
    trial: &TrialArgs,
    order: Order,
    stops: Stops,
) -> Result<(Session, Exit), Failure> {
    let plan: Plan = ::skill::resolve(&order.request).map_err(Failure::usage)?;
    let engines = drive::choose_engines(&plan, order.options.python.as_deref()).await?;
    let results = Results::at(&trial.places.results);
    let shelf = Shelf::to_read(&results, order.options.store.as_ref())?;
    shelf.check()?;
    for line in foresight(&shelf, None, &plan, Ahead::Pairs) {
        Ui::new().line(&format!("gate: {line}"));
    }
    let session = Session::open(order, plan, results, trial.turns.lease_wait, stops).await?;
    let exit = drive::drive(&session, &mut Live::new(engines)).await?;
    Ok((session, exit))
}

/// What an experiment is asked for.
pub(super) fn order(
    trial: &TrialArgs,
    targets: [Target; 2],
    (pairs, ends): (u32, Ends),
    strictness: Strictness,
) -> Result<Order, Failure> {
    let experiment = Experiment {
        pairs,
        ends,
        order_seed: trial.turns.order_seed.unwrap_or_else(drawn_seed),
        restart: trial.turns.restart.into(),
        cool_down_within: trial.turns.cool_down_within,
    };
    let request = Request {
        skills: inputs::skills(trial.places.skills.as_deref())?,
        targets: targets.into(),
        profiles: vec![trial.turns.profile.clone()],
        runs: 1,
        engine: trial.turns.engine,
        overrides: trial.load.overrides(),
        experiment: Some(experiment),
    };
    let options = Options {
        gpu_source: trial.target.gpu_source.clone(),
        gpus: trial.target.gpus.clone(),
        python: trial.turns.python.clone(),
        gate: true,
        allow_stored: false,
        baseline: None,
        store: inputs::store(&trial.store)?,
        strictness,
        junit: trial.output.junit.clone(),
        json: trial.output.json,
        cell: trial.output.cell(),
    };
    Ok(Order { request, options })
}

/// The target of one side.
pub(super) fn target(trial: &TrialArgs, own: &Own<'_>) -> Result<Target, Failure> {
    let mut targets = inputs::targets(&trial.target.side(own), Prompts::Counted)?;
    targets.pop().ok_or_else(|| Failure::usage(anyhow!("no framework is chosen")))
}

/// A seed that nobody chose; it stands in the journal like one that somebody did.
fn drawn_seed() -> u64 {
    now().unix_millis().unsigned_abs() << 16 | u64::from(std::process::id() & 0xFFFF)
}
