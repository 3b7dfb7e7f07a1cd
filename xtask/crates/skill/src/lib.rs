//! Skills: from YAML files to a plan that cannot be wrong.
//!
//! A skill is a YAML file of typed steps with what it requires and what it proves. Reading one
//! touches nothing but the text: this crate does no I/O beyond the text it is given, and reports
//! every fault at once, with file, line and hint. What it hands out is a [`Plan`], which cannot
//! be built any other way.

mod check;
mod complaint;
mod decode;
mod document;
mod expand;
pub mod experiment;
mod explain;
pub mod fault;
pub mod fleet;
mod graph;
pub mod health;
pub mod plan;
mod reporter;
pub mod request;
pub mod resolve;
pub mod runner;
mod schema;
pub mod scope;
pub mod setup;
pub mod skill;
pub mod step;
mod suggest;
pub mod template;

pub use experiment::{Ends, Experiment, Restart};
pub use fault::{Fault, Faults};
pub use plan::{Need, Phase, Place, Plan, PlannedRun, PlannedSkill, PlannedStep};
pub use request::{Request, Source};
pub use resolve::{check, resolve, skills};
pub use schema::schema;
pub use scope::Scope;
pub use skill::{Skill, SkillId};
pub use step::{FactName, Step};

#[cfg(test)]
mod tests;
