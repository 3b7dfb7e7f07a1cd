//! Comparison across frameworks.
//!
//! Targets stand side by side under the same profile. What makes their numbers no comparison is
//! found and said; then no column is called the best.

use std::collections::{BTreeMap, BTreeSet};

use domain::anomaly::Anomaly;
use domain::framework::{Backend, Engine, Framework};
use domain::metric::{Better, Metric};
use domain::summary::RunSummary;
use domain::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cache::CACHED_SHARE;
use crate::contract::{self, TermRow};
use crate::sameness::{same_work, settings};
use crate::samples::Samples;

/// The content of `results/summary/comparison-<timestamp>.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Comparison {
    /// Version of this format; see [`Comparison::SCHEMA`].
    pub schema: u32,
    /// When it was made.
    pub created: Timestamp,
    /// One table a profile, in the order in which profiles were first run.
    pub profiles: Vec<ProfileComparison>,
}

/// The targets side by side under one profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ProfileComparison {
    /// The profile's name.
    pub profile: String,
    /// What was measured, one a column.
    pub columns: Vec<Column>,
    /// The numbers, one metric a row.
    pub rows: Vec<Row>,
    /// Why the columns are not the same experiment; empty when they are.
    pub findings: Vec<Anomaly>,
    /// What the columns were held to, term by term; empty where the runs have no record of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub contract: Vec<TermRow>,
}

/// One target, with all repeats of the profile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Column {
    /// A name that is unique in the table: the framework, and what tells it apart if need be.
    pub title: String,
    /// The framework.
    pub framework: Framework,
    /// The framework's version, if it tells.
    pub framework_version: Option<String>,
    /// The model, as the server calls it.
    pub model: String,
    /// Who made the load.
    pub engine: Engine,
    /// The backend that the engine spoke.
    pub backend: Backend,
    /// Repeats of the profile.
    pub runs: u32,
    /// Failed requests over all repeats.
    pub failed_requests: u32,
}

/// One metric over all columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// Metric key.
    pub metric: Metric,
    /// One a column; absent where no repeat has the metric.
    pub cells: Vec<Option<Cell>>,
    /// The best column, if the columns are the same experiment and its range lies apart from all
    /// others.
    pub best: Option<usize>,
}

/// A metric over the repeats of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Cell {
    /// Mean over the repeats.
    pub mean: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Standard deviation of the repeats as a sample; absent for one repeat.
    pub spread: Option<f64>,
    /// Repeats that have the metric.
    pub n: u32,
}

impl Comparison {
    /// Version of the format, raised when a reader of the old one would misread the new one.
    pub const SCHEMA: u32 = 1;
}

/// Runs a column below which none is called the best.
const FEWEST_RUNS: u32 = 2;

/// Puts runs of several targets side by side, in the order in which they come.
pub fn compare(runs: &[&RunSummary], metrics: &[Metric], created: Timestamp) -> Comparison {
    let profiles = grouped(runs, |run| run.profile.name.clone());
    let tables = profiles.iter().map(|(profile, runs)| table(profile, runs, metrics));
    Comparison { schema: Comparison::SCHEMA, created, profiles: tables.collect() }
}

/// Groups by a key, in the order of first appearance.
fn grouped<'a, K: PartialEq>(
    runs: &[&'a RunSummary],
    key: impl Fn(&RunSummary) -> K,
) -> Vec<(K, Vec<&'a RunSummary>)> {
    let mut groups: Vec<(K, Vec<&RunSummary>)> = Vec::new();
    for run in runs.iter().copied() {
        let key = key(run);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, group)) => group.push(run),
            None => groups.push((key, vec![run])),
        }
    }
    groups
}

fn table(profile: &str, runs: &[&RunSummary], metrics: &[Metric]) -> ProfileComparison {
    let targets: Vec<Target<'_>> = grouped(runs, identity).into_iter().map(Target::from).collect();
    let titles = titles(&targets);
    let runs_of: Vec<_> = targets.iter().map(|target| target.runs.clone()).collect();
    let contract = contract::rows(&runs_of);
    let mut findings = findings(&targets, &titles);
    findings.extend(contract::unequal(&contract, &titles));
    let columns = targets.iter().zip(titles).map(|(target, title)| target.column(title));
    let rows = metrics.iter().map(|metric| row(*metric, &targets, findings.is_empty()));
    // Without a GPU there is nothing to say of it.
    let is_told =
        |row: &Row| !Metric::OF_GPUS.contains(&row.metric) || row.cells.iter().any(Option::is_some);
    let rows = rows.filter(is_told);
    let (columns, rows) = (columns.collect(), rows.collect());
    ProfileComparison { profile: profile.to_owned(), columns, rows, findings, contract }
}

