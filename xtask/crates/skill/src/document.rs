//! The text of a skill, or of another file of ours, as a tree with marks: which path stands on
//! which line.
//!
//! Only the shape is read here. What YAML allows but our files must not use (aliases, tags, several
//! documents, keys given twice) is refused here, before anything is expanded; what values mean
//! is the business of [`crate::decode`].

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError};

use crate::fault::Fault;

/// What a kind of file is called in its faults.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// One of them: `skill`.
    pub noun: &'static str,
    /// How one begins.
    pub begin: &'static str,
}

/// Longest file that is read, in bytes. The skills of this repository have a tenth of it.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// Deepest nesting that is read. Skills need 6; far deeper trees only exhaust stacks.
const MAX_DEPTH: usize = 24;

/// Most faults that are collected from the shape of one file. A reader mends a few at a time.
const MAX_FAULTS: usize = 50;

/// A position in the text: line and column, both from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mark {
    /// Line, from 1.
    pub line: usize,
    /// Column, in characters from 1.
    pub column: usize,
}

/// One step on the way from the top of a document to a node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Segment {
    /// The value of a key.
    Key(String),
    /// An item of a list, from 0.
    Item(usize),
}

/// The way from the top of a document to a node.
pub(crate) type Path = Vec<Segment>;

/// A node and where it begins.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where the value begins.
    pub mark: Mark,
    /// What is inside.
    pub inside: Inside,
}

/// What is inside a node.
#[derive(Clone, Debug)]
pub(crate) enum Inside {
    /// A single value.
    Scalar,
    /// Items in order.
    List(Vec<Node>),
    /// Keys in order, each with its own mark.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key begins.
    pub mark: Mark,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The node at the end of a path, if there is one.
    pub(crate) fn at(&self, path: &[Segment]) -> Option<&Self> {
        path.iter().try_fold(self, |node, segment| match (&node.inside, segment) {
            (Inside::List(items), Segment::Item(index)) => items.get(*index),
            (Inside::Map(entries), Segment::Key(key)) => {
                entries.iter().rev().find(|entry| entry.key == *key).map(|entry| &entry.value)
            }
            (Inside::Scalar | Inside::List(_) | Inside::Map(_), _) => None,
        })
    }

    /// The mark that a fault at a path is shown at: a key's for a value of a map, else the
    /// value's; where the path leaves the tree, the nearest node above.
    pub(crate) fn mark_of(&self, path: &[Segment]) -> Mark {
        let Some((last, above)) = path.split_last() else { return self.mark };
        match (self.at(above).map(|node| &node.inside), last) {
            (Some(Inside::List(items)), Segment::Item(index)) if *index < items.len() => {
                items[*index].mark
            }
            (Some(Inside::Map(entries)), Segment::Key(key)) => {
                let entry = entries.iter().rev().find(|entry| entry.key == *key);
                entry.map_or_else(|| self.mark_of(above), |entry| entry.mark)
            }
            (Some(_) | None, _) => self.mark_of(above),
        }
    }
}

/// What the shape of a file says.
pub(crate) struct Shape {
    /// The tree; absent when the text is not a single map that can be read on.
    pub tree: Option<Node>,
    /// What is wrong with the shape.
    pub faults: Vec<Fault>,
}

/// Reads the shape of a file of a kind.
pub(crate) fn read(form: Form, file: &str, text: &str) -> Shape {
    let refused = |message: String, hint: Option<&str>| Shape {
        tree: None,
        faults: vec![Fault::in_file(file, message).hinted(hint.map(str::to_owned))],
    };
    if MAX_BYTES < text.len() {
        let message = format!(
            "the file has {} bytes; a {} has at most {MAX_BYTES}, which is 64 KiB",
            text.len(),
            form.noun
        );
        return refused(message, None);
    }
    if let Some(fault) = not_text(file, text) {
        return Shape { tree: None, faults: vec![fault] };
    }
    let mut builder = Builder::new(form, file, text);
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.take(&event, span.start),
            Err(error) => builder.end_by(&error),
        }
        if builder.ended {
            break;
        }
    }
    builder.finish()
}

/// The fault of a file whose bytes are no text: its reader put a replacement character there.
fn not_text(file: &str, text: &str) -> Option<Fault> {
    let found = |line: &str| line.chars().position(|c| c == char::REPLACEMENT_CHARACTER);
    let (line, column) =
        text.lines().enumerate().find_map(|(line, text)| Some((line, found(text)?)))?;
    let mark = Mark { line: line + 1, column: column + 1 };
    Some(at(file, mark, "a byte here is not UTF-8 text"))
}

/// A list or map that is still open.
struct Open {
    mark: Mark,
    inside: Inside,
    /// The key that waits for its value.
    key: Option<(String, Mark)>,
}

/// Builds the tree from the parser's events; its stack is on the heap and bounded.
struct Builder<'a> {
    form: Form,
    file: &'a str,
    text: &'a str,
    open: Vec<Open>,
    top: Option<Node>,
    documents: usize,
    faults: Vec<Fault>,
    /// How often each construct was met that is never allowed; the first is told.
    refused: BTreeMap<String, usize>,
    /// The tree may still be read on, although there are faults.
    readable: bool,
    ended: bool,
}

