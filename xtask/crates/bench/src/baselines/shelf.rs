//! Where stored baselines are: a folder of the results tree, or an object store.
//!
//! In the folder a key has one file, which people review. In a store it has one object for each
//! session that was accepted, written once: runners that accept at the same time add objects of
//! their own, and a reader puts them together. What cannot be read is an error, never a baseline
//! that is missing.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use domain::summary::RunSummary;
use serde::{Deserialize, Serialize};

use super::{
    Acceptance, BadBaseline, Baseline, LOG_KEPT, SCHEMA, SESSIONS_KEPT, StoredSession, keep_last,
    read,
};
use crate::failure::Failure;
use crate::store::{Access, Objects, ReadOnly, Results, StoreError, StoreUrl, file_name, replace};

/// Where stored baselines are.
#[derive(Clone, Debug)]
pub enum Shelf {
    /// The folder `baselines` of a results tree.
    Folder(Results),
    /// A store.
    Store(Objects),
}

/// What is on a shelf of one key, as far as it can be told without reading all of it.
#[derive(Debug)]
pub struct Shelved {
    /// Where it is: a file, or a folder of the store.
    pub name: String,
    /// How often a session of the key was accepted, where that takes no reading.
    pub accepted: Option<usize>,
    /// The baseline, or only its newest session.
    pub baseline: Result<Baseline, BadBaseline>,
}

/// An accepted session of a key, as an object holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    schema: u32,
    key: String,
    acceptance: Acceptance,
    runs: Vec<RunSummary>,
}

/// Version of an entry's format.
const ENTRY_SCHEMA: u32 = 1;

/// Folder of the store that holds the folders of all keys.
const FOLDER: &str = "baselines";

/// Keys of the same readable name that are looked at for one that was meant.
const SIMILAR_KEYS: usize = 50;

/// Events of GitHub's at which code runs that nobody has merged yet begin so.
const PULL_REQUEST: &str = "pull_request";

impl Shelf {
    /// The store that was asked for, else the folder.
    pub fn of(
        results: &Results,
        store: Option<&StoreUrl>,
        access: Access,
    ) -> Result<Self, Failure> {
        match store {
            Some(url) => Ok(Self::Store(Objects::open(url, access).map_err(failure)?)),
            None => Ok(Self::Folder(results.clone())),
        }
    }

    /// The shelf for reading only.
    pub fn to_read(results: &Results, store: Option<&StoreUrl>) -> Result<Self, Failure> {
        Self::of(results, store, Access::Read(ReadOnly::Asked))
    }

