//! How the server serves: connections, lengths, caches, the truth log.

use sim::Config;
use tokio::task::JoinSet;

use crate::client::{Client, End, ask, get, post};
use crate::fast;

fn completion(prompt: &str, tokens: u32) -> String {
    format!(
        r#"{{"prompt":"{prompt}","max_tokens":{tokens},"stream":true,"ignore_eos":true,
            "stream_options":{{"include_usage":true}}}}"#
    )
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let server = sim::start(fast()).await.unwrap();
    let mut client = Client::connect(server.addr).await.unwrap();
    for path in ["GET /health", "GET /nothing", "GET /v1/models"] {
        let answer = client.ask(path, &[], "").await.unwrap();
        assert!(answer.head.contains("connection: keep-alive"), "{}", answer.head);
    }
    for tokens in 1..4 {
        let answer =
            client.ask("POST /v1/completions", &[], &completion("a", tokens)).await.unwrap();
        assert_eq!(answer.events().len(), tokens as usize + 2);
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = sim::start(fast()).await.unwrap();
    let mut client = Client::connect(server.addr).await.unwrap();
    client.send("POST /v1/completions", &[], &completion("a", 2)).await;
    client.send("GET /version", &[], "").await;
    assert_eq!(client.answer().await.unwrap().events().len(), 4);
    assert!(client.answer().await.unwrap().body.contains("version"));
}

#[tokio::test]
async fn a_client_that_wants_the_connection_closed_sees_it_closed() {
    let server = sim::start(fast()).await.unwrap();
    let mut client = Client::connect(server.addr).await.unwrap();
    let answer = client.ask("GET /health", &[("connection", "close")], "").await.unwrap();
    assert!(answer.head.contains("connection: close"));
    assert!(client.answer().await.is_none());
    assert_eq!(client.ended(), Some(End::Closed));
}

#[tokio::test]
async fn a_request_in_single_bytes_is_understood() {
    let server = sim::start(fast()).await.unwrap();
    let mut client = Client::connect(server.addr).await.unwrap();
    let request = b"POST /generate HTTP/1.1\r\ncontent-length: 14\r\n\r\n{\"text\":\"a b\"}";
    for byte in request {
        client.raw(&[*byte]).await;
    }
    assert_eq!(client.answer().await.unwrap().json()["meta_info"]["prompt_tokens"], 2);
}

