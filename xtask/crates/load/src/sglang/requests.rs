//! Each request judged again from the details that the tool wrote.

use std::collections::BTreeMap;
use std::time::Duration;

use domain::failure::{FailureKind, RequestFailure};
use domain::framework::Wire;
use domain::request::{Chunk, RequestRecord};
use domain::summary::{TokenCounts, TokenSource};

use super::asked::Asked;
use super::jsonl::Details;

/// A tokenizer adds a handful of special tokens at most.
const MOST_SPECIAL_TOKENS: u32 = 8;

/// Of its tokens, the share that the texts of a whole answer reach on a server that sends a text a
/// token. Less than all, because a server holds back a text that ends within a character.
const WHOLE_SHARE: f64 = 0.9;

/// The requests of a run, judged.
pub(super) struct Requests {
    pub(super) records: Vec<RequestRecord>,
    /// Requests that the tool took for successes and that are none.
    pub(super) hidden: u32,
    /// Completed requests with fewer tokens than asked, on a server that may do that.
    pub(super) short: u32,
    /// Nothing but the request itself confirms the token count of some completed request.
    pub(super) unconfirmed: bool,
    output_source: TokenSource,
}

impl Requests {
    pub(super) fn sent(&self) -> u32 {
        count(self.records.iter())
    }

    pub(super) fn completed(&self) -> u32 {
        count(self.done())
    }

    pub(super) fn failed(&self) -> BTreeMap<FailureKind, u32> {
        let mut failed = BTreeMap::new();
        for failure in self.records.iter().filter_map(|record| record.failure.as_ref()) {
            *failed.entry(failure.kind).or_insert(0) += 1;
        }
        failed
    }

    pub(super) fn tokens(&self) -> TokenCounts {
        let sum = |of: fn(&RequestRecord) -> u32| self.done().map(|r| u64::from(of(r))).sum();
        let by_server = self.done().map(|record| record.server_prompt_tokens.map(u64::from));
        TokenCounts {
            input: sum(|record| record.prompt_tokens),
            input_by_server: by_server.sum::<Option<u64>>().filter(|_| 0 < self.completed()),
            output: sum(RequestRecord::output_tokens),
            output_source: self.output_source,
            output_asked: sum(|record| record.asked_tokens),
            cached: None,
        }
    }

    fn done(&self) -> impl Iterator<Item = &RequestRecord> {
        self.records.iter().filter(|record| record.completed())
    }
}

fn count<'a>(records: impl Iterator<Item = &'a RequestRecord>) -> u32 {
    u32::try_from(records.count()).unwrap_or(u32::MAX)
}

/// Judges every request. `input_tokens` is the tool's sum over its successes.
pub(super) fn judge(details: &Details, input_tokens: Option<u64>, asked: &Asked) -> Requests {
    let prompts = client_prompts(details, input_tokens, asked);
    let mut records: Vec<_> = (0..details.errors.len())
        .map(|at| record(details, at, prompts.get(at).copied(), asked))
        .collect();
    let mut hidden = 0;
    for (record, error) in records.iter_mut().zip(&details.errors) {
        record.failure = if error.is_empty() { hidden_failure(record, asked) } else { told(error) };
        hidden += u32::from(error.is_empty() && record.failure.is_some());
    }
    hidden += cut_short(&mut records, asked);
    for record in records.iter_mut().filter(|record| record.failure.is_some()) {
        record.done_ns = None;
    }
    let done = || records.iter().filter(|record| record.completed());
    let counted = |record: &RequestRecord| record.server_output_tokens.is_some();
    let by_server = done().next().is_some() && done().all(counted);
    let output_source = if by_server { TokenSource::ServerUsage } else { TokenSource::Tool };
    let short = count(done().filter(|record| record.output_tokens() < record.asked_tokens));
    let whole = if asked.forced() { WHOLE_SHARE } else { 1.0 };
    let unconfirmed = done().any(|record| !confirmed(record, whole));
    Requests { hidden, short, unconfirmed, output_source, records }
}

