//! The simulated server as a program of its own: `cargo run -p sim --example sim -- --help`.

use std::process::ExitCode;

use clap::Parser;

/// A simulated inference server.
#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: sim::SimArgs,
}

fn main() -> ExitCode {
    sim::main_loop(Cli::parse().args)
}
