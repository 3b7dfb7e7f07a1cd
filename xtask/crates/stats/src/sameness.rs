//! What must be equal between runs for their difference to mean anything.

use std::collections::BTreeMap;

use domain::facts::GpuSetup;
use domain::summary::RunSummary;

/// Difference of token counts that is still the same work, as a fraction.
const SAME_WORK: f64 = 0.001;

/// Name, value of the old run, value of the new run.
pub(crate) type Difference = (String, String, String);

/// Settings of two runs that differ.
pub(crate) fn setting_differences(old: &RunSummary, new: &RunSummary) -> Vec<Difference> {
    let (old, new) = (target_settings(old), target_settings(new));
    let names = old.keys().chain(new.keys().filter(|name| !old.contains_key(*name)));
    let value = |of: &BTreeMap<String, String>, name: &String| {
        of.get(name).cloned().unwrap_or_else(|| "not set".to_owned())
    };
    let pairs = names.map(|name| (name.clone(), value(&old, name), value(&new, name)));
    pairs.filter(|(_, old, new)| old != new).collect()
}

/// Everything that runs of one framework must share, by name.
pub(crate) fn target_settings(run: &RunSummary) -> BTreeMap<String, String> {
    let mut all = settings(run);
    all.insert("framework".to_owned(), run.framework.to_string());
    all.insert("backend".to_owned(), run.backend.to_string());
    all.insert("engine version".to_owned(), compatible_part(&run.engine_version).to_owned());
    all
}

/// The part of a version that names what is compatible: `2` of 2.1.0, `0.5` of 0.5.23.
fn compatible_part(version: &str) -> &str {
    let ends: Vec<usize> = version.match_indices('.').map(|(at, _)| at).collect();
    let parts = if version.starts_with("0.") { 2 } else { 1 };
    ends.get(parts - 1).map_or(version, |end| &version[..*end])
}

/// Everything that runs must share, by name, whatever framework they measured. The seed changes
/// from run to run.
pub(crate) fn settings(run: &RunSummary) -> BTreeMap<String, String> {
    let mut all = profile(run);
    let fixed = [
        ("model", run.model.clone()),
        ("engine", run.engine.to_string()),
        ("gpu", gpus(run)),
        ("gpu power limit", setups(run, |gpu| Some(format!("{} W", gpu.power_limit_mw? / 1000)))),
        ("gpu memory", setups(run, |gpu| Some(format!("{} MiB", gpu.vram_total_bytes? >> 20)))),
        ("gpu instances", setups(run, |gpu| Some(gpu.mig_enabled?.to_string()))),
        ("cpu", run.environment.cpu.clone()),
    ];
    all.extend(fixed.map(|(name, value)| (name.to_owned(), value)));
    all
}

pub(crate) fn gpus(run: &RunSummary) -> String {
    let gpus = &run.environment.gpus;
    if gpus.is_empty() { "none".to_owned() } else { gpus.join(", ") }
}

/// One property of each GPU. Records that do not tell have none, and are like each other.
pub(crate) fn setups(run: &RunSummary, of: impl Fn(&GpuSetup) -> Option<String>) -> String {
    let told = |gpu| of(gpu).unwrap_or_else(|| "not told".to_owned());
    run.environment.gpu_setups.iter().map(told).collect::<Vec<_>>().join(", ")
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
pub(crate) fn work(old: &RunSummary, new: &RunSummary) -> Vec<Difference> {
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
    found.extend(cache(old, new));
    found
}

/// Prompt tokens that the server had cached: work that one side was spared.
fn cache(old: &RunSummary, new: &RunSummary) -> Option<Difference> {
    let (a, b) = (old.tokens.cached?, new.tokens.cached?);
    let spared = a.abs_diff(b) as f64;
    let prompts = old.tokens.input.max(new.tokens.input) as f64;
    let name = "prompt tokens found in the cache".to_owned();
    (SAME_WORK * prompts < spared).then(|| (name, a.to_string(), b.to_string()))
}

/// Whether two token counts are the same work.
pub(crate) fn same_work(a: u64, b: u64) -> bool {
    a.abs_diff(b) as f64 <= SAME_WORK * a.max(b) as f64
}
