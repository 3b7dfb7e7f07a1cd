//! Units of time as numbers.

/// Nanoseconds in a second.
pub(crate) const NS_PER_S: f64 = 1e9;
/// Nanoseconds in a millisecond.
pub(crate) const NS_PER_MS: f64 = 1e6;
/// Microseconds in a second.
pub(crate) const US_PER_S: f64 = 1e6;
/// Microseconds in a millisecond.
pub(crate) const US_PER_MS: f64 = 1e3;
