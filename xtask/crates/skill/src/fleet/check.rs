//! What must hold of a plan beyond its types.

use std::collections::BTreeSet;

use domain::fleet::{MOST_CELLS, MOST_JOBS};
use domain::framework::Framework;
use domain::units::Span;

use super::{FleetPlan, Selector};
use crate::check::names_a_file;
use crate::document::Segment;
use crate::reporter::{Reporter, below, item, item_of, key};
use crate::suggest;

/// Version of the format.
const VERSION: u32 = 1;

/// Longest text of a plan, in characters: a path or an argument.
const LONGEST_TEXT: usize = 500;

/// Most repeats of a profile in one job, as for `bench`.
const MOST_RUNS: u32 = 100;

/// Longest that a job on a runner of one's own may take; beyond it GitHub ends it.
const LONGEST_JOB: Span = Span(std::time::Duration::from_secs(5 * 24 * 3600));

type To<'r, 'a> = &'r mut Reporter<'a, FleetPlan>;

/// Checks a plan.
pub(super) fn plan(plan: &FleetPlan, profiles: &[&str], to: To<'_, '_>) {
    if plan.version != VERSION {
        let message = format!("version {} is not known", plan.version);
        to.report(&key("version"), message, Some(format!("write `version: {VERSION}`")));
    }
    if !(1..=MOST_RUNS).contains(&plan.runs) {
        let message = format!("`runs` is {}; it lies between 1 and {MOST_RUNS}", plan.runs);
        to.report(&key("runs"), message, None);
    }
    timeout(plan.timeout, &key("timeout"), to);
    texts(&plan.bench_args, &key("bench_args"), to);
    frameworks(plan, to);
    models(plan, to);
    self::profiles(plan, profiles, to);
    runners(plan, to);
    size(plan, to);
    let selectors = plan.exclude.iter().enumerate();
    for (index, selector) in selectors {
        self::selector(plan, selector, &item("exclude", index), to);
    }
    if let Some(canary) = &plan.canary {
        selector(plan, canary, &key("canary"), to);
    }
    selection(plan, to);
}

/// A list with entries whose names are unique and can be part of an id.
fn names<'n>(list: &str, names: impl Iterator<Item = &'n String>, to: To<'_, '_>) {
    let mut seen = BTreeSet::new();
    for (index, name) in names.enumerate() {
        let path = below(&item(list, index), "name");
        if !names_a_file(name) {
            let hint = "write letters, digits, `-`, `_` and `.`, a letter or digit first; what it \
                        stands for has a key of its own";
            let message = format!("`{name}` cannot be a name in a plan");
            to.report(&path, message, Some(hint.to_owned()));
        }
        if !seen.insert(name) {
            let message = format!("`{name}` stands in `{list}` twice");
            let hint = "give one of them another `name`".to_owned();
            to.report(&path, message, Some(hint));
        }
    }
    if seen.is_empty() {
        to.report(&key(list), format!("`{list}` is empty"), None);
    }
}

fn frameworks(plan: &FleetPlan, to: To<'_, '_>) {
    names("frameworks", plan.frameworks.iter().map(|entry| &entry.name), to);
    for (index, entry) in plan.frameworks.iter().enumerate() {
        let path = item("frameworks", index);
        let framework = entry.framework.or_else(|| entry.name.parse().ok());
        if framework.is_none() {
            let known = Framework::ALL.iter().map(|known| known.as_str());
            let message = format!("`{}` is no framework, and none is named", entry.name);
            let hint = suggest::hint(&entry.name, known);
            to.report(&below(&path, "name"), message, hint);
        }
        if framework == Some(Framework::Openai) && entry.url.is_none() {
            let message = "framework `openai` cannot be started, only attached to".to_owned();
            let hint = Some("give the address of a running server with `url`".to_owned());
            to.report(&path, message, hint);
        }
        let single = [("executable", &entry.executable), ("url", &entry.url)];
        for (name, text) in single {
            self::text(text.as_ref(), &below(&path, name), to);
        }
        texts(&entry.server_args, &below(&path, "server_args"), to);
        texts(&entry.bench_args, &below(&path, "bench_args"), to);
        cost(entry.cost, &path, to);
    }
}

fn models(plan: &FleetPlan, to: To<'_, '_>) {
    names("models", plan.models.iter().map(|entry| &entry.name), to);
    let known: Vec<&str> = plan.frameworks.iter().map(|entry| entry.name.as_str()).collect();
    for (index, entry) in plan.models.iter().enumerate() {
        let path = item("models", index);
        known_names("framework", &entry.frameworks, &known, &below(&path, "frameworks"), to);
        let single = [("model", &entry.model), ("tokenizer", &entry.tokenizer)];
        for (name, text) in single {
            self::text(text.as_ref(), &below(&path, name), to);
        }
        texts(&entry.bench_args, &below(&path, "bench_args"), to);
        cost(entry.cost, &path, to);
    }
}

