//! `cargo xtask test`: all tests, with the real servers and tools that some of them need.
//!
//! A test whose part is missing does not fail and is not silent: it writes
//! `SKIPPED <test>: <reason>` to stderr and to the file named by `SERVEGATE_SKIPPED`. Those lines
//! are collected here, so that nobody mistakes "not run" for "passed".

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};

use crate::arguments::{Said, Usage};
use crate::parts::{self, FOR_TESTS};
use crate::repo::{Repo, cargo};

/// How many tests passed, failed and were skipped, over all test binaries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Ran and held.
    pub(crate) passed: usize,
    /// Ran and did not hold.
    pub(crate) failed: usize,
    /// Did not run: ignored, or without a part that it needs.
    pub(crate) skipped: usize,
}

/// The closing line of a test run, as programs read it.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// Whether missing parts are fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// Parts are installed from the registries.
    Allowed,
    /// Only what is there is used.
    Forbidden,
}

/// Runs the tests whose names contain one of the filters, or all.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    let (flags, filters): (Vec<&String>, Vec<&String>) =
        arguments.iter().partition(|argument| argument.starts_with('-'));
    if let Some(stranger) = flags.iter().find(|flag| *flag != &"--offline") {
        return Err(Usage(format!("`test` does not take `{stranger}`")).into());
    }
    let network = if flags.is_empty() { Network::Allowed } else { Network::Forbidden };
    let tally = run(repo, network, &filters)?;
    println!("{tally}");
    if tally.failed == 0 { Ok(()) } else { Err(Said.into()) }
}

/// Installs parts, runs the tests, and lists what was skipped. The closing line is the caller's.
///
/// # Errors
///
/// The tests could not be started. Tests that fail are in the tally.
pub(crate) fn run(repo: &Repo, network: Network, filters: &[&String]) -> Result<Tally> {
    let missing = prepare(repo, network)?;
    let record = repo.root.join("target/skipped-tests.txt");
    fs::create_dir_all(repo.root.join("target")).context("cannot create `target`")?;
    fs::write(&record, "").with_context(|| format!("cannot write `{}`", record.display()))?;
    let mut command = Command::new(cargo());
    command
        .args(["test", "--workspace", "--no-fail-fast", "--"])
        .args(filters)
        .current_dir(&repo.root)
        .env("SERVEGATE_PARTS", repo.parts())
        .env("SERVEGATE_SKIPPED", &record)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let (counted, status) = stream(&mut command)?;
    let skipped = skipped(&crate::repo::read(&record)?);
    print!("{}", account(&missing, &skipped));
    Ok(total(counted, skipped.len(), status))
}

/// Installs what tests use, and says of each part that is missing why it is.
fn prepare(repo: &Repo, network: Network) -> Result<Vec<(&'static str, String)>> {
    let mut missing = Vec::new();
    for part in FOR_TESTS {
        match network {
            Network::Allowed => {
                if let Err(error) = parts::install(repo, part) {
                    missing.push((part.name, format!("{error:#}")));
                }
            }
            Network::Forbidden => {
                if parts::installed(repo, part)?.is_none() {
                    let why = "not installed, or stale, and `--offline` was given";
                    missing.push((part.name, why.to_owned()));
                }
            }
        }
    }
    Ok(missing)
}

/// Runs `command`, passes its standard output on line by line, and counts results in it.
fn stream(command: &mut Command) -> Result<(Tally, ExitStatus)> {
    let mut child = command.spawn().context("cannot start `cargo`")?;
    let mut counted = Tally::default();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).split(b'\n') {
            let line = line.context("cannot read the output of the tests")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            if let Some(result) = result_line(&line) {
                counted.passed += result.passed;
                counted.failed += result.failed;
                counted.skipped += result.skipped;
            }
        }
    }
    let status = child.wait().context("cannot wait for `cargo`")?;
    Ok((counted, status))
}

/// The counts in the last line of one test binary:
/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; …`.
fn result_line(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let count = |word: &str| -> Option<usize> {
        let item = counts.split("; ").find(|item| item.ends_with(word))?;
        item.strip_suffix(word)?.trim().parse().ok()
    };
    Some(Tally { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

/// Test and reason of each line `SKIPPED <test>: <reason>`, a test once.
fn skipped(record: &str) -> BTreeMap<String, String> {
    record
        .lines()
        .filter_map(|line| line.strip_prefix("SKIPPED ")?.split_once(": "))
        .map(|(test, reason)| (test.to_owned(), reason.to_owned()))
        .collect()
}

/// What did not run and why, as text; empty when everything ran.
fn account(missing: &[(&str, String)], skipped: &BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (part, why) in missing {
        text += &format!("missing part `{part}`: {why}\n");
    }
    for (test, reason) in skipped {
        text += &format!("skipped {test}: {reason}\n");
    }
    text
}

/// The sum: a test that skipped itself counts as passed for its test binary, but not here.
fn total(counted: Tally, skipped_themselves: usize, status: ExitStatus) -> Tally {
    let mut tally = Tally {
        passed: counted.passed.saturating_sub(skipped_themselves),
        failed: counted.failed,
        skipped: counted.skipped + skipped_themselves,
    };
    if !status.success() && tally.failed == 0 {
        eprintln!(
            "cargo ended with {status} though no test failed: a build error, or a test binary \
             that crashed; counted as one failure"
        );
        tally.failed = 1;
    }
    tally
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn counts_are_read_from_each_test_binarys_last_line() {
        let line = "test result: FAILED. 12 passed; 1 failed; 2 ignored; 0 measured; 7 filtered out; \
                    finished in 0.03s";
        assert_eq!(result_line(line), Some(Tally { passed: 12, failed: 1, skipped: 2 }));
        assert_eq!(result_line("test units::round_trip ... ok"), None);
        assert_eq!(result_line("test result: nonsense"), None);
    }

    #[test]
    fn output_is_summed_over_all_test_binaries() {
        let result = "test result: ok. 2 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out";
        let script = format!("echo '{result}'; echo other; echo '{result}'");
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdout(Stdio::piped());
        let (counted, status) = stream(&mut command).unwrap();
        assert_eq!(counted, Tally { passed: 4, failed: 0, skipped: 2 });
        assert!(status.success());
    }

    #[test]
    fn a_test_that_skipped_itself_is_not_counted_as_passed() {
        let record =
            "SKIPPED real_server: no part `llama`\nnoise\nSKIPPED real_server: no part `llama`\n";
        let skipped = skipped(record);
        assert_eq!(skipped["real_server"], "no part `llama`");
        let counted = Tally { passed: 5, failed: 0, skipped: 1 };
        let tally = total(counted, skipped.len(), ExitStatus::from_raw(0));
        assert_eq!(tally.to_string(), "4 passed, 0 failed, 2 skipped");
    }

    #[test]
    fn a_build_error_is_a_failure_even_though_no_test_failed() {
        let tally = total(Tally::default(), 0, ExitStatus::from_raw(101 << 8));
        assert_eq!(tally.to_string(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn what_did_not_run_is_listed_with_its_reason() {
        let skipped = skipped("SKIPPED a::b: no GPU\n");
        assert_eq!(
            account(&[("llama", "no network".to_owned())], &skipped),
            "missing part `llama`: no network\nskipped a::b: no GPU\n"
        );
    }
}
