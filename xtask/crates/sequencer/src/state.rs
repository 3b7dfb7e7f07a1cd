//! The state of a session: the fold of its journal, and what is to be done next.

use std::collections::BTreeSet;

use domain::event::{Event, FailureClass, Outcome, StepIndex, StopRequest};
use domain::exit::Exit;
use domain::facts::ServerProcess;
use domain::verdict::{Strictness, Verdict};
use skill::{FactName, Phase as Part, Place, Plan, PlannedRun};

use crate::phase::Phase;

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Status {
    Pending,
    Running,
    Done,
    Failed(FailureClass),
    Skipped,
}

impl Status {
    const fn ended(&self) -> bool {
        matches!(self, Self::Done | Self::Failed(_) | Self::Skipped)
    }
}

/// What the sequencer knows of a planned step.
#[derive(Clone, Debug)]
struct Slot {
    name: String,
    place: Place,
    /// The places that it is about: its own, or the runs of its pair.
    about: Vec<Place>,
    part: Part,
    requires: Vec<FactName>,
    proves: Option<FactName>,
    status: Status,
}

/// What the driver is to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Directive {
    /// Start this step.
    Run(StepIndex),
    /// Write down that this step is not done, and why.
    Skip(StepIndex, String),
    /// Everything is done; end with this code.
    Close(Exit),
}

/// An event that may not happen now: the journal is corrupt or the driver is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{event}` cannot happen in phase {phase}{detail}", phase = phase.name())]
pub struct IllegalEvent {
    phase: Phase,
    event: String,
    detail: String,
}

/// The fold of a session's journal.
#[derive(Clone, Debug)]
pub struct State {
    phase: Phase,
    slots: Vec<Slot>,
    server: Option<ServerProcess>,
    /// Facts proved by this process, with the place that they are about.
    proved: Vec<(FactName, Place)>,
    stop: Option<StopRequest>,
    left_behind: bool,
    exit: Option<u8>,
    verdicts: Vec<Verdict>,
    /// The verdict that ended the experiment: nothing more is measured.
    decided: Option<Verdict>,
    interrupted: Option<StepIndex>,
}

impl State {
    /// The state before the first line.
    pub fn new(plan: &Plan) -> Self {
        let slots = plan.steps().iter().map(|planned| Slot {
            name: planned.name.clone(),
            place: planned.at,
            about: about(plan, planned.at),
            part: planned.phase,
            requires: planned.step.requires().to_vec(),
            proves: planned.step.proves(),
            status: Status::Pending,
        });
        Self {
            phase: Phase::Unopened,
            slots: slots.collect(),
            server: None,
            proved: Vec::new(),
            stop: None,
            left_behind: false,
            exit: None,
            verdicts: Vec::new(),
            decided: None,
            interrupted: None,
        }
    }

    /// The one transition function, used live and on resume.
    pub fn after(mut self, event: &Event) -> Result<Self, IllegalEvent> {
        let next = self.phase.after(event.kind()).ok_or_else(|| self.illegal(event, ""))?;
        match event {
            Event::StepStarted { step, .. } => self.start(*step, event)?,
            Event::StepSkipped { step, .. } => self.skip(*step, event)?,
            Event::StepSucceeded { step, outcome } => self.succeed(*step, outcome, event)?,
            Event::StepFailed { step, failure } => self.fail(*step, failure.class, event)?,
            Event::ServerStarted { process } => self.server = Some(process.clone()),
            Event::ServerStopped { .. } => self.forget_server(),
            Event::StopRequested { by } => self.stop = self.stop.max(Some(*by)),
            Event::SessionResumed { .. } => self.rewind(event)?,
            Event::CleanupFinished => self.left_behind = false,
            Event::CleanupFailed { .. } => self.left_behind = true,
            Event::SessionClosed { exit } => self.exit = Some(*exit),
            Event::SessionOpened { .. } | Event::AnomalyNoted { .. } | Event::CleanupStarted => {}
        }
        self.phase = next;
        Ok(self)
    }

    /// What is to be done next; only asked between steps.
    pub fn next(&self, strictness: Strictness) -> Directive {
        let pending = self.slots.iter().position(|slot| slot.status == Status::Pending);
        let Some(step) = pending.filter(|_| self.phase != Phase::Stuck) else {
            return Directive::Close(self.exit(strictness));
        };
        match self.obstacle(step) {
            Some(reason) => Directive::Skip(step, reason),
            None => Directive::Run(step),
        }
    }

    /// The phase that the session is in.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The server that was started and not seen to end.
    pub const fn server(&self) -> Option<&ServerProcess> {
        self.server.as_ref()
    }

    /// The strongest request to stop so far.
    pub const fn stop(&self) -> Option<StopRequest> {
        self.stop
    }

    /// The step whose effect is, or was, under way.
    pub fn running(&self) -> Option<StepIndex> {
        self.slots.iter().position(|slot| slot.status == Status::Running)
    }

    /// The step that was under way when the process before this one ended.
    pub const fn interrupted(&self) -> Option<StepIndex> {
        self.interrupted
    }

