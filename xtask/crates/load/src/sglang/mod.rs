//! The engine that runs SGLang's Python tool and reads what it says.
//!
//! The tool is the reference that people know, so its numbers are kept as it gives them. It also
//! counts requests without a single token as successes, ends with exit code 0 when requests fail
//! and repeats the length that was asked for as the length that was generated; nothing of that
//! may pass as a result. Everything that decides is pure ([`command`], [`report`]); only
//! [`mod@find`] and [`run`] touch processes and files. This module never repairs a number: one that cannot be
//! trusted is absent and an anomaly says why.

mod asked;
mod block;
pub mod command;
mod count;
pub mod failure;
pub mod find;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod jsonl;
mod lengths;
pub mod report;
mod requests;
pub mod run;
pub mod version;
mod watch;

pub use asked::Asked;
pub use command::{Invocation, Order, Refusal};
pub use failure::{ToolExit, ToolFailure, ToolFailureKind};
pub use find::{FindError, Launcher, Tool, find};
pub use lengths::Lengths;
pub use report::{ToolReport, read};
pub use run::{Driven, Files, ToolError, drive};
pub use version::Version;
