//! One answer, from its bytes to what is recorded of it. Pure: bytes and times come from outside.
//!
//! The rules of completion stand in [`Answer::close`] and nowhere else.

use domain::failure::{FailureKind, RequestFailure};
use domain::framework::Wire;
use domain::request::{Chunk, ServerTimes};

use crate::http::{Decoder, Ending};
use crate::scan::{EVENT_BYTES, EventTooLong, Item, Scanner};
use crate::wire::{self, EventFault, Mark, Piece, Reader, Usage};

/// The body of an answer that is not 200 is kept up to here: enough for its message.
const ERROR_BODY_BYTES: usize = 4 << 10;
/// Room for chunks that is made before the answer comes; a longer answer makes more as it goes.
const CHUNKS_AT_FIRST: usize = 8 << 10;

/// What the reader of the connection should do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Go on.
    More,
    /// Go on for a moment only: the stream has ended, the body has not.
    Rest,
    /// Stop: everything is known.
    Nothing,
}

/// When bytes came, counted from sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    pub(crate) at_ns: u64,
    /// How long after that they were read, where `at_ns` is not simply the time of reading.
    pub(crate) late_ns: Option<u32>,
}

impl From<u64> for Moment {
    fn from(at_ns: u64) -> Self {
        Self { at_ns, late_ns: None }
    }
}

/// How the reading of an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Everything that was needed had come, or the server closed the connection in an orderly way.
    Closed,
    /// The connection broke, and how.
    Lost(String),
    /// Nothing came for as long as a request may be silent.
    Idle,
    /// The run's time was over.
    Deadline,
    /// The run was to be stopped.
    Stopped,
}

/// The rules by which an answer counts as complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Output length asked for, in tokens.
    pub(crate) asked_tokens: u32,
    pub(crate) length: LengthRule,
}

/// Which output lengths are right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LengthRule {
    /// Exactly the one asked for.
    Exact,
    /// At most the one asked for.
    AtMost,
}

/// What became of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Option<u16>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) usage: Usage,
    pub(crate) times: Option<ServerTimes>,
    pub(crate) pings: u32,
    /// When it was complete, if it ever was.
    pub(crate) done_ns: Option<u64>,
    pub(crate) failure: Option<RequestFailure>,
}

/// An answer that is being read.
#[derive(Debug)]
pub(crate) struct Answer {
    decoder: Decoder,
    scanner: Scanner,
    stream: Stream,
    /// The body of an answer that is not 200.
    error_body: Vec<u8>,
    /// The body of an answer that was asked for in one piece, as far as it came.
    whole: Option<Vec<u8>>,
}

/// How an answer was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// As a stream of events.
    Streamed,
    /// In one piece: its first token is there when its last is.
    Whole,
}

/// What was found in the stream so far.
#[derive(Debug)]
struct Stream {
    reader: Reader,
    chunks: Vec<Chunk>,
    usage: Usage,
    times: Option<ServerTimes>,
    pings: u32,
    mark: Mark,
    /// When the end mark came.
    ended_ns: Option<u64>,
    fault: Option<RequestFailure>,
}

impl Answer {
    /// An answer of which nothing has come. Room for its chunks is made now.
    pub(crate) fn new(wire: Wire, asked_tokens: u32) -> Self {
        let stream = Stream {
            reader: Reader::new(wire),
            chunks: Vec::with_capacity(CHUNKS_AT_FIRST.min(asked_tokens as usize + 1)),
            usage: Usage::NONE,
            times: None,
            pings: 0,
            mark: Mark::Open,
            ended_ns: None,
            fault: None,
        };
        let scanner = Scanner::new(wire::format(wire));
        Self { decoder: Decoder::new(), scanner, stream, error_body: Vec::new(), whole: None }
    }

    /// The same, for an answer that was asked for in this way.
    pub(crate) fn delivered(self, delivery: Delivery) -> Self {
        let whole = match delivery {
            Delivery::Streamed => None,
            Delivery::Whole => Some(Vec::new()),
        };
        Self { whole, ..self }
    }

