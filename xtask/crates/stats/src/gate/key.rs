//! What belongs together, and what must be equal before a difference means anything.

use std::collections::BTreeMap;

use domain::facts::Environment;
use domain::summary::RunSummary;
use sha2::{Digest as _, Sha256};

use crate::contract::work_differences;
use crate::sameness::{Difference, setting_differences, target_settings, work};

/// Digits of the digest in a key: two keys of one readable name meet by chance once in 2^48.
const DIGEST_DIGITS: usize = 12;

/// The part of a key that people read: `framework/model/profile/engine`.
pub fn readable_key(run: &RunSummary) -> String {
    format!("{}/{}/{}/{}", run.framework, run.model, run.profile.name, run.engine)
}

/// What runs must share to belong to one history: the readable key and a digest of everything
/// that changes the numbers without being the thing under test. The framework's version and
/// arguments are the thing under test; driver, kernel and host only end a segment of history.
pub fn key(run: &RunSummary) -> String {
    let mut hash = Sha256::new();
    for (name, value) in target_settings(run) {
        hash.update(format!("{name}={value}\n"));
    }
    let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let short: String = digest.chars().take(DIGEST_DIGITS).collect();
    format!("{}@{short}", readable_key(run))
}

/// What differs between the sides, as `name: baseline one value, candidate other value`; each
/// name once.
pub(super) fn differences(pairs: &[(&RunSummary, &RunSummary)]) -> Vec<String> {
    let mut found: BTreeMap<String, (String, String)> = BTreeMap::new();
    for (old, new) in pairs {
        for (name, old, new) in between(old, new) {
            found.entry(name).or_insert((old, new));
        }
    }
    let told = |(name, (old, new))| format!("{name}: baseline {old}, candidate {new}");
    found.into_iter().map(told).collect()
}

/// Everything that differs between two runs and must not.
fn between(old: &RunSummary, new: &RunSummary) -> Vec<Difference> {
    let mut found = setting_differences(old, new);
    if old.profile.seed != new.profile.seed {
        let seed = |run: &RunSummary| run.profile.seed.to_string();
        found.push(("profile.seed".to_owned(), seed(old), seed(new)));
    }
    let (failed, others) = (old.requests.failed_total(), new.requests.failed_total());
    if failed != others {
        found.push(("failed requests".to_owned(), failed.to_string(), others.to_string()));
    }
    let (completed, others) = (old.requests.completed, new.requests.completed);
    if failed == 0 && completed != others {
        found.push(("completed requests".to_owned(), completed.to_string(), others.to_string()));
    }
    found.extend(work_differences(old, new));
    found.extend(work(old, new));
    found
}

/// What differs between two machines or their software and ends a segment of history: the noise
/// before it says nothing of the noise after it.
pub(super) fn segment_breaks(old: &Environment, new: &Environment) -> Vec<String> {
    let driver =
        |environment: &Environment| environment.driver.clone().unwrap_or_else(|| "none".to_owned());
    let both = [
        ("host", old.host.clone(), new.host.clone()),
        ("kernel", old.kernel.clone(), new.kernel.clone()),
        ("driver", driver(old), driver(new)),
    ];
    let differing = both.into_iter().filter(|(_, old, new)| old != new);
    differing.map(|(name, old, new)| format!("{name} {old} became {new}")).collect()
}
