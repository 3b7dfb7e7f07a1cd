//! `POST /v1/completions`: one piece of text an event.

use serde::{Deserialize, Serialize};

use super::openai::{self, StreamOptions};
use super::pick::{HasText, Reason, any_text};
use super::{Ask, Count, Said, Wrong};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    prompt: &'a str,
    best_of: u32,
    max_tokens: u32,
    stream: bool,
    temperature: f64,
    /// Left out where it is not wanted: some servers refuse fields that they do not know.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignore_eos: bool,
    stream_options: StreamOptions,
}

/// The body that the Python tool sends, with usage asked for.
pub(super) const fn body<'a>(ask: &Ask<'a>) -> Body<'a> {
    Body {
        model: ask.model,
        prompt: ask.prompt,
        best_of: 1,
        max_tokens: ask.output_len,
        stream: true,
        temperature: 0.0,
        ignore_eos: ask.ignore_eos,
        stream_options: StreamOptions::WITH_USAGE,
    }
}

#[derive(Deserialize)]
struct Choice {
    text: Option<HasText>,
    finish_reason: Option<Reason>,
}

impl openai::Choice for Choice {
    fn has_text(&self) -> bool {
        any_text([self.text])
    }

    fn finish_reason(&self) -> Option<Reason> {
        self.finish_reason
    }
}

pub(super) fn read(data: &[u8], count: &mut Count) -> Result<Said, Wrong> {
    openai::read::<Choice>(data, count)
}
