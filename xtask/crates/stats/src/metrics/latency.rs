//! Latencies of one request, in ms.

use domain::request::RequestRecord;

use super::tokens::tokens_per_chunk;
use crate::time::NS_PER_MS;

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
    let mut gaps = Vec::new();
    each_itl_ms(record, |gap_ms, count| gaps.extend(std::iter::repeat_n(gap_ms, count)));
    gaps
}

/// The same, as gaps and how often in a row each is there.
pub(crate) fn each_itl_ms(record: &RequestRecord, mut found: impl FnMut(f64, usize)) {
    let Some(mut last_ns) = record.ttft_ns() else { return };
    let mut tell = |gap_ns: u64, tokens: u32, chunks: usize| {
        if 0 < chunks {
            found(gap_ns as f64 / f64::from(tokens) / NS_PER_MS, chunks * tokens as usize);
        }
    };
    let (mut gap_ns, mut each, mut chunks) = (0, 1, 0);
    for (chunk, tokens) in tokens_per_chunk(record).skip(1).filter(|(_, tokens)| 0 < *tokens) {
        let next_ns = chunk.at_ns.saturating_sub(last_ns);
        if (next_ns, tokens) != (gap_ns, each) {
            tell(gap_ns, each, chunks);
            (gap_ns, each, chunks) = (next_ns, tokens, 0);
        }
        chunks += 1;
        last_ns = chunk.at_ns;
    }
    tell(gap_ns, each, chunks);
}

/// Times between chunks as they arrived, whatever was in them: what a reader of the stream waits.
pub(crate) fn arrival_gaps_ns(record: &RequestRecord) -> impl Iterator<Item = u64> {
    record.chunks.windows(2).map(|pair| pair[1].at_ns.saturating_sub(pair[0].at_ns))
}

/// The longest time between two tokens of any completed request.
pub fn max_itl_ms(records: &[RequestRecord]) -> Option<f64> {
    let mut max_ms: Option<f64> = None;
    for record in records.iter().filter(|record| record.completed()) {
        each_itl_ms(record, |gap_ms, _| {
            max_ms = Some(max_ms.map_or(gap_ms, |max| max.max(gap_ms)))
        });
    }
    max_ms
}
