//! `cargo xtask fuzz`: feeds the parsers what nobody would write.
//!
//! The targets stand in `tests/fuzz` and need a nightly compiler and `cargo-fuzz`, which are never
//! installed from here. What a run learns goes into the target folder; the seeds in the repository
//! change only when somebody puts a file there.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::arguments::Usage;
use crate::commands;
use crate::repo::Repo;

/// Where targets and seeds stand.
const FOLDER: &str = "tests/fuzz";

/// How long each target runs unless it is said: long enough to go beyond the seeds.
const SECONDS: u64 = 60;

/// A first build compiles every crate with coverage; on two busy cores that takes ten minutes.
const BUILD_LIMIT: Duration = Duration::from_secs(30 * 60);

/// What a target may take beyond its time: loading the corpus, and the input that is running.
const GRACE: Duration = Duration::from_secs(60);

/// Longest input, in bytes. The seeds are smaller, and what a parser does wrong it does wrong soon.
const LONGEST_INPUT: usize = 16 << 10;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    targets: Vec<String>,
    seconds: u64,
}

/// Runs the named targets, or all, one after the other.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    let known = targets(&repo.read(&format!("{FOLDER}/Cargo.toml"))?);
    let Order { targets, seconds } = order(arguments, &known)?;
    let work = repo.target().join("fuzz");
    fs::create_dir_all(&work).with_context(|| format!("cannot create `{}`", work.display()))?;
    need(&work, &["rustc", "--version"], "rustup toolchain install nightly --profile minimal")?;
    need(&work, &["cargo", "fuzz", "--version"], "cargo install cargo-fuzz --locked")?;
    eprintln!("building the fuzz targets");
    let mut build = cargo_fuzz(repo, "build");
    commands::run(&mut build, BUILD_LIMIT, &work.join("build.log"))
        .context("cannot build the fuzz targets")?;
    let mut found = Vec::new();
    for target in &targets {
        match run(repo, &work, target, seconds) {
            Ok(told) => println!("{target:<14}{told}"),
            Err(error) => {
                println!("{target:<14}FAILED");
                found.push(format!("`{target}`: {error:#}"));
            }
        }
    }
    if found.is_empty() { Ok(()) } else { bail!("{}", found.join("\n")) }
}

/// Reads the command line.
fn order(arguments: &[String], known: &[String]) -> Result<Order, Usage> {
    let mut order = Order { targets: Vec::new(), seconds: SECONDS };
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--seconds" {
            let number = words.next().and_then(|number| number.parse().ok());
            let positive = number.filter(|seconds| 0 < *seconds);
            order.seconds = positive
                .ok_or_else(|| Usage("`--seconds` takes a number, at least 1".to_owned()))?;
        } else if word.starts_with('-') {
            return Err(Usage(format!("`fuzz` does not take `{word}`")));
        } else if known.contains(word) {
            order.targets.push(word.clone());
        } else {
            return Err(Usage(format!("no fuzz target `{word}`; there are {}", known.join(", "))));
        }
    }
    if order.targets.is_empty() {
        order.targets = known.to_vec();
    }
    Ok(order)
}

/// The targets that the manifest lists.
fn targets(manifest: &str) -> Vec<String> {
    let tables = manifest.split("[[bin]]").skip(1);
    let name = |table: &str| {
        let value = table.lines().find_map(|line| line.strip_prefix("name = "))?;
        Some(value.trim_matches('"').to_owned())
    };
    tables.filter_map(name).collect()
}

/// Fails with what to install unless the command works under the nightly toolchain.
fn need(work: &Path, command: &[&str], install: &str) -> Result<()> {
    let mut nightly = Command::new("rustup");
    nightly.args(["run", "nightly"]).args(command);
    commands::run(&mut nightly, GRACE, &work.join("need.log")).with_context(|| {
        format!("fuzzing needs `{}` on nightly: run `{install}`", command.join(" "))
    })
}

