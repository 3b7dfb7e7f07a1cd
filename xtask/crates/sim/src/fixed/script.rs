//! The bytes of an answer, made once and used for every request that asks for the same.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use domain::timestamp::Timestamp;

use crate::engine::Finish;
use crate::http::{LAST_CHUNK, Response, chunk, stream_head};
use crate::tokens;
use crate::wire::{Delivery, Dialect, Progress, Reply, Spent, UsageIn};

/// Scripts that are kept: a load of mixed lengths has some thousands.
const MOST_SCRIPTS: usize = 4096;
/// Bytes of scripts that are kept. SGLang's own format repeats the whole text in each event.
const MOST_BYTES: usize = 256 << 20;

/// What decides the bytes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Kind {
    pub(super) dialect: Dialect,
    pub(super) delivery: Delivery,
    pub(super) usage: UsageIn,
    pub(super) prompt_tokens: u32,
    pub(super) output_tokens: u32,
    /// Whether the connection ends with it.
    pub(super) close: bool,
}

/// An answer, cut into the events that are sent one by one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Script {
    bytes: Vec<u8>,
    /// Where each event ends. The head goes with the first one, what ends the stream with the last.
    ends: Vec<usize>,
}

impl Script {
    /// An answer that is sent at once.
    pub(super) fn whole(bytes: Vec<u8>) -> Self {
        let ends = vec![bytes.len()];
        Self { bytes, ends }
    }

    /// The answer of this kind.
    fn of(kind: Kind, model: &str) -> Self {
        let reply = Reply {
            dialect: kind.dialect,
            seq: 0,
            model: model.to_owned(),
            created: Timestamp::from(SystemTime::now()),
            prompt_tokens: kind.prompt_tokens,
            usage: kind.usage,
            skew: 0,
        };
        match kind.delivery {
            Delivery::Stream => Self::stream(kind, &reply),
            Delivery::Whole => {
                let text: String = (0..kind.output_tokens).map(tokens::word).collect();
                let body = reply.whole(&progress("", &text, kind.output_tokens, true));
                let response = Response {
                    status: 200,
                    content_type: "application/json",
                    more_headers: "",
                    body,
                };
                Self::whole(response.bytes(kind.close))
            }
        }
    }

    fn stream(kind: Kind, reply: &Reply) -> Self {
        let mut bytes = stream_head(kind.dialect.stream_type(), kind.close);
        if let Some(opening) = reply.opening() {
            bytes.extend(chunk(opening.as_bytes()));
        }
        let (mut ends, mut text) = (Vec::new(), String::new());
        for position in 0..kind.output_tokens {
            let piece = tokens::word(position);
            text.push_str(&piece);
            let last = position + 1 == kind.output_tokens;
            let progress = progress(&piece, &text, position + 1, last);
            bytes.extend(chunk(reply.piece(&progress).as_bytes()));
            if last {
                for event in reply.closing(&progress) {
                    bytes.extend(chunk(event.as_bytes()));
                }
                bytes.extend_from_slice(LAST_CHUNK);
            }
            ends.push(bytes.len());
        }
        Self { bytes, ends }
    }

    /// Events in it.
    pub(super) fn events(&self) -> usize {
        self.ends.len()
    }

    /// The events after the first `sent`: one, and further ones as long as all fit into `most`
    /// bytes. Gives where they end, and how many they are.
    pub(super) fn next(&self, sent: usize, most: usize) -> (usize, usize) {
        let start = if sent == 0 { 0 } else { self.ends[sent - 1] };
        let rest = &self.ends[sent..];
        let many = rest.partition_point(|end| end - start <= most).max(1).min(rest.len());
        (rest.get(many.saturating_sub(1)).copied().unwrap_or(self.bytes.len()), many)
    }

    /// Its bytes up to `end`, without the first `written`.
    pub(super) fn bytes(&self, written: usize, end: usize) -> &[u8] {
        &self.bytes[written..end]
    }
}

fn progress<'a>(piece: &'a str, text: &'a str, tokens: u32, last: bool) -> Progress<'a> {
    let finish = last.then_some(Finish::Length);
    Progress { piece, text, tokens, cached_tokens: 0, finish, spent: Spent::default() }
}

/// The scripts that were needed so far.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    known: HashMap<Kind, Arc<Script>>,
    bytes: usize,
}

impl Scripts {
    /// The script of a kind.
    pub(super) fn get(&mut self, kind: Kind, model: &str) -> Arc<Script> {
        if let Some(script) = self.known.get(&kind) {
            return Arc::clone(script);
        }
        let script = Arc::new(Script::of(kind, model));
        if self.known.len() == MOST_SCRIPTS || MOST_BYTES < self.bytes + script.bytes.len() {
            self.known.clear();
            self.bytes = 0;
        }
        self.bytes += script.bytes.len();
        self.known.insert(kind, Arc::clone(&script));
        script
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(output_tokens: u32) -> Script {
        let kind = Kind {
            dialect: Dialect::Completions,
            delivery: Delivery::Stream,
            usage: UsageIn::LastEvent,
            prompt_tokens: 3,
            output_tokens,
            close: false,
        };
        Script::of(kind, "sim")
    }

    #[test]
    fn events_follow_one_another_without_gaps_to_the_last_byte() {
        let script = script(5);
        let (mut sent, mut at) = (0, 0);
        while sent < script.events() {
            let (end, events) = script.next(sent, 1);
            assert_eq!(events, 1);
            assert!(at < end);
            (sent, at) = (sent + events, end);
        }
        assert_eq!(at, script.bytes.len());
        assert!(script.bytes.ends_with(b"data: [DONE]\n\n\r\n0\r\n\r\n"));
    }

    #[test]
    fn as_many_events_go_together_as_fit() {
        let script = script(5);
        assert_eq!(script.next(0, usize::MAX), (script.bytes.len(), 5));
        let two = script.ends[2] - script.ends[0];
        assert_eq!(script.next(1, two), (script.ends[2], 2));
        assert_eq!(script.next(1, two - 1), (script.ends[1], 1));
    }

    #[test]
    fn equal_requests_share_their_bytes() {
        let kind = Kind {
            dialect: Dialect::Sglang,
            delivery: Delivery::Whole,
            usage: UsageIn::Nowhere,
            prompt_tokens: 3,
            output_tokens: 2,
            close: true,
        };
        let mut scripts = Scripts::default();
        assert!(Arc::ptr_eq(&scripts.get(kind, "sim"), &scripts.get(kind, "sim")));
        assert_eq!(scripts.get(kind, "sim").events(), 1);
    }
}
