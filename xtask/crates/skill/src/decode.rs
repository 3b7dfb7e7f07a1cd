//! From the text of a file to a typed value, such as a [`Skill`], with every fault at once.
//!
//! Serde stops at the first fault. So that a reader sees all of them, decoding goes on: the value
//! at fault is replaced by a stand-in that decodes (or renamed to what was meant, or dropped),
//! and the text is decoded again, a bounded number of times. What was replaced is remembered, so
//! that nothing is said later about a value that stands in for another.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use crate::complaint::{self, Complaint, Kind, Reach, described};
use crate::document::{self, Form, Inside, Mark, Node, Path, Segment};
use crate::fault::Fault;
use crate::skill::Skill;
use crate::step::List;
use crate::suggest;

/// Most faults that are mended in one file, to bound the work; a reader mends a few at a time.
const MAX_ROUNDS: usize = 100;

/// How skills are called in faults.
pub(crate) const SKILL: Form =
    Form { noun: "skill", begin: "begin with `version: 1`, `id: …` and `description: …`" };

/// What a file is decoded to.
pub(crate) trait Document: DeserializeOwned {
    /// What such files are called in faults.
    const FORM: Form;
}

impl Document for Skill {
    const FORM: Form = SKILL;
}

/// A file that was read, with the places of its parts.
pub(crate) struct Decoded<T = Skill> {
    /// What stands in it; where a value was at fault, with a stand-in for it.
    pub content: T,
    /// Where everything stands.
    pub tree: Node,
    /// Paths of stand-ins.
    invented: Vec<Path>,
    /// Top-level keys of lists that lost items.
    incomplete: Vec<String>,
}

impl<T> Decoded<T> {
    /// Whether the value at a path is what the file says, not a stand-in.
    pub(crate) fn is_sound(&self, path: &[Segment]) -> bool {
        !self.invented.iter().any(|invented| path.starts_with(invented))
    }

    /// Whether every item of a top-level list is there, so that one may be said to be missing.
    pub(crate) fn is_complete(&self, key: &str) -> bool {
        let of_list = |path: &Path| path.len() <= 2 && names(path.first(), key);
        !self.incomplete.iter().any(|list| list == key) && !self.invented.iter().any(of_list)
    }
}

impl Decoded {
    /// Whether every step is there.
    pub(crate) fn has_all_steps(&self) -> bool {
        List::ALL.into_iter().all(|list| self.is_complete(list.key()))
    }
}

fn names(segment: Option<&Segment>, key: &str) -> bool {
    matches!(segment, Some(Segment::Key(name)) if name == key)
}

/// Reads one file: its content, if anything of it could be read, and every fault.
pub(crate) fn decode<T: Document>(file: &str, text: &str) -> (Option<Decoded<T>>, Vec<Fault>) {
    let shape = document::read(T::FORM, file, text);
    let Some(tree) = shape.tree else { return (None, shape.faults) };
    match serde_yaml::from_str::<Value>(text) {
        Ok(value) => {
            let mut peeler = Peeler::<T>::new(file, value, tree);
            peeler.faults = shape.faults;
            peeler.peel()
        }
        Err(error) => {
            let (line, column) =
                error.location().map_or((1, 1), |found| (found.line(), found.column()));
            let mark = document::inside(text, line, column);
            let fault = document::not_yaml(file, text, mark, &error.to_string());
            (None, [shape.faults, vec![fault]].concat())
        }
    }
}

/// A text that is being decoded, fault by fault.
struct Peeler<'a, T> {
    file: &'a str,
    value: Value,
    tree: Node,
    faults: Vec<Fault>,
    /// Keys that are missing, by the place of the map that lacks them: told in one line.
    missing: BTreeMap<Mark, Vec<String>>,
    invented: Vec<Path>,
    incomplete: Vec<String>,
    to: PhantomData<T>,
}

impl<'a, T: Document> Peeler<'a, T> {
    fn new(file: &'a str, value: Value, tree: Node) -> Self {
        let (faults, missing) = (Vec::new(), BTreeMap::new());
        let (invented, incomplete) = (Vec::new(), Vec::new());
        Self { file, value, tree, faults, missing, invented, incomplete, to: PhantomData }
    }