/// What the tool tells of one request, not yet judged.
fn record(details: &Details, at: usize, prompt: Option<u32>, asked: &Asked) -> RequestRecord {
    let input = details.input_lens[at];
    // The tool writes 0 for what it takes for a failure; that is no count.
    let output = details.errors[at].is_empty().then_some(details.output_lens[at]);
    let prompt_tokens = prompt.unwrap_or(input);
    // SGLang's own protocol always counts; of the others a prompt's length that differs from the
    // client's can only be the server's, and then its count of generated tokens came with it.
    let native = asked.wire == Wire::SglangGenerate;
    let usage_came = asked.tells_server_prompts() && (native || input != prompt_tokens);
    let counted = native || (usage_came && asked.wire == Wire::OpenaiChat);
    let chunks = chunks(details.ttfts[at], &details.itls[at], output.filter(|_| native));
    RequestRecord {
        index: u32::try_from(at).unwrap_or(u32::MAX),
        due_ns: None,
        sent_ns: None,
        write_ns: None,
        connect_ns: None,
        done_ns: chunks.last().map(|chunk| chunk.at_ns),
        chunks,
        prompt_tokens,
        server_prompt_tokens: usage_came.then_some(input),
        cached_tokens: None,
        asked_tokens: asked.lengths.output[at],
        server_output_tokens: output.filter(|_| counted),
        reported_output_tokens: output.filter(|_| !counted),
        reached_length: false,
        server_times: None,
        status: None,
        pings: 0,
        failure: None,
    }
}

/// The pieces of the stream. The tool's native client spreads a piece over the tokens in it, so
/// that of `tokens` in all, what is not in the gaps came with the first.
fn chunks(ttft: Option<f64>, itls: &[Option<f64>], tokens: Option<u32>) -> Vec<Chunk> {
    let Some(first) = ttft.filter(|ttft| 0.0 < *ttft) else { return Vec::new() };
    let later = itls.iter().scan(first, |at, gap| {
        // A gap that runs backwards is no time, and nothing after it has one.
        *at += (*gap).filter(|gap| 0.0 <= *gap)?;
        Some(*at)
    });
    let first_tokens = tokens.map(|tokens| {
        let gaps = u32::try_from(itls.len()).unwrap_or(u32::MAX);
        tokens.saturating_sub(gaps).max(1)
    });
    let mut held = first_tokens;
    let times = std::iter::once(first).chain(later).map_while(nanoseconds);
    times
        .map(|at_ns| {
            let tokens = std::mem::replace(&mut held, tokens.map(|_| 1));
            Chunk { at_ns, late_ns: None, tokens }
        })
        .collect()
}

fn nanoseconds(seconds: f64) -> Option<u64> {
    let time = Duration::try_from_secs_f64(seconds).ok()?;
    u64::try_from(time.as_nanos()).ok()
}

/// Prompt lengths by the tool's own tokenizer. They are those that were drawn, less the special
/// tokens of the tokenizer, whose number shows in the sum.
fn client_prompts(details: &Details, input_tokens: Option<u64>, asked: &Asked) -> Vec<u32> {
    let successes = || details.errors.iter().map(String::is_empty);
    let less = |drawn: u32, special: u32| drawn.saturating_sub(special).max(1);
    let fits = |special: &u32| {
        let counted = asked.lengths.input.iter().zip(successes()).filter(|(_, success)| *success);
        let sum: u64 = counted.map(|(drawn, _)| u64::from(less(*drawn, *special))).sum();
        Some(sum) == input_tokens
    };
    match (0..=MOST_SPECIAL_TOKENS).find(fits) {
        Some(special) => asked.lengths.input.iter().map(|drawn| less(*drawn, special)).collect(),
        None => details.input_lens.clone(),
    }
}

/// A success of the tool that is none.
fn hidden_failure(record: &RequestRecord, asked: &Asked) -> Option<RequestFailure> {
    if record.chunks.is_empty() {
        let detail = "the tool took a stream without any text for a success";
        return Some(RequestFailure::new(FailureKind::NoTokens, detail));
    }
    let (got, wanted) = (record.output_tokens(), record.asked_tokens);
    let wrong = if asked.forced() { got != wanted } else { wanted < got };
    wrong.then(|| {
        let detail = format!("{got} tokens where {wanted} were asked for");
        RequestFailure::new(FailureKind::WrongTokenCount, detail)
    })
}

