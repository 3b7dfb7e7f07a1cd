//! What measurements mean: metrics, summaries, comparisons.
//!
//! Everything here is a pure function of recorded data: no file, no clock, no server. A number
//! that the data do not give is absent; it is never zero, and it is never guessed.

pub mod accounting;
pub mod cache;
pub mod certificate;
pub mod compare;
pub mod contract;
pub mod fleet;
pub mod gate;
pub mod goodput;
pub mod metrics;
mod sameness;
pub mod samples;
pub mod summary;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod time;

pub use compare::{Comparison, compare};
pub use gate::key;
pub use goodput::{Goodput, Slo, goodput};
pub use summary::{Observation, summarise};
