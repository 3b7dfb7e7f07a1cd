//! `compare`: frameworks side by side, from recorded runs.

use std::path::Path;

use anyhow::{Context as _, anyhow};
use domain::exit::Exit;
use domain::metric::Metric;
use domain::summary::RunSummary;
use report::SessionView;

use crate::cli::CompareArgs;
use crate::clock::now;
use crate::failure::Failure;
use crate::output::print;
use crate::store::{Results, read_entries, replace, write_new_json};

/// Carries it out.
pub fn run(args: &CompareArgs) -> Result<Exit, Failure> {
    if let Some(folder) = &args.fan_in.from {
        return super::fan_in::run(args, folder);
    }
    let results = Results::at(&args.results);
    let runs =
        if args.inputs.is_empty() { newest(&results)? } else { named(&results, &args.inputs)? };
    if runs.is_empty() {
        let error = anyhow!("no recorded run in `{}`", results.root().display());
        return Err(Failure::usage(error).with_hint("record one with `bench`".to_owned()));
    }
    let runs: Vec<_> = runs.iter().collect();
    let created = now();
    let comparison =
        stats::compare::compare(&runs, &[&Metric::KEY[..], &Metric::OF_GPUS].concat(), created);
    if args.save {
        write_new_json(&results.path(&results.comparison_file(created)), &comparison)?;
    }
    if let Some(file) = &args.html {
        replace(file, report::html::html(&comparison).as_bytes())?;
    }
    if args.json {
        let text = serde_json::to_string_pretty(&comparison);
        print(&(text.context("cannot express the comparison as JSON")? + "\n"))?;
    } else {
        print(&report::table::table(&comparison))?;
    }
    Ok(Exit::Done)
}

/// The runs of each framework's and engine's newest session.
fn newest(results: &Results) -> Result<Vec<RunSummary>, Failure> {
    let mut runs: Vec<RunSummary> = Vec::new();
    for folder in results.sessions()?.into_iter().rev() {
        let Ok(entries) = read_entries(&folder.journal()) else { continue };
        let view = SessionView::fold(&entries);
        let known = |run: &RunSummary, kept: &RunSummary| {
            (run.framework, run.engine, &run.profile.name)
                == (kept.framework, kept.engine, &kept.profile.name)
        };
        let new: Vec<_> = view.runs.into_iter().map(|run| run.summary).collect();
        let new = new.into_iter().filter(|run| !runs.iter().any(|kept| known(run, kept)));
        let new: Vec<_> = new.collect();
        runs.extend(new);
    }
    Ok(runs)
}

/// The runs of the sessions and summary files that were named.
fn named(results: &Results, inputs: &[String]) -> Result<Vec<RunSummary>, Failure> {
    let mut runs = Vec::new();
    for input in inputs {
        if let Some(folder) = results.session(input) {
            let entries = read_entries(&folder.journal()).map_err(Failure::usage)?;
            runs.extend(SessionView::fold(&entries).runs.into_iter().map(|run| run.summary));
        } else {
            let baseline = crate::baselines::read(Path::new(input)).map_err(Failure::usage)?;
            runs.extend(baseline.runs().into_iter().cloned());
        }
    }
    Ok(runs)
}
