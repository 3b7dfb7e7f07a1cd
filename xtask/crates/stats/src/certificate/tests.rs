use std::collections::BTreeMap;

use domain::summary::{ClientLag, ReadLag, RequestCounts, TokenCounts, TokenSource};
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

fn lag(send_ms: f64, bound_ms: f64, late_ms: f64, clock: ClockSource) -> ClientLag {
    ClientLag {
        send_lag_median_ms: 0.0,
        send_lag_p99_ms: send_ms,
        send_lag_max_ms: send_ms,
        cpu_share: 0.5,
        threads: Some(1),
        reading: Some(ReadLag {
            clock,
            reads: 1,
            late_median_ms: Some(0.0),
            late_p99_ms: Some(late_ms),
            late_max_ms: Some(late_ms),
            merged_chunks: 0,
            merged_bound_p99_ms: Some(bound_ms),
            merged_bound_max_ms: Some(bound_ms),
            write_max_ms: None,
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
    let clock = ClockSource::Kernel;
    assert_eq!(judged(lag(5.0, 1.0, 9.0, clock), Rated::Yes), []);
    assert_eq!(judged(lag(5.1, 1.0, 9.0, clock), Rated::Yes), [Lag::Sending]);
    assert_eq!(judged(lag(5.1, 1.1, 9.0, clock), Rated::Yes), [Lag::Sending, Lag::Reading]);
}

#[test]
fn sending_is_not_judged_where_no_rate_was_asked_for() {
    assert_eq!(judged(lag(50.0, 0.0, 0.0, ClockSource::Kernel), Rated::No), []);
}

#[test]
fn events_that_the_server_sent_together_are_not_the_readers_fault() {
    assert_eq!(judged(lag(0.0, 20.0, 0.4, ClockSource::Kernel), Rated::No), []);
    assert_eq!(judged(lag(0.0, 20.0, 8.0, ClockSource::Kernel), Rated::No), [Lag::Reading]);
}
