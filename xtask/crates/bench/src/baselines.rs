//! Stored baselines: one file a key, `results/baselines/<key>.json`, meant to be committed.
//!
//! A baseline is not a mean: it is the summaries of the runs of the last sessions, each with its
//! environment, tool version and request set, so that the rule can be applied again later.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use domain::event::Judgement;
use domain::gate::{Basis, Rule};
use domain::summary::RunSummary;
use domain::timestamp::Timestamp;
use domain::verdict::Verdict;
use serde::{Deserialize, Serialize};
use skill::Plan;
use stats::gate::{self, History, StoredMay};

use crate::store::{Results, replace};

/// Earlier sessions of a key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Version of this format.
    pub schema: u32,
    /// What must be equal for two runs to be comparable.
    pub key: String,
    /// The sessions, the one accepted last standing last.
    pub sessions: Vec<StoredSession>,
    /// Every acceptance, also of sessions that have left: what moved the baseline and why.
    pub log: Vec<Acceptance>,
}

/// One session of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StoredSession {
    /// Its id.
    pub session: String,
    /// Its runs of the key.
    pub runs: Vec<RunSummary>,
}

/// Why a session became part of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    /// The session.
    pub session: String,
    /// When it was accepted.
    pub at: Timestamp,
    /// What the gate had said of it, if it had been asked.
    pub verdict: Option<Verdict>,
    /// Why it was accepted.
    pub reason: String,
}

/// Version of the format.
const SCHEMA: u32 = 2;

/// Sessions that a baseline remembers: enough to see the noise from day to day, few enough for a
/// file that people review.
const SESSIONS_KEPT: usize = 10;

/// Acceptances that are logged: years of a weekly one.
const LOG_KEPT: usize = 500;

/// A baseline file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadBaseline {
    /// It cannot be read.
    #[error("cannot read the baseline `{file}`")]
    Unreadable {
        /// The file.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// It is no baseline, or a damaged one.
    #[error("the baseline `{file}` is damaged")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// It has another format.
    #[error("the baseline `{file}` has format {schema}, this servegate reads {SCHEMA}")]
    OtherFormat {
        /// The file.
        file: String,
        /// Its format.
        schema: u64,
    },
    /// It is the summary of a run that does not count.
    #[error("`{file}` is of a run that does not count")]
    DoesNotCount {
        /// The file.
        file: String,
    },
}

impl BadBaseline {
    /// What it makes of a judgement. A file from another version is no measurement that went
    /// wrong, it just cannot be compared with.
    const fn verdict(&self) -> Verdict {
        match self {
            Self::Unreadable { .. } | Self::Damaged { .. } | Self::DoesNotCount { .. } => {
                Verdict::Broken
            }
            Self::OtherFormat { .. } => Verdict::Incomparable,
        }
    }

    /// Everything on one line.
    fn line(&self) -> String {
        match std::error::Error::source(self) {
            Some(source) => format!("{self}: {source}"),
            None => self.to_string(),
        }
    }
}

impl Baseline {
    /// Every stored run, those of a session together, the newest session last.
    pub fn runs(&self) -> Vec<&RunSummary> {
        self.sessions.iter().flat_map(|session| &session.runs).collect()
    }
}

/// The runs by key, keys in alphabetical order.
pub fn by_key<'a>(runs: &[&'a RunSummary]) -> BTreeMap<String, Vec<&'a RunSummary>> {
    let mut keys: BTreeMap<String, Vec<&RunSummary>> = BTreeMap::new();
    for run in runs {
        keys.entry(gate::key(run)).or_default().push(run);
    }
    keys
}

/// How runs are judged.
#[derive(Clone, Copy, Debug)]
pub struct Judging<'a> {
    /// The results tree, which has the stored baselines.
    pub results: &'a Results,
    /// The rule.
    pub rule: &'a Rule,
    /// The baseline, if not the stored one.
    pub file: Option<&'a Path>,
    /// What a stored baseline may do.
    pub stored: StoredMay,
    /// How the runs of an experiment were measured.
    pub interleaved: Basis,
}

impl Judging<'_> {
    /// Judges the runs of one or more sessions, key by key. Runs of an experiment are judged by
    /// their pairs, other runs by the baseline of their key.
    pub fn judge(&self, runs: &[&RunSummary]) -> Vec<Judgement> {
        let (paired, single): (Vec<&RunSummary>, Vec<&RunSummary>) =
            runs.iter().partition(|run| run.arm.is_some());
        let mut judgements: Vec<Judgement> = Vec::new();
        if let Some(first) = paired.first() {
            let history = self.history(first);
            judgements.push(gate::judge_interleaved(
                self.rule,
                &paired,
                &history,
                self.interleaved,
            ));
        }
        judgements.extend(by_key(&single).into_values().map(|runs| self.judge_key(&runs)));
        judgements
    }

    /// What earlier sessions of a run's key say of its noise. A baseline that cannot be used gives
    /// none, which costs power and no error rate.
    pub fn history(&self, run: &RunSummary) -> History {
        match find(self.results, self.file, run) {
            Ok(Some(baseline)) if baseline.key == gate::key(run) => {
                History::of(&baseline.runs(), run)
            }
            Ok(_) | Err(_) => History::none(),
        }
    }

    /// Judges the runs of one key by its baseline; there is at least one.
    fn judge_key(&self, runs: &[&RunSummary]) -> Judgement {
        match find(self.results, self.file, runs[0]) {
            Ok(baseline) => {
                let stored = baseline.as_ref().map_or_else(Vec::new, Baseline::runs);
                gate::judge_stored(self.rule, &stored, runs, self.stored)
            }
            Err(bad) => gate::refuse(self.rule, runs, bad.verdict(), bad.line()),
        }
    }
}

