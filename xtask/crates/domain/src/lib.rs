//! The words of servegate.
//!
//! Ids, units, metrics, recorded events, verdicts and exit codes, as plain data. This crate does
//! no I/O, reads no clock and decides nothing; every other crate speaks in its types. What is
//! written to disk is made of these types too, so a changed field here is a changed file format:
//! think of old readers of new files as well as of new readers of old ones.

pub mod accounting;
pub mod anomaly;
pub mod certificate;
pub mod client;
pub mod contract;
pub mod event;
pub mod exit;
pub mod facts;
pub mod failure;
pub mod fleet;
pub mod framework;
pub mod gate;
pub mod hint;
pub mod host;
pub mod metric;
pub mod names;
pub mod peers;
pub mod profile;
pub mod request;
pub mod summary;
pub mod target;
pub mod telemetry;
pub mod timestamp;
pub mod units;
pub mod verdict;