/// A failure that the tool names, sorted by what its text says.
fn told(error: &str) -> Option<RequestFailure> {
    use FailureKind as Kind;
    // Of a traceback the last line counts, of an answer the reason that stands first.
    let line = if error.starts_with("Traceback") {
        error.lines().rfind(|line| !line.trim().is_empty())
    } else {
        error.lines().next()
    };
    let line = line.unwrap_or(error);
    let kinds = [
        ("Connect call failed", Kind::ConnectRefused),
        ("Connection refused", Kind::ConnectRefused),
        ("Cannot connect to host", Kind::ConnectFailed),
        ("TransferEncodingError", Kind::ConnectionLost),
        ("ClientPayloadError", Kind::ConnectionLost),
        ("ServerDisconnectedError", Kind::ConnectionLost),
        ("ConnectionResetError", Kind::ConnectionLost),
        ("Connection reset by peer", Kind::ConnectionLost),
        ("JSONDecodeError", Kind::MalformedEvent),
        ("IndexError", Kind::MalformedEvent),
        ("KeyError: 'choices'", Kind::StreamError),
        ("TimeoutError", Kind::DeadlineExceeded),
        ("no generated tokens", Kind::NoTokens),
        ("Too Many Requests", Kind::RateLimited),
        ("Service Unavailable", Kind::Unavailable),
        ("Internal Server Error", Kind::ServerError),
        ("Bad Gateway", Kind::ServerError),
        ("Gateway Timeout", Kind::ServerError),
        ("Bad Request", Kind::Rejected),
        ("Unauthorized", Kind::Rejected),
        ("Forbidden", Kind::Rejected),
        ("Not Found", Kind::Rejected),
        ("Unprocessable", Kind::Rejected),
    ];
    let known = kinds.into_iter().find(|(part, _)| line.contains(part));
    let kind = known.map_or(Kind::ToolReported, |(_, kind)| kind);
    Some(RequestFailure::new(kind, line))
}

/// The server counted the tokens, or there are texts for this share of them.
fn confirmed(record: &RequestRecord, whole: f64) -> bool {
    record.server_output_tokens.is_some() || whole <= text_share(record)
}

/// Texts for a token of a request.
fn text_share(record: &RequestRecord) -> f64 {
    let texts = u32::try_from(record.chunks.len()).unwrap_or(u32::MAX);
    f64::from(texts) / f64::from(record.output_tokens().max(1))
}

/// Fails the requests whose stream ended early though the tool took them for whole, and says how
/// many. An error in the middle of a stream leaves that trace alone: the length is the one asked
/// for, the texts are fewer. That tells only where most requests have a text a token, or where a
/// server that counts tokens gave no count to most; elsewhere the server may have put several
/// tokens into a text.
fn cut_short(records: &mut [RequestRecord], asked: &Asked) -> u32 {
    let alive = || records.iter().filter(|record| record.failure.is_none());
    let most = |found: usize| alive().count() < 2 * found;
    let text_a_token = most(alive().filter(|record| 1.0 <= text_share(record)).count());
    let uncounted = most(alive().filter(|record| !confirmed(record, WHOLE_SHARE)).count());
    let why = match (text_a_token, uncounted && asked.expects_usage()) {
        (true, _) => "where most requests have one a token",
        (false, true) => "and no token count of the server",
        (false, false) => return 0,
    };
    let mut cut = 0;
    for record in records.iter_mut().filter(|record| record.failure.is_none()) {
        if confirmed(record, WHOLE_SHARE) {
            continue;
        }
        let (texts, tokens) = (record.chunks.len(), record.output_tokens());
        let detail = format!("the stream carried {texts} texts for {tokens} tokens, {why}");
        record.failure = Some(RequestFailure::new(FailureKind::WrongTokenCount, detail));
        cut += 1;
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_that_runs_backwards_ends_the_times() {
        let gaps = [Some(0.5), Some(-0.25), Some(0.5)];
        let times: Vec<_> =
            chunks(Some(1.0), &gaps, None).into_iter().map(|chunk| chunk.at_ns).collect();
        assert_eq!(times, [1_000_000_000, 1_500_000_000]);
    }
}
