use domain::failure::FailureKind;
use domain::metric::Stat;
use domain::request::Chunk;
use proptest::prelude::*;

use super::*;
use crate::samples::Samples;
use crate::testing::{MS, completed, failed};

fn shown(metrics: &BTreeMap<Metric, f64>) -> String {
    let line = |(metric, value): (&Metric, &f64)| format!("{} {value:.4}\n", metric.key());
    metrics.iter().map(line).collect()
}

/// Two requests whose metrics can be worked out on paper: gaps of 20, 20, 20 ms, and of 60 ms
/// over a chunk of two tokens.
fn on_paper() -> Vec<RequestRecord> {
    let mut second = completed(1, 50, &[200, 260], 4);
    second.done_ns = Some(270 * MS);
    second.prompt_tokens = 20;
    vec![completed(0, 0, &[100, 120, 140, 160], 4), second]
}

#[test]
fn metrics_are_those_worked_out_on_paper() {
    insta::assert_snapshot!(shown(&all(&on_paper(), 500 * MS)), @r"
    duration 0.5000
    request_throughput 4.0000
    input_throughput 60.0000
    output_throughput 16.0000
    total_throughput 76.0000
    concurrency 0.8600
    max_output_tokens_per_s 8.0000
    max_concurrent_requests 2.0000
    mean_e2e_latency_ms 215.0000
    median_e2e_latency_ms 215.0000
    std_e2e_latency_ms 55.0000
    p90_e2e_latency_ms 259.0000
    p95_e2e_latency_ms 264.5000
    p99_e2e_latency_ms 268.9000
    mean_ttft_ms 150.0000
    median_ttft_ms 150.0000
    std_ttft_ms 50.0000
    p90_ttft_ms 190.0000
    p95_ttft_ms 195.0000
    p99_ttft_ms 199.0000
    mean_tpot_ms 21.6667
    median_tpot_ms 21.6667
    std_tpot_ms 1.6667
    p90_tpot_ms 23.0000
    p95_tpot_ms 23.1667
    p99_tpot_ms 23.3000
    mean_itl_ms 24.0000
    median_itl_ms 20.0000
    std_itl_ms 4.8990
    p90_itl_ms 30.0000
    p95_itl_ms 30.0000
    p99_itl_ms 30.0000
    ");
}

#[test]
fn the_python_tools_own_samples_give_its_own_statistics() {
    let text = include_str!("../../../../../tests/fixtures/bench_serving/oai.jsonl");
    let told: serde_json::Value = serde_json::from_str(&text.replace("Infinity", "null")).unwrap();
    let seconds = |value: &serde_json::Value| value.as_f64().unwrap();
    let ttfts =
        Samples::new(told["ttfts"].as_array().unwrap().iter().map(|s| seconds(s) * 1e3).collect());
    let itls = told["itls"].as_array().unwrap().iter();
    let itls = itls.flat_map(|of| of.as_array().unwrap()).map(|s| seconds(s) * 1e3);
    let itls = Samples::new(itls.collect());
    for stat in Stat::ALL {
        for (of, samples) in [(Latency::Ttft, &ttfts), (Latency::Itl, &itls)] {
            let key = Metric::Latency(of, stat).key();
            let (ours, theirs) = (samples.stat(stat).unwrap(), seconds(&told[key]));
            assert!((ours - theirs).abs() <= 1e-9 * theirs, "{key}: {ours} is not {theirs}");
        }
    }
}

#[test]
fn nothing_completed_leaves_only_the_duration() {
    let records = [failed(0, FailureKind::NoTokens, "empty")];
    insta::assert_snapshot!(shown(&all(&records, 500 * MS)), @"duration 0.5000");
    assert!(all(&[], 0).is_empty());
}

#[test]
fn a_chunk_of_known_size_counts_as_equal_gaps() {
    let mut record = completed(0, 0, &[100, 130, 140], 5);
    for (chunk, tokens) in record.chunks.iter_mut().zip([1, 3, 1]) {
        chunk.tokens = Some(tokens);
    }
    assert_eq!(itl_ms(&record), [10.0, 10.0, 10.0, 10.0]);
}

#[test]
fn a_chunk_without_a_token_lengthens_the_gap_of_the_next() {
    let record = completed(0, 0, &[10, 20, 30, 40], 2);
    let tokens: Vec<_> = tokens_per_chunk(&record).map(|(_, tokens)| tokens).collect();
    assert_eq!(tokens, [1, 0, 1, 0]);
    assert_eq!(itl_ms(&record), [20.0]);
    assert_eq!(max_itl_ms(&[record]), Some(20.0));
}

#[test]
fn an_absurd_token_count_fills_no_memory() {
    let record = completed(0, 0, &[10, 20], u32::MAX);
    assert!(itl_ms(&record).len() < 1 << 22);
}

#[test]
fn an_answer_of_one_token_has_no_time_per_output_token() {
    let metrics = all(&[completed(0, 0, &[10], 1)], 500 * MS);
    assert!(metrics.contains_key(&Metric::Latency(Latency::Ttft, Stat::Mean)));
    assert!(!metrics.contains_key(&Metric::Latency(Latency::Tpot, Stat::Mean)));
    assert!(!metrics.contains_key(&Metric::Latency(Latency::Itl, Stat::Mean)));
}

#[test]
fn without_send_times_the_peaks_are_unknown() {
    let mut record = completed(0, 0, &[10, 20], 2);
    record.sent_ns = None;
    let metrics = all(&[record], 500 * MS);
    assert!(metrics.contains_key(&Metric::Concurrency));
    assert!(!metrics.contains_key(&Metric::MaxConcurrentRequests));
    assert!(!metrics.contains_key(&Metric::MaxOutputTokensPerS));
}

#[test]
fn a_request_sent_when_another_ends_does_not_overlap_it() {
    let (first, second) = (completed(0, 0, &[100], 1), completed(1, 100, &[50], 1));
    assert_eq!(max_concurrent_requests(&[&first, &second]), Some(1.0));
    let third = completed(2, 99, &[10], 1);
    assert_eq!(max_concurrent_requests(&[&first, &second, &third]), Some(2.0));
}

#[test]
fn the_peak_of_output_counts_tokens_in_seconds_from_the_first_send() {
    let first = completed(0, 500, &[400, 900, 1100], 3);
    let second = completed(1, 900, &[700, 800], 4);
    // Seconds run from 500 ms: tokens at 400, 900 | 1100, and two each at 1100 and 1200.
    assert_eq!(max_output_tokens_per_s(&[&first, &second]), Some(5.0));
}

prop_compose! {
    fn any_record()(
        sent_ns in 0..10_000_000_000_u64,
        gaps_ns in prop::collection::vec(1..500_000_000_u64, 1..12),
        tail_ns in 0..1_000_000_u64,
        tokens in 1..40_u32,
        told in any::<bool>(),
    ) -> RequestRecord {
        let mut at_ns = 0;
        let chunks = gaps_ns.iter().map(|gap_ns| {
            at_ns += gap_ns;
            Chunk { at_ns, late_ns: None, tokens: told.then_some(1) }
        });
        let mut record = completed(0, 0, &[], tokens);
        record.chunks = chunks.collect();
        (record.sent_ns, record.done_ns) = (Some(sent_ns), Some(at_ns + tail_ns));
        record
    }
}

fn any_records() -> impl Strategy<Value = Vec<RequestRecord>> {
    prop::collection::vec(any_record(), 1..12)
}

fn is_time(metric: Metric) -> bool {
    matches!(metric, Metric::Duration | Metric::Latency(..))
}

#[test]
fn times_that_no_clock_gives_do_not_overflow() {
    let mut record = completed(0, 0, &[1, 2], 2);
    record.chunks[1].at_ns = u64::MAX;
    (record.sent_ns, record.done_ns) = (Some(u64::MAX), Some(u64::MAX));
    let early = completed(1, 0, &[1, 2], 2);
    let records = [record, early];
    assert_eq!(crate::certificate::length_ns(&records), u64::MAX);
    assert!(all(&records, u64::MAX).values().all(|value| value.is_finite()));
}

proptest! {
    #[test]
    fn the_order_of_records_changes_nothing(
        (records, shuffled) in any_records()
            .prop_flat_map(|records| (Just(records.clone()), Just(records).prop_shuffle())),
    ) {
        prop_assert_eq!(all(&records, 1_000 * MS), all(&shuffled, 1_000 * MS));
    }

    #[test]
    fn times_scale_and_rates_shrink_with_the_clock(records in any_records(), factor in 2..5_u64) {
        let slower: Vec<_> = records.iter().cloned().map(|mut record| {
            record.sent_ns = record.sent_ns.map(|at| at * factor);
            record.done_ns = record.done_ns.map(|at| at * factor);
            record.chunks.iter_mut().for_each(|chunk| chunk.at_ns *= factor);
            record
        }).collect();
        let (before, after) = (all(&records, 1_000 * MS), all(&slower, 1_000 * MS * factor));
        for (metric, value) in before.into_iter().filter(|(metric, _)| is_time(*metric)) {
            let scaled = value * factor as f64;
            prop_assert!((after[&metric] - scaled).abs() <= 1e-6 * scaled.max(1.0), "{metric}");
        }
    }

    #[test]
    fn a_failed_request_changes_no_latency_and_raises_no_throughput(
        records in any_records(),
        partial in any_record(),
    ) {
        let mut with_failure = records.clone();
        let failure = failed(99, FailureKind::ConnectionLost, "cut").failure;
        with_failure.push(RequestRecord { failure, ..partial });
        let (before, after) = (all(&records, 1_000 * MS), all(&with_failure, 1_000 * MS));
        prop_assert_eq!(before, after);
    }

    #[test]
    fn every_value_is_a_number_and_percentiles_rise(records in any_records()) {
        let metrics = all(&records, 1_000 * MS);
        prop_assert!(metrics.values().all(|value| value.is_finite() && 0.0 <= *value));
        for of in Latency::ALL {
            let at = |stat| metrics.get(&Metric::Latency(of, stat));
            let rising = [Stat::Median, Stat::P90, Stat::P95, Stat::P99].map(at);
            prop_assert!(rising.windows(2).all(|pair| pair[0] <= pair[1]));
        }
    }
}
