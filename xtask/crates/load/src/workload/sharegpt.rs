//! Files in ShareGPT's format: a JSON array of conversations, of which the first turn is used.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use serde::Deserialize;

use super::WorkloadError;

/// The usual file has about 0.7 GB; this bounds what a wrong path can do to the machine's memory.
const FILE_BYTES: u64 = 4 << 30;

#[derive(Deserialize)]
struct Entry {
    conversations: Option<Vec<Turn>>,
    conversation: Option<Vec<Turn>>,
}

#[derive(Deserialize)]
struct Turn {
    value: Option<String>,
}

/// The first turn of every conversation that has two, in file order.
pub(super) fn prompts(path: &Path) -> Result<Vec<String>, WorkloadError> {
    let unreadable = |source| WorkloadError::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if FILE_BYTES < bytes {
        let path = path.to_owned();
        return Err(WorkloadError::TooLarge { path, bytes, limit: FILE_BYTES });
    }
    let entries: Vec<Entry> = serde_json::from_reader(BufReader::new(file))
        .map_err(|source| WorkloadError::NotShareGpt { path: path.to_owned(), source })?;
    Ok(entries.into_iter().filter_map(first_of_two).collect())
}

fn first_of_two(entry: Entry) -> Option<String> {
    let mut turns = entry.conversations.or(entry.conversation)?.into_iter();
    let first = turns.next()?.value?;
    turns.next()?;
    Some(first)
}
