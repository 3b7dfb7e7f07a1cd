//! Wire formats: the body of a request, and what each event of the answer says. Pure.
//!
//! One file a format. An event is read for the few things that are measured; no tree of it is
//! built, and texts are looked at but not kept.

mod ollama;
mod openai;
mod openai_chat;
mod openai_completions;
mod pick;
mod quick;
mod sglang;

use domain::failure::RequestFailure;
use domain::framework::Wire;
use domain::request::ServerTimes;
use serde::Serialize;
use serde_json::Value;

use crate::scan::Format;

use self::quick::Quick;

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// Model id as the server knows it.
    pub(crate) model: &'a str,
    pub(crate) prompt: &'a str,
    /// Tokens to generate.
    pub(crate) output_len: u32,
    pub(crate) ignore_eos: bool,
    /// Sampling seed, for formats that have one.
    pub(crate) seed: u32,
}

/// What an event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    /// The tokens that it carried, if any.
    pub(crate) piece: Option<Piece>,
    pub(crate) usage: Usage,
    /// How long the work took by the server's own clock.
    pub(crate) times: Option<ServerTimes>,
    pub(crate) mark: Mark,
}

impl Said {
    /// An event that says nothing.
    const NOTHING: Self = Self { piece: None, usage: Usage::NONE, times: None, mark: Mark::Open };
}

/// What an event says in the middle of a stream, where it looks like those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SaidQuickly {
    /// The tokens that it carried, if any.
    pub(crate) piece: Option<Piece>,
    /// Output tokens so far, if it says so.
    pub(crate) output: Option<u32>,
}

#[cfg(any(test, fuzzing))]
impl From<SaidQuickly> for Said {
    fn from(SaidQuickly { piece, output }: SaidQuickly) -> Self {
        Self { piece, usage: Usage { output, ..Usage::NONE }, ..Self::NOTHING }
    }
}

/// Tokens of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// So many.
    Counted(u32),
    /// At least a part of one; the event does not say.
    Uncounted,
}

/// Token counts so far, as far as an event gives them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) prompt: Option<u32>,
    pub(crate) cached: Option<u32>,
    pub(crate) output: Option<u32>,
    /// Whether generation ended because the answer may not be longer, which is said without a
    /// count.
    pub(crate) reached_length: bool,
}

impl Usage {
    pub(crate) const NONE: Self =
        Self { prompt: None, cached: None, output: None, reached_length: false };

    /// What `later` says, and of what it does not say, what was known.
    pub(crate) fn then(self, later: Self) -> Self {
        Self {
            prompt: later.prompt.or(self.prompt),
            cached: later.cached.or(self.cached),
            output: later.output.or(self.output),
            reached_length: later.reached_length || self.reached_length,
        }
    }
}

/// How far the answer is, by what the event says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mark {
    /// It goes on.
    Open,
    /// Generation has stopped for a reason that was named; counts may follow.
    Finished,
    /// The end mark: nothing follows.
    End,
}

/// An event that makes its request fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EventFault {
    /// It cannot be read, and why.
    Malformed(String),
    /// It says that the server failed, and how.
    Failed(String),
}

/// Reads the events of one answer.
#[derive(Debug)]
pub(crate) struct Reader {
    wire: Wire,
    count: Count,
    quick: Quick,
    /// Whether an event that carried tokens was parsed.
    begun: bool,
}

/// The output tokens that are accounted for, to find how many an event adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Count {
    Known(u32),
    /// Text has come without a count, so that a later total cannot be split up.
    Unknown,
}

impl Count {
    /// A piece of text came, and with it a total or not.
    fn add(&mut self, total: Option<u32>) -> Piece {
        match (*self, total) {
            (Self::Known(before), Some(total)) => {
                *self = Self::Known(total);
                // A total that shrinks is no count of tokens; it adds none.
                Piece::Counted(total.saturating_sub(before))
            }
            (Self::Known(_), None) | (Self::Unknown, _) => {
                *self = Self::Unknown;
                Piece::Uncounted
            }
        }
    }
}

impl Reader {
    pub(crate) const fn new(wire: Wire) -> Self {
        Self { wire, count: Count::Known(0), quick: Quick::new(), begun: false }
    }

