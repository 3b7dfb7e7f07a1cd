//! Every fault, to the byte.

use sim::{Config, Fault, FaultSpec};

use crate::client::{Answer, Client, End, ask, get};
use crate::fast;

const COMPLETION: &str = r#"{"prompt":"a b","max_tokens":6,"stream":true,"ignore_eos":true,
    "stream_options":{"include_usage":true}}"#;
const SGLANG: &str = r#"{"text":"a b","stream":true,"sampling_params":{"max_new_tokens":6,
    "ignore_eos":true}}"#;
const OLLAMA: &str = r#"{"prompt":"a b","options":{"num_predict":6}}"#;

/// What a completion that wishes for this fault looks like, and how its connection ends.
async fn struck(fault: &str) -> (Option<Answer>, Option<End>) {
    struck_at("POST /v1/completions", COMPLETION, fault).await
}

async fn struck_at(line: &str, body: &str, fault: &str) -> (Option<Answer>, Option<End>) {
    let server = sim::start(fast()).await.unwrap();
    let mut client = Client::connect(server.addr).await.unwrap();
    let answer = client.ask(line, &[("x-sim-fault", fault)], body).await;
    (answer, client.ended())
}

fn texts(answer: &Answer) -> Vec<String> {
    let events = answer.events();
    let texts = events.iter().filter_map(|event| event["choices"][0]["text"].as_str());
    texts.map(str::to_owned).collect()
}

fn told_tokens(answer: &Answer) -> Option<u64> {
    answer.events().iter().rev().find_map(|event| event["usage"]["completion_tokens"].as_u64())
}

#[tokio::test]
async fn refuse_resets_the_connection_of_one_request() {
    let (answer, end) = struck("refuse").await;
    assert!(answer.is_none());
    assert_eq!(end, Some(End::Reset));
}

#[tokio::test]
async fn refuse_closes_the_port_after_so_many_requests() {
    let closed = sim::start(fast().with_fault(Fault::Refuse.into())).await.unwrap();
    while Client::connect(closed.addr).await.is_ok() {
        tokio::task::yield_now().await;
    }
    let spec: FaultSpec = "refuse:after=2".parse().unwrap();
    let server = sim::start(fast().with_fault(spec)).await.unwrap();
    for _ in 0..2 {
        let answer = ask(server.addr, "POST /generate", &[], SGLANG).await.unwrap();
        assert_eq!(answer.end, End::Complete);
    }
    assert!(Client::connect(server.addr).await.is_err());
}

#[tokio::test]
async fn error_statuses_come_with_an_error_body() {
    for (fault, status) in [("rate-limit-429", 429), ("error-500", 500), ("loading-503", 503)] {
        let (answer, end) = struck(fault).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, end), (status, None));
        assert_eq!(answer.json()["error"]["code"], status);
        assert_eq!(answer.head.contains("retry-after: 1"), status == 429);
    }
}

#[tokio::test]
async fn loading_ends_after_so_many_requests() {
    let spec: FaultSpec = "loading-503:times=2".parse().unwrap();
    let server = sim::start(fast().with_fault(spec)).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = ask(server.addr, "POST /v1/completions", &[], COMPLETION).await.unwrap();
        statuses.push(answer.status);
    }
    assert_eq!(statuses, [503, 503, 200, 200]);
}

/// Reads what comes within a moment, and says whether the stream still hangs then.
async fn hangs(fault: &str) -> (String, bool) {
    let server = sim::start(fast()).await.unwrap();
    let mut client = Client::connect(server.addr).await.unwrap();
    client.send("POST /v1/completions", &[("x-sim-fault", fault)], COMPLETION).await;
    // The engine does the whole job all the same: then nothing more can come but the rest.
    while server.truth().report(0).entries.is_empty() || running(&server).await != 0 {
        tokio::task::yield_now().await;
    }
    let seen = client.available();
    let open = !server.truth().report(0).entries[0].closed;
    (seen, open)
}

