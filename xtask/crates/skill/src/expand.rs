//! From skills without faults to the steps of a session, in order.

use domain::framework::{Backend, Framework};
use domain::profile::{Compat, Dataset, Profile};
use domain::target::Target;

use crate::experiment::{self, Ends, Experiment};
use crate::graph::Graph;
use crate::plan::{Need, Phase, Place, Plan, PlannedRun, PlannedSkill, PlannedStep};
use crate::request::Request;
use crate::scope::Scope;
use crate::skill::{Skill, SkillId};
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
        workload,
    } = &run.profile;
    let rate = match request_rate.per_second() {
        Some(rate) => format!("{rate} requests/s ({arrivals})"),
        None => "all at once".to_owned(),
    };
    let limit = max_concurrency.map(|most| format!(", at most {most} in flight"));
    let warm_up = (0 < *warmup_requests).then(|| format!(", {warmup_requests} to warm up"));
    let eos = (!ignore_eos).then(|| ", answers may end early".to_owned());
    let compat = (workload.compat != Compat::NEWEST)
        .then(|| format!(", as the Python tool {} does", workload.compat));
    let extras = [limit, warm_up, eos, compat].into_iter().flatten().collect::<String>();
    let prompts = match dataset_name {
        Dataset::Random | Dataset::RandomIds => format!(
            "{num_prompts} prompts of {dataset_name}, {random_input_len} in and \
             {random_output_len} out, range ratio {random_range_ratio}"
        ),
        Dataset::Sharegpt | Dataset::Custom => format!("{num_prompts} prompts of {dataset_name}"),
        Dataset::GeneratedSharedPrefix => {
            let gsp = &workload.gsp;
            format!(
                "{} groups of {} prompts of {dataset_name}, {} + {} in and {} out",
                gsp.num_groups,
                gsp.prompts_per_group,
                gsp.system_prompt_len,
                gsp.question_len,
                gsp.output_len
            )
        }
    };
    format!("{prompts}, {rate}{extras}, seed {}", run.seed)
}

/// Makes the plan. Everything was checked before: this cannot fail.
pub(crate) fn plan(request: &Request, graph: &Graph<'_>, profiles: &[Profile]) -> Plan {
    let session = graph.in_order(Scope::Session);
    let per_target = graph.in_order(Scope::Target);
    let per_run = graph.in_order(Scope::Run);
    let (targets, runs) = match &request.experiment {
        None => (request.targets.clone(), runs(request, profiles, &per_run)),
        Some(experiment) => in_turns(request, experiment, profiles, &per_run),
    };
    let all = || session.iter().chain(&per_target).chain(&per_run).copied();

    let mut expansion = Expansion::new(&targets, &runs);
    expansion.main(&session, Place::Session);
    for target in 0..targets.len() {
        expansion.main(&per_target, Place::Target { target });
        for (run, _) in runs.iter().enumerate().filter(|(_, run)| run.target == target) {
            let place = Place::Run { target, run };
            expansion.main(&per_run, place);
            expansion.finally(&per_run, place);
        }
        expansion.finally(&per_target, Place::Target { target });
        if let Some(pair) = completed_pair(request, &runs, target) {
            let looks = |step: &Step| matches!(step, Step::Judge(_));
            all().for_each(|skill| expansion.conclude(skill, Place::Pair { pair }, looks));
        }
    }
    // What compares frameworks would mix the two sides of an experiment, and its last look judges.
    let at_the_end =
        |step: &Step| request.experiment.is_none() || matches!(step, Step::WriteReports(_));
    all().for_each(|skill| expansion.conclude(skill, Place::Session, at_the_end));
    expansion.finally(&session, Place::Session);

    let steps = expansion.steps;
    let skills = all().map(described).collect();
    let (engine, experiment) = (request.engine, request.experiment.clone());
    Plan { engine, experiment, targets, runs, skills, steps }
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
                let profile = profile.clone();
                runs.push(PlannedRun { target, profile, repeat, seed, arm: None, backend });
            }
        }
    }
    runs
}

/// The server starts of an experiment, each a target with one run.
fn in_turns(
    request: &Request,
    experiment: &Experiment,
    profiles: &[Profile],
    per_run: &[&Skill],
) -> (Vec<Target>, Vec<PlannedRun>) {
    // Their numbers were checked: there is nothing to do for any others.
    let ([baseline, candidate], [profile]) = (request.targets.as_slice(), profiles) else {
        return (Vec::new(), Vec::new());
    };
    let starts = experiment.starts([baseline, candidate], profile);
    let runs = starts.iter().enumerate().map(|(target, start)| PlannedRun {
        target,
        profile: profile.clone(),
        repeat: start.arm.pair.max(1),
        seed: start.seed,
        arm: Some(start.arm),
        backend: backend(per_run, start.target.framework),
    });
    let runs = runs.collect();
    (starts.iter().map(|start| start.target.clone()).collect(), runs)
}

/// The pair that is complete after a target's runs, if somebody is to look at it.
fn completed_pair(request: &Request, runs: &[PlannedRun], target: usize) -> Option<u32> {
    let pair_of = |target: usize| Some(runs.get(target)?.arm?.pair);
    let looked_at = request.experiment.as_ref()?.ends == Ends::WhenDecided;
    let pair = pair_of(target).filter(|pair| looked_at && 0 < *pair)?;
    (pair_of(target + 1) != Some(pair)).then_some(pair)
}

fn backend(per_run: &[&Skill], framework: Framework) -> Option<Backend> {
    let mut measures = per_run.iter().flat_map(|skill| &skill.steps).filter_map(Step::as_measure);
    measures.find_map(|measure| measure.backends.get(&framework).copied())
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
        Self { targets, runs, labels: labels(targets, runs), steps: Vec::new() }
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

    /// Those steps of a skill's `conclude` that belong to a place.
    fn conclude(&mut self, skill: &Skill, at: Place, belongs: impl Fn(&Step) -> bool) {
        let steps: Vec<_> = skill.conclude.iter().filter(|step| belongs(step)).cloned().collect();
        self.add(skill, &steps, at, Phase::Conclude);
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
                Phase::Conclude => provers.filter(|other| self.is_about(at, other.at)).collect(),
            };
            found.into_iter().rev().map(|other| other.index).collect()
        };
        let need = |fact: &FactName| Need { fact: *fact, proved_by: provers(*fact) };
        step.requires().iter().map(need).collect()
    }

    /// Whether a concluding step at one place is about what was done at another.
    fn is_about(&self, at: Place, other: Place) -> bool {
        let Place::Pair { pair } = at else { return true };
        let arm = other.run().and_then(|run| self.runs.get(run)?.arm);
        arm.is_some_and(|arm| arm.pair == pair)
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
        if let Place::Pair { pair } = at {
            return format!("pair-{pair}");
        }
        match (target, run) {
            (None, _) => "session".to_owned(),
            (Some(target), None) => target.clone(),
            (Some(target), Some(run)) => {
                format!("{target}/{}#{}", run.profile.name, run.repeat)
            }
        }
    }
}

/// The framework's name, with a number where several targets have the same framework; in an
/// experiment the side and the pair.
fn labels(targets: &[Target], runs: &[PlannedRun]) -> Vec<String> {
    let arms: Option<Vec<_>> = runs.iter().map(|run| run.arm.map(experiment::label)).collect();
    if let Some(arms) = arms.filter(|arms| !arms.is_empty()) {
        return arms;
    }
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