    /// Whether the last line is written, and nothing was left behind.
    pub fn finished(&self) -> bool {
        self.phase == Phase::Closed && self.exit != Some(Exit::LeftBehind.code())
    }

    /// The exit code that the session has earned so far.
    fn exit(&self, strictness: Strictness) -> Exit {
        let failed = |slot: &Slot| matches!(slot.status, Status::Failed(_));
        // An experiment that was decided has its verdict, whichever runs it was decided by. A
        // failure of the session itself, such as a report that was not written, is none of them.
        let measures = |slot: &Slot| slot.part == Part::Main || slot.part == Part::Finally;
        let unexplained = |slot: &Slot| failed(slot) && !(self.decided.is_some() && measures(slot));
        match self.stop {
            _ if self.left_behind => Exit::LeftBehind,
            Some(StopRequest::Terminated) => Exit::Terminated,
            Some(StopRequest::Insisted) => Exit::Interrupted,
            Some(StopRequest::Asked) | None if self.slots.iter().any(unexplained) => {
                Exit::NotMeasured
            }
            Some(StopRequest::Asked) | None => match self.decided {
                Some(verdict) => verdict.exit(strictness),
                None => self.judged(strictness),
            },
        }
    }

    /// What the verdicts ask for: the exit of the worst one that asks for anything. A verdict that
    /// is let through must not hide one that is not.
    fn judged(&self, strictness: Strictness) -> Exit {
        let exits = self.verdicts.iter().rev().map(|verdict| verdict.exit(strictness));
        exits.into_iter().find(|exit| *exit != Exit::Done).unwrap_or(Exit::Done)
    }

    /// Why a pending step is not to be done, if it is not.
    fn obstacle(&self, step: StepIndex) -> Option<String> {
        let slot = &self.slots[step];
        match slot.part {
            Part::Conclude => match slot.place {
                Place::Pair { .. } => self.ending().or_else(|| self.nothing_to_look_at(slot)),
                Place::Session | Place::Target { .. } | Place::Run { .. } => self.unproved(slot),
            },
            Part::Finally => self.nothing_to_undo(slot),
            Part::Main => {
                let stuck = || self.left_behind.then(|| "something was left behind".to_owned());
                let failed = || self.failed_before(slot).map(|name| format!("`{name}` failed"));
                self.ending().or_else(stuck).or_else(failed).or_else(|| self.unproved(slot))
            }
        }
    }

    /// Why nothing more is measured, if so.
    fn ending(&self) -> Option<String> {
        let stopped = Some(StopRequest::Insisted) <= self.stop;
        let decided = self.decided.map(|verdict| format!("the experiment is decided: {verdict}"));
        stopped.then(|| "the session is ending".to_owned()).or(decided)
    }

    /// A pair is looked at once each of its runs was measured, or failed: a run that failed on one
    /// side only is itself something to be judged.
    fn nothing_to_look_at(&self, slot: &Slot) -> Option<String> {
        let failed = |place: Place| {
            let failed = |other: &Slot| matches!(other.status, Status::Failed(_));
            let around = |other: &&Slot| other.part == Part::Main && other.place.contains(place);
            self.slots.iter().filter(around).any(failed)
        };
        let came_to_something =
            |place: &Place| self.holds(FactName::Measured, *place) || failed(*place);
        (!slot.about.iter().all(came_to_something)).then(|| "the pair is not complete".to_owned())
    }

    /// The name of a failed step that this one builds on.
    fn failed_before(&self, slot: &Slot) -> Option<&str> {
        let builds_on = |earlier: &&Slot| match earlier.status {
            Status::Failed(_) => earlier.part == Part::Main && earlier.place.contains(slot.place),
            Status::Pending | Status::Running | Status::Done | Status::Skipped => false,
        };
        self.slots.iter().find(builds_on).map(|earlier| earlier.name.as_str())
    }

    fn unproved(&self, slot: &Slot) -> Option<String> {
        let missing = slot.requires.iter().find(|fact| !self.holds(**fact, slot.place))?;
        Some(format!("`{}` is not proved", missing))
    }

    /// Whether a fact is proved for a place: about itself, about what contains it, or, for the
    /// end of the session, about anything in it.
    fn holds(&self, fact: FactName, place: Place) -> bool {
        let about = |(proved, at): &(FactName, Place)| {
            *proved == fact && (at.contains(place) || place == Place::Session)
        };
        self.proved.iter().any(about)
    }

    /// A closing step has nothing to do where nothing in its place was ever started.
    fn nothing_to_undo(&self, slot: &Slot) -> Option<String> {
        let started = |other: &Slot| {
            other.part == Part::Main
                && other.place == slot.place
                && !matches!(other.status, Status::Pending | Status::Skipped)
        };
        (!self.slots.iter().any(started)).then(|| "nothing was started".to_owned())
    }

    fn start(&mut self, step: StepIndex, event: &Event) -> Result<(), IllegalEvent> {
        self.expect_first_pending(step, event)?;
        if let Some(reason) = self.obstacle(step) {
            return Err(self.illegal(event, &format!(": {reason}")));
        }
        self.slots[step].status = Status::Running;
        Ok(())
    }

