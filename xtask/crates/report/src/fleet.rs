//! Many sessions of a fleet for people and for GitHub: job summary, sticky comment, annotations.
//!
//! The worst comes first everywhere. Each text has a size that its reader takes; what does not fit
//! is left out by whole rows, counted, and never in the middle. A text from a server never becomes
//! a tag, a table's border or a command to the runner.

mod annotations;
mod comment;
mod rows;
mod summary;
#[cfg(test)]
mod tests;
mod text;

use domain::event::FailureClass;
use domain::exit::Exit;
use domain::verdict::Strictness;
use stats::fleet::Told;

pub use annotations::annotations;
pub use comment::comment;
pub use summary::summary;
pub use text::{text, without_commands};

use crate::lines::{LONGEST_IN_TABLE, failure};
use crate::session::{SessionView, StepState, WRITES_REPORTS, kind};

/// How a fleet is reported.
#[derive(Clone, Copy, Debug)]
pub struct Style<'a> {
    /// Name of the suite: heads every report and finds the comment again.
    pub suite: &'a str,
    /// Which verdicts are failures.
    pub strictness: Strictness,
}

/// What became of a session, by its journal.
pub fn told(session: &SessionView) -> Told {
    let failed = session.steps.iter().find_map(|step| match &step.state {
        StepState::Failed(why) => {
            Some((why.class, format!("{}: {}", step.name, failure(why, LONGEST_IN_TABLE))))
        }
        StepState::Running | StepState::Succeeded(_) | StepState::Skipped(_) => None,
    });
    // A session that came to a verdict came to its end, whatever a step of it says.
    let decided =
        matches!(session.exit, Some(Exit::Regressed | Exit::Inconclusive | Exit::Incomparable));
    match (session.exit, failed) {
        (_, _) if decided && !session.judgements.is_empty() => Told::Measured,
        (_, Some((FailureClass::Requests | FailureClass::Client, why))) => Told::Invalid(why),
        (_, Some((_, why))) => Told::Failed(why),
        (None, None) => Told::Failed(broken_off(session)),
        (Some(exit), None) => match exit {
            // A session whose runs were compared ends so, whatever the verdict is.
            Exit::Done | Exit::Regressed | Exit::Inconclusive | Exit::Incomparable
                if !session.runs.is_empty() =>
            {
                Told::Measured
            }
            // An experiment whose sides cannot be measured is judged as such.
            Exit::NotMeasured if !session.judgements.is_empty() => Told::Measured,
            Exit::Done
            | Exit::Regressed
            | Exit::Inconclusive
            | Exit::Incomparable
            | Exit::NotMeasured => Told::Invalid("it has no run that counts".to_owned()),
            Exit::Usage | Exit::Bug | Exit::LeftBehind | Exit::Interrupted | Exit::Terminated => {
                Told::Failed(format!("it ended with exit code {}: {}", exit.code(), exit.meaning()))
            }
        },
    }
}

/// Where a journal ends that was not closed.
fn broken_off(session: &SessionView) -> String {
    let running = session.steps.iter().rev().find(|step| step.state == StepState::Running);
    match running {
        Some(step) if kind(&step.name) == WRITES_REPORTS => {
            "its journal ends while it wrote its reports".to_owned()
        }
        Some(step) => format!("its journal ends in `{}`: the job was ended", step.name),
        None => "its journal was not closed: the job was ended".to_owned(),
    }
}
