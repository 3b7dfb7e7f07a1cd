//! `dump`: generated parts of the documentation, for `cargo xtask codegen`.

use anyhow::Context as _;
use clap::CommandFactory as _;
use domain::exit::Exit;

use crate::cli::{Cli, Generated};
use crate::failure::Failure;
use crate::output::print;

/// Prints one part.
pub fn run(what: Generated) -> Result<Exit, Failure> {
    let text = match what {
        Generated::SkillSchema => skill_schema()?,
        Generated::ResultsReadme => ::report::formats::results_readme(),
        Generated::MetricTable => ::report::formats::metric_table(),
        Generated::StateDiagram => format!("```mermaid\n{}```\n", sequencer::phase::diagram()),
        Generated::ExitCodes => ::report::formats::exit_code_table(),
        Generated::LoadFlags => crate::cli::load::flags::table(),
        Generated::Frameworks => serve::capability_table(),
        Generated::Tasks => tasks(),
    };
    print(&text)?;
    Ok(Exit::Done)
}

/// The JSON schema of a skill file, as editors read it.
pub(crate) fn skill_schema() -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(&::skill::schema());
    let text = text.context("cannot express the schema as JSON")?;
    Ok(text + "\n")
}

/// Name and meaning of every visible task.
fn tasks() -> String {
    let cli = Cli::command();
    let visible = cli.get_subcommands().filter(|command| !command.is_hide_set());
    let line = |command: &clap::Command| {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        format!("{}\t{about}\n", command.get_name())
    };
    visible.map(line).collect()
}
