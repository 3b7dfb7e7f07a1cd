use std::collections::BTreeMap;

use domain::client::{ClientLag, LagEffect};
use domain::metric::{Latency, Stat};
use domain::summary::{RequestCounts, TokenCounts, TokenSource};
use domain::timestamp::Timestamp;

use super::*;
use crate::testing::{MS, completed};

fn answer(index: u32, arrived_ms: u64, writes_ms: &[u64]) -> TrueAnswer {
    let write = |at: &u64| TrueWrite { began_ns: at * MS, ended_ns: at * MS, events: 1 };
    TrueAnswer {
        index,
        arrived_ns: arrived_ms * MS,
        writes: writes_ms.iter().map(write).collect(),
        complete: true,
    }
}

fn error(median_ms: f64, p99_ms: f64, max_ms: f64) -> ErrorMs {
    ErrorMs { median_ms, p99_ms, max_ms }
}

#[test]
fn a_client_that_is_right_has_no_error() {
    let records = [completed(0, 5, &[50, 70, 95], 3)];
    let truth = [answer(0, 1005, &[1055, 1075, 1100])];
    let accuracy = accuracy(&records, &truth).unwrap();
    assert_eq!((accuracy.matched, accuracy.unmatched), (1, 0));
    for compared in [accuracy.ttft, accuracy.itl, accuracy.tpot] {
        assert_eq!(compared.error, error(0.0, 0.0, 0.0));
        assert_eq!(compared.client_mean_ms, compared.true_mean_ms);
    }
    assert_eq!(accuracy.throughput_share, 0.0);
}

#[test]
fn errors_are_found_request_by_request_whatever_their_order() {
    let records = [completed(1, 0, &[53, 70], 2), completed(0, 0, &[50, 70], 2)];
    let truth = [answer(0, 0, &[50, 70]), answer(1, 0, &[50, 72])];
    let accuracy = accuracy(&records, &truth).unwrap();
    assert_eq!(accuracy.ttft.error.max_ms, 3.0);
    assert_eq!(accuracy.itl.error.max_ms, 5.0);
    assert_eq!(accuracy.tpot.error.max_ms, 5.0);
}

#[test]
fn a_value_within_the_span_of_a_write_is_right() {
    let mut truth = answer(0, 0, &[50, 70]);
    truth.writes[0].ended_ns = 53 * MS;
    let accuracy = |first_ms| {
        accuracy(&[completed(0, 0, &[first_ms, 70], 2)], std::slice::from_ref(&truth)).unwrap()
    };
    assert_eq!(accuracy(52).ttft.error.max_ms, 0.0);
    assert_eq!(accuracy(55).ttft.error.max_ms, 2.0);
    assert_eq!(accuracy(49).ttft.error.max_ms, 1.0);
}

#[test]
fn lost_events_and_requests_of_one_side_are_counted() {
    let records = [completed(0, 0, &[50, 70], 2), completed(1, 0, &[50], 2)];
    let truth = [answer(0, 0, &[50, 70]), answer(1, 0, &[50, 70]), answer(2, 0, &[50, 70])];
    let accuracy = accuracy(&records, &truth).unwrap();
    assert_eq!((accuracy.matched, accuracy.unmatched), (1, 2));
    assert!(super::accuracy(&records, &[]).is_none());
}

fn certificate() -> Certificate {
    let records = [completed(0, 0, &[50, 70], 2)];
    let accuracy = accuracy(&records, &[answer(0, 0, &[50, 70])]).unwrap();
    let cell = |streams, events_per_s| Cell {
        streams,
        events_per_s,
        requests: 1,
        accuracy: accuracy.clone(),
        recorded_events_per_s: 1.0,
        client_cpu_share: 0.1,
        client_memory_mib: 10.0,
        server_cpu_share: 0.1,
        lag: None,
    };
    Certificate {
        schema: Certificate::SCHEMA,
        host: "h".to_owned(),
        made: Timestamp::from_unix_millis(0),
        servegate_version: "0.1.0".to_owned(),
        kernel: None,
        server_cpu: 0,
        client_cpu: 1,
        load_1m: None,
        cells: vec![cell(16, 800), cell(64, 3200), cell(1024, 51_200)],
    }
}

fn measured(streams: f64, tokens: u64) -> Measurement {
    let median = |of| Metric::Latency(of, Stat::Median);
    Measurement {
        requests: RequestCounts { asked: 1, completed: 1, failed: BTreeMap::new() },
        tokens: TokenCounts {
            input: 1,
            input_by_server: None,
            output: tokens,
            output_source: TokenSource::ServerUsage,
            output_asked: tokens,
            cached: None,
        },
        metrics: BTreeMap::from([
            (Metric::Duration, 10.0),
            (Metric::Concurrency, streams),
            (median(Latency::Ttft), 500.0),
            (median(Latency::Itl), 20.0),
        ]),
        client: None,
        accounting: None,
        anomalies: Vec::new(),
    }
}

