//! `POST /v1/chat/completions`: one delta an event. Reasoning is generated text like any other.

use serde::{Deserialize, Serialize};

use super::openai::{self, StreamOptions};
use super::pick::{HasText, Reason, any_text};
use super::{Ask, Count, Said, Wrong};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    messages: [Message<'a>; 1],
    max_completion_tokens: u32,
    stream: bool,
    temperature: f64,
    /// Left out where it is not wanted: some servers refuse fields that they do not know.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignore_eos: bool,
    stream_options: StreamOptions,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// The body that the Python tool sends, with usage asked for.
pub(super) const fn body<'a>(ask: &Ask<'a>) -> Body<'a> {
    Body {
        model: ask.model,
        messages: [Message { role: "user", content: ask.prompt }],
        max_completion_tokens: ask.output_len,
        stream: true,
        temperature: 0.0,
        ignore_eos: ask.ignore_eos,
        stream_options: StreamOptions::WITH_USAGE,
    }
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    /// What an answer in one piece has instead.
    message: Option<Delta>,
    finish_reason: Option<Reason>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<HasText>,
    reasoning_content: Option<HasText>,
    reasoning: Option<HasText>,
}

impl openai::Choice for Choice {
    fn has_text(&self) -> bool {
        // The first delta of most servers only names the role.
        self.delta.as_ref().or(self.message.as_ref()).is_some_and(|delta| {
            any_text([delta.content, delta.reasoning_content, delta.reasoning])
        })
    }

    fn finish_reason(&self) -> Option<Reason> {
        self.finish_reason
    }
}

pub(super) fn read(data: &[u8], count: &mut Count) -> Result<Said, Wrong> {
    openai::read::<Choice>(data, count)
}
