//! One real generation: the only proof that a server generates.

use std::time::{Duration, Instant};

use domain::framework::Wire;
use reqwest::Method;
use serde_json::{Value, json};

use crate::control::{ANSWER_BYTES, Answer, Endpoint, NoAnswer};
use crate::log::cut;

/// What is generated from. Ordinary text, so that no tokenizer or template stumbles over it.
const PROMPT: &str = "The quick brown fox jumps over the lazy dog and then";

/// How a generation is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) wire: Wire,
    pub(crate) length: Length,
    pub(crate) usage: Usage,
}

/// Whether the end of the text may end the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    /// The number of tokens is forced, with `ignore_eos`.
    Forced,
    /// It is only a limit.
    AtMost,
}

/// Whether the stream is asked for the server's own token count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    Wanted,
    NotAsked,
}

/// What came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Generated {
    /// The server's own count of tokens.
    pub(crate) tokens: Option<u64>,
    /// Pieces of the stream that carried text.
    pub(crate) pieces: u64,
    /// From sending until the first of them.
    pub(crate) first_after: Option<Duration>,
}

/// Why nothing usable came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GenerationError {
    /// No answer, or half of one.
    #[error(transparent)]
    NoAnswer(#[from] NoAnswer),
    /// Another status than 200.
    #[error("{}", .0.shown())]
    Status(Answer),
    /// The stream carried an error.
    #[error("the stream says: {}", cut(.0))]
    InStream(String),
    /// A line of the stream is not JSON.
    #[error("the stream has a line that is not JSON: {}", cut(.0))]
    NotJson(String),
}

impl From<reqwest::Error> for GenerationError {
    fn from(error: reqwest::Error) -> Self {
        Self::NoAnswer(error.into())
    }
}

impl GenerationError {
    /// Whether the server does not know what was asked, so that asking otherwise may do.
    pub(crate) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Status(Answer { status: 400 | 404 | 405 | 422 | 501, .. }))
    }

    /// Whether asking again may do: the server is not there yet or is busy.
    pub(crate) const fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::NoAnswer(NoAnswer::Http(_))
                | Self::Status(Answer { status: 429 | 502..=504, .. })
        )
    }
}

/// Asks for `tokens` tokens and reads the stream to its end.
pub(crate) async fn generate(
    endpoint: &Endpoint,
    model: &str,
    tokens: u32,
    ask: Ask,
    within: Duration,
) -> Result<Generated, GenerationError> {
    let body = body(model, tokens, ask);
    let sent_at = Instant::now();
    let mut response = endpoint.send(Method::POST, ask.wire.path(), Some(&body), within).await?;
    let status = response.status().as_u16();
    let (mut received, mut generated) = (Vec::new(), Generated::default());
    let mut size = 0;
    while let Some(chunk) = response.chunk().await? {
        size += chunk.len();
        if ANSWER_BYTES < size {
            return Err(NoAnswer::TooLarge.into());
        }
        received.extend_from_slice(&chunk);
        if status == 200 {
            take_lines(&mut received, ask.wire, sent_at, &mut generated)?;
        }
    }
    if status != 200 {
        let body = String::from_utf8_lossy(&received).into_owned();
        return Err(GenerationError::Status(Answer { status, body }));
    }
    received.push(b'\n');
    take_lines(&mut received, ask.wire, sent_at, &mut generated)?;
    Ok(generated)
}

fn body(model: &str, tokens: u32, ask: Ask) -> Value {
    let mut body = match ask.wire {
        Wire::OllamaGenerate => {
            let options = json!({"num_predict": tokens, "temperature": 0});
            return json!({"model": model, "prompt": PROMPT, "stream": true, "options": options});
        }
        Wire::OpenaiChat => json!({"messages": [{"role": "user", "content": PROMPT}]}),
        // SGLang's own path is not asked: its OpenAI path runs through the same scheduler and
        // counts in the same way as everybody's.
        Wire::OpenaiCompletions | Wire::SglangGenerate => json!({"prompt": PROMPT}),
    };
    body["model"] = json!(model);
    body["max_tokens"] = json!(tokens);
    body["temperature"] = json!(0);
    body["stream"] = json!(true);
    if ask.length == Length::Forced {
        body["ignore_eos"] = json!(true);
    }
    if ask.usage == Usage::Wanted {
        body["stream_options"] = json!({"include_usage": true});
    }
    body
}

/// Takes the whole lines off the front of what was received.
fn take_lines(
    received: &mut Vec<u8>,
    wire: Wire,
    sent_at: Instant,
    generated: &mut Generated,
) -> Result<(), GenerationError> {
    while let Some(end) = received.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = received.drain(..=end).collect();
        let line = String::from_utf8_lossy(&line);
        let Some(event) = event_in(&line, wire)? else { continue };
        let piece = read_event(&event, generated)?;
        if piece && generated.first_after.is_none() {
            generated.first_after = Some(sent_at.elapsed());
        }
    }
    Ok(())
}