fn profiles(plan: &FleetPlan, known: &[&str], to: To<'_, '_>) {
    names("profiles", plan.profiles.iter().map(|entry| &entry.name), to);
    for (index, entry) in plan.profiles.iter().enumerate() {
        let path = item("profiles", index);
        if !known.contains(&entry.name.as_str()) {
            let hint = suggest::hint(&entry.name, known.iter().copied());
            let message = format!("no skill has a profile `{}`", entry.name);
            to.report(&below(&path, "name"), message, hint);
        }
        if let Some(span) = entry.timeout {
            timeout(span, &below(&path, "timeout"), to);
        }
        texts(&entry.bench_args, &below(&path, "bench_args"), to);
        cost(entry.cost, &path, to);
    }
}

fn runners(plan: &FleetPlan, to: To<'_, '_>) {
    names("runners", plan.runners.iter().map(|entry| &entry.name), to);
    for (index, entry) in plan.runners.iter().enumerate() {
        let path = item("runners", index);
        texts(&entry.labels, &below(&path, "labels"), to);
        texts(&entry.bench_args, &below(&path, "bench_args"), to);
        text(entry.gpu.as_ref(), &below(&path, "gpu"), to);
        cost(entry.cost, &path, to);
    }
}

fn cost(cost: f64, path: &[Segment], to: To<'_, '_>) {
    if !(0.0 < cost && cost.is_finite()) {
        to.report(&below(path, "cost"), format!("`cost` is {cost}; it is above 0"), None);
    }
}

fn timeout(span: Span, path: &[Segment], to: To<'_, '_>) {
    if span.0.is_zero() || LONGEST_JOB.0 < span.0 {
        let message = format!("`timeout` is {span}; it lies above 0s and below {LONGEST_JOB}");
        to.report(path, message, None);
    }
}

fn texts(texts: &[String], path: &[Segment], to: To<'_, '_>) {
    for (index, text) in texts.iter().enumerate() {
        self::text(Some(text), &item_of(path, index), to);
    }
}

/// A text that becomes one argument or label: not empty, on one line, of bounded length.
fn text(text: Option<&String>, path: &[Segment], to: To<'_, '_>) {
    let Some(text) = text else { return };
    let fault = if text.trim().is_empty() {
        "a text here is empty".to_owned()
    } else if text.contains(char::is_control) {
        "a text here has a line break or another control character".to_owned()
    } else if LONGEST_TEXT < text.chars().count() {
        format!("a text here has more than {LONGEST_TEXT} characters")
    } else {
        return;
    };
    to.report(path, fault, None);
}

fn selector(plan: &FleetPlan, selector: &Selector, path: &[Segment], to: To<'_, '_>) {
    if *selector == Selector::default() {
        let hint = "name a `framework`, `model`, `profile` or `runner`".to_owned();
        to.report(path, "this selects every cell".to_owned(), Some(hint));
    }
    let known = [
        plan.frameworks.iter().map(|entry| entry.name.as_str()).collect::<Vec<_>>(),
        plan.models.iter().map(|entry| entry.name.as_str()).collect(),
        plan.profiles.iter().map(|entry| entry.name.as_str()).collect(),
        plan.runners.iter().map(|entry| entry.name.as_str()).collect(),
    ];
    for ((what, names), known) in selector.parts().into_iter().zip(known) {
        known_names(what, names, &known, &below(path, what), to);
    }
}

fn known_names(what: &str, names: &[String], known: &[&str], path: &[Segment], to: To<'_, '_>) {
    for name in names.iter().filter(|name| !known.contains(&name.as_str())) {
        let hint = suggest::hint(name, known.iter().copied());
        to.report(path, format!("the plan has no {what} `{name}`"), hint);
    }
}

/// No more cells than matrices hold, before any is made.
fn size(plan: &FleetPlan, to: To<'_, '_>) {
    if MOST_CELLS < product(plan) {
        let message = format!(
            "{} frameworks, {} models, {} profiles and {} runners are more than {MOST_CELLS} cells",
            plan.frameworks.len(),
            plan.models.len(),
            plan.profiles.len(),
            plan.runners.len(),
        );
        let hint = format!("a matrix has {MOST_JOBS} jobs, and so has each of its matrices");
        to.report(&[], message, Some(hint));
    }
}

fn product(plan: &FleetPlan) -> usize {
    let sizes = [plan.models.len(), plan.profiles.len(), plan.runners.len()];
    sizes.into_iter().fold(plan.frameworks.len(), usize::saturating_mul)
}

/// What the selectors leave: an exclude that excludes nothing is a slip, and so is a plan or a
/// canary without a cell.
fn selection(plan: &FleetPlan, to: To<'_, '_>) {
    if MOST_CELLS < product(plan) {
        return;
    }
    let all = FleetPlan { exclude: Vec::new(), ..plan.clone() };
    let all = all.combinations();
    for (index, selector) in plan.exclude.iter().enumerate() {
        if !all.iter().any(|parts| selector.selects(*parts)) {
            let message = "this excludes no cell".to_owned();
            to.report(&item("exclude", index), message, Some("leave it out".to_owned()));
        }
    }
    let kept = plan.combinations();
    if kept.is_empty() && !all.is_empty() {
        to.report(&key("exclude"), "no cell is left".to_owned(), None);
    }
    let canary = plan.canary.as_ref().filter(|_| !kept.is_empty());
    if canary.is_some_and(|canary| !kept.iter().any(|parts| canary.selects(*parts))) {
        to.report(&key("canary"), "no cell is selected".to_owned(), None);
    }
}
