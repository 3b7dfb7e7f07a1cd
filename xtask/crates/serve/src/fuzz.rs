//! Doors to the private parsers of what servers write, for the fuzz targets in `tests/fuzz` and
//! nobody else.
//!
//! Compiled under `cfg(fuzzing)` only. Nothing is decided here.

use crate::LogCause;

/// The line of a log that explains a failure.
pub fn classify(log: &str) -> Option<LogCause> {
    crate::classify::classify(log)
}

/// Longest line that is quoted, in bytes.
pub const LINE_BYTES: usize = crate::log::LINE_BYTES;

/// Sum of the gauges of these names in a page of metrics.
pub fn gauge_sum(page: &str, names: &[&str]) -> Option<f64> {
    crate::rungs::gauge_sum(page, names)
}
