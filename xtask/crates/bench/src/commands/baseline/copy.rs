//! `baseline copy`: from the files of a results tree into a store.
//!
//! A session keeps the time at which it was accepted, so that it stands in the store where it would
//! stand had it been accepted there. Nothing is replaced, and what is there already is left as it
//! is; so a copy that broke off is simply made again.

use anyhow::anyhow;
use domain::timestamp::Timestamp;
use stats::gate::count;

use crate::baselines::{self, Acceptance, Baseline, Shelf, StoredSession};
use crate::cli::StoreArgs;
use crate::failure::Failure;
use crate::inputs;
use crate::store::{Access, Results};

/// Copies every session of every file, and says of each what came of it.
pub(super) fn copy(results: &Results, to: &StoreArgs, access: Access) -> Result<String, Failure> {
    let Some(url) = inputs::store(to)? else {
        let hint = "name it with `--to`, like s3://BUCKET/PREFIX or file:///FOLDER";
        return Err(Failure::usage(anyhow!("no store to copy to")).with_hint(hint.to_owned()));
    };
    let store = Shelf::of(results, Some(&url), access)?;
    let baselines = all(results)?;
    for (_, baseline) in &baselines {
        store.may_accept(&baseline.key)?;
    }
    let (mut text, mut copied, mut known) = (String::new(), 0, 0);
    for (file, baseline) in baselines {
        let there = store.remembered(&baseline.key).map_err(baselines::not_used)?;
        let there = there.map(|there| there.sessions).unwrap_or_default();
        let Told { sessions, without_runs } = told(&file, &baseline);
        for (session, acceptance) in sessions {
            let how = if there.contains(session) {
                known += 1;
                "already there"
            } else {
                let runs: Vec<_> = session.runs.iter().collect();
                store.accept(&baseline.key, &runs, acceptance)?;
                copied += 1;
                "copied"
            };
            text.push_str(&format!("{}\t{}: {how}\n", baseline.key, session.session));
        }
        if 0 < without_runs {
            let what = count(without_runs, "acceptance");
            text.push_str(&format!("{}\t{what} without runs: not copied\n", baseline.key));
        }
    }
    Ok(text + &format!("{} copied, {known} already there: {url}\n", count(copied, "session")))
}

/// The baselines of a results tree with their files. Is one of them not to be used, nothing is
/// copied: half of a move is worse than none.
fn all(results: &Results) -> Result<Vec<(String, Baseline)>, Failure> {
    let files = Shelf::Folder(results.clone()).overview().map_err(baselines::not_used)?;
    if files.is_empty() {
        let error = anyhow!("no baseline in `{}`", results.baselines().display());
        let hint = "`--results` names the folder of the results tree";
        return Err(Failure::usage(error).with_hint(hint.to_owned()));
    }
    let used = files.into_iter().map(|file| Ok((file.name, file.baseline?)));
    used.collect::<Result<_, _>>()
        .map_err(|bad| baselines::not_used(bad).with_hint("nothing was copied".to_owned()))
}

/// What a file tells of its sessions.
struct Told<'a> {
    /// Sessions with how they were accepted, in the order of the file.
    sessions: Vec<(&'a StoredSession, Acceptance)>,
    /// Acceptances of sessions that the file does not remember.
    without_runs: usize,
}

/// Finds the acceptance of each session. Ids may meet where runners are containers, so each
/// acceptance stands for one session, the last for the last.
fn told<'a>(file: &str, baseline: &'a Baseline) -> Told<'a> {
    let mut log = baseline.log.clone();
    let mut sessions = Vec::new();
    for session in baseline.sessions.iter().rev() {
        let Some(finished) = session.runs.iter().map(|run| run.finished).max() else { continue };
        let found = log.iter().rposition(|accepted| accepted.session == session.session);
        let acceptance = match found {
            Some(at) => log.remove(at),
            None => unsaid(file, session, finished),
        };
        sessions.push((session, acceptance));
    }
    sessions.reverse();
    Told { sessions, without_runs: log.len() }
}

/// The acceptance of a session of which its file has none, as in a file that somebody wrote.
fn unsaid(file: &str, session: &StoredSession, finished: Timestamp) -> Acceptance {
    Acceptance {
        session: session.session.clone(),
        at: finished,
        verdict: None,
        reason: format!("copied from `{file}`, which does not say why"),
    }
}
