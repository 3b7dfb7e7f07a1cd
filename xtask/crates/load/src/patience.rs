//! How long is waited: until a request has been silent for too long, the run's time is over, or
//! the run is to be stopped.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::time::{Sleep, sleep_until};

use crate::clock;

/// Why waiting was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GaveUp {
    Idle,
    Deadline,
    Stopped,
}

/// The limits of one wait after the other.
#[derive(Debug)]
pub(crate) struct Patience {
    stop: watch::Receiver<bool>,
    deadline: Instant,
    /// How long may be heard nothing.
    idle: Duration,
    heard: Instant,
    /// One timer for all waits. It is set anew only when it has gone off, not with every read.
    timer: Pin<Box<Sleep>>,
}

impl Patience {
    pub(crate) fn new(stop: watch::Receiver<bool>, deadline: Instant, idle: Duration) -> Self {
        let heard = clock::now();
        let first = deadline.min(clock::later(heard, idle));
        Self { stop, deadline, idle, heard, timer: Box::pin(sleep_until(first.into())) }
    }

    /// Something was heard at `at`.
    pub(crate) const fn heard(&mut self, at: Instant) {
        self.heard = at;
    }

    /// Silence is from now on allowed only for `idle`.
    pub(crate) fn shorten(&mut self, idle: Duration) {
        self.idle = idle;
        let next = self.next();
        self.timer.as_mut().reset(next.into());
    }

    /// Waits for `wanted` within the limits.
    pub(crate) async fn wait<T>(&mut self, wanted: impl Future<Output = T>) -> Result<T, GaveUp> {
        let mut wanted = pin!(wanted);
        let mut stopped = pin!(stopped(self.stop.clone()));
        loop {
            tokio::select! {
                biased;
                done = &mut wanted => return Ok(done),
                () = &mut stopped => return Err(GaveUp::Stopped),
                () = self.timer.as_mut() => {
                    let now = clock::now();
                    if self.deadline <= now {
                        return Err(GaveUp::Deadline);
                    }
                    if self.next() <= now {
                        return Err(GaveUp::Idle);
                    }
                    let next = self.next();
                    self.timer.as_mut().reset(next.into());
                }
            }
        }
    }

    /// When patience is over, if nothing more is heard.
    fn next(&self) -> Instant {
        self.deadline.min(clock::later(self.heard, self.idle))
    }
}

/// Ends when the run is to be stopped; never, if nobody is left who could ask for it.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
