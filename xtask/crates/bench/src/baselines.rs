//! Stored baselines: one file a key, `results/baselines/<key>.json`, meant to be committed.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use domain::summary::RunSummary;
use serde::{Deserialize, Serialize};

use crate::store::{Results, replace};

/// Runs of earlier sessions that newer ones are compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Version of this format.
    pub schema: u32,
    /// What must be equal for two runs to be comparable.
    pub key: String,
    /// The runs, newest session last.
    pub runs: Vec<RunSummary>,
}

/// Version of the format.
const SCHEMA: u32 = 1;

/// Sessions that a baseline remembers: enough to see the noise from day to day, few enough for a
/// file that people review.
const SESSIONS_KEPT: usize = 10;

/// The runs by key, keys in alphabetical order.
pub fn by_key<'a>(runs: &[&'a RunSummary]) -> BTreeMap<String, Vec<&'a RunSummary>> {
    let mut keys: BTreeMap<String, Vec<&RunSummary>> = BTreeMap::new();
    for run in runs {
        keys.entry(stats::baseline::key(run)).or_default().push(run);
    }
    keys
}

/// The baseline runs of a key: from the file given, else from the stored one, else none.
pub fn load(results: &Results, file: Option<&Path>, key: &str) -> Result<Vec<RunSummary>> {
    match file {
        Some(file) => {
            Ok(read(file)?.into_iter().filter(|run| stats::baseline::key(run) == key).collect())
        }
        None => {
            let stored = results.baseline_file(key);
            if stored.exists() { read(&stored) } else { Ok(Vec::new()) }
        }
    }
}

/// The runs of a baseline file, or the one run of a summary file.
pub fn read(file: &Path) -> Result<Vec<RunSummary>> {
    let shown = || format!("cannot read the baseline `{}`", file.display());
    let text = std::fs::read_to_string(file).with_context(shown)?;
    if let Ok(run) = serde_json::from_str::<RunSummary>(&text) {
        if !run.counts {
            bail!("`{}` is of a run that does not count", file.display());
        }
        return Ok(vec![run]);
    }
    let baseline: Baseline = serde_json::from_str(&text).with_context(shown)?;
    if baseline.schema != SCHEMA {
        bail!("`{}` has format {}, this servegate reads {SCHEMA}", file.display(), baseline.schema);
    }
    Ok(baseline.runs)
}

/// Adds a session's runs to the baseline of their key.
pub fn accept(results: &Results, key: &str, runs: &[&RunSummary]) -> Result<()> {
    let mut kept = load(results, None, key)?;
    let new = runs.iter().filter(|run| !kept.contains(run)).map(|run| (*run).clone());
    let new: Vec<_> = new.collect();
    kept.extend(new);
    let mut sessions: Vec<String> = kept.iter().map(|run| run.session.clone()).collect();
    sessions.sort();
    sessions.dedup();
    let oldest = sessions.len().saturating_sub(SESSIONS_KEPT);
    kept.retain(|run| sessions[oldest..].contains(&run.session));
    let baseline = Baseline { schema: SCHEMA, key: key.to_owned(), runs: kept };
    let mut text = serde_json::to_vec_pretty(&baseline).context("cannot express it as JSON")?;
    text.push(b'\n');
    replace(&results.baseline_file(key), &text)
}
