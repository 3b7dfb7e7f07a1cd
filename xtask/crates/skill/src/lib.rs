//! Skills: from YAML files to a plan that cannot be wrong.
//!
//! A skill is a YAML file of typed steps with what it requires and what it proves. Reading one
//! touches nothing but the text: this crate does no I/O beyond the text it is given, and reports
//! every fault at once, with file, line and hint. What it hands out is a [`Plan`], which cannot
//! be built any other way.

pub mod health;
pub mod runner;
pub mod setup;
pub mod step;

pub use step::{FactName, Step};
