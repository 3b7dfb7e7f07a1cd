//! The recorder: one place through which everything that happens is judged, journaled and said.

use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::anomaly::Anomaly;
use domain::event::{Entry, Event, StepIndex, StopRequest};
use domain::exit::Exit;
use domain::facts::ServerProcess;
use domain::verdict::Strictness;
use sequencer::{Directive, State};

use crate::clock::now;
use crate::failure::Failure;
use crate::store::Journal;
use crate::ui::Ui;

/// Judges an event by the transition table, journals it, and shows it, in this order.
#[derive(Debug)]
pub struct Recorder {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    journal: Journal,
    state: State,
    entries: Vec<Entry>,
    ui: Ui,
}

impl Recorder {
    /// A recorder for a journal that already holds `entries`, folded into `state`.
    pub fn new(journal: Journal, state: State, entries: Vec<Entry>, mut ui: Ui) -> Self {
        ui.recall(&entries);
        Self { inner: Mutex::new(Inner { journal, state, entries, ui }) }
    }

    /// Records an event; it is on disk when this returns.
    pub fn record(&self, event: Event) -> Result<(), Failure> {
        let mut inner = self.lock();
        // An illegal event from our own driver is a bug in it, not a failure of the world.
        let state = inner.state.clone().after(&event);
        let state = state.map_err(|illegal| Failure::usage(illegal).with_exit(Exit::Bug))?;
        let entry = Entry { at: now(), event };
        inner.journal.append(&entry).map_err(Failure::not_measured)?;
        inner.state = state;
        inner.ui.say(&entry.event);
        inner.entries.push(entry);
        Ok(())
    }

    /// Records something unusual in the step that is running.
    pub fn note(&self, anomaly: Anomaly) -> Result<(), Failure> {
        let step = self.lock().state.running();
        self.record(Event::AnomalyNoted { step, anomaly })
    }

    /// What is to be done next.
    pub fn next(&self, strictness: Strictness) -> Directive {
        self.lock().state.next(strictness)
    }

    /// The server that was started and not seen to end.
    pub fn server(&self) -> Option<ServerProcess> {
        self.lock().state.server().cloned()
    }

    /// The step that was running when the process before this one ended.
    pub fn interrupted_step(&self) -> Option<StepIndex> {
        self.lock().state.interrupted()
    }

    /// The strongest request to stop that is on record.
    pub fn stop(&self) -> Option<StopRequest> {
        self.lock().state.stop()
    }

    /// Everything recorded so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Does something with the screen between two lines.
    pub fn with_ui<T>(&self, action: impl FnOnce(&mut Ui) -> T) -> T {
        action(&mut self.lock().ui)
    }

    /// A panic elsewhere does not make the record wrong: every change to it is complete.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
