//! `verify`: climb the readiness ladder, and judge what was seen.

use domain::event::{FailureClass, Outcome, StepFailure};
use skill::FactName;
use skill::setup::Verify;

use super::{Live, failed};
/// Proves that the server generates what it is asked to.
pub(super) async fn perform(live: &mut Live, verify: &Verify) -> Result<Outcome, StepFailure> {
    let Some(endpoint) = live.endpoint.clone() else {
        return Err(super::unproved(FactName::ServerStarted));
    };
    let facts = serve::verify(&endpoint, live.server.as_mut(), verify).await;
    let judged = sequencer::server::judge(&facts, &verify.wanted());
    let evidence = judged.map_err(|refused| {
        let hint = refused.hint();
        StepFailure { hint, ..failed(FailureClass::Server, refused) }
    })?;
    live.verified = Some((evidence, facts.clone()));
    Ok(Outcome::ServerVerified { server: Box::new(facts) })
}
