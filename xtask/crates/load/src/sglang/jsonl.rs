//! The line of JSON that the tool appends to its output file.
//!
//! It is not strict JSON: Python writes `Infinity` and `NaN` as they are. It may also hold
//! megabytes of the server's own description, which is skipped without being built.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use domain::metric::Metric;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

use super::count::Count;

/// What Python writes that JSON does not know, longest first.
const FOREIGN: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// One run as the tool wrote it.
#[derive(Debug, Default)]
pub(super) struct Line {
    numbers: BTreeMap<String, Number>,
    /// One entry a request that was sent, where the tool was asked for details.
    pub(super) details: Option<Details>,
    /// Values that are not JSON, as `key: token`.
    pub(super) foreign: BTreeSet<String>,
}

/// What the tool tells of each request that it sent; all lists are of one length.
#[derive(Debug)]
pub(super) struct Details {
    pub(super) input_lens: Vec<u32>,
    pub(super) output_lens: Vec<u32>,
    /// Seconds to the first text; 0 where there was none.
    pub(super) ttfts: Vec<Option<f64>>,
    /// Seconds between texts.
    pub(super) itls: Vec<Vec<Option<f64>>>,
    /// Empty for what the tool takes for a success.
    pub(super) errors: Vec<String>,
}

/// A number of the line, whole where it was written so.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Whole(u64),
    Broken(f64),
}

impl Line {
    /// The last run in the file, if its line is whole. Earlier lines are earlier runs, so a torn
    /// last line is never replaced by one of them.
    pub(super) fn last(text: &str) -> Option<Self> {
        let line = text.lines().rfind(|line| !line.trim().is_empty())?;
        let (strict, foreign) = strict(line);
        let read: Self = serde_json::from_str(&strict).ok()?;
        // A bare `{}` is JSON, but no run.
        read.count(Count::Completed)?;
        Some(Self { foreign, ..read })
    }

    pub(super) fn metric(&self, metric: Metric) -> Option<f64> {
        match *self.numbers.get(metric.key())? {
            #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
            Number::Whole(value) => Some(value as f64),
            Number::Broken(value) => Some(value),
        }
    }

    /// A sum.
    pub(super) fn count(&self, of: Count) -> Option<u64> {
        let (key, _) = of.names();
        match *self.numbers.get(key)? {
            Number::Whole(count) => Some(count),
            Number::Broken(_) => None,
        }
    }
}

/// The line as strict JSON, with `null` for what is foreign, and what that was.
pub(super) fn strict(line: &str) -> (String, BTreeSet<String>) {
    let mut strict = String::with_capacity(line.len());
    let mut foreign = BTreeSet::new();
    let mut rest = line;
    let mut key = "";
    while let Some(at) = rest.find(['"', '-', 'I', 'N']) {
        let (before, from) = rest.split_at(at);
        strict.push_str(before);
        let taken = if from.starts_with('"') {
            let end = string_end(from);
            if from[end..].trim_start().starts_with(':') {
                key = &from[..end];
            }
            strict.push_str(&from[..end]);
            end
        } else if let Some(token) = FOREIGN.into_iter().find(|token| from.starts_with(token)) {
            foreign.insert(format!("{}: {token}", key.trim_matches('"')));
            strict.push_str("null");
            token.len()
        } else {
            strict.push_str(&from[..1]);
            1
        };
        rest = &from[taken..];
    }
    strict.push_str(rest);
    (strict, foreign)
}

/// Length of the JSON string that `text` begins with, quotes included; all of it if it has no end.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(LineVisitor)
    }
}

struct LineVisitor;

