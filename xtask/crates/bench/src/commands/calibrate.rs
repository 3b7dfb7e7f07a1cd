//! `calibrate`: how often the gate is wrong on this machine, and what it finds.
//!
//! Pairs of the target with itself are measured, then pairs of the target with a slower one. The
//! rule is replayed on them, and what came of it is published.

use anyhow::{Context as _, Result, anyhow};
use domain::exit::Exit;
use domain::framework::Framework;
use domain::gate::Rule;
use domain::summary::RunSummary;
use domain::verdict::Strictness;
use report::SessionView;
use report::calibration::{Calibration, Row, markdown};
use skill::Ends;
use stats::gate::replay::{Replays, Sides, as_history, replay};
use stats::gate::{self, History};

use super::ab::{experiment, order, target};
use crate::cli::{CalibrateArgs, Own};
use crate::clock::now;
use crate::failure::Failure;
use crate::inputs;
use crate::output::print;
use crate::session::Session;
use crate::signals::{self, Stops};
use crate::store::{Results, write_new, write_new_json};

/// Slowdowns that are added to unchanged pairs, as fractions.
const INJECTED: [f64; 5] = [0.01, 0.02, 0.03, 0.05, 0.10];

/// Seed of what the replays draw: the same pairs give the same table.
const REPLAY_SEED: u64 = 1;

/// Pairs below which nothing is replayed: redrawing three of them is mostly one of them.
const FEWEST_PAIRS: usize = 4;

/// The measured runs of one experiment.
struct Measured {
    session: String,
    runs: Vec<RunSummary>,
}

/// Carries it out.
pub async fn run(args: &CalibrateArgs) -> Result<Exit, Failure> {
    let slow = slow_args(args)?;
    let rule = inputs::rule(args.trial.places.skills.as_deref())?;
    let stops = signals::listen().context("cannot listen for signals")?;
    let alike = match measured(args, &[], stops.clone()).await? {
        Ok(alike) => alike,
        Err(exit) => return Ok(exit),
    };
    let apart = match measured(args, &slow, stops).await? {
        Ok(apart) => apart,
        Err(exit) => return Ok(exit),
    };
    let calibration = calibrated(args, &rule, &alike, (&apart, &slow));
    let calibration = calibration.map_err(Failure::not_measured)?;
    let files = publish(args, &calibration).map_err(Failure::not_measured)?;
    print(&if args.trial.output.json {
        serde_json::to_string_pretty(&calibration).context("cannot express it as JSON")? + "\n"
    } else {
        format!("{}\nwritten to {files}\n", markdown(&calibration))
    })?;
    Ok(Exit::Done)
}

/// The arguments that make the slow side slower.
fn slow_args(args: &CalibrateArgs) -> Result<Vec<String>, Failure> {
    if !args.slow_server_args.is_empty() {
        return Ok(args.slow_server_args.clone());
    }
    if args.trial.target.framework == Framework::Sim {
        // A step's base cost and its cost per sequence are all that decoding is made of.
        let factor = 1.0 + args.slowdown / 100.0;
        let flag = |name: &str, plain: f64| format!("--{name}={}", plain * factor);
        let plain = sim::Config::steady();
        return Ok(vec![
            flag("step-base-ms", plain.step_base_ms),
            flag("step-per-seq-ms", plain.step_per_seq_ms),
            flag("step-per-1k-kv-ms", plain.step_per_1k_kv_ms),
        ]);
    }
    let error = anyhow!("nothing is known that slows `{}` down", args.trial.target.framework);
    let hint = "give an argument that does with `--slow-server-arg`";
    Err(Failure::usage(error).with_hint(hint.to_owned()))
}

/// Measures pairs of the target and of the target with `slow`; or the code that it ended with.
async fn measured(
    args: &CalibrateArgs,
    slow: &[String],
    stops: Stops,
) -> Result<Result<Measured, Exit>, Failure> {
    let own = Own { server_args: slow, ..Own::default() };
    let targets = [target(&args.trial, &Own::default())?, target(&args.trial, &own)?];
    let strictness = Strictness { inconclusive_fails: false, baseline_required: false };
    let order = order(&args.trial, targets, (args.pairs, Ends::AfterAllPairs), strictness)?;
    let (session, exit) = experiment(&args.trial, order, stops).await?;
    let measured = runs_of(&session);
    let runs: Vec<_> = measured.runs.iter().collect();
    // A pair in which the client or the machine failed is lost, and no reason to lose the others.
    let enough = FEWEST_PAIRS <= gate::pair_up(&runs).0.len();
    let usable = exit == Exit::Done || (exit == Exit::NotMeasured && enough);
    Ok(if usable { Ok(measured) } else { Err(exit) })
}

fn runs_of(session: &Session) -> Measured {
    let view = SessionView::fold(&session.recorder.entries());
    let runs = view.runs.into_iter().map(|run| run.summary).collect();
    Measured { session: session.folder.id().to_owned(), runs }
}

/// Every row of the table.
fn calibrated(
    args: &CalibrateArgs,
    rule: &Rule,
    alike: &Measured,
    (apart, slow): (&Measured, &[String]),
) -> Result<Calibration> {
    let runs: Vec<&RunSummary> = alike.runs.iter().collect();
    let slower: Vec<&RunSummary> = apart.runs.iter().collect();
    let first = runs.first().context("no run was measured")?;
    let known = as_history(&runs);
    let row = |what: String, of: &[&RunSummary], sides, slower_by| -> Result<Row> {
        let (pairs, _) = gate::pair_up(of);
        let replays = Replays { count: args.replays, seed: REPLAY_SEED, sides, slower_by };
        let tally = |history: &History| {
            replay(rule, &pairs, history, replays).map_err(|error| anyhow!(error))
        };
        Ok(Row { what, cold: tally(&History::none())?, known: tally(&known)? })
    };
    let mut rows = vec![row("unchanged".to_owned(), &runs, Sides::Alike, 0.0)?];
    for slower_by in INJECTED {
        let what = format!("every metric {} % worse, added by arithmetic", slower_by * 100.0);
        rows.push(row(what, &runs, Sides::Alike, slower_by)?);
    }
    let what = format!("really slower, `{}`", slow.join(" "));
    rows.push(row(what, &slower, Sides::Apart, 0.0)?);
    Ok(Calibration {
        schema: Calibration::SCHEMA,
        key: gate::key(first),
        at: now(),
        servegate: env!("CARGO_PKG_VERSION").to_owned(),
        environment: first.environment.clone(),
        pairs: [&runs, &slower].map(|of| gate::pair_up(of).0.len()),
        replays: args.replays,
        rule: rule.clone(),
        sessions: vec![alike.session.clone(), apart.session.clone()],
        rows,
        history: rule
            .metrics
            .iter()
            .filter_map(|metric| Some((*metric, known.floor(rule, *metric)?.sd)))
            .collect(),
    })
}

/// Writes the table as JSON and as Markdown; returns where.
fn publish(args: &CalibrateArgs, calibration: &Calibration) -> Result<String> {
    let results = Results::at(&args.trial.places.results);
    let stem = results.calibration_stem(&calibration.key, calibration.at);
    let (json, text) = (stem.with_extension("json"), stem.with_extension("md"));
    write_new_json(&json, calibration)?;
    write_new(&text, markdown(calibration).as_bytes())?;
    Ok(format!("{} and {}", json.display(), text.display()))
}
