//! Load generation: the native engine, and the engine that runs SGLang's Python tool.
//!
//! The native engine sends the same prompts as the Python tool for the same seed, over its own
//! HTTP/1.1 client, and records every request's life. It measures and never judges: which number
//! counts and whether a run is good is said by `stats` and `sequencer`.
//!
//! ```text
//! Profile ─ prepare ─► RequestSet ─ drive ─► Drive { records } ─ records::write ─► .jsonl.gz
//!          workload, rng, tokenizer   engine → http → scan → wire → answer
//! ```
//!
//! No load without proof that the server was verified; this does not compile:
//!
//! ```compile_fail,E0061
//! async fn loads(order: &load::Order<'_>, progress: &load::Progress) {
//!     let (_end, stop) = tokio::sync::watch::channel(false);
//!     let _ = load::drive(order, progress, stop).await;
//! }
//! ```
//!
//! and this does:
//!
//! ```
//! use sequencer::{Evidence, ServerVerified};
//! async fn loads(
//!     order: &load::Order<'_>,
//!     verified: &Evidence<ServerVerified>,
//!     progress: &load::Progress,
//! ) {
//!     let (_end, stop) = tokio::sync::watch::channel(false);
//!     let _ = load::drive(order, verified, progress, stop).await;
//! }
//! ```

mod answer;
mod arrivals;
mod clock;
mod drive;
mod endpoint;
mod engine;
mod error;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzz;
mod http;
mod limits;
mod progress;
pub mod records;
mod rng;
mod scan;
pub mod sglang;
pub mod tokenizer;
mod wire;
pub mod workload;

pub use drive::{Drive, Order, Tuning, drive, drive_tuned, warm_up};
pub use engine::Clock;
pub use error::DriveError;
pub use progress::{Progress, Snapshot};
pub use tokenizer::Tokenizer;
pub use workload::{Prompt, Request, RequestSet, WorkloadError, prepare};