#[tokio::test]
async fn requests_that_are_not_http_1_1_are_refused() {
    let server = sim::start(fast()).await.unwrap();
    for (request, status) in [
        ("GET /health HTTP/1.0\r\n\r\n", 505),
        ("nonsense\r\n\r\n", 400),
        ("POST /generate HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        ("POST /generate HTTP/1.1\r\ncontent-length: 99999999\r\n\r\n", 413),
        ("POST /generate HTTP/1.1\r\ncontent-length: -1\r\n\r\n", 400),
    ] {
        let mut client = Client::connect(server.addr).await.unwrap();
        client.raw(request.as_bytes()).await;
        assert_eq!(client.answer().await.unwrap().status, status, "{request}");
    }
}

#[tokio::test]
async fn a_large_body_is_asked_for_where_the_client_waits() {
    let server = sim::start(fast()).await.unwrap();
    let mut client = Client::connect(server.addr).await.unwrap();
    let body = r#"{"text":"a b"}"#;
    let head = format!(
        "POST /generate HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    client.raw(head.as_bytes()).await;
    assert_eq!(client.answer_head().await, 100);
    client.raw(body.as_bytes()).await;
    assert_eq!(client.answer().await.unwrap().status, 200);
}

#[tokio::test]
async fn concurrent_requests_each_get_their_own_tokens() {
    let server = sim::start(fast()).await.unwrap();
    let mut clients = JoinSet::new();
    for number in 1..=48_u32 {
        let addr = server.addr;
        clients.spawn(async move {
            let prompt = format!("p{number} ").repeat(20);
            let answer = post(addr, "/v1/completions", &completion(&prompt, number)).await;
            let events = answer.events();
            let text: String =
                events.iter().filter_map(|e| e["choices"][0]["text"].as_str()).collect();
            let usage = &events[events.len() - 2]["usage"];
            (number, sim::tokens::count(&text), usage["completion_tokens"].as_u64().unwrap())
        });
    }
    while let Some(done) = clients.join_next().await {
        let (asked, words, told) = done.unwrap();
        assert_eq!((words, told), (asked, u64::from(asked)));
    }
}

#[tokio::test]
async fn an_answer_without_forced_length_stops_early_and_always_at_the_same_place() {
    let config = Config { eos_probability: 0.2, ..fast() };
    let server = sim::start(config).await.unwrap();
    let body = r#"{"text":"a b","sampling_params":{"max_new_tokens":500}}"#;
    let first = post(server.addr, "/generate", body).await.json();
    let again = post(server.addr, "/generate", body).await.json();
    assert_eq!(first["text"], again["text"]);
    assert_eq!(first["meta_info"]["finish_reason"]["type"], "stop");
    let words = sim::tokens::count(first["text"].as_str().unwrap());
    assert_eq!(first["meta_info"]["completion_tokens"], words);
    let longer = r#"{"text":"a b","sampling_params":{"max_new_tokens":500,"min_new_tokens":200}}"#;
    let longer = post(server.addr, "/generate", longer).await.json();
    assert_eq!(longer["meta_info"]["completion_tokens"], 200);
}

#[tokio::test]
async fn a_repeated_prompt_hits_the_prefix_cache_until_it_is_flushed() {
    let server = sim::start(fast()).await.unwrap();
    let prompt = "a b c d ".repeat(20);
    let cached = async || {
        let body = format!(r#"{{"prompt":"{prompt}","max_tokens":1,"ignore_eos":true}}"#);
        let answer = post(server.addr, "/v1/completions", &body).await.json();
        answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap()
    };
    assert_eq!((cached().await, cached().await), (0, 64));
    for flush in ["/flush_cache", "/reset_prefix_cache"] {
        assert_eq!(post(server.addr, flush, "").await.status, 200);
        assert_eq!((cached().await, cached().await), (0, 64));
    }
}

#[tokio::test]
async fn the_cache_is_not_flushed_while_a_request_runs() {
    let server = sim::start(Config::steady()).await.unwrap();
    let mut busy = Client::connect(server.addr).await.unwrap();
    busy.send(
        "POST /generate",
        &[],
        r#"{"text":"a","sampling_params":{"max_new_tokens":20000,
        "ignore_eos":true},"stream":true}"#,
    )
    .await;
    while get(server.addr, "/server_info").await.json()["internal_states"][0]["running"] != 1 {
        tokio::task::yield_now().await;
    }
    let refused = post(server.addr, "/flush_cache", "").await;
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("1 requests run and 0 wait"), "{}", refused.body);
    drop(busy);
    while post(server.addr, "/flush_cache", "").await.status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_truth_log_has_every_token_in_order_and_after_its_request() {
    let server = sim::start(fast()).await.unwrap();
    for (index, path, body) in [
        ("7", "POST /v1/completions", completion("a b", 5)),
        (
            "8",
            "POST /generate",
            r#"{"text":"a b","stream":true,"sampling_params":
            {"max_new_tokens":5,"ignore_eos":true}}"#
                .to_owned(),
        ),
        (
            "9",
            "POST /generate",
            r#"{"text":"a b","sampling_params":{"max_new_tokens":5,
            "ignore_eos":true}}"#
                .to_owned(),
        ),
    ] {
        ask(server.addr, path, &[("x-request-index", index)], &body).await.unwrap();
    }
    let report = server.truth().report(0);
    assert_eq!(
        report.entries.iter().map(|e| e.index).collect::<Vec<_>>(),
        [Some(7), Some(8), Some(9)]
    );
    for entry in &report.entries {
        let times: Vec<u64> = entry.events.iter().flat_map(|e| [e.began_ns, e.sent_ns]).collect();
        assert!(times.is_sorted() && entry.received_ns <= times[0], "{entry:?}");
        assert!(times[times.len() - 1] <= entry.done_ns.unwrap());
        assert_eq!(entry.events.iter().map(|e| e.tokens).sum::<u32>(), 5);
    }
    let told = get(server.addr, "/sim/truth?since=1").await.json();
    assert_eq!(told["entries"].as_array().unwrap().len(), 2);
    assert_eq!((told["entries"][0]["seq"].as_u64(), told["next_seq"].as_u64()), (Some(1), Some(3)));
    ask(server.addr, "DELETE /sim/truth", &[], "").await.unwrap();
    assert_eq!(get(server.addr, "/sim/truth").await.json()["entries"], serde_json::json!([]));
}

#[tokio::test]
async fn a_server_that_is_stopped_cuts_off_its_answers() {
    let server = sim::start(Config::steady()).await.unwrap();
    let mut client = Client::connect(server.addr).await.unwrap();
    client.send("POST /v1/completions", &[], &completion("a", 20_000)).await;
    while server.truth().report(0).entries.is_empty() {
        tokio::task::yield_now().await;
    }
    let addr = server.addr;
    server.stop().await.unwrap();
    let answer = client.answer().await;
    assert!(answer.is_none_or(|answer| answer.end != End::Complete));
    assert!(Client::connect(addr).await.is_err());
}
