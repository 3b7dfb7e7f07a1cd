//! `resume`: go on with an interrupted session, or only clear away what it left.

use anyhow::{Context as _, anyhow};
use domain::event::Event;
use domain::exit::Exit;

use crate::cli::ResumeArgs;
use crate::commands::bench::conclude;
use crate::drive::{self, Live};
use crate::failure::Failure;
use crate::session::{Session, is_over, lease_for_cleaning, recorded_order, recorded_server};
use crate::signals::{self, Stops};
use crate::store::{Results, SessionFolder, read_entries};

/// Carries it out.
pub async fn run(args: &ResumeArgs) -> Result<Exit, Failure> {
    let results = Results::at(&args.results);
    let folder = unfinished(&results, args.session.as_deref())?;
    let stops = signals::listen().context("cannot listen for signals")?;
    if args.clean_only {
        return clean(args, &folder, &stops).await;
    }
    let session = Session::reopen(results, folder, args.lease_wait, stops).await?;
    let survivors = drive::clean_up(&session).await?;
    if !survivors.is_empty() {
        session.recorder.record(Event::SessionClosed { exit: Exit::LeftBehind.code() })?;
        return Ok(Exit::LeftBehind);
    }
    let python = session.order.options.python.as_deref();
    let engines = drive::choose_engines(&session.plan, python).await?;
    let exit = drive::drive(&session, &mut Live::new(engines)).await?;
    conclude(&session)?;
    Ok(exit)
}

/// Ends what a session left running. The journal is read and not written: this works for sessions
/// of other versions too, whose plan nobody knows any more.
async fn clean(args: &ResumeArgs, folder: &SessionFolder, stops: &Stops) -> Result<Exit, Failure> {
    let entries = read_entries(&folder.journal()).map_err(Failure::not_measured)?;
    let (order, _) = recorded_order(&entries)?;
    let _lease = lease_for_cleaning(&order, folder, args.lease_wait, stops).await?;
    let report = drive::end_left(recorded_server(&entries), folder.id()).await;
    if report.survivors.is_empty() {
        return Ok(Exit::Done);
    }
    let error = anyhow!("processes of the session are still running: {:?}", report.survivors);
    Err(Failure::not_measured(error).with_exit(Exit::LeftBehind))
}

/// The session named, else the newest one that is not finished.
fn unfinished(results: &Results, session: Option<&str>) -> Result<SessionFolder, Failure> {
    if let Some(id) = session {
        return results.session(id).ok_or_else(|| Failure::usage(anyhow!("no session `{id}`")));
    }
    // A journal that cannot be read is not finished either: whoever resumes it is told why.
    let over = |folder: &SessionFolder| read_entries(&folder.journal()).is_ok_and(|e| is_over(&e));
    let newest = results.sessions()?.into_iter().rev().find(|folder| !over(folder));
    newest.ok_or_else(|| {
        Failure::usage(anyhow!("no unfinished session in `{}`", results.root().display()))
    })
}
