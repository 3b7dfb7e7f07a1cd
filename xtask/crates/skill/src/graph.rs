//! What must hold between skills: who requires whom, and which step proves what another needs.

use std::collections::{BTreeMap, BTreeSet};

use crate::decode::Decoded;
use crate::fault::Fault;
use crate::reporter::{Reporter, item, key};
use crate::scope::Scope;
use crate::skill::{Skill, SkillId};
use crate::step::{FactName, List, Step};
use crate::suggest;

/// A skill file as far as it could be read.
pub(crate) struct Read<'a> {
    /// Path of the file, as it is shown.
    pub file: &'a str,
    /// The skill, if anything of it could be read.
    pub decoded: Option<Decoded>,
}

/// The skills that were read, by id; the first file of an id counts.
pub(crate) struct Graph<'a> {
    /// Ids in the order of the files.
    order: Vec<&'a SkillId>,
    by_id: BTreeMap<&'a SkillId, (&'a str, &'a Decoded)>,
    /// A file could not be read so far that its id is known, so that no id is surely unknown.
    has_unread: bool,
}

impl<'a> Graph<'a> {
    /// The graph of the skills, with the faults between them.
    pub(crate) fn new(reads: &'a [Read<'a>], faults: &mut Vec<Fault>) -> Self {
        let mut by_id: BTreeMap<_, (&str, &Decoded)> = BTreeMap::new();
        let (mut order, mut has_unread) = (Vec::new(), false);
        for Read { file, decoded } in reads {
            match decoded {
                Some(decoded) if decoded.is_sound(&key("id")) => {
                    let id = &decoded.content.id;
                    if let Some((other, _)) = by_id.get(id) {
                        let message = format!("skill `{id}` stands in `{other}` already");
                        let hint = Some("give one of them another `id`".to_owned());
                        Reporter::new(file, decoded, faults).report(&key("id"), message, hint);
                    } else {
                        by_id.insert(id, (file, decoded));
                        order.push(id);
                    }
                }
                Some(_) | None => has_unread = true,
            }
        }
        let graph = Self { order, by_id, has_unread };
        graph.requirements(faults);
        graph.circles(faults);
        graph.prerequisites(faults);
        graph
    }

    fn requirements(&self, faults: &mut Vec<Fault>) {
        for (id, (file, decoded)) in &self.by_id {
            let skill = &decoded.content;
            let mut to = Reporter::new(file, decoded, faults);
            for (index, required) in skill.requires.iter().enumerate() {
                let path = item("requires", index);
                match self.by_id.get(required) {
                    None if self.has_unread => {}
                    None => {
                        let others = self.by_id.keys().filter(|other| *other != id);
                        let hint = suggest::hint(required.as_str(), others.map(|id| id.as_str()));
                        to.report(&path, format!("there is no skill `{required}`"), hint);
                    }
                    Some((_, other)) if skill.scope < other.content.scope => {
                        let both_sound =
                            decoded.is_sound(&key("scope")) && other.is_sound(&key("scope"));
                        let message = format!(
                            "skill `{required}` has scope `{}`, which is narrower than `{}`",
                            other.content.scope, skill.scope
                        );
                        if both_sound {
                            let hint = "a skill can require only what is done as seldom as itself";
                            to.report(&path, message, Some(hint.to_owned()));
                        }
                    }
                    Some(_) => {}
                }
            }
        }
    }

    /// Each circle of skills that require each other, told once, at its first skill by name.
    fn circles(&self, faults: &mut Vec<Fault>) {
        for (id, (file, decoded)) in &self.by_id {
            let Some(circle) = self.circle_through(id) else { continue };
            if circle.iter().any(|other| other < id) {
                continue;
            }
            let next = circle.get(1).copied().unwrap_or(*id);
            let at = decoded.content.requires.iter().position(|required| required == next);
            let way: Vec<_> = circle.iter().chain([id]).map(|id| format!("`{id}`")).collect();
            let message = format!("skills require each other in a circle: {}", way.join(" → "));
            let path = at.map_or_else(|| key("requires"), |index| item("requires", index));
            let mut to = Reporter::new(file, decoded, faults);
            to.report(&path, message, Some("take one of them out of `requires`".to_owned()));
        }
    }

    /// The shortest way from a skill over what it requires back to itself.
    fn circle_through(&self, id: &'a SkillId) -> Option<Vec<&'a SkillId>> {
        let mut ways = std::collections::VecDeque::from([vec![id]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            let (_, decoded) = way.last().and_then(|last| self.by_id.get(last))?;
            for required in &decoded.content.requires {
                if required == id {
                    return Some(way);
                }
                if self.by_id.contains_key(required) && seen.insert(required) {
                    ways.push_back(way.iter().copied().chain([required]).collect());
                }
            }
        }
        None
    }

    /// Everything that a skill requires, directly or not; none when some of it is not known.
    fn closure(&self, skill: &'a Skill) -> Option<BTreeSet<&'a SkillId>> {
        let mut all = BTreeSet::new();
        let mut rest: Vec<_> = skill.requires.iter().collect();
        while let Some(id) = rest.pop() {
            let (_, decoded) = self.by_id.get(id)?;
            if all.insert(id) {
                rest.extend(&decoded.content.requires);
            }
        }
        Some(all)
    }

    /// Every fact that a step needs is proved by an earlier step of its skill or of a required one.
    fn prerequisites(&self, faults: &mut Vec<Fault>) {
        for (file, decoded) in self.by_id.values() {
            let skill = &decoded.content;
            let Some(required) = self.closure(skill) else { continue };
            let required: Vec<_> = required
                .iter()
                .filter_map(|id| self.by_id.get(id))
                .map(|(_, other)| *other)
                .collect();
            let all_known = decoded.has_all_steps()
                && decoded.is_complete("requires")
                && required.iter().all(|other| other.has_all_steps());
            if !all_known {
                continue;
            }
            let theirs: BTreeSet<FactName> = required
                .iter()
                .flat_map(|other| &other.content.steps)
                .filter_map(Step::proves)
                .collect();
            let mut proved = theirs;
            for list in List::ALL {
                let mut to = Reporter::new(file, decoded, faults);
                for (index, step) in skill.listed(list).iter().enumerate() {
                    let unproved = |fact: &&FactName| !proved.contains(*fact);
                    let is_home =
                        step.home().list == list && step.home().scopes.contains(&skill.scope);
                    for fact in step.requires().iter().filter(unproved).filter(|_| is_home) {
                        let message = format!(
                            "step `{}` needs `{fact}`, which no earlier step proves",
                            step.kind()
                        );
                        to.report(
                            &item(list.key(), index),
                            message,
                            Some(self.prover(skill, *fact)),
                        );
                    }
                    proved.extend(step.proves());
                }
            }
        }
    }

    /// How a skill gets a fact proved.
    fn prover(&self, skill: &Skill, fact: FactName) -> String {
        let kind = fact.proved_by();
        let has_it = |other: &&Skill| other.steps.iter().any(|step| step.proves() == Some(fact));
        let others = self.by_id.values().map(|(_, decoded)| &decoded.content);
        match others.filter(|other| other.scope <= skill.scope).find(has_it) {
            Some(other) if other.id == skill.id => format!("put `{kind}` before it"),
            Some(other) => format!("`{kind}` proves it: add `{}` to `requires`", other.id),
            None => format!("`{kind}` proves it: put one before it"),
        }
    }

    /// The skills of a scope, each after those that it requires; by name where that is open.
    ///
    /// Only meaningful without faults: a circle would leave its skills out.
    pub(crate) fn in_order(&self, scope: Scope) -> Vec<&'a Skill> {
        let mut rest: Vec<_> = self.by_id.values().map(|(_, decoded)| &decoded.content).collect();
        let mut done: Vec<&Skill> = Vec::new();
        while let Some(next) = rest.iter().position(|skill| {
            skill.requires.iter().all(|id| done.iter().any(|earlier| earlier.id == *id))
        }) {
            done.push(rest.remove(next));
        }
        done.retain(|skill| skill.scope == scope);
        done
    }

    /// Every skill with its file, in the order of the files.
    pub(crate) fn skills(&self) -> impl Iterator<Item = (&'a str, &'a Decoded)> + '_ {
        self.order.iter().filter_map(|id| self.by_id.get(id)).copied()
    }

    /// Whether every file could be read so far that its id is known.
    pub(crate) const fn is_whole(&self) -> bool {
        !self.has_unread
    }
}
