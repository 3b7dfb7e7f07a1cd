//! From skills without faults to the steps of a session, in order.

use domain::framework::{Backend, Framework};
use domain::profile::Profile;
use domain::target::Target;

use crate::graph::Graph;
use crate::plan::{Need, Phase, Place, Plan, PlannedRun, PlannedSkill, PlannedStep};
use crate::resolve::Request;
use crate::skill::{Scope, Skill, SkillId};
use crate::step::{FactName, Step};
use crate::template;

/// A placeholder in an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnnounceField {
    Framework,
    Model,
    Device,
    Profile,
    Parameters,
    Repeat,
}

impl AnnounceField {
    const TARGET: [Self; 3] = [Self::Framework, Self::Model, Self::Device];
    const RUN: [Self; 3] = [Self::Profile, Self::Parameters, Self::Repeat];

    /// Those that have a value in a skill of this scope.
    pub(crate) fn in_scope(scope: Scope) -> impl Iterator<Item = Self> + Clone {
        let of_target = if scope == Scope::Session { &[][..] } else { &Self::TARGET[..] };
        let of_run = if scope == Scope::Run { &Self::RUN[..] } else { &[][..] };
        of_target.iter().chain(of_run).copied()
    }

    /// The name between the braces.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Framework => "framework",
            Self::Model => "model",
            Self::Device => "device",
            Self::Profile => "profile",
            Self::Parameters => "parameters",
            Self::Repeat => "repeat",
        }
    }

    fn value(self, target: &Target, run: Option<&PlannedRun>) -> Option<String> {
        match self {
            Self::Framework => Some(target.framework.title().to_owned()),
            Self::Model => {
                let name = target.model.as_deref().or(target.served_model_name.as_deref());
                Some(name.unwrap_or("its default model").to_owned())
            }
            Self::Device => Some(target.device.to_string()),
            Self::Profile => run.map(|run| run.profile.name.clone()),
            Self::Parameters => run.map(parameters),
            Self::Repeat => run.map(|run| run.repeat.to_string()),
        }
    }
}

/// The load of a run, in a few words.
fn parameters(run: &PlannedRun) -> String {
    let Profile {
        name: _,
        dataset_name,
        dataset_path: _,
        num_prompts,
        random_input_len,
        random_output_len,
        random_range_ratio,
        request_rate,
        arrivals,
        max_concurrency,
        warmup_requests,
        seed: _,
        ignore_eos,
    } = &run.profile;
    let rate = match request_rate.per_second() {
        Some(rate) => format!("{rate} requests/s ({arrivals})"),
        None => "all at once".to_owned(),
    };
    let limit = max_concurrency.map(|most| format!(", at most {most} in flight"));
    let warm_up = (0 < *warmup_requests).then(|| format!(", {warmup_requests} to warm up"));
    let eos = (!ignore_eos).then(|| ", answers may end early".to_owned());
    let extras = [limit, warm_up, eos].into_iter().flatten().collect::<String>();
    format!(
        "{num_prompts} prompts of {dataset_name}, {random_input_len} in and {random_output_len} out, \
         range ratio {random_range_ratio}, {rate}{extras}, seed {}",
        run.seed
    )
}

/// Makes the plan. Everything was checked before: this cannot fail.
pub(crate) fn plan(request: &Request, graph: &Graph<'_>, profiles: &[Profile]) -> Plan {
    let session = graph.in_order(Scope::Session);
    let per_target = graph.in_order(Scope::Target);
    let per_run = graph.in_order(Scope::Run);
    let runs = runs(request, profiles, &per_run);
    let all = || session.iter().chain(&per_target).chain(&per_run).copied();

    let mut expansion = Expansion::new(&request.targets, &runs);
    expansion.main(&session, Place::Session);
    for target in 0..request.targets.len() {
        expansion.main(&per_target, Place::Target { target });
        for (run, _) in runs.iter().enumerate().filter(|(_, run)| run.target == target) {
            let place = Place::Run { target, run };
            expansion.main(&per_run, place);
            expansion.finally(&per_run, place);
        }
        expansion.finally(&per_target, Place::Target { target });
    }
    for skill in all() {
        expansion.add(skill, &skill.conclude, Place::Session, Phase::Conclude);
    }
    expansion.finally(&session, Place::Session);

    let steps = expansion.steps;
    let skills = all().map(described).collect();
    Plan { engine: request.engine, targets: request.targets.clone(), runs, skills, steps }
}

fn described(skill: &Skill) -> PlannedSkill {
    PlannedSkill {
        id: skill.id.clone(),
        description: skill.description.clone(),
        scope: skill.scope,
        requires: skill.requires.clone(),
        principles: skill.principles.clone(),
    }
}

/// Every run: target by target, profile by profile, repeat by repeat.
fn runs(request: &Request, profiles: &[Profile], per_run: &[&Skill]) -> Vec<PlannedRun> {
    let mut runs = Vec::new();
    for (target, wanted) in request.targets.iter().enumerate() {
        let backend = backend(per_run, wanted.framework);
        for profile in profiles {
            for (repeat, seed) in (1..=request.runs).zip(profile.seed..=u32::MAX) {
                runs.push(PlannedRun { target, profile: profile.clone(), repeat, seed, backend });
            }
        }
    }
    runs
}

