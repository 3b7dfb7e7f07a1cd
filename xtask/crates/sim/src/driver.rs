//! Runs the engine in real time: begins a step, sleeps to its absolute deadline, hands its tokens
//! out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::config::Config;
use crate::engine::{Busy, Engine, Job, Load, Made, Rejected, RequestId, Totals};

/// Steps that are late by more than this are not caught up with: after a stall of the machine the
/// engine goes on at its pace, it does not rush.
const MOST_CATCH_UP: Duration = Duration::from_millis(20);

/// A running engine. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Driver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug)]
struct State {
    engine: Engine,
    sinks: HashMap<RequestId, mpsc::Sender<Token>>,
}

impl Driver {
    /// An idle engine; [`Driver::run`] must be polled for anything to happen.
    pub(crate) fn new(config: &Config) -> Self {
        let state = State { engine: Engine::new(config), sinks: HashMap::new() };
        Self(Arc::new(Shared { state: Mutex::new(state), wake: Notify::new() }))
    }

    /// Queues a job. Its tokens come out of the ticket.
    pub(crate) fn submit(&self, job: Job) -> Result<Ticket, Rejected> {
        // Room for every token that there will be: a slow reader never holds up the engine.
        let (sink, tokens) = mpsc::channel(job.output_tokens.max(1) as usize);
        let mut state = self.state();
        let id = state.engine.submit(job)?;
        state.sinks.insert(id, sink);
        drop(state);
        self.0.wake.notify_one();
        Ok(Ticket { driver: self.clone(), id, tokens, detached: false })
    }

    /// Empties the prefix cache.
    pub(crate) fn flush(&self) -> Result<(), Busy> {
        self.state().engine.flush()
    }

    /// How busy the engine is.
    pub(crate) fn load(&self) -> Load {
        self.state().engine.load()
    }

    /// Counters since the start.
    pub(crate) fn totals(&self) -> Totals {
        self.state().engine.totals()
    }

    /// Drives the engine for ever.
    pub(crate) async fn run(self) {
        let start = Instant::now();
        let mut at = start;
        loop {
            let now = Instant::now();
            if MOST_CATCH_UP < now.saturating_duration_since(at) {
                at = now;
            }
            let step = self.state().engine.begin(at - start);
            let Some(step) = step else {
                self.0.wake.notified().await;
                at = Instant::now();
                continue;
            };
            at += step.cost;
            tokio::time::sleep_until(at).await;
            let mut state = self.state();
            let at = Instant::now();
            for made in state.engine.finish(&step) {
                state.deliver(Token { made, at });
            }
        }
    }

    fn abort(&self, id: RequestId) {
        let mut state = self.state();
        state.engine.abort(id);
        state.sinks.remove(&id);
        drop(state);
        // Room may have been freed for one that waits.
        self.0.wake.notify_one();
    }

    /// A panic while the lock was held ends the server through its tasks, not through this lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn deliver(&mut self, token: Token) {
        let made = token.made;
        if let Some(sink) = self.sinks.get(&made.id) {
            // Nobody listens any more to a request that was detached; its work is done all the
            // same.
            let _unheard = sink.try_send(token);
        }
        if made.finish.is_some() {
            self.sinks.remove(&made.id);
        }
    }
}

/// A token, and when the engine handed it out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    /// The token.
    pub(crate) made: Made,
    /// When.
    pub(crate) at: Instant,
}

/// A queued job. Dropping it aborts the job, as a client that goes away does.
#[derive(Debug)]
pub(crate) struct Ticket {
    driver: Driver,
    id: RequestId,
    tokens: mpsc::Receiver<Token>,
    detached: bool,
}

impl Ticket {
    /// The next token; `None` after the last.
    pub(crate) async fn next(&mut self) -> Option<Token> {
        self.tokens.recv().await
    }

    /// Lets the engine do the whole job although nobody waits for it.
    pub(crate) fn detach(mut self) {
        self.detached = true;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.detached {
            self.driver.abort(self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Finish;

    fn job(output_tokens: u32) -> Job {
        Job { prompt: vec![1, 2, 3], output_tokens, finish: Finish::Length }
    }

    async fn drain(mut ticket: Ticket) -> u32 {
        let mut tokens = 0;
        while ticket.next().await.is_some() {
            tokens += 1;
        }
        tokens
    }

    fn fast() -> Driver {
        let driver = Driver::new(&Config { speed: 100.0, ..Config::steady() });
        tokio::spawn(driver.clone().run());
        driver
    }

    #[tokio::test]
    async fn every_ticket_gets_its_tokens() {
        let driver = fast();
        let (a, b) = (driver.submit(job(5)).unwrap(), driver.submit(job(7)).unwrap());
        assert_eq!(tokio::join!(drain(a), drain(b)), (5, 7));
        assert_eq!((driver.load().running, driver.load().waiting), (0, 0));
    }

    #[tokio::test]
    async fn an_engine_that_was_idle_takes_up_work_again() {
        let driver = fast();
        assert_eq!(drain(driver.submit(job(3)).unwrap()).await, 3);
        tokio::task::yield_now().await;
        assert_eq!(drain(driver.submit(job(4)).unwrap()).await, 4);
    }

    #[tokio::test]
    async fn a_dropped_ticket_ends_its_job_and_a_detached_one_does_not() {
        let driver = fast();
        drop(driver.submit(job(1000)).unwrap());
        assert_eq!((driver.load().running, driver.load().waiting), (0, 0));
        driver.submit(job(10)).unwrap().detach();
        assert_eq!(drain(driver.submit(job(20)).unwrap()).await, 20);
        assert_eq!(driver.totals().generated_tokens, 30);
    }

    #[tokio::test]
    async fn a_slow_reader_does_not_hold_up_the_engine() {
        let driver = fast();
        let unread = driver.submit(job(50)).unwrap();
        assert_eq!(drain(driver.submit(job(100)).unwrap()).await, 100);
        assert_eq!(drain(unread).await, 50);
    }
}
