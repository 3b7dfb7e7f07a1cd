//! What to say: text and bytes made from recorded events.
//!
//! Every report is a fold over the journal, so each can be made again from any old session. This
//! crate reads no file, no clock and no terminal; a number that is not known is never printed as
//! zero.

pub mod block;
pub mod calibration;
pub mod certificate;
pub mod experiment;
pub mod fleet;
pub mod formats;
pub mod github;
pub mod history;
pub mod html;
pub mod jsonl;
pub mod judgement;
pub mod junit;
pub mod lines;
pub mod markdown;
mod number;
pub mod peers;
pub mod run_report;
pub mod session;
pub mod table;
pub mod telemetry;
#[cfg(test)]
mod testing;
pub mod text;

pub use session::SessionView;
