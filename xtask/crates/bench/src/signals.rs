//! Ctrl-C and SIGTERM, turned into requests to stop.
//!
//! A running benchmark is not interrupted lightly: the first Ctrl-C asks, the second insists.
//! SIGTERM comes from a cancelled CI job, which waits a few seconds only; a closed terminal
//! (SIGHUP) and SIGQUIT are taken for the same.
//!
//! GitHub's runner cancels a job with SIGINT, SIGTERM 7.5 s later and SIGKILL 2.5 s after that, and
//! there is nobody to ask: under it an interrupt is a cancellation too, or three quarters of the
//! time would be lost.

use std::ffi::OsStr;
use std::io;

use domain::event::StopRequest;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// A handle on what was asked so far; cheap to clone.
#[derive(Clone, Debug)]
pub struct Stops {
    requests: watch::Receiver<Option<StopRequest>>,
    insisted: watch::Receiver<bool>,
}

/// Starts listening. From here on the process no longer dies by these signals.
pub fn listen() -> io::Result<Stops> {
    let interrupts = signal(SignalKind::interrupt())?;
    let terminations = [
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
        signal(SignalKind::quit())?,
    ];
    let (request_sender, requests) = watch::channel(None);
    let (insist_sender, insisted) = watch::channel(false);
    let interrupt = Interrupt::of(std::env::var_os(GITHUB_ACTIONS).as_deref());
    tokio::spawn(relay((interrupts, interrupt), terminations, request_sender, insist_sender));
    Ok(Stops { requests, insisted })
}

/// Set to `true` by GitHub's runner for every step.
const GITHUB_ACTIONS: &str = "GITHUB_ACTIONS";

/// What an interrupt means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interrupt {
    /// A person pressed Ctrl-C, perhaps by mistake.
    Asks,
    /// The runner cancels the job.
    Cancels,
}

impl Interrupt {
    fn of(github_actions: Option<&OsStr>) -> Self {
        if github_actions == Some(OsStr::new("true")) { Self::Cancels } else { Self::Asks }
    }

    /// The request that the next interrupt makes, after those so far.
    const fn request(self, so_far: Option<StopRequest>) -> StopRequest {
        match (self, so_far) {
            (Self::Cancels, _) | (Self::Asks, Some(StopRequest::Terminated)) => {
                StopRequest::Terminated
            }
            (Self::Asks, None) => StopRequest::Asked,
            (Self::Asks, Some(StopRequest::Asked | StopRequest::Insisted)) => StopRequest::Insisted,
        }
    }
}

async fn relay(
    (mut interrupts, interrupt): (Signal, Interrupt),
    terminations: [Signal; 3],
    requests: watch::Sender<Option<StopRequest>>,
    insisted: watch::Sender<bool>,
) {
    let [mut terminate, mut hangup, mut quit] = terminations;
    loop {
        let request = tokio::select! {
            Some(()) = interrupts.recv() => interrupt.request(*requests.borrow()),
            Some(()) = terminate.recv() => StopRequest::Terminated,
            Some(()) = hangup.recv() => StopRequest::Terminated,
            Some(()) = quit.recv() => StopRequest::Terminated,
            else => return,
        };
        requests.send_replace(Some(request));
        insisted.send_replace(StopRequest::Insisted <= request);
    }
}

impl Stops {
    /// The strongest request so far.
    pub fn requested(&self) -> Option<StopRequest> {
        *self.requests.borrow()
    }

    /// Resolves with the next request.
    pub async fn next(&mut self) -> StopRequest {
        loop {
            if self.requests.changed().await.is_err() {
                // The listener lives as long as the runtime: without it nothing can be asked.
                std::future::pending::<()>().await;
            }
            if let Some(request) = *self.requests.borrow_and_update() {
                return request;
            }
        }
    }

    /// Resolves once the process was told to terminate.
    pub async fn wait_until_terminated(&self) {
        let mut requests = self.requests.clone();
        let terminated = |by: &Option<StopRequest>| *by == Some(StopRequest::Terminated);
        if requests.wait_for(terminated).await.is_err() {
            // The listener lives as long as the runtime: without it nothing can be asked.
            std::future::pending::<()>().await;
        }
    }

    /// Becomes true once the running step is to be ended.
    pub fn insisted(&self) -> watch::Receiver<bool> {
        self.insisted.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_under_githubs_runner_the_first_interrupt_ends_the_session() {
        let here = |value: Option<&str>| Interrupt::of(value.map(OsStr::new));
        assert_eq!(here(Some("true")).request(None), StopRequest::Terminated);
        for value in [None, Some(""), Some("false")] {
            assert_eq!(here(value).request(None), StopRequest::Asked);
        }
    }
}
