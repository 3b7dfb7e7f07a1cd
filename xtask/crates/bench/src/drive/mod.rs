//! The drive loop: asks the sequencer what comes next, carries it out, records what came of it.
//!
//! Nothing is decided here. Each step kind has its file; the match in [`perform`] is exhaustive,
//! so a new kind does not compile until it has one.

mod ab;
mod after_run;
mod before_run;
mod check_gpu;
mod compare;
mod engine;
mod judge;
mod launch;
mod live;
mod measure;
mod others;
mod stop;
mod summary;
mod verify;
mod watch;
mod write_reports;

use domain::anomaly::Anomaly;
use domain::event::{Event, FailureClass, Outcome, StepFailure, StepIndex, StopRequest};
use domain::exit::Exit;
use domain::hint::Hinted;
use sequencer::Directive;
use skill::{FactName, Phase, Place, PlannedStep, Step};

use crate::failure::Failure;
use crate::output::print;
use crate::session::Session;

pub use ab::{Measured, basis, recorded_history};
pub use engine::choose as choose_engines;
pub use live::Live;
pub(crate) use measure::sampler;
pub use stop::{clean_up, end_left};

/// Drives a session to its end; returns the code to exit with.
pub async fn drive(session: &Session, live: &mut Live) -> Result<Exit, Failure> {
    or_abandon(session, to_the_end(session, live).await).await
}

/// Drives a session, but holds what it has set up until it is asked to stop.
pub async fn hold(session: &Session, live: &mut Live) -> Result<Exit, Failure> {
    or_abandon(session, held_to_the_end(session, live).await).await
}

/// A session whose record cannot be written any more does nothing further, but it does not leave
/// its server behind.
async fn or_abandon(session: &Session, driven: Result<Exit, Failure>) -> Result<Exit, Failure> {
    let Err(failure) = driven else { return driven };
    let report = end_left(session.recorder.server().as_ref(), &session.tag()).await;
    let clean = report.survivors.is_empty();
    Err(if clean { failure } else { failure.with_exit(Exit::LeftBehind) })
}

async fn to_the_end(session: &Session, live: &mut Live) -> Result<Exit, Failure> {
    loop {
        if let Some(exit) = advance(session, live).await? {
            return Ok(exit);
        }
    }
}

async fn held_to_the_end(session: &Session, live: &mut Live) -> Result<Exit, Failure> {
    let strictness = session.order.options.strictness;
    let mut stops = session.stops.clone();
    while !closing(session, &session.recorder.next(strictness)) {
        if let Some(exit) = advance(session, live).await? {
            return Ok(exit);
        }
    }
    if let (Some((_, server)), None) = (&live.verified, stops.requested()) {
        print(&format!("{}\n", server.url))?;
        tokio::select! {
            _ = stops.next() => {}
            how = server_ends(live) => {
                session.recorder.note(Anomaly::ServerDied { how })?;
            }
        }
    }
    to_the_end(session, live).await
}

/// Resolves with how the server ended; never for one that was attached to.
async fn server_ends(live: &mut Live) -> String {
    match &mut live.server {
        Some(server) => server.ended().await,
        None => std::future::pending().await,
    }
}

/// Whether what comes next only undoes or concludes.
fn closing(session: &Session, next: &Directive) -> bool {
    match next {
        Directive::Run(step) | Directive::Skip(step, _) => {
            session.plan.steps()[*step].phase != Phase::Main
        }
        Directive::Close(_) => true,
    }
}

/// Does the next thing; returns the exit code when there is none left.
async fn advance(session: &Session, live: &mut Live) -> Result<Option<Exit>, Failure> {
    catch_up_with_signals(session, FirstCtrlC::Asks)?;
    match session.recorder.next(session.order.options.strictness) {
        Directive::Run(step) => run_step(session, live, step).await?,
        Directive::Skip(step, reason) => {
            let name = session.plan.steps()[step].name.clone();
            session.recorder.record(Event::StepSkipped { step, name, reason })?;
        }
        Directive::Close(exit) => {
            session.recorder.record(Event::SessionClosed { exit: exit.code() })?;
            return Ok(Some(exit));
        }
    }
    Ok(None)
}

async fn run_step(session: &Session, live: &mut Live, step: StepIndex) -> Result<(), Failure> {
    let planned = &session.plan.steps()[step];
    session.recorder.record(Event::StepStarted { step, name: planned.name.clone() })?;
    if let Some(announcement) = &planned.announce {
        session.recorder.with_ui(|ui| ui.line(announcement));
    }
    let event = match supervise(session, live, planned).await? {
        Ok(outcome) => Event::StepSucceeded { step, outcome },
        Err(failure) => Event::StepFailed { step, failure },
    };
    session.recorder.record(event)
}

