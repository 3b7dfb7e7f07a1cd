//! Doors to the private parsers, for the fuzz targets in `tests/fuzz` and nobody else.
//!
//! Compiled under `cfg(fuzzing)` only. Nothing is decided here: each function feeds one parser and
//! hands out what it said, as plain data that targets can compare.

use domain::framework::Wire;

use crate::answer::{Answer, End, LengthRule, Need, Rules};
use crate::http::Decoder;
use crate::scan::{Format, Item, Scanner};
use crate::wire::{EventFault, Reader};

pub use crate::sglang::fuzz::{block, jsonl, strict};
pub use crate::tokenizer::fuzz::vocabulary;

/// What became of an HTTP answer that came in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAnswer {
    /// The status, if a head was read.
    pub status: Option<u16>,
    /// The body up to its end, or to where the reading failed.
    pub body: Vec<u8>,
    /// How the answer stood at the end of the bytes, or why they were refused.
    pub ending: Result<String, String>,
}

/// Reads one HTTP answer from its pieces.
pub fn http(pieces: &[&[u8]]) -> HttpAnswer {
    let mut decoder = Decoder::new();
    let mut body = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match decoder.next(&mut input) {
                Ok(Some(part)) => body.extend_from_slice(part),
                Ok(None) => break,
                Err(error) => {
                    let ending = Err(crate::answer::chain(&error));
                    return HttpAnswer { status: decoder.status(), body, ending };
                }
            }
        }
    }
    let ending = Ok(format!("{:?}", decoder.ending()));
    HttpAnswer { status: decoder.status(), body, ending }
}

/// The items of a body in a wire's framing, from its pieces: kind and data.
pub fn items(wire: Wire, pieces: &[&[u8]]) -> Vec<(&'static str, Vec<u8>)> {
    let format: Format = crate::wire::format(wire);
    let mut scanner = Scanner::new(format);
    let mut items = Vec::new();
    let mut found = |item: Item<'_>| {
        items.push(match item {
            Item::Data(data) => ("data", data.to_vec()),
            Item::Error(data) => ("error", data.to_vec()),
            Item::Ping => ("ping", Vec::new()),
            Item::NotAStream(line) => ("not a stream", line.to_vec()),
        });
    };
    for piece in pieces {
        if scanner.push(piece, &mut found).is_err() {
            return vec![("too long", Vec::new())];
        }
    }
    scanner.finish(&mut found);
    items
}

/// What one event says, without the texts in which a fault is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It was read: tokens in it, tokens so far and its mark, in the reader's own words.
    Said(String),
    /// It cannot be read.
    Malformed,
    /// It says that the server failed.
    Failed,
}

/// How events are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As in a run: by comparing them with the one before, where that does.
    Quick,
    /// By parsing each.
    Parsed,
}

/// Reads the events of one answer, one after the other.
pub fn events<'a>(way: Way, wire: Wire, events: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let mut reader = Reader::new(wire);
    let mut read = |event| match way {
        Way::Quick => reader.read(event),
        Way::Parsed => reader.parse(event),
    };
    let told = events.map(|event| match read(event) {
        Ok(said) => {
            Event::Said(format!("{:?} {:?} {:?}", said.piece, said.usage.output, said.mark))
        }
        Err(EventFault::Malformed(_)) => Event::Malformed,
        Err(EventFault::Failed(_)) => Event::Failed,
    });
    told.collect()
}

/// Reads a whole answer from its pieces, as the connection's reader would, and tells its outcome.
pub fn answer(wire: Wire, asked_tokens: u32, pieces: &[&[u8]]) -> String {
    let mut answer = Answer::new(wire, asked_tokens);
    for piece in pieces {
        if answer.feed(piece, 1_u64) == Need::Nothing {
            break;
        }
    }
    let rules = Rules { asked_tokens, length: LengthRule::AtMost };
    format!("{:?}", answer.close(End::Closed, 1, rules))
}
