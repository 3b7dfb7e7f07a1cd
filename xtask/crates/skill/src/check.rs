//! What must hold of each skill by itself: values in their ranges, steps where they belong,
//! placeholders that can be filled in.

use std::collections::{BTreeMap, BTreeSet};

use domain::profile::Profile;
use domain::units::Span;

use crate::decode::Decoded;
use crate::document::Segment;
use crate::expand::AnnounceField;
use crate::fault::Fault;
use crate::reporter::{Reporter, below, item, item_of, key};
use crate::runner::{Judge, Measure, ReportField};
use crate::scope::Scope;
use crate::skill::Skill;
use crate::step::{List, Step};
use crate::suggest;
use crate::template::{Piece, pieces};

/// Longest profile name, in characters: it becomes part of file names.
const MAX_NAME: usize = 64;

/// Checks one skill by itself.
pub(crate) fn skill(decoded: &Decoded, to: &mut Reporter<'_>) {
    let skill = &decoded.content;
    if skill.description.trim().is_empty() {
        to.report(&key("description"), "`description` is empty".to_owned(), None);
    }
    // Where the scope itself is at fault, nothing is held against its placeholders.
    let scope = if decoded.is_sound(&key("scope")) { skill.scope } else { Scope::Run };
    let announce_fields = AnnounceField::in_scope(scope).map(AnnounceField::as_str);
    if let Some(announce) = &skill.announce {
        template(announce, &key("announce"), &announce_fields, to);
    }
    let has_steps = List::ALL.into_iter().any(|list| !skill.listed(list).is_empty());
    if !has_steps && decoded.has_all_steps() {
        let hint = Some("add `steps:` with a step below it".to_owned());
        to.report(&[], "the skill has no steps".to_owned(), hint);
    }
    requires(skill, to);
    for list in List::ALL {
        placement(decoded, list, to);
        for (index, step) in skill.listed(list).iter().enumerate() {
            let parameters = below(&item(list.key(), index), step.kind());
            if let Some(announce) = step.announce() {
                template(announce, &below(&parameters, "announce"), &announce_fields, to);
            }
            parameters_of(step, &parameters, to);
        }
    }
    if decoded.has_all_steps() {
        started_is_stopped(skill, to);
    }
    for (index, profile) in skill.profiles.iter().enumerate() {
        self::profile(profile, &item("profiles", index), to);
    }
}

fn requires(skill: &Skill, to: &mut Reporter<'_>) {
    let mut seen = BTreeSet::new();
    for (index, required) in skill.requires.iter().enumerate() {
        if !seen.insert(required) {
            let message = format!("skill `{required}` is required twice");
            to.report(&item("requires", index), message, None);
        }
    }
}

/// Each step stands in a list and a scope where it means something, and once.
fn placement(decoded: &Decoded, list: List, to: &mut Reporter<'_>) {
    let skill = &decoded.content;
    let scope_is_known = decoded.is_sound(&key("scope"));
    let mut seen = BTreeSet::new();
    for (index, step) in skill.listed(list).iter().enumerate() {
        let (path, kind, home) = (item(list.key(), index), step.kind(), step.home());
        if home.list != list {
            let message = format!("step `{kind}` cannot stand in `{}`", list.key());
            to.report(&path, message, Some(format!("move it to `{}`", home.list.key())));
        }
        if scope_is_known && !home.scopes.contains(&skill.scope) {
            let scopes: Vec<_> = home.scopes.iter().map(|scope| format!("`{scope}`")).collect();
            let message =
                format!("step `{kind}` cannot stand in a skill of scope `{}`", skill.scope);
            let hint = format!("it belongs to scope {}", scopes.join(" or "));
            to.report(&path, message, Some(hint));
        }
        if !seen.insert(kind) {
            let message = format!("step `{kind}` stands twice in `{}`", list.key());
            to.report(&path, message, Some("keep one of them".to_owned()));
        }
    }
}

/// A server that is started without anything that ends it would outlive the session.
fn started_is_stopped(skill: &Skill, to: &mut Reporter<'_>) {
    let launches = skill.steps.iter().position(|step| matches!(step, Step::Launch(_)));
    let stops = skill.finally.iter().any(|step| matches!(step, Step::Stop(_)));
    if let Some(index) = launches.filter(|_| !stops) {
        let message = "step `launch` starts a server that nothing stops".to_owned();
        let hint = Some("add `finally:` with `- stop:` below it".to_owned());
        to.report(&item(List::Steps.key(), index), message, hint);
    }
}

/// The ranges of a step's parameters, where their types do not say it all.
fn parameters_of(step: &Step, path: &[Segment], to: &mut Reporter<'_>) {
    match step {
        Step::BeforeRun(before) => {
            longer_than_nothing(before.health_within, path, "health_within", to)
        }
        Step::Measure(measure) => self::measure(measure, path, to),
        Step::AfterRun(after) => {
            several(&after.key_metrics, path, "key_metrics", to);
            let report = below(path, "report");
            for (index, line) in after.report.iter().enumerate() {
                let known: Vec<_> = ReportField::all().map(ReportField::as_str).collect();
                template(line, &item_of(&report, index), &known.into_iter(), to);
            }
        }
        Step::Compare(compare) => several(&compare.metrics, path, "metrics", to),
        Step::Judge(judge) => self::judge(judge, path, to),
        Step::WriteReports(reports) => several(&reports.formats, path, "formats", to),
        Step::Verify(verify) => {
            several(&verify.wanted(), path, "rungs", to);
            longer_than_nothing(verify.poll_every, path, "poll_every", to);
            if verify.generation_tokens == 0 {
                let message = "`generation_tokens` is 0; it is at least 1".to_owned();
                to.report(&below(path, "generation_tokens"), message, None);
            }
        }
        Step::CheckGpu(_) | Step::Launch(_) | Step::Stop(_) => {}
    }
}

