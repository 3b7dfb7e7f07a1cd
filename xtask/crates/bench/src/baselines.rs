//! Stored baselines: one file a key, `results/baselines/<key>.json`, meant to be committed; or
//! objects in a store, one a session.
//!
//! A baseline is not a mean: it is the summaries of the runs of the last sessions, each with its
//! environment, tool version and request set, so that the rule can be applied again later.

mod shelf;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use domain::event::Judgement;
use domain::gate::{Basis, Rule};
use domain::hint::Hinted as _;
use domain::summary::RunSummary;
use domain::timestamp::Timestamp;
use domain::verdict::Verdict;
use report::SessionView;
use serde::{Deserialize, Serialize};
use skill::Plan;
use stats::gate::{self, History, StoredMay};

use crate::store::StoreError;

pub use shelf::{Shelf, Shelved, access, not_used};

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

/// Most bytes of a baseline that are read: a hundred times what ten long sessions take.
const BASELINE_BYTES: u64 = 256 << 20;

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
    #[error("the baseline `{file}` has format {schema}, this servegate reads {reads}")]
    OtherFormat {
        /// The file.
        file: String,
        /// Its format.
        schema: u64,
        /// The format of such files that can be read.
        reads: u32,
    },
    /// It has a run that does not count.
    #[error("the baseline `{file}` has a run that does not count")]
    DoesNotCount {
        /// The file.
        file: String,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl BadBaseline {
    /// What it makes of a judgement. A file from another version is no measurement that went
    /// wrong, it just cannot be compared with.
    const fn verdict(&self) -> Verdict {
        match self {
            Self::Unreadable { .. }
            | Self::Damaged { .. }
            | Self::DoesNotCount { .. }
            | Self::Store(_) => Verdict::Broken,
            Self::OtherFormat { .. } => Verdict::Incomparable,
        }
    }

    /// The judgement on runs that are not judged because of it.
    pub fn judgement(&self, rule: &Rule, runs: &[&RunSummary]) -> Judgement {
        gate::refuse(rule, runs, self.verdict(), self.line())
    }

    /// Everything on one line.
    fn line(&self) -> String {
        let hint = match self {
            Self::Store(error) => error.hint(),
            Self::Unreadable { .. }
            | Self::Damaged { .. }
            | Self::OtherFormat { .. }
            | Self::DoesNotCount { .. } => None,
        };
        let source = std::error::Error::source(self).map(ToString::to_string);
        let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
        match source {
            Some(source) => format!("{self}: {source}{hint}"),
            None => format!("{self}{hint}"),
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
    /// Where the stored baselines are.
    pub shelf: &'a Shelf,
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
            judgements.push(match self.history(first) {
                Ok((history, trouble)) => {
                    let judged =
                        gate::judge_interleaved(self.rule, &paired, &history, self.interleaved);
                    let notes = judged.notes.iter().cloned().chain(trouble).collect();
                    Judgement { notes, ..judged }
                }
                Err(bad) => bad.judgement(self.rule, &paired),
            });
        }
        judgements.extend(by_key(&single).into_values().map(|runs| self.judge_key(&runs)));
        judgements
    }

    /// What earlier sessions of a run's key say of its noise. A baseline that cannot be used gives
    /// no history, which costs power and no error rate; why is said. A store that cannot be read is
    /// an error.
    pub fn history(&self, run: &RunSummary) -> Result<(History, Option<String>), BadBaseline> {
        let of_no_use = |why: String| Ok((History::none(), Some(format!("no history: {why}"))));
        match find(self.shelf, self.file, run) {
            Ok(Some(baseline)) if baseline.key == gate::key(run) => {
                Ok((History::of(&baseline.runs(), run), None))
            }
            Ok(Some(baseline)) if self.file.is_some() => {
                of_no_use(format!("the baseline is of `{}`", baseline.key))
            }
            Ok(_) => Ok((History::none(), None)),
            Err(bad @ BadBaseline::Store(_)) => Err(bad),
            Err(bad) => of_no_use(bad.line()),
        }
    }

    /// Judges the runs of one key by its baseline; there is at least one.
    fn judge_key(&self, runs: &[&RunSummary]) -> Judgement {
        match find(self.shelf, self.file, runs[0]) {
            Ok(baseline) => {
                let stored = baseline.as_ref().map_or_else(Vec::new, Baseline::runs);
                let judged = gate::judge_stored(self.rule, &stored, runs, self.stored);
                match baseline {
                    // There is one, and it says nothing.
                    Some(empty) if judged.verdict == Verdict::MissingBaseline => Judgement {
                        reason: format!(
                            "the baseline of `{}` has no run in it; `baseline accept` makes this \
                             session its first",
                            empty.key
                        ),
                        ..judged
                    },
                    Some(_) | None => judged,
                }
            }
            Err(bad) => bad.judgement(self.rule, runs),
        }
    }
}

/// Breaks the judgements of keys of which a run gave no result: the runs that are left may be the
/// better ones.
pub fn mark_lost(view: &SessionView, judgements: &mut Vec<Judgement>) {
    for lost in view.lost_runs() {
        let reason = format!("the run `{}` gave no result: {}", lost.place, lost.why);
        let kept = view.runs.iter().find(|run| view.group_of(run) == lost.group());
        let key = kept.map_or_else(|| lost.group().to_owned(), |run| gate::key(&run.summary));
        match judgements.iter_mut().find(|judgement| judgement.key == key) {
            Some(judgement) => break_off(judgement, &reason),
            None => judgements.push(Judgement {
                key,
                verdict: Verdict::Broken,
                reason,
                metrics: Vec::new(),
                reported: Vec::new(),
                basis: None,
                pairs: 0,
                looks: Vec::new(),
                next_look: None,
                notes: Vec::new(),
            }),
        }
    }
}

/// Makes a judgement say that the measurement failed; what it said before stays in its notes.
pub fn break_off(judgement: &mut Judgement, reason: &str) {
    let before = format!("otherwise {}: {}", judgement.verdict, judgement.reason);
    judgement.notes.push(before);
    judgement.verdict = Verdict::Broken;
    judgement.reason = reason.to_owned();
    judgement.metrics.iter_mut().for_each(|metric| metric.verdict = Verdict::Broken);
}

/// The baseline for a run: the one of the file given; else the stored one of its key; else one
/// that has the same readable key, so that the reader learns in what they differ.
fn find(
    shelf: &Shelf,
    file: Option<&Path>,
    run: &RunSummary,
) -> Result<Option<Baseline>, BadBaseline> {
    if let Some(file) = file {
        return read(file).map(Some);
    }
    match shelf.stored(&gate::key(run))? {
        Some(exact) => Ok(Some(exact)),
        None => shelf.closest(&gate::readable_key(run)),
    }
}

/// What is to be foreseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// What an experiment can say.
    Pairs,
    /// Also what a stored baseline can.
    StoredToo,
}

