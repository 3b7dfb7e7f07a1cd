//! `baseline list`, `show`, `accept`.

use anyhow::anyhow;
use domain::exit::Exit;
use domain::metric::Metric;
use report::SessionView;

use crate::baselines;
use crate::cli::{BaselineArgs, BaselineCommand};
use crate::commands::{print, recorded};
use crate::failure::Failure;
use crate::store::Results;

/// Carries it out.
pub fn run(args: &BaselineArgs) -> Result<Exit, Failure> {
    let results = Results::at(&args.results);
    match &args.command {
        BaselineCommand::List => list(&results),
        BaselineCommand::Show { key } => show(&results, key),
        BaselineCommand::Accept { session } => accept(&results, session.as_deref()),
    }
}

fn list(results: &Results) -> Result<Exit, Failure> {
    let mut text = String::new();
    for (key, runs) in stored(results)? {
        let newest = runs.iter().map(|run| run.finished).max();
        let newest = newest.map_or_else(|| "never".to_owned(), |at| at.to_string());
        text.push_str(&format!("{key}\t{} runs, newest {newest}\n", runs.len()));
    }
    print(&text)?;
    Ok(Exit::Done)
}

fn show(results: &Results, key: &str) -> Result<Exit, Failure> {
    let runs = baselines::load(results, None, key)?;
    if runs.is_empty() {
        let error = anyhow!("no baseline for `{key}`");
        return Err(Failure::usage(error).with_hint("`baseline list` prints the keys".to_owned()));
    }
    let mut text = format!("{key}\n");
    for metric in Metric::KEY {
        let values = runs.iter().map(|run| match run.metric(metric) {
            Some(value) => format!("{value:.2}"),
            None => "n/a".to_owned(),
        });
        let values = values.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("{metric:<28} {:<6} {values}\n", metric.card().unit));
    }
    print(&text)?;
    Ok(Exit::Done)
}

fn accept(results: &Results, session: Option<&str>) -> Result<Exit, Failure> {
    let (folder, entries) = recorded(results, session)?;
    let view = SessionView::fold(&entries);
    let runs: Vec<_> = view.runs.iter().map(|run| &run.summary).collect();
    if runs.is_empty() {
        let error = anyhow!("the session `{}` has no run that counts", folder.id());
        return Err(Failure::usage(error));
    }
    let mut text = String::new();
    for (key, runs) in baselines::by_key(&runs) {
        baselines::accept(results, &key, &runs)?;
        text.push_str(&format!("{key}: {} runs accepted\n", runs.len()));
    }
    print(&text)?;
    Ok(Exit::Done)
}

/// Every stored baseline with its key, by file name.
fn stored(results: &Results) -> Result<Vec<(String, Vec<domain::summary::RunSummary>)>, Failure> {
    let Ok(listing) = std::fs::read_dir(results.baselines()) else { return Ok(Vec::new()) };
    let mut files: Vec<_> = listing.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut stored = Vec::new();
    for file in files {
        let runs = baselines::read(&file)?;
        if let Some(first) = runs.first() {
            stored.push((stats::baseline::key(first), runs));
        }
    }
    Ok(stored)
}
