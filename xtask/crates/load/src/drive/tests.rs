use std::collections::BTreeMap;

use domain::facts::ServerFacts;
use domain::failure::FailureKind;
use domain::framework::Framework;
use domain::profile::{Arrivals, Dataset, RequestRate};
use sim::{Config, Fault, Running};
use tokio::sync::watch::Sender;

use super::*;
use crate::tokenizer::Tokenizer;
use crate::workload::prepare;

/// Longer than any test may take.
const PATIENT: Duration = Duration::from_secs(60);
/// Shorter than a fault that never ends.
const IMPATIENT: Duration = Duration::from_millis(300);

/// A load of the embedded tokenizer, and how it is sent.
struct Load {
    profile: Profile,
    requests: RequestSet,
    wire: Wire,
    forces_length: bool,
    idle: Duration,
    deadline: Duration,
    fault: Option<Fault>,
}

impl Load {
    fn new(num_prompts: u32, wire: Wire) -> Self {
        Self::of(profile(num_prompts), wire)
    }

    fn of(profile: Profile, wire: Wire) -> Self {
        let requests = prepare(&profile, 42, &Tokenizer::embedded()).unwrap();
        let (idle, deadline) = (PATIENT, PATIENT);
        Self { profile, requests, wire, forces_length: true, idle, deadline, fault: None }
    }

    fn order<'a>(&'a self, base_url: &'a str) -> Order<'a> {
        let fault = self.fault.map(|fault| ("x-sim-fault".to_owned(), fault.to_string()));
        Order {
            base_url,
            model: "sim",
            wire: self.wire,
            profile: &self.profile,
            requests: &self.requests,
            capabilities: Capabilities {
                forces_length: self.forces_length,
                reports_usage: true,
                flushes_cache: true,
            },
            idle: self.idle,
            deadline: self.deadline,
            headers: fault.into_iter().collect(),
        }
    }

    async fn drive(&self, url: &str) -> Drive {
        let (_stop, stopped) = watch::channel(false);
        self.drive_until(url, stopped, &self.progress()).await
    }

    async fn drive_until(
        &self,
        url: &str,
        stop: watch::Receiver<bool>,
        progress: &Progress,
    ) -> Drive {
        drive(&self.order(url), &verified(url), progress, stop).await.unwrap()
    }

    fn progress(&self) -> Progress {
        Progress::new(self.profile.num_prompts)
    }
}

fn profile(num_prompts: u32) -> Profile {
    Profile {
        name: "test".to_owned(),
        dataset_name: Dataset::RandomIds,
        dataset_path: None,
        num_prompts,
        random_input_len: 8,
        random_output_len: 6,
        random_range_ratio: 0.5,
        request_rate: RequestRate::INFINITE,
        arrivals: Arrivals::Poisson,
        max_concurrency: None,
        warmup_requests: 1,
        seed: 42,
        ignore_eos: true,
        workload: domain::profile::Workload::USUAL,
    }
}

/// Evidence for a server of which only the address is known.
fn verified(url: &str) -> Evidence<ServerVerified> {
    let facts = ServerFacts {
        framework: Framework::Sim,
        url: url.to_owned(),
        model: "sim".to_owned(),
        version: None,
        pid: None,
        rungs: Vec::new(),
        capabilities: Capabilities {
            forces_length: true,
            reports_usage: true,
            flushes_cache: true,
        },
        resolved: BTreeMap::new(),
        contract: domain::contract::Contract::unsaid(),
    };
    sequencer::server::judge(&facts, &[]).unwrap()
}

/// A server that is faster than a real one, so that tests are.
async fn server() -> Running {
    let fast = Config { speed: 20.0, eos_probability: 0.0, ..Config::steady() };
    sim::start(fast).await.unwrap()
}

fn kinds(drive: &Drive) -> BTreeMap<FailureKind, usize> {
    let failures = drive.records.iter().filter_map(|record| record.failure.as_ref());
    failures.fold(BTreeMap::new(), |mut kinds, failure| {
        *kinds.entry(failure.kind).or_default() += 1;
        kinds
    })
}

