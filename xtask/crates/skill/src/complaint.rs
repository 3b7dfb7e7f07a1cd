//! What serde says of a value, taken apart and said again in the words of skills.

use domain::metric::Metric;
use serde_json::Value;

use crate::document::{Path, Segment};
use crate::step::List;
use crate::suggest;

/// The first thing that keeps a value from being decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// Where: the value complained of, or the map that has or lacks a key.
    pub path: Path,
    /// How far the path goes.
    pub reach: Reach,
    /// What.
    pub kind: Kind,
}

/// How far the path of a complaint goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// To the value complained of.
    Whole,
    /// To a map whose keys are names out of a closed list; serde does not tell which of its
    /// values it complains of.
    MapAbove,
}

/// The kinds of complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A map has a key that it must not have.
    UnknownKey {
        /// The key.
        key: String,
        /// Keys that it may have.
        known: Vec<String>,
    },
    /// A word is not in a closed list.
    UnknownName {
        /// The word.
        name: String,
        /// The list.
        known: Vec<String>,
    },
    /// A map lacks a key.
    MissingKey(String),
    /// A step is written without parameters.
    BareStep,
    /// A step has no key, or several.
    NotOneKey,
    /// A value is of another type.
    WrongType {
        /// What stands there, in serde's words.
        found: String,
        /// What is wanted, in serde's words.
        expected: String,
    },
    /// A type of ours refused the value, in its own words.
    Refused(String),
}

impl Complaint {
    /// Takes serde's error apart. Its texts are stable in practice; one that is not recognised is
    /// shown as it is.
    pub(crate) fn new(
        error: &serde_path_to_error::Error<serde_json::Error>,
        value: &Value,
    ) -> Self {
        let text = error.inner().to_string();
        let kind = Kind::of(&text);
        let (mut path, reach) = real_path(error.path(), value);
        // The path of an unknown key may end with the key itself; we speak of its map.
        if let Kind::UnknownKey { key, .. } = &kind
            && path.last() == Some(&Segment::Key(key.clone()))
        {
            path.pop();
        }
        Self { path, reach, kind }
    }
}

impl Kind {
    fn of(text: &str) -> Self {
        if let Some((key, known)) = named(text, "unknown field `") {
            return Self::UnknownKey { key, known };
        }
        if let Some((name, known)) = named(text, "unknown variant `") {
            return Self::UnknownName { name, known };
        }
        if let Some((key, _)) = named(text, "missing field `") {
            return Self::MissingKey(key);
        }
        if text.ends_with("expected newtype variant") {
            return Self::BareStep;
        }
        if text.contains("expected map with a single key") {
            return Self::NotOneKey;
        }
        let typed =
            text.strip_prefix("invalid type: ").or_else(|| text.strip_prefix("invalid value: "));
        match typed.and_then(|typed| typed.rsplit_once(", expected ")) {
            Some((found, expected)) => {
                Self::WrongType { found: found.to_owned(), expected: expected.to_owned() }
            }
            None => Self::Refused(text.to_owned()),
        }
    }
}

/// The name after a prefix, and the names listed after it, each in backticks.
fn named(text: &str, prefix: &str) -> Option<(String, Vec<String>)> {
    let rest = text.strip_prefix(prefix)?;
    // The name may itself hold backticks, which serde does not escape: it ends before the list.
    let end = ["`, expected ", "`, there are no "].iter().filter_map(|mark| rest.rfind(mark)).min();
    let end = end.or_else(|| rest.rfind('`'))?;
    let known = rest[end..].split('`').skip(2).step_by(2).map(str::to_owned).collect();
    Some((rest[..end].to_owned(), known))
}

/// The path in the value: serde names the variant of an enum even where it is a text.
fn real_path(path: &serde_path_to_error::Path, value: &Value) -> (Path, Reach) {
    use serde_path_to_error::Segment as Serde;
    let mut real = Path::new();
    let mut here = Some(value);
    for segment in path {
        let next = match segment {
            Serde::Seq { index } => Segment::Item(*index),
            Serde::Map { key } => Segment::Key(key.clone()),
            Serde::Enum { variant } => match here {
                Some(Value::Object(map)) if map.contains_key(variant) => {
                    Segment::Key(variant.clone())
                }
                Some(_) | None => return (real, Reach::Whole),
            },
            Serde::Unknown => return (real, Reach::MapAbove),
        };
        here = here.and_then(|value| match &next {
            Segment::Key(key) => value.get(key),
            Segment::Item(index) => value.get(index),
        });
        real.push(next);
    }
    (real, Reach::Whole)
}

