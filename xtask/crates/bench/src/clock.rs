//! The wall clock, read in one place.

use std::time::SystemTime;

use domain::timestamp::Timestamp;

/// Now.
pub fn now() -> Timestamp {
    Timestamp::from(SystemTime::now())
}
