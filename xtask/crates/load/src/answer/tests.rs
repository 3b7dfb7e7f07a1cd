use proptest::prelude::*;

use super::*;

const EXACT: Rules = Rules { asked_tokens: 2, length: LengthRule::Exact };
const AT_MOST: Rules = Rules { asked_tokens: 2, length: LengthRule::AtMost };

const TEXT: &str = "data: {\"choices\":[{\"text\":\"a\"}]}\n\n";
const FINISH: &str = "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\"}]}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn usage(tokens: u32) -> String {
    format!("data: {{\"choices\":[],\"usage\":{{\"completion_tokens\":{tokens}}}}}\n\n")
}

/// An answer whose body comes in one chunk an event, with or without its last chunk.
fn ok(events: &[&str]) -> String {
    let chunks = events.iter().map(|event| format!("{:x}\r\n{event}\r\n", event.len()));
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    head.to_owned() + &chunks.collect::<String>()
}

fn whole(events: &[&str]) -> String {
    ok(events) + "0\r\n\r\n"
}

fn outcome(bytes: &str, end: End, rules: Rules) -> Outcome {
    let mut answer = Answer::new(Wire::OpenaiCompletions, rules.asked_tokens);
    let mut at_ns = 0;
    for byte in bytes.as_bytes() {
        at_ns += 1;
        if answer.feed(&[*byte], at_ns) == Need::Nothing {
            break;
        }
    }
    answer.close(end, at_ns, rules)
}

/// What became of an answer, in one line.
fn told(bytes: &str, end: End, rules: Rules) -> String {
    let outcome = outcome(bytes, end, rules);
    let ended = if outcome.done_ns.is_some() { "complete" } else { "incomplete" };
    let failure = outcome.failure.map_or("completed".to_owned(), |failure| failure.to_string());
    format!("{ended}, {} chunks, {failure}", outcome.chunks.len())
}

#[test]
fn answers_that_complete() {
    let complete = [
        whole(&[TEXT, TEXT, FINISH, &usage(2), DONE]),
        // No end mark, but a reason to stop and a clean end.
        whole(&[TEXT, FINISH]),
        // Nothing after the end mark matters, not even that the body has no end.
        ok(&[TEXT, DONE]),
        format!("HTTP/1.0 200 OK\r\n\r\n{TEXT}{DONE}"),
        format!("HTTP/1.0 200 OK\r\n\r\n{TEXT}{FINISH}"),
        // The last line has no end.
        whole(&[TEXT, "data: [DONE]"]),
    ];
    for bytes in complete {
        let outcome = outcome(&bytes, End::Closed, EXACT);
        assert_eq!(outcome.failure, None, "{bytes}");
        assert!(outcome.done_ns.is_some(), "{bytes}");
    }
}

