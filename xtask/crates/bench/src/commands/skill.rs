//! `skill check`, `skill schema`, `skill graph`.

use domain::exit::Exit;

use crate::cli::{SkillArgs, SkillCommand};
use crate::failure::Failure;
use crate::inputs;
use crate::output::print;

/// Carries it out.
pub fn run(args: &SkillArgs) -> Result<Exit, Failure> {
    match &args.command {
        SkillCommand::Check { folder } => {
            let sources = inputs::skills(folder.as_deref())?;
            ::skill::check(&sources).map_err(Failure::usage)?;
            let names = sources.iter().map(|source| format!("{}: ok\n", source.path));
            print(&names.collect::<String>())?;
        }
        SkillCommand::Schema => print(&super::dump::skill_schema()?)?,
        SkillCommand::Graph => print(&sequencer::phase::diagram())?,
    }
    Ok(Exit::Done)
}
