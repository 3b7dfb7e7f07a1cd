//! What all connections of one server share.

use std::time::Duration;

use tokio::sync::Notify;

use crate::config::Config;
use crate::driver::Driver;
use crate::fault::{Fault, FaultPlan};
use crate::truth::{Clock, TruthLog};

/// How long `slow-start` lasts where it does not say.
const SLOW_START: Duration = Duration::from_millis(2000);

/// One server.
#[derive(Debug)]
pub(crate) struct App {
    /// Its settings.
    pub(crate) config: Config,
    /// Its clock.
    pub(crate) clock: Clock,
    /// Its engine.
    pub(crate) driver: Driver,
    /// What goes wrong.
    pub(crate) faults: FaultPlan,
    /// What really happened.
    pub(crate) truth: TruthLog,
    /// Told when the server is to end with a failure.
    pub(crate) crash: Notify,
    /// Told when the port is to be closed.
    pub(crate) close_port: Notify,
}

impl App {
    /// A server that starts now.
    pub(crate) fn new(config: Config) -> Self {
        let clock = Clock::start();
        Self {
            driver: Driver::new(&config),
            faults: FaultPlan::new(config.faults.clone()),
            truth: TruthLog::new(clock),
            crash: Notify::new(),
            close_port: Notify::new(),
            config,
            clock,
        }
    }

    /// Whether the model is still being loaded.
    pub(crate) fn is_loading(&self) -> bool {
        let slow = self.faults.find(Fault::SlowStart);
        let slow = slow.map(|spec| spec.ms.map_or(SLOW_START, Duration::from_millis));
        let never = self.faults.find(Fault::NeverReady).is_some();
        never || slow.is_some_and(|lasts| self.clock.elapsed() < lasts)
    }
}