async fn running(server: &sim::Running) -> u64 {
    let info = get(server.addr, "/server_info").await.json();
    let state = &info["internal_states"][0];
    state["running"].as_u64().unwrap() + state["waiting"].as_u64().unwrap()
}

#[tokio::test]
async fn stalls_keep_the_connection_open_and_silent() {
    let (seen, open) = hangs("hang").await;
    assert!(open && seen.is_empty(), "{seen}");
    let (seen, open) = hangs("stall-before-first-token").await;
    assert!(open && seen.starts_with("HTTP/1.1 200 OK") && seen.ends_with("\r\n\r\n"), "{seen}");
    let (seen, open) = hangs("stall-mid-stream").await;
    assert!(open && seen.contains("w2") && !seen.contains("w3"), "{seen}");
}

#[tokio::test]
async fn a_stall_with_a_length_ends_with_the_whole_answer() {
    for fault in ["hang:ms=1", "stall-before-first-token:ms=1", "stall-mid-stream:ms=1"] {
        let answer = struck(fault).await.0.unwrap();
        assert_eq!((answer.end, told_tokens(&answer)), (End::Complete, Some(6)), "{fault}");
        assert_eq!(texts(&answer).concat(), " w0 w1 w2 w3 w4 w5");
    }
}

#[tokio::test]
async fn drop_mid_stream_resets_after_half() {
    let (answer, _) = struck("drop-mid-stream").await;
    // A reset may overtake bytes that were sent before it.
    if let Some(answer) = answer {
        assert_eq!(answer.end, End::Reset);
        assert!(texts(&answer).len() <= 3);
    }
}

#[tokio::test]
async fn truncated_chunk_ends_within_a_chunk() {
    let answer = struck("truncated-chunk").await.0.unwrap();
    assert_eq!((answer.end, answer.chunks), (End::Closed, 3));
    assert!(answer.body.ends_with("\n\ndata: {\"id\":\"trunc"), "{}", answer.body);
}

#[tokio::test]
async fn done_only_has_an_end_mark_and_nothing_else() {
    let answer = struck("done-only").await.0.unwrap();
    assert_eq!((answer.status, answer.end), (200, End::Complete));
    assert_eq!(answer.body, "data: [DONE]\n\n");
    let answer = struck_at("POST /api/generate", OLLAMA, "done-only").await.0.unwrap();
    assert_eq!(answer.body, "{\"done\":true}\n");
}

#[tokio::test]
async fn error_mid_stream_is_an_error_object_and_the_end_mark() {
    let answer = struck("error-mid-stream").await.0.unwrap();
    assert_eq!(answer.end, End::Complete);
    let events = answer.events();
    assert_eq!(events.len(), 5);
    assert_eq!(events[3]["error"]["code"], 500);
    assert_eq!(events[4], "[DONE]");
}

#[tokio::test]
async fn malformed_json_is_one_broken_event_among_good_ones() {
    let answer = struck("malformed-json").await.0.unwrap();
    assert_eq!((answer.end, texts(&answer).len()), (End::Complete, 6));
    let broken = answer.events().iter().filter(|e| e.is_string()).count();
    assert_eq!(broken, 2, "the broken one and the end mark");
}

#[tokio::test]
async fn comment_pings_come_between_events_and_change_nothing() {
    let answer = struck("comment-pings").await.0.unwrap();
    assert_eq!(answer.body.matches(": ping\n\n").count(), 6);
    assert_eq!((texts(&answer).len(), told_tokens(&answer)), (6, Some(6)));
    let answer = struck_at("POST /api/generate", OLLAMA, "comment-pings").await.0.unwrap();
    assert_eq!(answer.body.lines().filter(|line| line.is_empty()).count(), 6);
}