#[test]
fn the_smallest_cell_that_covers_a_run_bounds_it() {
    let certificate = certificate();
    let found = |streams, tokens| {
        let bound = bound(&certificate, "f", &measured(streams, tokens))?;
        Some((bound.streams, bound.events_per_s))
    };
    assert_eq!(found(10.0, 1000), Some((16, 800)));
    assert_eq!(found(16.0, 8000), Some((16, 800)));
    assert_eq!(found(17.0, 1000), Some((64, 3200)));
    assert_eq!(found(10.0, 40_000), Some((1024, 51_200)));
    assert_eq!(found(1025.0, 1000), None, "outside of the grid nothing is known");
}

/// A client whose lag moved numbers so: mean TTFT by sending, p99 TTFT by writing, p99 ITL by
/// reading.
fn lag(sending_ms: f64, writing_ms: f64, reading_ms: f64) -> ClientLag {
    let moved = |of, stat, ms| BTreeMap::from([(Metric::Latency(of, stat), ms)]);
    ClientLag {
        send_lag_median_ms: 0.0,
        send_lag_p99_ms: 40.0,
        send_lag_max_ms: 40.0,
        cpu_share: 0.5,
        threads: Some(1),
        reading: None,
        effect: Some(LagEffect {
            sending: moved(Latency::Ttft, Stat::Median, sending_ms),
            writing: moved(Latency::Ttft, Stat::Median, writing_ms),
            reading: moved(Latency::Itl, Stat::Median, reading_ms),
        }),
    }
}

fn judged(client: ClientLag, rated: Rated) -> Vec<Lag> {
    let budget = Budget { share: 0.01, at_least_ms: 1.0 };
    let measured = Measurement { client: Some(client), ..measured(1.0, 10) };
    let over = over_budget(&measured, budget, rated);
    let lag = |anomaly| match anomaly {
        Anomaly::ClientOverBudget { lag, .. } => lag,
        other => panic!("{other:?}"),
    };
    over.into_iter().map(lag).collect()
}

#[test]
fn the_budget_is_a_share_of_the_metric_or_the_least_whichever_is_larger() {
    // Medians are 500 and 20 ms, so 5 ms and 1 ms are allowed.
    assert_eq!(judged(lag(5.0, 5.0, 1.0), Rated::Yes), []);
    assert_eq!(judged(lag(5.1, 5.0, 1.0), Rated::Yes), [Lag::Sending]);
    assert_eq!(judged(lag(5.1, 5.1, 1.1), Rated::Yes), [Lag::Sending, Lag::Writing, Lag::Reading]);
}

#[test]
fn sending_is_not_judged_where_no_rate_was_asked_for() {
    assert_eq!(judged(lag(50.0, 0.0, 0.0), Rated::No), []);
    assert_eq!(judged(lag(50.0, 6.0, 0.0), Rated::No), [Lag::Writing]);
}

#[test]
fn the_number_that_was_moved_the_furthest_is_named() {
    let mut client = lag(6.0, 0.0, 0.0);
    let e2e = Metric::Latency(Latency::E2e, Stat::P99);
    let effect = client.effect.as_mut().unwrap();
    effect.sending.insert(e2e, 80.0);
    let mut measured = Measurement { client: Some(client), ..measured(1.0, 10) };
    let budget = Budget { share: 0.01, at_least_ms: 1.0 };
    let named = |measured: &Measurement| match over_budget(measured, budget, Rated::Yes)[..] {
        [Anomaly::ClientOverBudget { metric, .. }] => metric,
        ref other => panic!("{other:?}"),
    };
    // A number that the run does not have cannot be wrong.
    assert_eq!(named(&measured), Some(Metric::Latency(Latency::Ttft, Stat::Median)));
    measured.metrics.insert(e2e, 1_000.0);
    assert_eq!(named(&measured), Some(e2e));
}

#[test]
fn a_load_is_rated_where_no_request_has_to_wait_for_a_place() {
    let profile = |rate: &str, limit| Profile {
        request_rate: rate.parse().unwrap(),
        max_concurrency: limit,
        ..crate::testing::profile()
    };
    let prompts = crate::testing::profile().num_prompts;
    assert_eq!(Rated::of(&profile("20", None)), Rated::Yes);
    assert_eq!(Rated::of(&profile("20", Some(prompts))), Rated::Yes);
    assert_eq!(Rated::of(&profile("20", Some(prompts - 1))), Rated::No);
    assert_eq!(Rated::of(&profile("inf", None)), Rated::No);
}