/// Carries a step out while listening for requests to stop.
async fn supervise(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
) -> Result<Result<Outcome, StepFailure>, Failure> {
    let mut stops = session.stops.clone();
    let mut effect = std::pin::pin!(perform(session, live, planned));
    loop {
        tokio::select! {
            biased;
            outcome = &mut effect => return Ok(outcome),
            _ = stops.next() => {
                let first = match planned.step.as_measure() {
                    Some(_) => FirstCtrlC::Asks,
                    None => FirstCtrlC::Insists,
                };
                catch_up_with_signals(session, first)?;
                let insisted = Some(StopRequest::Insisted) <= session.recorder.stop();
                if insisted && abandoned_when_stopped(planned) {
                    return Ok(Err(interrupted(&planned.name)));
                }
            }
        }
    }
}

/// Whether a step is simply dropped when the session is to stop. The load ends itself, so that
/// what was measured is kept; closing steps are done whatever happens.
const fn abandoned_when_stopped(planned: &PlannedStep) -> bool {
    matches!(planned.phase, Phase::Main) && !matches!(planned.step, Step::Measure(_))
}

async fn perform(
    session: &Session,
    live: &mut Live,
    planned: &PlannedStep,
) -> Result<Outcome, StepFailure> {
    match &planned.step {
        Step::CheckGpu(limits) => check_gpu::perform(session, live, planned, limits).await,
        Step::Launch(launch) => launch::perform(session, live, planned, launch).await,
        Step::Verify(verify) => verify::perform(session, live, verify).await,
        Step::Stop(stop) => stop::perform(session, live, planned, stop).await,
        Step::BeforeRun(before) => before_run::perform(session, live, planned, before).await,
        Step::Measure(measure) => measure::perform(session, live, planned, measure).await,
        Step::AfterRun(after) => after_run::perform(session, live, planned, after).await,
        Step::Compare(compare) => compare::perform(session, compare),
        Step::Judge(rule) => match planned.at {
            Place::Pair { pair } => ab::look(session, pair, rule),
            Place::Session | Place::Target { .. } | Place::Run { .. } => {
                judge::perform(session, rule)
            }
        },
        Step::WriteReports(reports) => write_reports::perform(session, reports),
    }
}

/// What a first Ctrl-C does. Only a measurement is worth protecting from a hasty one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FirstCtrlC {
    /// It is on record, and the step goes on.
    Asks,
    /// It counts as the second.
    Insists,
}

/// Records what signals asked for since the last look; each request once.
fn catch_up_with_signals(session: &Session, first: FirstCtrlC) -> Result<(), Failure> {
    let requested = session.stops.requested().map(|by| match (by, first) {
        (StopRequest::Asked, FirstCtrlC::Insists) => StopRequest::Insisted,
        (by, _) => by,
    });
    match requested {
        Some(by) if session.recorder.stop() < Some(by) => {
            session.recorder.record(Event::StopRequested { by })
        }
        Some(_) | None => Ok(()),
    }
}

/// The failure of a step whose evidence is not at hand, which the sequencer never lets happen.
fn unproved(fact: FactName) -> StepFailure {
    StepFailure {
        class: FailureClass::Client,
        message: format!("`{fact}` is not proved"),
        hint: None,
    }
}

/// The failure of a step that was ended because the session is to stop.
fn interrupted(name: &str) -> StepFailure {
    StepFailure {
        class: FailureClass::Interrupted,
        message: format!("`{name}` was ended because the session is to stop"),
        hint: None,
    }
}

/// A step's failure of a class, with its chain of causes in one line.
fn failed(class: FailureClass, error: impl Into<anyhow::Error>) -> StepFailure {
    // The alternate form prints the error and its causes, separated by colons.
    StepFailure { class, message: format!("{:#}", error.into()), hint: None }
}

/// The same, with what the error knows to do.
fn failed_hinted(class: FailureClass, error: impl Hinted) -> StepFailure {
    let hint = error.hint();
    StepFailure { hint, ..failed(class, error) }
}

/// What the recorder could not write down cannot be relied on: the step failed.
fn unrecorded(failure: &Failure) -> StepFailure {
    StepFailure { class: FailureClass::Storage, message: failure.one_line(), hint: None }
}