#[tokio::test]
async fn every_wire_format_completes_with_the_lengths_asked_for() {
    let server = server().await;
    for wire in Wire::ALL {
        let load = Load::new(8, *wire);
        let progress = load.progress();
        let (_stop, stopped) = watch::channel(false);
        let drive = load.drive_until(&server.url(), stopped, &progress).await;
        assert_eq!(kinds(&drive), BTreeMap::new(), "{wire}: {:?}", drive.records);
        assert_eq!(drive.records.len(), 8);
        for (record, request) in drive.records.iter().zip(load.requests.requests()) {
            assert!(record.completed());
            assert_eq!(record.index, request.index);
            assert_eq!(record.status, Some(200));
            assert_eq!(record.server_output_tokens, Some(request.output_len), "{wire}");
            assert_eq!(record.chunks.len(), request.output_len as usize, "{wire}");
            // A chat template adds tokens of its own.
            assert!(Some(request.prompt_len) <= record.server_prompt_tokens, "{wire}");
            assert!(record.chunks.is_sorted_by_key(|chunk| chunk.at_ns));
            assert!(record.chunks.last().map(|chunk| chunk.at_ns) <= record.done_ns);
            assert!(record.due_ns <= record.sent_ns && record.connect_ns.is_some());
            if *wire == Wire::SglangGenerate {
                assert!(record.chunks.iter().all(|chunk| chunk.tokens == Some(1)));
            }
        }
        let seen = progress.snapshot();
        assert_eq!((seen.sent, seen.completed, seen.failed), (8, 8, 0));
        let asked = load.requests.requests().iter().map(|request| u64::from(request.output_len));
        assert_eq!(seen.tokens, asked.sum::<u64>());
    }
}

#[tokio::test]
async fn no_event_is_recorded_earlier_than_the_server_sent_it() {
    let server = server().await;
    let load = Load::new(16, Wire::OpenaiCompletions);
    let drive = load.drive(&server.url()).await;
    let truth = server.truth().report(0);
    for record in &drive.records {
        let index = Some(u64::from(record.index));
        let entry = truth.entries.iter().find(|entry| entry.index == index).unwrap();
        let carrying = entry.events.iter().filter(|event| 0 < event.tokens);
        let began: Vec<u64> = carrying.map(|event| event.began_ns - entry.received_ns).collect();
        assert_eq!(began.len(), record.chunks.len());
        // The server has the request no earlier than we sent it, so that by its own clock, from
        // receipt, each write began no later than we saw it by ours, from sending.
        for (chunk, began_ns) in record.chunks.iter().zip(began) {
            assert!(began_ns <= chunk.at_ns, "{chunk:?} began at {began_ns}");
        }
    }
}

/// Faults after which nothing comes any more.
const ENDLESS: [Fault; 3] = [Fault::StallBeforeFirstToken, Fault::StallMidStream, Fault::Hang];
/// Faults that do not concern a single request.
const OF_THE_PROCESS: [Fault; 5] =
    [Fault::IgnoreSigterm, Fault::Orphan, Fault::OomLog, Fault::SlowStart, Fault::NeverReady];

/// How every fault of a request shows, for one wire format.
async fn faults(wire: Wire) -> String {
    let mut lines = Vec::new();
    for fault in Fault::ALL.iter().filter(|fault| !OF_THE_PROCESS.contains(fault)) {
        let idle = if ENDLESS.contains(fault) { IMPATIENT } else { PATIENT };
        // A server for each, since one of them ends it.
        let server = server().await;
        let load = Load { fault: Some(*fault), idle, ..Load::new(2, wire) };
        let drive = load.drive(&server.url()).await;
        assert_eq!(drive.records.len(), 2, "{fault}");
        let shown = drive.records.iter().map(|record| match &record.failure {
            Some(failure) => failure.kind.to_string(),
            None if 0 < record.pings => "completed with pings".to_owned(),
            None => "completed".to_owned(),
        });
        let mut shown: Vec<_> = shown.collect();
        shown.dedup();
        lines.push(format!("{fault}: {}", shown.join(", ")));
    }
    lines.join("\n")
}

