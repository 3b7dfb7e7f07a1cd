//! The simulated server as a program of its own, for the tests of this crate: they launch, stop
//! and lose real processes.

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(args_override_self = true)]
enum Program {
    /// As `servegate sim` does.
    Sim(sim::SimArgs),
}

fn main() -> ExitCode {
    let Program::Sim(args) = Program::parse();
    sim::main_loop(args)
}
