//! What OpenAI's two formats share: usage, and how an event is put together.

use std::time::Duration;

use domain::request::ServerTimes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::pick::{First, Reason};
use crate::clock;

use super::{Count, Mark, Said, Usage, Wrong};

/// Asks for a last event with the server's own token counts. The Python tool does not.
#[derive(Serialize)]
pub(super) struct StreamOptions {
    include_usage: bool,
}

impl StreamOptions {
    pub(super) const WITH_USAGE: Self = Self { include_usage: true };
}

/// An event whose choices are of type `C`.
#[derive(Deserialize)]
pub(super) struct Event<C> {
    // An absent field and an explicit null are the same to the servers that are read here.
    #[serde(default = "Option::default")]
    choices: Option<First<C>>,
    usage: Option<TokenUsage>,
    timings: Option<Timings>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct TokenUsage {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u32>,
}

/// What llama.cpp adds to its last event.
#[derive(Clone, Copy, Deserialize)]
struct Timings {
    prompt_ms: Option<f64>,
    predicted_ms: Option<f64>,
}

impl Timings {
    fn times(self) -> ServerTimes {
        let [prompt_ns, generation_ns] = [self.prompt_ms, self.predicted_ms]
            .map(|ms| Duration::try_from_secs_f64(ms? / 1e3).ok().map(clock::ns));
        ServerTimes { prompt_ns, generation_ns, total_ns: None }
    }
}

/// The one answer of an event.
pub(super) trait Choice {
    /// Whether it carries text.
    fn has_text(&self) -> bool;
    /// Why generation stopped, if it has.
    fn finish_reason(&self) -> Option<Reason>;
}

/// What an event says.
pub(super) fn read<'de, C>(data: &'de [u8], count: &mut Count) -> Result<Said, Wrong>
where
    C: Choice + Deserialize<'de>,
{
    let event: Event<C> = serde_json::from_slice(data)?;
    if event.error.is_some() {
        return Err(Wrong::Failed);
    }
    if event.choices.is_none() && event.usage.is_none() {
        return Err(Wrong::Shape("`choices`"));
    }
    let usage = event.usage.map_or(Usage::NONE, |usage| Usage {
        prompt: usage.prompt_tokens,
        cached: usage.prompt_tokens_details.and_then(|details| details.cached_tokens),
        output: usage.completion_tokens,
        ..Usage::NONE
    });
    let times = event.timings.map(Timings::times);
    // Usage comes in an event without choices on most servers.
    let Some(choice) = event.choices.and_then(|choices| choices.0) else {
        return Ok(Said { piece: None, usage, times, mark: Mark::Open });
    };
    let reason = choice.finish_reason();
    let usage = Usage { reached_length: reason == Some(Reason::Length), ..usage };
    let mark = match reason {
        Some(Reason::Failed) => return Err(Wrong::Failed),
        Some(Reason::Length | Reason::Stopped) => Mark::Finished,
        Some(Reason::Unnamed) | None => Mark::Open,
    };
    let piece = choice.has_text().then(|| count.add(usage.output));
    Ok(Said { piece, usage, times, mark })
}