#[tokio::test]
async fn every_fault_of_a_server_has_its_kind_on_completions() {
    insta::assert_snapshot!(faults(Wire::OpenaiCompletions).await, @"
    refuse: connection-lost
    rate-limit-429: rate-limited
    error-500: server-error
    loading-503: unavailable
    stall-before-first-token: stalled-before-first-token
    stall-mid-stream: stalled-mid-stream
    hang: stalled-before-first-token
    drop-mid-stream: connection-lost
    truncated-chunk: connection-lost
    done-only: no-tokens
    error-mid-stream: stream-error
    malformed-json: malformed-event
    comment-pings: completed with pings
    merged-tokens: completed
    split-tokens: completed
    wrong-usage: wrong-token-count
    slow-drip: completed
    missing-done: truncated-stream
    crash: connection-lost
    ");
}

#[tokio::test]
async fn every_fault_of_a_server_has_its_kind_on_chat() {
    insta::assert_snapshot!(faults(Wire::OpenaiChat).await, @"
    refuse: connection-lost
    rate-limit-429: rate-limited
    error-500: server-error
    loading-503: unavailable
    stall-before-first-token: stalled-before-first-token
    stall-mid-stream: stalled-mid-stream
    hang: stalled-before-first-token
    drop-mid-stream: connection-lost
    truncated-chunk: connection-lost
    done-only: no-tokens
    error-mid-stream: stream-error
    malformed-json: malformed-event
    comment-pings: completed with pings
    merged-tokens: completed
    split-tokens: completed
    wrong-usage: wrong-token-count
    slow-drip: completed
    missing-done: truncated-stream
    crash: connection-lost
    ");
}

#[tokio::test]
async fn every_fault_of_a_server_has_its_kind_on_generate() {
    insta::assert_snapshot!(faults(Wire::SglangGenerate).await, @"
    refuse: connection-lost
    rate-limit-429: rate-limited
    error-500: server-error
    loading-503: unavailable
    stall-before-first-token: stalled-before-first-token
    stall-mid-stream: stalled-mid-stream
    hang: stalled-before-first-token
    drop-mid-stream: connection-lost
    truncated-chunk: connection-lost
    done-only: no-tokens
    error-mid-stream: stream-error
    malformed-json: malformed-event
    comment-pings: completed with pings
    merged-tokens: completed
    split-tokens: completed
    wrong-usage: wrong-token-count
    slow-drip: completed
    missing-done: truncated-stream
    crash: connection-lost
    ");
}

#[tokio::test]
async fn every_fault_of_a_server_has_its_kind_on_ollama() {
    insta::assert_snapshot!(faults(Wire::OllamaGenerate).await, @"
    refuse: connection-lost
    rate-limit-429: rate-limited
    error-500: server-error
    loading-503: unavailable
    stall-before-first-token: stalled-before-first-token
    stall-mid-stream: stalled-mid-stream
    hang: stalled-before-first-token
    drop-mid-stream: connection-lost
    truncated-chunk: connection-lost
    done-only: no-tokens
    error-mid-stream: stream-error
    malformed-json: malformed-event
    comment-pings: completed
    merged-tokens: completed
    split-tokens: completed
    wrong-usage: wrong-token-count
    slow-drip: completed
    missing-done: truncated-stream
    crash: connection-lost
    ");
}

#[tokio::test]
async fn a_cut_stream_keeps_the_chunks_that_had_come() {
    let server = server().await;
    let load = Load { fault: Some(Fault::DropMidStream), ..Load::new(4, Wire::SglangGenerate) };
    let drive = load.drive(&server.url()).await;
    for record in &drive.records {
        assert!(record.failure.is_some() && record.done_ns.is_none());
        assert!(!record.chunks.is_empty());
        assert!(record.chunks.len() < record.asked_tokens as usize);
    }
}

#[tokio::test]
async fn a_closed_port_refuses_every_request() {
    let server = server().await;
    let url = server.url();
    server.stop().await.unwrap();
    let drive = Load::new(3, Wire::OpenaiChat).drive(&url).await;
    assert_eq!(kinds(&drive), BTreeMap::from([(FailureKind::ConnectRefused, 3)]));
    assert!(drive.records.iter().all(|record| record.sent_ns.is_none()));
}

#[tokio::test]
async fn a_natural_end_is_complete_where_the_length_cannot_be_forced() {
    let eager = Config { eos_probability: 0.9, speed: 20.0, ..Config::steady() };
    let server = sim::start(eager).await.unwrap();
    let natural = Profile { ignore_eos: false, random_output_len: 64, ..profile(6) };
    let load = Load { forces_length: false, ..Load::of(natural, Wire::OpenaiCompletions) };
    let drive = load.drive(&server.url()).await;
    assert_eq!(kinds(&drive), BTreeMap::new());
    assert!(drive.records.iter().any(|record| {
        record.server_output_tokens.is_some_and(|tokens| tokens < record.asked_tokens)
    }));
}

#[tokio::test]
async fn at_most_so_many_requests_are_in_flight_and_they_keep_their_order() {
    let server = server().await;
    let limited = Profile { max_concurrency: Some(2), ..profile(10) };
    let drive = Load::of(limited, Wire::OpenaiCompletions).drive(&server.url()).await;
    let mut changes = Vec::new();
    for record in &drive.records {
        let sent = record.sent_ns.unwrap();
        changes.extend([(sent, 1), (sent + record.done_ns.unwrap(), -1)]);
    }
    changes.sort_unstable();
    let mut in_flight = 0;
    for (_, change) in changes {
        in_flight += change;
        assert!(in_flight <= 2);
    }
    let alone = Profile { max_concurrency: Some(1), ..profile(10) };
    let drive = Load::of(alone, Wire::OpenaiCompletions).drive(&server.url()).await;
    for pair in drive.records.windows(2) {
        let freed = pair[0].sent_ns.zip(pair[0].done_ns).map(|(sent, took)| sent + took);
        assert!(freed <= pair[1].due_ns, "without a rate a request is due when its place is free");
        assert!(pair[1].due_ns <= pair[1].sent_ns);
    }
}

#[tokio::test]
async fn a_rate_spreads_the_requests_and_none_is_early() {
    let server = server().await;
    for arrivals in Arrivals::ALL {
        let rate = "500".parse().unwrap();
        // Too few places for the rate make requests late; they do not change when they are due.
        let spread = Profile {
            request_rate: rate,
            arrivals: *arrivals,
            max_concurrency: Some(2),
            ..profile(12)
        };
        let load = Load::of(spread, Wire::OllamaGenerate);
        let drive = load.drive(&server.url()).await;
        assert_eq!(kinds(&drive), BTreeMap::new());
        for (record, request) in drive.records.iter().zip(load.requests.requests()) {
            assert_eq!(record.due_ns, Some(clock::ns(request.due)));
            assert!(record.due_ns <= record.sent_ns);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_1024_connections_works() {
    // The server's ends of the connections are files of this process, too.
    limits::allow_connections(2 * 1024).unwrap();
    let server = server().await;
    let burst = Profile { random_output_len: 2, ..profile(1024) };
    let drive = Load::of(burst, Wire::OpenaiCompletions).drive(&server.url()).await;
    assert_eq!(kinds(&drive), BTreeMap::new());
    assert_eq!(drive.records.len(), 1024);
    assert!(drive.cpu_ns.is_some_and(|cpu_ns| 0 < cpu_ns));
    assert!(drive.started <= drive.finished);
}

/// Waits until the condition holds; a test that waits for ever is ended by its runner.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn stopping_ends_what_is_in_flight_and_sends_nothing_more() {
    let server = server().await;
    let limited = Profile { max_concurrency: Some(2), ..profile(5) };
    let load = Load { fault: Some(Fault::Hang), ..Load::of(limited, Wire::OpenaiChat) };
    let (stop, stopped): (Sender<bool>, _) = watch::channel(false);
    let (progress, url) = (load.progress(), server.url());
    let stopping = async {
        until(|| progress.snapshot().sent == 2).await;
        stop.send_replace(true);
    };
    let (drive, ()) = tokio::join!(load.drive_until(&url, stopped, &progress), stopping);
    assert_eq!(kinds(&drive), BTreeMap::from([(FailureKind::Aborted, 2)]));
    assert_eq!(drive.records.len(), 2);
    assert_eq!(progress.snapshot().failed, 2);
}

#[tokio::test]
async fn nobody_left_who_could_stop_it_does_not_stop_it() {
    let server = server().await;
    let load = Load::new(2, Wire::OpenaiChat);
    let (stop, stopped) = watch::channel(false);
    drop(stop);
    let drive = load.drive_until(&server.url(), stopped, &load.progress()).await;
    assert_eq!(kinds(&drive), BTreeMap::new());
}

#[tokio::test]
async fn the_deadline_ends_the_run() {
    let server = server().await;
    let limited = Profile { max_concurrency: Some(1), ..profile(3) };
    let fault = Some(Fault::Hang);
    let load = Load { fault, deadline: IMPATIENT, ..Load::of(limited, Wire::OpenaiCompletions) };
    let drive = load.drive(&server.url()).await;
    assert_eq!(kinds(&drive), BTreeMap::from([(FailureKind::DeadlineExceeded, 1)]));
    assert_eq!(drive.records.len(), 1, "what was not sent has no record");
}

#[tokio::test]
async fn a_warm_up_sends_the_first_request_and_leaves_no_trace() {
    let server = server().await;
    let long = Profile { random_output_len: 100, random_range_ratio: 1.0, ..profile(4) };
    let load = Load::of(long, Wire::OpenaiCompletions);
    let (url, (_stop, stopped)) = (server.url(), watch::channel(false));
    warm_up(&load.order(&url), 3, &verified(&url), stopped).await.unwrap();
    let truth = server.truth().report(0);
    assert_eq!(truth.entries.len(), 3);
    assert!(truth.entries.iter().all(|entry| entry.index.is_none() && entry.output_tokens == 32));
}

#[tokio::test]
async fn a_warm_up_without_a_single_success_says_why() {
    let server = server().await;
    let load = Load { fault: Some(Fault::Error500), ..Load::new(1, Wire::OpenaiCompletions) };
    let (url, (stop, stopped)) = (server.url(), watch::channel(false));
    let error = warm_up(&load.order(&url), 2, &verified(&url), stopped.clone()).await.unwrap_err();
    let DriveError::WarmUp { requests: 2, first } = error else { panic!("{error}") };
    assert_eq!(first.kind, FailureKind::ServerError);
    warm_up(&load.order(&url), 0, &verified(&url), stopped.clone()).await.unwrap();
    stop.send_replace(true);
    let error = warm_up(&load.order(&url), 2, &verified(&url), stopped).await.unwrap_err();
    assert!(matches!(error, DriveError::Stopped), "{error}");
    let (_stop, stopped) = watch::channel(false);
    let order = Order { deadline: Duration::ZERO, ..load.order(&url) };
    let error = warm_up(&order, 2, &verified(&url), stopped).await.unwrap_err();
    assert!(matches!(error, DriveError::WarmUp { .. }), "nothing sent is no success: {error}");
}

#[tokio::test]
async fn evidence_about_another_server_is_refused() {
    let load = Load::new(1, Wire::OpenaiChat);
    let (_stop, stopped) = watch::channel(false);
    let other = verified("http://127.0.0.1:1");
    let order = load.order("http://127.0.0.1:2");
    let error = drive(&order, &other, &load.progress(), stopped).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`http://127.0.0.1:2` is not the server that was verified, which is `http://127.0.0.1:1`"
    );
}
