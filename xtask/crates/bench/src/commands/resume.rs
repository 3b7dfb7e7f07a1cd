//! `resume`: go on with an interrupted session, or only clear away what it left.

use anyhow::{Context as _, anyhow};
use domain::event::Event;
use domain::exit::Exit;
use skill::Plan;

use crate::cli::ResumeArgs;
use crate::commands::bench::conclude;
use crate::drive::{self, Live};
use crate::failure::Failure;
use crate::session::{Session, fold, recorded_order};
use crate::signals;
use crate::store::{Results, SessionFolder, read_entries};

/// Carries it out.
pub async fn run(args: &ResumeArgs) -> Result<Exit, Failure> {
    let results = Results::at(&args.results);
    let folder = unfinished(&results, args.session.as_deref())?;
    let stops = signals::listen().context("cannot listen for signals")?;
    let session = Session::reopen(results, folder, args.lease_wait, stops).await?;
    let survivors = drive::clean_up(&session).await?;
    if !survivors.is_empty() {
        session.recorder.record(Event::SessionClosed { exit: Exit::LeftBehind.code() })?;
        return Ok(Exit::LeftBehind);
    }
    if args.clean_only {
        return Ok(Exit::Done);
    }
    let python = session.order.options.python.as_deref();
    let engines = drive::choose_engines(&session.plan, python).await?;
    let exit = drive::drive(&session, &mut Live::new(engines)).await?;
    conclude(&session)?;
    Ok(exit)
}

/// The session named, else the newest one that is not finished.
fn unfinished(results: &Results, session: Option<&str>) -> Result<SessionFolder, Failure> {
    if let Some(id) = session {
        return results.session(id).ok_or_else(|| Failure::usage(anyhow!("no session `{id}`")));
    }
    let newest = results.sessions()?.into_iter().rev().find(|folder| !is_finished(folder));
    newest.ok_or_else(|| {
        let error = anyhow!("no unfinished session in `{}`", results.root().display());
        Failure::usage(error)
    })
}

/// Whether a session's journal says that it is finished; one that cannot be read is not.
fn is_finished(folder: &SessionFolder) -> bool {
    let Ok(entries) = read_entries(&folder.journal()) else { return false };
    let plan: Result<Plan, _> = recorded_order(&entries).map(|(_, plan)| plan);
    plan.and_then(|plan| fold(&plan, &entries)).is_ok_and(|state| state.finished())
}