/// The message and hint for a value that is wrong.
pub(crate) fn described(complaint: &Complaint, value: &Value) -> (String, Option<String>) {
    let place = called(&complaint.path);
    match &complaint.kind {
        Kind::WrongType { found, expected: _ } if is_step(&complaint.path) => {
            let found = if found == "null" { "empty" } else { &in_words(found) };
            let hint = Some("write `- KIND:` and its keys below it".to_owned());
            (format!("{place} is {found}, not a step"), hint)
        }
        Kind::WrongType { found, expected } if found == "null" => {
            (format!("{place} has no value; it must be {}", in_words(expected)), None)
        }
        Kind::WrongType { found, expected } => {
            let hint = quotes(found, expected);
            let (wanted, found) = (in_words(expected), in_words(found));
            (format!("{place} must be {wanted}, not {found}"), hint)
        }
        Kind::UnknownName { name, known } => {
            let hint = suggest::hint(name, known.iter().map(String::as_str));
            (format!("`{name}` is not a value of {place}"), hint)
        }
        Kind::Refused(text) if text.starts_with("data did not match any variant") => {
            let shown = shown(at(value, &complaint.path));
            (format!("{place} cannot be {shown}"), None)
        }
        Kind::Refused(text) => match text.split_once("; ") {
            Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
            None => (text.clone(), metric_meant(text)),
        },
        Kind::UnknownKey { key, .. } | Kind::MissingKey(key) => {
            (format!("key `{key}` of {place} is wrong"), None)
        }
        Kind::BareStep | Kind::NotOneKey => (format!("{place} is not a step"), None),
    }
}

/// Whether a path is that of a step.
pub(crate) fn is_step(path: &[Segment]) -> bool {
    matches!(path, [Segment::Key(list), Segment::Item(_)]
        if List::ALL.into_iter().any(|known| known.key() == list))
}

/// Whether quotes are missing, or too many.
fn quotes(found: &str, expected: &str) -> Option<String> {
    let is_scalar = !matches!(found, "map" | "sequence");
    let quoted = found.strip_prefix("string \"").and_then(|text| text.strip_suffix('"'));
    match (expected, quoted) {
        ("a string", None) if is_scalar => Some("put it in quotes".to_owned()),
        ("a string", None) if found == "map" => {
            Some("a text with a colon in it needs quotes".to_owned())
        }
        (_, Some(text)) if text.parse::<f64>().is_ok() => Some("leave out the quotes".to_owned()),
        _ => None,
    }
}

/// The metric that was meant by a key that names none.
fn metric_meant(refusal: &str) -> Option<String> {
    let written = refusal.strip_suffix("` is no metric of servegate")?.strip_prefix('`')?;
    let keys: Vec<_> = Metric::all().map(Metric::key).collect();
    suggest::hint(written, keys.into_iter())
}

/// What a value is called in a message: by its key, or by that of its list; the line says which
/// item it is.
fn called(path: &[Segment]) -> String {
    match path {
        [] => "the file".to_owned(),
        [.., Segment::Key(list), Segment::Item(_)] => format!("an item of `{list}`"),
        [.., Segment::Item(_)] => "an item".to_owned(),
        [.., Segment::Key(key)] => format!("`{key}`"),
    }
}

/// The value at the end of a path, if there is one.
pub(crate) fn at<'a>(value: &'a Value, path: &[Segment]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, segment| match segment {
        Segment::Key(key) => value.get(key),
        Segment::Item(index) => value.get(index),
    })
}

fn shown(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "empty".to_owned(),
        Some(Value::Array(_)) => "a list".to_owned(),
        Some(Value::Object(_)) => "a map".to_owned(),
        Some(scalar @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
            format!("`{scalar}`")
        }
    }
}

/// Serde's words for a type or a value, in the words of skills.
fn in_words(serde: &str) -> String {
    let fixed = match serde {
        "a string" | "string" => "a text",
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "a map of keys",
        "a boolean" => "`true` or `false`",
        "u64" | "usize" => "a whole number that is not negative",
        "u32" => "a whole number from 0 to 4294967295",
        "u16" => "a whole number from 0 to 65535",
        "u8" => "a whole number from 0 to 255",
        "f64" => "a number",
        "string or map" => "a name",
        "path string" => "a path",
        other if other.starts_with("struct ") => "a map of keys",
        other if other.starts_with("enum ") => "a name",
        other => {
            let kinds = ["string ", "integer ", "floating point ", "boolean "];
            let bare = kinds.iter().find_map(|kind| other.strip_prefix(kind)).unwrap_or(other);
            return match bare.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
                Some(text) => format!("the text `{text}`"),
                None => bare.to_owned(),
            };
        }
    };
    fixed.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_of_serde_are_taken_apart() {
        let texts = [
            "unknown field `a`, expected `b`",
            "unknown field `a`, expected one of `b`, `c`",
            "unknown field `a`, there are no fields",
            "unknown variant `a`b`, expected one of `c`, `d`",
            "missing field `a`",
            "invalid type: unit variant, expected newtype variant",
            "invalid value: map, expected map with a single key",
            "invalid type: string \"a, expected b\", expected u32",
            "invalid value: integer `-1`, expected u32",
            "`5` is not a length of time; write for example `90s`",
        ];
        let kinds: Vec<_> = texts.iter().map(|text| format!("{:?}", Kind::of(text))).collect();
        insta::assert_snapshot!(kinds.join("\n"), @r#"
        UnknownKey { key: "a", known: ["b"] }
        UnknownKey { key: "a", known: ["b", "c"] }
        UnknownKey { key: "a", known: [] }
        UnknownName { name: "a`b", known: ["c", "d"] }
        MissingKey("a")
        BareStep
        NotOneKey
        WrongType { found: "string \"a, expected b\"", expected: "u32" }
        WrongType { found: "integer `-1`", expected: "u32" }
        Refused("`5` is not a length of time; write for example `90s`")
        "#);
    }
}
