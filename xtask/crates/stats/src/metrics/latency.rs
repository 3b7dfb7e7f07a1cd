//! Latencies of one request, in ms.

use domain::request::RequestRecord;

use super::NS_PER_MS;
use super::tokens::tokens_per_chunk;

/// From sending to the end of the answer.
pub fn e2e_ms(record: &RequestRecord) -> Option<f64> {
    Some(record.done_ns? as f64 / NS_PER_MS)
}

/// From sending to the first token.
pub fn ttft_ms(record: &RequestRecord) -> Option<f64> {
    Some(record.ttft_ns()? as f64 / NS_PER_MS)
}

/// Mean time per token after the first; an answer of one token has none.
pub fn tpot_ms(record: &RequestRecord) -> Option<f64> {
    let after_first = record.output_tokens().checked_sub(1).filter(|tokens| 0 < *tokens)?;
    let generating_ns = record.done_ns?.saturating_sub(record.ttft_ns()?);
    Some(generating_ns as f64 / f64::from(after_first) / NS_PER_MS)
}

/// Times between tokens.
///
/// A chunk of n tokens counts as n equal gaps since the last chunk that brought any. Gaps between
/// the tokens of the first chunk were not seen and are not made up.
pub fn itl_ms(record: &RequestRecord) -> Vec<f64> {
    let Some(mut last_ns) = record.ttft_ns() else { return Vec::new() };
    let tokens = tokens_per_chunk(record);
    let mut gaps = Vec::new();
    for (chunk, tokens) in record.chunks.iter().zip(tokens).skip(1) {
        if tokens == 0 {
            continue;
        }
        let gap_ms = chunk.at_ns.saturating_sub(last_ns) as f64 / f64::from(tokens) / NS_PER_MS;
        gaps.extend(std::iter::repeat_n(gap_ms, tokens as usize));
        last_ns = chunk.at_ns;
    }
    gaps
}

/// Times between chunks as they arrived, whatever was in them: what a reader of the stream waits.
pub fn arrival_gaps_ms(record: &RequestRecord) -> impl Iterator<Item = f64> {
    let pairs = record.chunks.windows(2);
    pairs.map(|pair| pair[1].at_ns.saturating_sub(pair[0].at_ns) as f64 / NS_PER_MS)
}

/// The longest time between two tokens of any completed request.
pub fn max_itl_ms(records: &[RequestRecord]) -> Option<f64> {
    let completed = records.iter().filter(|record| record.completed());
    completed.flat_map(itl_ms).max_by(f64::total_cmp)
}