#[tokio::test]
async fn merged_tokens_come_four_in_an_event_after_the_first() {
    let answer = struck("merged-tokens").await.0.unwrap();
    assert_eq!(texts(&answer), [" w0", " w1 w2 w3 w4", " w5"]);
    assert_eq!(told_tokens(&answer), Some(6));
    let answer = struck_at("POST /generate", SGLANG, "merged-tokens").await.0.unwrap();
    let events = answer.events();
    let counts = [0, 1, 2].map(|at: usize| events[at]["meta_info"]["completion_tokens"].as_u64());
    assert_eq!(counts, [Some(1), Some(5), Some(6)]);
}

#[tokio::test]
async fn split_tokens_come_in_two_events() {
    let answer = struck("split-tokens").await.0.unwrap();
    assert_eq!(texts(&answer)[..4], [" w", "0", " w", "1"]);
    assert_eq!((texts(&answer).len(), told_tokens(&answer)), (12, Some(6)));
}

#[tokio::test]
async fn wrong_usage_counts_one_token_too_many() {
    let answer = struck("wrong-usage").await.0.unwrap();
    assert_eq!((texts(&answer).len(), told_tokens(&answer)), (6, Some(7)));
}

#[tokio::test]
async fn slow_drip_is_honest() {
    let dripped = struck("slow-drip").await.0.unwrap();
    let whole = struck("comment-pings").await.0.unwrap();
    assert_eq!((dripped.end, texts(&dripped)), (End::Complete, texts(&whole)));
}

#[tokio::test]
async fn missing_done_ends_the_body_but_not_the_stream() {
    let answer = struck("missing-done").await.0.unwrap();
    assert_eq!((answer.end, texts(&answer).len()), (End::Complete, 6));
    assert!(!answer.body.contains("[DONE]") && !answer.body.contains("\"length\""));
    let answer = struck_at("POST /api/generate", OLLAMA, "missing-done").await.0.unwrap();
    assert!(!answer.body.contains("\"done\":true"));
}

#[tokio::test]
async fn crash_ends_the_server_with_a_failure() {
    let server = sim::start(fast()).await.unwrap();
    let answer = ask(server.addr, "POST /generate", &[("x-sim-fault", "crash")], SGLANG).await;
    assert!(answer.is_none_or(|answer| answer.end != End::Complete));
    while server.is_serving() {
        tokio::task::yield_now().await;
    }
    assert!(Client::connect(server.addr).await.is_err());
    let error = server.stop().await.unwrap_err().to_string();
    assert_eq!(error, "the server crashed, as the fault `crash` wants it to");
}

#[tokio::test]
async fn a_server_that_never_gets_ready_says_so_everywhere() {
    let server = sim::start(fast().with_fault(Fault::NeverReady.into())).await.unwrap();
    for line in ["GET /health", "GET /v1/models", "POST /v1/completions"] {
        assert_eq!(ask(server.addr, line, &[], COMPLETION).await.unwrap().status, 503);
    }
    assert_eq!(get(server.addr, "/sim/gpu").await.status, 200);
}

#[tokio::test]
async fn a_slow_start_ends() {
    let spec: FaultSpec = "slow-start:ms=30".parse().unwrap();
    let server = sim::start(fast().with_fault(spec)).await.unwrap();
    let mut statuses = vec![get(server.addr, "/health").await.status];
    while statuses.last() == Some(&503) {
        statuses.push(get(server.addr, "/health").await.status);
    }
    assert_eq!(statuses.last(), Some(&200));
}

#[tokio::test]
async fn every_other_request_can_be_struck() {
    let spec: FaultSpec = "error-500:every=2".parse().unwrap();
    let server = sim::start(fast().with_fault(spec)).await.unwrap();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(ask(server.addr, "POST /generate", &[], SGLANG).await.unwrap().status);
    }
    assert_eq!(statuses, [200, 500, 200, 500]);
}

#[tokio::test]
async fn a_fault_that_no_request_can_have_is_refused() {
    for fault in ["orphan", "nonsense", "hang:x=1"] {
        assert_eq!(struck(fault).await.0.unwrap().status, 400, "{fault}");
    }
}