    /// Takes bytes and the moment at which they came.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], at: impl Into<Moment>) -> Need {
        let at = at.into();
        loop {
            match self.decoder.next(&mut bytes) {
                Ok(Some(body)) => self.body(body, at),
                Ok(None) => break,
                Err(error) => self.stream.fail(FailureKind::BadHttp, chain(&error)),
            }
            if self.stream.fault.is_some() {
                return Need::Nothing;
            }
        }
        if self.decoder.done() {
            self.finish(at);
            Need::Nothing
        } else if self.stream.mark == Mark::End {
            Need::Rest
        } else {
            Need::More
        }
    }

    /// How many bytes may be fed so that no two events are, if that is known.
    pub(crate) fn within_event(&self) -> Option<usize> {
        self.decoder.within_chunk()
    }

    /// The chunks that came so far.
    pub(crate) fn chunks(&self) -> &[Chunk] {
        &self.stream.chunks
    }

    /// Ends the reading at `at_ns` and says what became of the answer.
    pub(crate) fn close(mut self, end: End, at_ns: u64, rules: Rules) -> Outcome {
        if end == End::Closed && self.decoder.ending() == Ending::Complete {
            self.finish(at_ns.into());
        }
        let failure = self.failure(end, rules);
        let Self { decoder, stream, .. } = self;
        let complete = match &failure {
            None => true,
            Some(failure) => {
                matches!(failure.kind, FailureKind::NoTokens | FailureKind::WrongTokenCount)
            }
        };
        Outcome {
            status: decoder.status(),
            chunks: stream.chunks,
            usage: stream.usage,
            times: stream.times,
            pings: stream.pings,
            done_ns: complete.then(|| stream.ended_ns.unwrap_or(at_ns)),
            failure,
        }
    }

    fn body(&mut self, body: &[u8], at: Moment) {
        if let (Some(200), Some(whole)) = (self.decoder.status(), &mut self.whole) {
            if EVENT_BYTES < whole.len() + body.len() {
                self.stream.fail(FailureKind::MalformedEvent, EventTooLong.to_string());
            } else {
                whole.extend_from_slice(body);
            }
        } else if self.decoder.status() == Some(200) {
            let stream = &mut self.stream;
            let pushed = self.scanner.push(body, &mut |item| stream.item(item, at));
            if let Err(error) = pushed {
                self.stream.fail(FailureKind::MalformedEvent, error.to_string());
            }
        } else {
            let room = ERROR_BODY_BYTES.saturating_sub(self.error_body.len());
            self.error_body.extend_from_slice(&body[..room.min(body.len())]);
        }
    }

    /// The body is complete: so are the lines that were not ended.
    fn finish(&mut self, at: Moment) {
        let stream = &mut self.stream;
        self.scanner.finish(&mut |item| stream.item(item, at));
        if let Some(whole) = self.whole.take().filter(|whole| !whole.is_empty()) {
            stream.item(Item::Data(&whole), at);
            // It is not to go on, whether or not it says why it ended.
            stream.mark = stream.mark.max(Mark::Finished);
        }
        // Without an end mark the body's end is the answer's.
        stream.ended_ns.get_or_insert(at.at_ns);
    }

    /// Why the request failed, if it did. The first rule that applies names the kind.
    fn failure(&self, end: End, rules: Rules) -> Option<RequestFailure> {
        let Stream { chunks, mark, fault, .. } = &self.stream;
        if fault.is_some() {
            return fault.clone();
        }
        if let Some(status) = self.decoder.status().filter(|status| *status != 200) {
            return Some(refusal(status, &self.error_body));
        }
        // After the end mark nothing can go wrong any more.
        if *mark != Mark::End {
            if let Some(failure) = self.interruption(end) {
                return Some(failure);
            }
            if *mark == Mark::Open {
                let detail =
                    format!("the body ended after {} without an end mark", counted(chunks.len()));
                return Some(RequestFailure::new(FailureKind::TruncatedStream, detail));
            }
        }
        if chunks.is_empty() {
            let detail = "the answer was complete and had no tokens";
            return Some(RequestFailure::new(FailureKind::NoTokens, detail));
        }
        self.wrong_count(rules)
    }

    /// Why the body did not come to its end.
    fn interruption(&self, end: End) -> Option<RequestFailure> {
        let so_far = match (self.decoder.status(), self.stream.chunks.len()) {
            (None, _) => "before any answer".to_owned(),
            (Some(_), chunks) => format!("after {}", counted(chunks)),
        };
        let (kind, detail) = match (end, self.decoder.ending()) {
            (End::Closed, Ending::Complete) => return None,
            (End::Closed, Ending::BeforeHead | Ending::Cut) => {
                (FailureKind::ConnectionLost, format!("the server closed the connection {so_far}"))
            }
            (End::Lost(how), _) => (FailureKind::ConnectionLost, format!("{how} {so_far}")),
            (End::Idle, _) => {
                let kind = if self.stream.chunks.is_empty() {
                    FailureKind::StalledBeforeFirstToken
                } else {
                    FailureKind::StalledMidStream
                };
                (kind, format!("nothing came for too long {so_far}"))
            }
            (End::Deadline, _) => {
                (FailureKind::DeadlineExceeded, format!("the run's time was over {so_far}"))
            }
            (End::Stopped, _) => (FailureKind::Aborted, format!("the run was stopped {so_far}")),
        };
        Some(RequestFailure::new(kind, detail))
    }

    fn wrong_count(&self, rules: Rules) -> Option<RequestFailure> {
        let (counted, asked) = (self.stream.usage.output?, rules.asked_tokens);
        let right = match rules.length {
            LengthRule::Exact => counted == asked,
            LengthRule::AtMost => counted <= asked,
        };
        let detail = format!("the server counted {counted} tokens where {asked} were asked for");
        (!right).then(|| RequestFailure::new(FailureKind::WrongTokenCount, detail))
    }
}

