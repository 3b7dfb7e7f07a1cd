//! Errors that know what to do about them.

use std::error::Error;

/// An error that may know what to do. The hint is printed on a line of its own, apart from what
/// went wrong.
pub trait Hinted: Error + Send + Sync + 'static {
    /// What to do, where that is sure.
    fn hint(&self) -> Option<String>;
}
