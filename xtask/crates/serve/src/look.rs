//! One look at a rung of the ladder, and the time that there is for it.

use std::time::{Duration, Instant};

use domain::facts::RungOutcome;

/// One look at a rung.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// It is decided.
    Done(RungOutcome),
    /// Not yet, and this was seen: worth another look after a pause.
    Again(String),
    /// Not yet, and there is more to do at once.
    GoOn,
}

impl Look {
    pub(crate) fn passed(seen: impl Into<String>) -> Self {
        Self::Done(RungOutcome::Passed(seen.into()))
    }

    pub(crate) fn failed(seen: impl Into<String>) -> Self {
        Self::Done(RungOutcome::Failed(seen.into()))
    }

    pub(crate) fn not_available(why: impl Into<String>) -> Self {
        Self::Done(RungOutcome::NotAvailable(why.into()))
    }
}

/// How much time a rung has, and one request within it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time {
    deadline: Instant,
    request_within: Duration,
}

impl Time {
    pub(crate) fn new(within: Duration, request_within: Duration) -> Self {
        Self { deadline: Instant::now() + within, request_within }
    }

    /// What is left of the rung's time.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// How long one control request may take.
    pub(crate) fn request(&self) -> Duration {
        self.request_within.min(self.left())
    }

    /// Whether nothing of it is left.
    pub(crate) fn is_up(&self) -> bool {
        self.left().is_zero()
    }
}