    /// Whether it can be read, asked before anything long begins.
    pub fn check(&self) -> Result<(), Failure> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Store(objects) => objects.folders(FOLDER).map(drop).map_err(failure),
        }
    }

    /// Whether a session of a key may be added, asked before any is.
    pub fn may_accept(&self, key: &str) -> Result<(), Failure> {
        match self {
            // A file that is damaged is not written over.
            Self::Folder(_) => self.stored(key).map(drop).map_err(not_used),
            Self::Store(objects) => objects.may_write().map_err(failure),
        }
    }

    /// Whether there is a baseline of exactly this key.
    pub fn knows(&self, key: &str) -> Result<bool, BadBaseline> {
        match self {
            Self::Folder(_) => Ok(self.stored(key)?.is_some()),
            Self::Store(objects) => Ok(0 < objects.list(&folder(key), 0)?.count),
        }
    }

    /// The stored baseline of exactly this key.
    pub fn stored(&self, key: &str) -> Result<Option<Baseline>, BadBaseline> {
        match self {
            Self::Folder(results) => {
                let file = results.baseline_file(key);
                if file.exists() { read(&file).map(Some) } else { Ok(None) }
            }
            Self::Store(objects) => newest(objects, &folder(key), Some(key), SESSIONS_KEPT),
        }
    }

    /// The same with all that is remembered: in a store these are many sessions.
    pub fn remembered(&self, key: &str) -> Result<Option<Baseline>, BadBaseline> {
        match self {
            Self::Folder(_) => self.stored(key),
            Self::Store(objects) => newest(objects, &folder(key), Some(key), LOG_KEPT),
        }
    }

    /// Of the baselines with this readable key the one that was accepted into last.
    pub fn closest(&self, readable: &str) -> Result<Option<Baseline>, BadBaseline> {
        let found = match self {
            // A damaged file of another key is that key's matter.
            Self::Folder(results) => {
                files(results).into_iter().filter_map(|file| read(&file).ok()).collect::<Vec<_>>()
            }
            Self::Store(objects) => {
                let start = format!("{}-", file_name(readable));
                let named = |name: &str| name.starts_with(&start);
                let found = read_some(objects, named, SIMILAR_KEYS, SESSIONS_KEPT)?;
                found.into_iter().filter_map(Result::ok).collect()
            }
        };
        let same = |baseline: &Baseline| {
            baseline.key.split_once('@').is_some_and(|(start, _)| start == readable)
        };
        let similar = found.into_iter().filter(same);
        Ok(similar.max_by_key(|baseline| baseline.log.last().map(|accepted| accepted.at)))
    }

    /// The baselines that may be of one of the frameworks and one of the profiles, and those that
    /// cannot be understood. A shelf that cannot be read is an error.
    pub fn of_profiles(
        &self,
        frameworks: &BTreeSet<&str>,
        profiles: &BTreeSet<&str>,
    ) -> Result<Vec<Result<Baseline, BadBaseline>>, BadBaseline> {
        match self {
            Self::Folder(results) => Ok(files(results).iter().map(|file| read(file)).collect()),
            Self::Store(objects) => {
                let starts: Vec<_> =
                    frameworks.iter().map(|name| format!("{}-", file_name(name))).collect();
                let within: Vec<_> =
                    profiles.iter().map(|name| format!("-{}-", file_name(name))).collect();
                let named = |name: &str| {
                    starts.iter().any(|start| name.starts_with(start))
                        && within.iter().any(|profile| name.contains(profile))
                };
                let most = SIMILAR_KEYS * frameworks.len() * profiles.len();
                Ok(read_some(objects, named, most, SESSIONS_KEPT)?)
            }
        }
    }

    /// Everything that is on it, by name.
    pub fn overview(&self) -> Result<Vec<Shelved>, BadBaseline> {
        match self {
            Self::Folder(results) => {
                let one = |file: PathBuf| Shelved {
                    name: file.display().to_string(),
                    accepted: None,
                    baseline: read(&file),
                };
                Ok(files(results).into_iter().map(one).collect())
            }
            Self::Store(objects) => {
                let mut shelved = Vec::new();
                for name in objects.folders(FOLDER)? {
                    let folder = format!("{FOLDER}/{name}");
                    let count = objects.list(&folder, 0)?.count;
                    let baseline = match newest(objects, &folder, None, 1) {
                        Err(bad @ BadBaseline::Store(StoreError::Failed { .. })) => {
                            return Err(bad);
                        }
                        baseline => baseline.transpose(),
                    };
                    if let Some(baseline) = baseline {
                        let name = format!("{}/{folder}", objects.url());
                        shelved.push(Shelved { name, accepted: Some(count), baseline });
                    }
                }
                Ok(shelved)
            }
        }
    }

    /// Adds a session's runs to the baseline of their key; a session that is accepted again moves
    /// to the end.
    pub fn accept(
        &self,
        key: &str,
        runs: &[&RunSummary],
        acceptance: Acceptance,
    ) -> Result<(), Failure> {
        let runs: Vec<RunSummary> = runs.iter().map(|run| (*run).clone()).collect();
        match self {
            Self::Folder(results) => {
                let mut baseline =
                    self.stored(key).map_err(not_used)?.unwrap_or_else(|| nothing(key));
                baseline.add(acceptance, runs);
                baseline.shorten();
                let text = as_text(&baseline)?;
                Ok(replace(&results.baseline_file(key), &text)?)
            }
            Self::Store(objects) => {
                let entry = Entry { schema: ENTRY_SCHEMA, key: key.to_owned(), acceptance, runs };
                objects.write(&stem(&entry), &as_text(&entry)?).map_err(failure)?;
                Ok(())
            }
        }
    }
}

/// What may be done with a store: nothing but reading where that was asked for or where a pull
/// request runs. `event` is what GitHub names the event that began the job.
pub fn access(read_only: bool, event: Option<&str>) -> Access {
    match event.filter(|event| event.starts_with(PULL_REQUEST)) {
        Some(event) => Access::Read(ReadOnly::PullRequest { event: event.to_owned() }),
        None if read_only => Access::Read(ReadOnly::Asked),
        None => Access::Full,
    }
}

/// A store's error as a command ends with it.
pub fn failure(error: StoreError) -> Failure {
    if error.is_usage() {
        Failure::usage_hinted(error)
    } else {
        Failure::not_measured_hinted(error)
    }
}

/// A baseline that cannot be used, as a command ends with it.
pub fn not_used(bad: BadBaseline) -> Failure {
    match bad {
        BadBaseline::Store(error) => failure(error),
        BadBaseline::Unreadable { .. }
        | BadBaseline::Damaged { .. }
        | BadBaseline::OtherFormat { .. }
        | BadBaseline::DoesNotCount { .. } => Failure::not_measured(bad),
    }
}

/// The files of the stored baselines, by name.
fn files(results: &Results) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(results.baselines()) else { return Vec::new() };
    let mut files: Vec<_> = listing.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

fn nothing(key: &str) -> Baseline {
    Baseline { schema: SCHEMA, key: key.to_owned(), sessions: Vec::new(), log: Vec::new() }
}

impl Baseline {
    /// Adds a session. It is the same one as before if its runs are, too: runners in containers
    /// may well choose the same id.
    fn add(&mut self, acceptance: Acceptance, runs: Vec<RunSummary>) {
        let session = StoredSession { session: acceptance.session.clone(), runs };
        self.sessions.retain(|known| *known != session);
        self.sessions.push(session);
        self.log.push(acceptance);
    }