fn backend(per_run: &[&Skill], framework: Framework) -> Option<Backend> {
    per_run.iter().flat_map(|skill| &skill.steps).find_map(|step| match step {
        Step::Measure(measure) => measure.backends.get(&framework).copied(),
        Step::CheckGpu(_)
        | Step::Launch(_)
        | Step::Verify(_)
        | Step::Stop(_)
        | Step::BeforeRun(_)
        | Step::AfterRun(_)
        | Step::Compare(_)
        | Step::Judge(_)
        | Step::WriteReports(_) => None,
    })
}

/// The steps so far, and what they are made for.
struct Expansion<'a> {
    targets: &'a [Target],
    runs: &'a [PlannedRun],
    /// A name for each target, unique in the plan.
    labels: Vec<String>,
    steps: Vec<PlannedStep>,
}

impl<'a> Expansion<'a> {
    fn new(targets: &'a [Target], runs: &'a [PlannedRun]) -> Self {
        Self { targets, runs, labels: labels(targets), steps: Vec::new() }
    }

    fn main(&mut self, skills: &[&Skill], at: Place) {
        for skill in skills {
            self.add(skill, &skill.steps, at, Phase::Main);
        }
    }

    /// Skills are cleaned up in the reverse of the order in which they were done.
    fn finally(&mut self, skills: &[&Skill], at: Place) {
        for skill in skills.iter().rev() {
            self.add(skill, &skill.finally, at, Phase::Finally);
        }
    }

    fn add(&mut self, skill: &Skill, steps: &[Step], at: Place, phase: Phase) {
        for (position, step) in steps.iter().enumerate() {
            let of_skill =
                skill.announce.as_deref().filter(|_| position == 0 && phase == Phase::Main);
            let said: Vec<_> = of_skill
                .into_iter()
                .chain(step.announce())
                .filter_map(|template| self.announcement(template, skill.scope, at))
                .collect();
            let planned = PlannedStep {
                index: self.steps.len(),
                name: format!("{}/{}", self.label(at), step.kind()),
                skill: skill.id.clone(),
                step: step.clone(),
                at,
                phase,
                needs: self.needs(step, at, phase),
                after: self.after(skill, position, at, phase),
                announce: (!said.is_empty()).then(|| said.join(" ")),
            };
            self.steps.push(planned);
        }
    }

    /// The steps that prove each fact needed.
    fn needs(&self, step: &Step, at: Place, phase: Phase) -> Vec<Need> {
        let provers = |fact| {
            let proves = |other: &&PlannedStep| other.step.proves() == Some(fact);
            let mut provers = self.steps.iter().rev().filter(proves);
            let found: Vec<_> = match phase {
                Phase::Main | Phase::Finally => {
                    provers.find(|other| other.at.contains(at)).into_iter().collect()
                }
                Phase::Conclude => provers.collect(),
            };
            found.into_iter().rev().map(|other| other.index).collect()
        };
        let need = |fact: &FactName| Need { fact: *fact, proved_by: provers(*fact) };
        step.requires().iter().map(need).collect()
    }

    fn after(&self, skill: &Skill, position: usize, at: Place, phase: Phase) -> Vec<usize> {
        if phase != Phase::Main {
            return Vec::new();
        }
        if 0 < position {
            return vec![self.steps.len() - 1];
        }
        skill.requires.iter().filter_map(|id| self.last_of(id, at)).collect()
    }

    /// The last step of a required skill, at this place or around it.
    fn last_of(&self, id: &SkillId, at: Place) -> Option<usize> {
        let belongs = |step: &&PlannedStep| {
            step.skill == *id && step.phase == Phase::Main && step.at.contains(at)
        };
        self.steps.iter().rev().find(belongs).map(|step| step.index)
    }

    fn announcement(&self, template: &str, scope: Scope, at: Place) -> Option<String> {
        let target = at.target().and_then(|index| self.targets.get(index));
        let run = at.run().and_then(|index| self.runs.get(index));
        let value = |name: &str| {
            let field = AnnounceField::in_scope(scope).find(|field| field.as_str() == name)?;
            field.value(target?, run)
        };
        // Its placeholders were checked; were one unknown all the same, nothing is announced.
        template::fill(template, value).ok()
    }

    fn label(&self, at: Place) -> String {
        let target = at.target().and_then(|index| self.labels.get(index));
        let run = at.run().and_then(|index| self.runs.get(index));
        match (target, run) {
            (None, _) => "session".to_owned(),
            (Some(target), None) => target.clone(),
            (Some(target), Some(run)) => {
                format!("{target}/{}#{}", run.profile.name, run.repeat)
            }
        }
    }
}

/// The framework's name, with a number where several targets have the same framework.
fn labels(targets: &[Target]) -> Vec<String> {
    let same = |framework, of: &[Target]| of.iter().filter(|t| t.framework == framework).count();
    let label = |(index, target): (usize, &Target)| {
        let framework = target.framework;
        match same(framework, targets) {
            1 => framework.to_string(),
            _ => format!("{framework}-{}", same(framework, &targets[..=index])),
        }
    };
    targets.iter().enumerate().map(label).collect()
}
