//! From skill files and what was asked for to a plan, or to every fault at once.

use std::collections::{BTreeMap, BTreeSet};

use domain::framework::Framework;
use domain::profile::{Dataset, LoadOverrides, Profile};

// The module alone: a function here has its name.
use crate::check::{self};
use crate::decode::decode;
use crate::expand;
use crate::experiment::Restart;
use crate::fault::{Fault, Faults};
use crate::graph::{Graph, Read};
use crate::plan::Plan;
use crate::reporter::{Reporter, item, key};
use crate::request::{Request, Source};
use crate::scope::Scope;
use crate::skill::Skill;
use crate::step::Step;
use crate::suggest;

/// Most runs in a plan. A thousand runs of a minute take most of a day; more is a slip of the pen.
pub const MAX_RUNS: usize = 1000;

/// Most prompts of a profile: with their texts they still fit into memory.
const MAX_PROMPTS: u32 = 1_000_000;

/// Most skill files that are read at once; three are usual.
pub const MAX_SKILLS: usize = 100;

/// Makes the plan of a session.
///
/// # Errors
///
/// Every fault of the skill files and of the request, at once.
pub fn resolve(request: &Request) -> Result<Plan, Faults> {
    let mut faults = Vec::new();
    let reads = read(&request.skills, &mut faults);
    let graph = Graph::new(&reads, &mut faults);
    together(&graph, &mut faults);
    paths(request, &mut faults);
    let profiles = chosen_profiles(request, &graph, &mut faults);
    counts(request, &profiles, &mut faults);
    experiment(request, &profiles, &mut faults);
    targets(request, &graph, &mut faults);
    Faults::none_of(faults)?;
    Ok(expand::plan(request, &graph, &profiles))
}

/// Checks skill files without anything being asked of them.
///
/// # Errors
///
/// Every fault of the skill files, at once.
pub fn check(sources: &[Source]) -> Result<(), Faults> {
    skills(sources).map(|_| ())
}

/// The skills of files without faults, in the order of the files, for work outside a plan.
///
/// # Errors
///
/// Every fault of the skill files, at once.
pub fn skills(sources: &[Source]) -> Result<Vec<Skill>, Faults> {
    let mut faults = Vec::new();
    let reads = read(sources, &mut faults);
    let graph = Graph::new(&reads, &mut faults);
    together(&graph, &mut faults);
    Faults::none_of(faults)?;
    Ok(reads.into_iter().filter_map(|read| read.decoded).map(|decoded| decoded.content).collect())
}

/// Reads every file and checks it by itself.
fn read<'a>(sources: &'a [Source], faults: &mut Vec<Fault>) -> Vec<Read<'a>> {
    if sources.is_empty() {
        faults.push(Fault::asked("there is no skill to do"));
    }
    if MAX_SKILLS < sources.len() {
        let message =
            format!("{} skills are too many; at most {MAX_SKILLS} are read", sources.len());
        faults.push(Fault::asked(message));
    }
    let read_one = |source: &'a Source| {
        let (decoded, found) = decode(&source.path, &source.text);
        faults.extend(found);
        if let Some(decoded) = &decoded {
            check::skill(decoded, &mut Reporter::new(&source.path, decoded, faults));
        }
        Read { file: &source.path, decoded }
    };
    sources.iter().take(MAX_SKILLS).map(read_one).collect()
}

/// What must be unique in all skills together.
fn together(graph: &Graph<'_>, faults: &mut Vec<Fault>) {
    check::kinds_across(graph.skills(), faults);
    let mut first: BTreeMap<&str, (&str, usize)> = BTreeMap::new();
    for (file, decoded) in graph.skills() {
        for (index, profile) in decoded.content.profiles.iter().enumerate() {
            let path = [item("profiles", index), key("name")].concat();
            if !decoded.is_sound(&path) {
                continue;
            }
            let (owner, at) = *first.entry(&profile.name).or_insert((file, index));
            if (owner, at) != (file, index) {
                let message = format!("profile `{}` stands in `{owner}` already", profile.name);
                let hint = Some("give one of them another `name`".to_owned());
                Reporter::new(file, decoded, faults).report(&path, message, hint);
            }
        }
    }
}

