//! `verify`: climb the readiness ladder, and judge what was seen.

use domain::event::{FailureClass, Outcome, StepFailure};
use report::text::printable;
use sequencer::server::NotServing;
use skill::FactName;
use skill::setup::Verify;

use super::{Live, failed, unrecorded};
use crate::session::Session;

/// Proves that the server generates what it is asked to.
pub(super) async fn perform(
    session: &Session,
    live: &mut Live,
    verify: &Verify,
) -> Result<Outcome, StepFailure> {
    let Some(endpoint) = live.endpoint.clone() else {
        return Err(super::unproved(FactName::ServerStarted));
    };
    let facts = serve::verify(&endpoint, live.server.as_mut(), verify).await;
    match sequencer::server::judge(&facts, &verify.wanted()) {
        Ok(evidence) => {
            live.verified = Some((evidence, facts.clone()));
            Ok(Outcome::ServerVerified { server: Box::new(facts) })
        }
        Err(refused) => Err(explain(session, live, refused)?),
    }
}

/// A server that does not serve has often said why in its log: the cause becomes the hint, and
/// the end of the log is shown.
fn explain(
    session: &Session,
    live: &Live,
    refused: NotServing,
) -> Result<StepFailure, StepFailure> {
    let hint = refused.hint();
    let failure = failed(FailureClass::Server, refused);
    let Some(server) = &live.server else { return Ok(StepFailure { hint, ..failure }) };
    let cause = server.log_cause();
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
    let advice = cause.map(|cause| cause.advice().to_owned());
    Ok(StepFailure { hint: advice.or(hint), ..failure })
}
