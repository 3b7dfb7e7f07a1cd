//! Ctrl-C and SIGTERM.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Child;

use nix::sys::signal::Signal;

use crate::world::{Ended, World, ended, event, signal};

/// A session whose load takes far longer than the test: many requests, one at a time.
fn long_bench(world: &World) -> Child {
    let args = ["bench", "--num-prompts", "2000", "--max-concurrency", "1"];
    let child = world.start(world.command(&args));
    wait_for_the_load(world);
    child
}

/// Waits until the simulated server has received some requests of the load; the warm-up repeats
/// the first one only.
fn wait_for_the_load(world: &World) {
    world.wait_for("the load", |journal| {
        let measuring = journal.iter().any(|entry| entry["name"] == "sim/smoke#1/measure");
        let port = journal.iter().find_map(|entry| entry["process"]["port"].as_u64());
        measuring && port.is_some_and(|port| received(port, 5))
    });
}

/// Whether the simulated server has received the request of this index.
fn received(port: u64, index: u32) -> bool {
    let mut stream = TcpStream::connect(("127.0.0.1", u16::try_from(port).unwrap())).unwrap();
    let request = b"GET /sim/truth HTTP/1.1\r\nHost: sim\r\nConnection: close\r\n\r\n";
    stream.write_all(request).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text.contains(&format!("\"index\":{index},"))
}

fn assert_ended_cleanly(world: &World, ended: &Ended) {
    let shown = ended.transcript();
    assert_eq!(world.processes(), Vec::<u32>::new(), "{shown}");
    let journal = world.journal();
    let last = journal.last().unwrap();
    assert_eq!(event(last), "session-closed", "{shown}");
    assert_eq!(last["exit"].as_i64(), ended.code.map(i64::from), "{shown}");
    let session = world.sessions().pop().unwrap();
    assert!(session.join("junit.xml").is_file(), "reports are written all the same\n{shown}");
    assert_eq!(world.files("sim", "smoke-", ".txt").len(), 1, "what was measured is kept\n{shown}");
}

#[test]
fn the_first_ctrl_c_asks_and_the_second_ends_the_session() {
    let world = World::new();
    let child = long_bench(&world);
    signal(&child, Signal::SIGINT);
    world.wait_for("the first Ctrl-C", |journal| {
        journal.iter().any(|entry| event(entry) == "stop-requested" && entry["by"] == "asked")
    });
    let ends = |journal: &[serde_json::Value]| {
        journal.iter().any(|entry| matches!(event(entry), "step-failed" | "session-closed"))
    };
    assert!(!ends(&world.journal()), "the run goes on");
    signal(&child, Signal::SIGINT);
    let ended = ended(child).expect(130);
    assert!(ended.stderr.contains("Ctrl-C"), "{}", ended.transcript());
    assert_ended_cleanly(&world, &ended);
}

#[test]
fn sigterm_ends_the_session_at_once() {
    let world = World::new();
    let child = long_bench(&world);
    signal(&child, Signal::SIGTERM);
    let ended = ended(child).expect(143);
    assert_ended_cleanly(&world, &ended);
}

#[test]
fn a_server_that_ignores_sigterm_does_not_hold_a_cancelled_job_up() {
    let world = World::new();
    let args = ["bench", "--num-prompts", "2000", "--max-concurrency", "1"];
    let args = [&args[..], &["--server-arg=--fault=ignore-sigterm"]].concat();
    let child = world.start(world.command(&args));
    wait_for_the_load(&world);
    signal(&child, Signal::SIGTERM);
    let ended = ended(child).expect(143);
    assert_ended_cleanly(&world, &ended);
}
