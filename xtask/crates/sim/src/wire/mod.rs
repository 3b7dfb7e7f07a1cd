//! What requests and answers look like, as pure text: nothing here waits, writes or counts.

mod ollama;
mod openai;
mod sglang;

use domain::timestamp::Timestamp;
use serde::Deserialize;

use crate::engine::Finish;
use crate::tokens;

/// A format of requests and answers, which is also an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    /// OpenAI's `/v1/completions`.
    Completions,
    /// OpenAI's `/v1/chat/completions`.
    Chat,
    /// SGLang's `/generate`.
    Sglang,
    /// Ollama's `/api/generate`.
    OllamaGenerate,
    /// Ollama's `/api/chat`.
    OllamaChat,
}

/// Whether an answer comes in pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Delivery {
    /// Token by token.
    Stream,
    /// At once, when it is complete.
    Whole,
}

/// Which events of an OpenAI stream carry token counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum UsageIn {
    /// None.
    Nowhere,
    /// One more event at the end.
    LastEvent,
    /// Every event, and one more at the end.
    EveryEvent,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    /// Token ids of the prompt.
    pub(crate) prompt: Vec<u32>,
    /// Most tokens to generate; `None` leaves it to the model and its context.
    pub(crate) limit: Option<u32>,
    /// Fewest tokens to generate.
    pub(crate) least: u32,
    /// Whether the model may end the answer before its limit.
    pub(crate) may_stop: bool,
    /// Mixed into the choice of a natural length.
    pub(crate) seed: u64,
    /// How the answer is to come.
    pub(crate) delivery: Delivery,
    /// Where counts are wanted.
    pub(crate) usage: UsageIn,
}

/// A request that is not understood: the reason, for the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadAsk(String);

impl BadAsk {
    /// For this reason.
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

/// What stays the same over an answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The format.
    pub(crate) dialect: Dialect,
    /// Number of the request, which gives its id.
    pub(crate) seq: u64,
    /// Name of the model.
    pub(crate) model: String,
    /// When the request was received.
    pub(crate) created: Timestamp,
    /// Prompt length, in tokens.
    pub(crate) prompt_tokens: u32,
    /// Where counts are wanted.
    pub(crate) usage: UsageIn,
    /// Added to every count of generated tokens; 0 unless it is to be wrong.
    pub(crate) skew: u32,
}

/// How far an answer has come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress<'a> {
    /// The text since the last event.
    pub(crate) piece: &'a str,
    /// The whole text so far.
    pub(crate) text: &'a str,
    /// Tokens so far.
    pub(crate) tokens: u32,
    /// Prompt tokens that came from the prefix cache.
    pub(crate) cached_tokens: u32,
    /// Set with the last token.
    pub(crate) finish: Option<Finish>,
    /// Times so far, for the dialects that tell them.
    pub(crate) spent: Spent,
}

/// Times of an answer, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    /// Since the request was received.
    pub(crate) total_ns: u64,
    /// From there to the first token.
    pub(crate) prompt_ns: u64,
}

impl Dialect {
    /// The dialect that is spoken at a path.
    pub(crate) fn at(path: &str) -> Option<Self> {
        match path {
            "/v1/completions" => Some(Self::Completions),
            "/v1/chat/completions" => Some(Self::Chat),
            "/generate" => Some(Self::Sglang),
            "/api/generate" => Some(Self::OllamaGenerate),
            "/api/chat" => Some(Self::OllamaChat),
            _ => None,
        }
    }

    /// Understands a request body.
    pub(crate) fn read(self, body: &[u8]) -> Result<Ask, BadAsk> {
        match self {
            Self::Completions => openai::read_completions(body),
            Self::Chat => openai::read_chat(body),
            Self::Sglang => sglang::read(body),
            Self::OllamaGenerate => ollama::read_generate(body),
            Self::OllamaChat => ollama::read_chat(body),
        }
    }

    /// `done_reason` of a request that only loads or unloads the model, which Ollama has.
    pub(crate) fn loads(self, body: &[u8]) -> Option<&'static str> {
        match self {
            Self::OllamaGenerate => ollama::loads(body),
            Self::Completions | Self::Chat | Self::Sglang | Self::OllamaChat => None,
        }
    }

    /// `Content-Type` of a streamed answer.
    pub(crate) const fn stream_type(self) -> &'static str {
        match self {
            Self::Completions | Self::Chat | Self::Sglang => "text/event-stream; charset=utf-8",
            Self::OllamaGenerate | Self::OllamaChat => "application/x-ndjson",
        }
    }

    /// An error as the body of an answer.
    pub(crate) fn error_body(self, status: u16, message: &str) -> String {
        match self {
            Self::Completions | Self::Chat => openai::error(status, message),
            Self::Sglang => sglang::error(status, message),
            Self::OllamaGenerate | Self::OllamaChat => ollama::error(message),
        }
    }

    /// An error as an event of a stream that has begun.
    pub(crate) fn error_event(self, message: &str) -> String {
        self.event(&self.error_body(500, message))
    }

    /// An event whose JSON breaks off.
    pub(crate) fn broken_event(self) -> String {
        self.event(r#"{"id":"broken","choices":[{"te"#)
    }

    /// What carries nothing and only keeps the connection open.
    pub(crate) const fn ping(self) -> &'static str {
        match self {
            Self::Completions | Self::Chat | Self::Sglang => ": ping\n\n",
            Self::OllamaGenerate | Self::OllamaChat => "\n",
        }
    }

    /// The end of a stream that said nothing.
    pub(crate) const fn bare_end(self) -> &'static str {
        match self {
            Self::Completions | Self::Chat | Self::Sglang => DONE,
            Self::OllamaGenerate | Self::OllamaChat => "{\"done\":true}\n",
        }
    }

    /// What follows an error in a stream, where the dialect still ends it.
    pub(crate) const fn end_mark(self) -> Option<&'static str> {
        match self {
            Self::Completions | Self::Chat | Self::Sglang => Some(DONE),
            Self::OllamaGenerate | Self::OllamaChat => None,
        }
    }

    fn event(self, json: &str) -> String {
        match self {
            Self::Completions | Self::Chat | Self::Sglang => format!("data: {json}\n\n"),
            Self::OllamaGenerate | Self::OllamaChat => format!("{json}\n"),
        }
    }
}

