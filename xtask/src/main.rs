//! `cargo xtask`: the one door to everything in this repository.
//!
//! Chores of the repository (codegen, tidy, test, parts, ci) are done here. Every other task is a
//! command of the product: `servegate` is built and takes over the process. This crate must stay
//! quick to compile and must never use a crate of the product: it has to work while they do not.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

mod arguments;
mod ci;
mod codegen;
mod commands;
mod dist;
mod fuzz;
mod parts;
mod peers;
mod product;
mod repo;
mod tasks;
mod test;
mod tidy;

use repo::Repo;
use tasks::{Door, door};

/// A chore found something wrong, or could not be done.
const FAILED: u8 = 1;
/// The command line is wrong; nothing was touched. The same number as `servegate` uses.
const USAGE: u8 = 64;
/// `servegate` could not be built or started. Cargo's own code for that, and none of `servegate`'s:
/// a script must not read a compile error as a regression.
const NO_PRODUCT: u8 = 101;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    let first = arguments.first().map(|word| word.to_string_lossy().into_owned());
    let rest = arguments.get(1..).unwrap_or_default();
    match door(first.as_deref()) {
        Door::Help => {
            print!("{}", tasks::help());
            ExitCode::SUCCESS
        }
        Door::Chore(chore) => match texts(rest) {
            Ok(words) => outcome(Repo::here().and_then(|repo| chore(&repo, &words))),
            Err(usage) => refuse(&usage),
        },
        Door::Product => {
            let Err(error) = Repo::here().and_then(|repo| product::become_it(&repo, &arguments));
            complain(&error);
            ExitCode::from(NO_PRODUCT)
        }
        Door::Unknown(word) => refuse(&tasks::unknown(&word)),
    }
}

/// The arguments of a chore as text; all of them are words of ours or names of tests.
fn texts(arguments: &[OsString]) -> Result<Vec<String>, String> {
    arguments
        .iter()
        .map(|word| word.to_str().map(str::to_owned))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| "an argument is not UTF-8".to_owned())
}

fn outcome(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<arguments::Said>() => ExitCode::from(FAILED),
        Err(error) => {
            complain(&error);
            ExitCode::from(if error.is::<arguments::Usage>() { USAGE } else { FAILED })
        }
    }
}

fn refuse(what: &str) -> ExitCode {
    eprintln!("error: {what}");
    ExitCode::from(USAGE)
}

/// The error, and each cause on a line of its own.
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  cause: {cause}");
    }
}
