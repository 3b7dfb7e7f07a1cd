//! What a reader of a run's numbers must know beside them.

use std::collections::BTreeMap;

use domain::anomaly::Anomaly;
use domain::client::ClientLag;
use domain::failure::FailureKind;
use domain::request::RequestRecord;

use super::{Observation, counted, failure};
use crate::cache::CACHED_SHARE;
use crate::metrics::{arrival_gaps_ns, tokens_per_chunk};
use crate::samples::Gathered;

/// Lateness of sending that is worth a word, at the 99th percentile, in ms. A step of a busy
/// server takes about this long: a request that is later than that joins another batch.
const LATE_SEND_P99_MS: f64 = 10.0;

/// Share of tokens that share a chunk which is worth a word: from here on the 99th percentile of
/// the gaps is an interpolation.
const MERGED_SHARE: f64 = 0.01;

/// Difference of prompt tokens, as a share, that is worth a word. Text that is decoded and
/// tokenised again by the server changes its length by a few per cent.
const INPUT_TOKENS_SHARE: f64 = 0.10;

/// Prompt tokens a request by which counts may differ without a word, whatever the share: special
/// tokens, and a chat template around a short prompt.
const INPUT_TOKENS_EACH: u64 = 32;

/// How many times the median a gap must be to be worth a word. Long prefills between two tokens
/// of a loaded server reach ten times; a server that stood still reaches more.
const LONG_GAP_FACTOR: f64 = 20.0;

/// How long a gap must be to be worth a word, in ms: what a person notices as a halt.
const LONG_GAP_MS: f64 = 500.0;

/// What the anomalies of a run are read from.
pub(super) struct Seen<'a> {
    pub(super) run: &'a Observation<'a>,
    pub(super) completed: &'a [&'a RequestRecord],
    pub(super) client: Option<&'a ClientLag>,
}

/// Everything unusual, the gravest first.
pub(super) fn find(seen: &Seen<'_>) -> Vec<Anomaly> {
    let failed = requests_failed(seen.run.records);
    let others = [
        fewer_requests(seen.run),
        tokens_not_reported(seen.completed),
        input_tokens_disagree(seen.completed),
        short_answers(seen.completed),
        prefix_cache_hits(seen.completed),
        late_sends(seen.client),
        long_gap(seen.completed),
        merged_tokens(seen.completed),
        split_tokens(seen.completed),
        comment_pings(seen.run.records),
    ];
    failed.into_iter().chain(others.into_iter().flatten()).collect()
}

/// Another model's tokenizer gives prompts of another length than was meant.
fn input_tokens_disagree(completed: &[&RequestRecord]) -> Option<Anomaly> {
    let counted = completed.iter().filter_map(|record| {
        Some((u64::from(record.prompt_tokens), u64::from(record.server_prompt_tokens?)))
    });
    let (mut client, mut server, mut requests) = (0, 0, 0);
    for (ours, theirs) in counted {
        (client, server, requests) = (client + ours, server + theirs, requests + 1);
    }
    let difference = client.abs_diff(server);
    let share = difference as f64 / client.max(1) as f64;
    let worth_a_word = INPUT_TOKENS_EACH * requests < difference && INPUT_TOKENS_SHARE < share;
    worth_a_word.then_some(Anomaly::InputTokensDisagree { client, server })
}

/// One anomaly a kind of failure; the example is that of the first request.
fn requests_failed(records: &[RequestRecord]) -> Vec<Anomaly> {
    let mut kinds: BTreeMap<FailureKind, (u32, &RequestRecord)> = BTreeMap::new();
    for record in records {
        let Some(kind) = failure(record) else { continue };
        let (count, first) = kinds.entry(kind).or_insert((0, record));
        *count += 1;
        if record.index < first.index {
            *first = record;
        }
    }
    let anomaly = |(failure, (count, first)): (FailureKind, (u32, &RequestRecord))| {
        let detail = first.failure.as_ref().map(|failure| failure.detail.as_str());
        let example = detail.unwrap_or("the run ended before the answer did");
        Anomaly::RequestsFailed { failure, count, example: example.to_owned() }
    };
    kinds.into_iter().map(anomaly).collect()
}

