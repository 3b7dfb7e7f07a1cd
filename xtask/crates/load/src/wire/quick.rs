//! Events that look like the one before are read by comparing, not by parsing.
//!
//! The events of a stream differ in their text and in little else. What surrounds the text of an
//! event that was parsed becomes a pattern; an event that fits it says the same and carries other
//! text. Whatever does not fit is parsed. SGLang's own format has the whole text so far in every
//! event: there, only the end is looked at, so that an event costs the same at any length.

use memchr::memmem;

use super::{Count, Piece, SaidQuickly};

/// Events in a row that fit no pattern, after which none is tried any more.
const MISSES: u32 = 16;
/// What SGLang says of an event stands in its last bytes, which are no more than this.
const META_BYTES: usize = 768;

/// The pattern of a stream, if it has one.
#[derive(Debug)]
pub(super) struct Quick {
    /// What surrounds the values that may differ, in order.
    pattern: Option<Vec<Box<[u8]>>>,
    misses: u32,
}

impl Quick {
    pub(super) const fn new() -> Self {
        Self { pattern: None, misses: 0 }
    }

    /// Whether the event is the pattern with other text, and not an empty one.
    pub(super) fn fits(&mut self, data: &[u8]) -> bool {
        let Some(pattern) = &self.pattern else { return false };
        let fits = fits(pattern, data);
        if !fits {
            self.misses += 1;
        } else {
            self.misses = 0;
        }
        fits
    }

    /// Learns from an event that was parsed and says nothing but that it carries text. `varying`
    /// are names whose values may differ, as they stand in JSON; the last is the text's.
    pub(super) fn learn(&mut self, data: &[u8], varying: &[&[u8]]) {
        if self.misses < MISSES {
            self.pattern = pattern(data, varying);
        } else {
            self.pattern = None;
        }
    }
}

fn fits(pattern: &[Box<[u8]>], data: &[u8]) -> bool {
    let Some((first, others)) = pattern.split_first() else { return false };
    let Some(mut rest) = data.strip_prefix(&**first) else { return false };
    let mut text: &[u8] = &[];
    for literal in others {
        let Some(end) = memchr::memchr(b'"', rest) else { return false };
        text = &rest[..end];
        match rest[end..].strip_prefix(&**literal) {
            Some(after) if plain(text) => rest = after,
            _ => return false,
        }
    }
    rest.is_empty() && !text.is_empty()
}

/// Whether a value in quotes stands for itself: parsing it could neither fail nor change it.
fn plain(value: &[u8]) -> bool {
    let simple = |byte: &u8| (b' '..0x80).contains(byte) && *byte != b'\\';
    value.iter().all(simple)
        || (!value.iter().any(|byte| *byte < b' ' || *byte == b'\\')
            && str::from_utf8(value).is_ok())
}

/// What surrounds the values of `varying`; none if one of them stands twice or is not plain.
fn pattern(data: &[u8], varying: &[&[u8]]) -> Option<Vec<Box<[u8]>>> {
    let (mut literals, mut from) = (Vec::<Box<[u8]>>::new(), 0);
    for (at, name) in varying.iter().enumerate() {
        let is_text = at + 1 == varying.len();
        let Some(found) = memmem::find(&data[from..], name) else {
            if is_text {
                return None;
            }
            continue;
        };
        let after = from + found + name.len();
        let quote = after + data[after..].iter().position(|byte| *byte != b' ')?;
        let start = quote + 1;
        if data.get(quote) != Some(&b'"') || memmem::find(&data[after..], name).is_some() {
            return None;
        }
        let end = start + memchr::memchr(b'"', &data[start..])?;
        literals.push(data[from..start].into());
        from = end;
        if !plain(&data[start..end]) {
            return None;
        }
    }
    literals.push(data[from..].into());
    // A name written with escapes would be another than it looks.
    let escaped = literals.iter().flatten().any(|byte| *byte == b'\\');
    (!escaped).then_some(literals)
}

/// Reads an event of SGLang's own format in the middle of its stream, by its end alone.
///
/// The text before is skipped, even if it were not JSON. The last event, errors and anything
/// unusual are left to the parser.
pub(super) fn sglang(data: &[u8], count: &mut Count) -> Option<SaidQuickly> {
    if !data.starts_with(b"{\"text\":") || !data.ends_with(b"}}") {
        return None;
    }
    let end = &data[data.len().saturating_sub(META_BYTES)..];
    let meta = &end[memmem::find(end, b"\"meta_info\":")?..];
    let reason = value(meta, b"\"finish_reason\":")?;
    if !reason.starts_with(b"null") || memmem::find(end, b"\"error\":").is_some() {
        return None;
    }
    let total = number(value(meta, b"\"completion_tokens\":")?)?;
    let piece = Some(count.add(Some(total))).filter(|piece| *piece != Piece::Counted(0));
    Some(SaidQuickly { piece, output: Some(total) })
}

/// What follows a name and its spaces.
fn value<'a>(data: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let after = &data[memmem::find(data, name)? + name.len()..];
    Some(after.trim_ascii_start())
}