/// What makes runs repeats of one another, beside the profile.
type Identity = (Framework, Option<String>, String, Engine, Backend);

fn identity(run: &RunSummary) -> Identity {
    let (version, model) = (run.framework_version.clone(), run.model.clone());
    (run.framework, version, model, run.engine, run.backend)
}

/// The repeats of one target; there is at least one.
struct Target<'a> {
    identity: Identity,
    runs: Vec<&'a RunSummary>,
}

impl<'a> From<(Identity, Vec<&'a RunSummary>)> for Target<'a> {
    fn from((identity, runs): (Identity, Vec<&'a RunSummary>)) -> Self {
        Self { identity, runs }
    }
}

impl Target<'_> {
    fn column(&self, title: String) -> Column {
        let (framework, framework_version, model, engine, backend) = self.identity.clone();
        let failed = self.runs.iter().map(|run| run.requests.failed_total());
        let failed_requests = failed.fold(0, u32::saturating_add);
        let runs = u32::try_from(self.runs.len()).unwrap_or(u32::MAX);
        Column {
            title,
            framework,
            framework_version,
            model,
            engine,
            backend,
            runs,
            failed_requests,
        }
    }
}

/// The framework's name; where two targets share it, with what tells them apart.
fn titles(targets: &[Target<'_>]) -> Vec<String> {
    let name = |target: &Target<'_>| target.identity.0.to_string();
    let shared = |title: &str| targets.iter().filter(|other| name(other) == title).count();
    let title = |target: &Target<'_>| {
        let (framework, version, model, engine, backend) = &target.identity;
        if shared(framework.as_str()) == 1 {
            return framework.to_string();
        }
        let version = version.as_deref().unwrap_or("unknown version");
        format!("{framework} {version} {model} ({engine}, {backend})")
    };
    targets.iter().map(title).collect()
}