#[tokio::test]
async fn a_struck_request_costs_the_engine_its_full_work() {
    for fault in Fault::ALL.iter().filter(|fault| !ENDS_OR_IS_NO_REQUEST.contains(fault)) {
        let server = sim::start(fast()).await.unwrap();
        let mut client = Client::connect(server.addr).await.unwrap();
        client.send("POST /generate", &[("x-sim-fault", fault.as_str())], SGLANG).await;
        let mut made = 0;
        while made != 6 {
            let metrics = get(server.addr, "/metrics").await.body;
            let line = metrics.lines().find(|l| l.starts_with("vllm:generation_tokens_total"));
            made = line.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        }
    }
}

/// After a crash there is no engine, and the others are faults of a process.
const ENDS_OR_IS_NO_REQUEST: [Fault; 6] = [
    Fault::Crash,
    Fault::IgnoreSigterm,
    Fault::Orphan,
    Fault::OomLog,
    Fault::SlowStart,
    Fault::NeverReady,
];

#[tokio::test]
async fn answers_in_one_piece_are_struck_too() {
    let whole = r#"{"prompt":"a b","max_tokens":6,"ignore_eos":true}"#;
    let at = async |fault| struck_at("POST /v1/completions", whole, fault).await.0;
    assert_eq!(at("truncated-chunk").await.unwrap().end, End::Closed);
    assert!(at("drop-mid-stream").await.is_none_or(|answer| answer.end == End::Reset));
    assert_eq!(at("error-mid-stream").await.unwrap().status, 500);
    let broken = at("malformed-json").await.unwrap();
    assert!(serde_json::from_str::<serde_json::Value>(&broken.body).is_err());
    assert_eq!(at("wrong-usage").await.unwrap().json()["usage"]["completion_tokens"], 7);
    assert_eq!(at("done-only").await.unwrap().json()["choices"][0]["text"], "");
    assert!(at("missing-done").await.unwrap().json()["choices"][0]["finish_reason"].is_null());
    for honest in ["slow-drip", "merged-tokens", "comment-pings", "stall-mid-stream:ms=1"] {
        let text = at(honest).await.unwrap().json()["choices"][0]["text"].clone();
        assert_eq!(text, " w0 w1 w2 w3 w4 w5", "{honest}");
    }
}

#[tokio::test]
async fn faults_are_recorded_in_the_truth_log() {
    let config = Config { faults: vec![Fault::MergedTokens.into()], ..fast() };
    let server = sim::start(config).await.unwrap();
    ask(server.addr, "POST /generate", &[], SGLANG).await.unwrap();
    let entry = server.truth().report(0).entries.remove(0);
    assert_eq!(entry.fault.as_deref(), Some("merged-tokens"));
    let tokens: Vec<u32> = entry.events.iter().map(|event| event.tokens).collect();
    assert_eq!(tokens, [1, 4, 1, 0], "three events and the end mark");
}

/// Bounds from below only: they hold however busy the machine is.
#[tokio::test]
async fn no_token_comes_before_its_steps_and_its_stall_are_over() {
    const STEP_NS: u64 = 10_000_000;
    const STALL_NS: u64 = 80_000_000;
    let slow = Config { step_base_ms: 10.0, ..Config::steady() };
    let server = sim::start(slow).await.unwrap();
    for (fault, stalled_from) in
        [("hang:ms=80", 0), ("stall-before-first-token:ms=80", 0), ("stall-mid-stream:ms=80", 3)]
    {
        ask(server.addr, "POST /generate", &[("x-sim-fault", fault)], SGLANG).await.unwrap();
        let entry = server.truth().report(0).entries.pop().unwrap();
        for (position, event) in (0..6).zip(&entry.events) {
            let stall_ns = if stalled_from <= position { STALL_NS } else { 0 };
            let earliest_ns = entry.received_ns + STEP_NS * (position + 1) + stall_ns;
            assert!(earliest_ns <= event.began_ns, "{fault}, token {position}");
        }
    }
}
