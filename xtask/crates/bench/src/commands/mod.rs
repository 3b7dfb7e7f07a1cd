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

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::CommandFactory as _;
use domain::event::Entry;
use domain::exit::Exit;

use crate::cli::{Cli, Command};
use crate::failure::Failure;
use crate::store::{Results, SessionFolder, read_entries};

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

/// Prints a result on stdout. A closed pipe (`servegate report | head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Failure::not_measured(anyhow::Error::new(error).context("cannot write to stdout")))
        }
        _ => Ok(()),
    }
}

/// The journal of a session: the one named, else the newest.
pub(crate) fn recorded(
    results: &Results,
    session: Option<&str>,
) -> Result<(SessionFolder, Vec<Entry>), Failure> {
    let folder = match session {
        Some(id) => results.session(id).ok_or_else(|| anyhow!("no session `{id}`")),
        None => {
            let newest = results.sessions()?.pop();
            newest.ok_or_else(|| anyhow!("no session in `{}`", results.root().display()))
        }
    };
    let folder = folder.map_err(|error| {
        Failure::usage(error)
            .with_hint("`--results` names the folder of the results tree".to_owned())
    })?;
    let entries = read_entries(&folder.journal()).map_err(Failure::not_measured)?;
    Ok((folder, entries))
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
