//! The readiness ladder, from cheap to sure.
//!
//! Climbs and reports; whether that is enough is judged by `sequencer::server`. Each rung has its
//! own deadline, and a child that ends ends the climb at once.

use std::time::{Duration, Instant};

use domain::contract::Term;
use domain::facts::{Capabilities, Rung, RungOutcome, RungReport, ServerFacts};
use skill::setup::{RungLimit, Verify};

use crate::about::{Told, about};
use crate::cache::flush_once;
use crate::control::Endpoint;
use crate::frameworks::traits;
use crate::launch::Server;
use crate::look::{Look, Time};
use crate::rungs::Climber;
use crate::terms::{dtype_in_log, note_unsaid};

/// Climbs the rungs of `limits` until one fails, and says what was seen on the way.
///
/// With `child` the server is one that we started: it must stay alive and hold its port. Without,
/// it was attached to. Never fails itself: a failed rung is the last of the facts' rungs. May be
/// dropped at any time.
pub async fn verify(
    endpoint: &Endpoint,
    mut child: Option<&mut Server>,
    limits: &Verify,
) -> ServerFacts {
    let since = child.as_ref().map_or_else(Instant::now, |server| server.released_at);
    let pid = child.as_ref().map(|server| server.process().pid);
    let started = child.as_deref().map(Server::started);
    let mut climber = Climber::new(endpoint, limits, started);
    let mut rungs: Vec<RungReport> = Vec::new();
    for limit in &limits.rungs {
        let outcome = climb_watched(&mut climber, child.as_deref_mut(), limit, limits).await;
        let failed = matches!(outcome, RungOutcome::Failed(_));
        rungs.push(RungReport { rung: limit.rung, after_ms: millis(since), outcome });
        if failed {
            break;
        }
    }
    let answers = rungs.iter().any(|report| {
        report.rung == Rung::Health && matches!(report.outcome, RungOutcome::Passed(_))
    });
    let Told { version, resolved, mut contract } = match answers {
        true => about(endpoint, limits.request_within.0).await,
        false => Told::NOTHING,
    };
    if let (None, Some(server)) = (&contract.dtype, &child)
        && let Some(dtype) = dtype_in_log(&server.log_text())
    {
        contract.dtype = Some(dtype);
        contract.note(Term::Dtype, "the server's log");
    }
    note_unsaid(endpoint, &mut contract);
    ServerFacts {
        framework: endpoint.framework(),
        url: endpoint.url().to_owned(),
        model: climber.model().unwrap_or_default().to_owned(),
        version,
        pid,
        capabilities: Capabilities { flushes_cache: flushes(&rungs), ..climber.capabilities() },
        rungs,
        resolved,
        contract,
    }
}

fn flushes(rungs: &[RungReport]) -> bool {
    let mut flushes = rungs.iter().filter(|report| report.rung == Rung::Flush);
    flushes.any(|report| matches!(report.outcome, RungOutcome::Passed(_)))
}

/// Climbs one rung, unless the child ends first.
async fn climb_watched(
    climber: &mut Climber<'_>,
    child: Option<&mut Server>,
    limit: &RungLimit,
    limits: &Verify,
) -> RungOutcome {
    let Some(server) = child else { return climb(climber, limit, limits).await };
    let how = tokio::select! {
        biased;
        how = server.fails() => how,
        outcome = climb(climber, limit, limits) => return outcome,
    };
    RungOutcome::Failed(match server.log_cause() {
        Some(cause) => format!("{how}; its log: {}", cause.line),
        None => how,
    })
}

async fn climb(climber: &mut Climber<'_>, limit: &RungLimit, limits: &Verify) -> RungOutcome {
    let time = Time::new(limit.within.0, limits.request_within.0);
    let mut last_seen = "nothing".to_owned();
    loop {
        match climber.look(limit.rung, &time).await {
            Look::Done(outcome) => return outcome,
            Look::Again(seen) => {
                last_seen = seen;
                tokio::time::sleep(limits.poll_every.0.min(time.left())).await;
            }
            Look::GoOn => {}
        }
        if time.is_up() {
            let within = limit.within;
            return RungOutcome::Failed(format!("not within {within}; last seen: {last_seen}"));
        }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// A server that does not say that it is healthy.
#[derive(Debug, thiserror::Error)]
pub enum NotHealthy {
    /// It gave no answer.
    #[error("`{url}` did not answer: {reason}")]
    NoAnswer {
        /// What was asked for.
        url: String,
        /// What came instead.
        reason: String,
    },
    /// It answered otherwise.
    #[error("`{url}` answered {seen}")]
    Answered {
        /// What was asked for.
        url: String,
        /// Status and the beginning of the body.
        seen: String,
    },
}

/// Asks the cheap health path once.
///
/// # Errors
///
/// [`NotHealthy`] for everything but a 200 within `within`.
pub async fn healthy(endpoint: &Endpoint, within: Duration) -> Result<(), NotHealthy> {
    let path = traits(endpoint.framework()).health_path;
    let url = format!("{}{path}", endpoint.url());
    match endpoint.get(path, within).await {
        Ok(answer) if answer.is_ok() => Ok(()),
        Ok(answer) => Err(NotHealthy::Answered { url, seen: answer.shown() }),
        Err(error) => Err(NotHealthy::NoAnswer { url, reason: error.to_string() }),
    }
}

/// Pause between two tries to empty the cache of a server that is still busy.
const FLUSH_AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Empties the prefix cache, where the server can, and says how that went.
///
/// `model` is the name that requests bear; Ollama needs it. The report's time counts from the
/// call.
pub async fn flush(endpoint: &Endpoint, model: &str, within: Duration) -> RungReport {
    let since = Instant::now();
    let time = Time::new(within, within);
    let outcome = loop {
        match flush_once(endpoint, model, &time).await {
            Look::Done(outcome) => break outcome,
            Look::Again(seen) if time.left() <= FLUSH_AGAIN_AFTER => {
                break RungOutcome::Failed(seen);
            }
            Look::Again(_) | Look::GoOn => tokio::time::sleep(FLUSH_AGAIN_AFTER).await,
        }
    };
    RungReport { rung: Rung::Flush, after_ms: millis(since), outcome }
}
