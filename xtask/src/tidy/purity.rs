//! The lower floors touch nothing: what they compute depends on their arguments alone.
//!
//! That is what makes every decision of the product repeatable from a journal. A name in the
//! sources is what can be checked cheaply; the test code of these crates is free.

use anyhow::Result;

use super::{Fault, floors::FLOORS, rust_files, source::blanked};
use crate::repo::Repo;

/// How many floors from the ground are pure.
const PURE: usize = 3;

/// Doors to the world, and what stands behind them.
const DOORS: [(&str, &str); 9] = [
    ("std::fs", "files"),
    ("std::net", "the network"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("std::env", "the environment"),
    ("Instant::now", "a clock"),
    ("SystemTime::now", "a clock"),
    ("OffsetDateTime::now", "a clock"),
    ("tokio::", "the async runtime"),
];

/// Uses of the world on a pure floor.
pub(super) fn rule(repo: &Repo) -> Result<Vec<Fault>> {
    let pure: Vec<String> = FLOORS[..PURE]
        .iter()
        .flat_map(|floor| floor.iter().map(|name| format!("xtask/crates/{name}/src/")))
        .collect();
    let files = rust_files(repo)?;
    let of_pure_crates = files.iter().filter(|(path, _)| {
        pure.iter().any(|folder| path.starts_with(folder)) && !is_test_file(path)
    });
    Ok(of_pure_crates.flat_map(|(path, text)| judge(path, text)).collect())
}

/// Whether a file is the body of a `mod tests` that stands elsewhere.
fn is_test_file(path: &str) -> bool {
    path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn judge(path: &str, text: &str) -> Vec<Fault> {
    let code = blanked(text);
    let before_tests = code.split("#[cfg(test)]").next().unwrap_or(&code);
    let mut faults = Vec::new();
    for (index, line) in before_tests.lines().enumerate() {
        for (door, to) in DOORS {
            if line.contains(door) {
                faults.push(Fault {
                    path: path.to_owned(),
                    line: Some(index + 1),
                    what: format!("floors 0 to 2 know nothing of {to}: `{door}`"),
                });
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_and_a_file_on_a_pure_floor_are_found() {
        let text = "// std::fs is not used\nfn a() {\n    std::fs::read(\"std::net\");\n    Instant::now();\n}\n";
        let found: Vec<String> = judge("a.rs", text).iter().map(Fault::to_string).collect();
        assert_eq!(
            found,
            [
                "a.rs:3: floors 0 to 2 know nothing of files: `std::fs`",
                "a.rs:4: floors 0 to 2 know nothing of a clock: `Instant::now`"
            ]
        );
    }

    #[test]
    fn test_code_is_free() {
        assert_eq!(judge("a.rs", "fn a() {}\n#[cfg(test)]\nmod tests { use std::fs; }\n"), []);
        assert!(is_test_file("xtask/crates/skill/src/tests/broken.rs"));
        assert!(is_test_file("xtask/crates/sequencer/src/health/tests.rs"));
        assert!(!is_test_file("xtask/crates/skill/src/contests.rs"));
    }
}