impl<'de> Visitor<'de> for LineVisitor {
    type Value = Line;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the object of one run")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Line, A::Error> {
        let mut line = Line::default();
        let (mut input_lens, mut output_lens) = (None, None);
        let (mut ttfts, mut itls, mut errors) = (None, None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "input_lens" => input_lens = map.next_value()?,
                "output_lens" => output_lens = map.next_value()?,
                "ttfts" => ttfts = map.next_value()?,
                "itls" => itls = map.next_value()?,
                "errors" => errors = map.next_value()?,
                name if is_number(name) => {
                    if let Some(number) = map.next_value::<Lenient>()?.0 {
                        line.numbers.insert(key, number);
                    }
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        line.details = details(input_lens, output_lens, ttfts, itls, errors);
        Ok(line)
    }
}

/// The lists, if all are there and of one length.
fn details(
    input_lens: Option<Vec<u32>>,
    output_lens: Option<Vec<u32>>,
    ttfts: Option<Vec<Option<f64>>>,
    itls: Option<Vec<Vec<Option<f64>>>>,
    errors: Option<Vec<String>>,
) -> Option<Details> {
    let details = Details {
        input_lens: input_lens?,
        output_lens: output_lens?,
        ttfts: ttfts?,
        itls: itls?,
        errors: errors?,
    };
    let n = details.errors.len();
    let others = [
        details.input_lens.len(),
        details.output_lens.len(),
        details.ttfts.len(),
        details.itls.len(),
    ];
    others.into_iter().all(|len| len == n).then_some(details)
}

fn is_number(key: &str) -> bool {
    let counts = [Count::Completed, Count::Input, Count::Output, Count::Retokenized];
    counts.into_iter().any(|count| count.names().0 == key) || key.parse::<Metric>().is_ok()
}

/// A number, or whatever else stands there and is then absent.
struct Lenient(Option<Number>);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = serde_json::Value::deserialize(deserializer).map_err(de::Error::custom)?;
        let whole = value.as_u64().map(Number::Whole);
        Ok(Self(whole.or_else(|| value.as_f64().map(Number::Broken))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_becomes_strict_and_is_named() {
        let line = r#"{"request_rate": Infinity, "a": [NaN, -Infinity, -1], "N": "I say \"NaN\""}"#;
        let (text, foreign) = strict(line);
        assert_eq!(text, r#"{"request_rate": null, "a": [null, null, -1], "N": "I say \"NaN\""}"#);
        let foreign: Vec<_> = foreign.into_iter().collect();
        assert_eq!(foreign, ["a: -Infinity", "a: NaN", "request_rate: Infinity"]);
    }

    #[test]
    fn the_last_line_is_this_run() {
        let text = "{\"completed\": 1}\n{\"completed\": 2, \"duration\": 1.5}\n\n";
        let line = Line::last(text).unwrap();
        assert_eq!(line.count(Count::Completed), Some(2));
        assert_eq!(line.metric(Metric::Duration), Some(1.5));
        assert!(Line::last("{\"completed\": 1}\n{\"completed\": 2, \"dur").is_none());
    }

    #[test]
    fn a_number_that_is_none_is_absent() {
        let text =
            r#"{"completed": 3, "duration": null, "concurrency": "inf", "mean_itl_ms": NaN}"#;
        let line = Line::last(text).unwrap();
        assert_eq!(line.metric(Metric::Duration), None);
        assert_eq!(line.metric(Metric::Concurrency), None);
        assert_eq!(line.foreign.len(), 1);
    }

    #[test]
    fn lists_of_different_lengths_are_no_details() {
        let text = r#"{"completed": 1, "input_lens": [1], "output_lens": [2, 3], "ttfts": [0.1], "itls": [[]], "errors": [""]}"#;
        assert!(Line::last(text).unwrap().details.is_none());
    }

    #[test]
    fn megabytes_of_server_info_are_skipped() {
        let info = format!("{{\"a\": [\"{}\"]}}", "x\\\"".repeat(1 << 20));
        let text = format!("{{\"server_info\": {info}, \"completed\": 4}}");
        assert_eq!(Line::last(&text).unwrap().count(Count::Completed), Some(4));
    }
}
