//! One file a command: what was typed, given a meaning and carried out.

mod ab;
mod baseline;
mod bench;
mod calibrate;
mod certify;
mod compare;
mod dump;
mod fan_in;
mod gate;
mod health;
mod load;
mod matrix;
mod peers;
mod report;
mod resume;
mod serve;
mod skill;
mod telemetry;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::CommandFactory as _;
use domain::exit::Exit;

use crate::cli::{Cli, Command};
use crate::failure::Failure;

/// Carries a command out; returns the code to exit with.
pub fn run(command: Command) -> Result<ExitCode, Failure> {
    let exit = match command {
        Command::Bench(args) => asynchronous(bench::run(&args)),
        Command::Load(args) => asynchronous(load::run(&args)),
        Command::Health(args) => health::run(&args),
        Command::Telemetry(args) => telemetry::run(&args),
        Command::Serve(args) => asynchronous(serve::run(&args)),
        Command::Plan(args) => bench::explain(&args),
        Command::Gate(args) => gate::run(&args),
        Command::Ab(args) => asynchronous(ab::run(&args)),
        Command::Calibrate(args) => asynchronous(calibrate::run(&args)),
        Command::Compare(args) => compare::run(&args),
        Command::Matrix(args) => matrix::run(&args),
        Command::Baseline(args) => baseline::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Resume(args) => asynchronous(resume::run(&args)),
        Command::Skill(args) => skill::run(&args),
        Command::Certify(args) => certify::run(&args),
        Command::Peers(args) => peers::run(&args),
        // A program of its own, with exit codes of its own.
        Command::Sim(args) => return Ok(sim::main_loop(*args)),
        Command::Completions(args) => {
            let mut command = Cli::command();
            clap_complete::generate(args.shell, &mut command, "servegate", &mut std::io::stdout());
            Ok(Exit::Done)
        }
        Command::Dump(args) => dump::run(args.what),
    };
    Ok(ExitCode::from(exit?.code()))
}

fn asynchronous(task: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(task);
    // A reader that hangs in the kernel must not keep the process from ending.
    runtime.shutdown_background();
    result
}