/// The whole number that the bytes begin with.
fn number(data: &[u8]) -> Option<u32> {
    let length = data.iter().position(|byte| !byte.is_ascii_digit())?;
    let ended = matches!(data[length], b',' | b'}' | b' ');
    let digits = str::from_utf8(&data[..length]).ok().filter(|_| ended)?;
    // JSON has no numbers with zeros before them.
    if 1 < digits.len() && digits.starts_with('0') { None } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENT: &[u8] = br#"{"id":"x","choices":[{"index":0,"text":"a","finish_reason":null}]}"#;

    fn learnt(event: &[u8], varying: &[&[u8]]) -> Quick {
        let mut quick = Quick::new();
        quick.learn(event, varying);
        quick
    }

    #[test]
    fn other_text_fits_and_anything_else_does_not() {
        let mut quick = learnt(EVENT, &[b"\"text\":"]);
        let event = |text: &str| {
            format!(
                r#"{{"id":"x","choices":[{{"index":0,"text":"{text}","finish_reason":null}}]}}"#
            )
        };
        for text in ["b", " longer text", "{}[]:", "é漢"] {
            assert!(quick.fits(event(text).as_bytes()), "{text}");
        }
        for text in ["", "a\\n", "a\"b", "a\nb", "a\",\"text\":\"b"] {
            assert!(!quick.fits(event(text).as_bytes()), "{text}");
        }
        let stop = event("b").replace("null", "\"length\"");
        assert!(!quick.fits(stop.as_bytes()));
        assert!(!quick.fits(&[event("b").as_bytes(), b" "].concat()));
        assert!(!quick.fits(
            &[b"{\"id\":\"x\",\"choices\":[{\"index\":0,\"text\":\"\xff\"", &EVENT[42..]].concat()
        ));
    }

    #[test]
    fn times_of_day_may_differ_between_events() {
        let names: [&[u8]; 2] = [b"\"created_at\":", b"\"response\":"];
        let mut quick = learnt(br#"{"created_at":"t1","response":"a","done":false}"#, &names);
        assert!(quick.fits(br#"{"created_at":"t2","response":"b","done":false}"#));
        assert!(!quick.fits(br#"{"created_at":"t2","response":"b","done":true}"#));
        assert!(!quick.fits(br#"{"created_at":"t2","response":"","done":false}"#));
    }

    #[test]
    fn a_text_that_stands_twice_or_with_escapes_is_no_pattern() {
        for event in
            [r#"{"text":"a","b":{"text":"c"}}"#, r#"{"text":"a\n"}"#, r#"{"a\t":1,"text":"b"}"#]
        {
            assert!(learnt(event.as_bytes(), &[b"\"text\":"]).pattern.is_none(), "{event}");
        }
    }

    #[test]
    fn after_many_misses_nothing_is_learnt_any_more() {
        let mut quick = Quick::new();
        for n in 0..2 * MISSES {
            let event = format!(r#"{{"n":{n},"text":"a"}}"#);
            assert!(!quick.fits(event.as_bytes()));
            quick.learn(event.as_bytes(), &[b"\"text\":"]);
        }
        assert!(quick.pattern.is_none());
    }

    #[test]
    fn an_error_between_the_text_and_the_counts_is_left_to_the_parser() {
        let event = br#"{"text":"a","error":{"message":"no"},"meta_info":{"finish_reason":null,"completion_tokens":2}}"#;
        assert_eq!(sglang(event, &mut Count::Known(1)), None);
    }

    #[test]
    fn what_is_not_in_the_middle_of_an_sglang_stream_is_left_to_the_parser() {
        let event =
            |text: &str, meta: &str| format!(r#"{{"text": "{text}", "meta_info": {{{meta}}}}}"#);
        let usual =
            r#""id": "x", "finish_reason": null, "completion_tokens": 12, "e2e_latency": 0.1"#;
        let mut count = Count::Known(10);
        let said = sglang(event("a", usual).as_bytes(), &mut count).unwrap();
        assert_eq!((said.piece, said.output), (Some(Piece::Counted(2)), Some(12)));
        let long = event(&"word ".repeat(100_000), usual);
        assert!(sglang(long.as_bytes(), &mut count).is_some());
        for meta in [
            r#""finish_reason": {"type": "length"}, "completion_tokens": 12"#,
            r#""finish_reason": null, "completion_tokens": -1"#,
            r#""finish_reason": null, "completion_tokens": 1.5"#,
            r#""finish_reason": null, "error": 1, "completion_tokens": 1"#,
            r#""finish_reason": null"#,
            r#""completion_tokens": 1"#,
        ] {
            assert_eq!(sglang(event("a", meta).as_bytes(), &mut count), None, "{meta}");
        }
        let cut = event("a", usual);
        assert_eq!(sglang(&cut.as_bytes()[..cut.len() - 1], &mut count), None);
        assert_eq!(sglang(br#"{"error": {"message": "no"}}"#, &mut count), None);
    }
}
