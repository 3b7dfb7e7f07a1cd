//! Ollama's `POST /api/generate`: one JSON object a line, the last with counts and `done`.

use domain::request::ServerTimes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::pick::{HasText, any_text};
use super::{Ask, Count, Mark, Said, Usage, Wrong};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    model: &'a str,
    prompt: &'a str,
    stream: bool,
    raw: bool,
    options: Options,
}

#[derive(Serialize)]
struct Options {
    num_predict: u32,
    temperature: f64,
    seed: u32,
}

/// A body without a prompt template, so that the prompt's length is the one that was made.
///
/// Ollama cannot be told to go on past an end-of-sequence token.
pub(super) const fn body<'a>(ask: &Ask<'a>) -> Body<'a> {
    Body {
        model: ask.model,
        prompt: ask.prompt,
        stream: true,
        raw: true,
        options: Options { num_predict: ask.output_len, temperature: 0.0, seed: ask.seed },
    }
}

#[derive(Deserialize)]
struct Event {
    response: Option<HasText>,
    thinking: Option<HasText>,
    done: Option<bool>,
    prompt_eval_count: Option<u32>,
    eval_count: Option<u32>,
    prompt_eval_duration: Option<u64>,
    eval_duration: Option<u64>,
    total_duration: Option<u64>,
    error: Option<IgnoredAny>,
}

pub(super) fn read(data: &[u8], count: &mut Count) -> Result<Said, Wrong> {
    let event: Event = serde_json::from_slice(data)?;
    if event.error.is_some() {
        return Err(Wrong::Failed);
    }
    let done = event.done.ok_or(Wrong::Shape("`done`"))?;
    let usage = Usage { prompt: event.prompt_eval_count, output: event.eval_count, ..Usage::NONE };
    let piece = any_text([event.response, event.thinking]).then(|| count.add(usage.output));
    // Ollama counts durations in ns.
    let times = done.then_some(ServerTimes {
        prompt_ns: event.prompt_eval_duration,
        generation_ns: event.eval_duration,
        total_ns: event.total_duration,
    });
    let times = times.filter(|times| times.total_ns.or(times.generation_ns).is_some());
    Ok(Said { piece, usage, times, mark: if done { Mark::End } else { Mark::Open } })
}
