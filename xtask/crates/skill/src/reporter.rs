//! Faults of one file, reported at the places of the values concerned.

use crate::decode::Decoded;
use crate::document::{self, Path, Segment};
use crate::fault::Fault;
use crate::skill::Skill;

/// Collects the faults of one file, at the places of the values concerned.
pub(crate) struct Reporter<'a, T = Skill> {
    file: &'a str,
    decoded: &'a Decoded<T>,
    faults: &'a mut Vec<Fault>,
}

impl<'a, T> Reporter<'a, T> {
    pub(crate) fn new(file: &'a str, decoded: &'a Decoded<T>, faults: &'a mut Vec<Fault>) -> Self {
        Self { file, decoded, faults }
    }

    /// Whether the value at a path is what the file says, not a stand-in.
    pub(crate) fn is_sound(&self, path: &[Segment]) -> bool {
        self.decoded.is_sound(path)
    }

    /// Reports a fault at a path, unless a stand-in stands there: then it was reported already.
    pub(crate) fn report(&mut self, path: &[Segment], message: String, hint: Option<String>) {
        if self.is_sound(path) {
            let mark = self.decoded.tree.mark_of(path);
            self.faults.push(document::at(self.file, mark, message).hinted(hint));
        }
    }
}

/// The path of a top-level key.
pub(crate) fn key(name: &str) -> Path {
    vec![Segment::Key(name.to_owned())]
}

/// The path of an item of a top-level list.
pub(crate) fn item(list: &str, index: usize) -> Path {
    vec![Segment::Key(list.to_owned()), Segment::Item(index)]
}

pub(crate) fn below(path: &[Segment], name: &str) -> Path {
    path.iter().cloned().chain(key(name)).collect()
}

pub(crate) fn item_of(path: &[Segment], index: usize) -> Path {
    path.iter().cloned().chain([Segment::Item(index)]).collect()
}