    /// Drops what is not remembered.
    pub fn shorten(&mut self) {
        keep_last(&mut self.sessions, SESSIONS_KEPT);
        keep_last(&mut self.log, LOG_KEPT);
    }
}

/// Strict, indented JSON that ends with a line.
fn as_text(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut text = serde_json::to_vec_pretty(value).context("cannot express it as JSON")?;
    text.push(b'\n');
    Ok(text)
}

/// The store's folder of a key.
fn folder(key: &str) -> String {
    format!("{FOLDER}/{}", file_name(key))
}

/// What an entry's name begins with. In a key's folder the order of names is that of acceptance,
/// by the clocks of those who accepted.
fn stem(entry: &Entry) -> String {
    let at = entry.acceptance.at;
    let second = at.compact();
    let millis = at.unix_millis().rem_euclid(1000);
    let at = format!("{}.{millis:03}Z", second.trim_end_matches('Z'));
    format!("{}/{at}-{}", folder(&entry.key), file_name(&entry.acceptance.session))
}

/// The baseline that the `most` newest entries of a folder make; none without an entry.
fn newest(
    objects: &Objects,
    folder: &str,
    key: Option<&str>,
    most: usize,
) -> Result<Option<Baseline>, BadBaseline> {
    let names = objects.list(folder, most)?.last;
    let names: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
    let mut baseline: Option<Baseline> = None;
    for (name, text) in names.iter().zip(objects.read(&names)?) {
        let entry = entry(objects, name, &text)?;
        let baseline = baseline.get_or_insert_with(|| nothing(&entry.key));
        if key.unwrap_or(&baseline.key) != entry.key {
            return Err(objects.damaged(name, format!("it is of `{}`", entry.key)).into());
        }
        baseline.add(entry.acceptance, entry.runs);
    }
    Ok(baseline)
}

/// The baselines of the folders whose names satisfy `wanted`. One that cannot be understood is
/// that key's matter, a store that cannot be read everybody's.
fn read_some(
    objects: &Objects,
    wanted: impl Fn(&str) -> bool,
    folders: usize,
    entries: usize,
) -> Result<Vec<Result<Baseline, BadBaseline>>, StoreError> {
    let names = objects.folders(FOLDER)?.into_iter().filter(|name| wanted(name)).take(folders);
    let mut found = Vec::new();
    for name in names {
        match newest(objects, &format!("{FOLDER}/{name}"), None, entries) {
            Err(BadBaseline::Store(error @ StoreError::Failed { .. })) => return Err(error),
            read => found.extend(read.transpose()),
        }
    }
    Ok(found)
}

fn entry(objects: &Objects, name: &str, text: &[u8]) -> Result<Entry, BadBaseline> {
    let file = || format!("{}/{name}", objects.url());
    let damaged = |source| BadBaseline::Damaged { file: file(), source };
    let value: serde_json::Value = serde_json::from_slice(text).map_err(damaged)?;
    if let Some(schema) = value.get("schema").and_then(serde_json::Value::as_u64)
        && schema != u64::from(ENTRY_SCHEMA)
    {
        return Err(BadBaseline::OtherFormat { file: file(), schema, reads: ENTRY_SCHEMA });
    }
    let entry: Entry = serde_json::from_value(value).map_err(damaged)?;
    let counts = entry.runs.iter().all(|run| run.counts);
    if counts { Ok(entry) } else { Err(BadBaseline::DoesNotCount { file: file() }) }
}

#[cfg(test)]
mod tests {
    use domain::timestamp::Timestamp;

    use super::*;

    #[test]
    fn what_runs_unmerged_code_or_says_so_may_only_read() {
        assert_eq!(access(false, None), Access::Full);
        assert_eq!(access(false, Some("push")), Access::Full);
        assert_eq!(access(true, Some("push")), Access::Read(ReadOnly::Asked));
        for event in ["pull_request", "pull_request_target", "pull_request_review"] {
            let pull = ReadOnly::PullRequest { event: event.to_owned() };
            assert_eq!(access(false, Some(event)), Access::Read(pull));
        }
    }

    #[test]
    fn names_stand_in_the_order_of_acceptance() {
        let named = |millis| {
            let acceptance = Acceptance {
                session: "20261124T031400Z-7".to_owned(),
                at: Timestamp::from_unix_millis(millis),
                verdict: None,
                reason: "r".to_owned(),
            };
            let key = "sim/m/smoke/native@0123456789ab".to_owned();
            stem(&Entry { schema: ENTRY_SCHEMA, key, acceptance, runs: Vec::new() })
        };
        let at = 1_795_490_100_000;
        insta::assert_snapshot!(named(at + 7), @"baselines/sim-m-smoke-native-0123456789ab/20261124T031500.007Z-20261124T031400Z-7");
        let names: Vec<_> = [0, 7, 70, 999, 1000, 60_000].map(|after| named(at + after)).into();
        assert!(names.is_sorted(), "{names:?}");
    }
}