/// The profiles asked for, with what the command line changes in them.
fn chosen_profiles(request: &Request, graph: &Graph<'_>, faults: &mut Vec<Fault>) -> Vec<Profile> {
    let known: Vec<&Profile> =
        graph.skills().flat_map(|(_, decoded)| &decoded.content.profiles).collect();
    let all_known =
        graph.is_whole() && graph.skills().all(|(_, decoded)| decoded.is_complete("profiles"));
    let names = known.iter().map(|profile| profile.name.as_str());
    let has_runs = graph.skills().any(|(_, decoded)| decoded.content.scope == Scope::Run);
    if request.profiles.is_empty() && has_runs {
        let hint = suggest::hint("", names.clone());
        faults.push(Fault::asked("no load profile is chosen").hinted(hint));
    }
    if !request.profiles.is_empty() && !has_runs && all_known {
        faults.push(Fault::asked("load profiles are chosen, but no skill has scope `run`"));
    }
    let mut seen = BTreeSet::new();
    let mut chosen = Vec::new();
    for name in &request.profiles {
        if !seen.insert(name) {
            let hint = Some("ask for more runs instead, with `--runs`".to_owned());
            faults.push(Fault::asked(format!("profile `{name}` is chosen twice")).hinted(hint));
            continue;
        }
        match known.iter().find(|profile| profile.name == *name) {
            Some(profile) => chosen.push((*profile).clone().with(&request.overrides)),
            None if all_known => {
                let hint = suggest::hint(name, names.clone());
                faults.push(Fault::asked(format!("there is no profile `{name}`")).hinted(hint));
            }
            None => {}
        }
    }
    overrides(&request.overrides, &chosen, faults);
    chosen
}

/// What the command line changes must lie in the same ranges as what a skill says.
fn overrides(overrides: &LoadOverrides, chosen: &[Profile], faults: &mut Vec<Fault>) {
    let given: BTreeSet<&str> = [
        overrides.num_prompts.map(|_| "num_prompts"),
        overrides.random_input_len.map(|_| "random_input_len"),
        overrides.random_output_len.map(|_| "random_output_len"),
        overrides.random_range_ratio.map(|_| "random_range_ratio"),
        overrides.max_concurrency.map(|_| "max_concurrency"),
    ]
    .into_iter()
    .flatten()
    .collect();
    let wrong =
        chosen.iter().flat_map(check::out_of_range).filter(|(field, _)| given.contains(field));
    faults.extend(wrong.map(|(_, message)| Fault::asked(message)));
}

/// The number of runs, and the seeds that they need.
fn counts(request: &Request, profiles: &[Profile], faults: &mut Vec<Fault>) {
    if request.runs == 0 {
        faults.push(Fault::asked("0 runs are asked for; at least 1 is needed"));
        return;
    }
    let sizes = [request.targets.len(), request.profiles.len()];
    let runs = usize::try_from(request.runs)
        .ok()
        .and_then(|runs| sizes.into_iter().try_fold(runs, usize::checked_mul));
    if runs.is_none_or(|runs| MAX_RUNS < runs) {
        let message = format!(
            "{} targets, {} profiles and {} runs of each are more than {MAX_RUNS} runs",
            sizes[0], sizes[1], request.runs
        );
        faults.push(Fault::asked(message));
    }
    data(request, profiles, faults);
    for profile in profiles {
        if MAX_PROMPTS < profile.num_prompts {
            let message = format!(
                "profile `{}` has {} prompts; at most {MAX_PROMPTS} are kept in memory",
                profile.name, profile.num_prompts
            );
            faults.push(Fault::asked(message));
        }
        if profile.seed.checked_add(request.runs - 1).is_none() {
            let message = format!(
                "seed {} leaves no seeds for {} runs; seeds end at {}",
                profile.seed,
                request.runs,
                u32::MAX
            );
            faults.push(Fault::asked(message));
        }
    }
}

