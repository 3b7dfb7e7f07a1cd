//! The plan: every step of a session, in order, each with where it is done and why it may be.

use domain::event::StepIndex;
use domain::framework::{Backend, EngineChoice};
use domain::gate::Arm;
use domain::profile::Profile;
use domain::target::Target;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::experiment::Experiment;
use crate::scope::Scope;
use crate::skill::SkillId;
use crate::step::{FactName, Step};

/// Position of a run in [`Plan::runs`].
pub type RunIndex = usize;

/// Position of a target in [`Plan::targets`].
pub type TargetIndex = usize;

/// Everything that a session does, in order. Only [`crate::resolve()`] makes one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub(crate) engine: EngineChoice,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) experiment: Option<Experiment>,
    pub(crate) targets: Vec<Target>,
    pub(crate) runs: Vec<PlannedRun>,
    pub(crate) skills: Vec<PlannedSkill>,
    pub(crate) steps: Vec<PlannedStep>,
}

/// A skill of the plan, without its steps.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedSkill {
    /// Its name.
    pub id: SkillId,
    /// When to use it, for people.
    pub description: String,
    /// How often its steps are done.
    pub scope: Scope,
    /// Skills whose steps come before its own.
    pub requires: Vec<SkillId>,
    /// Principles that its results rest on.
    pub principles: Vec<String>,
}

/// One execution of one profile against one target.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedRun {
    /// The target.
    pub target: TargetIndex,
    /// The load, with what the command line changed in it. Its seed is the session's.
    pub profile: Profile,
    /// Which repeat of the profile this is, from 1; in an experiment the number of its pair.
    pub repeat: u32,
    /// The seed that this run uses: the profile's for the first repeat, and one more for each
    /// further one, so that a repeat is not answered from a cache of the one before. Both runs of
    /// an experiment's pair have the same.
    pub seed: u32,
    /// Its place in the experiment, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arm: Option<Arm>,
    /// The backend of the load tool for its target; absent when no step sends a load.
    pub backend: Option<Backend>,
}

/// One step of the plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedStep {
    /// Its position in [`Plan::steps`].
    pub index: StepIndex,
    /// Its name, unique in the plan: `sim/launch`, `sim/smoke#1/measure`, `session/compare`.
    pub name: String,
    /// The skill that it belongs to.
    pub skill: SkillId,
    /// What is done.
    pub step: Step,
    /// Where.
    pub at: Place,
    /// When.
    pub phase: Phase,
    /// The facts that must be proved before it may start, each with the step that proves it.
    pub needs: Vec<Need>,
    /// Steps that must have succeeded before it is done: the one before it in its skill, or for
    /// the first one the last of each required skill. Empty for `finally` and `conclude`.
    pub after: Vec<StepIndex>,
    /// What is said before it starts, filled in: for the first step of a skill what the skill
    /// says, then what the step says.
    pub announce: Option<String>,
}

/// A fact that a step needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Need {
    /// The fact.
    pub fact: FactName,
    /// The step that proves it: the last one before, at the same place or around it. For a step
    /// of `conclude` every one in the session, of which one is enough.
    pub proved_by: Vec<StepIndex>,
}

/// Where a step is done. A fact proved at a place holds there and at every place inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Place {
    /// Of the session as a whole.
    Session,
    /// Of one target, before or after its runs.
    Target {
        /// The target.
        target: TargetIndex,
    },
    /// Of one run.
    Run {
        /// The run's target.
        target: TargetIndex,
        /// The run.
        run: RunIndex,
    },
    /// Of the two runs of an experiment's pair together.
    Pair {
        /// The pair, from 1.
        pair: u32,
    },
}

/// When a step is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// In order, if everything that it needs went well.
    Main,
    /// When its place ends, whatever happened, if a step that it cleans up after was started.
    Finally,
    /// At the end of the session or of an experiment's pair, whatever was measured.
    Conclude,
}

impl Place {
    /// The target, unless it is the session as a whole.
    pub const fn target(self) -> Option<TargetIndex> {
        match self {
            Self::Session | Self::Pair { .. } => None,
            Self::Target { target } | Self::Run { target, run: _ } => Some(target),
        }
    }

    /// The run, if it is one.
    pub const fn run(self) -> Option<RunIndex> {
        match self {
            Self::Session | Self::Target { .. } | Self::Pair { .. } => None,
            Self::Run { target: _, run } => Some(run),
        }
    }

    /// Whether `inner` is this place or lies inside it.
    pub fn contains(self, inner: Self) -> bool {
        match self {
            Self::Session => true,
            Self::Target { target } => inner.target() == Some(target),
            Self::Run { .. } | Self::Pair { .. } => inner == self,
        }
    }
}

impl Plan {
    /// Every step, in the order in which they are done.
    pub fn steps(&self) -> &[PlannedStep] {
        &self.steps
    }

    /// The step at a position; none when a journal of another plan is read.
    pub fn step(&self, index: StepIndex) -> Option<&PlannedStep> {
        self.steps.get(index)
    }

    /// Every run, in the order in which they are done.
    pub fn runs(&self) -> &[PlannedRun] {
        &self.runs
    }

    /// The experiment, if two targets are measured in turns.
    pub const fn experiment(&self) -> Option<&Experiment> {
        self.experiment.as_ref()
    }

    /// The runs of an experiment's pair, in the order in which they are done.
    pub fn pair(&self, pair: u32) -> impl Iterator<Item = (RunIndex, &PlannedRun)> {
        let of_pair =
            move |(_, run): &(RunIndex, &PlannedRun)| run.arm.is_some_and(|arm| arm.pair == pair);
        self.runs.iter().enumerate().filter(of_pair)
    }

    /// The frameworks to measure, in order. In an experiment each server start is a target of its
    /// own.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Every skill, each after those that it requires.
    pub fn skills(&self) -> &[PlannedSkill] {
        &self.skills
    }

    /// Who makes the load, as asked for.
    pub const fn engine(&self) -> EngineChoice {
        self.engine
    }

    /// The target of a place, unless it is the session as a whole.
    pub fn target(&self, place: Place) -> Option<&Target> {
        place.target().and_then(|target| self.targets.get(target))
    }

    /// The run of a place, if it is one.
    pub fn run(&self, place: Place) -> Option<&PlannedRun> {
        place.run().and_then(|run| self.runs.get(run))
    }

    /// The steps that clean up after a step: they are done if it was started.
    pub fn finally_of(&self, step: &PlannedStep) -> impl Iterator<Item = &PlannedStep> {
        let (skill, at, phase) = (step.skill.clone(), step.at, step.phase);
        self.steps.iter().filter(move |other| {
            phase == Phase::Main
                && other.phase == Phase::Finally
                && other.skill == skill
                && other.at == at
        })
    }

    /// The steps that a step of `finally` cleans up after.
    pub fn cleans_up_after(&self, step: &PlannedStep) -> impl Iterator<Item = &PlannedStep> {
        let (skill, at, phase) = (step.skill.clone(), step.at, step.phase);
        self.steps.iter().filter(move |other| {
            phase == Phase::Finally
                && other.phase == Phase::Main
                && other.skill == skill
                && other.at == at
        })
    }

    /// SHA-256 of the plan, in hexadecimal: equal digests mean equal plans.
    #[expect(clippy::expect_used, reason = "every key is a text, and resolve saw to the paths")]
    pub fn digest(&self) -> String {
        // Its JSON is canonical: fields in the order of the types, maps sorted by key.
        let canonical = serde_json::to_vec(self).expect("a plan can be written as JSON");
        Sha256::digest(canonical).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