impl<'a> Builder<'a> {
    fn new(form: Form, file: &'a str, text: &'a str) -> Self {
        Self {
            form,
            file,
            text,
            open: Vec::new(),
            top: None,
            documents: 0,
            faults: Vec::new(),
            refused: BTreeMap::new(),
            readable: true,
            ended: false,
        }
    }

    fn take(&mut self, event: &Event<'_>, start: Marker) {
        let mark = self.mark(start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            Event::DocumentStart(_) => {
                self.documents += 1;
                if 1 < self.documents {
                    let hint = format!("one {} a file", self.form.noun);
                    self.refuse(mark, "a second document begins here", Some(&hint));
                    self.ended = true;
                }
            }
            Event::Alias(_) => {
                self.never_allowed(mark, "aliases", "write the value out");
                self.close(Node { mark, inside: Inside::Scalar });
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_extras(mark, *anchor, tag.is_some());
                self.scalar(text, *style, mark);
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_extras(mark, *anchor, tag.is_some());
                self.open(mark, Inside::List(Vec::new()));
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_extras(mark, *anchor, tag.is_some());
                self.open(mark, Inside::Map(Vec::new()));
            }
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(Open { mark, inside, key: _ }) = self.open.pop() {
                    self.close(Node { mark, inside });
                }
            }
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, mark: Mark) {
        let awaits_key = self
            .open
            .last()
            .is_some_and(|open| matches!(open.inside, Inside::Map(_)) && open.key.is_none());
        if awaits_key {
            return self.key(text, mark);
        }
        let plain = matches!(style, ScalarStyle::Plain);
        let not_finite = text.trim_start_matches(['-', '+']).to_ascii_lowercase();
        if plain && matches!(not_finite.as_str(), ".inf" | ".nan") {
            let hint = Some("a rate without limit is written `inf`, without the dot");
            self.refuse(
                mark,
                &format!("`{text}` is not a number that a {} can use", self.form.noun),
                hint,
            );
        }
        self.close(Node { mark, inside: Inside::Scalar });
    }

    fn key(&mut self, text: &str, mark: Mark) {
        let Some(open) = self.open.last_mut() else { return };
        open.key = Some((text.to_owned(), mark));
        let Inside::Map(entries) = &open.inside else { return };
        if let Some(first) = entries.iter().find(|entry| entry.key == text) {
            let message =
                format!("key `{text}` stands here a second time, after line {}", first.mark.line);
            self.note(mark, &message, Some("keep one of them"));
        }
    }

    fn open(&mut self, mark: Mark, inside: Inside) {
        let as_key = self
            .open
            .last()
            .is_some_and(|open| matches!(open.inside, Inside::Map(_)) && open.key.is_none());
        if as_key {
            self.refuse(mark, "a list or map cannot be a key", Some("write a word as the key"));
            self.ended = true;
        } else if self.open.len() == MAX_DEPTH {
            let message = format!("the nesting is deeper than {MAX_DEPTH} levels");
            self.refuse(mark, &message, None);
            self.ended = true;
        } else {
            self.open.push(Open { mark, inside, key: None });
        }
    }

    /// Puts a finished node where it belongs.
    fn close(&mut self, node: Node) {
        let Some(open) = self.open.last_mut() else {
            self.top.get_or_insert(node);
            return;
        };
        match (&mut open.inside, open.key.take()) {
            (Inside::List(items), _) => items.push(node),
            (Inside::Map(entries), Some((key, mark))) => {
                entries.push(Entry { key, mark, value: node });
            }
            // An alias in the place of a key: already refused, so that its value has no home.
            (Inside::Map(_), None) => open.key = Some((String::new(), node.mark)),
            (Inside::Scalar, _) => {}
        }
    }

    fn refuse_extras(&mut self, mark: Mark, anchor: usize, tagged: bool) {
        if 0 < anchor {
            self.never_allowed(mark, "anchors", "write the value out");
        }
        if tagged {
            self.never_allowed(mark, "tags", "leave out the `!…` word");
        }
    }

    /// Refuses a construct, once a file: who uses aliases uses many.
    fn never_allowed(&mut self, mark: Mark, what: &str, hint: &str) {
        let message = format!("{what} are not allowed in {}s", self.form.noun);
        let met = self.refused.entry(message.clone()).or_insert(0);
        *met += 1;
        if *met == 1 {
            self.refuse(mark, &message, Some(hint));
        }
    }

    fn end_by(&mut self, error: &ScanError) {
        let mark = self.mark(*error.marker());
        let fault = not_yaml(self.file, self.text, mark, error.info());
        self.faults.push(fault);
        self.readable = false;
        self.ended = true;
    }

    /// Notes a fault after which the tree cannot be trusted.
    fn refuse(&mut self, mark: Mark, message: &str, hint: Option<&str>) {
        self.readable = false;
        self.note(mark, message, hint);
    }