    fn peel(mut self) -> (Option<Decoded<T>>, Vec<Fault>) {
        let mut content = None;
        for _ in 0..MAX_ROUNDS {
            match attempt(&self.value) {
                Ok(read) => {
                    content = Some(read);
                    break;
                }
                Err(complaint) if self.treat(&complaint) => {}
                Err(_) => break,
            }
        }
        self.tell_missing();
        if content.is_none() {
            self.faults.push(Fault::in_file(self.file, "more may be wrong; mend this first"));
        }
        let Self { tree, faults, invented, incomplete, .. } = self;
        (content.map(|content| Decoded { content, tree, invented, incomplete }), faults)
    }

    /// Reports a complaint and makes it go away; `false` when there is no way.
    fn treat(&mut self, complaint: &Complaint) -> bool {
        let path = &complaint.path;
        match &complaint.kind {
            Kind::UnknownKey { key, known } => self.unknown_key(path, key, known),
            Kind::UnknownName { name, known } => self.unknown_name(path, name, known, complaint),
            Kind::MissingKey(key) => self.missing_key(path, key),
            Kind::BareStep => self.bare_step(path),
            Kind::NotOneKey => self.not_one_key(path),
            Kind::WrongType { .. } | Kind::Refused(_) => self.wrong_value(complaint),
        }
    }

    fn unknown_key(&mut self, path: &[Segment], key: &str, known: &[String]) -> bool {
        let is_step_kind = complaint::is_step(path);
        let what = if is_step_kind { "step" } else { "key" };
        let whole = extended(path, Segment::Key(key.to_owned()));
        let known_names = known.iter().map(String::as_str);
        self.report(&whole, format!("unknown {what} `{key}`"), suggest::hint(key, known_names));

        let Some(map) = map_at(&mut self.value, path) else { return false };
        let free = known.iter().map(String::as_str).filter(|name| !map.contains_key(*name));
        let meant = suggest::nearest(key, free).map(str::to_owned);
        let Some(value) = map.remove(key) else { return false };
        match meant {
            Some(meant) => {
                rename(&mut self.tree, path, key, &meant);
                map.insert(meant, value);
                true
            }
            None if is_step_kind => self.drop_item(path),
            None => true,
        }
    }

    /// A name out of a closed list: a value, a key of a map, or the kind of a step.
    fn unknown_name(
        &mut self,
        path: &[Segment],
        name: &str,
        known: &[String],
        complaint: &Complaint,
    ) -> bool {
        if map_at(&mut self.value, path).is_some_and(|map| map.contains_key(name)) {
            return self.unknown_key(path, name, known);
        }
        let parent = path.split_last().map_or(path, |(_, parent)| parent);
        let is_key_itself = names(path.last(), name)
            && map_at(&mut self.value, parent).is_some_and(|map| map.contains_key(name));
        if is_key_itself {
            return self.unknown_key(parent, name, known);
        }
        if complaint::is_step(path) {
            let hint = suggest::hint(name, known.iter().map(String::as_str));
            self.report(path, format!("unknown step `{name}`"), hint);
            return self.drop_item(path);
        }
        self.wrong_value(complaint)
    }

    fn missing_key(&mut self, path: &[Segment], key: &str) -> bool {
        let whole = extended(path, Segment::Key(key.to_owned()));
        if self.is_invented(&whole) {
            if map_at(&mut self.value, path).is_some_and(|map| map.contains_key(key)) {
                return false;
            }
        } else {
            let mark = self.tree.mark_of(path);
            self.missing.entry(mark).or_default().push(key.to_owned());
            self.invented.push(whole.clone());
        }
        let Some(map) = map_at(&mut self.value, path) else { return false };
        map.insert(key.to_owned(), Value::Null);
        // An optional key is never missed, so that null is not a value for it: what is may be
        // found by trying. If the first try does not complain here, null was one after all.
        match attempt::<T>(&self.value) {
            Err(complaint) if complaint.path == whole => self.stand_in(&complaint),
            Ok(_) | Err(_) => true,
        }
    }

    /// `- launch` without its parameters.
    fn bare_step(&mut self, path: &[Segment]) -> bool {
        let Some(slot) = value_at(&mut self.value, path) else { return false };
        let Some(kind) = slot.as_str().map(str::to_owned) else { return false };
        *slot = json!({ kind.clone(): {} });
        let hint = format!("write `- {kind}:` and its keys below it");
        self.report(path, format!("step `{kind}` has no parameters"), Some(hint));
        self.invented.push(path.to_vec());
        true
    }