/// Data that is asked for and not named, or named and not asked for.
fn data(request: &Request, profiles: &[Profile], faults: &mut Vec<Fault>) {
    let from_file = |profile: &&Profile| profile.dataset_name == Dataset::Random;
    for profile in profiles.iter().filter(from_file).filter(|p| p.dataset_path.is_none()) {
        let name = &profile.name;
        let message = format!(
            "profile `{name}` takes its text from a ShareGPT-format file, and none is named"
        );
        let hint = "give one with `--dataset-path`, or use `--dataset-name random-ids`";
        faults.push(Fault::asked(message).hinted(Some(hint.to_owned())));
    }
    let unread = request.overrides.dataset_path.as_ref();
    if let Some(path) = unread.filter(|_| !profiles.iter().any(|p| from_file(&p))) {
        let message = format!("no profile reads a file, but `{}` is named", path.display());
        let hint = "leave out `--dataset-path`, or use `--dataset-name random`";
        faults.push(Fault::asked(message).hinted(Some(hint.to_owned())));
    }
}

/// An experiment has two sides, one load, and no repeats but its pairs.
fn experiment(request: &Request, profiles: &[Profile], faults: &mut Vec<Fault>) {
    let Some(experiment) = &request.experiment else { return };
    let shape = [request.targets.len(), request.profiles.len()];
    if shape != [2, 1] || request.runs != 1 {
        faults.push(Fault::asked(format!(
            "an experiment has 2 targets, 1 profile and 1 run of each, not {}, {} and {}",
            shape[0], shape[1], request.runs
        )));
    }
    let most = u32::try_from(MAX_RUNS / 2 - 1).unwrap_or(u32::MAX);
    if !(1..=most).contains(&experiment.pairs) {
        let message =
            format!("{} pairs are asked for; from 1 to {most} can be done", experiment.pairs);
        faults.push(Fault::asked(message));
    }
    for profile in profiles.iter().filter(|of| of.seed.checked_add(experiment.pairs).is_none()) {
        let message =
            format!("seed {} leaves no seeds for {} pairs", profile.seed, experiment.pairs);
        faults.push(Fault::asked(message));
    }
    let attached = request.targets.iter().any(|target| target.url.is_some());
    let started = request.targets.iter().any(|target| target.url.is_none());
    let unlike = match experiment.restart {
        Restart::PerRun if attached => "a running server cannot be started anew for every run",
        Restart::Never if started => {
            "servers that run through the whole experiment are not started"
        }
        Restart::PerRun | Restart::Never => return,
    };
    let hint = "with `--restart never` give `--baseline-url` and `--candidate-url`, else neither";
    faults.push(Fault::asked(unlike).hinted(Some(hint.to_owned())));
}

/// The frameworks asked for can be started, or attached to, and loaded.
fn targets(request: &Request, graph: &Graph<'_>, faults: &mut Vec<Fault>) {
    if request.targets.is_empty() {
        faults.push(Fault::asked("no framework is chosen"));
    }
    let cannot_start = request
        .targets
        .iter()
        .any(|target| target.framework == Framework::Openai && target.url.is_none());
    let launches = graph.skills().any(|(_, decoded)| {
        decoded.content.steps.iter().any(|step| matches!(step, Step::Launch(_)))
    });
    if cannot_start && launches {
        let hint = Some("give the address of a running server with `--url`".to_owned());
        let message = "framework `openai` cannot be started, only attached to";
        faults.push(Fault::asked(message).hinted(hint));
    }
    let chosen: BTreeSet<Framework> =
        request.targets.iter().map(|target| target.framework).collect();
    for (file, decoded) in graph.skills() {
        for (index, step) in decoded.content.steps.iter().enumerate() {
            let Step::Measure(measure) = step else { continue };
            let path = [item("steps", index), key(step.kind()), key("backends")].concat();
            for framework in chosen.iter().filter(|one| !measure.backends.contains_key(one)) {
                let message = format!("`backends` says no backend for framework `{framework}`");
                let hint =
                    Some(format!("add `{framework}: openai`, or the backend that it speaks"));
                Reporter::new(file, decoded, faults).report(&path, message, hint);
            }
        }
    }
}

/// Paths are written into journals and results, which are JSON and therefore text.
fn paths(request: &Request, faults: &mut Vec<Fault>) {
    let of_targets =
        request.targets.iter().flat_map(|target| [&target.tokenizer, &target.executable]);
    let all = of_targets.chain([&request.overrides.dataset_path]).flatten();
    for path in all.filter(|path| path.to_str().is_none()) {
        let message =
            format!("path `{}` is not UTF-8, so that it cannot be recorded", path.display());
        faults.push(Fault::asked(message));
    }
}
