//! `verify`: climb the readiness ladder, and judge what was seen.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use domain::event::{FailureClass, Outcome, StepFailure};
use report::text::printable;
use sequencer::server::NotServing;
use serve::LogCause;
use skill::FactName;
use skill::setup::Verify;

use super::{Live, failed_hinted, others, unrecorded};
use crate::session::Session;

/// How long each rung of a server that runs already may take.
const ATTACHED_WITHIN: Duration = Duration::from_secs(60);

/// Pause between two words of waiting.
const SAY_EVERY: Duration = Duration::from_secs(15);

/// Proves that the server generates what it is asked to.
pub(super) async fn perform(
    session: &Session,
    live: &mut Live,
    verify: &Verify,
) -> Result<Outcome, StepFailure> {
    let Some(endpoint) = live.endpoint.clone() else {
        return Err(super::unproved(FactName::ServerStarted));
    };
    let limits = limits(live, verify);
    let facts = tokio::select! {
        facts = serve::verify(&endpoint, live.server.as_mut(), &limits) => facts,
        never = say_waiting(session) => match never {},
    };
    match sequencer::server::judge(&facts, &verify.wanted()) {
        Ok(evidence) => {
            live.verified = Some((evidence, facts.clone()));
            Ok(Outcome::ServerVerified { server: Box::new(facts) })
        }
        Err(refused) => Err(explain(session, live, refused)?),
    }
}

/// A server that was attached to runs already, as whoever named it says: it is not waited for as
/// long as one that loads its weights.
fn limits(live: &Live, verify: &Verify) -> Verify {
    let mut limits = verify.clone();
    if live.server.is_none() {
        for rung in &mut limits.rungs {
            rung.within.0 = rung.within.0.min(ATTACHED_WITHIN);
        }
    }
    limits
}

/// Loading weights takes minutes, in which a person wants to see that something goes on.
async fn say_waiting(session: &Session) -> Infallible {
    let began = Instant::now();
    loop {
        tokio::time::sleep(SAY_EVERY).await;
        let waited = began.elapsed().as_secs();
        session.recorder.with_ui(|ui| ui.line(&format!("  waiting for the server, {waited} s")));
    }
}

/// A server that does not serve has often said why in its log: the cause becomes the hint, and
/// the end of the log is shown.
fn explain(
    session: &Session,
    live: &Live,
    refused: NotServing,
) -> Result<StepFailure, StepFailure> {
    let failure = failed_hinted(FailureClass::Server, refused);
    let Some(server) = &live.server else { return Ok(failure) };
    let strangers = others::named(session);
    let others_did_it = |cause: &LogCause| cause.is_of_memory() && !strangers.is_empty();
    let cause = server.log_cause().map(|cause| match others_did_it(&cause) {
        true => cause.blamed_on_others(),
        false => cause,
    });
    if let Some(cause) = &cause {
        let noted = session.recorder.note(cause.anomaly());
        noted.map_err(|failure| unrecorded(&failure))?;
    }
    let log = server.process().log.display();
    session.recorder.with_ui(|ui| {
        for line in server.log_tail(live.log_tail_lines) {
            ui.line(&format!("  | {}", printable(&line)));
        }
        ui.line(&format!("  the whole log: {log}"));
    });
    let advice = cause.map(|cause| match others_did_it(&cause) {
        true => format!("end {}, or lower `memory_share`", strangers.join(" and ")),
        false => cause.advice().to_owned(),
    });
    let advice = advice.or_else(|| server.advice().map(str::to_owned));
    Ok(StepFailure { hint: advice.or(failure.hint), ..failure })
}
