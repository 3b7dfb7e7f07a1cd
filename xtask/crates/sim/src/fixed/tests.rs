use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::truth::Truth;
use super::*;

/// Longest wait for a server that answers at all.
const PATIENCE: Duration = Duration::from_secs(20);

fn exchange(server: &Running, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-request-index: 7\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

fn truth(server: &Running) -> Truth {
    let answer =
        exchange(server, "GET /sim/truth.bin HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    let body = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    Truth::decode(&answer[body..]).unwrap()
}

fn schedule(ttft_ms: u64, gap_ms: u64) -> Schedule {
    Schedule { ttft: Duration::from_millis(ttft_ms), gap: Duration::from_millis(gap_ms) }
}

const ASK: &str = r#"{"model":"sim","prompt":"a b c","max_tokens":6,"stream":true}"#;

#[test]
fn nothing_is_sent_before_its_time_and_every_write_is_recorded() {
    let server = start(Config::steady(), schedule(30, 5)).unwrap();
    let answer = exchange(&server, &post("/v1/completions", ASK));
    assert_eq!(answer.windows(6).filter(|bytes| bytes == b"data: ").count(), 7);
    let truth = truth(&server);
    let [answer] = truth.answers.as_slice() else { panic!("{truth:?}") };
    assert_eq!((answer.index, answer.prompt_tokens, answer.output_tokens), (Some(7), 3, 6));
    let mut due_ns = answer.received_ns + 30_000_000;
    for write in &answer.writes {
        assert!(due_ns <= write.began_ns, "{answer:?}");
        assert_eq!(write.events, 1);
        due_ns += 5_000_000;
    }
    assert_eq!(answer.writes.len(), 6);
    assert_eq!(answer.done_ns, answer.writes.last().map(truth::Write::ended_ns));
    assert!(answer.done_ns.unwrap() <= truth.now_ns);
}

#[test]
fn the_kernel_tells_when_a_request_arrived() {
    let server = start(Config::steady(), schedule(0, 0)).unwrap();
    // The kernel begins to stamp a moment after it was asked to.
    let until = std::time::Instant::now() + PATIENCE;
    let answer = loop {
        exchange(&server, &post("/v1/completions", ASK));
        let answer = truth(&server).answers.pop().unwrap();
        if answer.arrived_ns.is_some() || until < std::time::Instant::now() {
            break answer;
        }
    };
    // Two clocks are compared, and the machine's may be corrected in between.
    assert!(answer.arrived_ns.unwrap() < answer.received_ns + 1_000_000, "{answer:?}");
}

#[test]
fn without_a_gap_events_go_together_and_none_is_lost() {
    let server = start(Config::steady(), schedule(0, 0)).unwrap();
    let body = r#"{"text":"a","sampling_params":{"max_new_tokens":900},"stream":true}"#;
    let answer = exchange(&server, &post("/generate", body));
    assert_eq!(answer.windows(6).filter(|bytes| bytes == b"data: ").count(), 901);
    let truth = truth(&server);
    let writes = &truth.answers[0].writes;
    assert_eq!(writes.iter().map(|write| write.events).sum::<u32>(), 900);
    assert!(writes.len() < 900, "{}", writes.len());
}

#[test]
fn a_client_that_leaves_is_recorded_as_not_done() {
    let server = start(Config::steady(), schedule(0, 1)).unwrap();
    let mut stream = TcpStream::connect(server.addr).unwrap();
    let body = ASK.replace('6', "20000");
    stream.write_all(post("/v1/completions", &body).as_bytes()).unwrap();
    stream.read_exact(&mut [0; 64]).unwrap();
    drop(stream);
    let until = std::time::Instant::now() + PATIENCE;
    let answers = loop {
        let answers = truth(&server).answers;
        if !answers.is_empty() || until < std::time::Instant::now() {
            break answers;
        }
        std::thread::yield_now();
    };
    assert_eq!(answers[0].done_ns, None);
}

#[test]
fn one_connection_serves_one_request_after_the_other_and_answers_questions() {
    let server = start(Config::steady(), schedule(0, 0)).unwrap();
    let ask = post("/v1/completions", ASK).replace("connection: close\r\n", "");
    let models = "GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let answer = exchange(&server, &(ask.clone() + &ask + models));
    let text = String::from_utf8(answer).unwrap();
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 3, "{text}");
    assert!(text.contains(r#""owned_by":"servegate-sim""#));
    assert_eq!(truth(&server).answers.len(), 2);
}

#[test]
fn what_a_schedule_cannot_answer_is_refused() {
    let server = start(Config::steady(), schedule(0, 0)).unwrap();
    let ollama = exchange(&server, &post("/api/generate", r#"{"model":"sim","prompt":"a"}"#));
    assert!(ollama.starts_with(b"HTTP/1.1 400 "));
    let log = exchange(&server, "GET /sim/truth HTTP/1.1\r\nconnection: close\r\n\r\n");
    assert!(log.starts_with(b"HTTP/1.1 404 "));
    let broken = exchange(&server, "GET\r\n\r\n");
    assert!(broken.starts_with(b"HTTP/1.1 400 "));
}