impl Stream {
    fn item(&mut self, item: Item<'_>, at: Moment) {
        if self.fault.is_some() || self.mark == Mark::End {
            return;
        }
        match item {
            Item::Ping => self.pings += 1,
            Item::Data(data) => match self.reader.read_quickly(data) {
                Some(quick) => self.said_quickly(quick, at),
                None => self.data(data, at),
            },
            Item::Error(data) => self.fail(FailureKind::StreamError, wire::error_message(data)),
            Item::NotAStream(line) => match wire::declared_error(line) {
                Some(message) => self.fail(FailureKind::StreamError, message),
                None => {
                    let why = format!("the answer is not an event stream: {}", wire::excerpt(line));
                    self.fail(FailureKind::MalformedEvent, why);
                }
            },
        }
    }

    /// An event that is unlike those before it.
    fn data(&mut self, data: &[u8], at: Moment) {
        match self.reader.read_slowly(data) {
            Ok(said) => self.said(said, at),
            Err(EventFault::Malformed(why)) => self.fail(FailureKind::MalformedEvent, why),
            Err(EventFault::Failed(message)) => self.fail(FailureKind::StreamError, message),
        }
    }

    fn said(&mut self, said: wire::Said, at: Moment) {
        self.piece(said.piece, at);
        self.usage = self.usage.then(said.usage);
        self.times = said.times.or(self.times);
        self.mark = self.mark.max(said.mark);
        if self.mark == Mark::End {
            self.ended_ns = Some(at.at_ns);
        }
    }

    fn said_quickly(&mut self, said: wire::SaidQuickly, at: Moment) {
        self.piece(said.piece, at);
        self.usage.output = said.output.or(self.usage.output);
    }

    fn piece(&mut self, piece: Option<Piece>, at: Moment) {
        let tokens = match piece {
            Some(Piece::Counted(tokens)) => Some(tokens),
            Some(Piece::Uncounted) => None,
            None => return,
        };
        self.chunks.push(Chunk { at_ns: at.at_ns, late_ns: at.late_ns, tokens });
    }

    fn fail(&mut self, kind: FailureKind, detail: String) {
        self.fault.get_or_insert_with(|| RequestFailure::new(kind, detail));
    }
}

fn counted(chunks: usize) -> String {
    match chunks {
        1 => "1 chunk".to_owned(),
        chunks => format!("{chunks} chunks"),
    }
}

/// The failure that a status other than 200 is.
fn refusal(status: u16, body: &[u8]) -> RequestFailure {
    let kind = match status {
        429 => FailureKind::RateLimited,
        503 => FailureKind::Unavailable,
        500..=599 => FailureKind::ServerError,
        _ => FailureKind::Rejected,
    };
    let body = String::from_utf8_lossy(body);
    let detail = match body.trim() {
        "" => format!("status {status}"),
        body => format!("status {status}: {body}"),
    };
    RequestFailure::new(kind, detail)
}

/// An error and its causes in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