    fn skip(&mut self, step: StepIndex, event: &Event) -> Result<(), IllegalEvent> {
        self.expect_first_pending(step, event)?;
        self.slots[step].status = Status::Skipped;
        Ok(())
    }

    fn succeed(
        &mut self,
        step: StepIndex,
        outcome: &Outcome,
        event: &Event,
    ) -> Result<(), IllegalEvent> {
        self.expect_running(step, event)?;
        match outcome {
            Outcome::Judged { judgements } => {
                self.verdicts = judgements.iter().map(|judgement| judgement.verdict).collect();
                self.verdicts.sort();
            }
            Outcome::Looked { decided: true, judgement, .. } => {
                self.decided = Some(judgement.verdict);
            }
            Outcome::GpuHealthy { .. }
            | Outcome::Launched { .. }
            | Outcome::ServerVerified { .. }
            | Outcome::Prepared { .. }
            | Outcome::Measured { .. }
            | Outcome::Saved { .. }
            | Outcome::Stopped
            | Outcome::Compared { .. }
            | Outcome::Looked { decided: false, .. }
            | Outcome::Reported { .. } => {}
        }
        let slot = &mut self.slots[step];
        slot.status = Status::Done;
        let place = slot.place;
        self.proved.extend(slot.proves.map(|fact| (fact, place)));
        Ok(())
    }

    fn fail(
        &mut self,
        step: StepIndex,
        class: FailureClass,
        event: &Event,
    ) -> Result<(), IllegalEvent> {
        self.expect_running(step, event)?;
        self.slots[step].status = Status::Failed(class);
        // A server that failed once is not believed again: later runs need a new proof.
        if class == FailureClass::Server {
            self.proved.retain(|(fact, _)| *fact != FactName::ServerVerified);
        }
        self.left_behind |= class == FailureClass::LeftBehind;
        Ok(())
    }

    fn forget_server(&mut self) {
        self.server = None;
        let about_server = [FactName::ServerStarted, FactName::ServerVerified];
        self.proved.retain(|(fact, _)| !about_server.contains(fact));
    }

    /// What an earlier process proved is only a claim. Whatever a finished result rests on stays
    /// done; everything that has to be earned again is pending again.
    fn rewind(&mut self, event: &Event) -> Result<(), IllegalEvent> {
        let left_behind = self.exit == Some(Exit::LeftBehind.code());
        if self.phase == Phase::Closed && !left_behind {
            return Err(self.illegal(event, ": the session is finished"));
        }
        let stopped = Some(StopRequest::Insisted) <= self.stop;
        self.stop = None;
        self.exit = None;
        self.proved.retain(|(fact, _)| *fact == FactName::Measured);
        self.interrupted = self.running();
        for slot in &mut self.slots {
            let again = match slot.status {
                Status::Running => true,
                // Skipped because the session was to stop, which it is not any more.
                Status::Skipped => stopped,
                Status::Pending | Status::Done | Status::Failed(_) => false,
            };
            if again {
                slot.status = Status::Pending;
            }
        }
        // Of an experiment that is decided nothing is redone.
        if self.decided.is_some() {
            return Ok(());
        }
        // A run is redone whole, and with it everything that proves its server.
        let open = self.slots.iter().filter(|slot| slot.part == Part::Main && !slot.status.ended());
        let open: BTreeSet<Place> = open.map(|slot| slot.place).collect();
        let redone = |slot: &Slot| {
            let proves_open = open.iter().any(|place| slot.place.contains(*place));
            slot.part == Part::Main && slot.status == Status::Done && proves_open
        };
        for slot in self.slots.iter_mut().filter(|slot| redone(slot)) {
            slot.status = Status::Pending;
        }
        Ok(())
    }

    fn expect_first_pending(&self, step: StepIndex, event: &Event) -> Result<(), IllegalEvent> {
        let first = self.slots.iter().position(|slot| slot.status == Status::Pending);
        if first == Some(step) {
            return Ok(());
        }
        Err(self.illegal(event, &format!(": step {step} is not the next one")))
    }

    fn expect_running(&self, step: StepIndex, event: &Event) -> Result<(), IllegalEvent> {
        if self.running() == Some(step) {
            return Ok(());
        }
        Err(self.illegal(event, &format!(": step {step} is not running")))
    }

    fn illegal(&self, event: &Event, detail: &str) -> IllegalEvent {
        IllegalEvent {
            phase: self.phase,
            event: event.kind().to_string(),
            detail: detail.to_owned(),
        }
    }
}

/// The places that a step at a place is about.
fn about(plan: &Plan, at: Place) -> Vec<Place> {
    match at {
        Place::Session | Place::Target { .. } | Place::Run { .. } => vec![at],
        Place::Pair { pair } => {
            let place =
                |(run, planned): (usize, &PlannedRun)| Place::Run { target: planned.target, run };
            plan.pair(pair).map(place).collect()
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
