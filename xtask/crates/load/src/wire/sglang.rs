//! SGLang's `POST /generate`: every event repeats the whole text so far and the count of its
//! tokens. The count alone is read; the text is skipped.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::pick::Reason;
use super::{Ask, Count, Mark, Piece, Said, Usage, Wrong};

#[derive(Serialize)]
pub(super) struct Body<'a> {
    text: &'a str,
    sampling_params: SamplingParams,
    stream: bool,
    lora_path: Option<&'a str>,
    return_logprob: bool,
    return_routed_experts: bool,
    logprob_start_len: i32,
}

#[derive(Serialize)]
struct SamplingParams {
    temperature: f64,
    max_new_tokens: u32,
    ignore_eos: bool,
}

/// The body that the Python tool sends.
pub(super) const fn body<'a>(ask: &Ask<'a>) -> Body<'a> {
    Body {
        text: ask.prompt,
        sampling_params: SamplingParams {
            temperature: 0.0,
            max_new_tokens: ask.output_len,
            ignore_eos: ask.ignore_eos,
        },
        stream: true,
        lora_path: None,
        return_logprob: false,
        return_routed_experts: false,
        logprob_start_len: -1,
    }
}

#[derive(Deserialize)]
struct Event {
    meta_info: Option<MetaInfo>,
    error: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct MetaInfo {
    prompt_tokens: Option<u32>,
    completion_tokens: Option<u32>,
    cached_tokens: Option<u32>,
    finish_reason: Option<FinishReason>,
}

#[derive(Deserialize)]
struct FinishReason {
    r#type: Reason,
}

pub(super) fn read(data: &[u8], count: &mut Count) -> Result<Said, Wrong> {
    let event: Event = serde_json::from_slice(data)?;
    if event.error.is_some() {
        return Err(Wrong::Failed);
    }
    let meta = event.meta_info.ok_or(Wrong::Shape("`meta_info`"))?;
    let total = meta.completion_tokens.ok_or(Wrong::Shape("`completion_tokens`"))?;
    let mark = match meta.finish_reason.map(|reason| reason.r#type) {
        Some(Reason::Failed) => return Err(Wrong::Failed),
        Some(Reason::Length | Reason::Stopped) => Mark::Finished,
        Some(Reason::Unnamed) | None => Mark::Open,
    };
    // The last event often repeats the count of the one before: it carries no token.
    let piece = Some(count.add(Some(total))).filter(|piece| *piece != Piece::Counted(0));
    let usage = Usage {
        prompt: meta.prompt_tokens,
        cached: meta.cached_tokens,
        output: Some(total),
        ..Usage::NONE
    };
    Ok(Said { piece, usage, times: None, mark })
}