/// `cargo fuzz VERB` for the folder. No sanitizer: `unsafe` is denied in every crate here, so that
/// one would only halve the speed.
fn cargo_fuzz(repo: &Repo, verb: &str) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", "nightly", "cargo", "fuzz", verb, "--sanitizer", "none"])
        .arg("--fuzz-dir")
        .arg(repo.root.join(FOLDER))
        .arg("--target-dir")
        .arg(repo.target().join("fuzz"))
        .current_dir(&repo.root);
    command
}

/// Runs one target and says how far it came.
fn run(repo: &Repo, work: &Path, target: &str, seconds: u64) -> Result<String> {
    let (corpus, log) = (work.join("corpus").join(target), work.join(format!("{target}.log")));
    fs::create_dir_all(&corpus).with_context(|| format!("cannot create `{}`", corpus.display()))?;
    let mut command = cargo_fuzz(repo, "run");
    command
        .arg(target)
        .arg(&corpus)
        .arg(repo.root.join(FOLDER).join("corpus").join(target))
        .args(["--", "-print_final_stats=1", "-timeout=10"])
        .arg(format!("-max_len={LONGEST_INPUT}"))
        .arg(format!("-max_total_time={seconds}"));
    let limit = GRACE + Duration::from_secs(seconds);
    commands::run(&mut command, limit, &log)
        .with_context(|| format!("it found something, all of it is in `{}`", log.display()))?;
    Ok(told(&crate::repo::read(&log)?))
}

/// Executions and coverage from the end of libFuzzer's output.
fn told(log: &str) -> String {
    let executions = last_number(log, "stat::number_of_executed_units:");
    let (edges, features) = (last_number(log, " cov: "), last_number(log, " ft: "));
    let shown = |number: Option<u64>| number.map_or("?".to_owned(), |number| number.to_string());
    format!(
        "{} executions, {} edges, {} features",
        shown(executions),
        shown(edges),
        shown(features)
    )
}

/// The number behind the last `label`.
fn last_number(log: &str, label: &str) -> Option<u64> {
    let (_, after) = log.rsplit_once(label)?;
    after.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn every_target_has_its_source_and_seeds() {
        let repo = Repo::here().unwrap();
        let targets = targets(&repo.read("tests/fuzz/Cargo.toml").unwrap());
        assert!(!targets.is_empty());
        for target in targets {
            let folder = repo.root.join(FOLDER);
            assert!(folder.join(format!("targets/{target}.rs")).is_file(), "{target}");
            let seeds = fs::read_dir(folder.join("corpus").join(&target)).unwrap();
            assert_ne!(seeds.count(), 0, "{target}");
        }
    }

    #[test]
    fn without_a_name_all_targets_run() {
        let known = words(&["a", "b"]);
        let all = Order { targets: known.clone(), seconds: SECONDS };
        assert_eq!(order(&[], &known).unwrap(), all);
        let one = Order { targets: words(&["b"]), seconds: 5 };
        assert_eq!(order(&words(&["b", "--seconds", "5"]), &known).unwrap(), one);
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let refused = |arguments: &[&str]| {
            order(&words(arguments), &words(&["a", "b"])).unwrap_err().to_string()
        };
        assert_eq!(refused(&["c"]), "no fuzz target `c`; there are a, b");
        assert_eq!(refused(&["--jobs"]), "`fuzz` does not take `--jobs`");
        for wrong in [&["--seconds"][..], &["--seconds", "0"], &["--seconds", "x"]] {
            assert_eq!(refused(wrong), "`--seconds` takes a number, at least 1");
        }
    }

    #[test]
    fn what_libfuzzer_tells_last_counts() {
        let log = "#2 INITED cov: 5 ft: 6 corp: 1/1b\n#9 DONE   cov: 12 ft: 34 corp: 2/9b\n\
                   stat::number_of_executed_units: 99\n";
        assert_eq!(told(log), "99 executions, 12 edges, 34 features");
        assert_eq!(told(""), "? executions, ? edges, ? features");
    }
}
