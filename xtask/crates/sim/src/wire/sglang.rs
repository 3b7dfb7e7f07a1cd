//! SGLang's own `/generate`: every event repeats the whole text so far.

use serde::{Deserialize, Serialize};

use super::{
    Ask, BadAsk, Delivery, Progress, Prompt, Reply, UsageIn, finish_name, limit, openai, parse,
    to_json,
};
use crate::engine::Finish;

/// Tokens generated where the request does not say.
const DEFAULT_MAX_NEW_TOKENS: u32 = 128;

#[derive(Debug, Deserialize)]
struct Body {
    text: Option<Prompt>,
    input_ids: Option<Prompt>,
    sampling_params: Option<SamplingParams>,
    stream: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
struct SamplingParams {
    max_new_tokens: Option<u32>,
    min_new_tokens: Option<u32>,
    ignore_eos: Option<bool>,
    sampling_seed: Option<i64>,
}

pub(super) fn read(body: &[u8]) -> Result<Ask, BadAsk> {
    let body: Body = parse(body)?;
    let prompt = match (body.text, body.input_ids) {
        (Some(prompt), None) | (None, Some(prompt)) => prompt.ids()?,
        (Some(_), Some(_)) | (None, None) => {
            return Err(BadAsk::new("either `text` or `input_ids` must be given"));
        }
    };
    let sampling = body.sampling_params.unwrap_or_default();
    let delivery = if body.stream == Some(true) { Delivery::Stream } else { Delivery::Whole };
    Ok(Ask {
        prompt,
        limit: limit(sampling.max_new_tokens, "max_new_tokens")?.or(Some(DEFAULT_MAX_NEW_TOKENS)),
        least: sampling.min_new_tokens.unwrap_or(0),
        may_stop: sampling.ignore_eos != Some(true),
        seed: sampling.sampling_seed.unwrap_or(0).cast_unsigned(),
        delivery,
        usage: UsageIn::EveryEvent,
    })
}

#[derive(Serialize)]
struct Answer<'a> {
    text: &'a str,
    meta_info: MetaInfo,
}

#[derive(Serialize)]
struct MetaInfo {
    id: String,
    finish_reason: Option<FinishReason>,
    prompt_tokens: u32,
    weight_version: &'static str,
    completion_tokens: u32,
    cached_tokens: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    e2e_latency: Option<f64>,
}

#[derive(Serialize)]
struct FinishReason {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    length: Option<u32>,
    /// The id of the token that ended the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    matched: Option<u32>,
}

/// Id of the token that ends an answer.
const EOS: u32 = 2;

pub(super) fn piece(reply: &Reply, progress: &Progress<'_>) -> String {
    let finish_reason = progress.finish.map(|finish| FinishReason {
        r#type: finish_name(finish),
        length: (finish == Finish::Length).then_some(progress.tokens),
        matched: (finish == Finish::Stop).then_some(EOS),
    });
    let meta_info = MetaInfo {
        id: format!("{:032x}", reply.seq),
        finish_reason,
        prompt_tokens: reply.prompt_tokens,
        weight_version: "default",
        completion_tokens: reply.told(progress),
        cached_tokens: progress.cached_tokens,
        e2e_latency: progress.finish.map(|_| seconds(progress.spent.total_ns)),
    };
    to_json(&Answer { text: progress.text, meta_info })
}

pub(super) fn error(status: u16, message: &str) -> String {
    #[derive(Serialize)]
    struct Body<'a> {
        object: &'static str,
        message: &'a str,
        r#type: &'static str,
        param: Option<()>,
        code: u16,
        error: Inner<'a>,
    }
    #[derive(Serialize)]
    struct Inner<'a> {
        message: &'a str,
    }
    let r#type = openai::error_type(status);
    let error = Inner { message };
    to_json(&Body { object: "error", message, r#type, param: None, code: status, error })
}

#[expect(clippy::cast_precision_loss, reason = "latencies are far below 2^53 ns")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
