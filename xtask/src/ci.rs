//! `cargo xtask ci`: what continuous integration runs, and what a change must pass before review.
//!
//! Every step runs even when an earlier one failed, so that one push shows all faults. The steps
//! stand in the order of how soon they can fail; the tests are last, because their tally is the
//! closing line.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use xshell::cmd;

use crate::arguments;
use crate::parts::{self, DENY};
use crate::repo::{Repo, cargo};
use crate::test::{self, Network, Tally};
use crate::tidy;

/// A step: its name, and what it does.
type Step = (&'static str, fn(&Repo) -> Result<()>);

/// The steps before the tests. `tidy` holds the generated files against their sources.
const CHECKS: [Step; 7] = [
    ("format", format),
    ("clippy", clippy),
    ("docs", docs),
    ("tidy", tidy::check),
    ("dependencies", dependencies),
    ("clean clone", clean_clone),
    ("hand-over", hand_over),
];

/// Runs all steps, then says how each ended, then the tally of tests and steps.
pub(crate) fn task(repo: &Repo, arguments: &[String]) -> Result<()> {
    arguments::only("ci", arguments, &[])?;
    let mut lines = Vec::new();
    let mut tally = Tally::default();
    for (name, check) in CHECKS {
        println!("== {name}");
        let started = Instant::now();
        let result = check(repo);
        let seconds = started.elapsed().as_secs();
        match result {
            Ok(()) => {
                tally.passed += 1;
                lines.push(format!("{name}: passed in {seconds} s"));
            }
            Err(error) => {
                tally.failed += 1;
                eprintln!("error: {error:#}");
                lines.push(format!("{name}: FAILED in {seconds} s"));
            }
        }
    }
    println!("== test");
    let started = Instant::now();
    let tests = test::run(repo, Network::Allowed, &[]).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Tally { passed: 0, failed: 1, skipped: 0 }
    });
    lines.push(format!("test: {tests} in {} s", started.elapsed().as_secs()));
    println!("== summary\n{}", lines.join("\n"));
    let sum = plus(tally, tests);
    println!("{sum}");
    if sum.failed == 0 { Ok(()) } else { Err(arguments::Said.into()) }
}

fn plus(a: Tally, b: Tally) -> Tally {
    Tally {
        passed: a.passed + b.passed,
        failed: a.failed + b.failed,
        skipped: a.skipped + b.skipped,
    }
}

fn format(repo: &Repo) -> Result<()> {
    let (shell, cargo) = (repo.shell()?, cargo());
    cmd!(shell, "{cargo} fmt --all --check").run().context("run `cargo fmt --all`")
}

fn clippy(repo: &Repo) -> Result<()> {
    let (shell, cargo) = (repo.shell()?, cargo());
    cmd!(shell, "{cargo} clippy --quiet --locked --workspace --all-targets -- -D warnings")
        .run()
        .context("clippy found something")
}

/// Links in the documentation lead somewhere.
fn docs(repo: &Repo) -> Result<()> {
    let (shell, cargo) = (repo.shell()?, cargo());
    cmd!(shell, "{cargo} doc --quiet --locked --workspace --no-deps")
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
        .context("the documentation has faults")
}

/// Licences, sources and banned crates. Advisories are left out: their database is a git
/// repository on a host that this must do without.
fn dependencies(repo: &Repo) -> Result<()> {
    let (shell, deny) = (repo.shell()?, parts::install(repo, &DENY)?.join("bin/cargo-deny"));
    println!(
        "advisories are not checked here: their database is outside of the package registries"
    );
    cmd!(shell, "{deny} --locked check --hide-inclusion-graph bans licenses sources")
        .run()
        .context("`deny.toml` does not allow a dependency")
}

/// What is committed compiles without the files that only lie here.
///
/// In a checkout with nothing but committed files (so always in CI, which starts from a fresh
/// clone) every other step has shown that already, and compiling it all again would take minutes.
/// Only a checkout with changes is cloned, and only type-checked, in a target folder of its own
/// that later runs use again.
fn clean_clone(repo: &Repo) -> Result<()> {
    let shell = repo.shell()?;
    let status = cmd!(shell, "git status --porcelain --ignored").quiet().read();
    let status = status.context("cannot ask git for the state of the checkout")?;
    if is_clean(&status) {
        println!("this checkout has committed files only: the other steps are the proof");
        return Ok(());
    }
    println!("this checkout has changes: type-checking a clone of its last commit");
    let (root, clone) = (&repo.root, repo.root.join("target/clean-clone"));
    shell.remove_path(&clone).context("cannot remove the old clone")?;
    cmd!(shell, "git clone --quiet {root} {clone}").quiet().run().context("cannot clone")?;
    check_clone(repo, &clone)
}

fn check_clone(repo: &Repo, clone: &Path) -> Result<()> {
    let (shell, cargo) = (repo.shell()?, cargo());
    shell.change_dir(clone);
    cmd!(shell, "{cargo} check --quiet --locked --workspace --all-targets")
        .env("CARGO_TARGET_DIR", repo.root.join("target/clean-clone-build"))
        .run()
        .context("the last commit does not compile by itself")
}

/// Whether `git status --porcelain --ignored` lists nothing but build output.
fn is_clean(status: &str) -> bool {
    status.lines().all(|line| line == "!! target/")
}

/// What a newcomer types first works: xtask builds the product with its own profile and becomes
/// it, flags and all.
fn hand_over(repo: &Repo) -> Result<()> {
    let (shell, cargo) = (repo.shell()?, cargo());
    cmd!(shell, "{cargo} xtask bench --help")
        .ignore_stdout()
        .run()
        .context("`cargo xtask bench --help` failed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_build_output_may_lie_in_a_clean_checkout() {
        assert!(is_clean(""));
        assert!(is_clean("!! target/"));
        assert!(!is_clean("!! target/\n?? notes.txt"));
        assert!(!is_clean("!! results/sglang/"));
        assert!(!is_clean(" M README.md"));
    }

    #[test]
    fn the_closing_line_sums_steps_and_tests() {
        let steps = Tally { passed: 5, failed: 1, skipped: 0 };
        let tests = Tally { passed: 100, failed: 0, skipped: 2 };
        assert_eq!(plus(steps, tests).to_string(), "105 passed, 1 failed, 2 skipped");
    }
}
