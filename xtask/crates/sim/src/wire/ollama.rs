//! Ollama's `/api/generate` and `/api/chat`: one JSON object a line, times in ns.

use serde::{Deserialize, Serialize};

use super::{
    Ask, BadAsk, Delivery, Dialect, Message, Progress, Reply, UsageIn, chat_ids, finish_name,
    parse, to_json,
};
use crate::tokens;

#[derive(Debug, Deserialize)]
struct GenerateBody {
    #[serde(default)]
    prompt: String,
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct ChatBody {
    messages: Vec<Message>,
    #[serde(flatten)]
    common: Common,
}

#[derive(Debug, Deserialize)]
struct Common {
    keep_alive: Option<serde_json::Value>,
    stream: Option<bool>,
    options: Option<Options>,
}

#[derive(Debug, Default, Deserialize)]
struct Options {
    /// Negative: until the model ends the answer.
    num_predict: Option<i64>,
    seed: Option<i64>,
}

pub(super) fn read_generate(body: &[u8]) -> Result<Ask, BadAsk> {
    let body: GenerateBody = parse(body)?;
    body.common.ask(tokens::ids(&body.prompt))
}

/// What a request without a prompt does: it loads the model, or with `keep_alive` 0 unloads it.
pub(super) fn loads(body: &[u8]) -> Option<&'static str> {
    let body: GenerateBody = parse(body).ok()?;
    let stays = body.common.keep_alive.is_none_or(|keep| keep.as_i64() != Some(0));
    body.prompt.is_empty().then_some(if stays { LOAD } else { UNLOAD })
}

/// `done_reason` of an answer to a request that loads the model.
const LOAD: &str = "load";

/// The same where it unloads it.
pub(super) const UNLOAD: &str = "unload";

pub(super) fn read_chat(body: &[u8]) -> Result<Ask, BadAsk> {
    let body: ChatBody = parse(body)?;
    body.common.ask(chat_ids(&body.messages)?)
}

impl Common {
    fn ask(self, prompt: Vec<u32>) -> Result<Ask, BadAsk> {
        let options = self.options.unwrap_or_default();
        let limit = match options.num_predict {
            Some(0) => return Err(BadAsk::new("`num_predict` must not be 0")),
            Some(most) => u32::try_from(most).ok(),
            None => None,
        };
        // Unlike the others, it streams unless told not to.
        let whole = self.stream == Some(false);
        Ok(Ask {
            prompt,
            limit,
            least: 0,
            may_stop: true,
            seed: options.seed.unwrap_or(0).cast_unsigned(),
            delivery: if whole { Delivery::Whole } else { Delivery::Stream },
            usage: UsageIn::LastEvent,
        })
    }
}

#[derive(Serialize)]
struct Line<'a> {
    model: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<AnswerMessage<'a>>,
    done: bool,
    #[serde(flatten)]
    summary: Option<Summary>,
}

#[derive(Serialize)]
struct AnswerMessage<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct Summary {
    done_reason: &'static str,
    total_duration: u64,
    load_duration: u64,
    prompt_eval_count: u32,
    prompt_eval_duration: u64,
    eval_count: u32,
    eval_duration: u64,
}

pub(super) fn piece(reply: &Reply, progress: &Progress<'_>) -> String {
    to_json(&line(reply, progress.piece, None))
}

/// The line that ends an answer, with the text that it carries.
pub(super) fn last(reply: &Reply, progress: &Progress<'_>, text: &str) -> String {
    let spent = progress.spent;
    let summary = progress.finish.map(|finish| Summary {
        done_reason: finish_name(finish),
        total_duration: spent.total_ns,
        load_duration: 0,
        prompt_eval_count: reply.prompt_tokens,
        prompt_eval_duration: spent.prompt_ns,
        eval_count: reply.told(progress),
        eval_duration: spent.total_ns.saturating_sub(spent.prompt_ns),
    });
    to_json(&Line { done: true, ..line(reply, text, summary) })
}

pub(super) fn error(message: &str) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        error: &'a str,
    }
    to_json(&Body { error: message })
}

fn line<'a>(reply: &'a Reply, text: &'a str, summary: Option<Summary>) -> Line<'a> {
    let chat = reply.dialect == Dialect::OllamaChat;
    Line {
        model: &reply.model,
        created_at: reply.created.to_string(),
        response: (!chat).then_some(text),
        message: chat.then_some(AnswerMessage { role: "assistant", content: text }),
        done: false,
        summary,
    }
}