impl Reply {
    /// An event before the first token, where the dialect has one.
    pub(crate) fn opening(&self) -> Option<String> {
        match self.dialect {
            Dialect::Chat => Some(self.dialect.event(&openai::role(self))),
            Dialect::Completions | Dialect::Sglang => None,
            Dialect::OllamaGenerate | Dialect::OllamaChat => None,
        }
    }

    /// The event that carries a piece of text.
    pub(crate) fn piece(&self, progress: &Progress<'_>) -> String {
        let json = match self.dialect {
            Dialect::Completions => openai::completion_piece(self, progress),
            Dialect::Chat => openai::chat_piece(self, progress),
            Dialect::Sglang => sglang::piece(self, progress),
            Dialect::OllamaGenerate | Dialect::OllamaChat => ollama::piece(self, progress),
        };
        self.dialect.event(&json)
    }

    /// What follows the last piece: counts, and the end mark.
    pub(crate) fn closing(&self, progress: &Progress<'_>) -> Vec<String> {
        match (self.dialect, self.usage) {
            (Dialect::Completions | Dialect::Chat, UsageIn::LastEvent | UsageIn::EveryEvent) => {
                vec![self.dialect.event(&openai::usage_event(self, progress)), DONE.to_owned()]
            }
            (Dialect::Completions | Dialect::Chat, UsageIn::Nowhere) | (Dialect::Sglang, _) => {
                vec![DONE.to_owned()]
            }
            (Dialect::OllamaGenerate | Dialect::OllamaChat, _) => {
                vec![self.dialect.event(&ollama::last(self, progress, ""))]
            }
        }
    }

    /// The answer in one piece.
    pub(crate) fn whole(&self, progress: &Progress<'_>) -> String {
        match self.dialect {
            Dialect::Completions => openai::completion(self, progress),
            Dialect::Chat => openai::chat(self, progress),
            Dialect::Sglang => sglang::piece(self, progress),
            Dialect::OllamaGenerate | Dialect::OllamaChat => {
                ollama::last(self, progress, progress.text)
            }
        }
    }

    /// Generated tokens, as the answer tells.
    fn told(&self, progress: &Progress<'_>) -> u32 {
        progress.tokens + self.skew
    }

    /// Seconds since 1970.
    const fn created_s(&self) -> i64 {
        self.created.unix_millis() / 1000
    }
}

/// Whether a model was unloaded, and with it everything that it had cached.
pub(crate) fn is_unload(done_reason: &str) -> bool {
    done_reason == ollama::UNLOAD
}

/// The end mark of an SSE stream.
const DONE: &str = "data: [DONE]\n\n";

/// A prompt, as text or as token ids.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the prompt must be one text or one list of token ids")]
enum Prompt {
    Text(String),
    Ids(Vec<u32>),
    Texts(Vec<String>),
    IdLists(Vec<Vec<u32>>),
}

impl Prompt {
    /// Its token ids. Batches are not simulated: a load client sends one prompt a request.
    fn ids(self) -> Result<Vec<u32>, BadAsk> {
        let ids = match self {
            Self::Text(text) => tokens::ids(&text),
            Self::Ids(ids) => ids,
            Self::Texts(mut texts) if texts.len() == 1 => tokens::ids(&texts.remove(0)),
            Self::IdLists(mut lists) if lists.len() == 1 => lists.remove(0),
            Self::Texts(_) | Self::IdLists(_) => {
                return Err(BadAsk::new("a request takes one prompt, not several"));
            }
        };
        if ids.is_empty() {
            return Err(BadAsk::new("the prompt has no tokens"));
        }
        Ok(ids)
    }
}

/// A message of a chat. Roles and templates cost no tokens here.
#[derive(Debug, Deserialize)]
struct Message {
    content: Content,
}

/// The content of a message: text, or a list of parts of which the texts count.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "the content must be a text or a list of parts")]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

/// Token ids of a whole chat.
fn chat_ids(messages: &[Message]) -> Result<Vec<u32>, BadAsk> {
    if messages.is_empty() {
        return Err(BadAsk::new("the chat has no messages"));
    }
    let texts = messages.iter().flat_map(|message| match &message.content {
        Content::Text(text) => vec![text.as_str()],
        Content::Parts(parts) => parts.iter().map(|part| part.text.as_str()).collect(),
    });
    Ok(tokens::ids(&texts.collect::<Vec<_>>().join(" ")))
}

/// A limit that the client gave: at least one token.
fn limit(asked: Option<u32>, name: &str) -> Result<Option<u32>, BadAsk> {
    match asked {
        Some(0) => Err(BadAsk::new(format!("`{name}` must be at least 1"))),
        asked => Ok(asked),
    }
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BadAsk> {
    serde_json::from_slice(body).map_err(|error| BadAsk::new(format!("bad request body: {error}")))
}

fn to_json(value: &impl serde::Serialize) -> String {
    // Our own types have string keys and finite numbers; should one not, the client sees it.
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}

const fn finish_name(finish: Finish) -> &'static str {
    match finish {
        Finish::Length => "length",
        Finish::Stop => "stop",
    }
}