/// What stored baselines, or the one in `file`, let one expect of a plan, before anything is
/// measured: one line a fact. A plan does not know yet what the machine is, so a baseline counts
/// whose framework and profile the plan has; its key says what it is of.
pub fn foresight(shelf: &Shelf, file: Option<&Path>, plan: &Plan, ahead: Ahead) -> Vec<String> {
    let rule = plan.steps().iter().find_map(|planned| planned.step.as_judge());
    let Some(rule) = rule else { return Vec::new() };
    let frameworks: BTreeSet<&str> =
        plan.targets().iter().map(|target| target.framework.as_str()).collect();
    let profiles: BTreeSet<&str> = plan.runs().iter().map(|run| &*run.profile.name).collect();
    let planned = |newest: &RunSummary| {
        frameworks.contains(newest.framework.as_str()) && profiles.contains(&*newest.profile.name)
    };
    let baselines = match file {
        Some(file) => vec![read(file)],
        None => match shelf.of_profiles(&frameworks, &profiles) {
            Ok(baselines) => baselines,
            Err(bad) => return vec![bad.line()],
        },
    };
    let (mut lines, mut unusable) = (Vec::new(), Vec::new());
    for read in baselines {
        let baseline = match read {
            Ok(baseline) => baseline,
            Err(bad) => {
                unusable.push(format!("cannot look ahead by it: {}", bad.line()));
                continue;
            }
        };
        let runs = baseline.runs();
        let Some(newest) = runs.last().filter(|newest| planned(newest)) else { continue };
        let stored = (ahead == Ahead::StoredToo).then(|| gate::stored_foresight(rule, &runs));
        let told = gate::foresight_lines(rule, &History::of(&runs, newest));
        let told = stored.into_iter().chain(told);
        lines.extend(told.map(|line| format!("{}: {line}", baseline.key)));
    }
    if lines.is_empty() {
        lines = gate::foresight_lines(rule, &History::none());
    }
    unusable.into_iter().chain(lines).collect()
}

/// The baseline in a file; the summary of a run is a baseline of that one run.
pub fn read(file: &Path) -> Result<Baseline, BadBaseline> {
    let name = || file.display().to_string();
    let text = bounded(file).map_err(|source| BadBaseline::Unreadable { file: name(), source })?;
    let damaged = |source| BadBaseline::Damaged { file: name(), source };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(damaged)?;
    let of_one_run = value.get("metrics").is_some();
    let reads = if of_one_run { RunSummary::SCHEMA } else { SCHEMA };
    if let Some(schema) = value.get("schema").and_then(serde_json::Value::as_u64)
        && schema != u64::from(reads)
    {
        return Err(BadBaseline::OtherFormat { file: name(), schema, reads });
    }
    let baseline = if of_one_run {
        of_run(serde_json::from_value(value).map_err(damaged)?)
    } else {
        serde_json::from_value(value).map_err(damaged)?
    };
    let counts = baseline.runs().iter().all(|run| run.counts);
    if counts { Ok(baseline) } else { Err(BadBaseline::DoesNotCount { file: name() }) }
}

/// The text of a file that is no larger than a baseline can be.
fn bounded(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(file)?.take(BASELINE_BYTES + 1).read_to_string(&mut text)?;
    if BASELINE_BYTES < text.len() as u64 {
        return Err(io::Error::other(format!("it has more than {BASELINE_BYTES} bytes")));
    }
    Ok(text)
}

fn of_run(run: RunSummary) -> Baseline {
    let key = gate::key(&run);
    let session = StoredSession { session: run.session.clone(), runs: vec![run] };
    Baseline { schema: SCHEMA, key, sessions: vec![session], log: Vec::new() }
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    list.drain(..list.len().saturating_sub(most));
}