fn fewer_requests(run: &Observation<'_>) -> Option<Anomaly> {
    let sent = u32::try_from(run.records.len()).unwrap_or(u32::MAX);
    (sent < run.asked).then_some(Anomaly::FewerRequests { asked: run.asked, sent })
}

fn tokens_not_reported(completed: &[&RequestRecord]) -> Option<Anomaly> {
    let requests = count(completed, |record| !counted(record));
    (0 < requests).then_some(Anomaly::TokensNotReported { requests })
}

/// Chunks are a lower bound of tokens, so only counted answers can be called short.
fn short_answers(completed: &[&RequestRecord]) -> Option<Anomaly> {
    let short =
        |record: &RequestRecord| counted(record) && record.output_tokens() < record.asked_tokens;
    let requests = count(completed, short);
    (0 < requests).then_some(Anomaly::ShortAnswers { requests })
}

fn prefix_cache_hits(completed: &[&RequestRecord]) -> Option<Anomaly> {
    let telling = || completed.iter().filter(|record| record.cached_tokens.is_some());
    let cached_tokens = telling().filter_map(|record| record.cached_tokens).map(u64::from).sum();
    let prompt = |record: &&&RequestRecord| {
        u64::from(record.server_prompt_tokens.unwrap_or(record.prompt_tokens))
    };
    let prompt_tokens = telling().map(|record| prompt(&record)).sum();
    let worth_a_word = CACHED_SHARE * (prompt_tokens as f64) < cached_tokens as f64;
    worth_a_word.then_some(Anomaly::PrefixCacheHits { cached_tokens, prompt_tokens })
}

fn late_sends(client: Option<&ClientLag>) -> Option<Anomaly> {
    let lag = client.filter(|lag| LATE_SEND_P99_MS < lag.send_lag_p99_ms)?;
    Some(Anomaly::LateSends { p99_ms: lag.send_lag_p99_ms, max_ms: lag.send_lag_max_ms })
}

fn long_gap(completed: &[&RequestRecord]) -> Option<Anomaly> {
    let mut gaps_ms = Gathered::new();
    completed.iter().for_each(|record| gaps_ms.extend_ms(arrival_gaps_ns(record)));
    let gaps_ms = gaps_ms.sorted();
    let (gap_ms, median_ms) = (gaps_ms.max()?, gaps_ms.percentile(50.0)?);
    let long = LONG_GAP_MS < gap_ms && LONG_GAP_FACTOR * median_ms < gap_ms;
    long.then_some(Anomaly::LongGap { gap_ms, median_ms })
}

fn merged_tokens(completed: &[&RequestRecord]) -> Option<Anomaly> {
    let (mut merged, mut all) = (0, 0);
    for (_, tokens) in completed.iter().flat_map(|record| tokens_per_chunk(record)) {
        all += u64::from(tokens);
        merged += if 1 < tokens { u64::from(tokens) } else { 0 };
    }
    let share = ratio(merged, all).filter(|share| MERGED_SHARE < *share)?;
    Some(Anomaly::MergedTokens { share })
}

/// Over the requests that had more chunks than tokens.
fn split_tokens(completed: &[&RequestRecord]) -> Option<Anomaly> {
    let sizes = completed.iter().filter(|record| counted(record)).map(|record| {
        let (chunks, tokens) = (record.chunks.len() as u64, u64::from(record.output_tokens()));
        (chunks, tokens)
    });
    let split: Vec<(u64, u64)> = sizes.filter(|(chunks, tokens)| tokens < chunks).collect();
    let chunks = split.iter().map(|(chunks, _)| chunks).sum();
    let tokens = split.iter().map(|(_, tokens)| tokens).sum();
    (!split.is_empty()).then_some(Anomaly::SplitTokens { chunks, tokens })
}

fn comment_pings(records: &[RequestRecord]) -> Option<Anomaly> {
    let count = records.iter().fold(0_u32, |sum, record| sum.saturating_add(record.pings));
    (0 < count).then_some(Anomaly::CommentPings { count })
}

fn count(completed: &[&RequestRecord], holds: impl Fn(&RequestRecord) -> bool) -> u32 {
    let count = completed.iter().filter(|record| holds(record)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn ratio(part: u64, whole: u64) -> Option<f64> {
    (0 < whole).then(|| part as f64 / whole as f64)
}
