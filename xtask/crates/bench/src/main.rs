//! The binary `servegate`: command line, drive loop and run store.
//!
//! This crate connects the others and computes nothing itself.

#![allow(unreachable_pub, reason = "a binary exports nothing; `pub` marks what a module offers")]

mod baselines;
mod certificates;
mod cli;
mod clock;
mod commands;
mod drive;
mod failure;
mod inputs;
mod lag;
mod output;
mod recorded;
mod recorder;
mod session;
mod signals;
mod store;
mod truth;
mod ui;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use clap::error::ErrorKind;
use domain::exit::Exit;

use crate::cli::Cli;
use crate::failure::Failure;

fn main() -> ExitCode {
    let words = match cli::load::expand(std::env::args_os()) {
        Ok(words) => words,
        Err(error) => {
            let failure = Failure::usage(error);
            let _ = write!(std::io::stderr(), "{}", failure.render());
            return ExitCode::from(failure.exit().code());
        }
    };
    let exit = match Cli::try_parse_from(words) {
        Ok(cli) => match commands::run(cli.command) {
            Ok(code) => return code,
            Err(failure) => {
                // A closed stderr must not hide the exit code behind a panic.
                let _ = write!(std::io::stderr(), "{}", failure.render());
                failure.exit()
            }
        },
        Err(error) => {
            let _ = error.print();
            match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
                _ => Exit::Usage,
            }
        }
    };
    ExitCode::from(exit.code())
}