    /// Reads the data of one event, in whichever way it can be read.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn read(&mut self, data: &[u8]) -> Result<Said, EventFault> {
        match self.read_quickly(data) {
            Some(quick) => Ok(quick.into()),
            None => self.read_slowly(data),
        }
    }

    /// What the event says, if it looks like those before it; otherwise it is to be read slowly.
    pub(crate) fn read_quickly(&mut self, data: &[u8]) -> Option<SaidQuickly> {
        match self.wire {
            // The first event is parsed for the counts that the others repeat.
            Wire::SglangGenerate if self.begun => quick::sglang(data, &mut self.count),
            Wire::SglangGenerate => None,
            Wire::OpenaiCompletions | Wire::OpenaiChat | Wire::OllamaGenerate => {
                let fits = self.quick.fits(data);
                fits.then(|| SaidQuickly { piece: Some(self.count.add(None)), output: None })
            }
        }
    }

    /// Reads an event that cannot be read quickly, and learns from it.
    pub(crate) fn read_slowly(&mut self, data: &[u8]) -> Result<Said, EventFault> {
        let said = self.parse(data)?;
        // An event that says nothing but that text came tells what the next ones look like.
        let only_text = Said { piece: Some(Piece::Uncounted), ..Said::NOTHING };
        if said == only_text {
            self.quick.learn(data, varying(self.wire));
        }
        self.begun |= said.piece.is_some();
        Ok(said)
    }

    /// Reads it by parsing, whatever it looks like: what the quick way must agree with.
    pub(crate) fn parse(&mut self, data: &[u8]) -> Result<Said, EventFault> {
        let count = &mut self.count;
        let said = match self.wire {
            Wire::OllamaGenerate => ollama::read(data, count),
            Wire::SglangGenerate | Wire::OpenaiCompletions | Wire::OpenaiChat
                if data == b"[DONE]" =>
            {
                Ok(Said { mark: Mark::End, ..Said::NOTHING })
            }
            Wire::SglangGenerate => sglang::read(data, count),
            Wire::OpenaiCompletions => openai_completions::read(data, count),
            Wire::OpenaiChat => openai_chat::read(data, count),
        };
        said.map_err(|wrong| match wrong {
            Wrong::NotJson(error) => EventFault::Malformed(format!("{error}: {}", excerpt(data))),
            Wrong::Shape(missing) => match declared_error(data) {
                Some(message) => EventFault::Failed(message),
                None => EventFault::Malformed(format!("no {missing} in {}", excerpt(data))),
            },
            Wrong::Failed => EventFault::Failed(error_message(data)),
        })
    }
}

/// Why an event says nothing that could be measured.
enum Wrong {
    NotJson(serde_json::Error),
    /// It lacks what every event of the format has.
    Shape(&'static str),
    /// It says that the server failed.
    Failed,
}

impl From<serde_json::Error> for Wrong {
    fn from(error: serde_json::Error) -> Self {
        Self::NotJson(error)
    }
}

/// The names of values that differ from event to event, as they stand in JSON; the last is the
/// text's.
const fn varying(wire: Wire) -> &'static [&'static [u8]] {
    match wire {
        Wire::OpenaiCompletions => &[b"\"text\":"],
        Wire::OpenaiChat => &[b"\"content\":"],
        Wire::OllamaGenerate => &[b"\"created_at\":", b"\"response\":"],
        Wire::SglangGenerate => &[],
    }
}

/// How the events of a format are delimited.
pub(crate) const fn format(wire: Wire) -> Format {
    match wire {
        Wire::SglangGenerate | Wire::OpenaiCompletions | Wire::OpenaiChat => Format::Sse,
        Wire::OllamaGenerate => Format::Ndjson,
    }
}

/// The body of a request, as JSON.
pub(crate) fn body(wire: Wire, ask: &Ask<'_>) -> Vec<u8> {
    match wire {
        Wire::SglangGenerate => json(&sglang::body(ask)),
        Wire::OpenaiCompletions => json(&openai_completions::body(ask)),
        Wire::OpenaiChat => json(&openai_chat::body(ask)),
        Wire::OllamaGenerate => json(&ollama::body(ask)),
    }
}

#[expect(clippy::expect_used, reason = "structs of strings and numbers always serialise")]
fn json(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).expect("a body is plain data")
}

/// The error message in an event, or the event itself.
pub(crate) fn error_message(data: &[u8]) -> String {
    let event = serde_json::from_slice(data).ok();
    event.as_ref().and_then(message).unwrap_or_else(|| excerpt(data))
}

/// The message of an event that calls itself an error at its top level, as SGLang's and
/// FastAPI's do.
pub(crate) fn declared_error(data: &[u8]) -> Option<String> {
    let event: Value = serde_json::from_slice(data).ok()?;
    let is_error = event["object"] == "error" || !event["error"].is_null();
    (is_error || event["detail"].is_string()).then(|| error_message(data))
}

fn message(event: &Value) -> Option<String> {
    let places = [
        &event["error"]["message"],
        &event["error"],
        &event["meta_info"]["finish_reason"]["message"],
        &event["message"],
        &event["detail"],
    ];
    places.into_iter().find_map(Value::as_str).map(str::to_owned)
}

/// The beginning of an event, for people.
pub(crate) fn excerpt(data: &[u8]) -> String {
    let start = &data[..data.len().min(RequestFailure::DETAIL_BYTES)];
    String::from_utf8_lossy(start).into_owned()
}

#[cfg(test)]
mod tests;
