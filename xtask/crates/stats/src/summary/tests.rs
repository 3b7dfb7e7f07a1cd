use domain::client::ClockSource;
use domain::failure::FailureKind;
use domain::summary::TokenSource;

use super::*;
use crate::testing::{MS, completed, failed};

fn observed(records: &[RequestRecord]) -> Observation<'_> {
    let asked = u32::try_from(records.len()).unwrap();
    Observation {
        records,
        asked,
        duration_ns: 1_000 * MS,
        cpu_ns: Some(250 * MS),
        threads: Some(1),
    }
}

fn anomalies(records: &[RequestRecord]) -> String {
    let lines = summarise(&observed(records)).anomalies;
    lines.iter().map(|anomaly| format!("{}: {anomaly}\n", anomaly.kind())).collect()
}

#[test]
fn an_unremarkable_run_has_no_anomaly() {
    let records = [completed(0, 0, &[10, 20, 30], 3), completed(1, 5, &[10, 20, 30], 3)];
    assert_eq!(anomalies(&records), "");
}

#[test]
fn requests_are_counted_by_how_they_ended() {
    let mut in_flight = completed(4, 0, &[10], 2);
    in_flight.done_ns = None;
    let records = [
        completed(0, 0, &[10, 20], 2),
        failed(1, FailureKind::NoTokens, "nothing came"),
        failed(2, FailureKind::RateLimited, "later"),
        failed(3, FailureKind::NoTokens, "nothing came either"),
        in_flight,
    ];
    let run = Observation { asked: 7, ..observed(&records) };
    let measured = summarise(&run);
    assert_eq!((measured.requests.completed, measured.requests.failed_total()), (1, 4));
    assert_eq!(measured.requests.failed[&FailureKind::NoTokens], 2);
    assert_eq!(measured.requests.failed[&FailureKind::Aborted], 1);
    let lines: String = measured.anomalies.iter().map(|anomaly| format!("{anomaly}\n")).collect();
    insta::assert_snapshot!(lines, @r"
    1 request failed with rate-limited; the first: later
    2 requests failed with no-tokens; the first: nothing came
    1 request failed with aborted; the first: the run ended before the answer did
    5 of 7 requests were sent
    ");
}

#[test]
fn the_example_of_a_failure_is_that_of_the_first_request() {
    let records =
        [failed(7, FailureKind::NoTokens, "seventh"), failed(2, FailureKind::NoTokens, "second")];
    insta::assert_snapshot!(anomalies(&records), @"requests-failed: 2 requests failed with no-tokens; the first: second");
}

#[test]
fn tokens_are_as_sure_as_their_weakest_source() {
    let by_server = completed(0, 0, &[10, 20], 5);
    let mut by_tool = by_server.clone();
    (by_tool.server_output_tokens, by_tool.reported_output_tokens) = (None, Some(4));
    let mut by_chunks = by_server.clone();
    (by_chunks.server_output_tokens, by_chunks.server_prompt_tokens) = (None, None);

    let mut by_reason = by_chunks.clone();
    (by_reason.reached_length, by_reason.asked_tokens) = (true, 6);

    let counts = |records: &[&RequestRecord]| {
        let counts = count_tokens(records);
        (counts.output, counts.output_source, counts.input_by_server)
    };
    assert_eq!(counts(&[&by_server]), (5, TokenSource::ServerUsage, Some(11)));
    assert_eq!(counts(&[&by_server, &by_tool]), (9, TokenSource::Tool, Some(22)));
    assert_eq!(counts(&[&by_server, &by_reason]), (11, TokenSource::FinishReason, None));
    assert_eq!(counts(&[&by_server, &by_tool, &by_chunks]), (11, TokenSource::Chunks, None));
    assert_eq!(counts(&[]), (0, TokenSource::Chunks, None));
}

#[test]
fn an_answer_is_short_only_if_somebody_counted_it() {
    let mut short = completed(0, 0, &[10, 20], 2);
    short.asked_tokens = 5;
    let mut uncounted = short.clone();
    uncounted.server_output_tokens = None;
    insta::assert_snapshot!(anomalies(&[short, uncounted]), @r"
    tokens-not-reported: the server gave no token count for 1 requests; chunks were counted
    short-answers: 1 answers ended before the length asked for
    ");
}

#[test]
fn prompts_of_another_length_than_was_meant_are_told() {
    let mut other = completed(0, 0, &[10, 20], 2);
    // A chat template around the prompt, and text that tokenises a little differently.
    (other.prompt_tokens, other.server_prompt_tokens) = (1000, Some(1040));
    assert_eq!(anomalies(std::slice::from_ref(&other)), "");
    other.server_prompt_tokens = Some(350);
    insta::assert_snapshot!(anomalies(&[other]), @"input-tokens-disagree: the client counts 1000 prompt tokens where the server counts 350: is it the model's tokenizer?");
}

#[test]
fn prefix_cache_hits_are_told_beyond_a_shared_first_token() {
    let mut hit = completed(0, 0, &[10, 20], 2);
    hit.prompt_tokens = 1000;
    (hit.server_prompt_tokens, hit.cached_tokens) = (Some(1000), Some(10));
    assert_eq!(anomalies(std::slice::from_ref(&hit)), "");
    hit.cached_tokens = Some(11);
    insta::assert_snapshot!(anomalies(&[hit]), @"prefix-cache-hits: 11 of 1000 prompt tokens came from the prefix cache");
}

#[test]
fn chunks_that_are_not_tokens_are_told_both_ways() {
    let merged = completed(0, 0, &[10, 20], 4);
    insta::assert_snapshot!(anomalies(&[merged]), @"merged-tokens: 100 % of the tokens shared a chunk with another");
    let split = completed(0, 0, &[10, 20, 30], 2);
    insta::assert_snapshot!(anomalies(&[split]), @"split-tokens: 3 chunks carried 2 tokens");
}

#[test]
fn a_long_gap_is_long_against_the_others_and_on_the_clock() {
    let steady = completed(0, 0, &[10, 20, 30, 40], 4);
    let short_halt = completed(1, 0, &[10, 20, 30, 530], 4);
    assert_eq!(anomalies(&[steady.clone(), short_halt]), "");
    let halt = completed(1, 0, &[10, 20, 30, 531], 4);
    insta::assert_snapshot!(anomalies(&[steady, halt]), @"long-gap: a stream paused for 501 ms, where the median gap is 10.0 ms");
    let slow_server = completed(0, 0, &[1_000, 2_000, 3_000], 3);
    assert_eq!(anomalies(&[slow_server]), "");
}

#[test]
fn keep_alive_comments_are_counted_over_failed_requests_too() {
    let mut completed = completed(0, 0, &[10, 20], 2);
    completed.pings = 2;
    let mut failed = failed(1, FailureKind::StalledMidStream, "silence");
    failed.pings = 3;
    insta::assert_snapshot!(anomalies(&[completed, failed]), @r"
    requests-failed: 1 request failed with stalled-mid-stream; the first: silence
    comment-pings: the stream carried 5 keep-alive comments
    ");
}

#[test]
fn the_generators_own_lag_is_told() {
    let late = |index: u32, lag_ms| {
        let mut record = completed(index, 100, &[10, 20], 2);
        record.sent_ns = record.due_ns.map(|due_ns| due_ns + lag_ms * MS);
        record
    };
    let records = [late(0, 1), late(1, 2), late(2, 30)];
    let lag = summarise(&observed(&records)).client.unwrap();
    assert_eq!((lag.send_lag_median_ms, lag.send_lag_max_ms, lag.cpu_share), (2.0, 30.0, 0.25));
    insta::assert_snapshot!(anomalies(&records), @"late-sends: requests were sent late: p99 29.4 ms, at most 30.0 ms");
}

#[test]
fn a_lag_that_nobody_measured_is_absent() {
    let mut record = completed(0, 0, &[10, 20], 2);
    let run = |cpu_ns| Observation { cpu_ns, ..observed(std::slice::from_ref(&record)) };
    assert_eq!(summarise(&run(None)).client, None);
    record.due_ns = None;
    let run = observed(std::slice::from_ref(&record));
    assert_eq!(summarise(&run).client, None);
}

#[test]
fn the_lateness_of_reading_and_the_bounds_of_merged_chunks_are_told() {
    let mut record = completed(0, 0, &[10, 20, 20, 45], 4);
    for (chunk, late_us) in record.chunks.iter_mut().zip([100, 300, 300, 500]) {
        chunk.late_ns = Some(late_us * 1000);
    }
    record.write_ns = Some(MS);
    let run = observed(std::slice::from_ref(&record));
    let reading = summarise(&run).client.unwrap().reading.unwrap();
    assert_eq!((reading.clock, reading.reads), (ClockSource::Kernel, 3));
    assert_eq!((reading.late_median_ms, reading.late_max_ms), (Some(0.3), Some(0.5)));
    assert_eq!((reading.merged_chunks, reading.merged_bound_max_ms), (1, Some(10.0)));
    assert_eq!(reading.write_max_ms, Some(1.0));
    record.chunks[0].late_ns = None;
    let run = observed(std::slice::from_ref(&record));
    assert_eq!(summarise(&run).client.unwrap().reading.unwrap().clock, ClockSource::Mixed);
    record.chunks.clear();
    let run = observed(std::slice::from_ref(&record));
    assert_eq!(summarise(&run).client.unwrap().reading, None);
}