/// Everything that makes the columns different experiments.
fn findings(targets: &[Target<'_>], titles: &[String]) -> Vec<Anomaly> {
    let known: Vec<BTreeMap<String, String>> = targets.iter().map(all_settings).collect();
    let names: BTreeSet<&String> = known.iter().flat_map(BTreeMap::keys).collect();
    let names = names.into_iter().filter(|name| !is_covered(targets, name));
    let value = |of: &BTreeMap<String, String>, name: &String| {
        of.get(name).cloned().unwrap_or_else(|| "not set".to_owned())
    };
    let mut found: Vec<Anomaly> = Vec::new();
    for name in names {
        let values: Vec<String> = known.iter().map(|of| value(of, name)).collect();
        if values.iter().any(|value| *value != values[0]) {
            found.push(not_alike(name, titles, values));
        }
    }
    found.extend(failures(targets, titles));
    found.extend(cached(targets, titles));
    found.extend(work(targets, titles));
    found
}

/// Whether the contract of every run says what a setting means.
fn is_covered(targets: &[Target<'_>], setting: &str) -> bool {
    let mut runs = targets.iter().flat_map(|target| &target.runs);
    runs.all(|run| {
        run.contract.as_ref().is_some_and(|contract| contract::covers(contract, setting))
    })
}

/// The settings of a target; where its repeats differ, each value once.
fn all_settings(target: &Target<'_>) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in target.runs.iter().flat_map(|run| settings(run)) {
        let values = all.entry(name).or_default();
        if !values.contains(&value) {
            values.push(value);
        }
    }
    all.into_iter().map(|(name, values)| (name, values.join(" / "))).collect()
}

/// A server that drops requests is fast: any failed request ends the comparison.
fn failures(targets: &[Target<'_>], titles: &[String]) -> Option<Anomaly> {
    let failed = |target: &Target<'_>| {
        let each = target.runs.iter().map(|run| u64::from(run.requests.failed_total()));
        each.sum::<u64>()
    };
    let failed: Vec<u64> = targets.iter().map(failed).collect();
    let values = failed.iter().map(u64::to_string).collect();
    failed
        .iter()
        .any(|count| 0 < *count)
        .then(|| not_alike("number of failed requests", titles, values))
}

/// Prefill that came from a cache was not measured.
fn cached(targets: &[Target<'_>], titles: &[String]) -> Option<Anomaly> {
    let share = |target: &Target<'_>| {
        let tokens = target.runs.iter().filter_map(|run| {
            let counted = run.cache_count.as_ref().map(|count| count.cached);
            Some((run.tokens.cached.max(counted)?, run.tokens.input))
        });
        let (cached, input) =
            tokens.fold((0, 0), |(c, i), (cached, input)| (c + cached, i + input));
        (0 < input).then(|| cached as f64 / input as f64)
    };
    let shares: Vec<Option<f64>> = targets.iter().map(share).collect();
    let differs = |share: &Option<f64>| share.is_some_and(|share| CACHED_SHARE < share);
    let shown = |share: &Option<f64>| match share {
        Some(share) => format!("{:.0} %", share * 100.0),
        None => "not told".to_owned(),
    };
    let values = shares.iter().map(shown).collect();
    let setting = "share of prompt tokens from the prefix cache";
    shares.iter().any(differs).then(|| not_alike(setting, titles, values))
}

/// Whether runs of the same seed did the same work.
fn work(targets: &[Target<'_>], titles: &[String]) -> Vec<Anomaly> {
    let seeds = |target: &Target<'_>| target.runs.iter().map(|run| run.seed).collect::<Vec<_>>();
    let all: Vec<Vec<u32>> = targets.iter().map(seeds).collect();
    let shared = all[0].iter().find(|seed| all.iter().all(|seeds| seeds.contains(*seed)));
    let Some(seed) = shared else {
        let values = all.iter().map(|seeds| format!("{seeds:?}")).collect();
        return vec![not_alike("seed", titles, values)];
    };
    let runs: Vec<&RunSummary> = targets
        .iter()
        .filter_map(|target| target.runs.iter().copied().find(|run| run.seed == *seed))
        .collect();
    let tokens = |name: &str, of: fn(&RunSummary) -> u64| {
        let counts: Vec<u64> = runs.iter().map(|run| of(run)).collect();
        let values = counts.iter().map(u64::to_string).collect();
        let same = counts.iter().all(|count| same_work(*count, counts[0]));
        (!same).then(|| not_alike(name, titles, values))
    };
    let sets: Option<Vec<String>> = runs.iter().map(|run| run.request_set.clone()).collect();
    let sets = sets.filter(|sets| sets.iter().any(|set| *set != sets[0]));
    let found = [
        sets.map(|sets| not_alike("request set", titles, sets)),
        tokens("number of prompt tokens", |run| run.tokens.input),
        tokens("number of generated tokens", |run| run.tokens.output),
    ];
    found.into_iter().flatten().collect()
}

fn not_alike(setting: &str, titles: &[String], values: Vec<String>) -> Anomaly {
    let values = titles.iter().cloned().zip(values).collect();
    Anomaly::NotLikeForLike { setting: setting.to_owned(), values }
}

fn row(metric: Metric, targets: &[Target<'_>], like_for_like: bool) -> Row {
    let cells: Vec<Option<Cell>> = targets.iter().map(|target| cell(metric, target)).collect();
    let best = like_for_like.then(|| best(metric, &cells)).flatten();
    Row { metric, cells, best }
}

fn cell(metric: Metric, target: &Target<'_>) -> Option<Cell> {
    let values = Samples::new(target.runs.iter().filter_map(|run| run.metric(metric)).collect());
    Some(Cell {
        mean: values.mean()?,
        min: values.min()?,
        max: values.max()?,
        spread: values.sample_std(),
        n: u32::try_from(values.len()).unwrap_or(u32::MAX),
    })
}

/// The column whose every repeat is better than every repeat of every other column.
fn best(metric: Metric, cells: &[Option<Cell>]) -> Option<usize> {
    let cells: Vec<Cell> = cells.iter().copied().collect::<Option<_>>()?;
    let beats = |a: &Cell, b: &Cell| match metric.card().better {
        Better::Higher => b.max < a.min,
        Better::Lower => a.max < b.min,
        Better::Neutral => false,
    };
    if cells.len() < 2 || cells.iter().any(|cell| cell.n < FEWEST_RUNS) {
        return None;
    }
    let wins = |at: &usize| {
        let others = cells.iter().enumerate().filter(|(other, _)| other != at);
        others.map(|(_, other)| other).all(|other| beats(&cells[*at], other))
    };
    (0..cells.len()).find(wins)
}

#[cfg(test)]
mod tests;
