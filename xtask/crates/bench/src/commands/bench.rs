//! `bench`, the main job; and `plan`, which only says what it would do.

use std::cmp::Reverse;

use anyhow::Context as _;
use domain::exit::Exit;
use domain::verdict::Strictness;
use report::{SessionView, judgement};
use skill::Plan;

use crate::baselines::{Ahead, Shelf, foresight};
use crate::cli::BenchArgs;
use crate::commands::report::json;
use crate::drive::{self, Live};
use crate::failure::Failure;
use crate::inputs;
use crate::output::print;
use crate::session::{Options, Order, Session};
use crate::signals;
use crate::store::Results;
use crate::ui::Ui;

/// Runs the session that was asked for.
pub async fn run(args: &BenchArgs) -> Result<Exit, Failure> {
    let (request, plan) = inputs::plan(args)?;
    let order = Order { request, options: options(args)? };
    let engines = drive::choose_engines(&plan, order.options.python.as_deref()).await?;
    let stops = signals::listen().context("cannot listen for signals")?;
    let results = Results::at(&args.places.results);
    if order.options.gate || order.options.baseline.is_some() {
        let shelf = shelf(args, &results)?;
        // A store that cannot be read is found before an hour is measured, not after it.
        shelf.check()?;
        for line in ahead(args, &shelf, &plan) {
            Ui::new().line(&format!("gate: {line}"));
        }
    }
    let session = Session::open(order, plan, results, args.run.lease_wait, stops).await?;
    let exit = drive::drive(&session, &mut Live::new(engines)).await?;
    conclude(&session)?;
    Ok(exit)
}

/// Says what `run` would do.
pub fn explain(args: &BenchArgs) -> Result<Exit, Failure> {
    let (_, plan) = inputs::plan(args)?;
    let text = if args.output.json {
        serde_json::to_string_pretty(&plan).context("cannot express the plan as JSON")? + "\n"
    } else {
        let results = Results::at(&args.places.results);
        let ahead = ahead(args, &shelf(args, &results)?, &plan);
        let ahead = ahead.iter().map(|line| format!("  {line}\n")).collect::<String>();
        format!("{plan}\nGate:\n{ahead}")
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// What the gate will be able to say of the session.
fn ahead(args: &BenchArgs, shelf: &Shelf, plan: &Plan) -> Vec<String> {
    foresight(shelf, args.judge.baseline.as_deref(), plan, Ahead::StoredToo)
}

/// Where stored baselines are. A file takes the place of what is stored anywhere.
fn shelf(args: &BenchArgs, results: &Results) -> Result<Shelf, Failure> {
    let store = inputs::store(&args.store)?.filter(|_| args.judge.baseline.is_none());
    Shelf::to_read(results, store.as_ref())
}

/// Prints the session's result on stdout: the table across frameworks, or everything as JSON.
pub(crate) fn conclude(session: &Session) -> Result<(), Failure> {
    let view = SessionView::fold(&session.recorder.entries());
    if session.order.options.json {
        return print(&json(&view)?);
    }
    // A table across frameworks would mix the two sides of an experiment.
    if session.plan.experiment().is_some() {
        return view
            .judgements
            .iter()
            .try_for_each(|judgement| print(&report::experiment::result(judgement)));
    }
    let runs: Vec<_> = view.runs.iter().map(|run| &run.summary).collect();
    if 1 < runs.len() {
        let metrics = session.compared_metrics();
        let comparison = stats::compare::compare(&runs, metrics, crate::clock::now());
        print(&format!("\n{}", report::table::table(&comparison)))?;
    }
    let mut judgements: Vec<_> = view.judgements.iter().collect();
    judgements.sort_by_key(|judgement| Reverse(judgement.verdict));
    judgements.into_iter().try_for_each(|judged| print(&format!("\n{}", judgement::text(judged))))
}

fn options(args: &BenchArgs) -> Result<Options, Failure> {
    Ok(Options {
        gpu_source: args.target.gpu_source.clone(),
        gpus: args.target.gpus.clone(),
        python: args.run.python.clone(),
        gate: args.judge.gate,
        baseline: args.judge.baseline.clone(),
        store: inputs::store(&args.store)?,
        allow_stored: args.judge.allow_stored,
        strictness: Strictness {
            inconclusive_fails: args.judge.strict,
            baseline_required: args.judge.require_baseline,
        },
        junit: args.output.junit.clone(),
        json: args.output.json,
        cell: args.output.cell(),
    })
}