    fn not_one_key(&mut self, path: &[Segment]) -> bool {
        let kinds: Vec<_> = map_at(&mut self.value, path)
            .map(|map| map.keys().cloned().collect())
            .unwrap_or_default();
        let Some((first, others)) = kinds.split_first() else {
            self.report(path, "a step without a kind".to_owned(), None);
            return self.drop_item(path);
        };
        let message = format!(
            "a step has one key, its kind; here are {}: `{}`",
            kinds.len(),
            kinds.join("`, `")
        );
        let hint = format!("begin `{}` with its own `-`, or indent it deeper", others.join("`, `"));
        self.report(path, message, Some(hint));
        self.note_incomplete(path);
        let kept = first.clone();
        let Some(map) = map_at(&mut self.value, path) else { return false };
        map.retain(|key, _| *key == kept);
        true
    }

    fn wrong_value(&mut self, complaint: &Complaint) -> bool {
        let told = self.as_text(complaint);
        let complaint = told.as_ref().unwrap_or(complaint);
        let (message, hint) = described(complaint, &self.value);
        let hint = hint.or_else(|| {
            let names = self.names_wanted(complaint);
            suggest::hint("", names.iter().map(String::as_str))
        });
        self.report(&complaint.path, message, hint);
        self.stand_in(complaint)
    }

    /// Where a text is wanted and a bare number stands, what is said of the number as a text:
    /// `10` for a length of time is not of the wrong type, its unit is missing.
    fn as_text(&self, complaint: &Complaint) -> Option<Complaint> {
        let Kind::WrongType { expected, .. } = &complaint.kind else { return None };
        let bare = complaint::at(&self.value, &complaint.path)?;
        if expected != "a string" || !(bare.is_number() || bare.is_boolean()) {
            return None;
        }
        let said = self.said_of(&complaint.path, Value::String(bare.to_string()))?;
        matches!(said.kind, Kind::Refused(_)).then_some(said)
    }

    /// Replaces the value complained of by one that decodes, or drops it.
    fn stand_in(&mut self, complaint: &Complaint) -> bool {
        let path = &complaint.path;
        let names = self.names_wanted(complaint).into_iter().map(Value::String);
        let found = names.chain(stand_ins()).find(|value| self.would_pass(path, value));
        let was_invented = self.is_invented(path);
        match (found, value_at(&mut self.value, path)) {
            (Some(value), Some(slot)) => {
                *slot = value;
                if !was_invented {
                    self.invented.push(path.clone());
                }
                true
            }
            (None, Some(_)) if !was_invented => self.drop_value(path),
            (Some(_) | None, _) => false,
        }
    }

    /// The names that a value may have, where it is one of a closed list; the likeliest first.
    fn names_wanted(&self, complaint: &Complaint) -> Vec<String> {
        let said = match &complaint.kind {
            Kind::UnknownName { .. } => Some(complaint.clone()),
            Kind::UnknownKey { .. }
            | Kind::MissingKey(_)
            | Kind::BareStep
            | Kind::NotOneKey
            | Kind::WrongType { .. }
            | Kind::Refused(_) => self.said_of(&complaint.path, Value::from("x")),
        };
        let Some(Complaint { kind: Kind::UnknownName { name, known }, .. }) = said else {
            return Vec::new();
        };
        let meant = suggest::nearest(&name, known.iter().map(String::as_str)).map(str::to_owned);
        meant.into_iter().chain(known).collect()
    }

    /// What is complained of at a path when this value stands there, if anything.
    fn said_of(&self, path: &[Segment], value: Value) -> Option<Complaint> {
        let mut trial = self.value.clone();
        *value_at(&mut trial, path)? = value;
        attempt::<T>(&trial).err().filter(|said| said.path == path)
    }

    /// Whether decoding gets past a path with this value there.
    fn would_pass(&self, path: &[Segment], value: &Value) -> bool {
        let said = self.said_of(path, value.clone());
        said.is_none_or(|said| matches!(said.kind, Kind::MissingKey(_)))
    }

    fn drop_value(&mut self, path: &[Segment]) -> bool {
        let Some((last, above)) = path.split_last() else { return false };
        match last {
            Segment::Item(_) => self.drop_item(path),
            Segment::Key(key) => {
                map_at(&mut self.value, above).is_some_and(|map| map.remove(key).is_some())
            }
        }
    }

