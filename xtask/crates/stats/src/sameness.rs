//! What must be equal between runs for their difference to mean anything.

use std::collections::BTreeMap;

use domain::summary::RunSummary;

/// Difference of token counts that is still the same work, as a fraction.
const SAME_WORK: f64 = 0.001;

/// What differs between two sides, as `name: one value, other value`; each name once.
pub(crate) fn differences(baseline: &[&RunSummary], candidate: &[&RunSummary]) -> Vec<String> {
    let pairs = || baseline.iter().flat_map(|old| candidate.iter().map(move |new| (*old, *new)));
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    for (old, new) in pairs() {
        for (name, old, new) in setting_differences(old, new).into_iter().chain(work(old, new)) {
            found.entry(name).or_insert_with(|| format!("baseline {old}, candidate {new}"));
        }
    }
    found.into_iter().map(|(name, values)| format!("{name}: {values}")).collect()
}

/// Name, value of the old run, value of the new run.
type Difference = (String, String, String);

/// Settings of two runs that differ.
fn setting_differences(old: &RunSummary, new: &RunSummary) -> Vec<Difference> {
    let target = |run: &RunSummary| {
        let mut all = settings(run);
        all.insert("framework".to_owned(), run.framework.to_string());
        all.insert("backend".to_owned(), run.backend.to_string());
        all
    };
    let (old, new) = (target(old), target(new));
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    let value = |of: &BTreeMap<String, String>, name: &String| {
        of.get(name).cloned().unwrap_or_else(|| "not set".to_owned())
    };
    let pairs = names.map(|name| (name.clone(), value(&old, name), value(&new, name)));
    pairs.filter(|(_, old, new)| old != new).collect()
}

/// Everything that runs must share, by name, whatever framework they measured. The seed changes
/// from run to run.
pub(crate) fn settings(run: &RunSummary) -> BTreeMap<String, String> {
    let mut all = profile(run);
    let fixed = [
        ("model", run.model.clone()),
        ("engine", run.engine.to_string()),
        ("gpu", gpus(run)),
        ("cpu", run.environment.cpu.clone()),
    ];
    all.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    all
}

fn gpus(run: &RunSummary) -> String {
    let gpus = &run.environment.gpus;
    if gpus.is_empty() { "none".to_owned() } else { gpus.join(", ") }
}

/// The profile's fields by name; of its data set's path only the file's name, because folders
/// differ from machine to machine.
fn profile(run: &RunSummary) -> BTreeMap<String, String> {
    let mut profile = run.profile.clone();
    profile.dataset_path = profile.dataset_path.and_then(|path| Some(path.file_name()?.into()));
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(profile) else {
        // A profile is a plain struct of plain values, which JSON can always hold.
        return BTreeMap::new();
    };
    let text = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    let kept = fields.into_iter().filter(|(name, _)| name != "seed");
    kept.map(|(name, value)| (format!("profile.{name}"), text(value))).collect()
}

/// Work of two runs that differs although they had the same seed.
fn work(old: &RunSummary, new: &RunSummary) -> Vec<Difference> {
    if old.seed != new.seed {
        return Vec::new();
    }
    let mut found = Vec::new();
    if let (Some(a), Some(b)) = (&old.request_set, &new.request_set)
        && a != b
    {
        found.push(("request set".to_owned(), a.clone(), b.clone()));
    }
    let counts = [
        ("number of prompt tokens", old.tokens.input, new.tokens.input),
        ("number of generated tokens", old.tokens.output, new.tokens.output),
    ];
    let differing = counts.into_iter().filter(|(_, a, b)| !same_work(*a, *b));
    found.extend(differing.map(|(name, a, b)| (name.to_owned(), a.to_string(), b.to_string())));
    found
}

/// Whether two token counts are the same work.
pub(crate) fn same_work(a: u64, b: u64) -> bool {
    a.abs_diff(b) as f64 <= SAME_WORK * a.max(b) as f64
}
