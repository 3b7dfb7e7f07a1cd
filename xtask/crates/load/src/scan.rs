//! The stream in a body, incremental and without I/O: body bytes in, events out.
//!
//! Server-sent events and newline-delimited JSON. The bytes may be split anywhere; an event that
//! came in one piece is handed on as a slice of it.

use memchr::memchr;

/// An event larger than this is a fault. SGLang repeats the whole text in every event, so that
/// megabytes are possible.
pub(crate) const EVENT_BYTES: usize = 32 << 20;

/// How events are delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Server-sent events.
    Sse,
    /// One JSON value a line.
    Ndjson,
}

/// One thing found in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item<'a> {
    /// The data of an event.
    Data(&'a [u8]),
    /// The data of an event that is named `error`.
    Error(&'a [u8]),
    /// A comment, or an event without data, which only keeps the connection open.
    Ping,
    /// A line that begins like JSON, where an event stream was to be expected.
    NotAStream(&'a [u8]),
}

/// An event was larger than this crate is willing to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES} bytes")]
pub(crate) struct EventTooLong;

/// Finds events.
#[derive(Debug)]
pub(crate) struct Scanner {
    format: Format,
    /// A line that has not come to its end yet.
    partial: Vec<u8>,
    /// The event that the lines so far make.
    event: Event,
}

#[derive(Debug)]
struct Event {
    data: Vec<u8>,
    has_data: bool,
    is_error: bool,
}

impl Scanner {
    pub(crate) const fn new(format: Format) -> Self {
        let event = Event { data: Vec::new(), has_data: false, is_error: false };
        Self { format, partial: Vec::new(), event }
    }

    /// Takes the next bytes of the body and gives every item that they complete.
    pub(crate) fn push(
        &mut self,
        mut bytes: &[u8],
        found: &mut impl FnMut(Item<'_>),
    ) -> Result<(), EventTooLong> {
        while let Some(at) = memchr(b'\n', bytes) {
            let (line, rest) = (&bytes[..at], &bytes[at + 1..]);
            bytes = rest;
            if self.partial.is_empty() {
                self.line(without_return(line), &mut bytes, found);
            } else {
                self.partial.extend_from_slice(line);
                let line = std::mem::take(&mut self.partial);
                self.line(without_return(&line), &mut bytes, found);
                self.partial = line;
                self.partial.clear();
            }
            if EVENT_BYTES < self.event.data.len() {
                return Err(EventTooLong);
            }
        }
        self.partial.extend_from_slice(bytes);
        if EVENT_BYTES < self.partial.len() { Err(EventTooLong) } else { Ok(()) }
    }

    /// The body has ended: gives what its last lines make, although they were not finished.
    pub(crate) fn finish(&mut self, found: &mut impl FnMut(Item<'_>)) {
        let line = std::mem::take(&mut self.partial);
        if !line.is_empty() {
            self.line(without_return(&line), &mut &[][..], found);
        }
        if self.event.has_data {
            self.dispatch(found);
        }
    }

    /// One line without its end; `rest` is what follows it.
    fn line(&mut self, line: &[u8], rest: &mut &[u8], found: &mut impl FnMut(Item<'_>)) {
        match self.format {
            Format::Ndjson if line.trim_ascii().is_empty() => {}
            Format::Ndjson => found(Item::Data(line)),
            Format::Sse => self.sse_line(line, rest, found),
        }
    }

    fn sse_line(&mut self, line: &[u8], rest: &mut &[u8], found: &mut impl FnMut(Item<'_>)) {
        if line.is_empty() {
            return self.dispatch(found);
        }
        if let Some(data) = field(line, b"data") {
            // Nearly every event is one line of data and a blank one: no copy is made of it.
            if !self.event.has_data
                && !self.event.is_error
                && let Some(after) = after_blank_line(rest)
            {
                *rest = after;
                found(if data.is_empty() { Item::Ping } else { Item::Data(data) });
            } else {
                self.event.append(data);
            }
        } else if let Some(name) = field(line, b"event") {
            self.event.is_error = name == b"error";
        } else if line.starts_with(b":") {
            found(Item::Ping);
        } else if line.starts_with(b"{") {
            found(Item::NotAStream(line));
        }
        // Other fields, such as `id` and `retry`, say nothing about the answer.
    }

    fn dispatch(&mut self, found: &mut impl FnMut(Item<'_>)) {
        let event = &mut self.event;
        if event.has_data {
            found(match (event.is_error, event.data.is_empty()) {
                (true, _) => Item::Error(&event.data),
                (false, true) => Item::Ping,
                (false, false) => Item::Data(&event.data),
            });
        }
        event.data.clear();
        event.has_data = false;
        event.is_error = false;
    }
}

impl Event {
    fn append(&mut self, data: &[u8]) {
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(data);
        self.has_data = true;
    }
}

/// The value of the field `name`, if the line is one: `name:value` or `name: value`.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let rest = line.strip_prefix(name)?;
    if rest.is_empty() {
        return Some(rest);
    }
    let value = rest.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// What follows the blank line that the bytes begin with, if they do.
fn after_blank_line(bytes: &[u8]) -> Option<&[u8]> {
    bytes.strip_prefix(b"\n").or_else(|| bytes.strip_prefix(b"\r\n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(format: Format, pieces: &[&[u8]]) -> Vec<String> {
        let mut scanner = Scanner::new(format);
        let mut items = Vec::new();
        let mut found = |item: Item<'_>| {
            let (kind, data) = match item {
                Item::Data(data) => ("data", data),
                Item::Error(data) => ("error", data),
                Item::Ping => ("ping", &[][..]),
                Item::NotAStream(line) => ("not a stream", line),
            };
            items.push(format!("{kind} {}", data.escape_ascii()));
        };
        for piece in pieces {
            scanner.push(piece, &mut found).unwrap();
        }
        scanner.finish(&mut found);
        items
    }

    #[test]
    fn server_sent_events_in_all_their_shapes() {
        let stream =
            b"data: a\n\ndata:b\r\n\r\n: ping\n\nevent: error\ndata: c\n\nevent: x\nid: 1\n\
            data: d\ndata: e\n\ndata:\n\n{\"f\":1}\nretry: 5\n\ndata:  g";
        insta::assert_snapshot!(scan(Format::Sse, &[stream]).join("\n"), @r#"
        data a
        data b
        ping 
        error c
        data d\ne
        ping 
        not a stream {\"f\":1}
        data  g
        "#);
    }

    #[test]
    fn json_lines_with_blank_ones_and_without_a_last_end() {
        let items = scan(Format::Ndjson, &[b"{1}\n\r\n{2}\r\n{3}"]);
        assert_eq!(items, ["data {1}", "data {2}", "data {3}"]);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut scanner = Scanner::new(Format::Sse);
        let megabyte = vec![b'x'; 1 << 20];
        let refused = (0..40).find_map(|_| scanner.push(&megabyte, &mut |_| {}).err());
        assert_eq!(refused, Some(EventTooLong));
    }

    proptest! {
        #[test]
        fn any_split_of_the_bytes_gives_the_same_items(
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("data: {\"x\":1}"), Just("data:y"), Just("data:"), Just("data"), Just(""),
                    Just(": c"), Just("event: error"), Just("{\"z\":2}"), Just("junk"),
                ],
                0..20,
            ),
            returns: bool,
            cuts in proptest::collection::vec(0..300usize, 0..10),
            sse: bool,
        ) {
            let bytes = lines.join(if returns { "\r\n" } else { "\n" });
            let format = if sse { Format::Sse } else { Format::Ndjson };
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut start = 0;
            let pieces = cuts.into_iter().map(|cut| {
                let piece = &bytes.as_bytes()[start..cut];
                start = cut;
                piece
            });
            prop_assert_eq!(
                scan(format, &pieces.collect::<Vec<_>>()),
                scan(format, &[bytes.as_bytes()])
            );
        }
    }
}