    /// Drops an item from its list, in the value and in the tree, so that positions still agree.
    fn drop_item(&mut self, path: &[Segment]) -> bool {
        let Some((Segment::Item(index), list)) = path.split_last() else { return false };
        let Some(Value::Array(items)) = value_at(&mut self.value, list) else { return false };
        if items.len() <= *index {
            return false;
        }
        items.remove(*index);
        if let Some(Inside::List(nodes)) =
            node_at(&mut self.tree, list).map(|node| &mut node.inside)
            && *index < nodes.len()
        {
            nodes.remove(*index);
        }
        self.invented.retain(|invented| !invented.starts_with(path));
        for invented in self.invented.iter_mut().filter(|invented| invented.starts_with(list)) {
            if let Some(Segment::Item(later)) = invented.get_mut(list.len())
                && *index < *later
            {
                *later -= 1;
            }
        }
        self.note_incomplete(path);
        true
    }

    fn note_incomplete(&mut self, path: &[Segment]) {
        if let Some(Segment::Key(list)) = path.first() {
            self.incomplete.push(list.clone());
        }
    }

    fn is_invented(&self, path: &[Segment]) -> bool {
        self.invented.iter().any(|invented| path.starts_with(invented))
    }

    fn report(&mut self, path: &[Segment], message: String, hint: Option<String>) {
        if !self.is_invented(path) {
            let mark = self.tree.mark_of(path);
            self.faults.push(document::at(self.file, mark, message).hinted(hint));
        }
    }

    fn tell_missing(&mut self) {
        for (mark, keys) in std::mem::take(&mut self.missing) {
            let message = match keys.as_slice() {
                [key] => format!("key `{key}` is missing"),
                keys => format!("keys `{}` are missing", keys.join("`, `")),
            };
            self.faults.push(document::at(self.file, mark, message));
        }
    }
}

/// Values of which one fits nearly every field: what each of our types reads.
fn stand_ins() -> impl Iterator<Item = Value> {
    let texts = ["x", "1s", "1 MiB", "1 %", "1 C", "duration"].into_iter().map(Value::from);
    let others = [json!(1), json!(false), json!([]), json!({})];
    texts.chain(others)
}

/// Decodes a value, or says what is in the way first.
fn attempt<T: Document>(value: &Value) -> Result<T, Complaint> {
    raw_attempt::<T>(value).map_err(|complaint| match complaint.reach {
        Reach::Whole => complaint,
        Reach::MapAbove => below_map::<T>(complaint, value),
    })
}

fn raw_attempt<T: Document>(value: &Value) -> Result<T, Complaint> {
    serde_path_to_error::deserialize(value).map_err(|error| Complaint::new(&error, value))
}

/// A complaint about some value of a map, moved to the one without which it is not made.
fn below_map<T: Document>(complaint: Complaint, value: &Value) -> Complaint {
    let Some(Value::Object(map)) = complaint::at(value, &complaint.path) else { return complaint };
    let makes_it = |key: &&String| {
        let mut trial = value.clone();
        let Some(map) = map_at(&mut trial, &complaint.path) else { return false };
        map.remove(*key);
        raw_attempt::<T>(&trial).err().as_ref() != Some(&complaint)
    };
    match map.keys().find(makes_it) {
        Some(key) => {
            let path = extended(&complaint.path, Segment::Key(key.clone()));
            Complaint { path, reach: Reach::Whole, ..complaint }
        }
        None => complaint,
    }
}

fn extended(path: &[Segment], last: Segment) -> Path {
    path.iter().cloned().chain([last]).collect()
}

fn value_at<'a>(value: &'a mut Value, path: &[Segment]) -> Option<&'a mut Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Key(key) => value.as_object_mut()?.get_mut(key),
        Segment::Item(index) => value.as_array_mut()?.get_mut(*index),
    })
}

fn map_at<'a>(value: &'a mut Value, path: &[Segment]) -> Option<&'a mut Map<String, Value>> {
    value_at(value, path)?.as_object_mut()
}

fn node_at<'a>(node: &'a mut Node, path: &[Segment]) -> Option<&'a mut Node> {
    path.iter().try_fold(node, |node, segment| match (&mut node.inside, segment) {
        (Inside::List(items), Segment::Item(index)) => items.get_mut(*index),
        (Inside::Map(entries), Segment::Key(key)) => {
            entries.iter_mut().rev().find(|entry| entry.key == *key).map(|entry| &mut entry.value)
        }
        (Inside::Scalar | Inside::List(_) | Inside::Map(_), _) => None,
    })
}

fn rename(tree: &mut Node, path: &[Segment], from: &str, to: &str) {
    if let Some(Inside::Map(entries)) = node_at(tree, path).map(|node| &mut node.inside) {
        for entry in entries.iter_mut().filter(|entry| entry.key == from) {
            to.clone_into(&mut entry.key);
        }
    }
}
