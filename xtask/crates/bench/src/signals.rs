//! Ctrl-C and SIGTERM, turned into requests to stop.
//!
//! A running benchmark is not interrupted lightly: the first Ctrl-C asks, the second insists.
//! SIGTERM comes from a cancelled CI job, which waits a few seconds only; a closed terminal
//! (SIGHUP) and SIGQUIT are taken for the same.

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
    tokio::spawn(relay(interrupts, terminations, request_sender, insist_sender));
    Ok(Stops { requests, insisted })
}

async fn relay(
    mut interrupts: Signal,
    terminations: [Signal; 3],
    requests: watch::Sender<Option<StopRequest>>,
    insisted: watch::Sender<bool>,
) {
    let [mut terminate, mut hangup, mut quit] = terminations;
    loop {
        let request = tokio::select! {
            Some(()) = interrupts.recv() => match *requests.borrow() {
                None => StopRequest::Asked,
                Some(StopRequest::Asked | StopRequest::Insisted) => StopRequest::Insisted,
                Some(StopRequest::Terminated) => StopRequest::Terminated,
            },
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
