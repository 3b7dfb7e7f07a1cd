//! `baseline list`, `show`, `accept`, `copy`, `history`.

mod copy;

use anyhow::anyhow;
use domain::exit::Exit;
use domain::metric::Metric;
use domain::summary::RunSummary;
use domain::verdict::Verdict;
use report::SessionView;
use report::history::{Drawn, draw};
use stats::gate::{change_points, count, ratios};

use crate::baselines::{self, Acceptance, Baseline, Shelf, Shelved};
use crate::cli::{BaselineArgs, BaselineCommand, StoreArgs};
use crate::clock::now;
use crate::failure::Failure;
use crate::inputs;
use crate::output::print;
use crate::recorded;
use crate::store::{Results, read_entries};
use copy::copy;

/// Carries it out.
pub fn run(args: &BaselineArgs) -> Result<Exit, Failure> {
    let results = Results::at(&args.results);
    let event = std::env::var(EVENT).ok();
    let access = baselines::access(args.store.store_read_only, event.as_deref());
    let shelf = || Shelf::of(&results, inputs::store(&args.store.place)?.as_ref(), access.clone());
    let text = match &args.command {
        BaselineCommand::List => list(&shelf()?)?,
        BaselineCommand::Show { key } => {
            let mut baseline = stored(&shelf()?, key)?;
            baseline.shorten();
            show(&baseline)
        }
        BaselineCommand::Accept { session, reason } => {
            accept(&results, &shelf()?, session.as_deref(), reason.as_deref())?
        }
        BaselineCommand::Copy { to } => {
            let store = to.clone().or_else(|| args.store.place.store.clone());
            copy(&results, &StoreArgs { store }, access)?
        }
        BaselineCommand::History { key } => history(&results, &stored(&shelf()?, key)?)?,
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// The variable in which GitHub names the event that began a job.
const EVENT: &str = "GITHUB_EVENT_NAME";

/// One line a key, also for those that cannot be read.
fn list(shelf: &Shelf) -> Result<String, Failure> {
    let line = |shelved: &Shelved| match &shelved.baseline {
        Ok(baseline) => {
            let runs = baseline.runs();
            let newest = runs.iter().map(|run| run.finished).max();
            let newest = newest.map_or_else(|| "never".to_owned(), |at| at.to_string());
            let what = match shelved.accepted {
                Some(accepted) => count(accepted, "accepted session"),
                None => {
                    let sessions = count(baseline.sessions.len(), "session");
                    format!("{sessions}, {}", count(runs.len(), "run"))
                }
            };
            format!("{}\t{what}, newest {newest}\n", baseline.key)
        }
        Err(bad) => format!("{}\tUNUSABLE: {bad}\n", shelved.name),
    };
    Ok(shelf.overview().map_err(baselines::not_used)?.iter().map(line).collect())
}

fn stored(shelf: &Shelf, key: &str) -> Result<Baseline, Failure> {
    let baseline = shelf.remembered(key).map_err(baselines::not_used)?;
    baseline.ok_or_else(|| {
        Failure::usage(anyhow!("no baseline for `{key}`"))
            .with_hint("`baseline list` prints the keys".to_owned())
    })
}

fn show(baseline: &Baseline) -> String {
    let mut text = format!("{}\n", baseline.key);
    for metric in Metric::KEY {
        let values = baseline.runs().into_iter().map(|run| match run.metric(metric) {
            Some(value) => format!("{value:.2}"),
            None => "n/a".to_owned(),
        });
        let values = values.collect::<Vec<_>>().join("  ");
        text.push_str(&format!("{metric:<28} {:<6} {values}\n", metric.card().unit));
    }
    for Acceptance { session, at, verdict, reason } in &baseline.log {
        let verdict = verdict.map_or_else(|| "not judged".to_owned(), |said| said.to_string());
        text.push_str(&format!("accepted {at}: {session} ({verdict}): {reason}\n"));
    }
    text
}

/// Accepts each key of a session, or none of them.
fn accept(
    results: &Results,
    shelf: &Shelf,
    session: Option<&str>,
    reason: Option<&str>,
) -> Result<String, Failure> {
    let (folder, entries) = recorded::session(results, session)?;
    let view = SessionView::fold(&entries);
    let runs: Vec<_> = view.runs.iter().map(|run| &run.summary).collect();
    if runs.is_empty() {
        let error = anyhow!("the session `{}` has no run that counts", folder.id());
        return Err(Failure::usage(error));
    }
    let mut accepted = Vec::new();
    for (key, runs) in baselines::by_key(&runs) {
        let judgement = view.judgements.iter().find(|judgement| judgement.key == key);
        let verdict = judgement.map(|judgement| judgement.verdict);
        shelf.may_accept(&key)?;
        let known = || shelf.knows(&key).map_err(baselines::not_used);
        let why = why(&key, verdict, reason, known)?;
        let session = folder.id().to_owned();
        accepted.push((key, runs, Acceptance { session, at: now(), verdict, reason: why }));
    }
    let mut text = String::new();
    for (key, runs, acceptance) in accepted {
        text.push_str(&format!(
            "{key}: {} accepted: {}\n",
            count(runs.len(), "run"),
            acceptance.reason
        ));
        shelf.accept(&key, &runs, acceptance)?;
    }
    Ok(text)
}

/// Why a session may become the newest of a baseline. What is accepted is what later changes are
/// held against, so it takes a verdict or somebody's word.
fn why(
    key: &str,
    verdict: Option<Verdict>,
    reason: Option<&str>,
    known: impl Fn() -> Result<bool, Failure>,
) -> Result<String, Failure> {
    if let Some(reason) = reason.filter(|reason| !reason.trim().is_empty()) {
        return Ok(reason.to_owned());
    }
    match verdict {
        Some(verdict @ (Verdict::Pass | Verdict::Improved)) => {
            Ok(format!("the gate said {verdict}"))
        }
        Some(Verdict::MissingBaseline) | None if !known()? => Ok("the first of its key".to_owned()),
        said => {
            let said = said.map_or_else(|| "nothing".to_owned(), |said| said.to_string());
            let error = anyhow!("`{key}` has a baseline, and of this session the gate said {said}");
            let hint = "say why it should be the baseline all the same with `--reason`";
            Err(Failure::usage(error).with_hint(hint.to_owned()))
        }
    }
}

/// Draws the key's metrics over its stored and its recorded sessions.
fn history(results: &Results, baseline: &Baseline) -> Result<String, Failure> {
    let mut sessions: Vec<(String, Vec<RunSummary>)> = baseline
        .sessions
        .iter()
        .map(|stored| (stored.session.clone(), stored.runs.clone()))
        .collect();
    for folder in results.sessions()? {
        let known = sessions.iter().any(|(session, _)| session == folder.id());
        // A journal that cannot be read is told by `report`; it has no place in a series.
        let Some(entries) = read_entries(&folder.journal()).ok().filter(|_| !known) else {
            continue;
        };
        let runs = SessionView::fold(&entries).runs.into_iter().map(|run| run.summary);
        let runs: Vec<_> = runs.filter(|run| stats::key(run) == baseline.key).collect();
        if !runs.is_empty() {
            sessions.push((folder.id().to_owned(), runs));
        }
    }
    sessions.sort_by(|(a, _), (b, _)| a.cmp(b));
    let text = Metric::KEY.into_iter().map(|metric| drawn(metric, &sessions));
    Ok(format!("{}: {}\n\n", baseline.key, count(sessions.len(), "session"))
        + &text.collect::<Vec<_>>().join("\n"))
}

fn drawn(metric: Metric, sessions: &[(String, Vec<RunSummary>)]) -> String {
    let runs: Vec<Vec<&RunSummary>> =
        sessions.iter().map(|(_, runs)| runs.iter().collect()).collect();
    let by_session: Vec<&[&RunSummary]> = runs.iter().map(Vec::as_slice).collect();
    let known = sessions.iter().zip(ratios(metric, &by_session));
    let known = known.filter_map(|((session, _), ratio)| Some((session.clone(), ratio?)));
    let (sessions, ratios): (Vec<String>, Vec<f64>) = known.unzip();
    let title = format!("{metric} ({})", metric.card().unit);
    draw(&Drawn {
        title: &title,
        sessions: &sessions,
        ratios: &ratios,
        changes: &change_points(&ratios),
    })
}