#[test]
fn each_way_to_fail_has_its_name() {
    let cases = [
        ("no tokens", whole(&[DONE]), End::Closed),
        ("usage but no tokens", whole(&[FINISH, &usage(2), DONE]), End::Closed),
        ("empty body", whole(&[]), End::Closed),
        ("no end mark", whole(&[TEXT]), End::Closed),
        ("no end mark, until close", format!("HTTP/1.0 200 OK\r\n\r\n{TEXT}"), End::Closed),
        ("closed before the last chunk", ok(&[TEXT, FINISH]), End::Closed),
        ("closed in a chunk", ok(&[TEXT]) + "ff\r\ndata", End::Closed),
        ("closed before the head", String::new(), End::Closed),
        ("reset", ok(&[TEXT]), End::Lost("connection reset".to_owned())),
        ("idle before the head", String::new(), End::Idle),
        ("idle before a token", ok(&[]), End::Idle),
        ("idle after a token", ok(&[TEXT]), End::Idle),
        ("deadline", ok(&[TEXT]), End::Deadline),
        ("stopped", ok(&[TEXT]), End::Stopped),
        (
            "error object",
            whole(&[TEXT, "data: {\"error\":{\"message\":\"oom\"}}\n\n", DONE]),
            End::Closed,
        ),
        ("error event", whole(&[TEXT, "event: error\ndata: gone\n\n"]), End::Closed),
        ("not JSON", whole(&[TEXT, "data: {\"choi\n\n", DONE]), End::Closed),
        ("not a stream", whole(&["{\"choices\":[{\"text\":\"a\"}]}"]), End::Closed),
        (
            "error instead of a stream",
            whole(&["{\"object\":\"error\",\"message\":\"no\"}"]),
            End::Closed,
        ),
        ("not HTTP", "hello\r\n".to_owned(), End::Closed),
        ("bad chunk", ok(&[TEXT]) + "zz\r\n", End::Closed),
        ("fewer tokens", whole(&[TEXT, &usage(1), DONE]), End::Closed),
        ("more tokens", whole(&[TEXT, &usage(3), DONE]), End::Closed),
    ];
    let lines = cases.map(|(name, bytes, end)| format!("{name}: {}", told(&bytes, end, EXACT)));
    insta::assert_snapshot!(lines.join("\n"), @r#"
    no tokens: complete, 0 chunks, no-tokens: the answer was complete and had no tokens
    usage but no tokens: complete, 0 chunks, no-tokens: the answer was complete and had no tokens
    empty body: incomplete, 0 chunks, truncated-stream: the body ended after 0 chunks without an end mark
    no end mark: incomplete, 1 chunks, truncated-stream: the body ended after 1 chunk without an end mark
    no end mark, until close: incomplete, 1 chunks, truncated-stream: the body ended after 1 chunk without an end mark
    closed before the last chunk: incomplete, 1 chunks, connection-lost: the server closed the connection after 1 chunk
    closed in a chunk: incomplete, 1 chunks, connection-lost: the server closed the connection after 1 chunk
    closed before the head: incomplete, 0 chunks, connection-lost: the server closed the connection before any answer
    reset: incomplete, 1 chunks, connection-lost: connection reset after 1 chunk
    idle before the head: incomplete, 0 chunks, stalled-before-first-token: nothing came for too long before any answer
    idle before a token: incomplete, 0 chunks, stalled-before-first-token: nothing came for too long after 0 chunks
    idle after a token: incomplete, 1 chunks, stalled-mid-stream: nothing came for too long after 1 chunk
    deadline: incomplete, 1 chunks, deadline-exceeded: the run's time was over after 1 chunk
    stopped: incomplete, 1 chunks, aborted: the run was stopped after 1 chunk
    error object: incomplete, 1 chunks, stream-error: oom
    error event: incomplete, 1 chunks, stream-error: gone
    not JSON: incomplete, 1 chunks, malformed-event: EOF while parsing a string at line 1 column 6: {"choi
    not a stream: incomplete, 0 chunks, malformed-event: the answer is not an event stream: {"choices":[{"text":"a"}]}
    error instead of a stream: incomplete, 0 chunks, stream-error: no
    not HTTP: incomplete, 0 chunks, bad-http: the head of the answer is not HTTP: invalid HTTP version
    bad chunk: incomplete, 1 chunks, bad-http: a chunk begins with `zz` instead of its size
    fewer tokens: complete, 1 chunks, wrong-token-count: the server counted 1 tokens where 2 were asked for
    more tokens: complete, 1 chunks, wrong-token-count: the server counted 3 tokens where 2 were asked for
    "#);
}

#[test]
fn each_status_has_its_name() {
    let lines = [429, 503, 500, 502, 404, 301, 204].map(|status| {
        let body = "{\"error\":\"x\"}";
        let bytes = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        told(&bytes, End::Closed, EXACT)
    });
    insta::assert_snapshot!(lines.join("\n"), @r#"
    incomplete, 0 chunks, rate-limited: status 429: {"error":"x"}
    incomplete, 0 chunks, unavailable: status 503: {"error":"x"}
    incomplete, 0 chunks, server-error: status 500: {"error":"x"}
    incomplete, 0 chunks, server-error: status 502: {"error":"x"}
    incomplete, 0 chunks, rejected: status 404: {"error":"x"}
    incomplete, 0 chunks, rejected: status 301: {"error":"x"}
    incomplete, 0 chunks, rejected: status 204
    "#);
    // A body that never ends does not hide the status.
    let endless = "HTTP/1.1 503 X\r\nContent-Length: 9\r\n\r\nload";
    let [idle, closed] = [End::Idle, End::Closed].map(|end| told(endless, end, EXACT));
    assert_eq!(idle, "incomplete, 0 chunks, unavailable: status 503: load");
    assert_eq!(closed, idle);
}

#[test]
fn a_shorter_answer_is_right_where_the_length_cannot_be_forced() {
    let bytes = |tokens| whole(&[TEXT, &usage(tokens), DONE]);
    assert_eq!(outcome(&bytes(1), End::Closed, AT_MOST).failure, None);
    let longer = outcome(&bytes(3), End::Closed, AT_MOST).failure.unwrap();
    assert_eq!(longer.kind, FailureKind::WrongTokenCount);
}

#[test]
fn times_are_those_of_the_read_that_brought_the_event() {
    let mut answer = Answer::new(Wire::OpenaiCompletions, 2);
    let bytes = whole(&[TEXT, TEXT, FINISH, DONE]);
    let (first, rest) = bytes.split_at(bytes.find(TEXT).unwrap() + TEXT.len() - 1);
    let (second, third) = rest.split_at(rest.len() - "\r\n0\r\n\r\n".len());
    assert_eq!(answer.feed(first.as_bytes(), 10), Need::More, "the blank line has not come");
    assert!(answer.chunks().is_empty());
    assert_eq!(answer.feed(second.as_bytes(), 20), Need::Rest);
    assert_eq!(answer.feed(third.as_bytes(), 30), Need::Nothing);
    let outcome = answer.close(End::Closed, 40, EXACT);
    assert_eq!(outcome.chunks, [Chunk { at_ns: 20, late_ns: None, tokens: None }; 2]);
    assert_eq!(outcome.done_ns, Some(20), "the answer is complete with its end mark");
}

#[test]
fn a_failed_answer_keeps_what_had_come() {
    let bytes = ok(&[TEXT, ": ping\n\n", &usage(1), TEXT]);
    let outcome = outcome(&bytes, End::Lost("connection reset".to_owned()), EXACT);
    assert_eq!((outcome.status, outcome.chunks.len(), outcome.pings), (Some(200), 2, 1));
    assert_eq!(outcome.usage.output, Some(1));
    assert_eq!(outcome.done_ns, None);
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same_outcome(
        cuts in proptest::collection::vec(0..600usize, 0..12), done: bool, finish: bool,
    ) {
        let usage = usage(2);
        let mut events = vec![TEXT, TEXT, usage.as_str()];
        events.extend(finish.then_some(FINISH));
        events.extend(done.then_some(DONE));
        let bytes = whole(&events);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let (mut answer, mut start) = (Answer::new(Wire::OpenaiCompletions, 2), 0);
        for cut in cuts {
            // One time for all pieces, so that only the content is compared.
            answer.feed(&bytes.as_bytes()[start..cut], 5);
            start = cut;
        }
        let mut at_once = Answer::new(Wire::OpenaiCompletions, 2);
        at_once.feed(bytes.as_bytes(), 5);
        prop_assert_eq!(answer.close(End::Closed, 5, EXACT), at_once.close(End::Closed, 5, EXACT));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>, body: Vec<u8>) {
        for wire in Wire::ALL {
            let mut answer = Answer::new(*wire, 2);
            answer.feed(&bytes, 1);
            let _ = answer.close(End::Closed, 2, EXACT);
            let mut answer = Answer::new(*wire, 2);
            answer.feed(b"HTTP/1.0 200 OK\r\n\r\n", 1);
            answer.feed(&body, 2);
            let _ = answer.close(End::Closed, 3, EXACT);
        }
    }
}

/// What became of an answer that was asked for in one piece, and of its chunks.
fn in_one_piece(wire: Wire, body: &str) -> (Outcome, Vec<(u64, Option<u32>)>) {
    let mut answer = Answer::new(wire, 2).delivered(Delivery::Whole);
    let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let half = bytes.len() - 5;
    assert_eq!(answer.feed(&bytes.as_bytes()[..half], 10), Need::More);
    assert_eq!(answer.feed(&bytes.as_bytes()[half..], 30), Need::Nothing);
    let outcome = answer.close(End::Closed, 30, EXACT);
    let chunks = outcome.chunks.iter().map(|chunk| (chunk.at_ns, chunk.tokens)).collect();
    (outcome, chunks)
}

#[test]
fn an_answer_in_one_piece_has_all_its_tokens_when_it_ends() {
    let usage = r#""usage":{"prompt_tokens":3,"completion_tokens":2}"#;
    let bodies = [
        // White space and lines within it mean nothing.
        (Wire::OpenaiCompletions, format!(r#"{{"choices":[{{"text":"a b"}}],{usage}}}"#)),
        (
            Wire::OpenaiChat,
            format!("{{\n  \"choices\":[{{\"message\":{{\"content\":\"a b\"}}}}],\n{usage}}}\n"),
        ),
        (
            Wire::SglangGenerate,
            r#"{"text":"a b","meta_info":{"prompt_tokens":3,"completion_tokens":2}}"#.to_owned(),
        ),
    ];
    for (wire, body) in bodies {
        let (outcome, chunks) = in_one_piece(wire, &body);
        assert_eq!(outcome.failure, None, "{wire}");
        assert_eq!(chunks, [(30, Some(2))], "{wire}");
        assert_eq!(outcome.done_ns, Some(30), "{wire}");
    }
    let (outcome, _) = in_one_piece(Wire::OpenaiChat, "not JSON at all");
    assert_eq!(outcome.failure.unwrap().kind, FailureKind::MalformedEvent);
    let (outcome, _) = in_one_piece(Wire::OpenaiChat, r#"{"error":{"message":"no"}}"#);
    assert_eq!(outcome.failure.unwrap().kind, FailureKind::StreamError);
}
