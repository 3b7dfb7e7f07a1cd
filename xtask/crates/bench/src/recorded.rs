//! Sessions that were recorded, found by their id.

use anyhow::anyhow;
use domain::event::Entry;

use crate::failure::Failure;
use crate::store::{Results, SessionFolder, read_entries};

/// The journal of a session: the one named, else the newest.
pub(crate) fn session(
    results: &Results,
    session: Option<&str>,
) -> Result<(SessionFolder, Vec<Entry>), Failure> {
    let folder = match session {
        Some(id) => results.session(id).ok_or_else(|| anyhow!("no session `{id}`")),
        None => {
            let newest = results.sessions()?.pop();
            newest.ok_or_else(|| anyhow!("no session in `{}`", results.root().display()))
        }
    };
    let folder = folder.map_err(|error| {
        Failure::usage(error)
            .with_hint("`--results` names the folder of the results tree".to_owned())
    })?;
    let entries = read_entries(&folder.journal()).map_err(Failure::not_measured)?;
    Ok((folder, entries))
}