/// The baseline for a run: the one of the file given; else the stored one of its key; else one
/// that has the same readable key, so that the reader learns in what they differ.
fn find(
    results: &Results,
    file: Option<&Path>,
    run: &RunSummary,
) -> Result<Option<Baseline>, BadBaseline> {
    if let Some(file) = file {
        return read(file).map(Some);
    }
    let exact = results.baseline_file(&gate::key(run));
    if exact.exists() {
        return read(&exact).map(Some);
    }
    let readable = gate::readable_key(run);
    let similar = files(results).into_iter().filter_map(|file| read(&file).ok());
    let similar = similar.filter(|baseline| {
        baseline.key.split_once('@').is_some_and(|(start, _)| start == readable)
    });
    Ok(similar.max_by_key(|baseline| baseline.log.last().map(|accepted| accepted.at)))
}

/// What stored baselines let one expect of a plan's experiments, before anything is measured:
/// one line a fact. A plan does not know yet what the machine is, so a baseline counts whose
/// framework and profile the plan has; its key says what it is of.
pub fn foresight(results: &Results, plan: &Plan) -> Vec<String> {
    let rule = plan.steps().iter().find_map(|planned| planned.step.as_judge());
    let Some(rule) = rule else { return Vec::new() };
    let planned = |newest: &RunSummary| {
        plan.targets().iter().any(|target| target.framework == newest.framework)
            && plan.runs().iter().any(|run| run.profile.name == newest.profile.name)
    };
    let mut lines = Vec::new();
    for baseline in files(results).into_iter().filter_map(|file| read(&file).ok()) {
        let runs = baseline.runs();
        let Some(newest) = runs.last().filter(|newest| planned(newest)) else { continue };
        let history = History::of(&runs, newest);
        let told = gate::foresight_lines(rule, &history);
        lines.extend(told.into_iter().map(|line| format!("{}: {line}", baseline.key)));
    }
    if lines.is_empty() {
        let told = gate::foresight_lines(rule, &History::none());
        lines.extend(told);
    }
    lines
}

/// The files of the stored baselines, by name.
pub fn files(results: &Results) -> Vec<PathBuf> {
    let Ok(listing) = fs::read_dir(results.baselines()) else { return Vec::new() };
    let mut files: Vec<_> = listing.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

/// The baseline in a file; the summary of a run is a baseline of that one run.
pub fn read(file: &Path) -> Result<Baseline, BadBaseline> {
    let name = || file.display().to_string();
    let text = fs::read_to_string(file)
        .map_err(|source| BadBaseline::Unreadable { file: name(), source })?;
    let damaged = |source| BadBaseline::Damaged { file: name(), source };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
    if value.get("metrics").is_some() {
        let run: RunSummary = serde_json::from_value(value).map_err(damaged)?;
        let counts = run.counts;
        return if counts {
            Ok(of_run(run))
        } else {
            Err(BadBaseline::DoesNotCount { file: name() })
        };
    }
    match value.get("schema").and_then(serde_json::Value::as_u64) {
        Some(schema) if schema != u64::from(SCHEMA) => {
            Err(BadBaseline::OtherFormat { file: name(), schema })
        }
        _ => serde_json::from_value(value).map_err(damaged),
    }
}

fn of_run(run: RunSummary) -> Baseline {
    let key = gate::key(&run);
    let session = StoredSession { session: run.session.clone(), runs: vec![run] };
    Baseline { schema: SCHEMA, key, sessions: vec![session], log: Vec::new() }
}

/// The stored baseline of exactly this key.
pub fn stored(results: &Results, key: &str) -> Result<Option<Baseline>, BadBaseline> {
    let file = results.baseline_file(key);
    if file.exists() { read(&file).map(Some) } else { Ok(None) }
}

/// Adds a session's runs to the baseline of their key; a session that is accepted again moves to
/// the end.
pub fn accept(
    results: &Results,
    key: &str,
    runs: &[&RunSummary],
    acceptance: Acceptance,
) -> Result<()> {
    let mut baseline = stored(results, key)?.unwrap_or_else(|| Baseline {
        schema: SCHEMA,
        key: key.to_owned(),
        sessions: Vec::new(),
        log: Vec::new(),
    });
    baseline.sessions.retain(|session| session.session != acceptance.session);
    let runs = runs.iter().map(|run| (*run).clone()).collect();
    baseline.sessions.push(StoredSession { session: acceptance.session.clone(), runs });
    baseline.log.push(acceptance);
    keep_last(&mut baseline.sessions, SESSIONS_KEPT);
    keep_last(&mut baseline.log, LOG_KEPT);
    let mut text = serde_json::to_vec_pretty(&baseline).context("cannot express it as JSON")?;
    text.push(b'\n');
    replace(&results.baseline_file(key), &text)
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}