fn judge(judge: &Judge, path: &[Segment], to: &mut Reporter<'_>) {
    several(&judge.metrics, path, "metrics", to);
    for (key, message) in judge.faults() {
        // An empty list is told as one, above.
        if key != "metrics" {
            to.report(&below(path, key), message, None);
        }
    }
}

fn measure(measure: &Measure, path: &[Segment], to: &mut Reporter<'_>) {
    longer_than_nothing(measure.request_idle, path, "request_idle", to);
    longer_than_nothing(measure.investigate_after, path, "investigate_after", to);
    if measure.deadline <= measure.investigate_after {
        let message = format!(
            "`deadline` is {}, so that no silence of {} is ever investigated",
            measure.deadline, measure.investigate_after
        );
        let hint = Some("make it longer than `investigate_after`".to_owned());
        to.report(&below(path, "deadline"), message, hint);
    }
    if measure.request_idle <= measure.investigate_after {
        let message = format!(
            "`request_idle` is {}, so that requests fail before a silence of {} is investigated",
            measure.request_idle, measure.investigate_after
        );
        let hint = Some("make it longer than `investigate_after`".to_owned());
        to.report(&below(path, "request_idle"), message, hint);
    }
    if measure.runs_for_consistency == 0 {
        let message = "`runs_for_consistency` is 0; it is at least 1".to_owned();
        to.report(&below(path, "runs_for_consistency"), message, None);
    }
    if measure.backends.is_empty() {
        let message = "`backends` is empty, so that no framework can be loaded".to_owned();
        to.report(&below(path, "backends"), message, None);
    }
}

fn longer_than_nothing(span: Span, path: &[Segment], name: &str, to: &mut Reporter<'_>) {
    if span.0.is_zero() {
        to.report(&below(path, name), format!("`{name}` is {span}; it is longer than 0s"), None);
    }
}

/// A list that has at least one item, and each once.
fn several<T: PartialEq>(items: &[T], path: &[Segment], name: &str, to: &mut Reporter<'_>) {
    let path = below(path, name);
    if items.is_empty() {
        to.report(&path, format!("`{name}` is empty"), None);
    }
    for (index, item) in items.iter().enumerate() {
        let same = |first: &usize| items[*first] == *item && to.is_sound(&item_of(&path, *first));
        if (0..index).any(|first| same(&first)) {
            let message = format!("an item of `{name}` stands there twice");
            to.report(&item_of(&path, index), message, Some("keep one of them".to_owned()));
        }
    }
}

/// Every placeholder is known where the text is used.
fn template<'n>(
    text: &str,
    path: &[Segment],
    known: &(impl Iterator<Item = &'n str> + Clone),
    to: &mut Reporter<'_>,
) {
    match pieces(text) {
        Err(error) => to.report(path, error.to_string(), None),
        Ok(pieces) => {
            for piece in pieces {
                let Piece::Field(name) = piece else { continue };
                if !known.clone().any(|field| field == name) {
                    let message = format!("placeholder `{{{name}}}` is not known here");
                    to.report(path, message, suggest::hint(name, known.clone()));
                }
            }
        }
    }
}

fn profile(profile: &Profile, path: &[Segment], to: &mut Reporter<'_>) {
    if !names_a_file(&profile.name) {
        let message = format!("`{}` cannot name a profile", profile.name);
        let hint = format!(
            "write at most {MAX_NAME} letters, digits, `-`, `_` and `.`, a letter or digit first"
        );
        to.report(&below(path, "name"), message, Some(hint));
    }
    for (field, message) in out_of_range(profile) {
        to.report(&below(path, field), message, None);
    }
}

/// Whether a name can be part of a file name on every system.
pub(crate) fn names_a_file(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(allowed)
        && name.len() <= MAX_NAME
}

/// The fields of a profile that are out of their ranges, each with what is wrong.
pub(crate) fn out_of_range(profile: &Profile) -> Vec<(&'static str, String)> {
    let counts = [
        ("num_prompts", Some(profile.num_prompts)),
        ("random_input_len", Some(profile.random_input_len)),
        ("random_output_len", Some(profile.random_output_len)),
        ("max_concurrency", profile.max_concurrency),
    ];
    let zero = counts.into_iter().filter(|(_, count)| *count == Some(0));
    let ratio = profile.random_range_ratio;
    let bad_ratio = (!(0.0..=1.0).contains(&ratio)).then(|| {
        ("random_range_ratio", format!("`random_range_ratio` is {ratio}; it lies between 0 and 1"))
    });
    zero.map(|(field, _)| (field, format!("`{field}` is 0; it is at least 1")))
        .chain(bad_ratio)
        .collect()
}

/// A kind of step stands once in all skills of a scope: its name in the plan is unique, and a
/// second one would only undo or repeat the first.
pub(crate) fn kinds_across<'a>(
    skills: impl Iterator<Item = (&'a str, &'a Decoded)>,
    faults: &mut Vec<Fault>,
) {
    let mut first: BTreeMap<(List, Option<Scope>, &str), &str> = BTreeMap::new();
    for (file, decoded) in skills {
        let skill = &decoded.content;
        for list in List::ALL {
            let scope = (list != List::Conclude).then_some(skill.scope);
            for (index, step) in skill.listed(list).iter().enumerate() {
                let owner = *first.entry((list, scope, step.kind())).or_insert(file);
                if owner != file {
                    let message = format!("step `{}` stands in `{owner}` already", step.kind());
                    let mut to = Reporter::new(file, decoded, faults);
                    to.report(&item(list.key(), index), message, None);
                }
            }
        }
    }
}