    fn note(&mut self, mark: Mark, message: &str, hint: Option<&str>) {
        let fault = at(self.file, mark, message).hinted(hint.map(str::to_owned));
        self.faults.push(fault);
        if self.faults.len() == MAX_FAULTS {
            self.faults.push(Fault::in_file(self.file, "more may be wrong; mend this first"));
            self.readable = false;
            self.ended = true;
        }
    }

    fn mark(&self, marker: Marker) -> Mark {
        inside(self.text, marker.line(), marker.col() + 1)
    }

    fn finish(mut self) -> Shape {
        for fault in &mut self.faults {
            if let Some(met @ 2..) = self.refused.get(fault.message.as_str()) {
                fault.message.push_str(&format!("; there are {met} in this file"));
            }
        }
        let top = self.top.take();
        if self.readable {
            match top.as_ref().map(|node| &node.inside) {
                Some(Inside::Map(_)) => return Shape { tree: top, faults: self.faults },
                Some(Inside::Scalar) if self.text_is_blank() => self.report_top("is empty"),
                None => self.report_top("is empty"),
                Some(Inside::Scalar) => self.report_top("is a single value"),
                Some(Inside::List(_)) => self.report_top("is a list"),
            }
        }
        Shape { tree: None, faults: self.faults }
    }

    /// Whether there is nothing but comments, document marks and nulls.
    fn text_is_blank(&self) -> bool {
        self.text
            .lines()
            .map(|line| line.split('#').next().unwrap_or(line).trim())
            .all(|line| matches!(line, "" | "---" | "..." | "~" | "null"))
    }

    fn report_top(&mut self, what: &str) {
        let message = format!("the file {what}; a {} is a map of keys", self.form.noun);
        let hint = Some(self.form.begin.to_owned());
        self.faults.push(Fault::in_file(self.file, message).hinted(hint));
    }
}

/// A fault at a place in a file.
pub(crate) fn at(file: &str, mark: Mark, message: impl Into<String>) -> Fault {
    Fault { line: Some(mark.line), column: Some(mark.column), ..Fault::in_file(file, message) }
}

/// The fault for text that is not YAML. Tabs are named, because parsers blame what follows them.
pub(crate) fn not_yaml(file: &str, text: &str, mark: Mark, problem: &str) -> Fault {
    let tab = text.lines().take(mark.line).enumerate().find_map(|(index, line)| {
        let indent = line.len() - line.trim_start().len();
        let column = line[..indent].chars().position(|c| c == '\t')?;
        Some(Mark { line: index + 1, column: column + 1 })
    });
    match tab {
        Some(mark) => at(file, mark, "a tab stands in the indentation")
            .hinted(Some("indent with spaces".to_owned())),
        None => at(file, mark, format!("not YAML: {problem}")),
    }
}

/// The position nearest to a line and column that lies inside the text: parsers report what
/// they miss at the end of a file on a line after it.
pub(crate) fn inside(text: &str, line: usize, column: usize) -> Mark {
    let lines = text.lines().count().max(1);
    let line = line.clamp(1, lines);
    let length = text.lines().nth(line - 1).map_or(0, |line| line.chars().count());
    Mark { line, column: column.clamp(1, length + 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(text: &str) -> Vec<String> {
        read(crate::decode::SKILL, "x.yaml", text).faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_node_knows_its_line() {
        let tree =
            read(crate::decode::SKILL, "x", "a: 1\nb:\n  - c: 2\n    d: [3, 4]\n").tree.unwrap();
        let path = [Segment::Key("b".into()), Segment::Item(0), Segment::Key("d".into())];
        assert_eq!(tree.mark_of(&path), Mark { line: 4, column: 5 });
        let item = [path.to_vec(), vec![Segment::Item(1)]].concat();
        assert_eq!(tree.mark_of(&item), Mark { line: 4, column: 12 });
        let beyond = [path.to_vec(), vec![Segment::Item(9)]].concat();
        assert_eq!(tree.mark_of(&beyond), Mark { line: 4, column: 5 }, "the nearest node above");
    }

    #[test]
    fn every_refused_construct_is_reported_at_once() {
        let text = "a: &x 1\nb: *x\nc: !!str 2\na: 3\nd: .nan\n";
        insta::assert_snapshot!(messages(text).join("\n"), @"
        x.yaml:1:4: anchors are not allowed in skills
            hint: write the value out
        x.yaml:2:4: aliases are not allowed in skills
            hint: write the value out
        x.yaml:3:4: tags are not allowed in skills
            hint: leave out the `!…` word
        x.yaml:4:1: key `a` stands here a second time, after line 1
            hint: keep one of them
        x.yaml:5:4: `.nan` is not a number that a skill can use
            hint: a rate without limit is written `inf`, without the dot
        ");
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
        insta::assert_snapshot!(messages(&deep).join("\n"), @"x.yaml:1:27: the nesting is deeper than 24 levels");
    }

    #[test]
    fn nothing_at_all_is_not_a_map() {
        for text in ["", "\n\n", "# only a comment\n", "---\n", "~\n", "null"] {
            assert_eq!(messages(text).len(), 1, "{text:?}");
            assert!(
                messages(text)[0].contains("the file is empty"),
                "{text:?}: {:?}",
                messages(text)
            );
        }
    }
}
