//! The session's phases and the one table of what may follow what.

use std::fmt::Write as _;

use domain::event::EventKind;

/// Where a session stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// Nothing is written yet.
    Unopened,
    /// Between two steps.
    Ready,
    /// A step's effect is under way.
    Stepping,
    /// Another process took over; what the earlier one left is being cleared away.
    Recovering,
    /// Clearing away did not succeed.
    Stuck,
    /// The last line is written.
    Closed,
}

impl Phase {
    /// Every phase, in the order of a session's life.
    pub const ALL: [Self; 6] =
        [Self::Unopened, Self::Ready, Self::Stepping, Self::Recovering, Self::Stuck, Self::Closed];

    /// The phase after an event of this kind, or none if the event may not happen now.
    ///
    /// The live session and its recovery both go through this table, so that a corrupt journal
    /// and a faulty driver are caught by the same rule.
    pub const fn after(self, event: EventKind) -> Option<Self> {
        use EventKind as E;
        let next = match (self, event) {
            (Self::Unopened, E::SessionOpened) => Self::Ready,
            (Self::Ready, E::StepStarted) => Self::Stepping,
            (Self::Ready, E::StepSkipped) => Self::Ready,
            (Self::Ready, E::SessionClosed) => Self::Closed,
            (Self::Stepping, E::ServerStarted | E::ServerStopped) => Self::Stepping,
            (Self::Stepping, E::StepSucceeded | E::StepFailed) => Self::Ready,
            (Self::Ready | Self::Stepping, E::AnomalyNoted | E::StopRequested) => self,
            // A crash shows as a journal that simply ends; whoever resumes says so first. A
            // session that ended with something left behind may be resumed to clear it away.
            (
                Self::Ready | Self::Stepping | Self::Recovering | Self::Stuck | Self::Closed,
                E::SessionResumed,
            ) => Self::Recovering,
            (
                Self::Recovering,
                E::CleanupStarted | E::ServerStopped | E::AnomalyNoted | E::StopRequested,
            ) => Self::Recovering,
            (Self::Recovering, E::CleanupFinished) => Self::Ready,
            (Self::Recovering, E::CleanupFailed) => Self::Stuck,
            (Self::Stuck, E::SessionClosed) => Self::Closed,
            _ => return None,
        };
        Some(next)
    }

    /// Its name in the table and the diagram.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unopened => "Unopened",
            Self::Ready => "Ready",
            Self::Stepping => "Stepping",
            Self::Recovering => "Recovering",
            Self::Stuck => "Stuck",
            Self::Closed => "Closed",
        }
    }
}

/// Every legal move as `(from, event, to)`.
fn moves() -> impl Iterator<Item = (Phase, EventKind, Phase)> {
    Phase::ALL.into_iter().flat_map(|from| {
        let legal = move |event: EventKind| Some((from, event, from.after(event)?));
        EventKind::ALL.iter().copied().filter_map(legal)
    })
}

/// The table as a Mermaid state diagram, for ARCHITECTURE.md.
pub fn diagram() -> String {
    let mut text = String::from("stateDiagram-v2\n    [*] --> Unopened\n");
    for (from, event, to) in moves() {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "    {} --> {}: {event}", from.name(), to.name());
    }
    text.push_str("    Closed --> [*]\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_legal_moves() {
        insta::assert_snapshot!(diagram());
    }

    #[test]
    fn every_phase_but_the_first_can_be_reached() {
        for phase in Phase::ALL.into_iter().filter(|phase| *phase != Phase::Unopened) {
            assert!(moves().any(|(from, _, to)| to == phase && from != phase), "{phase:?}");
        }
    }
}