/// The JSON of one line; `None` for blank lines, comments, other fields and the end mark.
fn event_in(line: &str, wire: Wire) -> Result<Option<Value>, GenerationError> {
    let line = line.trim();
    let data = match wire {
        Wire::OllamaGenerate => Some(line),
        Wire::OpenaiChat | Wire::OpenaiCompletions | Wire::SglangGenerate => {
            line.strip_prefix("data:").map(str::trim)
        }
    };
    match data {
        None | Some("" | "[DONE]") => Ok(None),
        Some(data) => serde_json::from_str(data)
            .map(Some)
            .map_err(|_| GenerationError::NotJson(data.to_owned())),
    }
}

/// Enters what an event says; whether it carried text.
fn read_event(event: &Value, generated: &mut Generated) -> Result<bool, GenerationError> {
    if let Some(error) = event.get("error").filter(|error| !error.is_null()) {
        return Err(GenerationError::InStream(error.to_string()));
    }
    let counts = [event.pointer("/usage/completion_tokens"), event.get("eval_count")];
    if let Some(tokens) = counts.into_iter().flatten().find_map(Value::as_u64) {
        generated.tokens = Some(tokens);
    }
    let texts = [
        "/choices/0/text",
        "/choices/0/delta/content",
        "/choices/0/delta/reasoning_content",
        "/choices/0/delta/reasoning",
        "/response",
        "/thinking",
    ];
    let mut texts = texts.iter().filter_map(|at| event.pointer(at)?.as_str());
    let piece = texts.any(|text| !text.is_empty());
    generated.pieces += u64::from(piece);
    Ok(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(wire: Wire, stream: &str) -> Result<Generated, GenerationError> {
        let mut generated = Generated::default();
        let mut received = stream.as_bytes().to_vec();
        take_lines(&mut received, wire, Instant::now(), &mut generated)?;
        Ok(Generated { first_after: None, ..generated })
    }

    #[test]
    fn tokens_are_the_servers_count_and_not_the_pieces() {
        let stream = ": ping\n\n\
            data: {\"choices\":[{\"text\":\" a b\"}],\"usage\":null}\n\n\
            data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n\
            data: {\"choices\":[],\"usage\":{\"completion_tokens\":8}}\n\n\
            data: [DONE]\n\n";
        let generated = read(Wire::OpenaiCompletions, stream).unwrap();
        assert_eq!(generated, Generated { tokens: Some(8), pieces: 1, first_after: None });
    }

    #[test]
    fn ollamas_lines_are_read() {
        let stream = "{\"response\":\" a\",\"done\":false}\n{\"response\":\"\",\"done\":true,\"eval_count\":3}\n";
        let generated = read(Wire::OllamaGenerate, stream).unwrap();
        assert_eq!(generated, Generated { tokens: Some(3), pieces: 1, first_after: None });
    }

    #[test]
    fn a_stream_without_usage_has_no_count() {
        let stream = "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\ndata: [DONE]\n";
        let generated = read(Wire::OpenaiChat, stream).unwrap();
        assert_eq!(generated, Generated { tokens: None, pieces: 1, first_after: None });
    }

    #[test]
    fn an_error_in_the_stream_is_an_error() {
        let error =
            read(Wire::OpenaiChat, "data: {\"error\":{\"message\":\"boom\"}}\n").unwrap_err();
        insta::assert_snapshot!(error, @r#"the stream says: {"message":"boom"}"#);
        assert!(matches!(
            read(Wire::OpenaiChat, "data: {\"choi\n"),
            Err(GenerationError::NotJson(_))
        ));
    }

    #[test]
    fn what_is_asked_is_said_in_the_words_of_the_wire() {
        let ask = |wire| Ask { wire, length: Length::Forced, usage: Usage::Wanted };
        insta::assert_snapshot!(body("m", 8, ask(Wire::OpenaiCompletions)), @r#"{"ignore_eos":true,"max_tokens":8,"model":"m","prompt":"The quick brown fox jumps over the lazy dog and then","stream":true,"stream_options":{"include_usage":true},"temperature":0}"#);
        insta::assert_snapshot!(body("m", 8, ask(Wire::OpenaiChat)), @r#"{"ignore_eos":true,"max_tokens":8,"messages":[{"content":"The quick brown fox jumps over the lazy dog and then","role":"user"}],"model":"m","stream":true,"stream_options":{"include_usage":true},"temperature":0}"#);
        insta::assert_snapshot!(body("m", 8, ask(Wire::OllamaGenerate)), @r#"{"model":"m","options":{"num_predict":8,"temperature":0},"prompt":"The quick brown fox jumps over the lazy dog and then","stream":true}"#);
        let plain = Ask { length: Length::AtMost, usage: Usage::NotAsked, ..ask(Wire::OpenaiChat) };
        let plain = body("m", 8, plain);
        assert!(plain.get("ignore_eos").is_none() && plain.get("stream_options").is_none());
    }
}
